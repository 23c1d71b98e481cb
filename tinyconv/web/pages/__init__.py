"""The jobs of the pages, a file for each. Importing them enters their jobs into the table."""

from tinyconv.web.pages import build, draw, look, mistakes, step, train

__all__ = ["build", "draw", "look", "mistakes", "step", "train"]
