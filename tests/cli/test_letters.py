"""Where the locale has no letters beyond ASCII none are written; in narrow windows nothing is cut without a sign."""

from __future__ import annotations

import re
import sys
from datetime import UTC
from pathlib import Path

import pytest

from tcpsight.cli.pages import screen_of
from tcpsight.output.live_lines import USUAL, LiveLines, usual_that_fit
from tcpsight.tables import Intervals
from tests.cli.running import environment, process

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LOCK = str(EXAMPLES / "mariadb-lock.pcap")
SAID = str(EXAMPLES / "streams" / "redis-slow.pcap")
COMMANDS = {
    "first run": (),
    "help": ("--help",),
    "help of report": ("report", "--help"),
    "help of ipc": ("ipc", "--help"),
    "topic": ("help", "times"),
    "report": ("report", LOCK),
    "findings": ("findings", LOCK),
    "table": ("connections", LOCK),
    "usl": ("usl", LOCK),
    "watch": ("watch", LOCK),
    "ladder": ("segments", LOCK, "--connection", "5648", "--graph", "text"),
    "streams": ("streams", SAID, "-c", "list; stats; follow 326; show 326; requests 326; help"),
    "error": ("report", "caf\u00e9.pcap"),
}
NARROW = [
    {"LC_ALL": "C"},
    {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C.UTF-8", "PYTHONIOENCODING": "latin-1"},
    {"LC_ALL": "POSIX", "LANG": "C.UTF-8"},
]
NAMES = ("LC_ALL", "LC_CTYPE", "LANG", "PYTHONIOENCODING", "PYTHONUTF8")


class Nothing:
    """Statistics of no response times."""

    def statistic(self, code: str, percentage: int) -> int:
        return 0


def locale(changes: dict[str, str]) -> dict[str, str]:
    return environment(**(dict.fromkeys(NAMES, "") | changes))


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_a_locale_without_unicode_gets_ascii(arguments):
    done = process(*arguments, env=locale(NARROW[0]))
    assert done.out.isascii()
    assert done.err.isascii()
    assert "Traceback" not in done.err
    assert not re.search(r"\\u|\?\?", done.text), "letters that nobody spells"


@pytest.mark.parametrize("changes", NARROW, ids=str)
def test_so_does_every_way_to_say_that_there_is_none(changes):
    done = process("report", LOCK, env=locale(changes))
    assert done.out.isascii()
    assert " us" in done.text


@pytest.mark.parametrize(
    "changes", [{"LC_ALL": "C.UTF-8"}, {"LC_ALL": "C", "PYTHONUTF8": "1"}, {"LANG": "C"}, {}], ids=str
)
def test_where_nobody_says_so_there_is_unicode(changes):
    assert "µs" in process("report", LOCK, env=locale(changes)).text


@pytest.mark.parametrize("width", range(40, 120, 7))
@pytest.mark.parametrize("with_service", [False, True])
def test_a_line_of_watch_fits_into_the_window_and_what_has_no_room_is_told(width, with_service):
    names, left_out = usual_that_fit(width, with_service=with_service)
    written = LiveLines(names, UTC, 10**9, has_unicode=True, with_service=with_service).lines(
        Intervals.allocate(1), [Nothing()], ["10.1.1.1:3306"]
    )
    assert max(map(len, written.splitlines())) <= max(width, 62 if with_service else 39)
    assert len(names) + len(left_out) == len(USUAL)
    assert {"time", "throughput_per_s", "response_time_p50_ns", "response_time_max_ns"} <= set(names)


@pytest.mark.parametrize(("value", "colours"), [("1", False), ("", True), (None, True)])
def test_no_color_counts_if_it_says_something(monkeypatch, value, colours):
    """See no-color.org: present and not an empty string."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_COLOR", value)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    assert screen_of("-").has_color is colours
