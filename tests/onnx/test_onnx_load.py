"""What `tc.onnx.load` makes of files: of torch's exporter, of old opsets, and of what no table covers."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("onnx", reason="ONNX files need onnx")
pytest.importorskip("torch")

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.errors import CallError, DtypeError, OnnxError, ShapeError
from tinyconv.onnx.loading import GraphNode
from tinyconv.onnx.nodes import NODES


class LeNet(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(1, 6, 5), torch.nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = torch.nn.Linear(256, 120), torch.nn.Linear(120, 84), torch.nn.Linear(84, 10)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.max_pool2d(torch.relu(self.conv2(x)), 2)
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1))))))


class Block(torch.nn.Module):
    def __init__(self, c, f, stride):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(c, f, 3, stride, 1, bias=False), torch.nn.BatchNorm2d(f)
        self.conv2, self.bn2 = torch.nn.Conv2d(f, f, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(f)
        self.shortcut = torch.nn.Sequential()
        if stride > 1:
            self.shortcut = torch.nn.Sequential(torch.nn.Conv2d(c, f, 1, stride, bias=False), torch.nn.BatchNorm2d(f))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class ResNet(torch.nn.Module):
    """ResNet-18 with 4 to 32 channels."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = torch.nn.Conv2d(3, 4, 7, 2, 3, bias=False), torch.nn.BatchNorm2d(4)
        sizes = [(4, 4, 1), (4, 4, 1), (4, 8, 2), (8, 8, 1), (8, 16, 2), (16, 16, 1), (16, 32, 2), (32, 32, 1)]
        self.layers = torch.nn.Sequential(*(Block(*size) for size in sizes))
        self.fc = torch.nn.Linear(32, 10)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        return self.fc(torch.nn.functional.adaptive_avg_pool2d(self.layers(x), 1).flatten(1))


class UNet(torch.nn.Module):
    """One level down, and up by transposed convolution, by the nearest pixel, and bilinearly."""

    def __init__(self):
        super().__init__()
        self.enter, self.below, self.norm = (
            torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.Conv2d(4, 8, 3, padding=1), torch.nn.GroupNorm(2, 8)
        )  # fmt: skip
        self.up, self.leave = torch.nn.ConvTranspose2d(8, 4, 2, 2), torch.nn.Conv2d(16, 2, 3, padding=1)

    def forward(self, x):
        a = torch.relu(self.enter(x))
        b = torch.nn.functional.silu(self.norm(self.below(torch.nn.functional.avg_pool2d(a, 2))))
        near = torch.nn.functional.interpolate(b, scale_factor=2, mode="nearest")
        y = self.leave(torch.cat([self.up(b), a, near], 1))
        wide = torch.nn.functional.interpolate(y, size=(40, 24), mode="bilinear", align_corners=False)
        return torch.nn.functional.interpolate(wide, size=(11, 13), mode="bilinear", align_corners=True)


NETS = {"lenet": (LeNet, (1, 28, 28)), "resnet": (ResNet, (3, 64, 64)), "unet": (UNet, (3, 16, 16))}
TRAINED = ("lenet", "resnet")


def from_torch(net, x, path, dynamo=False, **options):
    """The net as one of torch's two exporters writes it, loaded here."""
    if dynamo:
        pytest.importorskip("onnxscript", reason="torch's newer exporter needs onnxscript")
        options |= {"dynamic_shapes": ({0: torch.export.Dim("n")},), "verbose": False}
    else:
        options["dynamic_axes"] = {"x": {0: "n"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (x,), path, input_names=["x"], dynamo=dynamo, **options)
    return tc.onnx.load(path)


def made(name):
    """A net of torch's with statistics that are not 0 and 1, and a batch for it."""
    kind, image = NETS[name]
    torch.manual_seed(0)
    net = kind()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net, torch.randn(4, *image)


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["traced", "dynamo"])
@pytest.mark.parametrize("name", NETS)
def test_torchs_file_gives_torchs_scores(name, dynamo, tmp_path):
    net, x = made(name)
    net.eval()
    loaded = from_torch(net, x[:2], tmp_path / "net.onnx", dynamo)
    assert not loaded.training
    expected = net(x).detach().numpy()
    found = loaded(tc.from_numpy(x.numpy())).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * abs(expected).max())


@pytest.mark.slow
def test_a_file_of_torchs_newer_exporter_has_torchs_gradients(tmp_path):
    net, x = made("lenet")
    loaded = from_torch(net, x[:2], tmp_path / "net.onnx", dynamo=True).train()
    net(x).pow(2).sum().backward()
    loaded(tc.from_numpy(x.numpy())).pow(2).sum().backward()
    assert {key for key, _ in loaded.named_parameters()} == {key for key, _ in net.named_parameters()}
    for key, value in net.named_parameters():
        found, expected = loaded.get_parameter(key).grad.numpy(), value.grad.numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6 * abs(expected).max(), err_msg=key)


@pytest.mark.parametrize(
    ("mode", "corners"),
    [("nearest", False), ("nearest-exact", False), *((mode, on) for mode in ("bilinear", "bicubic") for on in (0, 1))],
)
@pytest.mark.parametrize("size", [(7, 9), (3, 4), (1, 10), (5, 5)])
def test_resize_gives_torchs_values_and_gradients(mode, corners, size):
    """By the attributes that torch's exporters write."""
    nearest = {"nearest": ("asymmetric", "floor"), "nearest-exact": ("half_pixel", "round_prefer_ceil")}
    where, rounding = nearest.get(mode, ("align_corners" if corners else "half_pixel", "floor"))
    node = helper.make_node(
        "Resize", ["x", "", "", "sizes"], ["y"], mode={"bilinear": "linear", "bicubic": "cubic"}.get(mode, "nearest"),
        coordinate_transformation_mode=where, nearest_mode=rounding, cubic_coeff_a=-0.75,
    )  # fmt: skip
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64, requires_grad=True)
    options = {} if mode.startswith("nearest") else {"align_corners": bool(corners)}
    expected = torch.nn.functional.interpolate(x, size=size, mode=mode, **options)
    ours = tc.from_numpy(x.detach().numpy().copy()).requires_grad_()
    found = NODES["Resize"](GraphNode(node, 0), ours, None, None, tc.tensor([2, 3, *size]))
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=0, atol=1e-12)
    expected.pow(2).sum().backward()
    found.pow(2).sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), x.grad.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", TRAINED)
def test_a_step_has_torchs_gradients(name, tmp_path):
    net, x = made(name)
    net.train()
    options = {"training": torch.onnx.TrainingMode.TRAINING, "do_constant_folding": False}
    loaded = from_torch(net, x[:2], tmp_path / "net.onnx", **options).train()
    assert {p for p, _ in loaded.named_parameters()} == {p for p, _ in net.named_parameters()}
    for p, value in net.named_parameters():
        assert np.array_equal(loaded.get_parameter(p).detach().numpy(), value.detach().numpy())
    labels = np.array([3, 1, 4, 1])
    # A pass of the export has moved the statistics of torch's net.
    loaded.load_state_dict({key: net.state_dict()[key].numpy() for key in loaded.state_dict()})
    loss = torch.nn.functional.cross_entropy(net(x), torch.from_numpy(labels))
    loss.backward()
    ours = F.cross_entropy(loaded(tc.from_numpy(x.numpy())), tc.from_numpy(labels))
    ours.backward()
    assert abs(ours.item() - loss.item()) < 1e-5
    for key, value in net.named_parameters():
        grad, expected = loaded.get_parameter(key).grad.numpy(), value.grad.numpy()
        np.testing.assert_allclose(grad, expected, rtol=0, atol=2e-5 * abs(expected).max() + 1e-7, err_msg=key)
    for key, value in net.named_buffers():
        if not key.endswith("num_batches_tracked"):
            np.testing.assert_allclose(loaded.get_buffer(key).numpy(), value.numpy(), rtol=1e-5, atol=1e-6)
    optimizer, theirs = tc.optim.SGD(loaded.parameters(), 0.1), torch.optim.SGD(net.parameters(), 0.1)
    optimizer.step()
    theirs.step()
    for key, value in net.named_parameters():
        np.testing.assert_allclose(
            loaded.get_parameter(key).detach().numpy(), value.detach().numpy(), rtol=0, atol=1e-5, err_msg=key
        )


def test_a_loaded_graph_is_captured_and_trains(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5))
    tc.onnx.export(model, (1, 8, 8), tmp_path / "net.onnx")
    losses = []
    for captured in (False, True):
        loaded = tc.onnx.load(tmp_path / "net.onnx").train()
        optimizer = tc.optim.SGD(loaded.parameters(), lr=0.1)

        def step(x, y, loaded=loaded, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(loaded(x), y)
            loss.backward()
            optimizer.step()
            return loss

        run = tc.capture(step) if captured else step
        tc.manual_seed(0)
        batches = [(tc.randn(6, 1, 8, 8), tc.randint(0, 5, (6,))) for _ in range(5)]
        losses.append([run(*batch).item() for batch in batches])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-6)  # a replay may round in another order


def test_what_is_loaded_is_exported_again(tmp_path):
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    first, second = tmp_path / "1.onnx", tmp_path / "2.onnx"
    tc.onnx.export(model, (1, 6, 6), first)
    loaded = tc.onnx.load(first)
    tc.onnx.export(loaded, (1, 6, 6), second)
    x = tc.randn(2, 1, 6, 6)
    assert tc.onnx.load(second)(x).array.tobytes() == model.eval()(x).array.tobytes()
    assert list(tc.onnx.load(second).state_dict()) == list(loaded.state_dict())


# --- graphs by hand -------------------------------------------------------------------------------------------------


def graph(path, nodes, inputs=(("x", (2, 3)),), output=("p", "q"), weights=(), opset=18, **options):
    """A file with these nodes."""
    given = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs]
    found = [helper.make_tensor_value_info("y", TensorProto.FLOAT, output)]
    held = [numpy_helper.from_array(array, name) for name, array in weights]
    made = helper.make_graph(nodes, "by hand", given, found, held)
    model = helper.make_model(made, ir_version=8, opset_imports=[helper.make_opsetid("", opset)])
    onnx.save(model, path, **options)
    return path


def node(kind, inputs, outputs=("y",), **attributes):
    return helper.make_node(kind, inputs, outputs, name="the node", **attributes)


def test_dotted_names_are_children_and_data_may_lie_beside(tmp_path):
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = graph(
        tmp_path / "net.onnx", [node("MatMul", ["x", "head.fc.weight"])], weights=[("head.fc.weight", weight)],
        save_as_external_data=True, size_threshold=0, location="net.onnx.data",
    )  # fmt: skip
    assert (tmp_path / "net.onnx.data").exists()
    loaded = tc.onnx.load(path)
    assert [name for name, _ in loaded.named_parameters()] == ["head.fc.weight"]
    x = tc.ones(2, 3, requires_grad=True)
    loaded(x).sum().backward()
    assert np.array_equal(x.grad.numpy(), np.tile(weight.sum(1), (2, 1)))
    assert np.array_equal(loaded.head.fc.weight.grad.numpy(), np.full((3, 4), 2, np.float32))


def test_old_opsets_are_converted(tmp_path):
    path = graph(
        tmp_path / "old.onnx", [node("Squeeze", ["x"], axes=[0])], inputs=[("x", (1, 3))], output=("q",), opset=9
    )
    assert tc.onnx.load(path)(tc.ones(1, 3)).shape == (3,)


def test_modes(tmp_path):
    nodes = [
        node("BatchNormalization", ["x", "s", "b", "m", "v"], ["z"], momentum=0.75),
        node("Dropout", ["z"], ["y"]),
    ]
    ones = np.ones(3, np.float32)
    path = graph(tmp_path / "net.onnx", nodes, weights=[(name, ones * (name != "b")) for name in "sbmv"])
    loaded, x = tc.onnx.load(path), tc.tensor([[0.0, 1, 2], [4, 1, 2]])
    assert [name for name, _ in loaded.named_buffers() if name in "mv"] == ["m", "v"]
    evaluated = loaded(x)
    np.testing.assert_allclose(evaluated.detach().numpy(), x.numpy() - 1, rtol=1e-5, atol=1e-5)
    loaded.train()
    trained = loaded(x)
    assert np.isin(np.round(trained.detach().numpy(), 3), [-2, 0, 2]).all()
    np.testing.assert_allclose(loaded.m.numpy(), [1.25, 1, 1.25], rtol=1e-6)
    np.testing.assert_allclose(loaded.v.numpy(), [0.75 + 0.25 * 8, 0.75, 0.75], rtol=1e-6)
    layer = nn.BatchNorm1d(3, momentum=0.25).train()
    layer.running_mean.fill_(1)
    layer(x)
    assert np.array_equal(layer.running_mean.numpy(), loaded.m.numpy())


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node("Det", ["x"])], "node 'the node' \\(Det\\): this operator is not covered"),
        ([node("LSTM", ["x", "x", "x"], ["y"], hidden_size=1)], "\\(LSTM\\): this operator is not covered"),
        (
            [helper.make_node("Odd", ["x"], ["y"], name="it", domain="com.odd")],
            "'it' \\(Odd\\) is an operator of 'com.odd'",
        ),
    ],
)
def test_what_is_not_covered(nodes, said, tmp_path):
    path = graph(tmp_path / "net.onnx", nodes)
    if nodes[0].domain:
        model = onnx.load(path)
        model.opset_import.append(helper.make_opsetid("com.odd", 1))
        onnx.save(model, path)
    with pytest.raises(OnnxError, match=said):
        tc.onnx.load(path)


def test_files_that_are_none(tmp_path):
    with pytest.raises(OnnxError, match="there is no file"):
        tc.onnx.load(tmp_path / "none.onnx")
    (tmp_path / "odd.onnx").write_bytes(b"no graph at all")
    with pytest.raises(OnnxError, match="is damaged, or no ONNX file"):
        tc.onnx.load(tmp_path / "odd.onnx")
    whole = graph(tmp_path / "net.onnx", [node("Relu", ["x"])]).read_bytes()
    (tmp_path / "cut.onnx").write_bytes(whole[:-20])
    with pytest.raises(OnnxError, match="is damaged, or no ONNX file"):
        tc.onnx.load(tmp_path / "cut.onnx")


def test_inputs_that_do_not_fit(tmp_path):
    loaded = tc.onnx.load(graph(tmp_path / "net.onnx", [node("Relu", ["x"])]))
    with pytest.raises(ShapeError, match="x must be \\(2, 3\\), got \\(3, 3\\)"):
        loaded(tc.ones(3, 3))
    with pytest.raises(DtypeError, match="x must be float32, got int64"):
        loaded(tc.ones(2, 3).long())
    with pytest.raises(CallError, match="the graph takes x: 1 tensors, got 2"):
        loaded(tc.ones(2, 3), tc.ones(2, 3))


def test_an_error_names_the_node(tmp_path):
    path = graph(tmp_path / "net.onnx", [node("Add", ["x", "z"])], inputs=[("x", ("a", 3)), ("z", ("b", 3))])
    with pytest.raises(ShapeError) as caught:
        tc.onnx.load(path)(tc.ones(2, 3), tc.ones(4, 3))
    assert "in node 'the node' (Add)" in "".join(caught.value.__notes__)


def test_without_onnx_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("tinyconv.onnx.", "onnx"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(OnnxError, match=r"pip install 'tinyconv\[onnx\]'"):
        _ = tc.onnx.load


def test_importing_the_library_imports_no_onnx():
    code = "import sys, tinyconv, tinyconv.onnx; sys.exit('onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
