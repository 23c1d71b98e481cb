"""docs/step.html: a small net on a drawn digit, forward and backward, as `tinyconv studio --export` writes it.

`python tests/web/embedded.py` writes it anew, with the weights that are in it; with a checkpoint of the same cake, with
the weights of that.
"""

import base64
import gzip
import re
import sys
from pathlib import Path

import numpy as np

import tinyconv as tc
from tinyconv.train import load_checkpoint
from tinyconv.web import wire
from tinyconv.web.export import recorded, write_page
from tinyconv.web.subject import of_name

PAGE = Path(__file__).parent.parent.parent / "docs" / "step.html"
SLICES = "conv 4 5; relu; pool 2; conv 8 5; relu; pool 2; flatten; fc 10"
IMAGES = [58]  # a 9 that the net takes for a 5
DATA = re.compile(r'(<script type="application/octet-stream" id="recording">)([^<]*)')


def message_in(page):
    """The recording in the text of an exported page."""
    return wire.unpack(gzip.decompress(base64.b64decode(DATA.search(page)[2])))


def subject(page=None):
    """The net, with the weights that are in the page."""
    found = of_name("cake", "synthetic", slices=SLICES)
    found.title, found.trained = "a small LeNet", True
    if page is not None:
        step = next(answer["result"] for answer in message_in(page)["answers"] if answer["job"] == "step.record")
        arrays = step["recording"]["arrays"]
        inputs = [operand for frame in step["recording"]["frames"] for operand in frame["inputs"]]
        weights = {operand["name"]: arrays[operand["array"]] for operand in inputs if operand["array"] is not None}
        found.model.load_state_dict({name: tc.tensor(weights[name]) for name in found.model.state_dict()})
    return found


def stale(page):
    """What differs in the page from what is written today; empty where it is the same, to rounding."""
    net = subject(page)
    today = wire.unpack(wire.pack(recorded(net, IMAGES)))
    return difference(message_in(page), today)


def difference(old, new, place="recording"):
    """Where two messages differ, and how: a text, empty where they do not. Numbers may differ by rounding."""
    if isinstance(new, dict) and isinstance(old, dict) and old.keys() == new.keys():
        return next(filter(None, (difference(old[key], new[key], f"{place}.{key}") for key in new)), "")
    if isinstance(new, list) and isinstance(old, list) and len(old) == len(new):
        return next(
            filter(None, (difference(*pair, f"{place}[{i}]") for i, pair in enumerate(zip(old, new, strict=True)))), ""
        )
    if isinstance(new, float | np.ndarray) and np.shape(old) == np.shape(new):
        near = 1e-4 * np.abs(new).max(initial=0)
        return "" if np.allclose(old, new, rtol=1e-3, atol=near) else f"{place} has other numbers"
    return "" if old == new else f"{place} was {old!r:.80}, and is {new!r:.80}"


if __name__ == "__main__":
    net = subject(PAGE.read_text(encoding="utf-8") if PAGE.exists() else None)
    for path in sys.argv[1:]:
        net.model.load_state_dict(load_checkpoint(Path(path)).model().state_dict())
    print(f"{PAGE}: {write_page(net, PAGE, IMAGES) / 1000:,.0f} kB")
