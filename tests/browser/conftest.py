"""A headless Chromium, without a network, that remembers what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import Seen, Tab


# No longer than it is needed: while Playwright runs, other tests of the same process cannot run an event loop.
@pytest.fixture(scope="module")
def chromium(require_program: Callable[[str], str]) -> Iterator[Any]:
    path = require_program("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Tests in a container run as root, where Chromium has no sandbox.
        args = ["--no-sandbox", "--disable-dev-shm-usage"]
        # Places in scripts are noted as they are compiled, or all of Plotly is read again for the first error's.
        args.append("--js-flags=--no-enable-lazy-source-positions")
        browser = playwright.chromium.launch(executable_path=path, args=args)
        yield browser
        browser.close()


@contextmanager
def _context(chromium: Any, **how: Any) -> Iterator[Any]:
    # Nothing glides: a place on the screen that a test has asked for is still there when it clicks.
    context = chromium.new_context(reduced_motion="reduce", **how)
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    yield context
    context.close()


@contextmanager
def _showing(tab: Tab, path: Path) -> Iterator[Callable[..., Seen]]:
    def show_page(html: str, scheme: str = "light") -> Seen:
        tab.empty()
        path.write_text(html, encoding="utf-8")
        seen = tab.show(path.as_uri(), path.as_uri(), scheme)
        seen.page.wait_for_selector("#main h2")
        return seen

    yield show_page
    tab.empty()


@pytest.fixture(scope="module")
def context(chromium: Any) -> Iterator[Any]:
    with _context(chromium, offline=True) as made:
        yield made


@pytest.fixture(scope="module")
def _tab(context: Any) -> Tab:
    return Tab(context)


# All pages of a tab have one address: what was compiled for another one is not used.
@pytest.fixture(scope="module")
def _address(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shown") / "page.html"


@pytest.fixture
def show(_tab: Tab, _address: Path) -> Iterator[Callable[..., Seen]]:
    """Give a function that shows a page, one at a time; every error, dialog and request of it fails the test."""
    with _showing(_tab, _address) as show_page:
        yield show_page


@pytest.fixture(scope="module")
def show_to_all(context: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Seen]]:
    """Give a function that shows a page to the tests of a file; what goes wrong in it fails the last of them."""
    with _showing(Tab(context), tmp_path_factory.mktemp("pages") / "page.html") as show_page:
        yield show_page


@pytest.fixture(scope="module")
def tab_with_network(chromium: Any) -> Iterator[Tab]:
    """Give a tab for pages that somebody serves."""
    with _context(chromium) as context:
        yield Tab(context)
