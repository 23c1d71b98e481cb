"""What lies in dist/, as who installs it finds it: what is in the files, and a training in a fresh environment of each.

    python tests/installed.py dist

`make release-check` runs it. Packages that tinyconv needs come from the package index.
"""

import os
import platform
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

import tinyconv

LARGEST = 2 << 20  # bytes of a file: records and pictures are smaller
NEEDED = ["py.typed", "web/static/vendor/lit-html.LICENSE", "web/static/vendor/uPlot.LICENSE", "fast/native/abi.h"]
COMMANDS = [
    ["train", "lenet5", "--data", "synthetic", "--epochs", "1", "--seed", "0", "--out", "net.safetensors"],
    ["eval", "net.safetensors"],
    ["doctor"],
]


def contents(path):
    """The names in a wheel or a source archive, without the folder that an archive puts in front, and their sizes."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as file:
            return {entry.filename: entry.file_size for entry in file.infolist()}
    with tarfile.open(path) as file:
        return {entry.name.partition("/")[2]: entry.size for entry in file if entry.isfile()}


def faults(path):
    """What is wrong with the contents of a file: missing, not meant to be shipped, or of another version."""
    names = contents(path)
    if f"tinyconv-{tinyconv.__version__}" not in path.name:
        yield f"it is not of version {tinyconv.__version__}: empty the folder and build again"
    yield from (f"{name} is missing" for name in NEEDED if f"tinyconv/{name}" not in names)
    licence = "LICENSE" if path.suffix == ".gz" else f"tinyconv-{tinyconv.__version__}.dist-info/licenses/LICENSE"
    if licence not in names:
        yield f"{licence} is missing"
    for name, size in names.items():
        if "__pycache__" in name or name.endswith((".pyc", ".safetensors")) or ".venv" in name:
            yield f"{name} is not for others"
        if size > LARGEST and not name.endswith((".so", ".dylib", ".dll")):
            yield f"{name} has {size:,} bytes"


def fits(path):
    """Whether a file can be installed here: sources and wheels for all platforms, and those for this one."""
    if path.suffix == ".gz" or path.name.endswith("-any.whl"):
        return True
    system = {"linux": "manylinux", "darwin": "macosx", "win32": "win"}.get(sys.platform, sys.platform)
    machine = {"x86_64": ("x86_64", "amd64"), "amd64": ("x86_64", "amd64")}.get(platform.machine().lower())
    return f"-{system}_" in path.name and path.stem.endswith(machine or (platform.machine(),))


def run(command, **options):
    done = subprocess.run(command, check=False, capture_output=True, text=True, **options)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
    return done.stdout


def try_out(path):
    """Install a file into a fresh environment, and train, evaluate and ask `doctor` there: what `doctor` says."""
    with tempfile.TemporaryDirectory(prefix="tinyconv-installed-") as folder:
        venv.create(Path(folder, "venv"), with_pip=True)
        scripts = Path(sysconfig.get_path("scripts", "venv", {"base": str(Path(folder, "venv"))}))
        python, cache = scripts / "python", {"XDG_CACHE_HOME": str(Path(folder, "cache"))}
        run([python, "-m", "pip", "install", "--quiet", f"{path.resolve()}[train]"])
        where = "import tinyconv; print(tinyconv.__version__, tinyconv.__file__)"
        version, file = run([python, "-P", "-c", where], cwd=folder).split(maxsplit=1)
        assert version == tinyconv.__version__, version
        assert Path(file).is_relative_to(Path(folder)), file
        for command in COMMANDS:
            said = run([scripts / "tinyconv", *command], cwd=folder, env=os.environ | cache)
        return said


def main(folder):
    files = sorted([*Path(folder).glob("*.whl"), *Path(folder).glob("*.tar.gz")])
    if not any(path.suffix == ".whl" for path in files) or not any(path.suffix == ".gz" for path in files):
        raise SystemExit(f"{folder} has no wheel, or no source archive: make wheels")
    found = [f"{path.name}: {fault}" for path in files for fault in faults(path)]
    if found:
        raise SystemExit("\n".join(found))
    for path in files:
        if not fits(path):
            print(f"{path.name}: right contents; not for this machine")
            continue
        kernels = next(line for line in try_out(path).splitlines() if line.startswith("kernels: "))
        print(f"{path.name}: right contents; installed and trained; {kernels}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
