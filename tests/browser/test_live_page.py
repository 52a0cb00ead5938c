"""The page of a watch in a browser: what comes is shown, sorted, looked into, by mouse and by keys, light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import tcpsight
from tcpsight.ui.board import Board
from tests.support.pages import Seen, Tab
from tests.ui.boards import finding, two_services, watched, with_findings
from tests.ui.serving import Served, served

PICTURES = Path(__file__).parents[2] / "build" / "pictures"
"""Where pictures are left for people."""


@contextmanager
def shown(tab: Tab, page: Served, scheme: str = "light", path: str = "/") -> Iterator[Seen]:
    """Show the page; every error in it, and whatever it asks of anybody else, fails the test."""
    tab.page.context.clear_cookies()
    seen = tab.show(page.url + path, page.url, scheme)
    seen.page.wait_for_selector("#services-section .state:has-text('e'), #top .state:not(:has-text('connecting'))")
    yield seen
    tab.empty()  # or the end of its news would be an error


def wait_for_rows(seen: Seen, count: int, table: str = "services") -> None:
    seen.page.wait_for_function(
        "([id, n]) => document.querySelectorAll(`#${id} tbody tr`).length === n", arg=[table, count]
    )


def column(seen: Seen, number: int, table: str = "services") -> list[str]:
    found: list[str] = seen.page.locator(f"#{table} tbody tr td:nth-child({number})").all_inner_texts()
    return found


@pytest.fixture(name="tab")
def _tab(tab_with_network: Tab) -> Tab:
    return tab_with_network


@pytest.fixture
def capture_path(tmp_path: Path) -> Path:
    return two_services(tmp_path)


@pytest.fixture
def page(capture_path: Path) -> Iterator[Served]:
    with served(with_findings(watched(capture_path), finding())) as each:
        yield each


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_services_plots_and_findings_of_a_real_stall(tab, examples_dir, scheme):
    board = Board("examples/mariadb-lock.pcap")
    with tcpsight.open(examples_dir / "mariadb-lock.pcap").watch(200_000_000, with_totals=True, with_findings=True) as (
        run,
        watch,
    ):
        watch.on_batch = board.note
        for each in watch:
            board.take(each, run)
        board.end(run)
    with served(board) as page, shown(tab, page, scheme) as seen:
        wait_for_rows(seen, 1)
        assert column(seen, 1) == ["10.1.1.1:3306"]
        assert "ended" in seen.page.locator("#top").inner_text()
        seen.scroll_through()
        assert seen.page.locator("figure.plot .plot-container").count() == 4
        most = seen.page.evaluate("Math.max(...document.querySelector('#concurrency .canvas').data[1].y)")
        assert most == 9
        assert "9 requests waited for up to 1.50 s" in seen.page.locator("#findings-section").inner_text()
        assert seen.page.evaluate("document.documentElement.dataset.theme") == scheme
        seen.page.get_by_role("button", name="10.1.1.1:3306").click()
        wait_for_rows(seen, 9, "connections")
        assert column(seen, 2, "requests")[0] == "1.50 s"
        PICTURES.mkdir(parents=True, exist_ok=True)
        seen.page.screenshot(path=PICTURES / f"live-{scheme}.png", full_page=True)
        assert seen.lacking() == []


def test_what_comes_is_shown_at_once(tab, capture_path):
    board = Board("lo")
    with tcpsight.open(capture_path).watch(with_totals=True) as (run, watch):
        watch.on_batch = board.note
        slices = iter(watch)
        with served(board) as page, shown(tab, page) as seen:
            assert "live" in seen.page.locator("#top").inner_text()
            assert "None so far" in seen.page.locator("#services").inner_text()
            board.take(next(slices), run)
            wait_for_rows(seen, 2)
            board.take(next(slices), run)
            seen.page.wait_for_function("() => document.querySelector('#throughput .canvas')?.data?.[0].x.length === 3")
            with_findings(board, finding())
            seen.page.wait_for_selector("#findings-section li.critical")
            board.end(None, "lo: is gone")
            seen.page.wait_for_selector("#top .note:has-text('lo: is gone')")


def test_a_head_sorts_and_words_filter(tab, page):
    with shown(tab, page) as seen:
        wait_for_rows(seen, 2)
        assert column(seen, 1) == ["10.0.0.9:80", "10.0.0.9:5432"]
        seen.page.get_by_role("button", name="waiting", exact=True).first.click()
        assert column(seen, 1) == ["10.0.0.9:5432", "10.0.0.9:80"]
        head = seen.page.locator("#services th:has-text('waiting')")
        assert head.get_attribute("aria-sort") == "descending"
        seen.page.get_by_label("Filter").first.fill("5432")
        assert column(seen, 1) == ["10.0.0.9:5432"]
        assert "1 row hidden" in seen.page.locator("#services").inner_text()


def test_keys_lead_from_a_service_to_a_connection_and_back(tab, page):
    with shown(tab, page) as seen:
        wait_for_rows(seen, 2)
        seen.page.locator("#services tbody button").first.focus()
        seen.page.keyboard.press("Enter")
        wait_for_rows(seen, 2, "connections")
        assert seen.page.evaluate("document.activeElement.id") == "details-title"
        assert seen.page.locator("#service-choice").input_value() == "10.0.0.9:80"
        seen.page.locator("#connections tbody button").nth(1).focus()
        seen.page.keyboard.press("Enter")
        wait_for_rows(seen, 25, "requests")
        assert "10.0.0.1:40001" in seen.page.locator("#requests-title").inner_text()
        # The row that has the focus keeps it when rows come anew.
        assert seen.page.evaluate("document.activeElement.textContent") == "10.0.0.1:40001"
        seen.page.keyboard.press("Escape")
        seen.page.wait_for_selector("#requests-title:has-text('Slowest')")
        seen.page.keyboard.press("Escape")
        assert seen.page.locator("#details").is_hidden()
        assert seen.page.evaluate("document.activeElement.textContent") == "10.0.0.9:80"


def test_the_latest_requests_instead_of_the_slowest(tab, page):
    with shown(tab, page) as seen:
        wait_for_rows(seen, 2)
        seen.page.get_by_role("button", name="10.0.0.9:5432").click()
        wait_for_rows(seen, 2, "requests")
        assert column(seen, 2, "requests") == ["500 ms", "300 ms"]
        seen.page.get_by_role("button", name="Latest").click()
        seen.page.wait_for_selector("#requests-title:has-text('Latest')")
        seen.page.get_by_role("button", name="Close").click()
        assert seen.page.locator("#details").is_hidden()


def test_plots_have_their_numbers_as_a_table(tab, page):
    with shown(tab, page) as seen:
        wait_for_rows(seen, 2)
        seen.page.locator("#percentiles summary").click()
        seen.page.wait_for_selector("#percentiles table tbody tr")
        assert "500 ms" in seen.page.locator("#percentiles table").inner_text()


def test_nothing_of_a_capture_is_markup(tab, capture_path):
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    board = with_findings(watched(capture_path, source=evil), finding(evil, evil))
    board.end(None, evil)
    with served(board) as page, shown(tab, page) as seen:
        wait_for_rows(seen, 2)
        assert seen.page.locator("h1").inner_text() == evil
        assert evil in seen.page.locator("#findings-section").inner_text()
        assert seen.page.locator("img").count() == 0
        assert seen.page.title() == f"{evil} – tcpsight"


def test_the_token_is_gone_from_the_address_and_the_page_works_with_its_cookie(tab, capture_path):
    token = "a-token-of-more-than-sixteen-characters"
    with (
        served(watched(capture_path), token) as page,
        shown(tab, page, path=f"/?token={token}") as seen,
    ):
        wait_for_rows(seen, 2)
        assert seen.page.url == f"{page.url}/"
        assert seen.page.evaluate("document.cookie") == ""
        seen.page.locator("#services tbody button").first.click()
        wait_for_rows(seen, 2, "connections")


def test_a_page_of_somebody_else_learns_nothing(chromium, page):
    context = chromium.new_context()
    stranger = context.new_page()
    stranger.goto("data:text/html,<title>a stranger</title>")
    script = "url => fetch(url, {credentials: 'include'}).then(() => 'answered', () => 'refused')"
    assert [stranger.evaluate(script, f"{page.url}{path}") for path in ("/", "/connections")] == ["refused"] * 2
    context.close()
