"""The CUDA sources as nvcc sees them: for an old GPU and a new one, without a warning, all in registers."""

import itertools
import shutil
import subprocess
from typing import get_args

import pytest

pytest.importorskip("tinyconv.fast", reason="the fast pairs were deleted, and nothing else needs them")

from tinyconv.fast.cuda import build, product

SOURCES = sorted(path.name for path in build.FOLDER.glob("*.cu"))
PRODUCTS = {"conv.cu": (get_args(product.After), (1, product.STEP)), "linear.cu": (("NOTHING", "RELU"), (1,))}
"""What may follow their products, and channels that are no whole steps, and that are."""
CHOICES = [(name, {}) for name in SOURCES if name not in PRODUCTS] + [
    (name, tile.names(after, channels))
    for name, choices in PRODUCTS.items()
    for tile, after, channels in itertools.product((product.NARROW, product.WIDE), *choices)
]
GPUS = ("-gencode=arch=compute_75,code=sm_75", "-gencode=arch=compute_90,code=sm_90", "--threads=2")
STRICT = ("-Werror", "all-warnings", "-Xptxas", "-Werror,-warn-spills,-warn-lmem-usage")

needs_nvcc = pytest.mark.skipif(shutil.which("nvcc") is None, reason="nvcc, NVIDIA's compiler, is not on this machine")


def complaints(folder, text, options):
    """What nvcc says of a source that it refuses; "" of one that it takes."""
    (folder / "kernel.cu").write_text(text)
    command = ["nvcc", "-fatbin", *GPUS, *STRICT, *options, "kernel.cu", "-o", "kernel.fatbin"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.stdout + done.stderr + f"exit code {done.returncode}" if done.returncode else ""


@needs_nvcc
@pytest.mark.slow
@pytest.mark.parametrize("real", build.REAL.values())
@pytest.mark.parametrize(("name", "names"), CHOICES, ids=lambda choice: choice if isinstance(choice, str) else "")
def test_every_source_compiles(tmp_path, name, names, real):
    assert not complaints(tmp_path, build.source(name), build.options(real, **names))


@needs_nvcc
@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("x[0] = y;", "undefined"),
        ("int unused;", "never referenced"),
        ("REAL held[99]; for (int i = 0; i < 99; i++) held[i] = x[i]; x[0] = held[int(x[99])];", "Local memory"),
    ],
)
def test_what_is_wrong_is_seen(tmp_path, body, said):
    text = f'extern "C" __global__ void wrong(REAL* x) {{ {body} }}'
    assert said in complaints(tmp_path, text, build.options("float"))


def test_what_a_source_includes_stands_in_its_place():
    text = build.source("conv.cu")
    assert "#include" not in text
    assert text.index("struct __align__(16) tile") < text.index("struct windows")
