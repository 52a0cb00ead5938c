"""Write docs/pictures/ from the report of the recorded stall, and a comparison: ``python tools/pictures.py``.

Look at them before committing: nothing else does.
"""

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
CAPTURE = "examples/mariadb-lock.pcap"
PAIR = [f"tests/truth/compare_pairs/postgresql-{i}.pcap.zst" for i in (1, 3)]
"""A server as it is, and the same told to wait half as long again."""
SIZE = {"width": 1280, "height": 1120}


def main() -> None:
    """Write the pictures."""
    from playwright.sync_api import sync_playwright

    from tcpsight.cli.main import main as tcpsight

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder, "report.html")
        if tcpsight(["report", str(CAPTURE), "--html", str(path)]):
            sys.exit("no page was made")
        browser: Any = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = shown(browser, path, "light")
        page.screenshot(path=FOLDER / "report-light.png")
        page = shown(browser, path, "dark")
        page.get_by_role("link", name="Show in the plots").first.click()
        page.locator("#over-time").scroll_into_view_if_needed()
        page.evaluate("document.querySelector('#over-time').scrollIntoView({ behavior: 'instant' })")
        page.wait_for_timeout(3000)
        page.screenshot(path=FOLDER / "report-dark.png")
        compared = Path(folder, "compared.html")
        if tcpsight(["compare", *PAIR, "--html", str(compared)]) != 1:
            sys.exit("the slower server was not found to be slower")
        for scheme in ("light", "dark"):
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            page.goto(compared.as_uri())
            page.wait_for_timeout(3000)
            page.screenshot(path=FOLDER / f"compare-{scheme}.png")
        browser.close()
    click.echo(f"wrote {FOLDER}/report-*.png and compare-*.png")


def shown(browser: Any, path: Path, scheme: str) -> Any:
    """Open the page, and wait until its first plot is drawn."""
    page = browser.new_page(viewport=SIZE, color_scheme=scheme)
    page.goto(path.as_uri())
    page.wait_for_selector("#completions .plot-container")
    page.wait_for_timeout(1500)
    return page


if __name__ == "__main__":
    main()
