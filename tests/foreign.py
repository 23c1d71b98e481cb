"""Other people's code: a folder full of it, and a source package."""

import io
import sys
import tarfile
from importlib.metadata import packages_distributions

PROGRAMS = ("git", "cc", "gcc", "clang", "npm", "node", "pip", "python", "python3", "sh", "gs")
SETTINGS = (".npmrc", "pip.conf", "setup.cfg", "pyproject.toml", ".pdbrc", "matplotlibrc")


def fill(here, ran):
    """Put a module of every name that is imported anywhere into a folder, programs, settings, and a repository.

    Each says its name in the file `ran` when it is run.
    """
    here.mkdir(parents=True)
    for name in {*sys.stdlib_module_names, *packages_distributions(), "tinyconv", "harness", "sitecustomize"}:
        (here / f"{name}.py").write_text(f"open({str(ran)!r}, 'a').write(__name__ + '\\n')\n")
    for name in PROGRAMS:
        (here / name).write_text(f"#!/bin/sh\necho {name} >> {ran}\n")
        (here / name).chmod(0o755)
    for name in SETTINGS:
        (here / name).write_text("not = settings [\n")
    (here / ".git").mkdir()
    (here / ".git" / "config").write_text(f"[core]\n\trepositoryformatversion = 0\n\tfsmonitor = {here}/git\n")
    (here / ".git" / "HEAD").write_text("ref: refs/heads/main\n")


def sdist(ran):
    """A source package, digits 1, that leaves the file `ran` behind when its setup is run."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, text in {"setup.py": f"open({str(ran)!r}, 'w')\n", "PKG-INFO": "Name: digits\nVersion: 1\n"}.items():
            member = tarfile.TarInfo(f"digits-1/{name}")
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))
    return content.getvalue()
