"""What an array may be: NumPy's, CuPy's, one without elements (`meta`), or one whose uses are recorded (`boxed`)."""
