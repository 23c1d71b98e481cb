"""Pairs for NumPy (`tiled`): images with the batch innermost, products as large as BLAS likes them."""
