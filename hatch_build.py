"""Wheels for a platform: compiled kernels in tinyconv/fast/native/shipped, and the platform in the wheel's name.

`python -m build` makes the wheel for every platform, without them: it sets no TINYCONV_WHEEL. `make wheels` sets it to
each name in PLATFORMS. zig, which the package ziglang brings, compiles for all of them on Linux.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Platform(NamedTuple):
    """The tag in a wheel's name, the target in zig's words, the suffix of libraries, and whether they have levels."""

    tag: str
    target: str
    suffix: str
    levels: bool


PLATFORMS = {
    "linux-x86_64": Platform("manylinux_2_17_x86_64", "x86_64-linux-gnu.2.17", ".so", True),
    "linux-aarch64": Platform("manylinux_2_17_aarch64", "aarch64-linux-gnu.2.17", ".so", False),
    "macos-arm64": Platform("macosx_11_0_arm64", "aarch64-macos.11.0", ".dylib", False),
    "macos-x86_64": Platform("macosx_10_15_x86_64", "x86_64-macos.10.15", ".dylib", True),
    "windows-x86_64": Platform("win_amd64", "x86_64-windows-gnu", ".dll", True),
}


class Kernels(BuildHookInterface):
    """Compiles the kernels for the platform of a wheel."""

    def initialize(self, version: str, build_data: dict) -> None:
        name = os.environ.get("TINYCONV_WHEEL")
        if not name or version == "editable":
            return
        if name not in PLATFORMS:
            raise SystemExit(f"TINYCONV_WHEEL is {name!r}; it takes {', '.join(PLATFORMS)}")
        sys.path.insert(0, self.root)
        from tinyconv.fast.native import build

        platform = PLATFORMS[name]
        zig = [sys.executable, "-m", "ziglang", "cc", "-target", platform.target, "-s"]
        self.scratch = tempfile.TemporaryDirectory(prefix="tinyconv-wheel-")  # until the wheel is written
        for level in build.LEVELS if platform.levels else [""]:
            path = build.library_path(Path(self.scratch.name), level, platform.suffix)
            machine = [f"-march={level.replace('-', '_')}"] if level else []
            self.app.display_info(f"compiling {path.name} for {platform.target}")
            build.compile_to(path, zig, build.sources(), [machine])
            build_data["force_include"][str(path)] = f"tinyconv/fast/native/shipped/{path.name}"
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform.tag}"
