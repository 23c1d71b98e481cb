"""Checkpoint files: what is in them, and what happens when they are not what they should be."""

import copy
import json
import os
import re

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv import models, optim
from tinyconv.data import datasets
from tinyconv.engine import variants
from tinyconv.errors import CheckpointError, TinyconvError
from tinyconv.train import RECIPES, check_place, load_checkpoint, new_run, resume, start
from tinyconv.train import session as session_module
from tinyconv.train.checkpoint import save

RUN = new_run("mlp", "synthetic", 0, RECIPES["default"], hidden=4)


def write(path, run=RUN):
    tc.manual_seed(0)
    model = models.create(run.model, **run.options)
    return save(path, run, model, optim.Adam(model.parameters()), {"progress": {}}), model


def test_round_trip(tmp_path):
    path, model = write(tmp_path / "new" / "folder" / "c.safetensors")
    found = load_checkpoint(path)
    assert found.run == RUN
    again = found.model()
    assert not again.training
    for name, t in model.state_dict().items():
        np.testing.assert_array_equal(t.numpy(), again.state_dict()[name].numpy())
    assert [p.name for p in path.parent.iterdir()] == ["c.safetensors"]  # nothing is left beside it


def test_the_weights_have_their_own_names_for_other_readers(tmp_path):
    path, model = write(tmp_path / "c.safetensors")
    assert set(safetensors.numpy.load_file(path)) == set(model.state_dict())


@pytest.mark.parametrize("kept", [0, 3, 8, 100, 0.5, 0.99])
def test_a_truncated_checkpoint(kept, tmp_path):
    path, _ = write(tmp_path / "c.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[: kept if isinstance(kept, int) else int(kept * len(whole))])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint: it is damaged or cut short"):
        load_checkpoint(path)


@given(junk=st.binary(max_size=200))
def test_junk_is_refused(tmp_path_factory, junk):
    path = tmp_path_factory.mktemp("junk") / "c.safetensors"
    path.write_bytes(junk)
    with pytest.raises(CheckpointError):
        load_checkpoint(path)


def test_no_file(tmp_path):
    with pytest.raises(CheckpointError, match="there is no such file"):
        load_checkpoint(tmp_path / "c.safetensors")
    with pytest.raises(CheckpointError, match="there is no such file"):
        load_checkpoint(tmp_path)


def test_weights_without_a_description(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(3)}, path)
    with pytest.raises(CheckpointError, match=r"not a tinyconv checkpoint.*do not name a model.*load_file"):
        load_checkpoint(path)


def test_another_format(tmp_path):
    path = tmp_path / "c.safetensors"
    safetensors.numpy.save_file({"a": np.zeros(3)}, path, {"tinyconv": json.dumps({"format": 99})})
    with pytest.raises(CheckpointError, match="has checkpoint format 99; this version reads 1"):
        load_checkpoint(path)


def test_a_checkpoint_of_another_model(tmp_path):
    path, _ = write(tmp_path / "c.safetensors")
    found = load_checkpoint(path)
    with pytest.raises(CheckpointError) as error:
        models.lenet5().load_state_dict(found.model_state)
    assert "this state is not one of LeNet5" in str(error.value)
    assert "missing: conv1.weight, conv1.bias" in str(error.value)
    assert "unexpected: 1.bias, 1.weight, 3.bias, 3.weight" in str(error.value)


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """A checkpoint made after one step on a few drawn digits: its path, its arrays and its document."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(datasets, "SYNTHETIC_TRAIN", 64)
        patch.setattr(datasets, "SYNTHETIC_TEST", 16)
        session = start(RUN)
        next(session.trainer.run())  # so that the optimiser has a state
        path = session.save(tmp_path_factory.mktemp("started") / "c.safetensors")
        with safetensors.safe_open(path, framework="numpy") as file:
            document = json.loads(file.metadata()["tinyconv"])
        yield path, safetensors.numpy.load_file(path), document


def with_kernels(started, path, kernels):
    """The checkpoint, as trained with other kernels; with `...`, by a version that noted none."""
    _, arrays, document = started
    document = {name: value for name, value in document.items() if name != "kernels"}
    document |= {} if kernels is ... else {"kernels": kernels}
    safetensors.numpy.save_file(arrays, path, {"tinyconv": json.dumps(document)})
    return path


@pytest.mark.parametrize("kernels", variants.KERNELS)
@pytest.mark.usefixtures("started")
def test_a_checkpoint_notes_the_kernels_that_trained_it(tmp_path, kernels, monkeypatch):
    monkeypatch.setattr(session_module, "running", lambda search=True: variants.kernels())
    with tc.using(kernels):
        session = start(RUN)
        assert load_checkpoint(session.save(tmp_path / "none")).kernels is None  # nothing is trained yet
        next(session.trainer.run())
        assert load_checkpoint(session.save(tmp_path / "c")).kernels == kernels


@pytest.mark.parametrize("kernels", [..., None, "numpy"])
def test_the_same_kernels_or_unknown_ones_are_not_worth_a_word(started, tmp_path, kernels):
    path = with_kernels(started, tmp_path / "c.safetensors", kernels)
    assert load_checkpoint(path).kernels == (None if kernels is ... else kernels)
    with tc.using("numpy"):
        resume(path)  # a warning would be an error


@pytest.mark.parametrize("kernels", ["compiled", "readable", "cuda"])
def test_who_resumes_with_other_kernels_is_told(started, tmp_path, kernels):
    path = with_kernels(started, tmp_path / "c.safetensors", kernels)
    said = f"{path} was trained with {kernels} kernels, and goes on with numpy: they round differently"
    with tc.using("numpy"):
        with pytest.warns(UserWarning, match=re.escape(said)):
            session = resume(path)
        next(session.trainer.run())


@pytest.mark.parametrize("kernels", ["fast", 3, ["numpy"]])
def test_unknown_kernels_are_damage(started, tmp_path, kernels):
    path = with_kernels(started, tmp_path / "c.safetensors", kernels)
    with pytest.raises(CheckpointError, match="its metadata are not those of a checkpoint: ValueError: kernels"):
        load_checkpoint(path)


def rewrite(started, document, arrays=None):
    path, own, _ = started
    safetensors.numpy.save_file(own if arrays is None else arrays, path, {"tinyconv": json.dumps(document)})
    return path


def changed(document, place, value):
    """A copy of a JSON document with something else at the end of a chain of keys."""
    document = copy.deepcopy(document)
    inner = document
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return document


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["run"], None, "argument after ** must be a mapping"),
        (["run", "model"], 3, "model must be of type str, got 3"),
        (["run", "options"], [], "options must be of type dict, got []"),
        (["run", "seed"], True, "seed must be of type int, got True"),
        (["run", "seed"], -1, "seed must be at least 0"),
        (["run", "seed"], 1 << 64, "seed must be at most 18,446,744,073,709,551,615"),
        (["run", "size"], 28, "unexpected keyword argument 'size'"),
        (["trainer"], "x", "dictionary update sequence"),
        (["trainer", "progress"], {"epoch": 1}, "1 epochs are done, but 0 are reported"),
        (["trainer", "progress"], {"epoch": 1, "history": [3]}, "must be a mapping"),
        (["trainer", "progress"], {"epoch": 1, "history": [{"epoch": 1}]}, "missing 3 required"),
        (["optimizer"], {}, "KeyError: 'param_groups'"),
        (["optimizer", "scalars"], {"x": {}}, "invalid literal for int() with base 10: 'x'"),
    ],
    ids=str,
)
def test_metadata_of_a_wrong_kind(started, place, value, message):
    path = rewrite(started, changed(started[2], place, value))
    with pytest.raises(CheckpointError, match=re.escape(message)) as error:
        load_checkpoint(path)
    assert str(error.value).startswith(f"{path}: its metadata are not those of a checkpoint: ")


def test_optimizer_arrays_of_no_parameter(started):
    path = rewrite(started, started[2], {**started[1], "optimizer/x/exp_avg": np.zeros(3)})
    with pytest.raises(CheckpointError, match="invalid literal for int"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["run", "model"], "lenet6", "no model 'lenet6'; there are lenet5"),
        (["run", "model"], "lenet5", "model 'lenet5' cannot be built with {'hidden': 4}"),
        (["run", "options"], {"name": 3}, "model 'mlp' cannot be built with {'name': 3}"),
        (["run", "options"], {"hidden": 5}, "this state is not one of MLP"),
        (["run", "options"], {"hidden": 10**6}, "has 795,000,010 parameters; at most 268,435,456 are built by name"),
        (["run", "options"], {"hidden": 10**12}, "hidden is 1000000000000: at most 1,048,576 is taken"),
        (["run", "options"], {"hidden": [1] * 301}, "at most 300 is taken"),
        (["run", "options"], {"hidden": "a" * 100_001}, "(100,001 characters): at most 100,000 is taken"),
        (["run", "options"], {"hidden": None}, "expected an integer, got None"),
    ],
    ids=str,
)
def test_a_model_that_cannot_be_built(started, place, value, message):
    path = rewrite(started, changed(started[2], place, value))
    with pytest.raises(CheckpointError, match=re.escape(message)) as error:
        load_checkpoint(path).model()
    assert str(error.value).startswith(f"{path}: its model cannot be built: ")
    with pytest.raises(CheckpointError, match=re.escape(message)) as error:
        resume(path)
    assert str(error.value).startswith((f"{path}: its model cannot be built: ", f"{path}: its training cannot be"))


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["run", "recipe", "epochs"], "5", "epochs must be of type int, got '5'"),
        (["run", "recipe", "lr"], None, "lr must be of type float, got None"),
        (["run", "recipe", "batch_size"], 0, "batch_size must be at least 1, got 0"),
        (["run", "recipe", "shift"], -1, "shift must be at least 0, got -1"),
        (["run", "recipe", "shift"], 0.5, "shift must be of type int, got 0.5"),
        (["run", "recipe", "pace"], 1, "unexpected keyword argument 'pace'"),
        (["trainer", "rng"], {}, "state must be for a PCG64 RNG"),
        (["trainer", "schedule"], None, "its schedule is not the one of the recipe"),
        (["optimizer", "param_groups"], [], "0 parameter groups"),
        (["optimizer", "param_groups"], 3, "TypeError"),
    ],
    ids=str,
)
def test_a_training_that_cannot_be_continued(started, place, value, message):
    path = rewrite(started, changed(started[2], place, value))
    with pytest.raises(CheckpointError, match=re.escape(message)) as error:
        resume(path)
    assert str(error.value).startswith(f"{path}: its training cannot be continued: ")


def holed(path, name, size, metadata):
    """A whole file of one array of so many bytes, which are a hole: they take no disk."""
    entry = {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}
    header = json.dumps({name: entry, **metadata}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(path, 8 + len(header) + size)
    return path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("1.weight", "1.weight: expected shape (4, 784), got (17179869184,)"),
        ("mine.weight", "unexpected: mine.weight"),
        ("optimizer/0/exp_avg", "missing: 1.weight"),
    ],
)
def test_arrays_that_fit_no_model_are_not_read(started, tmp_path, name, said):
    """Two kilobytes of disk would ask for 64 GiB of memory."""
    metadata = {"__metadata__": {"tinyconv": json.dumps(started[2])}}
    with pytest.raises(CheckpointError, match=re.escape(said)):
        load_checkpoint(holed(tmp_path / "c.safetensors", name, 1 << 36, metadata))


def test_an_array_of_the_optimiser_that_fits_no_parameter(started):
    for name, array in (("0/exp_avg", np.zeros(3)), ("9/exp_avg", np.zeros(3)), ("-1/exp_avg", np.zeros(3))):
        path = rewrite(started, started[2], {**started[1], f"optimizer/{name}": array.astype(np.float32)})
        with pytest.raises(CheckpointError, match="has shape"):
            load_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"step": -1}, "step must be at least 0"),
        ({"step": 5}, "5 steps and 64 examples are not part of one epoch"),
        ({"examples": 3}, "1 steps and 3 examples are not part of one epoch"),
        ({"loss_sum": float("inf")}, "Infinity where a number should be"),
        ({"seconds": -1.0}, "seconds must be at least 0"),
        ({"epoch": 10**30}, "epoch must be at most 100,000"),
    ],
    ids=str,
)
def test_a_progress_that_cannot_be(started, change, said):
    document = copy.deepcopy(started[2])
    document["trainer"]["progress"].update(change)
    with pytest.raises(CheckpointError, match=re.escape(said)):
        resume(rewrite(started, document))


def test_a_schedule_of_other_numbers_is_refused(started):
    for place, value in ((["last_epoch"], 3), (["total_steps"], 9), (["lr_points", 0, 0], 1e9), (["points"], "x")):
        path = rewrite(started, changed(started[2], ["trainer", "schedule", *place], value))
        with pytest.raises(CheckpointError, match="its schedule is not the one of the recipe"):
            resume(path)


def places(value, at=()):
    """The chain of keys to everything in a JSON document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*at, key)
        yield from places(inner, (*at, key))


LEAVES = st.none() | st.booleans() | st.integers(-3, 40) | st.just(10**30) | st.floats() | st.text(max_size=4)
ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)


@given(data=st.data())
def test_any_other_value_anywhere_gives_an_error_of_ours_or_a_model(started, data):
    document = started[2]
    for _ in range(data.draw(st.integers(1, 2))):
        place = data.draw(st.sampled_from(list(places(document))))
        document = changed(document, place, data.draw(ANYTHING))
    path = rewrite(started, document)
    try:
        load_checkpoint(path).model()
        resume(path)
    except TinyconvError:
        pass


def test_numbers_that_numpy_does_not_have(tmp_path):
    path = tmp_path / "c.safetensors"
    header = json.dumps({"a": {"dtype": "F8_E4M3", "shape": [0], "data_offsets": [0, 0]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(CheckpointError, match="numbers of a type that NumPy lacks"):
        load_checkpoint(path)


def test_a_place_is_checked_without_touching_it(tmp_path):
    path, _ = write(tmp_path / "c.safetensors")
    before = path.read_bytes()
    check_place(path)
    check_place(tmp_path / "new" / "d.safetensors")
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["c.safetensors", "new"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "folder.safetensors").mkdir()
    for place in (tmp_path / "file" / "c.safetensors", tmp_path / "folder.safetensors", tmp_path / ("c" * 250)):
        for attempt in (check_place, write):
            with pytest.raises(CheckpointError, match=r"cannot write the checkpoint .*choose another place with --out"):
                attempt(place)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.safetensors"]


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch):
    path, _ = write(tmp_path / "c.safetensors")
    before = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(CheckpointError, match="disk full"):
        write(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]
