"""The pages of the studio as one HTML file: its styles, its modules and what was recorded are in it, and nothing else
is loaded.

A module becomes a function, called once, after those that it imports:

    $modules['maps.js'] = (() => { const { render } = $modules['lit-html.js']; ...; return { paint }; })();

All of them are one inline script. The file allows that script by its hash, and no other, and no request.
"""

from __future__ import annotations

import base64
import gzip
import re
from hashlib import sha256
from pathlib import Path, PurePosixPath

STATIC = Path(__file__).parent / "static"
IMPORT = re.compile(r"^import \{([^}]*)\} from '(\.[^']*)';$", re.MULTILINE)
LATER = re.compile(r"\bimport\('(\.[^']*)'\)")
EXPORT = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const|let) (\w+))", re.MULTILINE)
LIST = re.compile(r"\bexport ?\{([^}]*)\};?")
LEFT = re.compile(r"(?:^|[;}])\s*(?:import|export)\b[^\n]*|\bimport *[(.][^\n]*", re.MULTILINE)
"""What is left of an import or an export in a form that none of the others reads."""


class BundleError(Exception):
    """A file of the studio is written in a way that `bundled` does not read: a fault of the studio."""


def bundled(entry: str, recording: bytes) -> str:
    """index.html with its styles, the module `entry` and all that it imports, and the recording, compressed."""
    text = (STATIC / "index.html").read_text(encoding="utf-8")
    own = modules(entry)
    linked = re.findall(r'<link rel="stylesheet" href="/static/([^"]+)">\n', text)
    sheets = [sheet for sheet in linked if "/" not in sheet or sheet.replace(".css", ".js") in own]  # no other page's
    style = _inlined("".join((STATIC / sheet).read_text(encoding="utf-8") for sheet in sheets))
    script = "const $modules = {};\n" + "\n".join(own.values())
    for what, part, end in (("style", style, "</style"), ("script", script, "</script"), ("script", script, "<!--")):
        if end in part.lower():
            raise BundleError(f"a {what} of the studio has {end!r} in it, which would end it in an HTML file")
    policy = (
        f"default-src 'none'; script-src {_hash(script)}; style-src {_hash(style)}; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    data = base64.b64encode(gzip.compress(recording, 9, mtime=0)).decode()
    for old, new in (
        (r'<meta charset="utf-8">\n', rf'\g<0><meta http-equiv="Content-Security-Policy" content="{policy}">\n'),
        (r'<link rel="stylesheet"[^>]*>\n', ""),
        (r'<script type="module"[^>]*></script>\n', lambda _: f"<style>{style}</style>\n"),
        (r'href="(/static/[^"]+)"', lambda found: f'href="{_data_url(found[1])}"'),
        (
            r"</body>",
            lambda _: (
                f'<script type="application/octet-stream" id="recording">{data}</script>\n'
                f'<script type="module">{script}</script>\n</body>'
            ),
        ),
    ):
        text, count = re.subn(old, new, text)
        if not count:
            raise BundleError(f"index.html has no {old}")
    return text


def modules(entry: str) -> dict[str, str]:
    """The module `entry` and all that it imports as functions, by name, each after those that it imports."""
    found: dict[str, str] = {}
    under_way: list[str] = []

    def visit(name: str) -> None:
        if name in under_way:
            raise BundleError(f"modules import each other in a circle: {' -> '.join([*under_way, name])}")
        if name in found:
            return
        under_way.append(name)
        source = (STATIC / name).read_text(encoding="utf-8")
        if "$modules" in source:
            raise BundleError(f"{name} has the name $modules, which a bundle needs for itself")
        names: list[str] = []
        here = PurePosixPath(name).parent

        def module(place: str) -> str:
            path = _normal(here / place)
            if not (STATIC / path).is_file():
                raise BundleError(f"{name} imports {place}, which is not there")
            visit(path)
            return f"$modules['{path}']"

        def taken(match: re.Match[str]) -> str:
            return f"const {{{match[1].replace(' as ', ': ')}}} = {module(match[2])};"

        def given(match: re.Match[str]) -> str:
            names.append(match[1])
            return ""

        def listed(match: re.Match[str]) -> str:
            pairs = [part.split(" as ") for part in match[1].split(",") if part.strip()]
            names.extend(f"{pair[-1].strip()}: {pair[0].strip()}" for pair in pairs)
            return ""

        source = IMPORT.sub(taken, source)
        source = LATER.sub(lambda match: f"Promise.resolve({module(match[1])})", source)
        source = LIST.sub(listed, EXPORT.sub(given, source))
        left = LEFT.search(source)
        if left:
            raise BundleError(f"{name}: a bundle does not read {left[0].strip()[:80]!r}")
        found[name] = f"$modules['{name}'] = (() => {{\n{source.rstrip()}\nreturn {{ {', '.join(names)} }};\n}})();\n"
        under_way.pop()

    visit(entry)
    return found


def _normal(path: PurePosixPath) -> str:
    """The path without `..` in it."""
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


def _inlined(style: str) -> str:
    """The style with the pictures that it names in it."""
    style = re.sub(r'url\("(/static/[^"]+)"\)', lambda found: f'url("{_data_url(found[1])}")', style)
    outside = re.search(r"url\((?!\"data:)[^)]*\)|@import[^;]*", style)
    if outside:
        raise BundleError(f"a style of the studio loads {outside[0]}")
    return style


def _data_url(place: str) -> str:
    """A picture as a URL that holds it."""
    kind = {".svg": "image/svg+xml", ".png": "image/png"}[PurePosixPath(place).suffix]
    data = (STATIC / place.removeprefix("/static/")).read_bytes()
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _hash(text: str) -> str:
    """The source of a Content-Security-Policy that allows this inline text alone."""
    return f"'sha256-{base64.b64encode(sha256(text.encode()).digest()).decode()}'"
