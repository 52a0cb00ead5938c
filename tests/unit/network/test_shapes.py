"""One rate behind a queue: when a queue stood, what came meanwhile, and the burst before it."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.network import delivery, queueing
from tcpsight.network.delivery import Deliveries
from tcpsight.network.exchanges import ENTRY, Exchange
from tests.unit.network.test_exchange_log import SIZE

FLAGS = {"lost": 1, "again": 4, "hole": 8, "acked": 16}


def link(*pieces: tuple[float, int], idle_s: float = 0.2, waits_s: float = 0.1) -> Deliveries:
    """Deliver so many segments at so many a second, piece by piece; all but the first piece wait in a queue."""
    times, waits, now = [], [], 0.0
    for number, (per_s, count) in enumerate(pieces):
        for i in range(count):
            now += 1 / per_s
            times.append(now)
            # Who comes first waits least.
            waits.append(min(waits_s, i / per_s) if number else 0.0)
        now += idle_s if number else 0.0
    size = np.full(len(times), SIZE)
    return Deliveries(np.array(times), size, np.array(waits), 0.04)


def test_what_waited_in_a_queue_tells_that_it_was_busy_since_it_came():
    found = Deliveries(np.array([1.0, 1.01, 2.0]), np.full(3, SIZE), np.array([0.1, 0.2, np.nan]), 0.0)
    assert delivery.busy_times(found).tolist() == [pytest.approx([0.81, 1.01])]


def test_a_queue_that_stands_now_and_then_has_one_rate_all_the_same():
    shape = delivery.while_queued(link((5000, 200), (500, 100), (500, 100), (500, 100)))
    assert shape is not None
    assert shape.rate == pytest.approx(500 * 8 * SIZE)
    assert shape.burst_bytes == pytest.approx(200 * SIZE * 0.9, rel=0.05)


def test_a_link_that_never_was_faster_has_no_burst():
    shape = delivery.while_queued(link((500, 100), (500, 100), (500, 100)))
    assert shape is not None
    assert shape.burst_bytes == 0


def test_a_link_whose_rate_changes_has_none():
    assert delivery.while_queued(link((5000, 200), (500, 100), (900, 100), (300, 100))) is None


def test_a_queue_that_hardly_delivers_anything_is_not_what_shapes():
    assert delivery.while_queued(link((5000, 900), (500, 80))) is None


def test_a_burst_is_no_part_of_the_rate_though_what_precedes_it_happens_to_look_like_it():
    rates = np.array([5.2, 20.0, 5.2, 5.2, 5.3, 5.2, 5.2, 5.2, 5.1, 5.2])
    assert delivery.common_rate(rates) is None
    assert delivery.common_rate(rates[2:]) == pytest.approx(5.2, rel=0.01)
    rates[1] = 7.0
    assert delivery.common_rate(rates) == pytest.approx(5.2, rel=0.01)


def test_one_slice_alone_has_no_rate_however_much_came_in_it():
    """Half of all in the first of 20 slices of 0.4 s, and five at one rate."""
    pieces = [(1500, 590), *[(250, 590)], (10, 55)]
    times = np.concatenate([np.full(count, 1 / per_s) for per_s, count in pieces]).cumsum()
    found = delivery.steady_part(Deliveries(times, np.full(len(times), SIZE), np.full(len(times), np.nan), 0.04))
    assert found is not None
    assert found[2] == pytest.approx(250 * 8 * SIZE, rel=0.02)


def arrivals(before_per_s: float, after_per_s: float, repairs: int = 20) -> Exchange:
    """40 segments, then 30 that never come, and 400 more, `repairs` of them sent again; seen behind the loss."""
    rows = np.zeros(470, ENTRY)
    times = np.concatenate(
        [np.arange(40) / before_per_s, np.full(30, 40 / before_per_s), 41 / before_per_s + np.arange(400) / after_per_s]
    )
    rows["time_ns"], rows["payload"] = np.round(times * 1e9), SIZE
    rows["flags"][40:70] = FLAGS["lost"] | FLAGS["hole"]
    rows["flags"][100 : 100 + repairs] = FLAGS["again"]
    return Exchange(rows, 0, 40_000_000)


def test_behind_a_policer_repairs_come_no_faster_than_its_rate():
    found = arrivals(1000, 200)
    assert queueing.kept_rate(found, 0.04) == pytest.approx(200 * 8 * SIZE, rel=0.05)
    assert queueing.is_run_dry(found, 200 * 8 * SIZE, 32 * SIZE)


def test_without_much_to_repair_a_sender_may_just_be_slow():
    assert np.isnan(queueing.kept_rate(arrivals(1000, 200, repairs=10), 0.04))


def test_behind_a_link_nothing_came_faster_before_the_first_loss_either():
    assert not queueing.is_run_dry(arrivals(210, 200), 200 * 8 * SIZE, 32 * SIZE)


def test_a_bucket_smaller_than_any_flight_is_none():
    assert not queueing.is_run_dry(arrivals(1000, 200), 200 * 8 * SIZE, 4 * SIZE)


def came(per_s: float, count: int, echoed_ms: list[float], handshake_ms: float = 0) -> Exchange:
    """Segments that came at so many a second; the data after each echoed an acknowledgment so long before."""
    rows = np.zeros(count, ENTRY)
    rows["time_ns"], rows["payload"] = np.round(np.arange(count) / per_s * 1e9), SIZE
    rows["echoed_us"] = np.round(np.resize(echoed_ms, count) * 1000)
    return Exchange(rows, 0, round(handshake_ms * 1e6))


def test_how_long_data_waited_before_they_came_is_beyond_the_shortest_way():
    assert delivery.arrived(came(100, 3, [20, 50, 30])).queue_s.tolist() == pytest.approx([0, 0.03, 0.01])
    assert delivery.arrived(came(100, 3, [20, 50, 30], 5)).queue_s.tolist() == pytest.approx([0.015, 0.045, 0.025])
    assert delivery.arrived(came(100, 3, [20, 50, 30], 40)).base_s == pytest.approx(0.02)
    silent = delivery.arrived(came(100, 3, [0], 40))
    assert np.isnan(silent.queue_s).all()
    assert silent.base_s == pytest.approx(0.04)


def test_the_highest_rate_is_that_of_half_a_burst():
    at_s = np.concatenate([np.arange(20) / 1000, 1 + np.arange(20) / 100])
    found = Deliveries(at_s, np.full(40, SIZE), np.zeros(40), 0.0)
    assert delivery.peak_rate(found, 10 * SIZE) == pytest.approx(1000 * 8 * SIZE)
    assert delivery.peak_rate(found, 1000 * SIZE) == 0


def test_what_came_evenly_came_as_long_after_the_one_before_as_its_bytes_take():
    steady = Deliveries(np.arange(40) / 100, np.full(40, SIZE), np.zeros(40), 0.0)
    assert delivery.is_even(steady, 100 * 8 * SIZE)
    assert not delivery.is_even(steady, 200 * 8 * SIZE)


def test_a_burst_is_the_most_that_came_beyond_the_rate():
    """Twenty at once, and then one every 10 ms."""
    at_s = np.concatenate([np.zeros(20), np.arange(1, 41) / 100])
    found = Deliveries(at_s, np.full(60, SIZE), np.zeros(60), 0.0)
    assert delivery.burst_before(found, 60, 100 * 8 * SIZE) == pytest.approx(20 * SIZE)
    assert delivery.burst_before(found, 0, 100 * 8 * SIZE) == 0
    assert delivery.burst_before(link((100, 60)), 60, 100 * 8 * SIZE) == 0
