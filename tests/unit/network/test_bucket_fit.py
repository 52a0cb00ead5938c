"""The bucket that explains losses best, on exchanges that a bucket of known rate and size dropped from."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.network import bucket_fit
from tcpsight.network.bucket_fit import (
    FASTER,
    SIZES,
    Fit,
    fit,
    initial_tokens,
    initial_tokens_by_rate,
    rate_within_round_trips,
)
from tcpsight.network.exchanges import Exchange
from tcpsight.network.token_bucket import goodput_between
from tests.reference import policing
from tests.unit.network.test_exchange_log import SIZE
from tests.unit.network.test_queues import sent
from tests.unit.network.test_token_bucket import through_bucket


def fitted(exchange: Exchange, round_trip_s: float = 0.01) -> Fit:
    lost = np.flatnonzero(exchange.is_lost)
    return fit(exchange, goodput_between(exchange, lost[0], lost[-1]), round_trip_s)


def with_pauses(per_s: float, held: float, every: int, pause_ms: float) -> Exchange:
    """Send 1000 segments a second with pauses, in which the bucket runs over."""
    at_ms = np.arange(1200) + pause_ms * (np.arange(1200) // every)
    tokens, lost = held, []
    for i in range(1200):
        passed_ms = 1 if i == 0 else at_ms[i] - at_ms[i - 1]
        tokens = min(held, tokens + per_s / 1000 * passed_ms)
        if tokens >= 1:
            tokens -= 1
        else:
            lost.append(i)
    exchange = sent([10] * 1200, lost)
    exchange.rows["time_ns"] += ((at_ms - np.arange(1200)) * 1_000_000).astype(np.int64)
    return Exchange(exchange.rows, 0, 0)


def test_a_bucket_that_dropped_is_found_with_the_goodput_for_its_rate_and_explains_every_loss():
    found = fitted(through_bucket(400, 40))
    assert found.rate == pytest.approx(400 * 8 * SIZE, rel=0.03)
    assert found.order > 0.9
    assert (found.losses_outside, found.passes_outside) == (0, 0)
    assert found.is_convincing


def test_a_size_is_one_of_those_that_are_tried_and_holds_no_more_than_half_as_much_again_as_passed_at_first():
    exchange = through_bucket(400, 40)
    found = fitted(exchange)
    assert found.size / SIZE in list(SIZES)
    first = int(np.argmax(exchange.is_lost))
    assert found.size <= 1.5 * initial_tokens(exchange, first, found.rate)


def test_losses_by_chance_depend_on_no_bucket_however_fast():
    lost = np.flatnonzero(np.random.default_rng(3).random(600) < 0.05)
    exchange = sent([10] * 600, [int(each) for each in lost])
    goodput = goodput_between(exchange, lost[0], lost[-1])
    found = fitted(exchange)
    assert not found.is_convincing
    assert any(found.rate == goodput * times for times in FASTER)


def test_where_the_bucket_runs_over_in_pauses_the_rate_is_that_between_losses_near_each_other():
    exchange = with_pauses(400, 8, 60, 600)
    lost = np.flatnonzero(exchange.is_lost)
    assert goodput_between(exchange, lost[0], lost[-1]) < 60 * 8 * SIZE
    assert rate_within_round_trips(exchange, 0.01) == pytest.approx(400 * 8 * SIZE, rel=0.02)
    found = fitted(exchange)
    assert found.is_convincing
    assert found.rate == rate_within_round_trips(exchange, 0.01)
    assert found.size == 8 * SIZE


@pytest.mark.parametrize(
    ("order", "losses_outside", "passes_outside", "expected"),
    [(0.7, 0.1, 0.1, True), (0.69, 0, 0, False), (1, 0.11, 0, False), (1, 0, 0.11, False)],
)
def test_what_convinces_has_an_order_of_seven_tenths_and_a_tenth_outside_at_most(
    order: float, losses_outside: float, passes_outside: float, expected: bool
):
    found = Fit(1e6, 1e4, losses_outside, passes_outside, order)
    assert found.is_convincing is expected
    assert found.merit == pytest.approx(order - losses_outside - passes_outside)


def test_the_rate_within_round_trips_counts_what_passed_between_losses_that_are_near_each_other():
    exchange = sent([10] * 100, [10, 14, 20, 60])  # a millisecond apart each
    # 3 segments in 4 ms, and 5 in 6; what lies between 20 and 60 took longer than a round trip.
    assert rate_within_round_trips(exchange, 0.01) == pytest.approx(8 * SIZE * 8 / 0.010)
    assert rate_within_round_trips(exchange, 0.006) == pytest.approx(8 * SIZE * 8 / 0.010)
    assert rate_within_round_trips(exchange, 0.005) == pytest.approx(3 * SIZE * 8 / 0.004)
    assert rate_within_round_trips(exchange, 0.003) == 0


def test_a_bucket_held_what_had_passed_before_the_first_loss_beyond_what_came_meanwhile():
    exchange = sent([10] * 100, [50])
    assert initial_tokens(exchange, 50, 0.0) == 50 * SIZE
    # 50 segments in 50 ms, of which the rate brings 20.
    assert initial_tokens(exchange, 50, 400 * 8 * SIZE) == pytest.approx(30 * SIZE)
    # What came before a pause was made up for in it.
    exchange.rows["time_ns"][30:] += 10_000_000_000
    assert initial_tokens(Exchange(exchange.rows, 0, 0), 50, 400 * 8 * SIZE) == pytest.approx(20 * SIZE - 8 * SIZE)


def test_what_was_lost_first_was_not_passed_whatever_its_size():
    exchange = sent([10] * 100, [50])
    exchange.rows["payload"][0] = 2 * SIZE
    exchange.rows["payload"][50] = 3 * SIZE
    assert initial_tokens(Exchange(exchange.rows, 0, 0), 50, 0.0) == 51 * SIZE


@given(
    st.lists(st.tuples(st.sampled_from([-900, 0, 0, 1, 7, 900, 40_000]), st.integers(1, 3 * SIZE)), min_size=1),
    st.lists(st.floats(0, 1e9), max_size=20),
    st.integers(0, 99),
)
def test_what_it_held_is_told_of_many_rates_as_of_each(entries: list[tuple[int, int]], rates: list[float], first: int):
    """The capture's clock may be set back by less than a millisecond."""
    exchange = sent([10] * len(entries), [])
    exchange.rows["time_ns"] = np.cumsum([1000 * us for us, _ in entries])
    exchange.rows["payload"] = [payload for _, payload in entries]
    exchange = Exchange(exchange.rows, 0, 0)
    rates, first = sorted(rates), min(first, len(entries) - 1)
    found = initial_tokens_by_rate(exchange, first, np.array(rates))
    assert found == pytest.approx([initial_tokens(exchange, first, rate) for rate in rates], rel=1e-9, abs=1e-6)


def test_many_rates_take_little_longer_than_few():
    """Each of a thousand rates looked at all of 20,000 entries: now all together look at each some twenty times."""
    exchange = sent([10] * 20_001, [])
    looked_at = list[int]()

    class Counted(np.ndarray[Any, Any]):
        def __getitem__(self, where: Any) -> Any:
            part = super().__getitem__(where)
            if isinstance(where, slice):
                looked_at.append(len(part))
            return part

    with pytest.MonkeyPatch.context() as patch:
        both = bucket_fit._before(exchange, 20_000)
        patch.setattr(bucket_fit, "_before", lambda *_: tuple(each.view(Counted) for each in both))
        found = initial_tokens_by_rate(exchange, 20_000, np.geomspace(1e3, 1e9, 1000))
    assert (found >= 0).all()
    assert 0 < sum(looked_at) < 2 * 12 * (20_001 + 1000)


def test_a_loss_may_have_as_many_tokens_more_as_come_in_a_tenth_of_a_round_trip():
    exchange = through_bucket(400, 40)
    for first in range(100, 600, 100):  # here they came together, at the bucket one after the other
        exchange.rows["time_ns"][first : first + 20] = exchange.rows["time_ns"][first]
    together = Exchange(exchange.rows, 0, 0)
    assert fitted(together, 0.1).losses_outside == 0
    assert fitted(together, 0.001).losses_outside > 0.02


@pytest.mark.parametrize("round_trip_s", [0.0, 0.01])
def test_what_lies_outside_is_counted_with_three_segments_too_many_and_two_too_few(round_trip_s: float):
    """Behind each loss six pass at once, which an empty bucket would have dropped."""
    group_ms = np.array([*range(0, 80, 10), *[80] * 7])
    at_ms = np.concatenate([group_ms + 100 * i for i in range(20)])
    exchange = sent([10] * len(at_ms), [8 + 15 * i for i in range(20)])
    exchange.rows["time_ns"] = at_ms * 1_000_000
    exchange = Exchange(exchange.rows, 0, 0)
    found = fitted(exchange, round_trip_s)
    rate, slack = found.rate / 8e9, 0.1 * round_trip_s * found.rate / 8
    behind = [(int(ms) * 1_000_000, SIZE, bool(one)) for ms, one in zip(at_ms, exchange.is_lost, strict=True)][8:]
    limits = 3 * SIZE + slack, -2 * SIZE - slack
    losses, passes = policing.explain(behind, rate, found.size, limits, fills=False)
    assert passes > 0
    assert (found.losses_outside, found.passes_outside) == pytest.approx((losses / 19, passes / (len(behind) - 20)))
