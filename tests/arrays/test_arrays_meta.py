"""Device "meta": what an op makes on the CPU, in shape and dtype, and nothing besides."""

import copy
import tracemalloc

import numpy as np
import pytest
from messages import message

import tinyconv as tc
import tinyconv.functional as F
from tinyconv import models, nn, optim
from tinyconv.arrays.meta import MetaArray
from tinyconv.check.draw import RandomDraw
from tinyconv.testing import spaces
from tinyconv.testing.case import SPACES, draw_case

assert spaces  # importing it fills SPACES

CASES = 40  # of each op; a case takes a millisecond


def outline(value, device):
    """Shapes and dtypes of what a function returned, in the form it did; numbers as they are."""
    if isinstance(value, tuple | list):
        return tuple(outline(part, device) for part in value)
    if not isinstance(value, tc.Tensor):
        return value
    assert value.device == device
    return value.shape, value.dtype


def asked(case, device):
    """What the case's function makes of its inputs on this device: outlines of outputs, and of gradients."""
    needs = range(len(case.inputs)) if case.needs is None else case.needs
    inputs = [tc.tensor(array).to(device) for array in case.inputs]
    for i, x in enumerate(inputs):
        x.requires_grad_(case.differentiable and i in needs and x.is_floating_point())
    with tc.device(device):  # for spaces of functions that make tensors of nothing
        made = case.function()(*inputs)
    outputs = list(made) if isinstance(made, tuple | list) else [made]
    for y in outputs:
        if isinstance(y, tc.Tensor) and y.requires_grad:
            y.backward(tc.ones_like(y), retain_graph=True)
    gradients = [None if x.grad is None else x.grad for x in inputs]
    return outline(made, device), outline(gradients, device)


def indexed_by_values(case):
    """An index whose values are on the device too: a mask, or one integer."""
    return any(array.dtype == np.bool_ or array.ndim == 0 for array in case.inputs[1:])


VALUES = {
    "allclose": (lambda case: True, "whether all elements are close"),
    "equal": (lambda case: case.inputs[0].shape == case.inputs[1].shape, "whether elements of one shape are equal"),
    "__getitem__": (indexed_by_values, "how many elements a mask picks, and whether there is such a one"),
    "arange": (lambda case: True, "its space hands the numbers over as tensors, and asks for their values"),
    "nn.BatchNorm": (
        lambda case: case.options["track_running_stats"] and case.options["momentum"] is None,
        "an average over all batches asks how many there were",
    ),
    "one_hot": (lambda case: not case.options, "how many classes there are"),
    "repeat_interleave": (lambda case: len(case.inputs) > 1, "how often each element is there"),
    **dict.fromkeys(
        ["argwhere", "bincount", "masked_scatter", "masked_scatter_", "masked_select", "nonzero", "unique",
         "unique_consecutive"],
        (lambda case: True, "how many elements there are"),
    ),
}  # fmt: skip
"""Cases in which an op must know values, and why."""


@pytest.mark.parametrize("name", sorted(SPACES))
def test_every_op_gives_the_outline_that_it_gives_on_the_cpu(name):
    depends, _ = VALUES.get(name, (lambda case: False, ""))
    compared = told = 0
    for seed in range(CASES):
        case = draw_case(name, RandomDraw(seed))
        if depends(case):
            told += 1
            with pytest.raises(tc.DeviceError, match="has a shape and no values"):
                asked(case, "meta")
        else:
            assert asked(case, "meta") == asked(case, "cpu"), case
            compared += 1
    assert compared > CASES / 2 or told == CASES or name in {"repeat_interleave", "equal"}


def test_a_mask_or_an_index_of_numbers_that_are_there_is_none_of_values():
    x = tc.zeros(3, 4, device="meta")
    assert x[tc.tensor([True, False, True])].shape == (2, 4)
    assert x[:, [3, 0]].shape == (3, 2)
    assert x[tc.zeros(5, 2, dtype=tc.int64, device="meta")].shape == (5, 2, 4)
    assert message(IndexError, x.__getitem__, 3).startswith("index 3 is out of bounds for axis 0 with size 3")


# --- nothing is computed --------------------------------------------------------------------------------------------


def peak(function):
    """The result, and the most memory that was held meanwhile, in bytes."""
    tracemalloc.start()
    try:
        return function(), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def conv_block(x):
    y = F.max_pool2d(F.relu(F.conv2d(x, tc.zeros(64, 64, 3, 3, device="meta"), padding=1)), 2)
    return y + F.adaptive_avg_pool2d(y, 1)


LARGE = (2, 64, 512, 512)  # 128 MiB of float32

WORK = {
    "a convolution block": conv_block,
    "cat": lambda x: tc.cat([x, x], 1),
    "stack": lambda x: tc.stack([x, x]),
    "an index of integers": lambda x: x[:, :, tc.arange(512, device="meta")],
    "an index of integers that are there": lambda x: x[:, :, np.arange(512)],
    "a mask that is there": lambda x: x[:, :, np.arange(512) % 2 == 0],
    "pad": lambda x: F.pad(x, (1, 1, 1, 1)),
    "a copy": lambda x: x.permute(0, 2, 3, 1).reshape(-1).clone(),
    "softmax": lambda x: F.softmax(x, 1),
    "a product": lambda x: x @ x,
    "where": lambda x: tc.where(x > 0, x, 0.0),
    "another dtype": lambda x: x.double(),
    "what is like it": lambda x: tc.randn_like(x) + tc.zeros_like(x) + tc.full_like(x, 3),
    "dropout": lambda x: F.dropout(x),
    "a write": lambda x: x.clone().fill_(2).add_(1),
}


@pytest.mark.parametrize("name", WORK)
def test_nothing_is_held(name):
    x = tc.zeros(*LARGE, device="meta", requires_grad=True)

    def work():
        y = WORK[name](x)
        if y.requires_grad:
            y.backward(tc.ones_like(y))
        return y

    y, held = peak(work)
    assert y.numel() > 1_000_000
    assert held < 1_000_000


def test_making_tensors_holds_nothing():
    def make():
        shape = (1000, 1000, 1000)
        made = [f(*shape, device="meta") for f in (tc.zeros, tc.ones, tc.rand, tc.randn)]
        made += [tc.full(shape, 2.5, device="meta"), tc.randint(0, 5, shape, device="meta")]
        return [*made, tc.randperm(10**9, device="meta")]

    made, held = peak(make)
    assert held < 100_000
    assert {t.numel() for t in made} == {10**9}
    assert [str(t.dtype) for t in made] == ["float32"] * 5 + ["int64"] * 2


def test_arange_holds_nothing():
    made, held = peak(lambda: tc.arange(3_000_000, device="meta"))
    assert (made.shape, made.dtype) == ((3_000_000,), tc.int64)
    assert held < 100_000


def test_vgg16_takes_no_memory():
    def make():
        with tc.device("meta"):
            model = models.vgg16()
            return model, model(tc.zeros(1, 3, 224, 224))

    (model, scores), held = peak(make)
    assert sum(p.numel() for p in model.parameters()) == 138_357_544
    assert all(p.device == "meta" and p.requires_grad for p in model.parameters())
    assert scores.shape == (1, 1000)
    assert held < 3_000_000  # half a gigabyte of weights otherwise


def test_random_numbers_are_left_for_others():
    tc.manual_seed(5)
    before = tc.get_rng_state()
    with tc.device("meta"):
        model = models.lenet_bn()
        x = tc.randn(4, 1, 28, 28)
        for t in (tc.rand(3), tc.rand_like(x), tc.randn_like(x), tc.randint(0, 9, (4,)), tc.randperm(5)):
            assert t.device == "meta"
        F.dropout(model(x)).sum().backward()
        nn.Dropout(0.3)(x)
        for initialise in (nn.init.kaiming_uniform_, nn.init.xavier_normal_, nn.init.normal_):
            initialise(model[0].weight)
    F.dropout(tc.zeros(5, device="meta"))
    assert tc.get_rng_state() == before


# --- values are refused ---------------------------------------------------------------------------------------------

REFUSAL = (
    "a float32 (1,) on device 'meta' has a shape and no values: a model or an op asked for one "
    "(item(), bool(), numpy(), a mask as an index, or a value moved to another device)"
)


@pytest.mark.parametrize(
    "ask",
    [
        lambda x: x.item(), lambda x: x.tolist(), bool, float, int, lambda x: 1 if x > 0 else 0, lambda x: 1.0 in x,
        lambda x: x.cpu(), lambda x: x.to("cpu"), lambda x: x[x > 0], lambda x: tc.ones(1).copy_(x),
        lambda x: x.__setitem__(x > 0, 1.0), lambda x: [0][x.long()], lambda x: f"{x.sum():.2f}",
    ],
)  # fmt: skip
def test_no_value_is_to_be_had(ask):
    text = message(tc.DeviceError, ask, tc.zeros(1, device="meta"))
    assert text.partition("has a shape")[2] == REFUSAL.partition("has a shape")[2]


def test_the_message_whole():
    assert message(tc.DeviceError, tc.zeros(1, device="meta").item) == REFUSAL


@pytest.mark.parametrize("ask", [lambda x: x.numpy(), np.asarray, lambda x: np.exp(x)])
def test_numpy_is_refused_without_bad_advice(ask):
    """`.cpu()`, which helps on a GPU, would not."""
    text = message(tc.DeviceError, ask, tc.zeros(1, device="meta"))
    assert "x.cpu()" not in text
    assert "has a shape and no values" in text


def test_other_libraries_are_refused():
    with pytest.raises((tc.DeviceError, BufferError)):
        np.from_dlpack(tc.zeros(1, device="meta"))


def test_a_model_is_not_filled_by_moving_it():
    layer = nn.Linear(2, 3).to("meta")
    assert {p.device for p in layer.parameters()} == {"meta"}
    assert "float32 (3, 2) on device 'meta' has a shape and no values" in message(tc.DeviceError, layer.cpu)
    state = layer.state_dict()
    with pytest.raises(tc.CheckpointError, match="weight: cannot be read as an array"):
        nn.Linear(2, 3).load_state_dict(state)


def test_it_prints_what_there_is():
    x = tc.zeros(2, 3, device="meta")
    assert repr(x) == str(x) == f"{x}" == "tensor(..., size=(2, 3), device='meta')"
    y = tc.zeros(4, dtype=tc.float64, device="meta", requires_grad=True)
    assert repr(y) == "tensor(..., size=(4,), dtype=float64, device='meta', requires_grad=True)"
    assert repr(y * 2) == "tensor(..., size=(4,), dtype=float64, device='meta', grad_fn=<Mul (readable)>)"
    assert repr(x.array) == "MetaArray((2, 3), float32)"
    with tc.device("meta"):
        weight = nn.Linear(3, 2).weight
    assert repr(weight).splitlines()[1] == "tensor(..., size=(2, 3), device='meta', requires_grad=True)"


def test_what_needs_no_value():
    x = tc.zeros(2, 3, device="meta", requires_grad=True)
    assert (len(x), x.shape, x.ndim, x.numel(), x.element_size(), x.is_floating_point()) == (2, (2, 3), 2, 6, 4, True)
    assert [row.shape for row in x] == [(3,), (3,)]
    for same in (x.clone(), x.detach(), copy.deepcopy(x), tc.tensor(x.detach()), x.to("meta")):
        assert (same.device, same.shape, same.dtype) == ("meta", (2, 3), tc.float32)
    assert tc.tensor([[1, 2]]).to("meta").dtype == tc.int64


# --- devices do not mix ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b, lambda a, b: b + a, lambda a, b: a < b, lambda a, b: b == a, lambda a, b: a @ b,
        lambda a, b: F.linear(a, b), lambda a, b: tc.cat([a, b]), lambda a, b: tc.stack([b, a]),
        lambda a, b: tc.where(a > 0, b, b), lambda a, b: F.mse_loss(a, b), lambda a, b: a.maximum(b),
        lambda a, b: a.__iadd__(b), lambda a, b: b.__iadd__(a), lambda a, b: a + b.numpy(),
        lambda a, b: F.cross_entropy(a, tc.tensor([0, 1])),
    ],
)  # fmt: skip
def test_meta_and_cpu_do_not_mix(mix):
    text = message(tc.DeviceError, mix, tc.zeros(2, 2, device="meta"), tc.ones(2, 2))
    assert text.startswith("arrays on two devices met: ")
    assert " on meta" in text
    assert " on cpu" in text
    assert text.endswith("; move one of them with .to(device), or the whole model with model.to(device)")


def test_a_model_on_meta_names_the_layer_that_got_something_else():
    with tc.device("meta"):
        model = models.lenet5()
    assert message(tc.DeviceError, model, tc.ones(1, 1, 28, 28)).endswith(
        "  in layer 'conv1': Conv2d(1, 6, kernel_size=(5, 5), stride=(1, 1))"
    )


def test_shapes_are_checked_as_on_the_cpu():
    with tc.device("meta"):
        model = models.lenet5()
        assert message(tc.ShapeError, model, tc.zeros(1, 1, 32, 32)) == (
            "linear: expected 256 features (weight is (120, 256)), got (1, 400): if this head follows a flatten, it "
            "was sized for another input; for this one it is nn.Linear(400, ...)\n"
            "  in layer 'fc1': Linear(in_features=256, out_features=120, bias=True)"
        )
    for wrong in (
        lambda x: x + tc.zeros_like(x)[:, :2],
        lambda x: x @ x,
        lambda x: x.reshape(7),
        lambda x: x.expand(5, 3),
        lambda x: tc.cat([x, x[:, :2]]),
        lambda x: x.__iadd__(x[:1].unsqueeze(0)[:, :, :2]),
        lambda x: x.copy_(x.reshape(3, 2)),
    ):
        texts = {message(tc.ShapeError, wrong, tc.zeros(2, 3, device=device)) for device in ("cpu", "meta")}
        assert len(texts) == 1


# --- the context ----------------------------------------------------------------------------------------------------


def here():
    """The device of what is made without one being named."""
    return tc.zeros(1).device


def test_contexts_nest_and_end():
    assert here() == "cpu"
    meta = tc.device("meta")
    with meta:
        assert here() == "meta"
        with tc.device("cpu"):
            assert here() == "cpu"
            with meta:  # the same object, inside itself
                assert here() == "meta"
            assert here() == "cpu"
        assert here() == "meta"
        assert tc.zeros(1, device="cpu").device == "cpu"
    assert here() == "cpu"
    with pytest.raises(RuntimeError, match="out"), meta:
        raise RuntimeError("out")
    assert here() == "cpu"


def test_what_the_context_reaches():
    there = tc.ones(2)
    with tc.device("meta"):
        made = [
            tc.zeros(1), tc.ones(1), tc.full((1,), 2), tc.arange(3), tc.rand(1), tc.randn(1), tc.randint(0, 2, (1,)),
            tc.randperm(3), tc.tensor([1.0]), tc.tensor(np.ones(2)), tc.tensor(there), nn.Linear(1, 2).weight,
            nn.BatchNorm2d(2).running_mean, nn.Parameter(np.ones(2)),
        ]  # fmt: skip
        assert {t.device for t in made} == {"meta"}
        # What is there already stays where it is, and so does what is made of it.
        kept = [there * 2, there.clone(), tc.zeros_like(there), tc.rand_like(there), tc.where(there > 0, 1.0, 0.0)]
        kept += [tc.from_numpy(np.ones(2)), there + np.ones(2, np.float32), F.dropout(there)]
        assert {t.device for t in kept} == {"cpu"}


def test_a_device_may_be_handed_on():
    """As torch's may: it is the name of a place, and not only a context."""
    meta = tc.device("meta")
    assert str(meta) == "meta"
    assert (meta, meta) == (tc.device("meta"), "meta")
    assert tc.zeros(2, device=meta).device == "meta"
    assert tc.zeros(2).to(meta).device == "meta"
    assert {p.device for p in nn.Linear(2, 3).to(meta).parameters()} == {"meta"}
    with tc.device(meta):
        assert here() == "meta"


def test_a_thread_has_its_own():
    from threading import Thread

    seen = []
    with tc.device("meta"):
        thread = Thread(target=lambda: seen.append(here()))
        thread.start()
        thread.join()
        assert here() == "meta"
    assert seen == ["cpu"]


@pytest.mark.parametrize("name", ["gpu", "Meta", "meta:0", "meta:1", "cpu:0", "cuda:x", "cuda:-1", "metal"])
def test_unknown_devices(name):
    expected = f"unknown device {name!r}: expected 'cpu', 'cuda', 'cuda:N' or 'meta'"
    assert message(tc.DeviceError, tc.device, name) == expected
    assert message(tc.DeviceError, tc.zeros, 2, device=name) == expected
    assert message(tc.DeviceError, tc.zeros(2).to, name) == expected
    assert here() == "cpu"


# --- whole programs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["lenet5", "lenet_bn", "resnet", "lenet5_1998"])
def test_a_model_forward_and_back(name):
    tc.manual_seed(0)
    with tc.device("meta"):
        model, x, y = models.create(name), tc.randn(4, 1, 28, 28), tc.randint(0, 10, (4,))
        loss = F.cross_entropy(model(x), y)
        loss.backward()
    assert (loss.shape, loss.dtype, loss.device) == ((), tc.float32, "meta")
    twin = models.create(name)
    assert [p.shape for p in model.parameters()] == [p.shape for p in twin.parameters()]
    for parameter in model.parameters():
        assert (parameter.grad.shape, parameter.grad.device) == (parameter.shape, "meta")
    assert {b.device for b in model.buffers()} <= {"meta"}


@pytest.mark.parametrize("variant", ["readable", "loop", "native"])
def test_variants_are_left_out(variant):
    """They are written for arrays with elements; the op itself runs."""
    with tc.device("meta"), tc.using(variant):
        assert models.lenet5()(tc.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_data_parallel():
    with tc.device("meta"):
        model = nn.DataParallel(models.lenet_bn())
        model(tc.zeros(64, 1, 28, 28)).sum().backward()
    assert all(p.grad.shape == p.shape for p in model.parameters())


@pytest.mark.parametrize(
    "make",
    [
        lambda p: optim.Adam(p),
        lambda p: optim.AdamW(p),
        lambda p: optim.RMSprop(p, lr=0.1),
        lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
    ],
    ids=["Adam", "AdamW", "RMSprop", "SGD"],
)
def test_a_step_of_training(make):
    with tc.device("meta"):
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        optimizer = make(model.parameters())
        for _ in range(2):
            optimizer.zero_grad()
            model(tc.zeros(5, 3)).sum().backward()
            optimizer.step()
    assert [(p.shape, p.device) for p in model.parameters()] == [
        ((4, 3), "meta"), ((4,), "meta"), ((2, 4), "meta"), ((2,), "meta"),
    ]  # fmt: skip


def test_gradients_are_clipped():
    with tc.device("meta"):
        layer = nn.Linear(3, 4)
        layer(tc.zeros(5, 3)).sum().backward()
        optim.clip_grad_value_(layer.parameters(), 1.0)
        norm = optim.clip_grad_norm_(layer.parameters(), 1.0)
    assert (norm.shape, norm.dtype, norm.device) == ((), tc.float32, "meta")
    assert [p.grad.shape for p in layer.parameters()] == [(4, 3), (4,)]


def test_a_tape_is_drawn():
    x = tc.zeros(2, device="meta", requires_grad=True)
    assert "Mul" in str(tc.trace(x * 2))


FUNCTIONS = {
    "sum": np.sum,
    "sum of axes": lambda x: np.sum(x, axis=(0, -1), keepdims=True),
    "sum to a dtype": lambda x: np.sum(x, axis=1, dtype=np.float64),
    "prod": lambda x: np.prod(x, axis=1),
    "mean": np.mean,
    "mean of an axis": lambda x: x.mean(axis=-1, keepdims=True),
    "max": lambda x: x.max(0),
    "min": np.min,
    "any": lambda x: x.any(axis=1),
    "all": np.all,
    "argmax": lambda x: np.argmax(x, axis=1),
    "argmin": lambda x: x.argmin(0),
    "cumprod": lambda x: np.cumprod(x, axis=0),
    "where": lambda x: np.where(x > 1, x, 0),
    "pad": lambda x: np.pad(x, ((1, 2), (0, 1))),
    "concatenate": lambda x: np.concatenate([x, x], axis=1),
    "stack": lambda x: np.stack([x, x], axis=-1),
    "flip": lambda x: np.flip(x, 0),
    "expand_dims": lambda x: np.expand_dims(x, 1),
    "broadcast_to": lambda x: np.broadcast_to(x, (5, 3, 4)),
    "zeros_like": lambda x: np.zeros_like(x, dtype=np.int32),
    "transposed": lambda x: x.T.swapaxes(0, 1)[::-1, None, 1:].squeeze(1),
    "a comparison": lambda x: (x > 1) | (x <= 0.5),
    "number and array": lambda x: 2 * x + True,
    "a power": lambda x: x**2,
    "divmod": lambda x: np.divmod(x + 1, 2)[1],
    "a product": lambda x: x @ x.T,
    "row and matrix": lambda x: x[0] @ x.T,
    "matrix and row": lambda x: x @ x[0],
    "row and row": lambda x: x[0] @ x[1],
    "reduce": np.add.reduce,
    "reduce of an axis": lambda x: np.maximum.reduce(x, axis=1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int32", "uint8"])
def test_numpys_functions_of_an_outline(name, dtype):
    """The rules by themselves, for what ops may be written with tomorrow."""
    expected = np.asarray(FUNCTIONS[name](np.ones((3, 4), dtype)))
    found = FUNCTIONS[name](MetaArray((3, 4), dtype))
    assert isinstance(found, MetaArray)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)


def test_joining_outlines_takes_no_time_and_refuses_what_does_not_fit():
    """NumPy walks through every element that it joins, though it has no bytes: this would take a day."""
    wide = MetaArray((1 << 20, 3, 1 << 20), "float32")
    assert np.concatenate([wide, wide], axis=-2).shape == (1 << 20, 6, 1 << 20)
    assert np.stack([wide, wide], axis=1).shape == (1 << 20, 2, 3, 1 << 20)
    for join in (np.concatenate, np.stack):
        with pytest.raises(ValueError, match=r"must match exactly|same"):
            join([wide, MetaArray((1 << 20, 3, 5), "float32")])


def test_what_has_no_rule_is_named():
    assert message(tc.DeviceError, np.median, MetaArray((2,), "float32")) == (
        "np.median has no rule for arrays on device 'meta'"
    )


def test_weights_are_not_loaded_into_nothing():
    with tc.device("meta"):
        model = models.mlp(4)
    with pytest.raises(tc.CheckpointError, match="this MLP is on device 'meta' and has no elements to load into"):
        model.load_state_dict(models.mlp(4).state_dict())
