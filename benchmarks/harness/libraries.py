"""The libraries that are compared, by name, and whether they compute what we do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import tinyconv as tc
from harness.jax_library import Jax
from harness.library import Library, Missing
from harness.others import Autograd, MyGrad, Tinygrad
from harness.tasks import Array, Task
from harness.torch_library import (
    Torch,
    TorchBfloat16,
    TorchCompiled,
    TorchGraph,
    TorchReduced,
    TorchTF32,
)
from tinyconv import functional as F
from tinyconv import nn, variants
from tinyconv.errors import TinyconvError


class Tinyconv(Library):
    """This library: a plain training loop, or one with `nn.DataParallel`, with the compiled pairs, or captured into one
    CUDA graph (`tinyconv.capture`)."""

    def __init__(
        self, task: Task, device: str = "cpu", parallel: bool = False, native: bool = False, captured: bool = False
    ) -> None:
        if native and "native" not in variants.available("conv2d"):
            raise Missing("the compiled pairs are not part of this installation")
        self.native, self.device = native, device
        model = task.model().to(device=device)
        self.model: nn.Module = nn.DataParallel(model) if parallel else model
        self.optimizer = getattr(tc.optim, task.optimizer)(model.parameters(), **task.options)
        self.trained = tc.capture(self._trained, device) if captured else self._trained

    @contextmanager
    def _variant(self) -> Iterator[None]:
        with tc.using("native") if self.native else nullcontext():
            yield

    def prepare(self, x: Array, y: Array) -> Any:
        return tc.tensor(x, device=self.device), tc.tensor(y, device=self.device)

    def _trained(self, x: tc.Tensor, y: tc.Tensor) -> tc.Tensor:
        self.optimizer.zero_grad()
        loss = F.cross_entropy(self.model(x), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def step(self, batch: Any) -> Any:
        with self._variant():
            return self.trained(*batch)

    def infer(self, batch: Any) -> Array:
        with tc.no_grad(), self._variant():
            return self.model(batch[0]).array

    def wait(self) -> None:
        tc.synchronize(self.device)

    def graph(self) -> Any:
        """The CUDA graph of a captured step, once there is one."""
        return getattr(getattr(self.trained, "graph", None), "graph", None)


OURS, REFERENCE = "tinyconv", "torch"
LIBRARIES: dict[str, Callable[..., Any]] = {
    OURS: Tinyconv,
    "tinyconv parallel": partial(Tinyconv, parallel=True),
    "tinyconv native": partial(Tinyconv, native=True),
    "tinyconv native parallel": partial(Tinyconv, parallel=True, native=True),
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


class Disagreement(TinyconvError):
    """The losses or outputs of a library are not ours."""


def compare_losses(name: str, ours: list[float], theirs: list[float], tolerance: float = 1e-4) -> None:
    """Raises Disagreement unless the losses are equal: a wrong forward pass shows in the first of them, a wrong
    gradient in those after it."""
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if not abs(a - b) <= tolerance * max(1.0, abs(a)):
            raise Disagreement(f"{name}: loss {i + 1} is {b:.6f}, ours {a:.6f}; not timed")


def ready(
    task: Task,
    names: Iterable[str],
    batch: int,
    known: Mapping[str, Callable[..., Any]] = LIBRARIES,
    device: str | None = None,
    steps: int = 3,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """The libraries that are installed and whose first losses, one a step and each on another batch, are ours.

    Returns them, a batch for each of them, and the reasons why others are left out. `device` is handed to each library
    where it is given.
    """
    arrays = [task.batch(batch, seed) for seed in range(steps)]
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
            expected = expected or losses
            compare_losses(name, expected, losses, task.tolerance(name))
        except (Missing, Disagreement, ImportError) as error:
            reasons[name] = str(error)
        except Exception as error:  # whatever is wrong in another library is a reason to leave it out
            if name == OURS:
                raise
            reasons[name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        else:
            made[name], batches[name] = library, prepared[0]
    return made, batches, reasons
