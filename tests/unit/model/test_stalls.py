"""Each rule of stalls, by services that let requests wait or merely vary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.model import stall_list, stalls
from tcpsight.model.stall_list import StallList, StallLists
from tcpsight.model.stalls import StallDetection
from tcpsight.tables import Requests, Unanswered

MS = 1_000_000
SECOND = 1_000 * MS


def usual(count: int = 2000, seed: int = 1, rate_per_s: float = 500) -> list[tuple[int, int]]:
    """Requests at random that take a millisecond or so: arrival and response time."""
    random = np.random.default_rng(seed)
    arrivals = np.cumsum(random.exponential(SECOND / rate_per_s, count)).astype(np.int64)
    return list(zip(arrivals.tolist(), (random.exponential(MS, count) + 1000).astype(np.int64).tolist(), strict=True))


def table(pairs: list[tuple[int, int]]) -> Requests:
    """Write arrivals and response times as rows, each request on a connection of its own."""
    pairs = sorted(pairs)
    requests = Requests.allocate(len(pairs))
    requests.arrival_ns[:] = [arrival for arrival, _ in pairs]
    requests.response_time_ns[:] = [time for _, time in pairs]
    requests.completion_ns[:] = requests.arrival_ns + requests.response_time_ns
    requests.connection_id[:] = np.arange(len(pairs))
    return requests


def waiting(pairs: list[tuple[int, int]]) -> Unanswered:
    """Write requests that are given up after so long."""
    requests = Unanswered.allocate(len(pairs))
    requests.arrival_ns[:] = [arrival for arrival, _ in pairs]
    requests.end_ns[:] = [arrival + time for arrival, time in pairs]
    requests.connection_id[:] = 10**6 + np.arange(len(pairs))
    return requests


def found(pairs: list[tuple[int, int]], unanswered: list[tuple[int, int]] | None = None, end_ns: int = 0) -> StallList:
    detection = StallDetection()
    if unanswered:
        detection.feed(waiting(unanswered))
    detection.feed(table(pairs))
    return detection.finish(end_ns or max(arrival + time for arrival, time in pairs))


def stopped(pairs: list[tuple[int, int]], start: int, end: int, share: float = 1.0) -> list[tuple[int, int]]:
    """Let requests that would be served between two instants wait till the second, in order."""
    random = np.random.default_rng(7)
    held = 0
    made = []
    for arrival, time in pairs:
        if start <= arrival + time and arrival < end and random.random() < share:
            held += 1
            time = end + held * 10_000 - arrival
        made.append((arrival, time))
    return made


def test_a_service_whose_response_times_vary_does_not_stall():
    assert [stall for seed in range(20) for stall in found(usual(seed=seed))] == []


def test_where_nobody_is_answered_for_long_there_is_a_stall():
    (stall,) = found(stopped(usual(), SECOND, SECOND + 200 * MS))
    assert stall.kind == "stall"
    assert stall.start_ns == pytest.approx(SECOND, abs=10 * MS)
    assert stall.end_ns == pytest.approx(SECOND + 200 * MS, abs=MS)
    assert stall.requests == pytest.approx(100, abs=30)
    assert stall.is_over
    assert stall.answered_meanwhile == 0


def test_a_stall_keeps_no_rows_but_its_own():
    (stall,) = found(stopped(usual(), SECOND, SECOND + 200 * MS))
    assert stall.requests > 50
    for row in (stall.blocker, stall.example):
        assert row.base.nbytes == row.nbytes


def test_where_others_are_answered_it_is_a_pile_up():
    (stall,) = found(stopped(usual(), SECOND, SECOND + 300 * MS, share=0.2))
    assert stall.kind == "pile_up"
    assert stall.answered_meanwhile > 50
    assert stall.end_ns == pytest.approx(SECOND + 300 * MS, abs=MS)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_first_of_those_released_that_came_first_is_the_blocker(share):
    pairs = [(arrival, time) for arrival, time in usual() if not SECOND <= arrival < SECOND + MS]
    held = stopped(pairs, SECOND + MS, SECOND + 300 * MS, share)
    held.append((SECOND, 300 * MS))
    (stall,) = found(held)
    assert stall.blocker["arrival_ns"] == SECOND
    assert stall.start_ns <= SECOND


def test_one_slow_request_is_no_stall():
    assert not found([*usual(rate_per_s=20), (SECOND, SECOND)])


def test_requests_that_come_together_and_take_the_same_time_pile_up_behind_nothing():
    together = [(SECOND + number * 1000, 300 * MS) for number in range(20)]
    assert not found([*usual(), *together])


def test_what_is_not_over_at_the_end_of_the_capture_is_told_so():
    pairs = usual()
    last = max(arrival for arrival, _ in pairs)
    hung = [(last + number * MS, 3 * SECOND) for number in range(1, 10)]
    (stall,) = found(pairs, hung, end_ns=last + 3 * SECOND)
    assert not stall.is_over
    assert stall.unanswered == 9
    assert stall.end_ns == last + 3 * SECOND
    assert stall.blocker is None


def test_requests_that_were_given_up_count_as_waiting():
    pairs = [(arrival, time) for arrival, time in usual() if not SECOND <= arrival < 2 * SECOND]
    given_up = [(SECOND + number * 20 * MS, 500 * MS) for number in range(20)]
    (stall,) = found(pairs, given_up)
    assert stall.unanswered == 20
    assert stall.kind == "stall"


def test_a_stall_of_a_busy_server_is_found_beside_many_others():
    pairs = usual(count=20_000, rate_per_s=2000)
    for number in range(1, 9):
        pairs = stopped(pairs, number * SECOND, number * SECOND + 100 * MS)
    assert len(found(pairs)) == 8


@pytest.fixture
def small_windows(monkeypatch):
    monkeypatch.setattr(stalls, "WINDOW", 1500)
    monkeypatch.setattr(stalls, "LOOK_AHEAD", 300)


def times(found: StallList) -> list[tuple[int, int, str]]:
    return [(stall.start_ns, stall.end_ns, stall.kind) for stall in found]


@pytest.mark.parametrize("share", [1.0, 0.3])
@pytest.mark.parametrize("at", range(1, 8))
def test_windows_find_what_lies_across_their_edges(small_windows, at, share):
    start = at * 700 * MS
    pairs = stopped(usual(count=4000), start, start + 400 * MS, share)
    (stall,) = found(pairs)
    assert stall.end_ns == pytest.approx(start + 400 * MS, abs=2 * MS)


def test_a_stall_longer_than_a_window_is_one(small_windows):
    pairs = stopped(usual(count=8000), 2 * SECOND, 10 * SECOND)
    (stall,) = found(pairs)
    assert stall.end_ns - stall.start_ns == pytest.approx(8 * SECOND, rel=0.01)
    assert stall.requests > 3000


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(0, 5000), max_size=5))
def test_how_rows_are_cut_changes_nothing(places):
    requests = table(stopped(usual(count=5000), SECOND, SECOND + 200 * MS, 0.5))
    whole, parts = StallDetection(), StallDetection()
    whole.feed(requests)
    for begin, end in zip([0, *sorted(places)], [*sorted(places), 5000], strict=True):
        parts.feed(requests[begin:end])
    end_ns = int(requests.completion_ns.max())
    assert times(whole.finish(end_ns)) == times(parts.finish(end_ns))


INSTANTS = st.integers(-(2**62), 2**62)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(INSTANTS, INSTANTS), max_size=300), st.lists(st.tuples(INSTANTS, INSTANTS), max_size=30))
def test_hostile_times_break_nothing(answered, unanswered):
    detection = StallDetection()
    hung = waiting(sorted((a, 0) for a, _ in unanswered))
    hung.end_ns[:] = [b for _, b in sorted(unanswered)]
    detection.feed(hung)
    requests = table([(a, 0) for a, _ in answered])
    requests.completion_ns[:] = [b for _, b in sorted(answered)]
    detection.feed(requests)
    for stall in detection.finish(2**62):
        assert stall.start_ns <= stall.end_ns


def test_requests_that_are_too_many_to_remember_are_counted(monkeypatch):
    monkeypatch.setattr(stalls, "MOST_KEPT", 100)
    detection = StallDetection()
    detection.feed(waiting([(each, 5 * SECOND) for each in range(150)]))
    detection.feed(table(usual()))
    detection.finish(10 * SECOND)
    assert detection.left_out == 50


def whole_stop(count: int, held_before: int) -> list[tuple[int, int]]:
    """Let a service stop for 200 ms, at a time when so many have waited for 50 ms already."""
    pairs = [(at, time) for at, time in usual(count) if not SECOND - 50 * MS < at + time < SECOND + 200 * MS]
    early = [(SECOND - 60 * MS + each, 260 * MS + each) for each in range(held_before)]
    late = [(SECOND + 20 * MS * each, 200 * MS - 20 * MS * each + each * MS // 10) for each in range(1, 9)]
    others = [(SECOND - (30 - each) * MS, MS) for each in range(28)] if held_before else []
    return sorted(pairs + early + late + others)


def test_who_waits_before_others_are_silent_waits_for_a_request():
    (stall,) = found(whole_stop(2000, held_before=6))
    assert (stall.kind, stall.cause) == ("stall", "request")
    assert stall.blocker is not None


def test_a_silence_that_nothing_announced_may_be_the_server_or_a_request():
    (stall,) = found(whole_stop(2000, held_before=0))
    assert (stall.kind, stall.cause) == ("stall", "either")
    assert stall.blocker is not None


def test_nobody_waited_for_a_request_that_came_after_them():
    pairs = whole_stop(2000, held_before=0)
    first = (SECOND + 5 * MS, 240 * MS)  # it came before all that were answered first
    (stall,) = found([*pairs, first])
    assert (stall.kind, stall.cause, stall.blocker) == ("stall", "server", None)


def one_at_a_time(count: int = 2000) -> list[tuple[int, int]]:
    """Requests of which each comes when the one before was answered: after 50 ms or so."""
    random = np.random.default_rng(1)
    times = (random.gamma(4, 12.5, count) * MS).astype(np.int64)
    arrivals = np.cumsum(times + 20 * MS) - times
    return list(zip(arrivals.tolist(), times.tolist(), strict=True))


@pytest.mark.parametrize("held", [5, 50])
@pytest.mark.parametrize("overlapped", [0, 1])
def test_many_that_wait_at_the_end_are_a_stall_where_there_was_only_ever_one_before(held, overlapped):
    pairs = one_at_a_time()
    begin = pairs[-1][0] + pairs[-1][1]
    pairs += [(pairs[100][0] + MS, MS)] * overlapped
    (stall,) = found(pairs, [(begin + each * 5 * MS, 5 * SECOND) for each in range(1, held + 1)], begin + 5 * SECOND)
    assert (stall.kind, stall.requests, stall.is_over) == ("stall", held, False)


def one_by_one_and(several: int, wait_ns: int, *, is_over: bool) -> StallList:
    """Find stalls of one client, between or after whose requests several wait so long, one of them from another."""
    pairs = [(at // 50, time // 50) for at, time in one_at_a_time(200)]
    begin = pairs[99][0] + pairs[99][1] + MS if is_over else pairs[-1][0] + pairs[-1][1]
    held = [(begin + number * 10 * MS, wait_ns - number * 9 * MS) for number in range(several)]
    if not is_over:
        return found(pairs, held, begin + wait_ns)
    later = wait_ns + SECOND
    return found([*pairs[:100], *held, *((at + later, time) for at, time in pairs[100:])])


@pytest.mark.parametrize("several", [1, 2, 3, 5])
@pytest.mark.parametrize("is_over", [True, False])
def test_few_that_wait_long_are_told_where_there_was_only_ever_one_before(several, is_over):
    (stall,) = one_by_one_and(several, 60 * SECOND, is_over=is_over)
    assert (stall.kind, stall.requests, stall.is_over) == ("stall", several, is_over)
    # By chance both may have asked what takes so long: so few requests before tell no more.
    assert (stall.surprise >= stalls.ALARM) == (several in (1, 5))


@pytest.mark.parametrize("several", [1, 2, 3])
@pytest.mark.parametrize("is_over", [True, False])
def test_few_that_wait_no_longer_than_slow_requests_do_are_no_stall(several, is_over):
    assert not one_by_one_and(several, 900 * MS, is_over=is_over)


def test_who_waits_for_long_beside_others_who_are_answered_makes_no_service_one_of_a_single_client():
    pairs = [(at // 50, time // 50) for at, time in one_at_a_time(200)]
    end = pairs[-1][0] + pairs[-1][1]
    # It asked once and waits; the others ask again after a while.
    pairs += [(at + end + 60 * SECOND, time) for at, time in pairs]
    assert not found([*pairs, (10 * MS, pairs[-1][0])])


def test_stalls_that_are_not_wanted_take_no_room_from_those_that_are(monkeypatch):
    monkeypatch.setattr(stall_list, "MOST_STALLS", 2)
    pairs = usual(count=16_000)
    for at in range(1, 16):
        # Longer ones come later.
        pairs = stopped(pairs, at * 2 * SECOND, at * 2 * SECOND + (200 + 20 * at) * MS)
    lists = StallLists(lambda stall: stall.start_ns < 11 * SECOND, lambda stall: MS * (stall.start_ns < 5 * SECOND))
    detection = StallDetection(lists)
    detection.feed(table(pairs))
    wanted = detection.finish(max(arrival + time for arrival, time in pairs))
    assert (len(wanted), len(lists.doubted), len(lists.elsewhere)) == (3, 2, 10)
    assert len(list(wanted)) == 3
    assert max(stall.end_ns for stall in wanted) < 12 * SECOND
    assert [stall.unheard_ns for stall in lists.doubted] == [MS, MS]
    assert max(stall.end_ns for stall in lists.doubted) < min(stall.start_ns for stall in wanted)


def test_of_nothing_nothing_is_found():
    assert not StallDetection().finish(0)
