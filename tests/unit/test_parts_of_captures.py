"""A report of a part of the time is of that part; what cannot be cut says so."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from typing import Any

import pytest

import tcpsight
from tcpsight.facts import facts
from tcpsight.output.report import page
from tcpsight.reporting import ReportCollection
from tcpsight.tables import FINDINGS, Findings
from tests.support import traffic
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered

SECOND = 1000 * MS
STALL_MS = 2000


def talks() -> list[Talk]:
    """Give eight connections that are answered in 5 to 10 ms, but for one stall of 2 s."""
    waits = [5 + i * 37 % 101 / 20 for i in range(300)]
    waits[150] = STALL_MS
    return [Talk(answered(*waits), client_port=40_000 + i) for i in range(8)]


def written(frames: list[Frame]) -> bytes:
    ordered: list[Frame] = sorted(frames, key=lambda frame: frame.time_ns)
    return pcap_bytes(ordered, nanoseconds=True)


def stalled() -> tuple[bytes, int, int]:
    """Write these connections; tell when the stall begins and ends."""
    frames = traffic.capture(talks())
    silences = [(b.time_ns - a.time_ns, a.time_ns, b.time_ns) for a, b in pairwise(frames)]
    _, begin_ns, end_ns = max(silences)
    return written(frames), begin_ns, end_ns


def findings(capture: bytes, **part: Any) -> list[tuple[str, int, int]]:
    rows = tcpsight.open(io.BytesIO(capture), **part).findings.to_numpy()
    return [(FINDINGS[row["kind"]], int(row["start_ns"]), int(row["end_ns"])) for row in rows]


def told(capture: bytes, **part: Any) -> dict[str, Any]:
    analysis = tcpsight.open(io.BytesIO(capture), **part)
    with analysis.run(Findings) as run:
        collection = ReportCollection(10, analysis.options.selection)
        for batch in run:
            collection.feed(batch)
        found = facts(collection.report(run), (0.5, 0.99))
    json.dumps(found, allow_nan=False)
    return found


@pytest.mark.parametrize(
    ("after_begin_ms", "before_end_ms"),
    [(500, 500), (-100, 1000), (1000, -100), (1999, 0), (-300, -300)],
    ids=["inside it", "its beginning", "its end", "its last millisecond", "all of it"],
)
def test_a_part_that_meets_a_stall_tells_it_as_the_whole_does(after_begin_ms, before_end_ms):
    capture, begin_ns, end_ns = stalled()
    whole = findings(capture)
    assert [kind for kind, _, _ in whole] == ["stall"]
    part = {"since_ns": begin_ns + after_begin_ms * MS, "until_ns": end_ns - before_end_ms * MS}
    assert findings(capture, **part) == whole
    report = told(capture, **part)
    assert [(each["kind"], each["start_ns"], each["end_ns"]) for each in report["findings"]] == whole
    assert report["findings"][0]["evidence"]["is_over"]
    assert report["findings"][0]["evidence"]["requests_fraction"] <= 1
    if not report["services"][0]["requests"]:
        text = " ".join(page(report).split())
        assert "none arrived in the time asked for: who waited came before" in text
        assert "8 requests at a time on average" in text


def test_who_arrives_in_a_part_and_is_never_answered_is_told_beside_who_waits_since_before():
    usual = [Talk(answered(*[5] * 50), client_port=41_000 + i) for i in range(3)]
    old = Talk([*answered(*[5] * 50), Exchange(10 * MS, 20 * SECOND)], client_port=42_000)
    new = [Talk([Exchange(9 * SECOND, None)], client_port=43_000 + i, is_closed=False) for i in range(4)]
    capture = written(traffic.capture([*usual, old, *new]))
    since_ns = START_NS + 5 * SECOND
    part = told(capture, since_ns=since_ns, until_ns=since_ns + 10 * SECOND)
    (service,) = part["services"]
    assert (service["requests"], service["unanswered"] + service["in_flight_at_end"]) == (0, 4)
    assert not service["is_waited_through"]
    assert "none arrived" not in page(part)
    quiet = told(capture, since_ns=since_ns, until_ns=since_ns + SECOND)
    assert quiet["services"][0]["is_waited_through"]
    assert "none arrived in the time asked for" in page(quiet)


def multiplexed() -> list[Frame]:
    """Write clients of whom each fifth request is sent while an answer goes on; once all wait for 2 s."""
    frames: list[Frame] = []
    for k in range(8):
        port, time_ns = 40_000 + k, START_NS + k * 777_777
        both: list[tuple[str, str, int, int]] = [
            ("10.0.0.1", "10.0.0.9", port, 443),
            ("10.0.0.9", "10.0.0.1", 443, port),
        ]
        said = [100, 1000]

        def add(side: int, size: int, at_ns: int, unheard: int = 0, *, both: Any = both, said: Any = said) -> None:
            source, destination, *ports = both[side]
            place = (said[side], said[1 - side] - unheard)
            data = tcp_frame(source, destination, ports[0], ports[1], *place, "PA" if size else "A", bytes(size))
            frames.append(Frame(at_ns, data))
            said[side] += size

        frames.append(Frame(time_ns, tcp_frame("10.0.0.1", "10.0.0.9", port, 443, 99, 0, "S")))
        frames.append(Frame(time_ns + MS, tcp_frame("10.0.0.9", "10.0.0.1", 443, port, 999, 100, "SA")))
        add(0, 0, time_ns + 2 * MS)
        for i in range(400):
            time_ns += (5 + (i * 37 + k * 13) % 100 // 10) * MS
            wait_ns = (4 + (i * 53 + k * 7) % 40 / 10) * MS
            wait_ns += 2000 * MS if time_ns < START_NS + 4 * SECOND <= time_ns + wait_ns + 20 * MS else 0
            add(0, 50, time_ns)
            time_ns += round(wait_ns)
            add(1, 1400, time_ns)
            if i % 5 == 0 and not START_NS + 3 * SECOND < time_ns < START_NS + 7 * SECOND:
                add(0, 50, time_ns + MS)
                add(1, 1400, time_ns + 2 * MS, unheard=50)
                add(1, 900, time_ns + 5 * MS)
                time_ns += 8 * MS
    return frames


def test_whether_sides_take_turns_is_told_by_all_requests_in_a_part_too():
    capture = written(multiplexed())
    assert [kind for kind, _, _ in findings(capture)] == ["no_turns"]
    part = {"since_ns": START_NS + 3500 * MS, "until_ns": START_NS + 6500 * MS}
    assert [kind for kind, _, _ in findings(capture, **part)] == ["no_turns"]
    (service,) = told(capture, **part)["services"]
    assert service["turns"]["hold"] is False
    assert service["turns"]["overlapped"] < 3


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_part_beside_a_stall_tells_of_none(side):
    capture, begin_ns, end_ns = stalled()
    part = {"until_ns": begin_ns - 50 * MS} if side == "before" else {"since_ns": end_ns + 50 * MS}
    assert findings(capture, **part) == []
    assert told(capture, **part)["findings"] == []


def test_counts_vary_as_they_do_in_the_part():
    capture, begin_ns, _ = stalled()
    early = written([each for each in traffic.capture(talks()) if each.time_ns < begin_ns - 50 * MS])
    part, alone = told(capture, until_ns=begin_ns - 50 * MS), told(early)
    longest = [report["services"][0]["count_dispersion"][-1]["length_ns"] for report in (part, alone)]
    assert longest[0] == longest[1]


def test_set_up_is_of_connections_that_began_in_the_part_and_the_rest_says_that_it_is_of_whole_lives():
    long = [Talk(answered(*[5] * 200), client_port=40_000 + i) for i in range(5)]
    late = [Talk(answered(5), client_port=41_000 + i, start_ns=START_NS + SECOND + i) for i in range(3)]
    capture = pcap_bytes(traffic.capture([*long, *late]), nanoseconds=True)
    report = told(capture, since_ns=START_NS + SECOND)
    connections = report["services"][0]["connections"]
    assert (connections["count"], connections["connect"]["count"], connections["reaching_beyond"]) == (8, 3, 5)
    assert "5 reach beyond the time asked for: how they ended" in " ".join(page(report).split())
    whole = told(capture)["services"][0]["connections"]
    assert (whole["connect"]["count"], whole["reaching_beyond"]) == (8, 0)
    everything = told(capture, since_ns=0, until_ns=2**62)["services"][0]["connections"]
    assert everything == whole


def test_conditions_of_connections_are_told_of_the_part_in_which_they_were():
    frames = traffic.capture([Talk(answered(5), client_port=40_000)])
    late_ns = START_NS + 20 * SECOND
    frames += traffic.capture([Talk(answered(5), client_port=40_001, start_ns=late_ns)])
    syn = frames[0]
    again = [Frame(late_ns - 15 * SECOND + i * SECOND, _with_port(syn.data)) for i in range(3)]
    capture = written([*frames, *again])
    assert [kind for kind, _, _ in findings(capture)] == ["unanswered"]
    assert findings(capture, since_ns=late_ns - SECOND) == []


def _with_port(frame: bytes) -> bytes:
    """Give a SYN another client port: bytes 34 and 35 of an Ethernet frame."""
    return frame[:34] + (50_000).to_bytes(2, "big") + frame[36:]
