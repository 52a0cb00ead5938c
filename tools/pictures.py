"""Write docs/pictures/: reports and a watch of the recorded stall, a comparison, faults: ``python tools/pictures.py``.

With the names of faults (``FAULTS``) only theirs are drawn.

Look at them before committing: nothing else does.
"""

import asyncio
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
LABORATORY = "tests/truth/lab/captures"
FAULTS = {
    "lock": ("examples/mariadb-lock.pcap", "completions"),
    "saturated": ("examples/stalls/mariadb-hot-row.pcap.zst", "arrival-map"),
    "saturated-points": ("examples/stalls/mariadb-hot-row.pcap.zst", "scalability"),
    "bufferbloat": (f"{LABORATORY}/bufferbloat/server.pcap.xz", "sequence"),
    "zero-window": (f"{LABORATORY}/zero_window_stall/server.pcap.xz", "sequence"),
    "loss": (f"{LABORATORY}/random_loss/server.pcap.xz", "sequence"),
    "listen-overflow": (f"{LABORATORY}/listen_overflow/server.pcap.xz", "time-account"),
}
"""What docs/reading.md shows: of which capture, and which plot of its page."""
SLICES, SLICE_NS = 48, 200_000_000
"""So much is watched that the stall has just been found."""


def main() -> None:
    """Write the pictures that are named, or all."""
    draw_faults(sys.argv[1:] or list(FAULTS))
    if not sys.argv[1:]:
        draw_pages()


def draw_faults(names: list[str]) -> None:
    """Write the plot in which each of these faults shows."""
    from playwright.sync_api import sync_playwright

    from tcpsight.cli.main import main as tcpsight

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser: Any = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        for name in names:
            capture, plot = FAULTS[name]
            path = Path(folder, f"{name}.html")
            if tcpsight(["report", capture, "--html", str(path)]):
                sys.exit("no page was made")
            page = browser.new_page(viewport={"width": 1000, "height": 1120}, color_scheme="light")
            page.goto(path.as_uri())
            page.locator(f"#{plot}").scroll_into_view_if_needed()
            page.wait_for_selector(f"#{plot} .plot-container")
            page.wait_for_timeout(2000)
            page.locator(f"#{plot}").screenshot(path=FOLDER / f"fault-{name}.png")
        browser.close()
    click.echo(f"wrote {FOLDER}/fault-*.png")


def draw_pages() -> None:
    """Write pictures of whole pages and of the screen."""
    from playwright.sync_api import sync_playwright

    from tcpsight.cli.main import main as tcpsight

    drawing = asyncio.run(watched())
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
        page = browser.new_page(viewport={"width": 1310, "height": 820})
        page.set_content(f"<body style='margin:0'>{drawing}</body>")
        page.locator("svg").first.screenshot(path=FOLDER / "watch-screen.png")
        browser.close()
    click.echo(f"wrote {FOLDER}/report-*.png, compare-*.png and watch-screen.png")


async def watched() -> str:
    """Draw the full-screen view as it stands just after the stall."""
    import tcpsight
    from tcpsight.ui.board import Board
    from tcpsight.ui.screen import WatchScreen

    board = Board(CAPTURE)
    with tcpsight.open(CAPTURE).watch(SLICE_NS, with_totals=True, with_findings=True) as (run, watch):
        watch.on_batch = board.note
        for number, each in enumerate(watch, 1):
            board.take(each, run)
            if number == SLICES:
                break
    app = WatchScreen(board)
    async with app.run_test(size=(106, 29)) as pilot:
        await pilot.pause()
        return app.export_screenshot()


def shown(browser: Any, path: Path, scheme: str) -> Any:
    """Open the page, and wait until its first plot is drawn."""
    page = browser.new_page(viewport=SIZE, color_scheme=scheme)
    page.goto(path.as_uri())
    page.wait_for_selector("#completions .plot-container")
    page.wait_for_timeout(1500)
    return page


if __name__ == "__main__":
    main()
