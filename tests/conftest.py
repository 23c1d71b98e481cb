"""What all tests share: the hypothesis profile, and the real data where they are to be had."""

import os

import pytest
from hypothesis import HealthCheck, settings

from tinyconv import data

# A shared machine may stall for longer than any deadline: a slow example is not a wrong one.
settings.register_profile("ci", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci")


@pytest.fixture(scope="session")
def mnist_root():
    """The folder with the real MNIST files; tests that need them are skipped where TINYCONV_DATA names none."""
    root = os.environ.get("TINYCONV_DATA")
    if not root or data.locate("mnist", root) is None:
        pytest.skip("the real MNIST files are not here: set TINYCONV_DATA to a folder that has them")
    return root
