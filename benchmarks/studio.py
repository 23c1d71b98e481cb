"""How soon the studio is there, how soon a stroke is in all maps, and what training in the page costs.

python benchmarks/studio.py [CHECKPOINT]        # unless given one, LeNet-5 is trained first; some minutes
python benchmarks/tables.py                     # puts the record into the pages

Needs Chromium and playwright, MNIST, and nothing else running.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

from harness.record import write
from tinyconv import train
from tinyconv.host.environment import stamp

COMMAND = [sys.executable, "-m", "tinyconv"]
COMPILED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
"""An environment in which Python keeps what it has compiled, as it does unless told otherwise."""
WINDOW = {"width": 1280, "height": 800}
OPENINGS, STROKES, TURNS, EPOCHS = 7, 120, 3, 3

# The time from a pointer's event to the last map that is painted after it, and to the frame that shows it.
WATCH = """() => {
  window.strokes = [];
  const put = CanvasRenderingContext2D.prototype.putImageData;
  CanvasRenderingContext2D.prototype.putImageData = function (...args) {
    if (window.stroke && !this.canvas.closest('.sheet')) {
      window.stroke.maps = performance.now() - window.stroke.at;
      window.stroke.painted += 1;
    }
    return put.apply(this, args);
  };
  addEventListener('pointermove', () => {
    window.stroke = { at: performance.now(), maps: null, painted: 0 };
    window.strokes.push(window.stroke);
  }, true);
}"""


@contextmanager
def studio(checkpoint, *options):
    """The command in a process of its own: the moment it was started, and the URL that it printed."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [*COMMAND, "studio", str(checkpoint), "--no-browser", *options], stdout=subprocess.PIPE, text=True, env=COMPILED
    )
    try:
        yield started, next(line.strip() for line in process.stdout if "token=" in line).split()[-1]
    finally:
        process.terminate()
        process.wait()


def opened(browser, checkpoint):
    """Seconds from the start of the command to its URL, and to a page that shows the model."""
    with studio(checkpoint) as (started, url):
        printed = time.perf_counter() - started
        page = browser.new_page(viewport=WINDOW)
        page.goto(f"{url}#draw")
        page.wait_for_function("() => document.querySelectorAll('.page.draw canvas').length > 20")
        ready = time.perf_counter() - started
        page.close()
    return printed, ready


def strokes(browser, checkpoint):
    """Milliseconds from a movement of the pen to all maps of it, each movement after the one before was answered."""
    with studio(checkpoint) as (_, url):
        page = browser.new_page(viewport=WINDOW)
        page.goto(f"{url}#draw")
        page.wait_for_function("() => document.querySelectorAll('.page.draw canvas').length > 20")
        page.wait_for_timeout(500)
        page.evaluate(WATCH)
        sheet = page.locator(".page.draw canvas").first.bounding_box()
        page.mouse.move(sheet["x"] + 0.3 * sheet["width"], sheet["y"] + 0.2 * sheet["height"])
        page.mouse.down()
        for i in range(STROKES):
            row, column = divmod(i, 12)
            x = 0.25 + 0.5 * (column if row % 2 == 0 else 11 - column) / 11
            page.mouse.move(sheet["x"] + x * sheet["width"], sheet["y"] + (0.2 + 0.06 * row) * sheet["height"])
            page.wait_for_timeout(150)
        page.mouse.up()
        found = page.evaluate("() => window.strokes")
        page.close()
    times = [one["maps"] for one in found[1:] if one["painted"] > 60]  # LeNet has 66 maps
    assert len(times) > 0.9 * STROKES, f"only {len(times)} of {STROKES} strokes were answered by all maps"
    return times


def commanded(folder):
    """Seconds of each epoch but the first of `tinyconv train`, by the clock on the wall."""
    command = [*COMMAND, "train", "lenet5", "--epochs", str(EPOCHS), "--json", "--out", str(folder / "a.safetensors")]
    process = subprocess.Popen([*command, "--overwrite"], stdout=subprocess.PIPE, text=True)
    ends = [time.perf_counter() for line in process.stdout if "test_accuracy" in json.loads(line) and "seconds" in line]
    process.wait()
    return [after - before for before, after in pairwise(ends)][: EPOCHS - 1]


def in_the_page(browser):
    """The same for a training in the page, which is open and shows its curves."""
    with studio("lenet5") as (_, url):
        page = browser.new_page(viewport=WINDOW)
        page.goto(f"{url}#train")
        page.get_by_role("button", name="Start training").wait_for()
        page.get_by_label("Epochs", exact=True).fill(str(EPOCHS))
        page.get_by_label("Epochs", exact=True).press("Tab")
        page.get_by_role("button", name="Start training").click()
        ends = []
        for epoch in range(EPOCHS):
            page.wait_for_function(
                "n => document.querySelectorAll('table.epochs tbody tr').length > n",
                arg=epoch,
                polling=50,
                timeout=120_000,
            )
            ends.append(time.perf_counter())
        page.close()
    return [after - before for before, after in pairwise(ends)]


def share(values, part):
    return sorted(values)[min(len(values) - 1, round(part * len(values)))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "records" / "studio.json")
    chosen = parser.parse_args()
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        checkpoint = chosen.checkpoint
        if checkpoint is None:
            session = train.start(train.new_run("lenet5", "mnist", 0, train.RECIPES["default"]))
            for _ in session.saving(checkpoint := Path(name) / "lenet5.safetensors"):
                pass
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        opened(browser, checkpoint)  # what is read from the disk for the first time
        openings = [opened(browser, checkpoint) for _ in range(OPENINGS)]
        times = strokes(browser, checkpoint)
        turns = [(commanded(Path(name)), in_the_page(browser)) for _ in range(TURNS)]
        browser.close()
    ratios = [page / command for commands, pages in turns for command, page in zip(commands, pages, strict=True)]
    results = {
        "url, s": median(printed for printed, _ in openings),
        "ready, s": median(ready for _, ready in openings),
        "ready at most, s": max(ready for _, ready in openings),
        "strokes": len(times),
        "maps p50, ms": median(times),
        "maps p95, ms": share(times, 0.95),
        "epochs": len(ratios),
        "epoch in the page against the command": median(ratios),
        "of these from": min(ratios),
        "of these to": max(ratios),
    }
    for key, value in results.items():
        print(f"{key}: {value:.4g}")
    write(chosen.out, {"benchmark": "studio", **stamp(), "results": results})


if __name__ == "__main__":
    main()
