"""`assert_close`, for tests of one's own; and the argument spaces of our ops: what is drawn to check each of them.

Ops of a user's own are checked by `tinyconv.check`.
"""

from tinyconv.testing.close import assert_close

__all__ = ["assert_close"]
