"""A headless Chromium, without a network, that remembers what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.pages import Seen


# No longer than it is needed: while Playwright runs, other tests of the same process cannot run an event loop.
@pytest.fixture(scope="module")
def chromium(require_program: Callable[[str], str]) -> Iterator[Any]:
    path = require_program("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Tests in a container run as root, where Chromium has no sandbox.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


def _refuse(seen: Seen, dialog: Any) -> None:
    seen.errors.append(f"a dialog: {dialog.message}")
    dialog.dismiss()


@pytest.fixture(scope="module")
def contexts(chromium: Any) -> Iterator[dict[str, Any]]:
    """Give a light and a dark context; pages in the same one share their compiled scripts, and keep nothing else."""
    made = {}
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme, viewport={"width": 1280, "height": 900}, offline=True)
        context.set_default_timeout(60_000)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        made[scheme] = context
    yield made
    for context in made.values():
        context.close()


@contextmanager
def _showing(contexts: dict[str, Any], folder: Path) -> Iterator[Callable[..., Seen]]:
    shown: list[Seen] = []

    def show_page(html: str, scheme: str = "light") -> Seen:
        path = folder / f"page-{len(shown)}.html"
        path.write_text(html, encoding="utf-8")
        seen = Seen(contexts[scheme].new_page())
        seen.page.on("console", lambda m: seen.errors.append(m.text) if m.type in ("error", "warning") else None)
        seen.page.on("pageerror", lambda error: seen.errors.append(str(error)))
        seen.page.on("dialog", lambda dialog: _refuse(seen, dialog))
        seen.page.on("request", lambda r: seen.requests.append(r.url) if r.url != path.as_uri() else None)
        shown.append(seen)
        seen.page.goto(path.as_uri())
        seen.page.wait_for_selector("#main h2")
        return seen

    try:
        yield show_page
    finally:
        for seen in shown:
            seen.page.close()
    for seen in shown:
        assert seen.errors == []
        assert [url for url in seen.requests if not url.startswith(("data:", "blob:"))] == []


@pytest.fixture
def show(contexts: dict[str, Any], tmp_path: Path) -> Iterator[Callable[..., Seen]]:
    """Give a function that shows a page; every error, dialog and request of it fails the test at its end."""
    with _showing(contexts, tmp_path) as show_page:
        yield show_page


@pytest.fixture(scope="module")
def show_to_all(contexts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Seen]]:
    """Give a function that shows a page to the tests of a file; what goes wrong in it fails the last of them."""
    with _showing(contexts, tmp_path_factory.mktemp("pages")) as show_page:
        yield show_page
