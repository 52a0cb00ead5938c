"""What `make docs` does to pages beside MkDocs: a hook, named in ``mkdocs.yml``.

The README, ARCHITECTURE, CONTRIBUTING and CHANGELOG become pages, too. Links to files of the repository that are no
pages become their names: who reads the site may have no clone. Links that lead nowhere are warnings, and so errors.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"

PAGES = {
    "README.md": "index.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
}
"""Pages that lie outside of docs/."""

SECTIONS = {"Methods": "methods", "Older tools": "compat"}
"""Sections of the navigation that have all pages of a folder that are named nowhere else."""

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")
FENCE = re.compile(r"^\s*(```|~~~)")

log = logging.getLogger("mkdocs.plugins.tcpsight")


def on_config(config: Any) -> Any:
    """Fill sections with the pages of their folders."""
    named = set(_named(config.nav))
    for section in config.nav:
        for title, folder in SECTIONS.items():
            if title in section:
                pages = (f"{folder}/{path.name}" for path in (DOCS / folder).glob("*.md"))
                rest = sorted(page for page in pages if page not in named)
                section[title] = sorted(rest, key=lambda page: not page.endswith("/README.md"))
    return config


def _named(nav: Any) -> Iterator[str]:
    if isinstance(nav, str):
        yield nav
    for each in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
        yield from _named(each)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that lie outside of docs/."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links lead to pages, or name what they led to."""
    path = page.file.src_uri
    sources = {target: source for source, target in PAGES.items()}
    source = ROOT / sources[path] if path in sources else DOCS / path
    return relinked(markdown, source, path)


def relinked(markdown: str, source: Path, page: str) -> str:
    """Give a page's text with the links that it has on the site.

    Parameters
    ----------
    markdown : str
        As it is in the repository.
    source : path
        The file that it is.
    page : str
        The page that it becomes, below docs/.
    """

    def replaced(found: re.Match[str]) -> str:
        mark, label, target = found.groups()
        if re.match(r"[a-z]+:|#", target):
            return found[0]
        name, _, anchor = target.partition("#")
        there = Path(os.path.normpath(source.parent / name))
        if not there.exists():
            log.warning("%s: a link to %s, which is not there", source.relative_to(ROOT), target)
            return found[0]
        led = _page_of(there)
        if led is None:
            shown = there.relative_to(ROOT).as_posix()
            return label if label.strip("`").rstrip("/") == shown.rstrip("/") else f"{label} (`{shown}`)"
        relative = os.path.relpath(led, Path(page).parent)
        return f"{mark}[{label}]({relative}{'#' if anchor else ''}{anchor})"

    lines, is_code = [], False
    for line in markdown.split("\n"):
        is_code ^= bool(FENCE.match(line))
        lines.append(line if is_code else LINK.sub(replaced, line))
    return "\n".join(lines)


def _page_of(there: Path) -> str | None:
    """Name the page or picture that a file of the repository is; None for those that are none."""
    if there.is_dir() and there.is_relative_to(DOCS):
        there /= "README.md"
    if not there.is_file():
        return None
    if there.is_relative_to(DOCS):
        return there.relative_to(DOCS).as_posix()
    return PAGES.get(there.relative_to(ROOT).as_posix())
