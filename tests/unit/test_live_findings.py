"""What is found while time goes on: told when it is so, told when it is over, and not again and again."""

from __future__ import annotations

import gc
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import tcpsight
from tcpsight.tables import FINDINGS, SEVERITIES
from tcpsight.watching import Slice
from tests.support.pcap import Frame, pcap_bytes
from tests.support.traffic import MS, START_NS, Exchange, Talk

S = 1_000_000_000


def steady(client_port: int, stall_at: int | None = None, stall_ns: int = 0, count: int = 400) -> Talk:
    """A client that asks every 50 ms and gets its answer after 2 ms, but for one that takes as long as it is told."""
    exchanges = [
        Exchange(48 * MS, 2 * MS if i != stall_at else stall_ns, request_bytes=20 + i % 3) for i in range(count)
    ]
    return Talk(exchanges, client_port=client_port, start_ns=START_NS + client_port % 7 * MS)


def refused(client_port: int, second: float) -> list[Frame]:
    """A connection that the server refuses."""
    talk = Talk([], client_port=client_port, server_port=81, start_ns=START_NS + int(second * S))
    syn, answer = talk.frames()[:2]
    data = bytearray(answer.data)
    data[47] = 0x14  # RST and ACK
    return [syn, Frame(answer.time_ns, bytes(data))]


@contextmanager
def watched(frames: list[Frame], **how: Any) -> Iterator[list[Slice]]:
    frames = sorted(frames, key=lambda frame: frame.time_ns)
    source = io.BytesIO(pcap_bytes(frames, nanoseconds=True))
    with tcpsight.open(source).watch(with_findings=True, **how) as (_, slices):
        yield list(slices)


def found(slices: list[Slice], kind: str, also: Callable[[Any], bool] = lambda row: True) -> list[tuple[int, Any]]:
    """Give when findings of a kind were told, in seconds, and the rows."""
    return [
        ((each.end_ns - START_NS) // S, row)
        for each in slices
        for row in each.findings
        if FINDINGS[row["kind"]] == kind and also(row)
    ]


def is_over(row: Any) -> bool:
    return bool(json.loads(row["evidence"])["is_over"])


def test_a_stall_is_told_while_it_lasts_and_once_more_when_it_is_over():
    # Five clients wait for the same thing, from 10 s on, for 5 s.
    talks = [steady(40_000 + i, stall_at=200, stall_ns=5 * S) for i in range(5)]
    frames = [frame for talk in talks for frame in talk.frames()]
    with watched(frames, lateness_ns=0) as slices:
        told = found(slices, "stall")
    assert len(told) == 2, [(when, row["summary"]) for when, row in told]
    (first_s, first), (second_s, second) = told
    assert not is_over(first)
    assert is_over(second)
    assert 11 <= first_s <= 15
    assert second_s <= 21


def test_what_goes_on_is_told_once():
    frames = [frame for i in range(40) for frame in refused(50_000 + i, i * 0.5)]
    with watched([*frames, *steady(40_000).frames()]) as slices:
        told = found(slices, "refused")
    assert len(told) == 1
    assert told[0][0] <= 6


def test_what_goes_on_for_long_is_told_again_after_ten_minutes():
    frames = [frame for i in range(130) for frame in refused(50_000 + i, i * 10.0)]
    with watched(frames, interval_ns=10 * S) as slices:
        told = [when for when, _ in found(slices, "refused")]
    assert len(told) == 3
    assert all(later - earlier >= 600 for earlier, later in pairwise(told))


def test_a_quiet_service_has_no_findings():
    with watched([frame for i in range(5) for frame in steady(40_000 + i).frames()]) as slices:
        assert sum(len(each.findings) for each in slices) == 0


def test_a_connection_that_stays_open_is_judged_while_it_is_open():
    talk = steady(40_000, count=300)
    frames = talk.frames()
    # A segment of the server that is sent again and again, and never acknowledged.
    last = frames[-4]
    again = [
        Frame(last.time_ns + int(0.2 * S * 2**i), last.data[:18] + bytes([0, i + 1]) + last.data[20:]) for i in range(6)
    ]
    keep = Talk([Exchange(100 * MS, MS)] * 400, client_port=45_000, server_port=82).frames()
    with watched([*frames[:-3], *again, *keep]) as slices:
        told = found(slices, "blackhole")
    assert told
    # Long before the time-out of the connection.
    assert told[0][0] < 40


def test_what_an_open_connection_shows_is_told_of_its_own_service():
    full = Talk([Exchange(100 * MS, MS)] * 150, client_port=40_000, server_port=83, is_closed=False).frames()
    last = full[-1]
    # Its server sends the same segment again and again; others open later, and speak last and first.
    again = [
        Frame(last.time_ns + int(0.2 * S * 2**i), last.data[:18] + bytes([0, i + 1]) + last.data[20:]) for i in range(6)
    ]
    others = [
        Talk([Exchange(100 * MS, MS)] * count, client_port=45_000 + i, server_port=84 + i, is_closed=False).frames()
        for i, count in enumerate((400, 20, 380))
    ]
    with watched([*full, *again, *(frame for each in others for frame in each)]) as slices:
        told = found(slices, "blackhole")
    assert told
    assert {row["server_port"] for _, row in told} == {83}


def test_a_look_leaves_no_cycles_that_hold_on_to_requests():
    # Who watches for months looks for cycles hardly ever: the command says so to Python.
    frames = sorted(
        [frame for i in range(5) for frame in steady(40_000 + i, stall_at=200, stall_ns=5 * S).frames()],
        key=lambda frame: frame.time_ns,
    )
    source = io.BytesIO(pcap_bytes(frames, nanoseconds=True))
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        with tcpsight.open(source).watch(with_findings=True) as (_, slices):
            for _ in slices:
                pass
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            left = {type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith("tcpsight")}
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        if was_enabled:
            gc.enable()
    assert not left


def test_a_flood_of_handshakes_is_told_while_it_goes_on():
    """Longer than connections in their handshake are kept, and beside one that is served."""
    talk = steady(40001, count=900)
    flood = []
    for i in range(8000):
        syn = Talk([], client_port=1024 + i, start_ns=START_NS + i * 5 * MS).frames()[0]
        flood.append(Frame(syn.time_ns, syn.data[:26] + bytes([10, 78, i >> 8, i & 255]) + syn.data[30:]))
    with watched([*talk.frames(), *flood]) as slices:
        told = found(slices, "syn_flood")
    assert len(told) == 1
    second, row = told[0]
    assert second <= 33
    assert SEVERITIES[row["severity"]] == "critical"


def test_findings_are_looked_for_twice_a_minute_at_least(monkeypatch):
    """However many connections there are."""
    monkeypatch.setattr("tcpsight.live_findings.CONNECTION_REST_NS", 100 * S)
    talks = [frame for port in range(40001, 40004) for frame in steady(port, count=1500).frames()]
    with watched([*talks, *refused(50001, 40)]) as slices:
        ((second, _),) = found(slices, "refused")
    assert second <= 40 + 31
