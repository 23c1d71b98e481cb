"""The argument spaces of all public ops, a module for each family. Importing this package registers them."""

from tinyconv.testing.spaces import activation as activation
from tinyconv.testing.spaces import arranging as arranging
from tinyconv.testing.spaces import conv as conv
from tinyconv.testing.spaces import elementwise as elementwise
from tinyconv.testing.spaces import fused as fused
from tinyconv.testing.spaces import linear as linear
from tinyconv.testing.spaces import loss as loss
from tinyconv.testing.spaces import norm as norm
from tinyconv.testing.spaces import picking as picking
from tinyconv.testing.spaces import pointwise as pointwise
from tinyconv.testing.spaces import pool as pool
from tinyconv.testing.spaces import products as products
from tinyconv.testing.spaces import reduce as reduce
from tinyconv.testing.spaces import shape as shape
from tinyconv.testing.spaces import vision as vision
from tinyconv.testing.spaces import windows as windows
