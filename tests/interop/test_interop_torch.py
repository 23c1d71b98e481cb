"""PyTorch's weights here and ours there: in memory, through files, and the errors where it cannot work."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import models, nn
from tinyconv.errors import CheckpointError
from tinyconv.train import load_checkpoint, load_weights, new_run, save_weights, start
from tinyconv.train.recipes import RECIPES

torch = pytest.importorskip("torch")
safetensors_torch = pytest.importorskip("safetensors.torch")


def net(lib):
    """A network with every kind of state: weights, statistics, an integer, and none."""
    return lib.Sequential(
        lib.Conv2d(1, 4, 3, bias=False), lib.BatchNorm2d(4), lib.ReLU(), lib.MaxPool2d(2), lib.Flatten(),
        lib.Linear(4 * 3 * 3, 5), lib.BatchNorm1d(5, affine=False), lib.LayerNorm(5),
    )  # fmt: skip


def used(lib, batch):
    """The network after some batches, so that its statistics are not the initial ones."""
    model = net(lib)
    for _ in range(3):
        model(batch)
    return model.eval()


IMAGES = np.random.default_rng(0).standard_normal((6, 1, 8, 8)).astype(np.float32)


def outputs(model):
    x = torch.from_numpy(IMAGES) if isinstance(model, torch.nn.Module) else tc.tensor(IMAGES)
    return model(x).detach().numpy()


def values(state):
    return {name: value.tolist() for name, value in state.items()}


def exported(state):
    return {name: torch.from_numpy(np.array(t)) for name, t in state.items()}


# --- live -----------------------------------------------------------------------------------------------------------


def test_a_live_module_of_torch():
    theirs, ours = used(torch.nn, torch.from_numpy(IMAGES)), net(nn).eval()
    keys = ours.load_state_dict(theirs.state_dict())
    assert keys == ([], [])
    assert ours[1].num_batches_tracked.item() == 3
    np.testing.assert_allclose(outputs(ours), outputs(theirs), rtol=0, atol=1e-5)


@pytest.mark.parametrize("to_torch", [
    lambda t: torch.from_numpy(np.array(t)),
    lambda t: torch.from_numpy(t.numpy()),
    lambda t: torch.as_tensor(t),
    lambda t: torch.from_dlpack(t),
], ids=["copy", "numpy", "as_tensor", "dlpack"])  # fmt: skip
def test_into_a_live_module_of_torch(to_torch):
    ours, theirs = used(nn, tc.tensor(IMAGES)), net(torch.nn).eval()
    theirs.load_state_dict({name: to_torch(t) for name, t in ours.state_dict().items()})  # strict
    assert theirs[1].num_batches_tracked.item() == 3
    assert values(theirs.state_dict()) == values(ours.state_dict())
    np.testing.assert_allclose(outputs(theirs), outputs(ours), rtol=0, atol=1e-5)


def test_nothing_is_shared_with_torch():
    theirs, ours = torch.nn.Linear(2, 1), nn.Linear(2, 1)
    ours.load_state_dict(theirs.state_dict())
    before = values(ours.state_dict())
    with torch.no_grad():
        theirs.weight.zero_()
    assert values(ours.state_dict()) == before


def test_parameters_that_require_grad_and_any_strides():
    theirs = {
        "weight": torch.nn.Parameter(torch.arange(6.0).reshape(2, 3).t()),
        "bias": torch.arange(6.0, requires_grad=True)[::2],
    }
    ours = nn.Linear(2, 3)
    ours.load_state_dict(theirs)
    assert ours.weight.tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert ours.bias.tolist() == [0.0, 2.0, 4.0]
    assert ours.weight.requires_grad


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.float8_e4m3fn])
def test_other_precisions_become_that_of_the_parameter(dtype):
    theirs, ours = torch.nn.Linear(3, 2).to(dtype), nn.Linear(3, 2)
    ours.load_state_dict(dict(theirs.named_parameters()))
    assert ours.weight.dtype == tc.float32
    np.testing.assert_array_equal(ours.weight.numpy(), theirs.weight.detach().float().numpy())
    assert np.unique(ours.weight.numpy()).size > 1


def test_a_device_that_must_be_left_and_a_torch_that_is_not_there():
    """In a process without torch, an object that behaves like torch's on a device can be loaded."""
    code = """
import sys
sys.modules["torch"] = None  # importing it raises
import numpy as np
from tinyconv import nn

class Host:
    dtype = "torch.bfloat16"
    def is_floating_point(self): return True
    def element_size(self): return 2
    def float(self): return np.array([[1.5, 2.5]], np.float32)
    def __array__(self, *args, **options): raise TypeError("Got unsupported ScalarType BFloat16")

class OnDevice:
    __cuda_array_interface__ = {}
    def cpu(self): return Host()
    def __array__(self, *args, **options): raise TypeError("can't convert cuda:0 device type tensor to numpy")

class Parameter:
    @property
    def __cuda_array_interface__(self): raise RuntimeError("Can't get __cuda_array_interface__ on Variable")
    def detach(self): return OnDevice()

layer = nn.Linear(2, 1, bias=False)
layer.load_state_dict({"weight": Parameter()})
print(layer.weight.tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[[1.5, 2.5]]"


def test_the_other_order_of_names():
    """As the page says about nn.Sequential, the entries of two live states come in the same order."""
    theirs = net(torch.nn)
    assert list(theirs.state_dict()) == list(net(nn).state_dict())
    assert [tuple(t.shape) for t in theirs.state_dict().values()] == [t.shape for t in net(nn).state_dict().values()]


def test_a_batch_norm_from_before_batches_were_counted():
    theirs, ours = used(torch.nn, torch.from_numpy(IMAGES)), net(nn)
    state = theirs.state_dict()
    before = ours[1].num_batches_tracked.item()
    del state["1.num_batches_tracked"]
    assert ours.load_state_dict(state) == ([], [])
    assert ours[1].num_batches_tracked.item() == before
    np.testing.assert_array_equal(ours[1].running_var.numpy(), theirs[1].running_var.numpy())
    del state["1.running_mean"]  # now there is no sign of the statistics
    assert "missing: 1.running_mean, 1.num_batches_tracked" in message(CheckpointError, ours.load_state_dict, state)


OPTIMISERS = [
    ("SGD", {"lr": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "betas": (0.8, 0.9)}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.1}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.9, "centered": True}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIMISERS)
def test_a_training_of_torchs_goes_on_here(kind, options):
    theirs, ours = torch.nn.Linear(3, 2).double(), nn.Linear(3, 2).double()
    their_optimizer = getattr(torch.optim, kind)(theirs.parameters(), **options)
    our_optimizer = getattr(tc.optim, kind)(ours.parameters())  # its options come with the state
    x = np.random.default_rng(0).standard_normal((5, 3))

    def step(model, optimizer, batch):
        optimizer.zero_grad()
        (model(batch) ** 2).sum().backward()
        optimizer.step()

    for _ in range(3):
        step(theirs, their_optimizer, torch.from_numpy(x))
    ours.load_state_dict(theirs.state_dict())
    our_optimizer.load_state_dict(their_optimizer.state_dict())
    for _ in range(3):
        step(theirs, their_optimizer, torch.from_numpy(x))
        step(ours, our_optimizer, tc.tensor(x))
    for name, t in theirs.state_dict().items():
        np.testing.assert_allclose(ours.state_dict()[name].numpy(), t.numpy(), rtol=1e-12, atol=1e-12)
    assert our_optimizer.param_groups[0].keys() == {"params", *our_optimizer.defaults}


def test_an_optimiser_of_another_kind_is_refused():
    theirs, ours = torch.nn.Linear(3, 2), nn.Linear(3, 2)
    adam = torch.optim.AdamW(theirs.parameters(), weight_decay=0.1).state_dict()
    tc.optim.AdamW(ours.parameters()).load_state_dict(adam)
    optimizer = tc.optim.Adam(ours.parameters(), lr=0.5)
    assert message(CheckpointError, optimizer.load_state_dict, adam) == (
        "Adam: saved group 0 has decoupled_weight_decay=True, which Adam does not do: was it saved by another kind of "
        "optimiser?"
    )
    assert optimizer.param_groups[0]["lr"] == 0.5
    adam = torch.optim.Adam(theirs.parameters()).state_dict()
    assert "decoupled_weight_decay=False, which AdamW does not do" in message(
        CheckpointError, tc.optim.AdamW(ours.parameters()).load_state_dict, adam
    )


# --- through files --------------------------------------------------------------------------------------------------


def test_our_file_in_torch(tmp_path):
    ours, theirs = used(nn, tc.tensor(IMAGES)), net(torch.nn).eval()
    path = save_weights(ours.state_dict(), tmp_path / "new" / "w.safetensors")
    theirs.load_state_dict(safetensors_torch.load_file(path))
    assert values(theirs.state_dict()) == values(ours.state_dict())
    safetensors_torch.load_model(net(torch.nn), path)


def test_torchs_file_here(tmp_path):
    theirs, ours = used(torch.nn, torch.from_numpy(IMAGES)), net(nn).eval()
    safetensors_torch.save_file(theirs.state_dict(), tmp_path / "w.safetensors")
    ours.load_state_dict(load_weights(tmp_path / "w.safetensors"))
    assert values(theirs.state_dict()) == values(ours.state_dict())
    safetensors_torch.save_model(theirs, tmp_path / "m.safetensors")
    assert net(nn).load_state_dict(load_weights(tmp_path / "m.safetensors")) == ([], [])


def test_weights_are_written_whatever_their_strides_and_whoever_made_them(tmp_path):
    fortran = tc.from_numpy(np.asfortranarray(np.arange(6.0).reshape(2, 3)))
    state = {
        "f": fortran,
        "t": torch.arange(6.0).reshape(2, 3).t(),
        "half": torch.ones(2).bfloat16(),
        "n": tc.tensor(7),
    }
    back = load_weights(save_weights(state, tmp_path / "w.safetensors"))
    assert {name: t.tolist() for name, t in back.items()} == {
        "f": [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], "t": [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]], "half": [1.0, 1.0], "n": 7,
    }  # fmt: skip
    assert (back["f"].dtype, back["half"].dtype, back["n"].dtype) == (tc.float64, tc.float32, tc.int64)
    assert all(isinstance(t, tc.Tensor) for t in back.values())


def test_loaded_weights_can_be_written_to(tmp_path):
    back = load_weights(save_weights({"a": tc.ones(2)}, tmp_path / "w.safetensors"))
    back["a"].fill_(3)
    assert back["a"].tolist() == [3.0, 3.0]


def test_names_like_those_of_an_optimiser_are_left_out_of_checkpoints_alone(tmp_path):
    path = save_weights({"optimizer/0/a": tc.ones(1)}, tmp_path / "w.safetensors")
    assert list(load_weights(path)) == ["optimizer/0/a"]


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr("tinyconv.data.datasets.SYNTHETIC_TRAIN", 256)
    monkeypatch.setattr("tinyconv.data.datasets.SYNTHETIC_TEST", 16)
    session = start(new_run("lenet5", "synthetic", 0, RECIPES["default"]))
    next(session.trainer.run())
    return session.save(tmp_path / "run.safetensors")


def test_a_checkpoint_of_a_training_as_weights(checkpoint):
    everything = safetensors_torch.load_file(checkpoint)
    rest = {name for name in everything if name.startswith("optimizer/")}
    assert rest
    names = set(models.lenet5().state_dict())
    assert set(everything) - rest == names == set(load_weights(checkpoint))
    model = models.lenet5()
    model.load_state_dict(load_weights(checkpoint))
    assert values(model.state_dict()) == values(load_checkpoint(checkpoint).model_state)


def test_files_that_are_no_weights(tmp_path):
    path = tmp_path / "model.pt"
    torch.save(torch.nn.Linear(2, 1).state_dict(), path)
    assert message(CheckpointError, load_weights, path) == (
        f"{path} looks like a file of torch.save; tinyconv.load(path) reads the tensors in it, and "
        "tinyconv.train.save_weights writes a state of them as safetensors"
    )
    missing = tmp_path / "nowhere"
    assert message(CheckpointError, load_weights, missing) == f"no checkpoint at {missing}: there is no such file"
    path.write_bytes(b"junk")
    assert "damaged or cut short, or not a safetensors file" in message(CheckpointError, load_weights, path)
    safetensors_torch.save_file({"a": torch.ones(1).to(torch.float8_e4m3fn)}, path)
    assert message(CheckpointError, load_weights, path).endswith("save them as float32")


@pytest.mark.parametrize("installed", [True, False])
def test_bfloat16_files_become_float32(tmp_path, monkeypatch, installed):
    """With ml_dtypes, which gives NumPy a bfloat16, and without it."""
    if not installed:
        monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    theirs = {
        "a": torch.tensor([[1.5, -2.25], [torch.inf, 1e-40]]).bfloat16(), "b": torch.tensor(3.140625).bfloat16(),
        "none": torch.zeros(0, 3).bfloat16(), "f": torch.arange(3.0), "n": torch.arange(3),
    }  # fmt: skip
    safetensors_torch.save_file(theirs, tmp_path / "w.safetensors")
    ours = load_weights(tmp_path / "w.safetensors")
    assert {str(t.dtype) for t in ours.values()} == {"float32", "int64"}
    assert values(ours) == {
        name: t.float().tolist() if t.is_floating_point() else t.tolist() for name, t in theirs.items()
    }
    assert {name: t.shape for name, t in ours.items()} == {name: tuple(t.shape) for name, t in theirs.items()}


def test_weights_that_cannot_be_written(tmp_path):
    path = tmp_path / "folder"
    path.mkdir()
    state = {"a": tc.ones(1)}
    assert message(CheckpointError, save_weights, state, path) == (
        f"cannot write the weights {path}: {path.resolve()} is not a regular file; choose another place"
    )
    assert message(CheckpointError, save_weights, nn.Linear(1, 1), path) == (
        "save_weights: expected a dict of names and tensors, got a Linear; pass its state_dict()"
    )


def test_a_failed_write_leaves_the_old_weights(tmp_path, monkeypatch):
    path = save_weights({"a": tc.ones(1)}, tmp_path / "w.safetensors")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(CheckpointError, match="disk full"):
        save_weights({"a": tc.zeros(1)}, path)
    assert load_weights(path)["a"].tolist() == [1.0]
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


# --- where it cannot work -------------------------------------------------------------------------------------------

OTHER = "\n  was it saved from another model, or from one built with other arguments?"


@pytest.mark.parametrize(("given", "expected"), [
    (torch.nn.Linear(2, 1), "a Linear; pass its state_dict()"),
    (nn.Linear(2, 1), "a Linear; pass its state_dict()"),
    ("w.safetensors", "a str; read the file first, with tinyconv.train.load_weights(path)"),
    (Path("w.pt"), f"a {type(Path()).__name__}; read the file first, with tinyconv.train.load_weights(path)"),
    ([torch.ones(1, 2)], "a list; model.state_dict() makes one"),
    (None, "a NoneType; model.state_dict() makes one"),
])  # fmt: skip
def test_what_is_no_state(given, expected):
    assert message(CheckpointError, nn.Linear(2, 1).load_state_dict, given) == (
        f"load_state_dict: expected a dict of names and tensors, got {expected}"
    )


@pytest.mark.parametrize(("value", "expected"), [
    (torch.ones(2, 1), "expected shape (1, 2), got (2, 1): transposed? value.T"),
    (torch.ones(1, 2, device="meta"), "cannot be read as an array: Cannot copy out of meta tensor; no data!"),
    (torch.ones(1, 2).to_sparse(), "cannot be read as an array: can't convert Sparse layout tensor to numpy. "
                                   "Use Tensor.to_dense() first."),
    (torch.ones(1, 2, dtype=torch.complex64), "cannot be read as an array: tensors of complex64 are not supported: "
                                              "bool, integers, float16, float32 and float64 are"),
    (None, "cannot be read as an array: tensor: expected numbers (integers within int64) or nested lists of them, "
           "got None"),
], ids=["shape", "meta", "sparse", "complex", "none"])  # fmt: skip
@pytest.mark.parametrize("strict", [True, False])
def test_values_that_do_not_fit_change_nothing(value, expected, strict):
    layer = nn.Linear(2, 1)
    before = values(layer.state_dict())
    state = {"bias": torch.ones(1), "weight": value}
    assert message(CheckpointError, layer.load_state_dict, state, strict=strict) == (
        f"load_state_dict: this state is not one of Linear\n  weight: {expected}{OTHER}"
    )
    assert values(layer.state_dict()) == before


def test_a_float_for_a_count_changes_nothing():
    layer = nn.BatchNorm1d(2)
    before = values(layer.state_dict())
    state = {name: t.float() + 1 for name, t in torch.nn.BatchNorm1d(2).state_dict().items()}
    assert message(CheckpointError, layer.load_state_dict, state) == (
        "load_state_dict: this state is not one of BatchNorm1d\n"
        f"  num_batches_tracked: expected int64, got float32{OTHER}"
    )
    assert values(layer.state_dict()) == before


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "net.encoder."])
def test_a_prefix_is_recognised_and_the_advice_helps(prefix):
    theirs, ours = net(torch.nn), net(nn)
    state = {prefix + name: t for name, t in theirs.state_dict().items()}
    said = message(CheckpointError, ours.load_state_dict, state).splitlines()[-1]
    begin, _, advice = said.partition("; take that off: ")
    by = {"module.": "as under torch.nn.DataParallel", "_orig_mod.": "as under torch.compile"}
    other = "saved from a module that held it under that name"
    assert begin == f"  its names begin with {prefix!r}, {by.get(prefix, other)}"
    ours.load_state_dict(eval(advice, {"state": state}))
    assert values(ours.state_dict()) == values(theirs.state_dict())


def test_another_model_with_a_prefix_gets_no_such_advice():
    state = {f"module.{name}": t for name, t in torch.nn.Linear(2, 1, bias=False).state_dict().items()}
    assert message(CheckpointError, nn.Linear(2, 1).load_state_dict, state).endswith(OTHER)


def test_weights_one_level_down():
    saved = {"epoch": 3, "state_dict": torch.nn.Linear(2, 1).state_dict()}
    assert message(CheckpointError, nn.Linear(2, 1).load_state_dict, saved).splitlines()[-1] == (
        "  the weights are one level down: pass state['state_dict']"
    )
