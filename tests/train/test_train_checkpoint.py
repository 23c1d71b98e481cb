"""Checkpoint files: what is in them, and what happens when they are not what they should be."""

import json

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

import tinyconv as tc
from tinyconv import models, optim
from tinyconv.errors import CheckpointError
from tinyconv.train import RECIPES, load_checkpoint, new_run
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
    with pytest.raises(CheckpointError, match=r"not a tinyconv checkpoint.*of which model.*load_file"):
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


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match=r"cannot write the checkpoint .*choose another place with --out"):
        write(tmp_path / "file" / "c.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(CheckpointError, match="cannot write the checkpoint"):
        write(tmp_path / "folder.safetensors")
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
