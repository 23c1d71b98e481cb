"""tc.studio: the studio from a script or a notebook."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from tinyconv import models, nn
from tinyconv.data import ImageDataset
from tinyconv.errors import TinyconvError
from tinyconv.models.cake import or_a_model
from tinyconv.train.checkpoint import is_checkpoint
from tinyconv.web.subject import Subject, of_checkpoint, of_model, of_name

if TYPE_CHECKING:
    from tinyconv.web.serving import Served


class MissingExtraError(TinyconvError, ImportError):
    """What serves the studio is not installed."""


def check_installed() -> None:
    """Raise MissingExtraError where the extra `studio` is not installed."""
    for name in ("starlette", "uvicorn", "websockets", "pygments"):
        if find_spec(name) is None:
            raise MissingExtraError(f"the studio needs {name}: pip install 'tinyconv[studio]'")


def studio(
    model: nn.Module | str | PathLike[str],
    data: ImageDataset | str | tuple[ArrayLike, ArrayLike] | None = None,
    *,
    classes: Sequence[str] | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    open_browser: bool | None = None,
) -> Served:
    """Serve the studio: pages on a model, live in the browser, that show it forward and backward.

        with tc.studio(tc.nn.Sequential(tc.nn.Flatten(), tc.nn.Linear(784, 10)), "synthetic", open_browser=False) as s:
            print(s.url)  # http://127.0.0.1:PORT/?token=...

    It runs in threads beside yours. Train the model meanwhile, and the pages show the weights that it has by now; its
    mode and its gradients are your own, for the studio looks at the same weights through modules of its own.

    Args:
        model: A module that takes images (N, C, H, W) and gives a score for each class; the path of a checkpoint; the
            name of a model, which is untrained then; or a cake in one line of text.
        data: The images to look at: an `ImageDataset`, the name of one, or images and labels as for a `DataLoader`:
            uint8 images are scaled to [0, 1], floating ones are taken as they are and shown in 256 steps. Unless given,
            the test images that the model was trained on, or for a module the first dataset whose images it takes.
        classes: What the scores are called, where `data` are arrays; unless given, "0", "1", and so on.
        host: The address to listen to. Whoever can reach it and has the URL can use the studio.
        port: The port; 0 takes one that is free.
        open_browser: Whether to open the page in a browser; unless given, where this is no notebook, which shows it in
            the cell whose last line returns the studio.

    Returns a handle with `url`, `close()`, and `wait()`, which blocks until Ctrl-C and stands at the end of a script;
    it is closed at the end of a `with` block, too.

    Raises ImportError where the extra `studio` is not installed; OSError where the port is taken; DataError for images
    that are none, or cannot be had; ShapeError where the model does not take them; CheckpointError for a damaged
    checkpoint; and ValueError for a text that names no model.
    """
    check_installed()
    from tinyconv.web.serving import Served

    served = Served(subject_of(model, data, classes), host, port)
    if open_browser or (open_browser is None and not _in_a_notebook()):
        browse(served.url)
    return served


def studio_page(
    model: nn.Module | str | PathLike[str],
    path: str | PathLike[str],
    data: ImageDataset | str | tuple[ArrayLike, ArrayLike] | None = None,
    *,
    classes: Sequence[str] | None = None,
    images: Sequence[int] = (0,),
) -> Path:
    """Write a page that needs no server: Look and Step of the studio, on a few test images, in one HTML file.

        model = tc.nn.Sequential(tc.nn.Flatten(), tc.nn.Linear(784, 10))
        tc.studio_page(model, "page.html", "synthetic", images=[0, 3])

    The same model and images give the same file.

    Args:
        model: See `studio`.
        path: The file; one that is there is replaced.
        data: See `studio`.
        classes: See `studio`.
        images: The numbers of the test images to record.

    Returns the path.

    Raises FileNotFoundError where its folder does not exist; DataError for an image that is not there, and where they
    take more than a page may hold; ShapeError for a model that is too large to record; and what `studio` raises.
    """
    from tinyconv.web.export import write_page

    write_page(subject_of(model, data, classes), path, images)
    return Path(path)


def subject_of(model: Any, data: Any = None, classes: Sequence[str] | None = None, **places: Any) -> Subject:
    """The Subject of what `studio` takes. `places` are `root` and `offline`, see Subject."""
    if isinstance(model, nn.Module):
        return of_model(model, data, classes, **places)
    name = str(model)
    if name in models.MODELS:
        return of_name(name, data, **places)
    if isinstance(model, PathLike) or is_checkpoint(name):
        return of_checkpoint(Path(name), data, **places)
    with or_a_model(name, models.MODELS):
        return of_name("cake", data, slices=name, **places)


def browse(url: str) -> bool:
    """Open a page in the user's browser. False where there is no display to show it on."""
    import os
    import webbrowser

    if sys.platform.startswith("linux") and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))):
        return False  # a browser in the terminal would take it away from us
    return webbrowser.open(url)


def _in_a_notebook() -> bool:
    shell = sys.modules.get("IPython")
    return shell is not None and type(shell.get_ipython()).__name__ == "ZMQInteractiveShell"
