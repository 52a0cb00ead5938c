"""A full queue or a policer: round trips before losses, the rate of what came before, repairs that came too soon."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.network import _policing, queueing, token_bucket
from tcpsight.network.exchanges import ENTRY, Exchange
from tests.unit.network.test_exchange_log import SIZE
from tests.unit.network.test_shapes import arrivals

FLAGS = _policing.FLAGS
RATE = 200 * 8 * SIZE


def sent(waits_ms: list[float], lost: list[int], per_s: float = 1000, handshake_ms: float = 0) -> Exchange:
    """Segments at so many a second, acknowledged after so long; the lost ones were sent again; seen before the loss."""
    rows = np.zeros(len(waits_ms), ENTRY)
    rows["time_ns"] = np.round(np.arange(len(rows)) / per_s * 1e9)
    rows["payload"], rows["start"] = SIZE, np.arange(len(rows)) * SIZE
    rows["flags"] = FLAGS["acked"]
    rows["flags"][lost] |= FLAGS["lost"]
    rows["waited_us"] = rows["delivered_us"] = np.round(np.array(waits_ms) * 1000)
    rows["link"] = 65535
    return Exchange(rows, round(handshake_ms * 1e6), 0)


def test_a_bucket_smaller_than_any_flight_is_a_queues():
    assert queueing.is_from_queue(arrivals(1000, 200), RATE, 4 * SIZE, 0.04)


def test_losses_behind_round_trips_that_had_grown_come_from_a_queue():
    grown = sent([10.0] * 30 + [30.0] * 30, [45, 50, 55])
    assert queueing.queued_fraction(grown, 0.1, 0.02) == 1
    assert queueing.is_from_queue(grown, RATE, 32 * SIZE, 0.02)


def test_losses_behind_round_trips_as_short_as_ever_come_from_none():
    flat = sent([10.0] * 60, [45, 50, 55])
    assert queueing.queued_fraction(flat, 0.1, 0.02) == 0
    assert not queueing.is_from_queue(flat, RATE, 32 * SIZE, 0.02)


def test_one_long_round_trip_before_a_loss_is_no_queue():
    """Its acknowledgment may have waited for another reason: three in a row must be long."""
    for long, expected in ((2, 0), (3, 1)):
        waits = [10.0] * 60
        waits[45 - long : 45] = [30.0] * long
        assert queueing.queued_fraction(sent(waits, [45]), 0.1, 0.02) == expected


def test_a_handshake_without_a_queue_tells_that_all_round_trips_held_one():
    waits = [30.0] * 60
    assert queueing.queued_fraction(sent(waits, [45]), 0.1, 0.02) == 0
    assert queueing.queued_fraction(sent(waits, [45], handshake_ms=10), 0.1, 0.02) == 1


@pytest.mark.parametrize(("drain_ms", "expected"), [(4, 1), (12, 0)], ids=["a small queue", "a large one"])
def test_how_much_longer_a_round_trip_must_be_follows_from_how_long_the_queue_takes_to_drain(drain_ms, expected):
    grown = sent([10.0] * 30 + [13.0] * 30, [45])
    assert queueing.queued_fraction(grown, drain_ms / 1000, 0.02) == expected


def test_a_round_trip_long_before_a_loss_tells_nothing_of_it():
    rows = sent([30.0] * 60, [59]).rows
    rows["time_ns"][59] += 1_000_000_000
    assert np.isnan(queueing.queued_fraction(Exchange(rows, 0, 0), 0.1, 0.02))


def test_without_any_round_trip_no_queue_is_seen():
    assert np.isnan(queueing.queued_fraction(arrivals(1000, 200), 0.1, 0.04))


def test_a_rate_is_kept_only_where_the_exchange_went_on_for_long_enough():
    found = arrivals(1000, 200)
    assert np.isfinite(queueing.kept_rate(found, 0.04))
    assert np.isnan(queueing.kept_rate(found, 0.3))
    assert np.isnan(queueing.kept_rate(Exchange(found.rows[:110], 0, 40_000_000), 0.04))


def test_a_pause_behind_the_first_loss_has_no_rate():
    rows = arrivals(1000, 200).rows[:80]
    rows["time_ns"][70:79] = rows["time_ns"][40]
    rows["time_ns"][79] = rows["time_ns"][40] + 2_000_000_000
    assert np.isnan(queueing.kept_rate(Exchange(rows, 0, 40_000_000), 0.04))


def test_repairs_sooner_than_half_a_round_trip_are_frames_that_were_captured_twice():
    def after(wait_ms: float, **more: float) -> Exchange:
        found = sent([10.0] * 60, [20, 40], **more)
        found.rows["link"][[20, 40]] = 21, 41
        found.rows["time_ns"][[21, 41]] = found.rows["time_ns"][[20, 40]] + round(wait_ms * 1e6)
        return found

    assert not queueing.is_copied(sent([10.0] * 60, []), 0.02)
    assert queueing.is_copied(after(9.9, handshake_ms=10), 0.02)
    assert not queueing.is_copied(after(10.1, handshake_ms=10), 0.02)
    # Where no handshake tells how far away the receiver is, nobody repairs within 3 ms.
    assert queueing.is_copied(after(2.9), 0.0001)
    assert not queueing.is_copied(after(3.1), 0.0001)
    assert not queueing.is_copied(after(2.9, handshake_ms=0.1), 0.0001)


def test_too_few_segments_before_a_loss_have_any_speed():
    assert queueing.speed_before_loss(sent([10.0] * 30, [4]), 32 * SIZE) == float("inf")
    assert queueing.speed_before_loss(sent([10.0] * 30, [29]), 32 * SIZE) == pytest.approx(1000 * 8 * SIZE)


def test_before_the_place_of_loss_arrivals_are_told_by_acknowledgments():
    """They were sent at 1000 a second, and arrived at 500."""
    found = sent([10.0 + i for i in range(30)], [29])
    assert queueing.speed_before_loss(found, 32 * SIZE) == pytest.approx(500 * 8 * SIZE)


# ------------------------------------------------------------------------------------------------ the paper's tests


def test_a_first_loss_behind_two_million_bytes_is_too_late_to_judge():
    found = sent([10.0] * 60, list(range(20, 60, 2)))
    for start, is_late in ((1_999_999, False), (2_000_000, True)):
        found.rows["start"] = start + (np.arange(60) - 20) * SIZE
        assert (token_bucket.judge(found, 0, 0.01).verdict == "late_loss") is is_late


@pytest.mark.parametrize("round_trip_s", [0.0, float("nan")])
def test_without_a_round_trip_nothing_is_judged(round_trip_s):
    assert token_bucket.judge(sent([10.0] * 60, [20, 22, 24]), 0, round_trip_s).verdict == "unknown_rtt"


def test_the_losses_that_are_trimmed_are_not_those_by_which_it_is_judged():
    found = sent([10.0] * 60, [20, 22, 24])
    assert token_bucket.judge(found, 1, 0.01).verdict == "insufficient_loss"
    found = sent([10.0] * 60, [20, 22, 24, 26])
    assert token_bucket.judge(found, 1, 0.0).verdict == "unknown_rtt"


def test_the_goodput_between_losses_counts_neither_losses_nor_what_no_time_passed_for():
    found = sent([10.0] * 60, [20, 30, 40])
    assert token_bucket.goodput_between(found, 20, 40) == pytest.approx(18 * SIZE * 8 / 0.02)
    found.rows["time_ns"][:] = 5
    assert token_bucket.goodput_between(Exchange(found.rows, 0, 0), 20, 40) == 0


def test_each_slice_of_losses_begins_with_one_and_lasts_a_round_trip():
    assert token_bucket.slices_with_loss(np.array([0.0, 0.5, 1.0, 1.1, 5.0]), 1.0) == 3
    assert token_bucket.slices_with_loss(np.array([]), 1.0) == 0


def test_how_long_a_queue_of_the_buckets_size_would_take_to_drain_follows_from_its_rate():
    """32 segments at 200 a second: round trips must have grown by 8 ms; at 8000 a second by 2."""
    grown = sent([10.0] * 30 + [13.0] * 30, [45, 50, 55], per_s=20_000)
    assert not queueing.is_from_queue(grown, RATE, 32 * SIZE, 0.02)
    assert queueing.is_from_queue(grown, 40 * RATE, 32 * SIZE, 0.02)


def test_where_round_trips_cannot_tell_what_came_evenly_after_a_burst_came_from_a_busy_link():
    found = arrivals(1000, 200)
    assert queueing.is_from_queue(found, RATE, 32 * SIZE, 0.04)
    by_turns = found.rows.copy()
    by_turns["time_ns"][71::2] -= 4_000_000
    assert not queueing.is_from_queue(Exchange(by_turns, 0, 40_000_000), RATE, 32 * SIZE, 0.04)
    by_turns["time_ns"][:40] = np.arange(40) * 5_000_000  # and before the first loss nothing came faster
    by_turns["time_ns"][40:] += by_turns["time_ns"][39]
    assert queueing.is_from_queue(Exchange(by_turns, 0, 40_000_000), RATE, 32 * SIZE, 0.04)


@pytest.mark.parametrize(("per_s", "expected"), [(240, False), (300, False), (360, True)])
def test_half_as_fast_again_before_the_first_loss_may_be_the_link_whose_rate_is_not_kept_while_it_repairs(
    per_s, expected
):
    assert queueing.is_run_dry(arrivals(per_s, 200), RATE, 32 * SIZE) is expected


def test_half_as_fast_again_before_the_first_loss_tells_where_no_link_would_let_a_burst_pass():
    rows = arrivals(300, 200).rows.copy()
    rows["time_ns"][200:209] = rows["time_ns"][208] - np.arange(9)[::-1] * 1_000_000  # 8 segments in 8 ms
    assert queueing.is_run_dry(Exchange(rows, 0, 40_000_000), RATE, 32 * SIZE)
    rows["time_ns"][200:209] = rows["time_ns"][208] - np.arange(9)[::-1] * 2_000_000  # 2.5 times the rate
    assert not queueing.is_run_dry(Exchange(rows, 0, 40_000_000), RATE, 32 * SIZE)


@pytest.mark.parametrize(("per_s", "expected"), [(240, True), (260, False)])
def test_behind_the_place_of_loss_short_round_trips_alone_are_no_proof(per_s, expected):
    """Echoed timestamps tell that no queue stood, and yet nothing had come faster than a link delivers."""
    rows = arrivals(per_s, 200).rows.copy()
    rows["echoed_us"] = 10_000
    assert queueing.is_from_queue(Exchange(rows, 0, 40_000_000), RATE, 32 * SIZE, 0.04) is expected
