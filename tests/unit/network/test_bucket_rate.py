"""The rate of a bucket that dropped, and between which bounds it lies."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.network.bucket_fit import initial_tokens
from tcpsight.network.bucket_rate import Rate, bucket_rate
from tcpsight.network.exchanges import Exchange
from tcpsight.network.token_bucket import goodput_between
from tests.unit.network.test_bucket_fit import with_pauses
from tests.unit.network.test_exchange_log import SIZE
from tests.unit.network.test_queues import sent
from tests.unit.network.test_token_bucket import through_bucket

PER_SECOND = 8 * SIZE


def goodput_of(exchange: Exchange) -> float:
    lost = np.flatnonzero(exchange.is_lost)
    return goodput_between(exchange, int(lost[0]), int(lost[-1]))


def rate_of(exchange: Exchange) -> Rate:
    return bucket_rate(exchange, goodput_of(exchange), 0.01)


def through_bucket_at(at_ms: list[float], per_s: float, held: float) -> Exchange:
    """Send a segment at each of these times to a bucket that is full at first."""
    tokens, lost, before = held, [], at_ms[0]
    for i, now in enumerate(at_ms):
        tokens, before = min(held, tokens + per_s / 1000 * (now - before)), now
        if tokens >= 1:
            tokens -= 1
        else:
            lost.append(i)
    exchange = sent([10] * len(at_ms), lost)
    exchange.rows["time_ns"] = np.round(np.array(at_ms) * 1e6)
    return Exchange(exchange.rows, 0, 0)


@pytest.mark.parametrize(("per_s", "held"), [(150, 10), (400, 40), (900, 12)])
def test_the_rate_of_a_bucket_that_never_runs_over_is_exact(per_s: float, held: float):
    exchange = through_bucket(per_s, held, count=2000)
    found = rate_of(exchange)
    assert found.best == pytest.approx(per_s * PER_SECOND, rel=0.003)
    assert found.low <= per_s * PER_SECOND <= found.high
    assert found.high < 1.1 * found.low


def test_a_bucket_that_runs_over_in_pauses_is_much_faster_than_the_goodput_between_losses():
    exchange = with_pauses(400, 8, 60, 600)
    assert goodput_of(exchange) < 60 * PER_SECOND
    found = rate_of(exchange)
    assert found.best == pytest.approx(400 * PER_SECOND, rel=0.03)
    assert found.low <= 400 * PER_SECOND <= found.high


def test_bursts_that_lose_their_last_segment_tell_the_rate_by_how_many_pass():
    """Each loss is followed by a pause that fills the bucket: bursts of several speeds tell rate and size apart."""
    at_ms, now = list[float](), 0.0
    for burst in range(40):
        for _ in range(60):
            now += (0.5, 1, 1.6)[burst % 3]
            at_ms.append(now)
        now += 2000
    exchange = through_bucket_at(at_ms, 300, 20)
    assert goodput_of(exchange) < 40 * PER_SECOND
    found = rate_of(exchange)
    assert found.best == pytest.approx(300 * PER_SECOND, rel=0.04)
    assert found.low <= 300 * PER_SECOND <= found.high


def test_bounds_are_wide_where_a_smaller_and_faster_bucket_drops_the_same():
    """All bursts are alike, and end with their first loss: of 30 segments in 30 ms, 20 are from the bucket, or more."""
    exchange = sent([10] * 1200, list(range(29, 1200, 30)))
    exchange.rows["time_ns"] += (np.arange(1200) // 30) * 1_000_000_000
    exchange = Exchange(exchange.rows, 0, 0)
    found = rate_of(exchange)
    assert found.high > 2 * found.low
    assert found.low <= found.best <= found.high


def test_no_bucket_is_tried_that_is_too_small_for_one():
    """What was lost at once leaves nothing to tell a rate by but what passed."""
    exchange = sent([10] * 100, [3, *range(20, 100, 5)])
    goodput = goodput_of(exchange)
    assert initial_tokens(exchange, 3, goodput) < 5 * SIZE
    assert bucket_rate(exchange, goodput, 0.01) == (goodput, goodput, goodput)
