"""The page: what a reader sees, kept as text in ``pages/`` and read here for what must be on it.

``python -m tests.unit.output.test_report`` writes the pages anew; look at the difference before committing it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from tcpsight.output.drawing import Screen, beside, columns
from tcpsight.output.findings import finding_lines
from tcpsight.output.json_lines import json_text
from tcpsight.output.report import STATE_TEXTS, page
from tcpsight.output.times import vantage_pieces
from tests.support.pcap import Frame, pcap_bytes
from tests.support.reports import facts_of, report_facts
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered, capture, udp_frame

PAGES = Path(__file__).parent / "pages"
COLOR = re.compile(r"\x1b\[[\d;]*m")

BUSY = [
    *(
        Talk(
            answered(*[(i * 7 + j * 3) % 11 + 1 for j in range(20)], after_ms=20),
            client=f"10.0.0.{1 + i % 7}",
            client_port=40_000 + i,
            start_ns=START_NS + i * 37 * MS,
        )
        for i in range(14)
    ),
    Talk(answered(2500), client="10.0.0.3", client_port=50_000, start_ns=START_NS + 300 * MS),
]
HUNG = [Talk([Exchange(MS, None)], client_port=40_000 + i, is_closed=False) for i in range(8)]
HUNG += [Talk(answered(1), server_port=81, client_port=41_000, start_ns=START_NS + 5 * 10**9)]
SIX = [Talk(answered(3, 200), client="2001:db8::1", server="2001:db8::9", server_port=5432)]
LONG = "2001:db8:1111:2222:3333:4444:5555:"
WIDE = [
    Talk(
        answered(*[i + 1] * 5, 100_000 * (i + 1)),
        client=f"{LONG}{6666 + i}",
        server=f"{LONG}9999",
        server_port=50_000 + i % 2,
        client_port=60_000 + i,
    )
    for i in range(4)
]
SILENT = [Talk([], client_port=40_000 + i) for i in range(3)]
TEXT = "".join(
    f"2024-05-01 12:00:0{i}.{part} tcp {size}\n"
    for i in range(5)
    for part, size in (
        ("000000 IP 10.0.0.1.40000 > 10.0.0.9.3306:", 20),
        ("250000 IP 10.0.0.9.3306 > 10.0.0.1.40000:", 100),
    )
)

CASES = {
    "busy": lambda: report_facts(BUSY, more=[udp_frame(START_NS + 3 * 10**9)]),
    "hung": lambda: report_facts(HUNG),
    "no-requests": lambda: report_facts(SILENT),
    "many-services": lambda: report_facts(
        [Talk(answered(*[i + 1] * (9 - i)), server_port=80 + i) for i in range(9)], top=3
    ),
    "broken": lambda: report_facts(SIX, cut=9),
    "text": lambda: facts_of(TEXT.encode()),
    "wide": lambda: report_facts(WIDE),
    "only-udp": lambda: report_facts([], more=[udp_frame()]),
}
SCREENS = {
    "60": Screen(width=60),
    "80": Screen(width=80),
    "100": Screen(width=100),
    "150": Screen(width=150),
    "80-ascii": Screen(width=80, has_unicode=False),
    "150-color": Screen(width=150, has_color=True),
}
GOLDEN = [(case, screen) for case in CASES for screen in SCREENS if case == "busy" or screen == "80"]


def drawn(case: str, screen: str = "100") -> str:
    return page(CASES[case](), None, SCREENS[screen])


@pytest.mark.parametrize(("case", "screen"), GOLDEN)
def test_pages_are_as_they_were_looked_at(case, screen):
    assert drawn(case, screen) == (PAGES / f"{case}-{screen}.txt").read_text("utf-8")


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_lines_fit_the_screen_but_for_capture_filters(case, width):
    lines = page(CASES[case](), None, Screen(width=width)).splitlines()
    assert not [line for line in lines if len(line) > width and "tcp and host" not in line]
    assert not [line for line in lines if line != line.rstrip()]


@pytest.mark.parametrize("case", CASES)
def test_colour_adds_nothing_but_colour(case):
    facts = CASES[case]()
    assert COLOR.sub("", page(facts, None, Screen(has_color=True))) == page(facts, None, Screen())
    assert "\x1b" not in page(facts, None, Screen())


@pytest.mark.parametrize("case", CASES)
def test_ascii_is_ascii(case):
    assert page(CASES[case](), None, Screen(has_unicode=False)).isascii()


def test_the_page_has_what_a_reader_looks_for():
    text = drawn("busy")
    for words in (
        "281 answered", "p50 ", "p99 ", "requests by response time", "throughput ", "concurrency ", "utilization ",
        "set-up time", "15 closed", "clients, by the time they waited", "slowest requests", "2.50 s",
        "tcp and host 10.0.0.3 and host 10.0.0.9 and port 50000 and port 3306",
        "1  IP packet that is not TCP (46 B), first at frame 653",
    ):  # fmt: skip
        assert words in text, words


def test_a_capture_filter_is_never_broken():
    for width in (80, 100, 150, 200):
        text = page(CASES["busy"](), None, Screen(width=width))
        for row in CASES["busy"]()["services"][0]["slowest_requests"][:5]:
            assert row["filter"] in text


@pytest.mark.parametrize("width", [60, 80, 100, 160])
def test_of_every_slow_request_connection_and_index_are_told(width):
    told = CASES["busy"]()
    lines = page(told, None, Screen(width=width)).splitlines()
    for row in told["services"][0]["slowest_requests"][:5]:
        numbers = re.compile(rf" {row['connection_id']} +{row['request_index']}(  tcp and .*)?$")
        assert [line for line in lines if numbers.search(line)]
    first = told["services"][0]["slowest_requests"][0]
    assert f"    tcpsight follow talks.pcap {first['connection_id']} --request {first['request_index']}" in lines


@pytest.mark.parametrize(
    ("path", "shown"),
    [("a b.pcap", "'a b.pcap'"), ("-", None), ("-x.pcap", None), ("a\x1b[2J.pcap", None), ("$(x).pcap", "'$(x).pcap'")],
)
def test_a_command_is_shown_only_with_a_name_that_a_shell_takes_as_it_is(path, shown):
    told = CASES["text"]()
    told["capture"]["files"][0]["path"] = path
    commands = [line.strip() for line in page(told).splitlines() if "tcpsight follow" in line]
    assert [line.partition(" 1 --request ")[0] for line in commands] == ([f"tcpsight follow {shown}"] if shown else [])


def test_no_command_is_shown_that_would_number_requests_otherwise():
    told = CASES["busy"]()
    told["capture"]["selection"]["servers"] = [":3306"]
    assert "tcpsight follow" not in page(told)
    told = CASES["busy"]()
    told["capture"]["files"] *= 2
    assert "tcpsight follow" not in page(told)


@pytest.mark.parametrize(
    ("kinds", "subjects", "second", "is_told"),
    [
        (("stall", "pile_up"), ("a:1", "b:1"), (5, 15), True),
        (("stall", "stall"), ("a:1", "a:1"), (5, 15), False),
        (("stall", "stall"), ("a:1", "b:1"), (10, 15), False),
        (("stall", "refused"), ("a:1", "b:1"), (5, 15), False),
    ],
)
def test_where_services_stand_still_at_once_the_reader_is_told_where_to_begin(kinds, subjects, second, is_told):
    found = [
        {"kind": kind, "severity": "warning", "subject": subject, "start_ns": start, "end_ns": end, "summary": "x",
         "evidence": {}}
        for kind, subject, (start, end) in zip(kinds, subjects, ((0, 10), second), strict=True)
    ]  # fmt: skip
    for each in (found, found[::-1]):
        text = " ".join("\n".join(finding_lines(each, Screen(width=60))).split())
        assert ("begin with the one that has no other behind it (tcpsight help stall)" in text) is is_told


def test_addresses_that_leave_no_room_have_a_line_of_their_own():
    lines = page(CASES["wide"](), None, Screen(width=80)).splitlines()
    overview = lines.index("service")
    assert lines[overview + 1].split() == ["requests", "p50", "p99", "max", "unanswered", "connections", "failed"]
    assert lines[overview + 2] == f"[{LONG}9999]:50000"
    clients = lines.index("  client")
    assert lines[clients + 1].split() == ["requests", "share", "mean", "max", "unanswered", "connections"]
    assert lines[clients + 2].strip().startswith(LONG)


def test_on_a_narrow_screen_no_peak_is_lost():
    facts = CASES["busy"]()
    text = page(facts, None, Screen(width=60))
    assert "over time, a column is the peak of 2 × 60 ms" in text
    assert "max 533/s" in text
    assert "█" in next(line for line in text.splitlines() if "p99  " in line and "max 2.50 s" in line)


def test_instants_with_an_offset_leave_room_for_what_matters():
    zone = ZoneInfo("Asia/Kathmandu")
    for case, heading in (
        ("busy", ["took", "arrived", "connection", "index"]),
        ("wide", ["took", "connection", "index"]),
    ):
        lines = page(CASES[case](), zone, Screen(width=60)).splitlines()  # in the second case some took minutes
        assert not [line for line in lines if len(line) > 60 and "tcp and host" not in line]
        assert heading in [line.split() for line in lines]


def test_empty_steps_between_others_are_one_row():
    lines = drawn("busy").splitlines()
    rows = [line for line in lines if "–" in line or line.strip().startswith("…")]
    assert sum("…" in row for row in rows) == 1
    assert not any(re.search(r" 0$", row) for row in rows)


def test_a_hung_server_shows_without_any_response():
    text = drawn("hung")
    hung = text[text.index("Service 10.0.0.9:3306") : text.index("Service 10.0.0.9:81")]
    assert "0 answered, 8 never answered" in hung
    assert "waiting for an answer that never came" in hung
    assert "max 8" in hung
    assert "requests never answered" in hung
    assert "requests by response time" not in hung


def test_connections_without_requests_are_told():
    text = drawn("no-requests")
    assert "0 answered" in text
    assert "3 closed" in text


def test_several_services_begin_with_an_overview():
    text = drawn("many-services")
    overview = text[text.index("service ") : text.index("Service ")]
    assert overview.count("10.0.0.9:") == 3
    assert "6 smaller services are not shown (--top N): 21 requests, 0 never answered" in text


def test_text_without_sequence_numbers_is_said_on_the_page():
    assert "no sequence numbers: what was lost or sent again is unknown" in drawn("text")


def test_of_text_without_flags_nothing_is_said_about_the_ends_of_connections():
    text = drawn("text")
    assert "1 whose beginning and end are not in the text" in text
    for words in (*STATE_TEXTS.values(), "began before the capture"):
        assert words not in text
    facts = CASES["no-requests"]()
    facts["services"][0]["connections"] |= {"count": 5, "stateless": 2}
    assert "5 in all, 3 closed, 2 whose beginning and end are not in the text" in page(facts)


def test_a_capture_of_one_direction_is_said_on_the_page():
    frames = [f for f in Talk(answered(1, 2, 3)).frames() if f.data[26:30] == bytes([10, 0, 0, 1])]
    assert "nothing that the server sent was captured" in page(facts_of(pcap_bytes(frames)))
    frames = [f for f in Talk(answered(1, 2, 3)).frames() if f.data[26:30] == bytes([10, 0, 0, 9])]
    assert "nothing that the client sent was captured" in page(facts_of(pcap_bytes(frames)))


def test_gaps_and_retransmissions_are_said_on_the_page():
    frames = Talk(answered(1, 2, 3)).frames()
    again = [*frames[:5], Frame(frames[4].time_ns + 5 * MS, frames[4].data), *frames[5:]]
    assert "1 segment sent again" in page(facts_of(pcap_bytes(again)))
    lost = [*frames[:6], *frames[7:]]
    assert "100 B that the server sent were not captured" in page(facts_of(pcap_bytes(lost)))


def test_a_broken_capture_says_so_at_the_top():
    assert drawn("broken").splitlines()[2].startswith("The capture breaks off: talks.pcap: ")


def test_nothing_to_show_is_said():
    assert "There is no TCP segment in it." in drawn("only-udp")
    assert "that matches the filter in it" in page(report_facts(SIX, frame_filter="udp"))


def test_link_types_that_are_not_decoded_are_named():
    frames = [(START_NS, bytes(60))] * 2
    text = " ".join(page(facts_of(pcap_bytes(frames, link_type=147))).split())
    assert "2 frames of a link type that tcpsight does not decode: 147 (private use, USER0) (120 B)" in text
    assert "first at frame 1; only its maker knows" in text
    assert "decode: 65000 (60 B)" in page(facts_of(pcap_bytes(frames[:1], link_type=65_000)))


@pytest.mark.parametrize(
    ("many", "one"),
    [
        ("frames that are not IP (ARP)", "frame that is not IP (ARP)"),
        ("IP packets that are not TCP", "IP packet that is not TCP"),
        ("lines of tcpdump text that were not understood", "line of tcpdump text that was not understood"),
        ("RSTs outside the receive window; ignored", "RST outside the receive window; ignored"),
        ("frames stamped earlier than the frame before them", "frame stamped earlier than the frame before it"),
        ("holes in streams: bytes never captured", "hole in a stream: bytes never captured"),
        ("holes beyond the 1,024 that are kept", "hole beyond the 1,024 that are kept"),
    ],
)
def test_one_is_told_of_as_one(many, one):
    facts = CASES["only-udp"]()
    for count, meaning in ((1, one), (5, many)):
        row = {"reason": "not_ip", "count": count, "bytes": 0, "first_frame": None, "furthest_back_ns": None}
        facts["unseen"] = [row | {"meaning": many}]
        assert f"  {count}  {meaning}\n" in page(facts)


def test_instants_are_in_the_zone_of_the_reader():
    assert "2023-11-14T22:13:20.000000Z" in page(CASES["broken"]())
    assert "2023-11-14T23:13:20.000000+01:00" in page(CASES["broken"](), ZoneInfo("Europe/Berlin"))


def test_names_of_files_cannot_command_the_terminal():
    facts = report_facts(SIX)
    facts["capture"]["files"][0]["path"] = "\x1b]0;owned\x07\u202eevil\udcff\x9b31m.pcap"
    for text in (page(facts), json_text(facts)):
        assert not set("\x1b\x07\u202e\x9b\udcff") & set(text)
        text.encode()
    assert json.loads(json_text(facts)) == facts


def test_columns_line_up_whatever_is_in_them():
    assert columns([["a", "bb"], ["ccc", "d"]], "lr") == ["a    bb", "ccc   d"]
    assert beside(["a", "bbb"], ["x"], 2) == ["a    x", "bbb"]


def test_bars_show_what_occurred_at_all():
    screen = Screen()
    assert screen.bar(0, 1000, 24) == ""
    assert screen.bar(1, 1000, 24) == "▏"
    assert screen.bar(1000, 1000, 24) == "█" * 24
    assert screen.sparkline([0, 0.001, 8, 4]) == " ▁█▄"
    assert screen.sparkline([0, 0]) == "  "
    assert screen.sparkline([None, 8, None]) == "·█·"
    assert screen.sparkline([None]) == "·"
    assert Screen(has_unicode=False).sparkline([None, 0, 8]) == "_ @"
    assert Screen(has_unicode=False).bar(1, 1000, 24) == "#"


def test_a_rate_over_the_stump_of_a_slice_is_marked_and_makes_no_speck_of_the_others():
    facts = CASES["busy"]()
    (service,) = facts["services"]
    last = service["series"][-1]
    last |= {"is_cut_short": True, "throughput_per_s": 1e9}
    text = page(facts)
    assert "over time, a column is 60 ms, · cut short" in text
    assert re.search(r"throughput .*█.*· max 533/s\n", text)
    last["is_cut_short"] = False
    assert "cut short" not in page(facts)


@pytest.mark.parametrize(
    ("vantages", "told"),
    [
        ({"server": 3}, ["at the server: response times are its own"]),
        ({"unknown": 3}, []),
        (
            {"client": 1, "server": 20, "unknown": 2},
            [
                "20 connections at the server: response times are its own",
                "1 connection at the client: response times include the path to the server",
                "of 2 it is unknown",
            ],
        ),
    ],
    ids=["one place", "unknown", "several"],
)
def test_where_it_was_captured_is_told_with_what_that_is_for_times(vantages, told):
    assert [str(piece.text) for piece in vantage_pieces(vantages)] == told


def test_facts_count_connections_by_where_they_were_captured():
    connections = CASES["busy"]()["services"][0]["connections"]
    assert connections["vantages"] == {"between": connections["count"]}


if __name__ == "__main__":
    for case, screen in GOLDEN:
        (PAGES / f"{case}-{screen}.txt").write_text(drawn(case, screen), "utf-8")
    assert capture(BUSY)
