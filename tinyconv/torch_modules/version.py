"""`tinyconv.version`: this library's version. CUDA's, which CuPy brings, is not known before CuPy is imported: None."""

import tinyconv

__version__: str = tinyconv.__version__
cuda = hip = xpu = git_version = None
debug = False
