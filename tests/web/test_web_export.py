"""The export: one file, whose modules are bundled, and which holds what the studio answers."""

import base64
import gzip
import re
import sys

import numpy as np
import pytest
from commands import run_here

import tinyconv as tc
from tinyconv.errors import DataError
from tinyconv.web import bundle, wire
from tinyconv.web import export as exporting
from tinyconv.web.bundle import BundleError, bundled, modules
from tinyconv.web.export import recorded, write_page
from tinyconv.web.studio import Studio
from tinyconv.web.subject import of_name

EVIL = "</script><img src=x onerror=alert(1)>"
SMALL = "conv 2 5; relu; flatten; fc 10"


@pytest.fixture(scope="module")
def lenet():
    return of_name("lenet5", "synthetic")


@pytest.fixture(scope="module")
def found(lenet):
    """The recording of an untrained LeNet, whose weights are as dense as any."""
    return recorded(lenet, [3, 1])


def recording_in(page):
    """The message in the text of an exported page."""
    (data,) = re.findall(r'<script type="application/octet-stream" id="recording">([^<]*)</script>', page)
    return wire.unpack(gzip.decompress(base64.b64decode(data)))


# --- the modules ----------------------------------------------------------------------------------------------------


@pytest.fixture
def static(tmp_path, monkeypatch):
    """static(name=text, ...) makes a folder of these files the one that is bundled."""
    monkeypatch.setattr(bundle, "STATIC", tmp_path)

    def make(files):
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(text, encoding="utf-8")

    return make


INDEX = """<!doctype html>
<head>
<meta charset="utf-8">
<link rel="icon" href="/static/icon.svg">
<link rel="stylesheet" href="/static/a.css">
<script type="module" src="/static/app.js"></script>
</head>
<body></body>
"""


def test_modules_come_after_what_they_import(static):
    static(
        {
            "main.js": "import {\n  one as uno,\n  two,\n} from './lib/a.js';\nexport const late = import('./b.js');\n",
            "lib/a.js": "import { b } from '../b.js';\nexport function one() {}\nexport async function two() {}\n",
            "b.js": "const c = 1;export{c as b,c as d};\n",
        }
    )
    found = modules("main.js")
    assert list(found) == ["b.js", "lib/a.js", "main.js"]
    assert found["b.js"] == "$modules['b.js'] = (() => {\nconst c = 1;\nreturn { b: c, d: c };\n})();\n"
    assert (
        "const { b } = $modules['b.js'];\nfunction one() {}\nasync function two() {}\nreturn { one, two };"
        in found["lib/a.js"]
    )
    assert "const {\n  one: uno,\n  two,\n} = $modules['lib/a.js'];" in found["main.js"]
    assert "const late = Promise.resolve($modules['b.js']);" in found["main.js"]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import a from './a.js';", 'does not read "import a from'),
        ("import * as a from './a.js';", "does not read"),
        ("import './a.js';", "does not read"),
        ("  import { a } from './a.js';", "does not read"),
        ("let b;import { a } from './a.js';", "does not read"),
        ("import { a } from 'lit';", "does not read"),
        ('import { a } from "./a.js";', "does not read"),
        ("import(name);", "does not read"),
        ("import.meta.url;", "does not read"),
        ("export default 1;", "does not read"),
        ("export const { a } = b;", "does not read"),
        ("export * from './a.js';", "does not read"),
        ("import { a } from './missing.js';", "which is not there"),
        ("import { a } from './main.js';", "in a circle: main.js -> main.js"),
        ("const $modules = 1;", r"has the name \$modules"),
    ],
)
def test_what_a_bundle_cannot_read_is_refused(static, source, said):
    static({"main.js": f"{source}\n", "a.js": "export const a = 1;\n"})
    with pytest.raises(BundleError, match=said):
        modules("main.js")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"main.js": "const a = '</SCRIPT>';"}, "script of the studio has '</script' in it"),
        ({"main.js": "const a = '<!--';"}, "script of the studio has '<!--' in it"),
        ({"a.css": "a { content: '</style>'; }"}, "style of the studio has '</style' in it"),
        ({"a.css": "a { background: url(https://example.org/a.png); }"}, r"loads url\(https"),
        ({"a.css": '@import "b.css";'}, 'loads @import "b.css"'),
        ({"index.html": INDEX.replace("charset", "set")}, "index.html has no <meta"),
    ],
)
def test_what_would_break_out_of_the_file_is_refused(static, files, said):
    static({"index.html": INDEX, "main.js": "", "a.css": "", "icon.svg": "<svg/>"} | files)
    with pytest.raises(BundleError, match=said):
        bundled("main.js", b"")


# --- the file -------------------------------------------------------------------------------------------------------


def test_the_file_loads_nothing():
    page = bundled("recorded.js", b"")
    assert "/static/" not in page
    assert not re.search(r'\b(?:src|href)="(?!data:|#)', page)
    assert "default-src 'none'; script-src 'sha256-" in page


def test_the_file_holds_what_the_studio_answers(lenet, found):
    studio = Studio(lenet)
    assert (found["subject"], found["images"]) == (lenet.outline(), [1, 3])
    assert found["labels"] == lenet.images.labels[[1, 3]].tolist()
    answers = {(answer["job"], *answer["args"].values()): answer for answer in found["answers"]}
    assert len(answers) == len(found["answers"]) == 1 + 2 * 11 + 2 + 3 * 6 + 3 * 16 + 10
    for key in (("step.record", 1), ("look.image", 3), ("look.image", 1, 4)):
        assert_equal(answers[key]["result"], studio.submit(key[0], answers[key]["args"]).result())
    studio.close()
    strongest = answers["look.strongest", "conv2", 3]["result"]
    assert (strongest["done"], strongest["count"]) == (1000, 1000)
    places = np.searchsorted(found["pictures"]["numbers"], strongest["numbers"])
    assert np.array_equal(found["pictures"]["images"][places], lenet.images.images[strongest["numbers"]])


def assert_equal(found, expected):
    """Plain values with arrays in them are equal."""
    if isinstance(expected, np.ndarray):
        np.testing.assert_array_equal(found, expected)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_equal(found[key], expected[key])
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        assert found == expected
        assert type(found) is type(expected)


def test_equal_arrays_are_in_it_once(lenet, found):
    """The weights, 178 kB, are the same for every image, and those of Look are those of Step."""
    (weights,) = [tensor.numpy().tobytes() for name, tensor in lenet.model.state_dict().items() if name == "fc1.weight"]
    assert wire.pack(found).count(weights) == 1


def test_the_same_input_gives_the_same_file(tmp_path):
    for name in ("a.html", "b.html"):
        size = write_page(of_name("cake", "synthetic", slices=SMALL), tmp_path / name, [2])
        assert size == (tmp_path / name).stat().st_size
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.html", "b.html"]


def test_a_lenet_takes_little(found):
    """Two images, with all that Look shows of them. Less than 1.5 MB was asked for."""
    assert len(bundled("recorded.js", wire.pack(found))) < 1_000_000


@pytest.mark.parametrize("name", ["build", "draw", "look", "step", "train", "mistakes"])
def test_what_the_browser_loads_for_a_page_is_small(name):
    """index.html, all styles, the frame, and the modules of the page: less than 250 kB, with nothing compressed."""
    found = {bundle.STATIC / "index.html", *bundle.STATIC.rglob("*.css"), *bundle.STATIC.rglob("*.svg")}
    waiting = [bundle.STATIC / "app.js", bundle.STATIC / "pages" / f"{name}.js"]
    while waiting:
        path = waiting.pop().resolve()
        if path not in found:
            found.add(path)
            waiting += [path.parent / other for other in re.findall(r"\bfrom '(\.[^']+)'", path.read_text("utf-8"))]
    assert len(found) > 15
    assert sum(path.stat().st_size for path in found) < 250_000


def test_what_a_model_is_called_cannot_break_out_of_the_file(tmp_path):
    model, images = tc.nn.Sequential(tc.nn.Flatten(), tc.nn.Linear(784, 2)), np.zeros((2, 1, 28, 28), np.uint8)
    path = tc.studio_page(model, tmp_path / "a.html", (images, [0, 1]), classes=[EVIL, "b"], images=[1])
    page = path.read_text(encoding="utf-8")
    assert EVIL not in page
    assert page.lower().count("</script>") == 2
    assert recording_in(page)["subject"]["classes"][0] == EVIL
    assert recording_in(page)["command"] == "tc.studio(model)"
    assert recording_in(page)["images"] == [1]


def test_what_cannot_be_written_is_refused(lenet, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="at least one test image"):
        write_page(lenet, tmp_path / "a.html", [])
    with pytest.raises(DataError, match="there is no test image 100000000"):
        write_page(lenet, tmp_path / "a.html", [100_000_000])
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*none to write a.html to"):
        write_page(lenet, tmp_path / "none" / "a.html")
    monkeypatch.setattr(exporting, "LARGEST", 10_000)
    with pytest.raises(DataError, match=r"2 images of cake takes 0 MB, .* record fewer images or a smaller model"):
        write_page(of_name("cake", "synthetic", slices=SMALL), tmp_path / "a.html", [0, 1])
    assert not any(tmp_path.iterdir())


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_writes_the_page(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "page.html").write_text("before", encoding="utf-8")
    options = ["--data", "synthetic", "--export", "page.html", "--image", 5, "--image", 2]
    done = run_here("studio", SMALL, *options)
    assert re.fullmatch(r"page: page.html \(0\.\d\d MB\)\n", done.stdout)
    found = recording_in((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert found["images"] == [2, 5]
    assert found["command"] == f"tinyconv studio '{SMALL}'"


def test_the_command_says_what_is_wrong(tmp_path, monkeypatch):
    done = run_here("studio", "lenet5", "--image", 5, code=2)
    assert "--image names what --export writes" in " ".join(done.stderr.replace("│", "").split())
    monkeypatch.setattr(sys.modules["tinyconv.inspect.record"], "LIMIT", 100_000)
    done = run_here("studio", "lenet5", "--data", "synthetic", "--export", tmp_path / "a.html", code=1)
    assert "record: the arrays of this step take more than" in done.stderr
    assert not any(tmp_path.iterdir())
