"""Jobs of the Mistakes page: what they count is what `evaluate` and `predict` say."""

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the studio needs the extra `studio`")

from tinyconv import nn
from tinyconv.data import ImageDataset, synthetic_digits
from tinyconv.train import evaluate, predict
from tinyconv.web import pages
from tinyconv.web.jobs import JobError
from tinyconv.web.studio import Studio
from tinyconv.web.subject import of_model, of_name

assert pages


@pytest.fixture
def open_studio():
    """open_studio(subject) runs a Studio, until the test ends."""
    opened = []

    def opening(subject):
        opened.append(Studio(subject))
        return opened[-1]

    yield opening
    for studio in opened:
        studio.close()


def ask(studio, job, **arguments):
    return studio.submit(f"mistakes.{job}", arguments).result(60)


def measured(studio):
    ask(studio, "begin")
    pieces = 1
    while (at := ask(studio, "go_on"))["done"] < at["total"]:
        pieces += 1
    assert pieces > 1  # or no job is answered in between
    return ask(studio, "state")["measured"]


def test_the_matrix_is_what_predict_says(open_studio):
    subject = of_name("lenet5", "synthetic")
    studio = open_studio(subject)
    found, images = measured(studio), subject.images
    said = predict(subject.model, images.normalized()).argmax(1)
    expected = np.zeros((10, 10), int)
    for label, prediction in zip(images.labels, said, strict=True):
        expected[label, prediction] += 1
    np.testing.assert_array_equal(found["matrix"], expected)
    assert found["right"] / found["total"] == evaluate(subject.model, images)
    for i in range(10):
        assert found["recall"][i] == np.mean(said[images.labels == i] == i)
        if (said == i).any():
            assert found["precision"][i] == np.mean(images.labels[said == i] == i)
        else:
            assert np.isnan(found["precision"][i])


def test_a_cell_has_its_images_by_confidence(open_studio):
    subject = of_name("lenet5", "synthetic")
    studio = open_studio(subject)
    measured(studio)
    shares = predict(subject.model, subject.images.normalized())
    said, labels = shares.argmax(1), subject.images.labels
    truth, prediction = next((t, p) for t, p in zip(labels, said, strict=True) if t != p)
    own = np.flatnonzero((labels == truth) & (said == prediction))
    for sure in (True, False):
        found = ask(studio, "cell", truth=int(truth), prediction=int(prediction), sure=sure, count=200)
        assert found["total"] == len(own)
        assert set(found["numbers"]) <= set(own)
        given = found["given"] if sure else found["given"][::-1]
        assert (np.diff(given) <= 0).all()
        np.testing.assert_allclose(found["given"], shares[found["numbers"], prediction], rtol=1e-5)
        np.testing.assert_array_equal(found["images"], subject.images.images[found["numbers"]])
    rest = ask(studio, "cell", truth=int(truth), prediction=int(prediction), start=3, count=200)
    whole = ask(studio, "cell", truth=int(truth), prediction=int(prediction), count=203)
    np.testing.assert_array_equal(rest["numbers"], whole["numbers"][3:])
    assert ask(studio, "cell")["total"] == (said != labels).sum()


def test_what_was_measured_is_stale_once_a_weight_is_another(open_studio):
    subject = of_name("cake", "synthetic", slices="flatten; fc 10")
    studio = open_studio(subject)
    assert ask(studio, "state")["measured"] is None
    first = measured(studio)
    assert not ask(studio, "state")["stale"]
    subject.model[1].weight.data[3, 400] += 1
    assert ask(studio, "state")["stale"]
    again = measured(studio)
    assert not ask(studio, "state")["stale"]
    assert again["right"] != first["right"]


def test_weights_that_change_meanwhile_do_not_get_into_it(open_studio):
    subject = of_name("cake", "synthetic", slices="flatten; fc 10")
    studio = open_studio(subject)
    expected = evaluate(subject.model, subject.images)
    ask(studio, "begin")
    ask(studio, "go_on")
    subject.model[1].weight.data[...] = 0
    while (at := ask(studio, "go_on"))["done"] < at["total"]:
        pass
    state = ask(studio, "state")
    assert state["measured"]["right"] / state["measured"]["total"] == expected
    assert state["stale"]


@pytest.mark.parametrize(("classes", "scores"), [(2, 2), (100, 100), (3, 5)])
def test_any_number_of_classes(open_studio, classes, scores):
    digits = synthetic_digits(300)
    names = tuple(f"kind {i}" for i in range(classes))
    images = ImageDataset(digits.images, digits.labels % classes, names, digits.mean, digits.std)
    found = measured(open_studio(of_model(nn.Sequential(nn.Flatten(), nn.Linear(784, scores)), images)))
    assert found["matrix"].shape == (scores, scores)
    assert found["matrix"].sum() == 300
    assert len(found["classes"]) == scores


def test_without_a_measurement_the_page_is_told(open_studio):
    studio = open_studio(of_name("lenet5", "synthetic"))
    with pytest.raises(JobError, match="nothing has been measured yet: measure first"):
        ask(studio, "cell")
    assert ask(studio, "go_on") is None
