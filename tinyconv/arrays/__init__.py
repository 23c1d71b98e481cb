"""Kinds of arrays: NumPy's, CuPy's, those without elements (`meta`), and those whose uses are recorded (`boxed`)."""
