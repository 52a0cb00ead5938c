"""Counts by bucket add up however they are cut, and percentiles that come from them are within 0.8 %."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.model import sketches
from tcpsight.model._kernel import bucket_middles
from tcpsight.model.sketches import MINUTE_NS, Sketching, bucket_bounds
from tcpsight.tables import Requests, Sketches

INT64 = st.integers(0, 2**62)


def requests_of(rows: list[tuple[int, int, int]]) -> Requests:
    """Make requests of (service, arrival, response time)."""
    requests = Requests.allocate(len(rows))
    for row, (service, arrival_ns, response_time_ns) in zip(requests.rows, rows, strict=True):
        row["server_address"][15], row["server_port"], row["ip_version"] = (
            service % 200,
            1000 + service,
            4 + service % 2,
        )
        row["arrival_ns"], row["response_time_ns"] = arrival_ns, response_time_ns
    return requests


def counted(tables: list[Sketches]) -> Counter[tuple[int, ...]]:
    counts: Counter[tuple[int, ...]] = Counter()
    for table in tables:
        for row in table:
            key = (row["ip_version"], row["server_address"][15], row["server_port"], row["start_ns"], row["low_ns"])
            counts[tuple(map(int, key))] += int(row["requests"])
    return counts


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-(10**12), 10**13), INT64), max_size=60), st.data())
def test_however_they_are_cut_counts_are_those_of_a_plain_loop(rows, data):
    bounds = bucket_bounds().tolist()
    expected: Counter[tuple[int, ...]] = Counter()
    for service, arrival_ns, response_time_ns in rows:
        low = max(bound for bound in bounds if bound <= response_time_ns)
        minute = arrival_ns // MINUTE_NS * MINUTE_NS
        expected[(4 + service % 2, service % 200, 1000 + service, minute, low)] += 1
    at = data.draw(st.integers(0, len(rows)))
    sketching = Sketching()
    parts = [sketching.feed(requests_of(part)) for part in (rows[:at], rows[at:])]
    assert counted([*parts, sketching.finish()]) == expected


def test_bounds_are_those_of_the_buckets_of_distributions():
    bounds = bucket_bounds()
    assert (np.diff(bounds) > 0).all()
    middles = np.zeros(len(bounds) - 1, np.int64)
    bucket_middles(middles)
    assert (bounds[:-1] <= middles).all()
    assert (middles < bounds[1:]).all()
    widest = (bounds[1:] - 1 - middles)[128:] / bounds[:-1][128:]
    assert widest.max() < 0.008


@pytest.mark.parametrize("p", [0.5, 0.9, 0.99, 0.999])
def test_percentiles_of_any_grouping_are_within_the_bound(p):
    random = np.random.default_rng(4)
    rows = [(int(s), int(a), int(r)) for s, a, r in zip(
        random.integers(0, 3, 20_000), random.integers(0, 10 * MINUTE_NS, 20_000), random.lognormal(13, 2, 20_000),
        strict=True,
    )]  # fmt: skip
    sketching = Sketching()
    sketching.feed(requests_of(rows))
    table = sketching.finish()
    for chosen in (table.server_port == 1001, table.start_ns >= 5 * MINUTE_NS, table.requests > 0):
        part = table[chosen]
        order = np.argsort(part.middle_ns, kind="stable")
        upto = np.cumsum(part.requests[order])
        got = int(part.middle_ns[order][np.searchsorted(upto, p * upto[-1])])
        kept = {(int(r["server_port"]), int(r["start_ns"])) for r in part}
        values = sorted(r for s, a, r in rows if (1000 + s, a // MINUTE_NS * MINUTE_NS) in kept)
        assert len(values) == upto[-1]
        true = values[int(np.ceil(p * len(values))) - 1]
        assert abs(got - true) <= 0.008 * true


def test_what_cannot_be_held_is_given_and_comes_again(monkeypatch):
    monkeypatch.setattr(sketches, "HELD_ROWS", 4)
    sketching = Sketching()
    rows = [(0, 0, 1000 << i) for i in range(6)]
    first = sketching.feed(requests_of(rows))
    assert len(first) == 6
    again = sketching.feed(requests_of(rows[:2]))
    assert not len(again)
    assert counted([first, sketching.finish()]) == Counter(
        {(4, 0, 1000, 0, int(low)): 2 if i < 2 else 1 for i, low in enumerate(first.low_ns)}
    )
