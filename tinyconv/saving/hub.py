"""`tinyconv.hub` and `tinyconv.utils.model_zoo`: files of weights where PyTorch keeps those it has downloaded.

Nothing is downloaded. A file that is in the folder already, put there by you or by PyTorch, is read.
"""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

from tinyconv.errors import suggest_names
from tinyconv.saving import Place, load

__all__ = ["get_dir", "load_state_dict_from_url", "load_url", "set_dir"]

_chosen: list[str] = []


def get_dir() -> str:
    """The folder: that of `set_dir`, else `$TORCH_HOME/hub`, else `~/.cache/torch/hub`. Like `torch.hub.get_dir`."""
    if _chosen:
        return _chosen[-1]
    home = os.environ.get("TORCH_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "torch"
    return str(Path(home).expanduser() / "hub")


def set_dir(d: str | os.PathLike[str]) -> None:
    """Take another folder. Like `torch.hub.set_dir`."""
    _chosen[:] = [str(Path(d).expanduser())]


def load_state_dict_from_url(
    url: str,
    model_dir: str | os.PathLike[str] | None = None,
    map_location: Place = None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = False,
) -> Any:
    """What the file of this address holds, which you fetched before. Like `torch.hub.load_state_dict_from_url`.

    Args:
        url: The address; the last part of its path is the name of the file.
        model_dir: The folder of the file, unless it is `checkpoints` in `get_dir()`.
        map_location: As `tinyconv.load` takes it.
        progress, check_hash, weights_only: Taken, and of no effect.
        file_name: The name of the file, if it has another.

    Raises FileNotFoundError, which says where the file belongs, where it is not there, and what `tinyconv.load` raises.
    """
    folder = Path(model_dir) if model_dir is not None else Path(get_dir()) / "checkpoints"
    path = folder / (file_name or PurePosixPath(urlparse(url).path).name)
    if not path.is_file():
        raise FileNotFoundError(f"nothing is downloaded here: fetch {url} yourself and put it there as {path}")
    return load(path, map_location)


load_url = load_state_dict_from_url
suggest_names(globals())
