"""Pages for a browser: one file that holds its style, its scripts, its data and the plotting library.

Theory of operation
-------------------
A page is made of `web/page.html` with everything else put into it. The plotting library is there as text that the
scripts run when the words of the page are on the screen: reading it takes a browser longer than all the rest. Data
goes in as JSON, in elements that no browser runs, with ``<`` written as an escape, so that nothing from a capture can
end them; the scripts put it on the page as text, never as markup. A content security policy names the hashes of the
scripts, and forbids every connection: the page works from a disk, and a string that got through all the same would
neither run nor tell anybody.

What it cannot see: whether the browser is older than 2021, which the scripts need.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tcpsight.errors import UsageError, installing
from tcpsight.output.meanings import MEANINGS

NEEDS_PLOTLY = f"pages with plots need Plotly: {installing('html')}"

SHARED = ("elements.js", "numbers.js", "theme.js", "view.js", "figures.js", "meanings.js", "tables.js")
"""Scripts that every page has, in order."""

_FOLDER = "web"
_POLICY = (
    "default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)


def require_plotly() -> None:
    """Make sure that a page can be drawn, before anybody waits for its data.

    Raises
    ------
    UsageError
        Plotly is not installed.
    """
    _plotly_path()


def html_page(
    title: str, scripts: Sequence[str], data: Mapping[str, Any], styles: Sequence[str] = (), *, connects: bool = False
) -> str:
    """Make a page.

    Parameters
    ----------
    title : str
        What the window is called.
    scripts : sequence of str
        Files in `web/`, which run in this order after the shared ones, and fill the element ``main``.
    data : mapping of str to JSON
        What they read with ``pageData(name)``.
    styles : sequence of str
        Files in `web/`, after the shared ``page.css``.
    connects : bool
        Whether it asks the server that it came from for more; others nobody asks.

    Raises
    ------
    UsageError
        Plotly is not installed.
    """
    program, library = _program(scripts), _plotly()
    blocks = [
        f'<script type="application/json" id="data-{html.escape(name)}">{data_text(value)}</script>'
        for name, value in data.items()
    ]
    parts = {
        "policy": page_policy(scripts, connects=connects),
        "title": html.escape(title),
        "styles": "\n".join(_file(name) for name in ("page.css", *styles)),
        "data": "\n".join(blocks),
        # The library waits as text, which the program runs when it has shown the words.
        "scripts": f'<script type="text/plain" id="library">{library}</script>\n<script>{program}</script>',
    }
    # In one pass over the template: what is put in is never looked at again.
    pieces = _file("page.html").split("{{")
    filled = [pieces[0]]
    for piece in pieces[1:]:
        name, rest = piece.split("}}", 1)
        filled += [parts[name], rest]
    return "".join(filled)


def page_policy(scripts: Sequence[str], *, connects: bool = False) -> str:
    """Write the content security policy of a page; parameters as of `html_page`."""
    hashes = " ".join(f"'sha256-{each}'" for each in (_sha256(_program(scripts)), _plotly_sha256()))
    return _POLICY.format(scripts=hashes) + ("; connect-src 'self'" if connects else "")


def data_text(value: Any) -> str:
    """Write a value as JSON in ASCII that no HTML parser finds markup in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _program(scripts: Sequence[str]) -> str:
    """Join our scripts to one, whose names nobody else sees."""
    meanings = f"const MEANINGS = {data_text(MEANINGS)};"
    bodies = "\n".join((meanings, *map(_file, (*SHARED, *scripts))))
    return f'(() => {{\n"use strict";\n{bodies}\n}})();'


def _sha256(program: str) -> str:
    return base64.b64encode(hashlib.sha256(program.encode()).digest()).decode()


@cache
def _plotly_sha256() -> str:
    return _sha256(_plotly())


@cache
def _file(name: str) -> str:
    return resources.files("tcpsight.output").joinpath(_FOLDER, name).read_text(encoding="utf-8")


def _plotly() -> str:
    # Not kept: a program makes one page, and may serve it for weeks.
    # A newline of Windows in a script would be another one to the browser, and so would its hash.
    return _plotly_path().read_text(encoding="utf-8").replace("\r\n", "\n")


def _plotly_path() -> Path:
    """Find the library's script, without the second that importing the package would take."""
    found = find_spec("plotly")
    for folder in found.submodule_search_locations or () if found is not None else ():
        path = Path(folder, "package_data", "plotly.min.js")
        if path.is_file():
            return path
    raise UsageError(NEEDS_PLOTLY)
