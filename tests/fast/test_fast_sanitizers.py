"""The compiled kernels under the sanitizers of addresses, of undefined behaviour, and of threads: no report.

Python runs as it is, with the sanitizer loaded before it; captured steps run in a library that was compiled for it.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import tinyconv as tc

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and with them the compiled kernels")

from tinyconv.fast.native import build

GCC = shutil.which("gcc")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(GCC is None, reason="there is no gcc")]

SANITIZERS = {"address": "address,undefined", "thread": "thread"}
OPTIONS = {
    "ASAN_OPTIONS": "detect_leaks=0",  # Python keeps what it has
    "UBSAN_OPTIONS": "print_stacktrace=1:halt_on_error=1",
    "TSAN_OPTIONS": "halt_on_error=1",
    "OPENBLAS_NUM_THREADS": "1",  # its threads are not compiled for the sanitizer
}
STEPS = """
import ctypes, sys
import tinyconv as tc
from tinyconv import nn, functional as F
from tinyconv.engine import kernels
from tinyconv.models.outlook import Residual

library = ctypes.CDLL(sys.argv[1])
kernels.find = lambda: kernels.Found(library, "compiled with a sanitizer")


def run(model, shape, rule, n, threads):
    tc.manual_seed(0)
    tc.set_num_threads(threads)
    optimizer = rule(model.parameters(), lr=0.01)

    @tc.capture
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(8):
        step(tc.randn(n, *shape), tc.randint(0, 10, (n,)))
    assert step.to_dict()["programs"][0]["executor"] == "compiled"
    assert kernels.for_programs().library is library


for n, threads in ((70, 1), (1, 3), (200, 3)):
    run(tc.models.LeNet5(), (1, 28, 28), tc.optim.Adam, n, threads)
    run(nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 28, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(28, 8, 3, 2, padding=1, bias=False), nn.BatchNorm2d(8), nn.Tanh(), Residual(8, 16, 2),
        nn.AvgPool2d(2, 1, 1), nn.AdaptiveAvgPool2d(3), nn.LeakyReLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten(),
        nn.Dropout(0.2), nn.Sigmoid(), nn.Linear(64, 10),
    ), (3, 13, 11), tc.optim.SGD, n + 1, threads)
print("done")
"""


def compiled_with(sanitizer, folder):
    """The library for a sanitizer, and what is loaded before Python."""
    named = [GCC, f"-print-file-name=lib{sanitizer[0]}san.so"]
    before = subprocess.run(named, capture_output=True, text=True, check=True).stdout.strip()
    if not os.path.isabs(before):
        pytest.skip(f"gcc has no sanitizer of {sanitizer}")
    library = folder / "native.so"
    flags = [flag for flag in build.FLAGS if flag != "-O3"]
    checks = f"-fsanitize={SANITIZERS[sanitizer]}"
    flags += ["-O1", "-g", "-march=native", checks, "-fno-sanitize-recover=all", "-DTINYCONV_SOURCES=0"]
    files = ["-o", library, build.FOLDER / build.UNIT, "-lm"]
    done = subprocess.run([GCC, *flags, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return library, before


def run_under(sanitizer, before, code, *arguments):
    environment = os.environ | OPTIONS | {"LD_PRELOAD": before}
    fixed = [shutil.which("setarch"), "-R"] if sanitizer == "thread" and shutil.which("setarch") else []
    return subprocess.run(
        [*fixed, sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)],
        env=environment, capture_output=True, text=True, check=False, cwd=Path(tc.__file__).parents[1],
    )  # fmt: skip


@pytest.mark.parametrize("sanitizer", SANITIZERS)
def test_no_report(sanitizer, tmp_path):
    library, before = compiled_with(sanitizer, tmp_path)
    alone = run_under(sanitizer, before, "import numpy; print('done')")
    if alone.stdout != "done\n":
        pytest.skip(f"Python does not run under the sanitizer of {sanitizer}: {alone.stderr[-200:]}")
    done = run_under(sanitizer, before, STEPS, library)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr[-6000:]
