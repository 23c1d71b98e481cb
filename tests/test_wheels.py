"""Wheels: what is in them, and that those for this system run where there is no compiler."""

import os
import platform
import shutil
import struct
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = "tinyconv/fast/native/shipped/"
MISSING = [name for name in ("build", "hatchling", "hatch_fancy_pypi_readme", "ziglang") if find_spec(name) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(MISSING), reason=f"{', '.join(MISSING)} is missing: `make wheels` installs it"),
    pytest.mark.skipif(not (ROOT / "hatch_build.py").exists(), reason="this is no checkout"),
]


def wheel(folder, platform=""):
    """Build a wheel as `make wheels` does: its path."""
    environment = os.environ | {"TINYCONV_WHEEL": platform}
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", folder]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = Path(folder).glob("*.whl")
    return path


def shipped(path):
    with zipfile.ZipFile(path) as file:
        return sorted(name.removeprefix(SHIPPED) for name in file.namelist() if name.startswith(SHIPPED))


@pytest.fixture(scope="module")
def linux(tmp_path_factory):
    return wheel(tmp_path_factory.mktemp("linux"), "linux-x86_64")


@pytest.fixture(scope="module")
def arm(tmp_path_factory):
    return wheel(tmp_path_factory.mktemp("arm"), "linux-aarch64")


@pytest.fixture(scope="module")
def installed(linux, tmp_path_factory):
    """The Python of a fresh environment with the wheel, and with NumPy from this one."""
    if platform.machine() != "x86_64" or sys.platform != "linux":
        pytest.skip("the wheel is for Linux on x86-64")
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", linux], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for name in ("numpy", "numpy.libs"):
        (site / name).symlink_to(Path(np.__file__).parents[1] / name)
    return python


def run(python, code, folder, **environment):
    """Run code where PATH has no program, and where nothing was compiled before."""
    (folder / "nothing").mkdir(exist_ok=True)
    plain = {"PATH": str(folder / "nothing"), "HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        [python, "-c", code], env=plain | environment, cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not (folder / "cache").exists()  # nothing was built
    return done.stdout, done.stderr


# --- what is in them ------------------------------------------------------------------------------------------------


def test_the_wheel_for_all_platforms_has_no_library(tmp_path):
    path = wheel(tmp_path)
    assert path.name.endswith("-py3-none-any.whl")
    assert shipped(path) == []


def test_the_wheel_for_linux_has_a_library_for_each_level(linux):
    assert linux.name.endswith("-py3-none-manylinux_2_17_x86_64.whl")
    assert shipped(linux) == [f"kernels-x86-64-v{level}.so" for level in (2, 3, 4)]
    with zipfile.ZipFile(linux) as file:
        assert b"Root-Is-Purelib: false" in file.read(next(n for n in file.namelist() if n.endswith("/WHEEL")))


def test_an_unknown_platform_is_refused():
    environment = os.environ | {"TINYCONV_WHEEL": "solaris"}
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "TINYCONV_WHEEL is 'solaris'; it takes linux-x86_64, linux-aarch64, macos-arm64" in done.stdout + done.stderr


# --- on this machine, without a compiler ----------------------------------------------------------------------------

WHERE = """
from tinyconv.engine import kernels
print(kernels.running(), kernels.for_programs().how, sep=": ")
"""
AGREES = """
import numpy as np, tinyconv as tc
from tinyconv import nn

def step(pairs):
    tc.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 6, 5, padding=2), nn.ReLU(), nn.Conv2d(6, 8, 3))
    x = tc.randn(37, 3, 12, 12, requires_grad=True)
    with tc.using(pairs):
        y = model(x)
        (y * y).mean().backward()
    if pairs == "native":
        assert y.grad_fn.pair.__module__ == "tinyconv.fast.native"
    return [y.numpy(), *(t.grad.numpy() for t in (x, *model.parameters()))]

for found, expected in zip(step("native"), step("readable"), strict=True):
    assert np.abs(found - expected).max() <= 1e-5 * max(1, np.abs(expected).max())

def losses(kernels):
    tc.manual_seed(0)
    model = tc.models.lenet5()
    optimizer = tc.optim.Adam(model.parameters(), lr=1e-3)
    x, y = tc.rand(100, 1, 28, 28), tc.randint(0, 10, (100,))

    @tc.capture
    def train():
        optimizer.zero_grad()
        loss = tc.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    with tc.using(kernels):
        found = [train().item() for _ in range(8)]
    assert [program["executor"] for program in train.to_dict()["programs"]] == [kernels]
    return found

assert np.abs(np.subtract(losses("compiled"), losses("numpy"))).max() <= 1e-4
"""


def best_level():
    from tinyconv.fast.native import build, library

    assert build.SHIPPED.name == "shipped"
    return library().tinyconv_level()


def test_the_best_level_runs_in_a_fresh_environment(installed, tmp_path):
    out, errors = run(installed, WHERE + AGREES, tmp_path)
    assert (out, errors) == (f"compiled: shipped, x86-64-v{best_level()}\n", "")


@pytest.mark.parametrize("level", [2, 3, 4])
def test_each_level_runs_or_is_refused(installed, tmp_path, level):
    if level <= (most := best_level()):
        out, errors = run(installed, WHERE + AGREES, tmp_path, TINYCONV_X86_LEVEL=f"v{level}")
        assert (out, errors) == (f"compiled: shipped, x86-64-v{level}\n", "")
    else:
        out, errors = run(installed, WHERE, tmp_path, TINYCONV_X86_LEVEL=f"v{level}")
        said = f"TINYCONV_X86_LEVEL is v{level}, and this processor and system run x86-64-v{most} at most"
        assert out == f"numpy: {said}\n"
        assert f"no compiled kernels: {said}; NumPy runs instead" in errors


def test_a_library_beside_other_sources_is_refused(installed, tmp_path):
    """As after an installation that was mended by hand."""
    (source,) = installed.parents[1].glob("lib/python*/site-packages/tinyconv/fast/native/abi.h")
    before = source.read_text()
    source.write_text(before + "/* changed */")
    try:
        out, errors = run(installed, WHERE, tmp_path)
    finally:
        source.write_text(before)
    said = "the shipped library cannot be used: kernels-x86-64-v2.so was made of other sources than those beside it"
    assert out == f"numpy: {said}\n"
    assert errors.count(f"no compiled kernels: {said}; NumPy runs instead") == 1


# --- aarch64, in an emulator ----------------------------------------------------------------------------------------

LOADER = Path("/usr/aarch64-linux-gnu/lib/ld-linux-aarch64.so.1")
N, C, F, K, SIZE = 5, 2, 4, 3, 6
DRIVER = """
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
typedef struct { const float *data; int64_t n, c, h, w, sn, sc, sh, sw; } images;
typedef struct { const float *data; int64_t f, c, kh, kw, group; } filters;
typedef struct {
    images x, dy; filters k, turned; const float *bias; float *y, *dw, *db, *dx; uint8_t *way;
    int64_t ph, pw, relu, threads, size; void *memory;
} task;
enum { N = %d, C = %d, F = %d, K = %d, SIZE = %d, OUT = SIZE - K + 1 };
static float x[N * C * SIZE * SIZE], w[F * C * K * K], y[OUT * F * OUT * N];

int main(int count, char **words) {
    void *library = dlopen(words[1], RTLD_NOW);
    if (!library) return puts(dlerror()), 1;
    fread(x, sizeof x, 1, stdin), fread(w, sizeof w, 1, stdin);
    int64_t size = 4096;
    task t = {.x = {x, N, C, SIZE, SIZE, C * SIZE * SIZE, SIZE * SIZE, SIZE, 1}, .k = {w, F, C, K, K, F}, .y = y,
              .threads = 2, .size = size, .memory = aligned_alloc(64, 2 * 64 * size)};
    ((void (*)(const task *))dlsym(library, "correlate"))(&t);
    uint64_t sources = ((uint64_t (*)(void))dlsym(library, "tinyconv_sources"))();
    int level = ((int (*)(void))dlsym(library, "tinyconv_level"))();
    fwrite(&sources, 8, 1, stdout), fwrite(&level, 4, 1, stdout), fwrite(y, sizeof y, 1, stdout);
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("qemu-aarch64") is None, reason="qemu-aarch64 is missing (Debian: qemu-user)")
@pytest.mark.skipif(not LOADER.exists(), reason="there is no glibc for aarch64 (Debian: libc6-arm64-cross)")
def test_the_library_for_aarch64_convolves(arm, tmp_path):
    """A program in C loads it, in an emulator, and convolves images with it: the numbers are those of the loops."""
    from tinyconv.fast.native import build

    assert arm.name.endswith("-py3-none-manylinux_2_17_aarch64.whl")
    assert shipped(arm) == ["kernels.so"]
    with zipfile.ZipFile(arm) as file:
        file.extract(f"{SHIPPED}kernels.so", tmp_path)
    (tmp_path / "driver.c").write_text(DRIVER % (N, C, F, K, SIZE))
    zig = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-gnu.2.17", "-O1", "-w", "-ldl"]
    subprocess.run([*zig, "-o", tmp_path / "driver", tmp_path / "driver.c"], check=True)
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(shape).astype("f4") for shape in ((N, C, SIZE, SIZE), (F, C, K, K)))
    packed = np.ascontiguousarray(w.transpose(2, 1, 3, 0))  # one group of all F
    command = ["qemu-aarch64", "-L", LOADER.parents[1], tmp_path / "driver", tmp_path / SHIPPED / "kernels.so"]
    said = subprocess.run(command, input=x.tobytes() + packed.tobytes(), stdout=subprocess.PIPE, check=True).stdout
    sources, level = struct.unpack("<Qi", said[:12])
    files = build.sources()
    assert (sources, level) == (int(build.digest_of(*files, *files.values()), 16), 0)
    y = np.frombuffer(said[12:], "f4").reshape(SIZE - K + 1, F, SIZE - K + 1, N).transpose(3, 1, 0, 2)
    windows = np.lib.stride_tricks.sliding_window_view(x, (K, K), axis=(2, 3))
    np.testing.assert_allclose(y, np.einsum("nchwij,fcij->nfhw", windows, w), rtol=1e-4, atol=1e-5)
