"""`tinyconv studio`."""

from __future__ import annotations

import ipaddress
import warnings
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from tinyconv import data, models
from tinyconv.cli.common import (
    DataDir,
    Kernels,
    Offline,
    Threads,
    is_code,
    kernels_of,
    model_of_code,
    stop_signals,
    threads_of,
)
from tinyconv.engine.kernels import prepare
from tinyconv.errors import DataError, TinyconvError
from tinyconv.train.checkpoint import is_checkpoint

if TYPE_CHECKING:
    from tinyconv.web.subject import Subject


def studio(
    what: Annotated[
        str | None,
        typer.Argument(
            help="A checkpoint; the name of a model; MODULE:NAME or FILE.py:NAME of a model or of a function that "
            "makes one; or a cake, its layers in one line: 'conv 6 5; relu; pool 2; flatten; fc 10'. Unless given, the "
            "newest trained LeNet in runs/, else one to train."
        ),
    ] = None,
    data_name: Annotated[
        str | None,
        typer.Option("--data", help="Dataset to look at, or synthetic (default: the one that the model is made for)."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve at (default: any that is free).")] = 0,
    host: Annotated[
        str, typer.Option(help="Address to listen to; 0.0.0.0 lets other machines in. Whoever has the URL may train.")
    ] = "127.0.0.1",
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Print the URL, and open no browser.")] = False,
    export: Annotated[
        Path | None,
        typer.Option(
            help="Serve nothing: write an HTML file that needs no server, in which Look and Step show --image and the "
            "strongest images of each map."
        ),
    ] = None,
    image: Annotated[
        list[int] | None,
        typer.Option(min=0, help="With --export, the number of a test image; may be repeated (default: 0)."),
    ] = None,
    data_dir: DataDir = None,
    offline: Offline = False,
    threads: Threads = None,
    kernels: Kernels = None,
) -> None:
    """See a net forward and backward in the browser, live: build it, draw for it, step through it, train it.

    Prints the URL of the page and serves it until Ctrl-C. Nothing leaves this machine.
    """
    from tinyconv.web.door import browse, check_installed  # here: other commands need not wait for the import

    if image and export is None:
        raise typer.BadParameter("--image names what --export writes; in the studio choose an image on the page")
    if export is not None:
        from tinyconv.web.export import write_page

        with threads_of(threads), kernels_of(kernels):
            subject, _ = _subject(what, data_name, data_dir, offline)
            print(f"page: {export} ({write_page(subject, export, image or [0]) / 1e6:.2f} MB)")
        return
    check_installed()
    with stop_signals(), threads_of(threads), kernels_of(kernels):
        prepare()
        from tinyconv.web.serving import Served, elsewhere

        subject, page = _subject(what, data_name, data_dir, offline)
        _find_images(subject, data_name)
        with Served(subject, host, port) as served:
            print(served.url + page, flush=True)
            _say(f"{subject.title}: Ctrl-C ends the studio")
            if not _is_loopback(host):
                other = elsewhere(served)
                warnings.warn(
                    f"the studio listens to {host}: whoever can reach this machine and has the URL can look at the "
                    f"model and run trainings here{f'; elsewhere it is {other}{page}' if other else ''}",
                    stacklevel=1,
                )
            if not no_browser:
                browse(served.url + page)
            served.wait()


def _subject(what: str | None, data_name: str | None, root: Path | None, offline: bool) -> tuple[Subject, str]:
    """What to look at, and the part of the URL that opens a page."""
    from tinyconv.web.door import subject_of

    if what is not None:
        known = what in models.MODELS or is_checkpoint(what) or not is_code(what)
        return subject_of(what if known else model_of_code(what), data_name, root=root, offline=offline), ""
    for path in sorted(Path("runs").glob("*.safetensors"), key=lambda path: path.lstat().st_mtime, reverse=True):
        try:
            found = subject_of(path, data_name, root=root, offline=offline)
        except TinyconvError as error:
            _say(f"{path} is left out: {error}")
            continue
        if found.trained and found.run is not None and found.run.model.startswith("lenet"):
            return found, ""
    _say("no trained LeNet in runs/: the page Train trains one")
    return subject_of("lenet5", data_name, root=root, offline=offline), "#train"


def _find_images(subject: Subject, data_name: str | None) -> None:
    """Fetch the images before a page waits for them. DataError where those that were asked for cannot be had."""
    if subject.dataset in (None, "synthetic") or data.locate(subject.dataset, subject.root):
        return
    try:
        subject.images  # noqa: B018 (loads them)
    except DataError as error:
        if data_name:
            raise
        warnings.warn(f"there are no test images to look at: {error}", stacklevel=1)


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _say(text: str) -> None:
    Console(stderr=True).print(escape(text), highlight=False, soft_wrap=True)
