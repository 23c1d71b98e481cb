"""The jobs of the pages, a file for each. Importing them enters their jobs into the table."""

from tinyconv.web.pages import look, step, train

__all__ = ["look", "step", "train"]
