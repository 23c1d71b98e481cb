"""`tinyconv.amp`: mixed precision, which is not here. Where torch would do nothing either, these do nothing."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, TypeVar

from tinyconv.errors import OptionError, suggest_names
from tinyconv.optim import Optimizer
from tinyconv.tensor.tensor import Tensor
from tinyconv.torch_modules import cuda

__all__ = ["GradScaler", "autocast"]
Anything = TypeVar("Anything")
_INSTEAD = "mixed precision is not here: leave it out, or convert model and data with model.to(dtype=tinyconv.float16)"


class autocast(AbstractContextManager["autocast"]):
    """A `with` block, or a decorator, that does nothing: for `enabled=False`, and for "cuda" where there is no GPU.

    Torch does nothing there either. Raises OptionError where torch would compute in another dtype.
    """

    def __init__(
        self, device_type: str = "cuda", dtype: Any = None, enabled: bool = True, cache_enabled: bool | None = None
    ) -> None:
        if enabled and (device_type != "cuda" or cuda.is_available()):
            raise OptionError(f"autocast({device_type!r}): {_INSTEAD}")

    def __call__(self, function: Anything) -> Anything:
        return function

    def __exit__(self, *error: object) -> None:
        return None


class GradScaler:
    """Scales nothing: for `enabled=False`, and for "cuda" where there is no GPU. Torch scales nothing there either.

    Raises OptionError where torch would scale.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 2.0**16,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        if enabled and (str(device) != "cuda" or cuda.is_available()):
            raise OptionError(f"GradScaler({str(device)!r}): {_INSTEAD}")

    def scale(self, outputs: Anything) -> Anything:
        """What is given."""
        return outputs

    def unscale_(self, optimizer: Optimizer) -> None:
        """Do nothing."""

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step()`."""
        return optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Do nothing."""

    def get_scale(self) -> float:
        """1.0: nothing is scaled."""
        return 1.0

    def is_enabled(self) -> bool:
        """False."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Do nothing."""


suggest_names(globals())
