"""What all tests share: Hypothesis's profiles, the record of a run, and the real data where they are to be had."""

import os

import pytest
from hypothesis import HealthCheck, settings
from record import Recorder

from tinyconv import data

# Three sizes of the same search, chosen by --hypothesis-profile:
#   dev   a few seconds, other examples each time; what fails once is kept and tried again first
#   ci    minutes, and the same examples each time: whether a change may land is not a matter of luck, and what fails
#         there fails everywhere. They change with the code of the test
#   deep  an hour of examples nobody has seen; --hypothesis-seed chooses which, --record writes what they found
# A shared machine may stall for longer than any deadline: a slow example is not a wrong one.
SHARED = {"deadline": None, "print_blob": True, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("dev", max_examples=5, **SHARED)
settings.register_profile("ci", derandomize=True, **SHARED)
settings.register_profile("deep", max_examples=3500, **SHARED)
settings.load_profile("ci")


def pytest_addoption(parser):
    parser.addoption("--record", metavar="PATH", help="write what was compared with PyTorch to this JSON file")


def pytest_configure(config):
    config.pluginmanager.register(Recorder(config), "recorder")


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
