"""Tensor: where arrays, ops and the tape meet (`tensor.py`), and what belongs to it, a file for each idea."""
