"""The tests of the paper on exchanges that a bucket of known rate and size dropped from."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.network import _policing, token_bucket
from tcpsight.network.exchanges import ENTRY, Exchange
from tests.unit.network.test_exchange_log import SIZE
from tests.unit.network.test_queues import sent

FLAGS = _policing.FLAGS


def through_bucket(per_s: float, held: float, *, waits_ms: float = 10, count: int = 600) -> Exchange:
    """Send 1000 segments a second to a bucket that holds so many and gets so many a second; it drops the rest."""
    tokens, lost = held, []
    for i in range(count):
        tokens = min(held, tokens + per_s / 1000)
        if tokens >= 1:
            tokens -= 1
        else:
            lost.append(i)
    return sent([waits_ms] * count, lost)


def test_what_a_bucket_dropped_is_policed_with_its_rate_and_what_passed_at_first():
    found = token_bucket.judge(through_bucket(400, 40), 0, 0.01)
    assert found.verdict == "policed"
    assert found.rate == pytest.approx(400 * 8 * SIZE, rel=0.02)
    assert found.burst_bytes == pytest.approx(40 / 0.6 * SIZE, rel=0.03)  # 400 a second come meanwhile
    assert found.inflated == 0
    # From the first loss at 66 ms to the end at 600 ms, each with the round trip behind it.
    assert found.slices == pytest.approx(534 / 11, abs=3)


def test_trimmed_losses_leave_the_rate_and_do_not_count_into_slices():
    exchange = through_bucket(400, 40)
    whole, trimmed = token_bucket.judge(exchange, 0, 0.01), token_bucket.judge(exchange, 30, 0.01)
    assert trimmed.verdict == "policed"
    assert trimmed.rate == pytest.approx(whole.rate, rel=0.02)
    assert trimmed.burst_bytes == whole.burst_bytes
    assert trimmed.slices < whole.slices


def test_the_rate_is_that_between_the_first_loss_and_the_last():
    exchange = through_bucket(400, 40)
    lost = np.flatnonzero(exchange.is_lost)
    exchange.rows["time_ns"][lost[-1] + 1 :] += 1_000_000_000  # a pause behind the last loss tells nothing
    for trim in (0, 30):
        found = token_bucket.judge(Exchange(exchange.rows, 0, 0), trim, 0.01)
        assert found.rate == token_bucket.goodput_between(exchange, lost[trim], lost[-1 - trim])


def test_losses_behind_round_trips_that_had_grown_are_inflated():
    exchange = through_bucket(400, 40, waits_ms=30)
    exchange.rows["waited_us"][:60] = 10_000
    found = token_bucket.judge(exchange, 0, 0.01)
    assert found.verdict == "inflated_rtt"
    assert found.inflated > 200


@pytest.mark.parametrize(
    ("usual_ms", "grown_ms", "expected"),
    [(10, 30, 1), (10, 19, 0), (100, 125, 0), (100, 135, 1)],
    ids=["grown", "still short", "hardly grown", "grown by a third"],
)
def test_a_round_trip_has_grown_if_it_is_long_and_a_third_longer_than_the_shortest(usual_ms, grown_ms, expected):
    exchange = sent([usual_ms] * 30 + [grown_ms] * 31, [60])
    assert token_bucket.inflated_losses(exchange, 0) == expected
    assert token_bucket.inflated_losses(exchange, 61) == 0


def test_a_loss_is_judged_by_the_last_round_trip_but_one():
    for long_at, expected in ((58, 1), (59, 0)):
        waits = [10.0] * 61
        waits[long_at] = 30.0
        assert token_bucket.inflated_losses(sent(waits, [60]), 0) == expected


def test_percentiles_lie_between_the_two_nearest():
    ordered = sorted([3.0, 1.0, 4.0, 1.5, 9.0, 2.6, 5.0])
    for percent in (0, 10, 33, 50, 77, 100):
        assert token_bucket._quantile(ordered, percent) == pytest.approx(np.percentile(ordered, percent))
    assert token_bucket._quantile([7.0], 50) == 7


def seen_behind(echoed_ms: list[float], this_ms: float, other_ms: float) -> Exchange:
    """Segments of which some never came: losses lie before the capture point."""
    rows = np.zeros(len(echoed_ms), ENTRY)
    rows["echoed_us"] = np.round(np.array(echoed_ms) * 1000)
    rows["flags"][:2] = FLAGS["lost"] | FLAGS["hole"]
    return Exchange(rows, round(this_ms * 1e6), round(other_ms * 1e6))


def test_the_round_trip_is_from_end_to_end_wherever_it_was_captured():
    waits = [10.0, 20.0, 30.0, 40.0]
    assert token_bucket.median_round_trip_s(sent(waits, [3])) == pytest.approx(0.02)
    far = Exchange(sent(waits, [3]).rows, 1, 5_000_000)
    assert token_bucket.median_round_trip_s(far) == pytest.approx(0.025)
    assert token_bucket.median_round_trip_s(seen_behind([0, 0, 40, 60, 80], 5, 30)) == pytest.approx(0.065)
    assert token_bucket.median_round_trip_s(seen_behind([0, 0, 0], 5, 30)) == pytest.approx(0.035)


def test_without_acknowledgments_echoes_or_handshake_the_round_trip_is_unknown():
    assert np.isnan(token_bucket.median_round_trip_s(seen_behind([0, 0, 0], 5, 0)))
    assert np.isnan(token_bucket.median_round_trip_s(sent([10.0, 10.0], [0, 1])))
