"""The jobs of the pages, a file for each. Importing them enters their jobs into the table."""

from tinyconv.web.pages import draw, look, mistakes, step, train

__all__ = ["draw", "look", "mistakes", "step", "train"]
