"""Recordings: that they hold what a plain step computes, to the bit, and leave the model as it was."""

import json
import sys

import numpy as np
import pytest

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.errors import GraphError, ShapeError
from tinyconv.inspect import explain, record


def dropping():
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(2028, 10))


MODELS = {
    "lenet5": (tc.models.lenet5, (1, 28, 28)),
    "lenet5_1998": (tc.models.lenet5_1998, (1, 28, 28)),
    "lenet_bn": (tc.models.lenet_bn, (1, 28, 28)),
    "mlp": (lambda: tc.models.mlp(20), (1, 28, 28)),
    "cifarnet": (tc.models.cifarnet, (3, 32, 32)),
    "resnet": (tc.models.resnet, (1, 28, 28)),
    "dropout": (dropping, (1, 28, 28)),
}


def made(name, seed=1):
    tc.manual_seed(seed)
    return MODELS[name][0]()


def images(name, n, seed=0):
    return np.random.default_rng(seed).standard_normal((n, *MODELS[name][1])).astype("float32")


def plain_step(model, x, target):
    """The gradients that backward gives under the readable ops, the image's too, and the loss."""
    x = tc.tensor(x, requires_grad=True)
    with tc.using("readable"):
        loss = F.cross_entropy(model(x), tc.tensor(target))
        loss.backward()
    return {"x": x.grad, **{name: p.grad for name, p in model.named_parameters()}}, loss.detach()


def equal(found, expected):
    return (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_are_those_of_a_plain_backward_to_the_bit(name, n, training):
    n = max(n, 2) if name == "lenet_bn" else n  # a batch norm of one value does not train
    model, x, target = made(name).train(training), images(name, n), np.arange(n)
    chance, state = tc.get_rng_state(), {key: t.numpy().copy() for key, t in model.state_dict().items()}
    recording = record(model, x, target)

    assert tc.get_rng_state() == chance
    assert all(p.grad is None for p in model.parameters())
    assert all(equal(t.numpy(), state[key]) for key, t in model.state_dict().items())
    assert all(module.training == training for module in model.modules())

    expected, loss = plain_step(model, x, target)
    assert (recording.training, recording.model) == (training, type(model).__name__)
    assert equal(recording.loss, loss.numpy())
    assert equal(recording.image, x)
    assert recording.gradients.keys() == expected.keys()
    for key, g in expected.items():
        assert equal(recording.gradients[key], g.numpy()), key


def test_a_recorded_lenet_is_small_and_whole():
    recording = record(made("lenet5"), images("lenet5", 1), [7])
    forward = [frame for frame in recording.frames if frame.direction == "forward"]
    names = ["conv2d", "Relu", "max_pool2d"] * 2 + ["Reshape"] + ["linear", "Relu"] * 2 + ["linear", "CrossEntropy"]
    assert [frame.name for frame in forward] == names
    assert [frame.name for frame in recording.frames] == names + names[::-1]
    assert [frame.number for frame in recording.frames] == list(range(26))
    assert [frame.partner for frame in recording.frames] == list(range(26))[::-1]
    weights = sum(p.array.nbytes for p in made("lenet5").parameters())
    assert recording.nbytes - weights < 280_000


def test_the_dict_is_json_but_for_its_arrays():
    recording = record(made("lenet_bn"), images("lenet_bn", 2), [7, 1])
    told = recording.to_dict()
    arrays = told.pop("arrays")
    again = json.loads(json.dumps(told))
    assert again == told
    assert len({id(array) for array in arrays}) == len(arrays)
    assert sum(array.nbytes for array in arrays) == recording.nbytes
    assert all(type(array) is np.ndarray and array.flags.c_contiguous for array in arrays)
    assert equal(arrays[told["image"]], images("lenet_bn", 2))
    assert arrays[told["target"]].tolist() == [7, 1]
    for frame, row in zip(recording.frames, told["frames"], strict=True):
        for operand, cells in zip((*frame.inputs, *frame.outputs), row["inputs"] + row["outputs"], strict=True):
            if operand.array is None:
                assert (cells["array"], cells["shape"], cells["dtype"]) == (None, None, None)
            else:
                assert arrays[cells["array"]] is operand.array
                assert tuple(cells["shape"]) == operand.array.shape
    for name, place in told["gradients"].items():
        assert arrays[place] is recording.gradients[name]


# --- what the frames hold -------------------------------------------------------------------------------------------


def backward_of(recording, name, layer=None):
    return next(
        frame
        for frame in recording.frames
        if frame.direction == "backward" and frame.name == name and layer in (None, frame.layer)
    )


def test_frames_hold_what_the_layers_compute():
    model, x = made("lenet5"), images("lenet5", 2)
    recording = record(model, x, [7, 1])
    with tc.using("readable"):
        first = model.conv1(tc.tensor(x))
        second = model.pool(model.relu(first))
    conv, relu, pool = recording.frames[:3]
    assert [(o.argument, o.name, o.frame) for o in conv.inputs] == [
        ("x", "x", None),
        ("weight", "conv1.weight", None),
        ("bias", "conv1.bias", None),
    ]
    assert conv.inputs[0].array is recording.image
    assert equal(conv.inputs[1].array, model.conv1.weight.detach().numpy())
    assert equal(conv.outputs[0].array, first.detach().numpy())
    assert equal(pool.outputs[0].array, second.detach().numpy())
    assert relu.inputs[0].array is conv.outputs[0].array
    assert [(o.argument, o.name, o.frame) for o in pool.inputs] == [("x", "frame 1", 1)]
    assert (conv.layer, conv.kind, conv.step) == ("conv1", "Conv2d", "conv1")
    assert [recording.frames[i].step for i in (4, 6, 12)] == ["relu#2", "reshape", "crossentropy"]
    assert (recording.frames[6].layer, recording.frames[6].kind) == ("", "LeNet5")
    assert recording.frames[12].kind == ""
    assert recording.frames[12].inputs[1].name == "target"
    assert conv.geometry == {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    assert conv.formula.startswith("y[n,f,i,j] = bias[f] + sum_cuv weight[f,c,u,v] x[n, c, i*SH + u*DH - PH")


def test_a_backward_frame_holds_what_arrives_and_what_leaves():
    recording = record(made("lenet5"), images("lenet5", 2), [7, 1])
    loss, last = recording.frames[13:15]
    (dy,) = loss.inputs
    assert (dy.argument, dy.name, dy.array.tolist(), loss.parts) == ("dy", "loss", 1.0, ())
    assert [o.argument for o in loss.outputs] == ["dx", "dtarget", "dweight"]
    assert [o.array is None for o in loss.outputs] == [False, True, True]
    assert last.inputs[0].array is loss.outputs[0].array
    assert (last.inputs[0].name, last.inputs[0].frame, last.parts) == ("frame 13", 13, (13,))
    assert [(o.argument, o.name) for o in last.outputs] == [
        ("dx", "frame 10"),
        ("dweight", "fc3.weight"),
        ("dbias", "fc3.bias"),
    ]
    assert last.outputs[1].array is recording.gradients["fc3.weight"]
    assert recording.frames[25].outputs[0].array is recording.gradients["x"]


def test_gradients_of_several_uses_arrive_summed_up():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 3)

        def forward(self, x):
            y = self.conv(x)
            return (y.relu() + y * 2 + self.conv(x)).flatten(1)

    recording = record(Twice(), np.ones((1, 5, 5), "float32"))
    relu, mul = backward_of(recording, "Relu"), backward_of(recording, "Mul")
    *_, first = (frame for frame in recording.frames if frame.name == "conv2d")  # the one that ran first
    assert first.partner == 0
    assert sorted(first.parts) == sorted([relu.number, mul.number])
    assert first.inputs[0].frame is None
    np.testing.assert_array_equal(first.inputs[0].array, relu.outputs[0].array + mul.outputs[0].array)
    second = backward_of(recording, "conv2d")
    assert second is not first
    np.testing.assert_array_equal(recording.gradients["conv.weight"], first.outputs[1].array + second.outputs[1].array)


def test_no_gradient_is_shown_where_none_is_needed():
    model = made("lenet5")
    model.conv1.weight.requires_grad = False
    recording = record(model, images("lenet5", 1), [7])
    frame = recording.frames[25]
    assert [o.array is None for o in frame.outputs] == [False, True, False]
    assert recording.gradients["conv1.weight"] is None
    assert recording.gradients["conv1.bias"] is not None
    assert recording.to_dict()["gradients"]["conv1.weight"] is None


def test_the_lines_are_those_that_ran():
    recording = record(made("lenet5"), images("lenet5", 1), [7])
    source = recording.frames[25].source
    lines = dict(enumerate(source.text.splitlines(), source.line))
    assert source.file == "tinyconv/ops/conv.py"
    assert "def backward(xp, saved, dy, needs" in lines[source.line + 1]
    assert set(source.ran) <= set(lines)
    dx, dweight, dbias = ("\n".join(lines[n] for n in o.ran) for o in recording.frames[25].outputs)
    for text, own in ((dx, "col2im("), (dweight, "dweight = dweight +")):
        assert [own in other for other in (dx, dweight, dbias)] == [text is other for other in (dx, dweight, dbias)]
    without = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.Flatten())
    source = record(without, np.ones((1, 5, 5), "float32")).frames[0].source
    ran = [line for n, line in enumerate(source.text.splitlines(), source.line) if n in source.ran]
    assert "    if bias is not None:" in ran
    assert not any("y += bias" in line for line in ran)


def test_a_frame_has_the_field_of_its_cells_on_the_image():
    model, x = made("lenet5"), images("lenet5", 1)
    recording = record(model, x, [7])
    steps = {step.name: step for step in tc.summary(model, (1, 28, 28)).layers}
    for frame in recording.frames[:12]:
        rows, columns = frame.fields
        assert rows == columns
        assert (rows.size, rows.start) == (steps[frame.step].receptive_field, steps[frame.step].start)
    assert recording.to_dict()["frames"][5]["field"] == [{"size": 16, "jump": 4, "start": 0}] * 2
    rows, columns = recording.frames[5].fields
    before = recording.frames[5].outputs[0].array[0, :, 3, 2]
    other = x + 1
    other[..., slice(*rows.span(3, 28)), slice(*columns.span(2, 28))] = x[
        ..., slice(*rows.span(3, 28)), slice(*columns.span(2, 28))
    ]
    np.testing.assert_array_equal(record(model, other, [7]).frames[5].outputs[0].array[0, :, 3, 2], before)


# --- how it is called -----------------------------------------------------------------------------------------------


def test_without_a_target_the_largest_scores_are_walked_back_from():
    model, x = made("lenet5"), images("lenet5", 2)
    recording = record(model, x)
    assert recording.target is None
    assert recording.loss == recording.output.max(1).sum()
    assert recording.frames[-1].outputs[0].array is recording.gradients["x"]


def test_one_image_is_a_batch_of_one():
    model, x = made("lenet5"), images("lenet5", 1)
    alone = record(model, x[0], 7)
    assert alone.image.shape == (1, 1, 28, 28)
    assert alone.target.tolist() == [7]
    assert equal(alone.gradients["x"], record(model, tc.tensor(x), [7]).gradients["x"])


def test_another_loss_is_recorded_too():
    model, x = made("mlp"), images("mlp", 2)
    recording = record(model, x, np.ones((2, 10), "float32"), loss=nn.MSELoss())
    frame = recording.frames[len(recording.frames) // 2 - 1]
    assert (frame.name, frame.kind, frame.layer) == ("MseLoss", "MSELoss", "")
    assert frame.inputs[1].array is recording.target


def test_the_mode_may_be_chosen():
    model = made("lenet_bn")
    recording = record(model, images("lenet_bn", 1), [7], training=False)
    assert not recording.training
    assert model.training
    assert recording.frames[1].inputs[3].name == "1.running_mean"
    assert record(model.eval(), images("lenet_bn", 2), [7, 1], training=True).training
    assert not model.training


def test_the_gradients_that_a_model_has_are_left_alone():
    model = made("lenet5")
    plain_step(model, images("lenet5", 1), [3])
    before = {name: (p.grad, p.grad.numpy().copy()) for name, p in model.named_parameters()}
    x = tc.tensor(images("lenet5", 1), requires_grad=True)
    with tc.no_grad():
        record(model, x, [7])
    assert x.grad is None
    for name, p in model.named_parameters():
        assert p.grad is before[name][0]
        assert equal(p.grad.numpy(), before[name][1])


def test_what_is_written_in_place_is_recorded_as_it_was():
    class Writing(nn.Module):
        def forward(self, x):
            mask = tc.zeros(1, 1, 4, 4)
            y = x + mask
            with tc.no_grad():
                mask += 1
            return (y * (x + mask)).flatten(1)

    recording = record(Writing(), np.ones((1, 4, 4), "float32"))
    first, second = (frame.inputs for frame in recording.frames[:3] if frame.name == "Add")
    assert [inputs[1].array.max() for inputs in (first, second)] == [0, 1]


def test_ops_that_the_loss_does_not_hang_on_have_no_frame():
    recording = record(made("lenet_bn"), images("lenet_bn", 2), [7, 1])
    forward = [frame for frame in recording.frames if frame.direction == "forward"]
    assert [frame.name for frame in forward[:3]] == ["conv2d", "BatchNorm", "Relu"]
    assert all(frame.partner is not None for frame in forward)
    assert [frame.number for frame in recording.frames] == list(range(2 * len(forward)))
    assert [frame.inputs[0].name for frame in forward[1:4]] == ["frame 0", "frame 1", "frame 2"]


def test_a_number_among_the_inputs_is_kept():
    recording = record(nn.Sequential(Times(3), nn.Flatten()), np.ones((1, 2, 2), "float32"))
    two = recording.frames[0].inputs[1]
    assert (two.array, two.value, two.name) == (None, 3.0, "constant")
    assert recording.to_dict()["frames"][0]["inputs"][1]["value"] == 3


def test_float16_is_recorded_as_it_is():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)).to(tc.float16)
    recording = record(model, np.ones((1, 4, 4), "float16"), [1])
    assert {o.array.dtype.name for frame in recording.frames for o in frame.outputs if o.array is not None} == {
        "float16"
    }
    assert recording.to_dict()["frames"][0]["pair"] == "readable"
    found = explain(recording.frames[0], "y", (0, 1, 1, 1))
    assert found.linear
    assert found.total == pytest.approx(found.sum, rel=2e-3)


def test_what_watches_the_lines_is_gone_afterwards():
    def watch(frame, event, argument):
        return None

    before = sys.gettrace()
    try:
        sys.settrace(watch)
        record(made("lenet5"), images("lenet5", 1), [7])
        with pytest.raises(ShapeError):
            record(made("lenet5"), np.ones((1, 3, 3), "float32"), [7])
        assert sys.gettrace() is watch
    finally:
        sys.settrace(before)


def test_a_gradient_that_an_op_makes_though_nothing_needs_it_is_not_shown():
    class Both:
        @staticmethod
        def forward(xp, a, b):
            return a * b, (a, b)

        @staticmethod
        def backward(xp, saved, dy, needs):
            a, b = saved
            return dy * b, dy * a

    class Net(nn.Module):
        def forward(self, x):
            return tc.apply(Both, x, x.detach() * 2).flatten(1)

    recording = record(Net(), np.ones((1, 2, 2), "float32"))
    assert [frame.name for frame in recording.frames[:3]] == ["Mul", "Both", "Reshape"]
    back = recording.frames[-1]
    assert (back.name, back.partner) == ("Both", 1)
    assert [o.array is None for o in back.outputs] == [False, True]
    assert recording.frames[0].partner is None


def test_an_op_of_the_users_own_is_recorded_with_its_lines():
    class Double:
        """y = 2 x;  dx = 2 dy."""

        @classmethod
        def forward(cls, xp, x):
            return 2 * x, ()

        @classmethod
        def backward(cls, xp, saved, dy, needs):
            return (2 * dy,)

    class Net(nn.Module):
        def forward(self, x):
            return tc.apply(Double, x).flatten(1)

    recording = record(Net(), np.ones((1, 2, 2), "float32"))
    frame, back = recording.frames[0], recording.frames[-1]
    assert frame.source.file.endswith("test_inspect_record.py")
    assert [frame.source.text.splitlines()[n - frame.source.line].strip() for n in frame.source.ran] == [
        "return 2 * x, ()"
    ]
    assert back.source.ran == back.outputs[0].ran
    assert (frame.name, frame.formula) == ("Double", "y = 2 x;  dx = 2 dy.")
    assert explain(back, "dx", (0, 0, 1, 1)).terms[0].coefficient == 2


def test_a_model_on_a_gpu_is_recorded(cuda):
    model = made("lenet5")
    here = record(model, images("lenet5", 1), [7])
    there = record(model.to(cuda), images("lenet5", 1), [7])
    assert all(type(array) is np.ndarray for array in there.to_dict()["arrays"])
    for name, gradient in here.gradients.items():
        np.testing.assert_allclose(there.gradients[name], gradient, rtol=1e-4, atol=1e-6)
    assert explain(there.frames[0], "y", (0, 1, 2, 3)).linear


class Times(nn.Module):
    def __init__(self, number):
        super().__init__()
        self.number = number

    def forward(self, x):
        return x * self.number


def test_a_recording_says_what_it_is():
    recording = record(made("lenet5"), images("lenet5", 1), [7])
    assert repr(recording).startswith(
        "<Recording of LeNet5 on (1, 1, 28, 28) in training: 13 frames forward, 13 backward"
    )
    assert repr(recording.frames[0]) == "<0 forward conv2d in conv1: y (1, 6, 24, 24)>"
    assert (
        repr(recording.frames[25])
        == "<25 backward conv2d in conv1: dx (1, 1, 28, 28), dweight (6, 1, 5, 5), dbias (6,)>"
    )


# --- what it refuses ------------------------------------------------------------------------------------------------


class Returning(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.bn = nn.BatchNorm2d(1)
        self.function = function

    def forward(self, x):
        return self.function(self.bn(x + tc.rand(1)))


def failing(x):
    raise RuntimeError("the user's own")


@pytest.mark.parametrize(
    ("function", "loss", "error", "said"),
    [
        (lambda x: (x, x), None, TypeError, "the model must return a Tensor, got tuple"),
        (lambda x: x.detach(), None, GraphError, "does not require grad"),
        (lambda x: x, lambda y, t: y, ShapeError, r"one number, got \(1, 1, 4, 4\)"),
        (lambda x: x, lambda y, t: 1.0, ShapeError, "one number, got float"),
        (failing, None, RuntimeError, "the user's own"),
        (lambda x: x.reshape(7), None, ShapeError, "reshape"),
    ],
)
def test_after_an_error_the_model_is_as_it_was(function, loss, error, said):
    model = Returning(function)
    state, chance = {key: t.tolist() for key, t in model.state_dict().items()}, tc.get_rng_state()
    with pytest.raises(error, match=said):
        record(model, np.ones((1, 4, 4), "float32"), loss=loss, training=False)
    with pytest.raises(error, match=said):
        record(model, np.ones((1, 4, 4), "float32"), loss=loss)
    assert {key: t.tolist() for key, t in model.state_dict().items()} == state
    assert tc.get_rng_state() == chance
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert isinstance(model.bn.weight, nn.Parameter)
    y = tc.rand(2)
    assert not y.requires_grad


def test_what_is_no_module_is_refused():
    with pytest.raises(TypeError, match="record: model must be a Module, got function"):
        record(dropping, np.ones((1, 4, 4), "float32"))


def test_a_data_parallel_is_refused():
    model = nn.Sequential(nn.DataParallel(nn.Flatten()))
    with pytest.raises(GraphError, match=r"record the module in it \(model.module\)"):
        record(model, np.ones((1, 4, 4), "float32"))


def test_more_than_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(sys.modules["tinyconv.inspect.record"], "LIMIT", 1 << 20)  # `record` is the function too
    record(made("lenet5"), images("lenet5", 1), [7])
    with pytest.raises(ShapeError, match=r"more than 1 MiB; record one image, as in x\[:1\]"):
        record(made("lenet5"), images("lenet5", 20), [7] * 20)
