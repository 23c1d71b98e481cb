"""The jobs of the Look page: filters, gradients, and the strongest images of a map."""

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import nn
from tinyconv.errors import DataError, ShapeError
from tinyconv.web import pages
from tinyconv.web.studio import Studio
from tinyconv.web.subject import of_model, of_name

assert pages


@pytest.fixture(scope="module")
def studio():
    found = Studio(of_name("lenet5", "synthetic"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def ask(studio):
    return lambda job, **arguments: studio.submit(job, arguments).result(30)


def searched(ask, layer, map):
    while True:
        found = ask("look.strongest", layer=layer, map=map)
        assert 0 < found["done"] <= found["count"]
        if found["done"] == found["count"]:
            return found


def test_layers_have_their_weights(ask, studio):
    model = studio.subject.model
    found = {layer["name"]: layer for layer in ask("look.layers")["layers"]}
    assert np.array_equal(found["conv2"]["filters"], model.conv2.weight.numpy())
    assert np.array_equal(found["conv2"]["bias"], model.conv2.bias.numpy())
    assert found["conv2"]["parameters"] == 16 * 6 * 25 + 16
    assert found["pool#2"]["filters"] is None
    assert found["pool#2"]["shape"] == [16, 4, 4]
    # A row of fc1 reads the 16 maps of pool#2; fc2 reads numbers.
    assert np.array_equal(found["fc1"]["filters"], model.fc1.weight.numpy().reshape(120, 16, 4, 4))
    assert found["fc2"]["filters"].shape == (84, 1, 1, 120)


def test_examples_show_every_class(ask, studio):
    examples = ask("look.layers")["examples"]
    assert np.bincount(examples["labels"]).tolist() == [10] * 10
    assert np.array_equal(examples["images"], studio.subject.images.images[examples["numbers"]])


def test_gradient_is_that_of_feature_maps(ask, studio):
    found = ask("look.image", number=17)
    subject = studio.subject
    maps = tc.feature_maps(subject.model, subject.input(subject.images.images[17:18]))
    assert found["score"] == maps.winner
    assert found["label"] == subject.images.labels[17]
    assert np.array_equal(found["gradient"], maps.gradient)
    assert np.array_equal(found["scores"], maps.scores)


def test_gradient_of_another_score(ask, studio):
    """Compared with a difference: a small step along the gradient raises the score by its squared length."""
    found = ask("look.image", number=3, score=4)
    subject = studio.subject
    x = subject.input(found["image"][None])
    step = 1e-2
    with tc.no_grad():
        higher = subject.model(x + step * tc.tensor(found["gradient"][None])).numpy()[0, 4]
        lower = subject.model(x - step * tc.tensor(found["gradient"][None])).numpy()[0, 4]
    assert (higher - lower) / (2 * step) == pytest.approx((found["gradient"] ** 2).sum(), rel=0.05)


def test_what_is_not_there_is_refused(ask):
    with pytest.raises(DataError, match="there is no test image 5000"):
        ask("look.image", number=5000)
    with pytest.raises(ShapeError, match="there is no score 10: the model gives 10"):
        ask("look.image", number=0, score=10)
    with pytest.raises(ShapeError, match="there is no layer 'conv9'; there are conv1, relu"):
        ask("look.strongest", layer="conv9", map=0)
    with pytest.raises(ShapeError, match="there is no map 16 in conv2, which has 16"):
        ask("look.strongest", layer="conv2", map=16)


@pytest.mark.parametrize(("layer", "map"), [("conv2", 3), ("pool#2", 0), ("fc3", 7)])
def test_strongest_images(ask, studio, layer, map):
    found = searched(ask, layer, map)
    subject = studio.subject
    images = subject.images
    from tinyconv.web.layers import host, run

    observer, _ = run(subject.model, subject.input(images.images))
    out = host(dict(zip([s.name for s in observer.steps], observer.outputs, strict=True))[layer])[:, map]
    flat = out.reshape(len(out), -1)
    order = np.argsort(-flat.max(1), kind="stable")[:9]
    assert found["numbers"].tolist() == order.tolist()
    assert np.allclose(found["values"], flat.max(1)[order], rtol=1e-5)
    assert np.array_equal(found["labels"], images.labels[order])
    assert np.array_equal(found["images"], images.images[order])
    for number, (row, column), value in zip(order, found["places"], found["values"], strict=True):
        assert (out[number][row, column] if out.ndim == 3 else out[number]) == pytest.approx(value, rel=1e-5)


def test_a_search_gives_way_and_is_kept(studio, ask):
    """Each call looks at a part; an ended search answers at once; other maps and layers need none of their own."""
    studio.state.clear()
    first = ask("look.strongest", layer="relu", map=0)
    assert first["done"] < first["count"] or first["count"] <= 2000
    searched(ask, "relu", 0)
    assert ask("look.strongest", layer="relu", map=5)["done"] == first["count"]
    assert ask("look.strongest", layer="fc3", map=0)["done"] == first["count"]


def test_a_search_keeps_the_weights_it_began_with(studio, ask, monkeypatch):
    monkeypatch.setattr("tinyconv.web.pages.look.PATIENCE", 0.0)
    monkeypatch.setattr("tinyconv.web.pages.look.CHUNK", 500)
    weight = studio.subject.model.conv1.weight
    before = searched(ask, "conv1", 0)
    studio.state.clear()
    try:
        begun = ask("look.strongest", layer="conv1", map=0)
        assert begun["done"] < begun["count"]
        with tc.no_grad():
            weight.mul_(2.0)
        after = searched(ask, "conv1", 0)
        assert np.array_equal(after["values"], before["values"])
        assert after["weights"] == before["weights"]
        fresh = searched(ask, "conv1", 0)
        assert fresh["weights"] != before["weights"]
        assert not np.array_equal(fresh["values"], before["values"])
    finally:
        with tc.no_grad():
            weight.mul_(0.5)
        studio.state.clear()


def test_a_search_begins_anew_where_a_user_has_rebuilt_the_model(monkeypatch):
    monkeypatch.setattr("tinyconv.web.pages.look.PATIENCE", 0.0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    studio = Studio(of_model(model, "synthetic"))
    try:
        found = studio.submit("look.strongest", {"layer": "1", "map": 0}).result(30)
        assert found["done"] < found["count"]
        model[1] = nn.Sequential(nn.Linear(784, 12), nn.ReLU(), nn.Linear(12, 10))
        assert len(studio.submit("look.strongest", {"layer": "1.0", "map": 11}).result(30)["numbers"]) == 9
    finally:
        studio.close()


def test_a_large_model_looks_at_fewer_images_at_a_time(studio, ask, monkeypatch):
    monkeypatch.setattr("tinyconv.web.pages.look.PATIENCE", 0.0)
    monkeypatch.setattr("tinyconv.web.pages.look.CELLS", 40_000)  # LeNet makes some 11,000 numbers of an image
    studio.state.clear()
    assert ask("look.strongest", layer="conv1", map=0)["done"] == 3
    studio.state.clear()


class Sums(nn.Module):
    """An op whose output is one number for the whole batch."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, x):
        return self.fc(x.flatten(1)) * x.mean()


def test_an_op_may_give_one_number_for_the_whole_batch():
    studio = Studio(of_model(Sums(), "synthetic"))
    try:
        found = studio.submit("look.image", {"number": 0}).result(30)
        (one,) = (layer for layer in found["layers"] if layer["shape"] == [1])
        assert one["maps"].shape == (1,)
    finally:
        studio.close()
