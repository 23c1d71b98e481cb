"""Imports as people write them, switches that do nothing, and `as_torch`."""

import copy
import importlib
import pickle
import sys

import numpy as np
import pytest
import torch
from messages import message

import tinyconv as tc
from tinyconv.torch_names import MODULES, NAMES


@pytest.mark.parametrize("name", MODULES)
def test_a_module_of_the_table_is_found_in_both_ways(name):
    module = importlib.import_module(f"tinyconv.{name}")
    found = tc
    for part in name.split("."):
        found = getattr(found, part)
    assert found is module
    assert module.__name__ == f"tinyconv.{MODULES[name]}"


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_table_is_found(name):
    value = getattr(tc, name)
    assert value == name or value.__module__.startswith("tinyconv.torch_modules")


def test_imports_as_people_write_them():
    import tinyconv.nn.functional as F
    import tinyconv.utils.data as data
    from tinyconv.nn.modules.batchnorm import BatchNorm2d
    from tinyconv.nn.parameter import Parameter
    from tinyconv.utils.checkpoint import checkpoint

    assert F is tc.functional
    assert data is tc.data
    assert Parameter is tc.nn.Parameter
    assert BatchNorm2d is tc.nn.modules.batchnorm.BatchNorm2d is tc.nn.BatchNorm2d
    assert checkpoint is tc.utils.checkpoint.checkpoint
    assert F.__spec__.name == "tinyconv.functional"  # the module is not told that it has another name


def test_imports_of_old():
    from tinyconv.autograd.function import Function
    from tinyconv.nn.utils.clip_grad import clip_grad_norm_
    from tinyconv.utils.data.dataloader import DataLoader
    from tinyconv.utils.data.dataset import Dataset
    from tinyconv.utils.data.sampler import SubsetRandomSampler

    from tinyconv.autograd import Variable

    assert Variable is tc.autograd.Variable
    assert Function is tc.autograd.Function
    assert clip_grad_norm_ is tc.nn.utils.clip_grad_norm_
    assert (DataLoader, Dataset) == (tc.data.DataLoader, tc.data.Dataset)
    assert SubsetRandomSampler is tc.data.SubsetRandomSampler


def test_variable_is_a_leaf_that_shares_memory():
    for library in (tc, torch):
        x = library.ones(2, requires_grad=True)
        for given in (x, x * 2, library.ones(2)):
            leaf = library.autograd.Variable(given, requires_grad=True)
            assert leaf.is_leaf
            assert leaf.requires_grad
            assert not library.autograd.Variable(given).requires_grad
            assert isinstance(given, library.autograd.Variable)
            leaf.data[0] = 5
            assert given[0].item() == 5
        assert not isinstance(1.0, library.autograd.Variable)
    assert message(tc.DtypeError, tc.autograd.Variable, [1.0]) == (
        "Variable: takes a tensor, got list; tinyconv.tensor makes one of numbers"
    )


def test_nothing_is_imported_before_it_is_named():
    import subprocess

    code = "import sys, tinyconv; print(*[m for m in sys.modules if 'torch_modules' in m or 'answers' in m])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


# --- what does nothing ----------------------------------------------------------------------------------------------


def test_what_may_do_nothing_returns_what_it_is_given():
    model = tc.nn.ReLU()
    assert tc.compile(model) is tc.jit.script(model) is tc.jit.trace(model, tc.zeros(1)) is tc.fx.wrap(model) is model
    assert tc.compile(mode="max-autotune")(model) is model
    assert tc.jit.ignore(len) is tc.jit.ignore(drop=True)(len) is tc.jit.unused(len) is tc.jit.export(len) is len
    assert tc.jit.annotate(int, 3) == 3
    assert tc.jit.ScriptModule is tc.nn.Module
    assert not tc.jit.is_scripting()
    assert not tc.jit.is_tracing()


def test_checkpoint_has_the_gradient_of_the_function():
    x = tc.tensor([1.0, 2.0], requires_grad=True)
    layers = tc.nn.Sequential(tc.nn.Tanh(), tc.nn.Sigmoid())
    (plain,) = tc.grad(layers(x).sum(), [x])
    for y in (
        tc.utils.checkpoint.checkpoint(layers, x, use_reentrant=False),
        tc.utils.checkpoint.checkpoint_sequential(layers, 2, x, use_reentrant=False),
    ):
        (found,) = tc.grad(y.sum(), [x])
        np.testing.assert_array_equal(found.numpy(), plain.numpy())


def test_switches_may_be_set_and_a_misspelt_one_is_refused():
    cudnn = tc.backends.cudnn
    cudnn.benchmark, before = True, cudnn.benchmark
    assert cudnn.benchmark
    with cudnn.flags(benchmark=False, deterministic=True):
        assert (cudnn.benchmark, cudnn.deterministic) == (False, True)
    assert (cudnn.benchmark, cudnn.deterministic) == (True, False)
    cudnn.benchmark = before
    assert not any([cudnn.is_available(), tc.backends.mps.is_available(), tc.backends.mps.is_built()])
    assert "no attribute 'benchmrk'" in message(AttributeError, setattr, cudnn, "benchmrk", True)


def test_default_dtype_is_float32():
    tc.set_default_dtype(tc.float32)
    assert tc.get_default_dtype() == tc.zeros(1).dtype
    assert "the default is always float32" in message(tc.DtypeError, tc.set_default_dtype, tc.float64)


def test_settings_that_have_one_value():
    tc.use_deterministic_algorithms(True)
    tc.set_num_interop_threads(4)
    tc.set_float32_matmul_precision("high")
    assert tc.are_deterministic_algorithms_enabled()
    assert tc.get_num_interop_threads() == 1
    assert tc.get_float32_matmul_precision() == "highest"
    assert tc.typename(tc.nn.ReLU()).endswith(".ReLU")
    assert tc.typename(3) == "int"


def test_dtypes_by_the_names_of_c():
    assert (tc.float, tc.double, tc.half) == (tc.float32, tc.float64, tc.float16)
    assert (tc.long, tc.int, tc.short) == (tc.int64, tc.int32, tc.int16)
    assert tc.zeros(2, dtype=tc.long).dtype == tc.int64
    assert isinstance(tc.float, tc.dtype)
    assert tc.finfo(tc.float32).eps == 2**-23


def test_tensors_by_their_kind():
    for data in (([[1, 2]],), (2, 3), (np.ones(3, np.float32),), ()):
        ours, theirs = tc.FloatTensor(*data), torch.FloatTensor(*data)
        assert ours.shape == tuple(theirs.shape)
        assert ours.dtype == tc.float32
    assert tc.LongTensor([1, 0]).dtype == tc.int64
    assert isinstance(tc.zeros(2), tc.FloatTensor)
    assert not isinstance(tc.zeros(2), tc.LongTensor)
    assert not isinstance(tc.zeros(2), tc.cuda.FloatTensor)


def test_tensors_like_another():
    x = tc.zeros(2, dtype=tc.float64)
    assert (x.new(2, 3).shape, x.new((4, 1)).shape, x.new().shape) == ((2, 3), (4, 1), (0,))
    assert (x.new([1, 2]).tolist(), x.new(np.ones(2, np.int64)).dtype) == ([1.0, 2.0], tc.float64)
    assert (x.get_device(), x.is_complex()) == (-1, False)
    assert not any((x.is_sparse, x.is_quantized, x.is_mps, x.is_xpu))


def test_what_an_op_was_given():
    layer = tc.nn.Linear(3, 2)
    y = layer(tc.ones(1, 3)).tanh()
    ((linear, place),) = y.grad_fn.next_functions
    assert (type(linear).__name__, place) == ("OpNode", 0)
    (nothing, _), (weight, _), (bias, _) = linear.next_functions
    assert nothing is None
    assert (weight.shape, bias.shape) == ((2, 3), (2,))
    assert weight.next_functions == ()


@pytest.mark.parametrize(
    "data", [(), (3,), (0,), (2, 3), (2, 0, 1), (np.int64(3),), ((2, 3),), ([3],), ([],)], ids=repr
)
def test_whole_numbers_alone_are_sizes(data):
    """As layers of one's own make their parameters: `nn.Parameter(torch.Tensor(out_features))`."""
    ours, theirs = tc.Tensor(*data), torch.Tensor(*data)
    assert ours.shape == tuple(theirs.shape)
    assert ours.dtype == tc.float32
    assert not ours.requires_grad
    assert tc.nn.Parameter(ours).shape == ours.shape


def test_numbers_that_are_no_sizes():
    assert tc.Tensor(2.5).item() == 2.5
    assert tc.Tensor(3, dtype=tc.int64).item() == 3
    assert message(tc.ShapeError, tc.Tensor, 2, -1) == "sizes cannot be negative, got (2, -1)"
    assert message(tc.ShapeError, tc.Tensor, 2, 3.0) == "sizes must be integers, got (2, 3.0)"


def test_memory_formats_change_nothing():
    x = tc.rand(2, 3, 4, 5)
    for y in (
        x.to(memory_format=tc.channels_last),
        x.contiguous(memory_format=tc.contiguous_format),
        x.clone(memory_format=tc.preserve_format),
    ):
        np.testing.assert_array_equal(y.numpy(), x.numpy())
    layer = tc.nn.Conv2d(3, 4, 3)
    assert layer.to(memory_format=tc.channels_last) is layer


def test_a_device_is_its_name():
    for device in (tc.device("cpu"), tc.zeros(1).device, tc.device(tc.device("cpu"))):
        assert isinstance(device, tc.device)
        assert (device, device.type, device.index, f"{device}") == ("cpu", "cpu", None, "cpu")
    for device in (tc.device("cuda"), tc.device("cuda", 0), tc.device("cuda:0"), tc.device(type="cuda")):
        assert (device, device.type, device.index, str(device)) == ("cuda:0", "cuda", 0, "cuda:0")
    assert tc.device("cuda", 1) == "cuda:1" != tc.device("cuda")
    assert {tc.device("cpu"): 1}["cpu"] == 1
    assert pickle.loads(pickle.dumps(tc.device("cuda:1"))) == copy.deepcopy(tc.device("cuda:1")) == "cuda:1"
    assert repr(tc.device("cpu")) == "device('cpu')"
    with tc.zeros(1, device="meta").device:
        assert tc.zeros(1).device.type == "meta"


# --- without a GPU --------------------------------------------------------------------------------------------------


@pytest.fixture
def no_gpu(monkeypatch):
    from tinyconv.torch_modules import cuda

    monkeypatch.setattr(cuda, "device_count", lambda: 0)


@pytest.mark.usefixtures("no_gpu")
def test_scripts_that_ask_for_a_gpu_stay_on_the_cpu():
    assert tc.device("cuda" if tc.cuda.is_available() else "cpu").type == "cpu"
    assert not tc.accelerator.is_available()
    tc.cuda.manual_seed_all(1)
    tc.cuda.empty_cache()


@pytest.mark.usefixtures("no_gpu")
def test_mixed_precision_does_nothing_where_torch_does_nothing():
    layer = tc.nn.Linear(2, 1)
    optimizer = tc.optim.SGD(layer.parameters(), lr=0.1)
    scaler, before = tc.cuda.amp.GradScaler(), layer.weight.numpy().copy()
    with tc.autocast("cuda"), tc.amp.autocast("cpu", enabled=False):
        loss = layer(tc.ones(3, 2)).sum()
    assert loss.dtype == tc.float32
    scaler.scale(loss).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    np.testing.assert_allclose(before - layer.weight.numpy(), 0.3, rtol=1e-6)
    assert "mixed precision is not here" in message(tc.OptionError, tc.autocast, "cpu", tc.float16)
    assert "mixed precision is not here" in message(tc.OptionError, tc.GradScaler, "cpu")


# --- as_torch -------------------------------------------------------------------------------------------------------


def test_as_torch_shadows_and_restores():
    import torch as theirs

    before = {name for name in sys.modules if name.partition(".")[0] == "torch"}
    with tc.as_torch():
        import torch
        import torch.nn as nn
        import torch.nn.functional as F
        from torch.utils.data import DataLoader

        assert torch is tc
        assert (nn, F, DataLoader) == (tc.nn, tc.functional, tc.data.DataLoader)
        with tc.as_torch():
            assert importlib.import_module("torch") is tc
        assert importlib.import_module("torch.optim") is tc.optim
    assert {name for name in sys.modules if name.partition(".")[0] == "torch"} == before
    assert sys.modules["torch"] is theirs
    assert importlib.import_module("torch.nn").Conv2d is theirs.nn.Conv2d


def test_as_torch_restores_after_an_error():
    def torch():
        return {name: module for name, module in sys.modules.items() if name.startswith("torch")}

    before, finders = torch(), list(sys.meta_path)
    with pytest.raises(ModuleNotFoundError), tc.as_torch():
        importlib.import_module("torch.fft")
    assert sys.meta_path == finders
    assert torch() == before


@pytest.mark.parametrize("module", ["torch.multiprocessing", "torch.linalg", "torch.nn.quantized"])
def test_a_module_that_is_not_here_says_what_to_use(module):
    with tc.as_torch():
        said = message(ModuleNotFoundError, importlib.import_module, module)
    assert said.startswith(f"there is no tinyconv.{module[6:]}, ")


# --- with a GPU, or its stand-in --------------------------------------------------------------------------------------


def test_scripts_that_ask_for_a_gpu_get_it(cuda):
    assert tc.cuda.is_available()
    assert tc.cuda.device_count() >= 1
    assert tc.cuda.current_device() == 0
    x = tc.ones(4, device=tc.accelerator.current_accelerator())
    assert (x.device.type, x.device.index) == ("cuda", 0)
    with tc.cuda.device(0):
        assert tc.zeros(1).device == "cuda:0"
    assert tc.cuda.FloatTensor(2, 3).device == "cuda:0"
    assert isinstance(x, tc.cuda.FloatTensor)
    assert not isinstance(x, tc.FloatTensor)
    assert tc.zeros(1).type(tc.cuda.LongTensor).type() == "torch.cuda.LongTensor"
    assert x.get_device() == 0
    tc.cuda.set_device(0)
    tc.cuda.synchronize()
    assert tc.cuda.is_initialized()
    assert "always names GPU 0" in message(tc.DeviceError, tc.cuda.set_device, 1)
    assert "mixed precision is not here" in message(tc.OptionError, tc.autocast, "cuda")
