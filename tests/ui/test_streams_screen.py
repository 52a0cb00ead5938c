"""The browser of streams, key by key, as it looks, and on a capture that means harm.

Longer than other files: one screen; one rule after another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from textual.widgets import ContentSwitcher, Static

import tcpsight
from tcpsight.conversations.catalog import Catalog
from tcpsight.conversations.patterns import pattern_from
from tcpsight.tables import KINDS, LadderSegments
from tcpsight.ui.lines import Lines
from tcpsight.ui.sequence_plot import SequencePlot, picture
from tcpsight.ui.sorted_table import SortedTable
from tcpsight.ui.streams_screen import KeysScreen, StreamsScreen
from tcpsight.ui.streams_talk import TalkScreen
from tests.support.pcap import Frame, pcap_bytes
from tests.support.said import ESCAPES, MS, START_NS, talk

SIZE = (110, 24)

QUICK = [(">", b"GET /a HTTP/1.1\r\nHost: here\r\n\r\n"), ("<", b"HTTP/1.1 200 OK\r\n\r\nhello")]
ODD = [
    (">", b"GET /b " + ESCAPES + b"[red]x[/nothing]"),
    ("<", b"needle in a hay"),
    ("<", b"stack"),
    (">", b"more?"),
    ("<", b"no"),
]


def late(frames: list[Frame], number: int, by_ns: int) -> list[Frame]:
    """Let everything from one frame on come later."""
    return [f._replace(time_ns=f.time_ns + (by_ns if i >= number else 0)) for i, f in enumerate(frames)]


@pytest.fixture
def catalog(tmp_path: Path):
    path = tmp_path / "said.pcap"
    frames: list[Frame] = [*talk(40_000, QUICK), *late(talk(40_001, ODD, START_NS + 50 * MS), 4, 1500 * MS)]
    frames.insert(14, frames[13]._replace(time_ns=frames[13].time_ns + 200 * MS))  # sent again
    frames.sort(key=lambda f: f.time_ns)
    path.write_bytes(pcap_bytes(list(frames)))
    analysis = tcpsight.open(path)
    with analysis.streams() as streams:
        yield Catalog(analysis, streams)


async def press(pilot: Any, *keys: str) -> None:
    for key in keys:
        await pilot.press(key)
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()


def on_screen(catalog: Catalog, talk_to: Callable[[StreamsScreen, Any], Any], source: str = "said.pcap") -> None:
    async def run() -> None:
        app = StreamsScreen(catalog, source)
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause()
            await talk_to(app, pilot)

    asyncio.run(run())


def words(app: StreamsScreen, name: str) -> str:
    return str(app.screen.query_one(f"#{name}", Static).content)


def numbers(app: StreamsScreen) -> list[str]:
    table = app.screen.query_one(SortedTable)
    return [table.get_row_at(i)[0].plain for i in range(table.row_count)]


def texts(app: StreamsScreen, name: str) -> list[str]:
    return app.screen.query_one(f"#{name}", Lines).texts


def test_connections_are_in_order_of_their_numbers_and_s_sorts_by_the_next_column(catalog):
    async def steps(app, pilot):
        assert numbers(app) == ["1", "9"]
        assert "2 of 2 connections" in words(app, "head")
        await press(pilot, "s", "s")
        assert numbers(app) == ["9", "1"]  # the longest first
        await press(pilot, "r")
        assert numbers(app) == ["1", "9"]

    on_screen(catalog, steps)


@pytest.mark.parametrize(
    ("key", "typed", "left"),
    [
        ("slash", "duration > 1s", ["9"]),
        ("b", "port 40000", ["1"]),
        ("m", "haystack", ["9"]),
        ("m", "hex 47 45 54", ["1", "9"]),
        ("m", "regex ^HTTP.*OK", ["1"]),
    ],
)
def test_filters_and_searches_change_what_is_shown_and_escape_shows_all_again(catalog, key, typed, left):
    async def steps(app, pilot):
        await pilot.press(key)
        app.screen.query_one("#ask").value = typed
        await press(pilot, "enter")
        assert numbers(app) == left
        assert f"{len(left)} of 2 connections" in words(app, "head")
        await press(pilot, "escape")
        assert numbers(app) == ["1", "9"]

    on_screen(catalog, steps)


def test_what_makes_no_sense_is_said_below_the_table(catalog):
    async def steps(app, pilot):
        await pilot.press("slash")
        app.screen.query_one("#ask").value = "nothing = 1"
        await press(pilot, "enter")
        assert "nothing" in words(app, "note")
        assert numbers(app) == ["1", "9"]

    on_screen(catalog, steps)


@pytest.mark.parametrize(
    ("key", "wrong", "right"),
    [("slash", "server_prt = 80", "client_port = 40001"), ("b", "prt 40001", "port 40001"), ("m", "regex (", "hay")],
)
def test_what_makes_no_sense_stays_there_to_be_mended(catalog, key, wrong, right):
    async def steps(app, pilot):
        await pilot.press(key)
        box = app.screen.query_one("#ask")
        box.value = wrong
        await press(pilot, "enter")
        assert (box.value, box.has_class("is-open"), box.has_focus) == (wrong, True, True)
        assert words(app, "note")
        box.value = right
        await press(pilot, "enter")
        assert numbers(app) == ["9"]
        assert not box.has_class("is-open")
        assert not app.screen.query_one("#note").display

    on_screen(catalog, steps)


def test_a_search_says_how_much_was_not_captured(tmp_path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap_bytes(talk(40_000, [(">", b"x" * 100)], snaplen=54 + 60)))
    analysis = tcpsight.open(path)

    async def steps(app, pilot):
        assert words(app, "note") == ""
        await pilot.press("m")
        app.screen.query_one("#ask").value = "needle"
        await press(pilot, "enter")
        assert "40 bytes of payload were not captured" in words(app, "note")
        await press(pilot, "escape")
        assert words(app, "note") == ""

    with analysis.streams() as streams:
        on_screen(Catalog(analysis, streams), steps)


def test_enter_leads_to_ladder_dialogue_requests_and_picture_and_escape_back(catalog):
    async def steps(app, pilot):
        await press(pilot, "down", "enter")
        assert isinstance(app.screen, TalkScreen)
        assert texts(app, "ladder")[1].split()[:4] == ["0.000000", "9", ">", "0"]
        assert any("retransmission" in line for line in texts(app, "ladder"))
        await press(pilot, "a")
        assert texts(app, "ladder")[1].split()[3] == "1000"
        await press(pilot, "2")
        assert "<   needle in a haystack" in texts(app, "dialogue")
        await press(pilot, "x")
        assert any("|needle in a hay" in line for line in texts(app, "dialogue"))
        await press(pilot, "x")
        assert "needle in a haystack" in texts(app, "dialogue")
        await press(pilot, "4")
        assert app.screen.query_one(SequencePlot).direction == 1
        await press(pilot, "d")
        assert "what the client sent" in words(app, "sides")
        await press(pilot, "escape")
        assert numbers(app) == ["1", "9"]

    on_screen(catalog, steps)


def test_a_request_leads_to_its_bytes(catalog):
    async def steps(app, pilot):
        await pilot.resize_terminal(110, 8)
        await press(pilot, "down", "enter", "3", "down", "enter")
        assert app.screen.query_one(ContentSwitcher).current == "dialogue"
        lines = app.screen.query_one("#dialogue", Lines)
        at = next(i for i, text in enumerate(lines.texts) if "more?" in text)
        assert lines.texts[at - 1].startswith("> 1.50")
        assert int(lines.scroll_y) == min(at - 1, lines.max_scroll_y) > 0

    on_screen(catalog, steps)


def test_words_are_found_in_the_dialogue_and_n_finds_the_next(catalog):
    async def steps(app, pilot):
        await press(pilot, "down", "enter", "2", "slash")
        app.screen.query_one("#ask").value = "HAYSTACK"
        await press(pilot, "enter")
        assert words(app, "note") == ""
        await press(pilot, "slash")
        app.screen.query_one("#ask").value = "nowhere"
        await press(pilot, "enter", "n")
        assert "no line has 'nowhere'" in words(app, "note")

    on_screen(catalog, steps)


def test_nothing_of_a_capture_is_markup_or_obeyed(catalog):
    async def steps(app, pilot):
        await press(pilot, "down", "enter")
        for keys in (("1",), ("2",), ("x",), ("x",), ("3",), ("4",)):
            await press(pilot, *keys)
            picture_of_it = app.export_screenshot()
            assert "\x1b" not in picture_of_it
            assert "\x9b" not in picture_of_it
            assert not any(ord(letter) < 32 for line in texts(app, "dialogue") for letter in line)
        assert any("\\x1b]0;owned\\x07" in line and "[red]x[/nothing]" in line for line in texts(app, "dialogue"))

    on_screen(catalog, steps, source="[red]a\x1b[2Jb.pcap")


def test_a_question_mark_tells_the_keys_and_q_ends_it(catalog):
    async def steps(app, pilot):
        await press(pilot, "question_mark")
        assert isinstance(app.screen, KeysScreen)
        await press(pilot, "question_mark", "q")
        assert app.return_code == 0

    on_screen(catalog, steps)


def test_the_picture_marks_what_was_sent_again():
    segments = LadderSegments.allocate(3)
    segments.rows["direction"] = 1
    segments.rows["time_ns"] = [0, 50, 100]
    segments.rows["offset"] = [0, 100, 0]
    segments.rows["payload_bytes"] = 100
    segments.rows["kind"] = [0, 0, KINDS.index("retransmission")]
    segments.rows["acked_offset"] = np.iinfo(np.int64).min
    text = picture(segments, 1, 20, 5)
    lines = text.plain.split("\n")
    assert len(lines) == 5
    assert [lines[row][0] != " " for row in range(4)] == [False, False, True, True]  # the first half, below
    assert lines[0][9] != " "  # the second half, above, in the middle of the time
    assert any(span.style == "bold red" for span in text.spans)
    assert "×" in "".join(lines[:4])  # who sees no red sees the sign
    assert "× sent again or late  ⠿ sent  · acknowledged" in lines[4]
    assert picture(segments, 0, 20, 5).plain == "no bytes of this side were seen"
    assert picture(segments, 1, 0, 0).plain


def test_the_picture_has_axes_with_units_where_there_is_room():
    segments = LadderSegments.allocate(2)
    segments.rows["direction"] = 1
    segments.rows["time_ns"] = [5_000, 2_000_005_000]
    segments.rows["offset"] = [0, 3_000]
    segments.rows["payload_bytes"] = 1_096
    segments.rows["acked_offset"] = np.iinfo(np.int64).min
    lines = picture(segments, 1, 61, 13).plain.split("\n")
    assert len(lines) == 13
    assert max(map(len, lines[:-1])) <= 61
    assert [line[:11].strip() for line in lines[:10] if "┤" in line] == [
        "4.00 KiB ┤", "3.00 KiB ┤", "2.00 KiB ┤", "1.00 KiB ┤", "0 B ┤"
    ]  # fmt: skip
    assert lines[10].count("┬") == 5
    assert " ".join(lines[11].split()) == "0 ns 500 ms 1.00 s 1.50 s 2.00 s"
    assert lines[9][11] != " "  # the first bytes, at the left, below
    assert lines[0][60] != " "  # the last ones, at the right, above


def test_what_is_sorted_is_shown_from_its_first_row(catalog):
    async def steps(app, pilot):
        table = app.screen.query_one(SortedTable)
        await press(pilot, "end")
        assert table.cursor_row == 1
        await press(pilot, "s", "s")
        assert (table.cursor_row, table.scroll_y) == (0, 0)
        await press(pilot, "end", "r")
        assert table.cursor_row == 0
        await press(pilot, "end", "home")
        assert table.cursor_row == 0

    on_screen(catalog, steps)


def test_the_slowest_request_is_what_is_seen_after_sorting_by_response_time(tmp_path):
    said = [("><"[i % 2], b"x" * 9) for i in range(400)]
    frames = [f._replace(time_ns=f.time_ns + (70 * MS if i > 301 else 0)) for i, f in enumerate(talk(40_000, said))]
    (tmp_path / "many.pcap").write_bytes(pcap_bytes(frames))
    analysis = tcpsight.open(tmp_path / "many.pcap")

    async def steps(app, pilot):
        await press(pilot, "enter", "3", "end")
        table = app.screen.query_one(SortedTable)
        assert table.cursor_row == 199
        await press(pilot, "s", "s", "s")
        assert (table.cursor_row, table.scroll_y) == (0, 0)
        times = [row.response_time_ns for row in table._shown]
        assert times == sorted(times, reverse=True)
        assert times[0] == 71 * MS

    with analysis.streams() as streams:
        on_screen(Catalog(analysis, streams), steps)


@pytest.mark.parametrize(
    ("key", "typed", "made"),
    [
        ("slash", "server_po", "server_port "),
        ("slash", "(dur", "(duration "),
        ("slash", "state = half", "state = half_closed "),
        ("slash", "client_port = 1 and server_p", "client_port = 1 and server_port "),
        ("slash", "server_", "server_"),  # more than one: they are told
        ("slash", "nothing_like_it", "nothing_like_it"),
        ("slash", "limi", "limi"),  # no account of time is made here
        ("m", "re", "regex "),
        ("b", "por", "por"),
    ],
)
def test_tab_completes_what_is_typed_or_does_nothing(catalog, key, typed, made):
    async def steps(app, pilot):
        await pilot.press(key)
        box = app.screen.query_one("#ask")
        box.value = typed
        box.cursor_position = len(typed)
        await press(pilot, "tab")
        assert box.value == made
        await press(pilot, "shift+tab")
        assert app.focused is box
        assert ("server_address" in words(app, "note")) == (typed == "server_")
        await press(pilot, "q")  # is typed, and ends nothing
        assert box.value == f"{made}q"

    on_screen(catalog, steps)


def test_tab_does_nothing_where_words_are_looked_for(catalog):
    async def steps(app, pilot):
        await press(pilot, "enter", "2", "slash", "h", "tab", "q")
        assert app.screen.query_one("#ask").value == "hq"

    on_screen(catalog, steps)


def test_reading_tells_how_far_it_has_come(catalog, monkeypatch):
    monkeypatch.setattr("tcpsight.ui.streams_lists.TELL_S", -1)
    shares: list[float] = []
    catalog.progress = shares.append
    catalog.choose_frames("tcp")
    list(catalog.segments(1))
    catalog.match(pattern_from("needle"))
    catalog.match(pattern_from("regex needle"))
    assert shares
    assert all(0 <= share <= 1 for share in shares)
    assert max(shares) == 1
    seen: list[str] = []

    async def steps(app, pilot):
        tell = app.screen.tell

        def telling(words: str = "") -> None:
            seen.append(words)
            tell(words)

        monkeypatch.setattr(app.screen, "tell", telling)
        await pilot.press("b")
        app.screen.query_one("#ask").value = "tcp"
        await press(pilot, "enter")

    on_screen(catalog, steps)
    assert any(each.startswith("reading … ") and each.endswith("%") for each in seen)


# ------------------------------------------------------------------------------------------------------ as it looks


@pytest.mark.parametrize(
    "keys", [(), ("down", "enter"), ("down", "enter", "2"), ("down", "enter", "4"), ("question_mark",)]
)
def test_screens_look_as_they_should(snap_compare, catalog, keys):
    async def before(pilot):
        await press(pilot, *keys)

    assert snap_compare(StreamsScreen(catalog, "said.pcap"), terminal_size=SIZE, run_before=before)


@pytest.mark.parametrize("form", ["hex", "requests"])
def test_parts_look_as_they_should(snap_compare, catalog, form):
    async def before(pilot):
        await press(pilot, "down", "enter", *({"hex": ("2", "x"), "requests": ("3",)}[form]))

    assert snap_compare(StreamsScreen(catalog, "said.pcap"), terminal_size=SIZE, run_before=before)
