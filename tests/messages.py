"""Error messages, whole: they are part of the product."""

import pytest


def message(error, function, *args, **kwargs):
    """The whole text of the error that a call raises."""
    with pytest.raises(error) as caught:
        function(*args, **kwargs)
    return str(caught.value)
