"""The argument spaces of all public ops, family by family. Importing this package registers them."""

from tinyconv.check.spaces import activation as activation
from tinyconv.check.spaces import conv as conv
from tinyconv.check.spaces import elementwise as elementwise
from tinyconv.check.spaces import fused as fused
from tinyconv.check.spaces import linear as linear
from tinyconv.check.spaces import loss as loss
from tinyconv.check.spaces import norm as norm
from tinyconv.check.spaces import pool as pool
from tinyconv.check.spaces import reduce as reduce
from tinyconv.check.spaces import shape as shape
