"""What is poor evidence of a stall is told as that: a time in which nobody was heard, one request that was alone."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

import tcpsight
from tcpsight.tables import FINDINGS, SEVERITIES
from tests.support import traffic
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered

SECOND = 1000 * MS


def busy(connections: int = 8) -> list[Talk]:
    """Give clients that ask at times of their own, and are answered in 5 to 10 ms."""
    return [
        Talk(
            answered(*[5 + (i * 37 + c * 13) % 101 / 20 for i in range(300)], after_ms=3 + c),
            client_port=40_000 + c,
            start_ns=START_NS + c * 700_000,
        )
        for c in range(connections)
    ]


def stepped(step_ns: int) -> list[Frame]:
    """Write them, and set the clock in the middle."""
    frames = traffic.capture(busy())
    middle_ns = frames[len(frames) // 2].time_ns
    return [Frame(each.time_ns + (step_ns if each.time_ns > middle_ns else 0), each.data) for each in frames]


def found(frames: list[Frame]) -> list[dict[str, Any]]:
    rows = tcpsight.open(io.BytesIO(pcap_bytes(frames, nanoseconds=True))).findings.to_numpy()
    return [
        {
            "kind": FINDINGS[row["kind"]],
            "severity": SEVERITIES[row["severity"]],
            "confidence": float(row["confidence"]),
            "summary": row["summary"].decode(),
            **json.loads(row["evidence"]),
        }
        for row in rows
    ]


@pytest.mark.parametrize("step_s", [61, 3600, 86_400])
def test_a_time_in_which_nothing_was_captured_may_be_a_stall_or_none(step_s):
    (told,) = found(stepped(step_s * SECOND))
    assert (told["kind"], told["severity"], told["cause"]) == ("stall", "warning", "unheard")
    assert told["possible_severity"] == "critical"
    assert 0.2 <= told["confidence"] < 0.5
    assert told["not_captured_ns"] >= step_s * SECOND
    assert told["summary"].startswith("nothing at all was captured for ")
    assert " requests waited meanwhile, or the clock was set or capturing stood still" in told["summary"]
    assert told["blocker"] is None


def test_a_shorter_silence_of_all_who_wait_is_a_stall():
    (told,) = found(stepped(30 * SECOND))
    assert (told["severity"], told["cause"]) == ("critical", "either")
    assert "not_captured_ns" not in told


@pytest.mark.parametrize("step_s", [-3600, -10, -1])
def test_a_clock_that_is_set_back_makes_no_stall(step_s):
    assert found(stepped(step_s * SECOND)) == []


def test_a_stall_of_an_hour_in_which_somebody_else_was_heard_is_one():
    frames = stepped(3600 * SECOND)
    pings = [
        Frame(START_NS + i * 30 * SECOND, tcp_frame("10.0.0.3", "10.0.0.4", 5000, 80, 1000 + i, 1, "PA", bytes(1)))
        for i in range(1, 121)
    ]
    stalls = [each for each in found(sorted([*frames, *pings], key=_time)) if each["kind"] == "stall"]
    assert [each["severity"] for each in stalls] == ["critical"]


def _time(frame: Frame) -> int:
    return frame.time_ns


def alone(wait_ms: float, *, is_answered: bool = True) -> list[Frame]:
    """Write one client of a service, one of whose requests waits so long; another service ends the capture."""
    exchanges = answered(*[5 + i * 37 % 101 / 20 for i in range(300)])
    if is_answered:
        exchanges[150] = Exchange(10 * MS, round(wait_ms * MS))
        return traffic.capture([Talk(exchanges)])
    frames = traffic.capture([Talk([*exchanges, Exchange(10 * MS, None)], is_closed=False)])
    late_ns = frames[-1].time_ns + round(wait_ms * MS)
    return [*frames, *traffic.capture([Talk(answered(1), client_port=50_000, server_port=99, start_ns=late_ns)])]


@pytest.mark.parametrize("is_answered", [True, False])
def test_the_only_request_there_is_that_waits_a_thousand_times_as_long_as_usual_is_told(is_answered):
    (told,) = found(alone(30_000, is_answered=is_answered))
    assert (told["kind"], told["severity"], told["cause"]) == ("stall", "warning", "alone")
    assert told["confidence"] == 0.5
    assert told["summary"].startswith("the only request there was waited for 30.0 s, where 7.")
    assert told["requests"] == 1
    assert told["is_over"] == is_answered


def test_two_that_wait_where_there_was_only_ever_one_before_may_be_slow_both():
    frames = alone(30_000, is_answered=False)
    second = Talk([Exchange(2 * SECOND, None)], client_port=45_000, is_closed=False, start_ns=START_NS + 9 * SECOND)
    (told,) = found(sorted([*frames, *traffic.capture([second])], key=_time))
    assert (told["kind"], told["severity"], told["confidence"], told["requests"]) == ("stall", "warning", 0.5, 2)
    assert told["log10_chance"] > -6
    assert told["rule"].startswith("where there was only ever one request at a time before")
    assert told["summary"].startswith("2 requests waited for up to 30.0 s, nothing was answered meanwhile; it was not")
    assert told["summary"].endswith("; whether the server stopped or they take so long is not seen")


@pytest.mark.parametrize("wait_ms", [900, 4000])
def test_the_only_request_there_is_may_be_slow(wait_ms):
    assert found(alone(wait_ms)) == []


def test_one_slow_request_among_clients_who_are_answered_is_no_stall():
    talks = busy(3)
    slow = answered(*[5 + i * 37 % 101 / 20 for i in range(60)])
    slow[30] = Exchange(10 * MS, 2 * SECOND)
    frames = traffic.capture([*talks, Talk(slow, client_port=45_000)])
    assert [each["kind"] for each in found(frames) if each["kind"] == "stall"] == []
