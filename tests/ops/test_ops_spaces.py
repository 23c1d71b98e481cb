"""Every public op against PyTorch, wherever in its argument space Hypothesis goes: the suite behind `make oracle`.

How many examples, and whether they are the same each time, is the profile's choice: see conftest.py.
"""

import types

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from oracle import Disagreement, HypothesisDraw, on
from standin import counted

import tinyconv as tc
from tinyconv import functional, ops
from tinyconv.check.draw import RandomDraw
from tinyconv.check.reference import as_tuple, compare_values, compare_with_torch
from tinyconv.testing import spaces
from tinyconv.testing.case import SPACES, draw_case
from tinyconv.testing.decisions import DECISIONS
from tinyconv.torch_names.methods import Absent

assert spaces  # importing it fills SPACES


@st.composite
def cases(draw, name):
    return draw_case(name, HypothesisDraw(draw))


def compared(case, device="cpu"):
    """How well we agree with PyTorch in this case, on this device."""
    ours, theirs = on(device, case.function()), case.torch_function()
    if not case.differentiable:
        return compare_values(ours, theirs, case.inputs, magnitude=case.magnitude)
    return compare_with_torch(
        ours,
        theirs,
        case.inputs,
        needs=case.needs,
        magnitude=case.magnitude,
        second_order=case.second_order,
    )


@pytest.mark.parametrize("name", sorted(SPACES))
@settings(max_examples=2 * settings().max_examples)  # a space has many corners, and an example takes milliseconds
@given(data=st.data())
def test_agrees_with_torch(name, data, record):
    case = data.draw(cases(name), label="the case")
    agreement = compared(case)
    record.add("ops", name, case.classes, {array.dtype.name for array in case.inputs}, vars(agreement))


# The CPU has tried the mathematics; here it is seen that each line of an op runs on CuPy's arrays too.
@pytest.mark.parametrize("name", sorted(SPACES))
@settings(
    max_examples=max(2, settings().max_examples // 10), suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_agrees_with_torch_on_a_gpu(name, data, cuda):
    case = data.draw(cases(name), label="the case")
    with tc.using("readable"):
        compared(case, cuda)


WAIT = {
    "allclose": "it gives a Python bool",
    "equal": "it gives a Python bool",
    "__getitem__": "what a mask picks out has a shape that depends on its values",
    "arange": "its space asks a tensor for the number it holds",
    **dict.fromkeys(
        [
            "argwhere",
            "bincount",
            "masked_scatter",
            "masked_scatter_",
            "masked_select",
            "nonzero",
            "repeat_interleave",
            "unique",
            "unique_consecutive",
        ],
        "the shape of its result depends on values",
    ),
    "one_hot": "where it is to count the classes",
    "nn.BatchNorm": "with momentum=None it divides by a count that is kept on the device",
}


def waits(name, seeds):
    """How often the host waits for a GPU, or asks it for something, in the two passes through these cases."""
    count = 0
    for seed in range(seeds):
        case = draw_case(name, RandomDraw(seed))
        needs = [i for i, array in enumerate(case.inputs) if array.dtype.kind == "f"]
        needs = case.needs if case.needs is not None else needs if case.differentiable else []
        leaves = [tc.tensor(x, device="cuda").requires_grad_(i in needs) for i, x in enumerate(case.inputs)]
        with counted() as counts, tc.device("cuda"), tc.using("readable"):
            for y in as_tuple(case.function()(*leaves)):
                if y.requires_grad:
                    y.backward(tc.ones_like(y), retain_graph=True)
        count += counts.to_host + counts.synchronisations
    return count


@pytest.mark.parametrize("name", sorted(SPACES))
@pytest.mark.usefixtures("standin_cuda")
def test_no_op_waits_for_the_gpu(name):
    assert (waits(name, 25) > 0) == (name in WAIT)


def test_a_wrong_op_is_found(monkeypatch):
    def wrong(xp, saved, dy, needs):
        return (backward(xp, saved, dy, needs)[0] * 1.001,)

    def search():
        for seed in range(20):
            compared(draw_case("tanh", RandomDraw(seed)))

    search()
    backward = ops.Tanh.backward
    monkeypatch.setattr(ops.Tanh, "backward", wrong)
    with pytest.raises(Disagreement, match="gradient of input 0"):
        search()


# --- nothing is left out --------------------------------------------------------------------------------------------

SAME_SPACE = {
    "__add__": "add", "__sub__": "sub", "__mul__": "mul", "__truediv__": "div", "__pow__": "pow",
    "__floordiv__": "floor_divide", "__rfloordiv__": "floor_divide", "__mod__": "remainder", "__rmod__": "remainder",
    "__ifloordiv__": "floor_divide", "__imod__": "remainder", "__iand__": "bitwise_and", "__ior__": "bitwise_or",
    "__ixor__": "bitwise_xor", "__lshift__": "bitwise_left_shift", "__rshift__": "bitwise_right_shift",
    "__ilshift__": "bitwise_left_shift", "__irshift__": "bitwise_right_shift",
    "clamp_min": "clamp", "clamp_max": "clamp", "clamp_min_": "clamp", "clamp_max_": "clamp",
    "__matmul__": "matmul", "__neg__": "neg", "__abs__": "abs", "__eq__": "eq", "__ne__": "ne", "__lt__": "lt",
    "__le__": "le", "__gt__": "gt", "__ge__": "ge",
    "__radd__": "add", "__rsub__": "sub", "__rmul__": "mul", "__rtruediv__": "div", "__rpow__": "pow",
    "clip_": "clamp", "__rmatmul__": "matmul", "float": "to", "double": "to", "long": "to", "int": "to", "bool": "to",
    "half": "to", "short": "to", "char": "to", "byte": "to", "type": "to", "type_as": "to", "new_tensor": "to",
    "new_zeros": "zeros", "new_ones": "ones", "new_full": "full", "empty": "zeros", "new_empty": "zeros",
    "new": "zeros",
    "upsample": "interpolate",
}  # fmt: skip
"""Names that the space of another name covers, besides names of the very same function."""

NOT_OPS = {
    "it says what a tensor is, and computes nothing": [
        "shape", "dtype", "device", "ndim", "dim", "size", "numel", "element_size", "is_floating_point", "is_tensor",
        "is_leaf", "array", "is_cuda", "is_contiguous", "itemsize", "nbytes", "ndimension", "nelement", "stride",
        "__len__", "__repr__", "__format__", "__hash__", "__dir__", "typename",
        "get_device", "is_complex", "is_mps", "is_quantized", "is_sparse", "is_xpu",
    ],
    "it hands values to Python, NumPy and others, outside the tape": [
        "item", "tolist", "numpy", "data", "__array__", "__array_ufunc__", "__array_function__", "__dlpack__",
        "__dlpack_device__", "__bool__", "__float__", "__int__", "__index__", "__contains__",
    ],
    "it looks at a model, with tests of its own": ["summary", "feature_maps", "studio", "studio_page"],
    "it is the tape, with tests of its own": [
        "apply", "backward", "grad", "grad_fn", "requires_grad", "requires_grad_", "retain_grad", "register_hook",
        "is_grad_enabled", "is_inference_mode_enabled", "capture",
    ],
    "it builds, copies or re-targets a tensor object": ["__init__", "__deepcopy__", "__reduce__", "__pos__"],
    "it is chance, of our own": [
        "rand", "rand_like", "randn", "randn_like", "randint", "randperm", "manual_seed", "get_rng_state",
        "set_rng_state", "bernoulli", "bernoulli_", "exponential_", "multinomial", "normal", "normal_", "randint_like",
        "random_", "uniform_", "gumbel_softmax",
    ],
    "every comparison makes its tensors with it": ["tensor", "from_numpy"],
    "it chooses what runs and where, or waits for it": [
        "register", "synchronize", "cpu", "cuda", "get_num_threads", "set_num_threads", "capture", "compile",
        "are_deterministic_algorithms_enabled", "get_default_dtype", "get_float32_matmul_precision",
        "get_num_interop_threads", "is_autocast_enabled", "set_default_dtype", "set_float32_matmul_precision",
        "set_num_interop_threads", "use_deterministic_algorithms",
    ],
    "it reads an argument": ["conv_padding"],
    "it keeps values in a file, with tests of its own": ["load", "save"],
}  # fmt: skip

MODULES = {"nn.BatchNorm"}  # has a state that its function has not
FUSED = {op.name for op in vars(ops).values() if hasattr(op, "parts")}  # captured steps run them, no function does


def public():
    """The public names of Tensor, tc and functional, each with the method, property or function that it names."""
    methods = {name: f for name, f in vars(tc.Tensor).items() if not isinstance(f, Absent)}
    found = [(name, f) for name, f in methods.items() if not name.startswith("_")]
    found += [(name, f) for name, f in methods.items() if name.startswith("__") and callable(f)]
    found += [(name, getattr(tc, name)) for name in tc.__all__ if isinstance(getattr(tc, name), types.FunctionType)]
    found += [(name, getattr(functional, name)) for name in functional.__all__]
    return found


def test_every_public_function_has_a_space_or_a_reason_to_have_none():
    listed = {name for names in NOT_OPS.values() for name in names}
    covered = {id(value) for name, value in public() if name in SPACES}
    missing = {name for name, value in public() if name not in SPACES and id(value) not in covered}
    missing -= {f"{name}_" for name in SPACES}  # in place; tests/tensor compares them
    assert missing - listed - SAME_SPACE.keys() == set(), "give these an argument space in tinyconv/testing/spaces"
    assert listed | SAME_SPACE.keys() <= missing, "these are not public, or have a space"
    assert not listed & SAME_SPACE.keys()


def test_every_space_is_that_of_a_public_name():
    assert len(FUSED) == 4
    assert set(SPACES) <= dict(public()).keys() | MODULES | FUSED
    assert set(SAME_SPACE.values()) <= set(SPACES)


def test_every_difference_by_decision_is_that_of_a_space():
    assert set(DECISIONS) <= set(SPACES)
