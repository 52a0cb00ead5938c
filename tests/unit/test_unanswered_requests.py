"""Requests that were never answered: a service that never answers is told, and how many a stall never let go."""

from __future__ import annotations

import pytest

from tests.support import traffic
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered
from tests.unit.test_stalls_doubted import busy, found, stepped

SECOND = 1000 * MS


def mute(count: int, *, wait_s: float = 30, port: int = traffic.PORT) -> list[Talk]:
    """Give clients that ask once and wait; somebody else's answer ends the capture."""
    asking = [
        Talk([Exchange(10 * MS, None)], client_port=41_000 + i, is_closed=False, server_port=port) for i in range(count)
    ]
    end = Talk(answered(1), client_port=50_000, server_port=99, start_ns=START_NS + round(wait_s * SECOND))
    return [*asking, end]


@pytest.mark.parametrize(
    ("count", "severity", "confidence", "words"),
    [
        (
            20,
            "warning",
            0.7,
            "no request was answered, 20 were not, and the longest waited 30.0 s; unless no answer is due here",
        ),
        (
            1,
            "info",
            0.5,
            "no request was answered, 1 was not, and the longest waited 30.0 s; unless no answer is due here",
        ),
    ],
)
def test_a_service_that_never_answers_is_told(count: int, severity: str, confidence: float, words: str):
    (told,) = found(traffic.capture(mute(count)))
    assert (told["kind"], told["severity"], told["confidence"]) == ("no_answers", severity, confidence)
    assert told["summary"] == words
    assert told["still_waiting"] == count


@pytest.mark.parametrize(("count", "wait_s"), [(9, 0.9), (1, 4.5), (20, 0.09)])
def test_who_asked_just_now_may_still_be_answered(count: int, wait_s: float):
    assert found(traffic.capture(mute(count, wait_s=wait_s))) == []


def test_of_many_that_give_up_soon_one_answer_in_twenty_changes_nothing():
    told = found(traffic.capture([*mute(40, wait_s=0.5), Talk(answered(5), client_port=45_000)]))
    (mute_one,) = [each for each in told if each["kind"] == "no_answers"]
    assert mute_one["summary"].startswith("1 request was answered, 40 were not, and the longest waited ")


def test_where_others_are_answered_the_service_does_answer():
    assert "no_answers" not in [each["kind"] for each in found(traffic.capture([*busy(3), *mute(4)]))]


def test_who_sends_all_the_time_waits_for_no_answer():
    """Logs are shipped like this: the last line is never long ago."""
    lines = [Exchange(5 * SECOND, None) for _ in range(12)]
    shipping = [Talk(lines, client_port=41_000 + i, is_closed=False, server_port=514) for i in range(3)]
    end = Talk(answered(1), client_port=50_000, server_port=99, start_ns=START_NS + 65 * SECOND)
    assert found(traffic.capture([*shipping, end])) == []


def test_a_stall_says_how_many_of_those_that_waited_were_never_answered():
    """Four wait from before the stall on, and beyond its end: what they waited for is not what ended."""
    frames = sorted([*stepped(3 * SECOND), *traffic.capture(mute(4, wait_s=2))], key=lambda frame: frame.time_ns)
    (stall,) = [each for each in found(frames) if each["kind"] == "stall"]
    assert stall["never_answered"] == 4
    assert f"; {stall['requests'] - 4} of them released within " in stall["summary"]
    assert ", 4 never answered" in stall["summary"]


def test_of_a_server_that_was_not_captured_nobody_knows_whether_it_answered():
    frames = [each for each in traffic.capture(mute(20)) if each.data[26:30] == bytes([10, 0, 0, 1])]
    assert [each["kind"] for each in found(frames)] == ["one_way_capture"] * 2
