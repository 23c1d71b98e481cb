"""`tinyconv.torchvision`: `datasets`, `transforms` and `utils` are vision, transforms and grid of `tinyconv.data`,
and `models` is `tinyconv.models.torchvision`."""

from tinyconv.errors import suggest_names

__path__: list[str] = []  # a package: its modules are in the table of `tinyconv.torch_names`
suggest_names(globals())
