"""Tensors on a GPU and between devices: what moves, what is refused, and that nothing waits that need not."""

import copy
import pickle
import sys

import numpy as np
import pytest
from messages import message
from oracle import assert_array_equal, share_memory
from standin import counted

import tinyconv as tc
from tinyconv import functional as F
from tinyconv import nn
from tinyconv.arrays.backend import backend_of

# --- there and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [tc.float32, tc.float64, tc.int64, tc.uint8, tc.bool])
def test_there_and_back(cuda, dtype):
    x = tc.tensor([[0, 1], [2, 3]], dtype=dtype)
    y = x.to(cuda)
    assert (x.device, y.device, y.dtype, y.shape) == ("cpu", "cuda:0", dtype, (2, 2))
    assert y.tolist() == y.cpu().tolist() == x.tolist()
    assert x.cuda().tolist() == x.cuda(0).tolist() == x.cuda("cuda").tolist() == x.to(y).tolist()
    assert y.to("cuda") is y.cuda() is y
    assert x.cpu() is x
    assert x.to("cuda", non_blocking=True).device == x.to(device="cuda:0", dtype=tc.float64).device == "cuda:0"
    assert x.cuda(non_blocking=True).device == "cuda:0"
    assert x.to("cuda", tc.float64).dtype == np.float64


def test_gradients_come_along(cuda):
    x = tc.tensor([1.0, 2.0], requires_grad=True)
    y = x.to(cuda) * tc.tensor([3.0, 4.0], device=cuda)
    assert y.requires_grad
    y.cpu().sum().backward()
    assert x.grad.device == "cpu"
    assert x.grad.tolist() == [3.0, 4.0]
    z = tc.ones(2, device=cuda, requires_grad=True)
    (z.cpu() * x).sum().backward()
    assert z.grad.device == "cuda:0"
    assert z.grad.tolist() == [1.0, 2.0]


def test_what_is_made_where_a_block_says(cuda):
    with tc.device(cuda):
        made = [
            tc.zeros(2),
            tc.ones((2,)),
            tc.arange(3),
            tc.rand(2),
            tc.tensor([1.0]),
            tc.tensor(2),
            tc.full((2,), 1.5),
        ]
        layer = nn.Linear(2, 2)
        assert {t.device for t in [*made, *layer.parameters()]} == {"cuda:0"}
        assert tc.zeros(2, device="cpu").device == "cpu"
    assert tc.tensor(tc.ones(2, device=cuda)).device == "cuda:0"  # a copy is where the original is
    assert tc.zeros_like(tc.ones(2, device=cuda)).device == "cuda:0"


def test_copies_are_on_the_device_of_the_original(cuda):
    x = tc.tensor([1.0, 2.0], device=cuda, requires_grad=True)
    (x * 3).sum().backward()
    for other in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), x.detach().clone()):
        assert other.device == "cuda:0"
        assert other.tolist() == [1.0, 2.0]
        assert not share_memory(other.array, x.array)
    assert copy.deepcopy(x).grad.tolist() == [3.0, 3.0]


def test_how_it_prints(cuda):
    x = tc.tensor([1.0, 2.0], device=cuda, requires_grad=True)
    assert repr(x) == "tensor([1., 2.], device='cuda:0', requires_grad=True)"
    assert repr(x.sum()) == "tensor(3., device='cuda:0', grad_fn=<Sum (readable)>)"
    assert f"{x.sum():.2f}" == "3.00"


def test_numpy_says_how_to_bring_it_over(cuda):
    x = tc.ones(2, device=cuda)
    refused = "numpy: this tensor is on cuda:0; bring it over first: x.cpu().numpy()"
    for use in (x.numpy, lambda: np.asarray(x), lambda: np.exp(x), lambda: x.detach().numpy()):
        assert message(tc.DeviceError, use) == refused
    assert x.cpu().numpy().tolist() == [1.0, 1.0]


# --- indexing and writing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        1,
        (slice(None), 0),
        [2, 0],
        np.array([0, -1]),
        ([0, 1], [1, 0]),
        np.array([True, False, True]),
        (slice(None), np.array([False, True])),
        None,
    ],
    ids=str,
)
def test_an_index_of_the_host_does_not_wait(cuda, index):
    x = tc.tensor(np.arange(6.0).reshape(3, 2), requires_grad=True)
    there = x.detach().to(cuda).requires_grad_()
    with counted() as count:
        y = there[index]
        y.backward(tc.ones_like(y))
        with tc.no_grad():
            there[index] = 7.0
    assert count.to_host == count.synchronisations == 0
    expected = x[index]
    expected.backward(tc.ones_like(expected))
    with tc.no_grad():
        x[index] = 7.0
    assert y.tolist() == expected.tolist()
    assert there.grad.tolist() == x.grad.tolist()
    assert there.tolist() == x.tolist()


def test_masks_and_places_on_the_device(cuda):
    x = tc.arange(6, device=cuda).reshape(3, 2).double().requires_grad_()
    picked = x[x > 2]
    assert picked.tolist() == [3.0, 4.0, 5.0]
    picked.sum().backward()
    assert x.grad.tolist() == [[0, 0], [0, 1], [1, 1]]
    assert x[tc.tensor([2, 2], device=cuda)].tolist() == [[4.0, 5.0]] * 2
    with tc.no_grad():
        x[x > 3] = 0.0
        x[0] = [8.0, 9.0]
        x[1] = np.array([6.0, 7.0])
    assert x.tolist() == [[8, 9], [6, 7], [0, 0]]


def test_an_index_out_of_range_is_found(cuda):
    x = tc.zeros(3, 2, device=cuda)
    for index in ([3], np.array([0, -4]), (0, [2]), 3):
        with pytest.raises(IndexError, match="out of bounds"):
            x[index]
    with pytest.raises(IndexError):
        x[[5]] = 1.0
    assert [row.tolist() for row in x] == [[0.0, 0.0]] * 3  # iteration ends


def test_what_shares_elements_is_not_written_to(cuda):
    with pytest.raises(tc.GraphError, match="its elements share memory"):
        tc.zeros(1, device=cuda).expand(3).fill_(1)
    assert tc.zeros(0, 3, device=cuda).fill_(1).shape == (0, 3)


def test_numbers_are_written_there_and_not_copied(cuda):
    with counted() as count:
        x = tc.ones(3, device=cuda)
        x.fill_(2).zero_().add_(1.5)
        tc.tensor(3.0, device=cuda)
        tc.where(x > 1, x, 0.0)
        2**x
        x.clamp(min=0.5, max=tc.tensor(2.0, device=cuda))
        F.pad(x, (1, 1), value=3.0)
        F.avg_pool2d(tc.ones(1, 1, 5, 5, device=cuda), 3, 2, padding=1, count_include_pad=False)
    assert count.to_device == count.to_host == count.synchronisations == 0
    assert x.tolist() == [1.5] * 3


# --- two devices ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mix",
    [
        lambda a, b: a + b,
        lambda a, b: a == b,
        lambda a, b: tc.cat([a, b]),
        lambda a, b: tc.where(a > 0, a, b),
        lambda a, b: F.linear(a, b),
        lambda a, b: F.mse_loss(a, b),
        lambda a, b: a.__setitem__(0, b),
        lambda a, b: a + b.numpy(),
        lambda a, b: F.batch_norm(tc.ones(4, 3, device="cuda"), b[0], b[0], training=True),
    ],
)
def test_two_devices_meet(cuda, mix):
    a, b = tc.ones(3, 3, device=cuda), tc.ones(3, 3)
    with pytest.raises(tc.DeviceError, match=r"^arrays on two devices met: .* on (cpu|cuda:0) and .* on (cpu|cuda:0)"):
        mix(a, b)


def test_what_it_says(cuda):
    assert message(tc.DeviceError, lambda: tc.ones(2, device=cuda) + tc.ones(2, 3)) == (
        "arrays on two devices met: float32 (2,) on cuda:0 and float32 (2, 3) on cpu; "
        "move one of them with .to(device), or the whole model with model.to(device)"
    )
    in_a_layer = message(tc.DeviceError, nn.Sequential(nn.Linear(2, 2)).to(cuda), tc.ones(1, 2))
    assert in_a_layer.endswith("in layer '0': Linear(in_features=2, out_features=2, bias=True)")


@pytest.mark.usefixtures("standin_cuda")
def test_two_gpus():
    a, b = tc.ones(2, device="cuda:0"), tc.ones(2, device="cuda:1")
    assert message(tc.DeviceError, lambda: a + b) == (
        "arrays on two devices met: float32 (2,) on cuda:0 and float32 (2,) on cuda:1; "
        "move one of them with .to(device), or the whole model with model.to(device)"
    )
    assert (a.to("cuda:1") + b).device == (a.cuda(1) + b).device == "cuda:1"
    assert tc.tensor(b).device == b.clone().device == copy.deepcopy(b).device == "cuda:1"
    # CuPy works on one device at a time: after each of these, the other one is current.
    for x, y in ((a, b), (b, a)):
        for use in (lambda x: ~(x > 0), lambda x: x.isnan(), lambda x: x.all(), lambda x: x.argmax(), lambda x: x == 1):
            (y + 1).sum()
            assert use(x).device == x.device
        y.clone()
        x[0] = 5.0
        assert repr(x).startswith("tensor([5., 1.]")


def test_a_wait_is_for_the_device_that_is_named(standin_cuda, monkeypatch):
    waited = []
    stream = standin_cuda.cuda.Stream
    monkeypatch.setattr(stream, "synchronize", lambda self: waited.append(standin_cuda.cuda.runtime.getDevice()))
    tc.ones(1, device="cuda:0")  # now the current one
    for name in ("cuda:1", "cuda:0", "cuda", "cpu"):
        tc.synchronize(name)
    assert waited == [1, 0, 0]
    with pytest.raises(tc.DeviceError, match=r"device 'cuda:7': this machine has 2 GPU\(s\)"):
        tc.synchronize("cuda:7")


@pytest.mark.usefixtures("standin_cuda")
def test_a_model_on_two_gpus():
    tc.manual_seed(0)
    first, second = nn.Linear(3, 4), nn.Linear(4, 2)
    x = tc.rand(5, 3)
    loss = ((second(first(x)) + first(x).sum(1, keepdim=True)) ** 2).mean()
    loss.backward()
    expected = [p.grad.numpy().copy() for p in (*first.parameters(), *second.parameters())]
    for p in (*first.parameters(), *second.parameters()):
        p.grad = None
    first.to("cuda:1")
    second.to("cuda:0")
    h = first(x.to("cuda:1"))
    again = ((second(h.to("cuda:0")) + h.sum(1, keepdim=True).to("cuda:0")) ** 2).mean()
    again.backward()
    assert again.item() == pytest.approx(loss.item(), rel=1e-6)
    for p, e in zip((*first.parameters(), *second.parameters()), expected, strict=True):
        assert p.grad.device == p.device
        np.testing.assert_allclose(p.grad.cpu().numpy(), e, rtol=1e-5, atol=1e-7)


@pytest.mark.usefixtures("standin_cuda")
@pytest.mark.parametrize("kind", [tc.optim.SGD, tc.optim.Adam, tc.optim.AdamW, tc.optim.RMSprop])
def test_training_on_the_second_gpu(kind):
    def trained(device):
        tc.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).to(device)
        optimizer = kind(model.parameters(), lr=0.01)
        x, y = tc.rand(6, 4).to(device), tc.tensor([0, 1, 2, 0, 1, 2]).to(device)
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(x), y).backward()
            tc.optim.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        assert {p.device for p in model.parameters()} == {str(tc.device(device))}
        return [p.detach().cpu().numpy() for p in model.parameters()]

    for ours, theirs in zip(trained("cuda:1"), trained("cpu"), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)


# --- what is not there ----------------------------------------------------------------------------------------------


def refusing(cupy, monkeypatch, status, driver):
    def refuse():
        raise cupy.cuda.runtime.CUDARuntimeError(status)

    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", refuse)
    monkeypatch.setattr(cupy.cuda.runtime, "driverGetVersion", lambda: driver)


def test_no_driver(standin_cuda, monkeypatch):
    refusing(standin_cuda, monkeypatch, 35, 0)
    assert message(tc.DeviceError, tc.zeros, 2, device="cuda") == (
        "device 'cuda:0': no CUDA driver or GPU was found (cudaErrorInsufficientDriver: CUDA driver version is "
        "insufficient for CUDA runtime version); use device='cpu'"
    )


def test_no_gpu(standin_cuda, monkeypatch):
    refusing(standin_cuda, monkeypatch, 100, 13000)
    assert message(tc.DeviceError, nn.Linear(2, 2).to, "cuda:1") == (
        "device 'cuda:1': no CUDA driver or GPU was found (cudaErrorNoDevice: no CUDA-capable device is detected); "
        "use device='cpu'"
    )


def test_a_cupy_that_is_newer_than_the_driver(standin_cuda, monkeypatch):
    refusing(standin_cuda, monkeypatch, 35, 12040)
    assert message(tc.DeviceError, tc.ones(2).to, "cuda") == (
        "device 'cuda:0': CuPy is made for CUDA 13.0 and the driver knows CUDA up to 12.4: update the driver, or pip "
        "install 'tinyconv[cuda12]' in place of that CuPy; or use device='cpu'"
    )


@pytest.mark.usefixtures("standin_cuda")
def test_no_such_number():
    for use in (lambda: tc.zeros(2, device="cuda:2"), lambda: tc.ones(2).to("cuda:2"), lambda: tc.ones(2).cuda(2)):
        assert message(tc.DeviceError, use) == "device 'cuda:2': this machine has 2 GPU(s), numbered from 0"


def test_a_cupy_that_cannot_be_imported(tmp_path, monkeypatch):
    tmp_path.joinpath("cupy.py").write_text(
        "try:\n    raise ImportError('libnvrtc.so.13: no such file')\n"
        "except ImportError as error:\n    raise ImportError('====\\nFailed to import CuPy.') from error\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr("tinyconv.arrays.backend._cupy", None)
    assert message(tc.DeviceError, tc.zeros, 2, device="cuda") == (
        "device 'cuda' needs CuPy, which is installed and cannot be imported (libnvrtc.so.13: no such file); "
        "`python -c 'import cupy'` may say more. Use device='cpu' meanwhile"
    )


# --- memory ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def little_memory(standin_cuda):
    """64 KiB on the first GPU, beside what is in use."""
    pool = standin_cuda.get_default_memory_pool()
    pool.set_limit(size=pool.used_bytes() + (64 << 10))
    yield
    pool.set_limit(size=0)


def short_of_memory(what):
    return (
        rf"^{what}: no memory left on cuda:0\. Out of memory allocating [\d,]+ bytes \(allocated so far: [\d,]+ bytes, "
        r"limit set to: [\d,]+ bytes\)\. Of its 16\.0 GiB, \d\.\d are in use, by other programs too: use a smaller "
        r"batch, or no_grad\(\) where nothing is to be trained"
    )


@pytest.mark.usefixtures("little_memory")
def test_no_memory_left():
    x = tc.ones(4000, device="cuda", requires_grad=True)  # 16 kB
    with pytest.raises(tc.OutOfMemoryError, match=short_of_memory("Mul")) as caught:
        x.reshape(-1, 1) * x
    assert isinstance(caught.value, tc.DeviceError)
    assert type(caught.value.__cause__).__name__ == "OutOfMemoryError"
    with pytest.raises(tc.OutOfMemoryError, match=short_of_memory("to")):
        tc.ones(100_000).to("cuda")
    y = x.expand(8, 4000).sum()
    del caught
    held = [x.detach() + 1 for _ in range(2)]
    with pytest.raises(tc.OutOfMemoryError, match=short_of_memory("backward")):
        (y * 1.0).backward()
    assert len(held) == 2
    model = nn.Sequential(nn.Linear(4000, 1, bias=False))
    with pytest.raises(tc.OutOfMemoryError, match="no memory left on cuda:0"):
        model.to("cuda")


@pytest.mark.usefixtures("little_memory")
def test_no_memory_left_for_what_an_optimiser_remembers():
    model = nn.Linear(5000, 1, bias=False, device="cuda")  # 20 kB; its gradient and Adam's two moments make 80
    optimizer = tc.optim.Adam(model.parameters())
    model.weight.grad = tc.ones_like(model.weight)
    with pytest.raises(tc.OutOfMemoryError, match=short_of_memory(r"Adam\.step")):
        optimizer.step()


def test_memory_of_the_host_is_numpys_affair():
    with pytest.raises(MemoryError) as caught:
        tc.ones(1).expand(1 << 60) * 1.0
    assert not isinstance(caught.value, tc.OutOfMemoryError)


# --- a step ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variants", ["readable", None])
def test_a_step_of_lenet_copies_nothing_and_waits_for_nothing(standin_cuda, variants):
    tc.manual_seed(0)
    model = tc.models.lenet5().to("cuda")
    optimizer = tc.optim.Adam(model.parameters(), lr=1e-3)
    images, labels = tc.rand(4, 1, 28, 28, device="cuda"), tc.randint(0, 10, (4,), device="cuda")

    def step():
        optimizer.zero_grad()
        loss = F.cross_entropy(model(images), labels)
        loss.backward()
        optimizer.step()
        return loss

    with tc.using(variants) if variants else tc.enable_grad():
        step()
        with counted() as count:
            loss = step()
    assert (count.to_host, count.synchronisations) == (0, 0)
    assert count.to_device <= (variants is None)  # what the optimiser's kernel is told of this step
    assert count.launches > 10
    with counted() as count:
        assert loss.item() == pytest.approx(np.log(10), rel=0.1)
    assert (count.to_host, count.synchronisations) == (1, 1)


def test_arrays_of_cupy_are_tensors_too(standin_cuda):
    array = standin_cuda.ones(3, np.float32)
    assert tc.tensor(array).device == "cuda:0"
    assert not share_memory(tc.tensor(array).array, array)
    assert_array_equal(tc.ones(3, device="cuda") + array, np.full(3, 2.0))
    assert backend_of(array).name == "cupy"
