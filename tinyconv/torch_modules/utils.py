"""`tinyconv.utils`: `data` is `tinyconv.data`; `checkpoint` runs the function as it is."""

from tinyconv.errors import suggest_names

__path__: list[str] = []  # a package: its modules are in the table of `tinyconv.torch_names`
suggest_names(globals())
