"""CUDA sources compiled by the host's compiler, and run: what `cupy.RawModule` offers, without a GPU."""

import ctypes
import hashlib
import re
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from standin import cuda
from standin.arrays import ndarray, operand

EMULATION = Path(__file__).with_name("emulate.h")
BUILT = Path(tempfile.gettempdir()) / "tinyconv-emulated-kernels"
KERNEL = re.compile(
    r"__global__\s+(?:__launch_bounds__\([^)]*\)\s*)?void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\("
)

reversed_order = False
"""Whether blocks, and the threads of each, run from the last to the first."""


@cache
def compiled(code: str, options: tuple[str, ...]) -> ctypes.CDLL:
    """The library that a CUDA source and NVRTC's options make, with `launch_NAME` and `sizes_NAME` for each kernel."""
    names = KERNEL.findall(code)
    ends = "\n".join(
        f'extern "C" int launch_{name}(const unsigned* grid, const unsigned* block, void** args, bool reversed) '
        f"{{ return emulated::launch({name}, grid, block, args, BARRIERS, reversed); }}\n"
        f'extern "C" int sizes_{name}(int* out) {{ return emulated::sizes({name}, out); }}'
        for name in names
    )
    flags = [option for option in options if option.startswith(("-D", "-I", "-std"))]
    included = b"".join(path.read_bytes() for path in _headers(flags))
    text = f'#include "{EMULATION}"\n#line 1 "kernel.cu"\n{code}\n{ends}\n'
    text = text.replace("BARRIERS", "true" if b"__syncthreads" in code.encode() + included else "false")
    key = hashlib.sha256(EMULATION.read_bytes() + included + repr((text, flags)).encode()).hexdigest()[:24]
    BUILT.mkdir(exist_ok=True)
    library = BUILT / f"{key}.so"
    if not library.exists():
        with tempfile.TemporaryDirectory(dir=BUILT) as folder:
            source, made = Path(folder, "kernel.cpp"), Path(folder, "kernel.so")
            source.write_text(text)
            command = ["g++", "-O1", "-shared", "-fPIC", "-std=c++17", "-ffp-contract=off", "-w", "-U_FORTIFY_SOURCE"]
            done = subprocess.run([*command, *flags, str(source), "-o", str(made)], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"g++ could not compile the kernels {names}:\n{done.stderr[:4000]}")
            made.rename(library)
    return ctypes.CDLL(str(library))


def _headers(flags):
    folders = [Path(flag[2:]) for flag in flags if flag.startswith("-I")]
    return sorted(path for folder in folders for path in folder.glob("*.cuh"))


_one_at_a_time = threading.Lock()  # a kernel's own position (threadIdx) is a global variable there


class Function:
    """One kernel: `function(grid, block, args)`, with addresses (an object with `.address`) and NumPy scalars."""

    def __init__(self, library: ctypes.CDLL, name: str) -> None:
        self.name = name
        self.launch = getattr(library, f"launch_{name}")
        sizes = (ctypes.c_int * 64)()
        self.sizes = list(sizes[: getattr(library, f"sizes_{name}")(sizes)])

    def __call__(self, grid, block, args) -> None:
        self.bound(grid, block, args)()

    def bound(self, grid, block, args):
        """The launch with these arguments, checked, to be called once or more."""
        if len(args) != len(self.sizes):
            raise TypeError(f"kernel {self.name} takes {len(self.sizes)} arguments, got {len(args)}")
        held = [self._argument(i, arg, size) for i, (arg, size) in enumerate(zip(args, self.sizes, strict=True))]
        pointers = (ctypes.c_void_p * len(held))(*(array.ctypes.data for array in held))
        sides = [(ctypes.c_uint * 3)(*side, *(1,) * (3 - len(side))) for side in (grid, block)]
        if np.prod(block) > 1024 or min(*grid, *block) < 1:
            raise ValueError(f"kernel {self.name}: grid {grid}, block {block}: out of range")

        def run() -> None:
            with _one_at_a_time:
                line = self.launch(*sides, pointers, ctypes.c_bool(reversed_order))
            if line:
                raise RuntimeError(f"kernel {self.name}: not all threads of a block reached the barrier in line {line}")

        run.held = held, args  # what the pointers point to
        return run

    def _argument(self, i, arg, size):
        """The argument as an array of its bytes."""
        if size < 0:
            if arg is not None and not hasattr(arg, "address"):
                raise TypeError(f"kernel {self.name}: argument {i} is a pointer, got {type(arg).__name__}")
            return np.array([0 if arg is None else arg.address], np.uintp)
        if isinstance(arg, bool | int | float):  # as CuPy passes them
            arg = np.bool_(arg) if isinstance(arg, bool) else np.int64(arg) if isinstance(arg, int) else np.float64(arg)
        if not isinstance(arg, np.generic | np.ndarray) or arg.nbytes != size:
            raise TypeError(f"kernel {self.name}: argument {i} has {size} bytes, got {type(arg).__name__} {arg!r}")
        return np.array(arg, copy=True)


class RawModule:
    """A CUDA source, compiled when its first kernel is asked for."""

    def __init__(self, *, code=None, path=None, options=(), backend="nvrtc", name_expressions=None) -> None:
        self.code, self.options = code, tuple(options)

    def get_function(self, name: str) -> "RawKernel":
        return RawKernel(Function(compiled(self.code, self.options), name))


class RawKernel:
    """A kernel of a source: arrays of the device go as their addresses, and so must be contiguous."""

    def __init__(self, function: Function) -> None:
        self.function = function

    def __call__(self, grid, block, args, *, shared_mem=0, stream=None) -> None:
        given, blocks = [], []
        for i, arg in enumerate(args):
            if isinstance(arg, ndarray):
                if not arg.flags.c_contiguous:
                    raise ValueError(
                        f"kernel {self.function.name}: argument {i} of shape {arg.shape} has strides {arg.strides}, "
                        "which a kernel knows nothing of"
                    )
                operand(arg)
                blocks.append(arg._memory.block)
                arg = SimpleNamespace(address=arg.data.ptr, array=arg._host)  # the array: so that it stays
            given.append(arg)
        with stream or cuda.get_current_stream():
            cuda.submit(self.function.bound(grid, block, given), blocks)
