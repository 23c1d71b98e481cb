"""`tinyconv.torchvision`: `datasets` is `tinyconv.data.vision`, and `transforms` is `tinyconv.data.transforms`."""

from tinyconv.errors import suggest_names

__path__: list[str] = []  # a package: its modules are in the table of `tinyconv.torch_names`
suggest_names(globals())
