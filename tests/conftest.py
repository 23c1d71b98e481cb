"""What all tests share: Hypothesis's profiles, the record of a run, devices, and the real data where they are here."""

import os
import sys

import numpy as np
import pytest
import standin
from hypothesis import HealthCheck, settings
from record import Recorder

from tinyconv import data, errors
from tinyconv.arrays import backend
from tinyconv.engine import variants
from tinyconv.engine.context import context
from tinyconv.host import threads
from tinyconv.tensor.creation import manual_seed

# Four sizes of the same search, chosen by --hypothesis-profile:
#   quick  a fifth of `ci`, the same examples each time: what `make test` takes
#   dev    a few seconds, other examples each time; what fails once is kept and tried again first
#   ci     minutes, and the same examples each time: whether a change may land is not a matter of luck, and what fails
#          there fails everywhere. They change with the code of the test. `make test-all` takes it
#   deep   an hour of examples nobody has seen; --hypothesis-seed chooses which, --record writes what they found
# A shared machine may stall for longer than any deadline: a slow example is not a wrong one.
SHARED = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("quick", max_examples=20, derandomize=True, **SHARED)
settings.register_profile("dev", max_examples=5, **SHARED)
settings.register_profile("ci", derandomize=True, **SHARED)
settings.register_profile("deep", max_examples=700, **SHARED)


def pytest_addoption(parser):
    parser.addoption("--record", metavar="PATH", help="write what was compared with PyTorch to this JSON file")
    parser.addoption("--all", action="store_true", help="slow tests too, and all examples of the others (profile ci)")


def pytest_configure(config):
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("ci" if config.getoption("--all") else "quick")
    config.pluginmanager.register(Recorder(config), "recorder")
    # `match` reads notes too: the line of a test would match what the error should say. test_user_frame.py has them on.
    errors.user_line = lambda: ""


def _no_gpu():
    """Why there is no real GPU to test on; nothing where CuPy finds one."""
    try:
        backend.CupyBackend().check_device("cuda:0")
    except backend.DeviceError as error:
        return str(error)
    return ""


NO_GPU = _no_gpu()


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "gpu" in item.fixturenames:
            item.add_marker(pytest.mark.gpu)
    if not config.getoption("--all") and not config.getoption("-m") and "::" not in "".join(config.args):
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]


def _settings():
    """What a test may set for a while: of tinyconv, of NumPy, and of PyTorch where it is imported."""
    now = context.get()
    found = {
        "recording": now.recording,
        "inference_mode": now.inference,
        "using": now.variants,
        "observer": now.observer,
        "layer": now.layer,
        "device": backend.device_name(None),
        "captured step": backend.captured_step.get(),
        "kernels": variants.kernels(),
        "threads": threads.get_num_threads(),
        "np.errstate": np.geterr(),
    }
    if torch := sys.modules.get("torch"):
        found |= {
            "torch's default dtype": torch.get_default_dtype(),
            "torch's recording": torch.is_grad_enabled(),
            "torch's inference_mode": torch.is_inference_mode_enabled(),
            "torch's anomaly mode": torch.is_anomaly_enabled(),
            "torch's deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
            "torch's autocast": torch.is_autocast_enabled("cpu"),
            "torch's threads": torch.get_num_threads(),
        }
    return found


@pytest.fixture(autouse=True)
def settings_as_they_were():
    """A test that leaves a setting changed fails here, and not whichever test comes after it.

    Each begins with the same random numbers: whether a change may land is not a matter of luck.
    """
    manual_seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)
    before = _settings()
    yield
    after = _settings()
    changed = [f"{name}: {value!r} became {after[name]!r}" for name, value in before.items() if after[name] != value]
    assert not changed, f"this test left {'; '.join(changed)}"


CUDA = pytest.param("cuda", id="standin") if NO_GPU else pytest.param("cuda", marks=pytest.mark.gpu)


def _device(request):
    if request.param == "cuda" and NO_GPU:
        request.getfixturevalue("standin_cuda")
    return request.param


@pytest.fixture(params=["cpu", CUDA])
def device(request):
    """`cpu`, then `cuda`: a real GPU, or the stand-in for one, which is stricter."""
    return _device(request)


@pytest.fixture(params=[CUDA])
def cuda(request):
    """`cuda` alone: a real GPU, or the stand-in for one."""
    return _device(request)


@pytest.fixture
def everywhere(device):
    """What a test makes without naming a device is on `device`."""
    with backend.device(device):
        yield


@pytest.fixture
def standin_cuda(monkeypatch):
    """`cuda` is the stand-in, also where there is a GPU: for what is counted, and for the mistakes it finds."""
    monkeypatch.setattr(backend, "_cupy", None)
    with standin.installed():
        yield standin.cupy


@pytest.fixture
def gpu():
    """A real GPU, for what nothing else shows; the test is skipped where there is none."""
    if NO_GPU:
        pytest.skip(NO_GPU)
    return "cuda"


@pytest.fixture(scope="session")
def record(pytestconfig):
    """Where a test counts the examples in which we agreed with PyTorch."""
    return pytestconfig.pluginmanager.get_plugin("recorder").record


@pytest.fixture(scope="session")
def mnist_root():
    """The folder with the real MNIST files; tests that need them are skipped where TINYCONV_DATA names none."""
    root = os.environ.get("TINYCONV_DATA")
    if not root or data.locate("mnist", root) is None:
        pytest.skip("the real MNIST files are not here: set TINYCONV_DATA to a folder that has them")
    return root
