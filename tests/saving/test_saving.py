"""save and load: what a script keeps comes back as it was, PyTorch's files are read, and nothing else is."""

import argparse
import copy
import io
import json
import pickle
import random
import warnings
import zipfile
from collections import Counter, OrderedDict, namedtuple
from pathlib import Path

import numpy as np
import pytest
from messages import message

import tinyconv as tc
from tinyconv import nn, optim
from tinyconv.host import limits

torch = pytest.importorskip("torch")


def again(obj, **options):
    """`obj` through a file in memory."""
    file = io.BytesIO()
    tc.save(obj, file)
    file.seek(0)
    return tc.load(file, **options)


def same(a, b):
    assert type(a) is type(b), (a, b)
    if isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, tc.Tensor):
        assert (a.dtype, a.shape, a.requires_grad, a.is_leaf) == (b.dtype, b.shape, b.requires_grad, b.is_leaf)
        np.testing.assert_array_equal(a.detach().numpy(), b.detach().numpy())
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b or (a != a and b != b)


def trained():
    tc.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = optim.AdamW(model.parameters(), amsgrad=True)
    schedule = optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=20)
    for _ in range(3):
        step(model, optimizer, schedule)
    return model, optimizer, schedule


def step(model, optimizer, schedule):
    optimizer.zero_grad()
    loss = (model(tc.arange(12, dtype=tc.float32).reshape(4, 3)) ** 2).mean()
    loss.backward()
    optimizer.step()
    schedule.step()
    return loss.item()


THINGS = {
    "numbers": [0, -1, 2**70, 1.5, -0.0, float("inf"), float("-inf"), float("nan"), True, None, 1 + 2j],
    "texts": ["", "é\n\x00", "__metadata__", b"\x00\xff"],
    "containers": [(), [], {}, ((1, [2, (3,)]),), {1, 2}, frozenset({"a"}), OrderedDict([("b", 1), ("a", 2)])],
    "keys": {1: "int", "1": "str", (1, "a"): "tuple", None: 0, 1.5: 1, True + 1: 2},
    "arrays": [np.arange(6).reshape(2, 3).T, np.float64(1.5), np.int8(3), np.array(True), np.zeros((0, 3), np.float16)],
    "others": [tc.float32, np.dtype("int64"), tc.device("cpu")],
}


@pytest.mark.parametrize("name", THINGS)
def test_plain_things_come_back(name):
    same(again(THINGS[name]), THINGS[name])


@pytest.mark.parametrize("dtype", [tc.bool, tc.uint8, tc.int32, tc.int64, tc.float16, tc.float32, tc.float64])
@pytest.mark.parametrize("shape", [(), (0,), (2, 0), (3,), (2, 3)])
def test_tensors_of_every_kind(dtype, shape):
    t = tc.ones(shape).to(dtype)
    same(again(t), t)
    same(again({"a": [t, t.clone()]}), {"a": [t, t]})


def test_gradients_are_asked_for_as_before_and_parameters_stay_parameters():
    w, p, q = tc.ones(2, requires_grad=True), nn.Parameter(tc.ones(3)), nn.Parameter(tc.ones(3), requires_grad=False)
    found = again([w, p, q, (w * 2), tc.randn(4, 6).T[1:]])
    assert [type(t) for t in found] == [tc.Tensor, nn.Parameter, nn.Parameter, tc.Tensor, tc.Tensor]
    assert [t.requires_grad for t in found] == [True, True, False, True, False]
    assert all(t.is_leaf for t in found)


def test_what_is_shared_is_written_once_and_shared_again():
    t, a = tc.ones(1000), np.ones(1000)
    file = io.BytesIO()
    tc.save({"x": t, "y": [t, a], "z": a}, file)
    assert len(file.getvalue()) < 4000 + 8000 + 1000
    file.seek(0)
    found = tc.load(file)
    assert found["x"] is found["y"][0]
    assert found["z"] is found["y"][1]
    found["x"].fill_(2)
    assert t.tolist() == [1.0] * 1000  # memory of its own


def test_names_of_tensors_that_would_be_the_same():
    obj = {"a/b": tc.zeros(1), "a": {"b": tc.ones(1)}, "__metadata__": tc.full((1,), 2.0), "": tc.full((1,), 3.0)}
    same(again(obj), obj)


def test_a_training_goes_on_bit_for_bit(tmp_path):
    model, optimizer, schedule = trained()
    path = tmp_path / "checkpoint.pt"
    tc.save(
        {
            "model": model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "epoch": 3,
        },
        path,
    )
    twin = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    its = optim.AdamW(twin.parameters(), amsgrad=True)
    its_schedule = optim.lr_scheduler.OneCycleLR(its, 0.1, total_steps=20)
    found = tc.load(str(path), map_location="cpu", weights_only=True)
    twin.load_state_dict(found["model"])
    its.load_state_dict(found["optimizer"])
    its_schedule.load_state_dict(found["schedule"])
    assert found["epoch"] == 3
    for _ in range(4):
        assert step(model, optimizer, schedule) == step(twin, its, its_schedule)


def test_any_reader_of_safetensors_finds_the_tensors_of_a_state(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    model, _, _ = trained()
    path = tmp_path / "weights.pt"
    tc.save(model.state_dict(), path)
    found = safetensors.load_file(path)
    assert set(found) == set(model.state_dict())
    for name, t in model.state_dict().items():
        np.testing.assert_array_equal(found[name], t.numpy())
    safetensors.save_file({"a": np.ones(2), "b": np.array(1)}, path)
    found = tc.load(path)
    same({name: found[name] for name in "ab"}, {"a": tc.ones(2, dtype=tc.float64), "b": tc.tensor(1)})


def test_where_tensors_come_to():
    x = tc.ones(2)
    seen = []
    assert again(x, map_location=tc.device("cpu")).device == "cpu"
    assert again(x, map_location="meta").device == "meta"
    assert again(x, map_location={"cpu": "meta"}).device == "meta"
    assert again(x, map_location={"cuda:0": "cpu"}).device == "cpu"
    assert again(x, map_location=lambda t, where: seen.append(where)).device == "cpu"
    assert again(x, map_location=lambda t, where: t.to("meta")).device == "meta"
    assert seen == ["cpu"]


def test_from_a_gpu(standin_cuda):
    x = tc.ones(2, device="cuda")
    assert again({"x": x})["x"].device == "cuda:0"
    assert again({"x": x}, map_location="cpu")["x"].device == "cpu"


def test_a_file_is_replaced_in_one_step(tmp_path):
    path = tmp_path / "x.pt"
    tc.save([1], path)
    with pytest.raises(tc.CheckpointError):
        tc.save([1, print], path)
    assert tc.load(path) == [1]
    assert list(tmp_path.iterdir()) == [path]


# --- files of PyTorch's -----------------------------------------------------------------------------------------------


def from_torch(obj, **options):
    file = io.BytesIO()
    torch.save(obj, file, **options)
    file.seek(0)
    return tc.load(file)


def equal(mine, other):
    """Whether `mine` says what `other`, of PyTorch's, does."""
    if isinstance(other, torch.Tensor):
        assert isinstance(mine, nn.Parameter) == isinstance(other, torch.nn.Parameter)
        assert mine.requires_grad == other.requires_grad
        if other.dtype == torch.bfloat16:
            other = other.float()
        assert str(mine.dtype) == str(other.dtype).removeprefix("torch.")
        np.testing.assert_array_equal(mine.detach().numpy(), other.detach().numpy())
    elif isinstance(other, dict):
        assert type(mine) is type(other)
        assert list(mine) == list(other)
        for key in other:
            equal(mine[key], other[key])
    elif isinstance(other, list | tuple) and not isinstance(other, torch.Size):
        assert type(mine) is type(other)
        for a, b in zip(mine, other, strict=True):
            equal(a, b)
    elif isinstance(other, torch.dtype | torch.device):
        assert str(mine) == str(other).removeprefix("torch.")
    else:
        assert mine == other


def of_torch():
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2), torch.nn.Flatten())
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.randn(2, 1, 5, 5)).sum().backward()
    optimizer.step()
    base = torch.arange(24.0).reshape(2, 3, 4)
    return {
        "states": {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "loss": 0.25},
        "parameters": [torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2), requires_grad=False)],
        "views": (base, base[1], base.permute(2, 0, 1), base[:, ::2, 1], base[1, 1, 1], base[:0]),
        "dtypes": [
            torch.ones(3).to(getattr(torch, n))
            for n in ["float16", "bfloat16", "float64", "int32", "int64", "uint8", "bool"]
        ],
        "values": [None, True, -3, 2**40, 2**80, "é", b"ab", {1, 2}, torch.Size([2, 3]), torch.float32, ((), [], {})],
        "places": [torch.device("cpu"), torch.ones(1, requires_grad=True), torch.ones(())],
    }


@pytest.mark.parametrize("name", of_torch())
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_files_of_pytorch_are_read(name, protocol):
    obj = of_torch()[name]
    equal(from_torch(obj, pickle_protocol=protocol), obj)


def test_a_model_and_its_optimiser_go_on_from_pytorchs_file(tmp_path):
    torch.manual_seed(0)
    theirs = torch.nn.Linear(3, 2)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    x = torch.arange(6.0).reshape(2, 3)
    for _ in range(2):
        reference.zero_grad(), (theirs(x) ** 2).mean().backward(), reference.step()
    torch.save({"m": theirs.state_dict(), "o": reference.state_dict()}, tmp_path / "a.pth")
    found = tc.load(tmp_path / "a.pth")
    ours = nn.Linear(3, 2)
    ours.load_state_dict(found["m"])
    optimizer = optim.SGD(ours.parameters(), lr=0.1, momentum=0.9)
    optimizer.load_state_dict(found["o"])
    for _ in range(3):
        reference.zero_grad(), (theirs(x) ** 2).mean().backward(), reference.step()
        optimizer.zero_grad(), (ours(tc.tensor(x.numpy())) ** 2).mean().backward(), optimizer.step()
    np.testing.assert_allclose(ours.weight.detach().numpy(), theirs.weight.detach().numpy(), rtol=1e-5, atol=1e-7)


class Runs:
    """An object whose pickle runs code."""

    def __reduce__(self):
        return print, ("executed",)


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        (
            torch.nn.Linear(2, 2),
            "it holds more than data: torch.nn.modules.linear.Linear; nothing of it was executed",
        ),
        (Runs(), "it holds more than data: "),
        ({"a": argparse.Namespace(lr=1)}, "it holds more than data: argparse.Namespace"),
        ([np.float64(1.0)], "it holds more than data: numpy"),
        (
            torch.ones(2).expand(5, 2),
            "it has an expanded tensor, of more elements than are stored",
        ),
        (torch.ones(2, dtype=torch.complex64), "it has numbers of a type that NumPy lacks (torch.ComplexFloatStorage)"),
    ],
)
def test_whatever_else_pytorch_saves_is_refused(obj, text, capsys):
    assert text in message(tc.CheckpointError, from_torch, obj)
    assert capsys.readouterr().out == ""


def test_other_pickles_are_refused(tmp_path, capsys):
    path = tmp_path / "old.pt"
    torch.save(torch.ones(2), path, _use_new_zipfile_serialization=False)
    assert f"load: {path}: it is a pickle, or a file from before PyTorch 1.6" in message(
        tc.CheckpointError, tc.load, path
    )
    for protocol in (2, 3, 4, 5):
        path.write_bytes(pickle.dumps(Runs(), protocol))
        assert "it is a pickle" in message(tc.CheckpointError, tc.load, path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it is old
        torch.jit.save(torch.jit.script(torch.nn.ReLU()), path)
    assert "it is a TorchScript program" in message(tc.CheckpointError, tc.load, path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a", "b")
    assert "none that PyTorch's save wrote" in message(tc.CheckpointError, tc.load, path)
    assert capsys.readouterr().out == ""


def rewritten(obj, change, compression=zipfile.ZIP_STORED):
    """PyTorch's file of `obj` with its entries changed by `change(name, content)`."""
    file, out = io.BytesIO(), io.BytesIO()
    torch.save(obj, file)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(out, "w", compression) as new:
        for entry in old.infolist():
            content = change(entry.filename.partition("/")[2], old.read(entry))
            if content is not None:
                new.writestr(entry.filename, content)
    return io.BytesIO(out.getvalue())


def test_archives_that_lie():
    obj = {"a": torch.arange(6.0)}
    damaged = {
        "short storage": (
            lambda name, content: content[:-4] if name == "data/0" else content,
            "has not the 6 elements",
        ),
        "no storage": (lambda name, content: None if name == "data/0" else content, "cannot be read"),
        "another pickle": (lambda name, content: b"junk" if name == "data.pkl" else content, "cannot be read"),
        "larger view": (
            lambda name, content: content.replace(b"K\x06\x85", b"K\x07\x85") if name == "data.pkl" else content,
            "reaches beyond its storage",
        ),
    }
    for change, text in damaged.values():
        assert text in message(tc.CheckpointError, tc.load, rewritten(obj, change))
    squeezed = rewritten(obj, lambda name, content: content, zipfile.ZIP_DEFLATED)
    assert "is compressed, which PyTorch's save does not do" in message(tc.CheckpointError, tc.load, squeezed)
    turned = rewritten(
        obj,
        lambda name, content: {"byteorder": b"big", "data/0": np.arange(6, dtype=">f4").tobytes()}.get(name, content),
    )
    assert tc.load(turned)["a"].tolist() == list(range(6))


@pytest.mark.parametrize("kind", ["ours", "pytorch's", "safetensors"])
def test_damaged_files_are_read_whole_or_refused(kind):
    """A byte changed, or an end cut off: another value or a CheckpointError, and never anything else."""
    rng = random.Random(0)
    file = io.BytesIO()
    if kind == "pytorch's":
        torch.save({"a": torch.ones(3), "b": [1, "x", (2.5, None)], "c": torch.nn.Linear(2, 2).state_dict()}, file)
    elif kind == "ours":
        tc.save({"a": tc.ones(3), "b": [1, "x", (2.5, None)], "c": nn.Linear(2, 2).state_dict(), 1: {2}}, file)
    else:
        safetensors = pytest.importorskip("safetensors.numpy")
        file.write(safetensors.save({"a": np.ones(3), "b": np.zeros((2, 2))}))
    whole = file.getvalue()
    refused = 0
    for _ in range(600):
        content = bytearray(whole)
        if rng.random() < 0.2:
            del content[rng.randrange(len(content)) :]
        else:
            for _ in range(rng.choice([1, 1, 2, 8])):
                content[rng.randrange(len(content))] = rng.randrange(256)
        try:
            tc.load(io.BytesIO(bytes(content)))
        except tc.CheckpointError:
            refused += 1
    assert refused > 100


# --- mistakes ---------------------------------------------------------------------------------------------------------

Pair = namedtuple("Pair", "a b")


def itself():
    items = []
    items.append(items)
    return items


REFUSED = [
    (nn.ReLU(), "save: obj is a ReLU, and a file holds data, no code; save obj.state_dict(), and give that to the"),
    ({"net": [nn.ReLU()]}, "save: obj['net'][0] is a ReLU, and a file holds data, no code; save obj['net'][0].state"),
    ([optim.SGD([tc.ones(1)])], "save: obj[0] is a SGD, and a file holds data, no code; save obj[0].state_dict()"),
    ({"f": print}, "save: obj['f'] is <built-in function print>, which is no data"),
    (
        argparse.Namespace(lr=1),
        "tensor or plain container; its attributes: vars(...)",
    ),
    (Path("x"), "save str(...) of it"),
    (Counter("a"), "save: obj is a Counter; save dict(...) of it"),
    (Pair(1, 2), "save: obj is a Pair; save tuple(...) of it, or its _asdict()"),
    (torch.ones(1), "save: obj is a Tensor of another library; save tc.tensor(...) of it"),
    (np.array(["a"]), "save: obj is an array of <U1, which cannot be saved"),
    ({print: 1}, "save: a key of obj is <built-in function print>, which is no data"),
    (itself(), "save: it is nested too deeply, or a container holds itself"),
]


@pytest.mark.parametrize(("obj", "text"), REFUSED, ids=lambda x: x[:40] if isinstance(x, str) else "")
def test_what_is_no_data_is_refused(obj, text):
    assert text in message(tc.CheckpointError, tc.save, obj, io.BytesIO())


def test_mistakes(tmp_path, monkeypatch):
    assert message(FileNotFoundError, tc.load, tmp_path / "no.pt") == f"load: no such file: {tmp_path / 'no.pt'}"
    assert "is a folder, expected a file" in message(tc.CheckpointError, tc.load, tmp_path)
    file = io.BytesIO()
    tc.save([1], file)
    assert "there is nothing to read; f.seek(0) first?" in message(tc.CheckpointError, tc.load, file)
    assert "open the file in binary mode" in message(tc.CheckpointError, tc.load, io.StringIO("x"))
    assert "load: takes a path or an open file, got 3" in message(tc.CheckpointError, tc.load, 3)
    assert "save: takes what to save and a path" in message(tc.CheckpointError, tc.save, 3, {"a": 1})
    assert "save: cannot write" in message(tc.CheckpointError, tc.save, 3, tmp_path / "no" / "x.pt")
    monkeypatch.setattr(limits, "HEADER", 100)
    expected = "the names, numbers and texts take"
    assert expected in message(tc.CheckpointError, tc.save, list(range(100)), io.BytesIO())


def test_the_checkpoint_of_a_training_is_told_from_what_a_script_saved(tmp_path):
    pytest.importorskip("safetensors")
    session = tc.train.start(tc.train.new_run("lenet5", "synthetic", 0, tc.train.RECIPES["default"]))
    path = session.save(tmp_path / "run.safetensors")
    path = path or tmp_path / "run.safetensors"
    assert "tinyconv.train.load_checkpoint reads it" in message(tc.CheckpointError, tc.load, path)


def test_holes_and_overlaps_are_refused():
    def file(header, data=b"\x00" * 8):
        text = json.dumps(header).encode()
        return io.BytesIO(len(text).to_bytes(8, "little") + text + data)

    entry = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
    other = {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}
    assert list(tc.load(file({"a": entry, "b": other}))) == ["a", "b"]
    wrong = [
        {"a": entry},
        {"a": entry, "b": entry},
        {"a": {**entry, "shape": [2]}, "b": other},
        {"a": {**entry, "shape": [-1]}, "b": other},
        {"a": {**entry, "shape": [True]}, "b": other},
        {"a": {**entry, "data_offsets": [0, 2**60]}, "b": other},
        {"a": entry, "b": {**other, "dtype": "F8_E4M3"}},
        {"a": entry, "b": other, "__metadata__": {"x": 1}},
        {"a": entry, "b": other, "__metadata__": {"tinyconv_object": '{"is": "Tensor", "of": "c"}'}},
        {"a": entry, "b": other, "__metadata__": {"tinyconv_object": '{"is": "exec", "of": "c"}'}},
        {"a": entry, "b": other, "__metadata__": {"tinyconv_object": "[" * 10**5}},
    ]
    for header in wrong:
        assert message(tc.CheckpointError, tc.load, file(header)).startswith("load: this BytesIO")


def test_copies_of_what_was_loaded_are_apart():
    found = again({"a": tc.ones(2)})
    twin = copy.deepcopy(found)
    twin["a"].fill_(3.0)
    assert found["a"].tolist() == [1.0, 1.0]
