"""The docs as a site: whole without a network, its links lead to pages, and broken ones are errors."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.support.scripts import module_of

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mkdocs") is None, reason="MkDocs is not installed")


def build(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build("--site-dir", str(folder))
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    return module_of(ROOT / "tools" / "docs_site.py")


def test_every_page_is_there_and_fetches_nothing(site):
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").with_suffix(".html")
        assert (site / (name.with_name("index.html") if name.stem == "README" else name)).is_file(), page
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"<(?:script|img|iframe)[^>]* src=\"(?:https?:)?//", text), page
        assert not re.search(r"<link[^>]* href=\"(?:https?:)?//", text), page
    for style in site.rglob("*.css"):
        assert not re.search(r"(?:url\(|@import )['\"]?(?:https?:)?//", style.read_text(encoding="utf-8")), style


def test_the_first_page_is_the_readme_with_its_pictures(site):
    text = (site / "index.html").read_text(encoding="utf-8")
    pictures = re.findall(r'<img[^>]* src="([^"]+)"', text)
    assert pictures
    for picture in pictures:
        assert (site / picture).is_file()
    assert 'href="tutorial.html"' in text


def test_pictures_are_small_are_shown_and_say_what_they_show():
    folder = ROOT / "docs" / "pictures"
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = [found for page in pages for found in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", page.read_text("utf-8"))]
    assert all(len(words.split()) >= 3 for words, _ in shown)
    assert {path.name for path in folder.iterdir()} == {Path(target).name for _, target in shown}
    for path in folder.iterdir():
        assert path.stat().st_size < 300_000, path.name


def test_links_lead_to_pages_and_files_that_are_none_are_named(hook):
    def told(text: str, page: str = "docs/methods/stalls.md") -> str:
        return str(hook.relinked(text, ROOT / page, page.removeprefix("docs/")))

    assert told("[a](../walk.md#top)") == "[a](../walk.md#top)"
    assert told("[a](../compat/)") == "a (`docs/compat`)"
    assert told("[a](../../README.md)") == "[a](../index.md)"
    assert told("[`examples/`](../../examples)") == "`examples/`"
    assert told("[a](https://example.org) [b](#c)") == "[a](https://example.org) [b](#c)"
    assert told("```\n[a](nowhere.md)\n```") == "```\n[a](nowhere.md)\n```"


def test_a_link_that_leads_nowhere_is_an_error(tmp_path, hook, caplog):
    hook.relinked("[a](nowhere.md)", ROOT / "docs" / "sql.md", "sql.md")
    assert "docs/sql.md: a link to nowhere.md, which is not there" in caplog.text
