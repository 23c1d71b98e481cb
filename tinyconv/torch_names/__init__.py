"""PyTorch's names: which module of ours answers for one of torch's, and what is said of a name that is not here.

`import tinyconv.utils.data` finds `tinyconv.data`, by the tables below. Nothing of it is imported before it is named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.abc import Loader, MetaPathFinder
else:
    Loader = MetaPathFinder = object  # the module takes a while to import

MODULES = {
    "accelerator": "torch_modules.accelerator",
    "amp": "torch_modules.amp",
    "autograd.function": "tensor.custom",
    "backends": "torch_modules.backends",
    "backends.cuda": "torch_modules.backends.cuda",
    "backends.cudnn": "torch_modules.backends.cudnn",
    "backends.mkl": "torch_modules.backends.mkl",
    "backends.mkldnn": "torch_modules.backends.mkldnn",
    "backends.mps": "torch_modules.backends.mps",
    "backends.openmp": "torch_modules.backends.openmp",
    "cuda": "torch_modules.cuda",
    "cuda.amp": "torch_modules.amp",
    "data.dataloader": "data",
    "data.dataset": "data",
    "data.sampler": "data",
    "data.transforms": "data.transforms",
    "data.transforms.functional": "data.transforms_functional",
    "data.transforms.v2": "data.transforms",
    "data.transforms.v2.functional": "data.transforms_functional",
    "data.vision": "data.vision",
    "distributions": "torch_modules.distributions",
    "distributions.bernoulli": "torch_modules.distributions",
    "distributions.categorical": "torch_modules.distributions",
    "distributions.distribution": "torch_modules.distributions",
    "distributions.kl": "torch_modules.distributions",
    "distributions.normal": "torch_modules.distributions",
    "distributions.one_hot_categorical": "torch_modules.distributions",
    "distributions.uniform": "torch_modules.distributions",
    "fx": "torch_modules.fx",
    "hub": "saving.hub",
    "jit": "torch_modules.jit",
    "mps": "torch_modules.mps",
    "nn.functional": "functional",
    "nn.modules": "torch_modules.layers",
    "nn.parameter": "nn.module",
    "nn.utils.clip_grad": "nn.utils",
    "nn.utils.convert_parameters": "nn.utils",
    "nn.utils.parametrizations": "nn.parametrizations",
    "nn.utils.parametrize": "nn.parametrize",
    "optim.swa_utils": "nn.averaging",
    "random": "tensor.creation",
    "torchvision": "torch_modules.torchvision",
    "torchvision.datasets": "data.vision",
    "torchvision.models": "models.torchvision",
    "torchvision.models.resnet": "models.torchvision",
    "torchvision.models.vgg": "models.torchvision",
    "torchvision.transforms": "data.transforms",
    "torchvision.transforms.functional": "data.transforms_functional",
    "torchvision.transforms.v2": "data.transforms",
    "torchvision.transforms.v2.functional": "data.transforms_functional",
    "torchvision.utils": "data.grid",
    "utils": "torch_modules.utils",
    "utils.checkpoint": "torch_modules.checkpoint",
    "utils.data": "data",
    "utils.data.dataloader": "data",
    "utils.data.dataset": "data",
    "utils.data.sampler": "data",
    "utils.model_zoo": "saving.hub",
    "version": "torch_modules.version",
}
"""Where a module of torch's lives here, if not under its own name; both without `tinyconv.` in front."""

NAMES = {
    "as_torch": "torch_modules.stand_in",
    **dict.fromkeys(
        (
            "are_deterministic_algorithms_enabled", "autocast", "channels_last", "compile",
            "contiguous_format", "get_default_dtype",
            "get_float32_matmul_precision", "get_num_interop_threads", "GradScaler", "is_autocast_enabled",
            "preserve_format",
            "set_default_dtype", "set_float32_matmul_precision", "set_num_interop_threads", "typename",
            "use_deterministic_algorithms",
        ),
        "torch_modules.switches",
    ),
    **dict.fromkeys(
        (f"{kind}Tensor" for kind in ("Bool", "Byte", "Char", "Double", "Float", "Half", "Int", "Long", "Short")),
        "torch_modules.kinds",
    ),
}  # fmt: skip
"""Where a name of `tinyconv` lives that is imported when it is asked for."""


def is_pytorchs(kind: type[object]) -> bool:
    """Whether a class is one of PyTorch's, or derived from one."""
    return any(base.__module__.partition(".")[0] == "torch" for base in kind.__mro__)


def where(fullname: str) -> str | None:
    """Where the module of this name, which begins with `tinyconv.`, lives; None where the table does not have it."""
    name = fullname.removeprefix("tinyconv.").removeprefix("torch_modules.")
    return MODULES["nn.modules"] if name.startswith("nn.modules.") else MODULES.get(name)


def shown(name: str) -> str:
    """The name of a module as programs write it: `tinyconv.cuda` for `tinyconv.torch_modules.cuda`."""
    return name.replace("tinyconv.torch_modules.", "tinyconv.")


class Elsewhere(Loader):
    """Puts the module that is here in the place of the one that is asked for."""

    def __init__(self, place: str) -> None:
        self.place = place

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's own, which is thrown away."""

    def exec_module(self, module: ModuleType) -> None:
        """Import the one that is here."""
        sys.modules[module.__name__] = import_module(f"tinyconv{'.' * bool(self.place)}{self.place}")


class Finder(MetaPathFinder):
    """The last of `sys.meta_path`: finds what `MODULES` names, and says of other names below tinyconv what they are.

    `from tinyconv.nn import LSTM` comes here too: Python looks for a module where a package has no such name.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module of the table. ModuleNotFoundError, with what the name is, for one that is PyTorch's alone."""
        if not fullname.startswith("tinyconv."):
            return None
        if (place := where(fullname)) is not None:
            return ModuleSpec(fullname, Elsewhere(place))
        from tinyconv.torch_names.answers import answer

        said = answer(*fullname.rsplit(".", 1))
        if said:  # with `name=`, Python would say "cannot import name" in place of this
            raise ModuleNotFoundError(f"there is no {shown(fullname)}{said}")
        return None


sys.meta_path.append(Finder())
