"""The pictures of the studio in README and docs. `python tests/web/pictured.py CHECKPOINT` takes them anew.

CHECKPOINT is LeNet-5 as `make lenet` leaves it; the test images of MNIST must be there.
"""

import sys
from io import BytesIO
from pathlib import Path

from browser import Visit, chromium, served
from PIL import Image

from tinyconv.web.subject import of_checkpoint

PICTURES = Path(__file__).parent.parent.parent / "docs" / "pictures"
COLOURS = 128  # of the files, which are a third as large for it


def take(page, name):
    """The window as a PNG of few colours."""
    picture = Image.open(BytesIO(page.screenshot())).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    path = PICTURES / f"studio-{name}.png"
    picture.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


def build(page):
    page.wait_for_selector(".totals dd")


def draw(page):
    """A two, drawn by mouse."""
    page.wait_for_selector(".page.draw canvas")
    sheet = page.locator(".page.draw canvas").first.bounding_box()

    def at(x, y):
        return sheet["x"] + x * sheet["width"], sheet["y"] + y * sheet["height"]

    page.mouse.move(*at(0.3, 0.35))
    page.mouse.down()
    for x, y in [
        (0.38, 0.22),
        (0.52, 0.17),
        (0.66, 0.24),
        (0.66, 0.4),
        (0.52, 0.58),
        (0.3, 0.8),
        (0.5, 0.77),
        (0.74, 0.8),
    ]:
        page.mouse.move(*at(x, y), steps=6)
    page.mouse.up()
    page.wait_for_timeout(600)


def step(page):
    """The backward of the second convolution, and why one cell of its dx is the number that it is."""
    page.wait_for_timeout(1500)


if __name__ == "__main__":
    with served(of_checkpoint(Path(sys.argv[1]))) as server, chromium() as browser:
        for name, place, prepare in (
            ("build", "build", build),
            ("draw", "draw", draw),
            ("step", "step?image=0&frame=22", step),
        ):
            visit = Visit(browser, server, place, width=1440, height=900)
            prepare(visit.page)
            take(visit.page, name)
            visit.end()
