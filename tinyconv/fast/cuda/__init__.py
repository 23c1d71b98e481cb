"""CUDA kernels for CuPy's arrays, one file of pairs beside each source of kernels.

Every kernel gathers: one thread makes one result, from everything that goes into it, in an order that the geometry
fixes. There are no atomics, so two runs give the same bits. Nothing here reads a value on the host, so a step made of
these pairs can be captured (`tinyconv.capture`). CuPy is not imported here: it comes with the arrays, as `xp`.

CuPy compiles so that numbers below 1.2e-38 count as zero in float32: what equals an op to the bit does so above that.
"""

from tinyconv.fast.cuda import batch, conv, dense, loss, norm, optim, pool, relu

PAIRS = (*conv.PAIRS, *pool.PAIRS, *norm.PAIRS, *relu.PAIRS, *dense.PAIRS, *loss.PAIRS)
KERNELS = {**optim.KERNELS, **batch.KERNELS, **norm.KERNELS}
