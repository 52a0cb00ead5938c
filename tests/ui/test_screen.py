"""The full-screen view, key by key, as it looks, and on a capture that means harm."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from textual.widgets import Input, Static

from tcpsight.ui.bars import Bars, bars
from tcpsight.ui.board import Board
from tcpsight.ui.screen import WatchScreen
from tcpsight.ui.screens import ConnectionsScreen, HelpScreen, RequestsScreen, ServicesScreen
from tcpsight.ui.sorted_table import SortedTable
from tests.ui.boards import finding, watched, with_findings

SIZE = (100, 32)


def on_screen(board: Board, talk: Callable[[WatchScreen, Any], Any]) -> None:
    """Show a board, and do something with it."""

    async def run() -> None:
        app = WatchScreen(board)
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause()
            await talk(app, pilot)

    asyncio.run(run())


async def press(pilot: Any, *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


def table(app: WatchScreen, name: str = "services") -> SortedTable:
    return app.screen.query_one(f"#{name}", SortedTable)


def words(app: WatchScreen, name: str) -> str:
    return str(app.screen.query_one(f"#{name}", Static).content)


def shown(app: WatchScreen, name: str = "services") -> list[list[str]]:
    found = table(app, name)
    return [[cell.plain for cell in found.get_row_at(i)] for i in range(found.row_count)]


def test_services_stand_in_order_of_throughput(board):
    async def talk(app, pilot):
        assert [row[0] for row in shown(app)] == ["10.0.0.9:80", "10.0.0.9:5432"]
        assert "ENDED" in words(app, "head")
        assert "0 dropped" in words(app, "head")

    on_screen(board, talk)


def test_what_is_the_case_of_interfaces_is_shown_while_it_is(capture_path):
    watching_board = watched(capture_path, ends=False)

    async def talk(app, pilot):
        watching_board.notice(["eth0\x1b is down, or away: nothing comes by it until it is up again"])
        await pilot.pause()
        assert words(app, "note") == "eth0\\x1b is down, or away: nothing comes by it until it is up again"
        watching_board.notice([])
        await pilot.pause()
        assert words(app, "note") == ""

    on_screen(watching_board, talk)


def test_s_sorts_by_the_next_column_and_r_turns_it_around(board):
    async def talk(app, pilot):
        await press(pilot, "r")
        assert [row[0] for row in shown(app)] == ["10.0.0.9:5432", "10.0.0.9:80"]
        for _ in range(7):
            await press(pilot, "s")
        assert [str(column.label) for column in table(app).ordered_columns][8] == "waiting ▼"
        assert [row[0] for row in shown(app)] == ["10.0.0.9:5432", "10.0.0.9:80"]
        await press(pilot, "S")
        assert [str(column.label) for column in table(app).ordered_columns][7] == "max ▼"
        # Unknown comes last in either direction: no request of the slow one arrived in the last slice.
        assert [row[0] for row in shown(app)] == ["10.0.0.9:80", "10.0.0.9:5432"]
        await press(pilot, "r")
        assert [row[0] for row in shown(app)] == ["10.0.0.9:80", "10.0.0.9:5432"]

    on_screen(board, talk)


def test_a_click_on_a_head_sorts_by_it_and_another_one_the_other_way_round(board):
    async def talk(app, pilot):
        await pilot.click("#services", offset=(2, 0))
        await pilot.pause()
        assert [row[0] for row in shown(app)] == ["10.0.0.9:5432", "10.0.0.9:80"]
        await pilot.click("#services", offset=(2, 0))
        await pilot.pause()
        assert [row[0] for row in shown(app)] == ["10.0.0.9:80", "10.0.0.9:5432"]

    on_screen(board, talk)


def test_a_slash_filters_rows_by_words_and_escape_shows_all_again(board):
    async def talk(app, pilot):
        await press(pilot, "slash", *"5432")
        assert [row[0] for row in shown(app)] == ["10.0.0.9:5432"]
        assert "1 row hidden" in words(app, "note")
        await press(pilot, "enter")
        assert app.focused is table(app)
        assert app.screen.query_one("#filter", Input).value == "5432"
        await press(pilot, "escape")
        assert len(shown(app)) == 2
        assert not app.screen.query_one("#note").display

    on_screen(board, talk)


def test_p_lets_the_screen_stand_still_while_the_board_goes_on(board, capture_path):
    async def talk(app, pilot):
        await press(pilot, "p")
        assert "PAUSED" in words(app, "head")
        with_findings(board, finding())
        await pilot.pause()
        assert words(app, "found") == "none so far"
        await press(pilot, "p")
        assert "answers stopped" in words(app, "found")
        assert "PAUSED" not in words(app, "head")

    on_screen(board, talk)


def test_what_is_new_is_shown_without_a_key(board):
    async def talk(app, pilot):
        with_findings(board, finding())
        await pilot.pause()
        assert "critical refused · 10.0.0.9:80: answers stopped" in words(app, "found")
        assert app.screen.query_one("#findings").border_title == "Findings (1)"

    on_screen(board, talk)


def test_a_screen_that_was_told_is_not_told_again_until_it_has_looked(board):
    async def talk(app, pilot):
        told: list[Any] = []
        app.post_message = told.append
        app._tell()
        app._tell()
        assert len(told) == 1
        del app.post_message
        app.on_watch_screen_changed()
        assert not app._is_told

    on_screen(board, talk)


def test_enter_leads_from_a_service_to_a_connection_to_its_requests_and_escape_back(board):
    async def talk(app, pilot):
        await press(pilot, "enter")
        assert isinstance(app.screen, ConnectionsScreen)
        assert [row[0] for row in shown(app, "connections")] == ["10.0.0.1:40000", "10.0.0.1:40001"]
        assert [row[3] for row in shown(app, "connections")] == ["30", "25"]
        assert "10.0.0.9:80" in words(app, "head")
        await press(pilot, "down", "enter")
        assert isinstance(app.screen, RequestsScreen)
        assert [row[-1] for row in shown(app, "requests")] == [str(i) for i in range(24, -1, -1)]
        assert {row[1] for row in shown(app, "requests")} == {"2.00 ms"}
        await press(pilot, "escape")
        assert table(app, "connections").cursor_row == 1
        await press(pilot, "escape", "escape")
        assert isinstance(app.screen, ServicesScreen)

    on_screen(board, talk)


def test_requests_of_a_service_are_the_slowest_and_by_l_the_latest(board):
    async def talk(app, pilot):
        await press(pilot, "down", "enter")
        assert [row[1] for row in shown(app, "requests")] == ["500 ms", "300 ms"]
        await press(pilot, "l")
        assert "Latest" in str(table(app, "requests").border_title)
        assert shown(app, "requests")[0][0] > shown(app, "requests")[1][0]

    on_screen(board, talk)


def test_a_request_leads_to_its_connection(board):
    async def talk(app, pilot):
        await press(pilot, "down", "enter", "tab", "enter")
        assert isinstance(app.screen, RequestsScreen)
        assert len(shown(app, "requests")) == 2

    on_screen(board, talk)


def test_the_lines_over_time_are_those_of_the_service_under_the_cursor(board):
    async def talk(app, pilot):
        assert "10.0.0.9:80" in words(app, "history-title")
        await press(pilot, "down")
        assert "10.0.0.9:5432" in words(app, "history-title")
        history = board.snapshot().history("10.0.0.9:5432")
        bars_shown = app.screen.query_one("#line-p99_ns", Bars).values
        assert list(bars_shown) == [row.p99_ns for row in history]

    on_screen(board, talk)


def test_the_cursor_stays_with_its_row_when_the_order_changes(board):
    async def talk(app, pilot):
        await press(pilot, "down", "r")
        assert table(app).row.name == "10.0.0.9:5432"
        assert table(app).cursor_row == 0

    on_screen(board, talk)


def test_a_question_mark_tells_the_keys_and_goes_away_again(board):
    async def talk(app, pilot):
        await press(pilot, "question_mark")
        assert isinstance(app.screen, HelpScreen)
        assert "sort by the next column" in words(app, "help")
        await press(pilot, "question_mark")
        assert isinstance(app.screen, ServicesScreen)
        await press(pilot, "question_mark", "escape")
        assert isinstance(app.screen, ServicesScreen)

    on_screen(board, talk)


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_q_and_ctrl_c_end_it(board, key):
    async def run() -> None:
        app = WatchScreen(board)
        async with app.run_test(size=SIZE) as pilot:
            await pilot.press(key)
        assert not app.is_running
        assert app.return_code == 0

    asyncio.run(run())


def test_nothing_of_a_capture_is_markup_or_obeyed(capture_path):
    board = watched(capture_path, source="[red]a\x1b[2Jb[/nothing].pcap")
    with_findings(board, finding("[bold]see \x1b]0;title\x07[link=http://x]here[/link]", "[blink]10.0.0.9:80"))
    board.end(None, "[/] broken at \x9b31m")

    async def talk(app, pilot):
        for _ in range(3):
            screenshot = app.export_screenshot()
            assert "\x1b" not in screenshot
            assert "\x9b" not in screenshot
            await press(pilot, "enter")
        await press(pilot, "escape", "escape")
        assert "[red]a\\x1b[2Jb[/nothing].pcap" in words(app, "head")
        assert "[bold]see \\x1b]0;title\\x07[link=http://x]here[/link]" in words(app, "found")
        assert "[/] broken at \\u009b31m" in words(app, "note")

    on_screen(board, talk)


def test_a_board_without_anything_is_shown_and_keys_do_no_harm():
    async def talk(app, pilot):
        await press(pilot, "enter", "s", "r", "down", "p", "l", "escape", "slash", "x", "enter", "enter")
        assert isinstance(app.screen, ServicesScreen)
        assert shown(app) == []

    on_screen(Board("nothing"), talk)


def test_bars_begin_at_zero_and_whatever_is_more_is_seen():
    assert bars([0, 1, None, 1000, 500], 5, 1).plain == " ▁ █▄"
    assert bars([1, 1], 3, 2).plain == " ██\n ██"
    assert bars([5, 1, 2], 2, 1).plain == "▄█"
    assert bars([], 2, 1).plain == "  "
    assert bars([1], 0, 1).plain == ""


# ------------------------------------------------------------------------------------------------------ as it looks


@pytest.fixture
def app(board):
    return WatchScreen(with_findings(board, finding()))


def test_services_look_as_they_should(snap_compare, app):
    assert snap_compare(app, terminal_size=SIZE)


def test_connections_look_as_they_should(snap_compare, app):
    assert snap_compare(app, press=["enter"], terminal_size=SIZE)


def test_requests_look_as_they_should(snap_compare, app):
    assert snap_compare(app, press=["enter", "enter"], terminal_size=SIZE)


def test_keys_look_as_they_should(snap_compare, app):
    assert snap_compare(app, press=["question_mark"], terminal_size=SIZE)


def test_a_narrow_terminal_shows_what_it_has_room_for(snap_compare, app):
    assert snap_compare(app, press=["p", "slash", *"9:80"], terminal_size=(60, 20))
