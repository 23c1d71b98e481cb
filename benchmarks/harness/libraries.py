"""The libraries that are compared, by name, and whether they compute what we do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import tinyconv as tc
from harness.jax_library import Jax
from harness.library import Library, Missing
from harness.others import Autograd, MyGrad, Tinygrad
from harness.tasks import STYLES, Array, Task
from harness.torch_library import (
    Torch,
    TorchBfloat16,
    TorchCompiled,
    TorchGraph,
    TorchReduced,
    TorchTF32,
)
from tinyconv import functional as F
from tinyconv import variants
from tinyconv.errors import TinyconvError


class Tinyconv(Library):
    """This library: a plain training loop, or one that is captured (`tinyconv.capture`): into a CUDA graph, or on the
    CPU into a program, which the executor `kernels` replays, "numpy" or "compiled"."""

    def __init__(
        self,
        task: Task,
        device: str = "cpu",
        captured: bool = False,
        kernels: str | None = None,
        style: str = "functions",
    ) -> None:
        self.device, self.kernels = device, kernels
        self.net = task.model().to(device=device)
        self.model = STYLES[task.name][style](self.net)
        self.optimizer = getattr(tc.optim, task.optimizer)(self.net.parameters(), **task.options)
        self.trained: Any = tc.capture(self._trained, device) if captured else self._trained
        self.inferred: Any = tc.capture(self._inferred, device) if captured else self._inferred

    def prepare(self, x: Array, y: Array) -> Any:
        return tc.tensor(x, device=self.device), tc.tensor(y, device=self.device)

    def _trained(self, x: tc.Tensor, y: tc.Tensor) -> tc.Tensor:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def _inferred(self, x: tc.Tensor) -> tc.Tensor:
        with tc.no_grad():
            return self.model(x)

    def step(self, batch: Any) -> Any:
        return self.trained(*batch)

    def infer(self, batch: Any) -> Array:
        return self.inferred(batch[0]).array

    @contextmanager
    def settings(self) -> Iterator[None]:
        before = variants.kernels()
        variants.set_kernels(self.kernels or before)
        try:
            yield
        finally:
            variants.set_kernels(before)  # a step that was captured keeps its own

    def check_captured(self) -> None:
        for step in (self.trained, self.inferred):
            for program in step.to_dict()["programs"] if self.kernels else ():
                found = program["executor"] if program["state"] == "replayed" else program["says"]
                if found != self.kernels:
                    raise Missing(f"its executor is not {self.kernels!r} here, but {found!r}")

    def gradients(self) -> dict[str, Array]:
        return {name: p.grad.cpu().numpy() for name, p in self.net.named_parameters() if p.grad is not None}

    def wait(self) -> None:
        tc.synchronize(self.device)

    def graph(self) -> Any:
        """The CUDA graph of a captured step, once there is one."""
        return getattr(getattr(self.trained, "graph", None), "graph", None)


OURS, REFERENCE = "tinyconv", "torch"
OWN: dict[str, Callable[..., Any]] = {
    OURS: Tinyconv,
    **{
        f"tinyconv {kernels}, {style}": partial(Tinyconv, captured=True, kernels=kernels, style=style)
        for kernels in ("numpy", "compiled")
        for style in ("functions", "Sequential")
    },
}
LIBRARIES: dict[str, Callable[..., Any]] = {
    **OWN,
    REFERENCE: Torch,
    "torch.compile": TorchCompiled,
    "jax": Jax,
    "tinygrad": Tinygrad,
    "mygrad": MyGrad,
    "autograd": Autograd,
}
ON_GPU: dict[str, Callable[..., Any]] = {
    OURS: Tinyconv,
    "tinyconv captured": partial(Tinyconv, captured=True),
    REFERENCE: Torch,
    "torch fused": partial(Torch, fused=True),
    "torch.compile": TorchReduced,
    "torch graph": TorchGraph,
    "jax": Jax,
}
ROUNDED: dict[str, Callable[..., Any]] = {"torch TF32": TorchTF32, "torch bfloat16": TorchBfloat16}
"""PyTorch on a GPU with less precision than float32, to show what that gains."""


COMPARED = 6
"""First losses that are compared: a captured step is replayed from the third or fourth on, and has been given other
images twice by then."""


class Disagreement(TinyconvError):
    """The losses or outputs of a library are not ours."""


def compare_losses(name: str, ours: list[float], theirs: list[float], tolerance: float = 1e-4) -> None:
    """Raises Disagreement unless the losses are equal: a wrong forward pass shows in the first of them, a wrong
    gradient in those after it."""
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if not abs(a - b) <= tolerance * max(1.0, abs(a)):
            raise Disagreement(f"{name}: loss {i + 1} is {b:.6f}, ours {a:.6f}; not timed")


STEPS, CLOSE, SMALL = 10, 1e-9, 1e-3
"""Steps in float64 that are compared with PyTorch's; how near, relatively, their losses and gradients have to be; and
the share of all gradients under which one is small."""


def why_not(name: str, error: Exception) -> str:
    """The reason why a library is left out, whatever is wrong in it. But a plain loop of ours has to work: its error is
    raised."""
    if isinstance(error, Missing | Disagreement | ImportError):
        return str(error)
    if name == OURS:
        raise error
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def exact(
    task: Task, names: Iterable[str], batch: int, known: Mapping[str, Callable[..., Any]] = OWN
) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """How far steps of each of ours are from PyTorch's: ten in float64, with the optimiser; and COMPARED in float32
    with a rate of 0, so that all of them have the same weights.

    Returns the largest relative differences of losses and of gradients, and the reasons why some of ours must not be
    timed: they differ by more than CLOSE, or in float32 by more than the task allows, or cannot be had.
    """
    cases = {
        "float64": (replace(task, dtype="float64"), STEPS, CLOSE),
        "float32": (replace(task, options={**task.options, "lr": 0.0}), COMPARED, task.loose),
    }
    expected = {dtype: followed(Torch(case), case, batch, steps) for dtype, (case, steps, _) in cases.items()}
    found: dict[str, dict[str, float]] = {}
    reasons: dict[str, str] = {}
    for name in dict.fromkeys([OURS, *names]):
        if name not in known:
            continue
        worst: dict[str, float] = {}
        try:
            for dtype, (case, steps, most) in cases.items():
                ours = followed(known[name](case), case, batch, steps)
                for what, difference in differences(ours, expected[dtype]).items():
                    worst[f"{what}, {dtype}"] = difference
                    if not difference <= most:
                        raise Disagreement(f"{name}: {what} in {dtype} differ from PyTorch's by {difference:.1e}")
        except Exception as error:
            reasons[name] = why_not(name, error)
        else:
            found[name] = worst
    return found, reasons


Followed = tuple[list[float], list[dict[str, Array]]]


def followed(library: Library, task: Task, batch: int, steps: int) -> Followed:
    """The losses and the gradients of so many steps, each on a batch of its own."""
    losses, gradients = [], []
    with library.settings():
        for seed in range(steps):
            losses.append(float(library.step(library.prepare(*task.batch(batch, seed)))))
            gradients.append({name: array.copy() for name, array in library.gradients().items()})
    return losses, gradients


def differences(ours: Followed, theirs: Followed) -> dict[str, float]:
    """The largest relative difference of losses, and of gradients by their norms. A small gradient is measured by all
    of them: that of a scale before a normalisation is 0 but for rounding."""
    norm = np.linalg.norm
    worst = 0.0
    for a, b in zip(ours[1], theirs[1], strict=True):
        unit = SMALL * norm([norm(gradient) for gradient in b.values()])
        worst = max(worst, *(float(norm(a[name] - b[name]) / max(norm(b[name]), unit)) for name in b))
    return {"losses": max(abs(a - b) / abs(b) for a, b in zip(ours[0], theirs[0], strict=True)), "gradients": worst}


def ready(
    task: Task,
    names: Iterable[str],
    batch: int,
    known: Mapping[str, Callable[..., Any]] = LIBRARIES,
    device: str | None = None,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """The libraries that are installed and whose first losses, one a step and each on another batch, are ours.

    Returns them, a batch for each of them, and the reasons why others are left out. `device` is handed to each library
    where it is given.
    """
    arrays = [task.batch(batch, seed) for seed in range(COMPARED)]
    where = () if device is None else (device,)
    made: dict[str, Any] = {}
    batches: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    expected: list[float] = []
    for name in dict.fromkeys([OURS, *names]):
        try:
            library = known[name](task, *where)
            with library.settings():
                prepared = [library.prepare(*pair) for pair in arrays]
                losses = [float(library.step(one)) for one in prepared]
                library.check_captured()
            expected = expected or losses
            compare_losses(name, expected, losses, task.tolerance(name))
        except Exception as error:
            reasons[name] = why_not(name, error)
        else:
            made[name], batches[name] = library, prepared[0]
    return made, batches, reasons
