"""Buckets: who is in which, and what those in one are like."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tcpsight.model.buckets import (
    MEASURES,
    BucketSeries,
    Cut,
    bucket_table,
    linear_edges,
    logarithmic_edges,
    measure,
    nice_width,
    rated,
)
from tcpsight.tables import STATES, Buckets, Connections, RatedConnections


def connections(by: str, values: list[int], **columns: list[int]) -> RatedConnections:
    table = RatedConnections.allocate(len(values))
    for name in ("client_bytes", "server_bytes", "requests", "duration_ns", "connect_ns", "throughput_bits_per_s"):
        table.rows[name] = -1
    table.rows[MEASURES[by]] = values
    for name, column in columns.items():
        table.rows[name] = column
    return table


def series(by: str, cut: Cut, *tables: RatedConnections) -> Buckets:
    sums = BucketSeries(by, cut, sum(map(len, tables)))
    rows = [row for table in tables for row in sums.feed(table)]
    return bucket_table(by).concatenate([*rows, *sums.finish()])


def bounds(rows: Buckets) -> list[tuple[int, int, int, int]]:
    return list(zip(*(rows.rows[name].tolist() for name in ("bucket", "low", "high", "connections")), strict=True))


def test_a_value_on_an_edge_is_in_the_bucket_above_it():
    rows = series("duration", Cut(linear_edges(10, 2), has_end=False), connections("duration", [0, 9, 10, 19, 20, 99]))
    assert bounds(rows) == [(0, 0, 10, 2), (1, 10, 20, 2), (2, 20, -1, 2)]


def test_empty_buckets_are_rows_too():
    rows = series("duration", Cut(linear_edges(10, 3), has_end=False), connections("duration", [12]))
    assert bounds(rows) == [(0, 0, 10, 0), (1, 10, 20, 1), (2, 20, 30, 0), (3, 30, -1, 0)]
    assert rows.duration_p50_ns.tolist() == [-1, 12, -1, -1]
    assert np.isnan(rows.client_bytes_mean).all()


def test_unknown_values_are_a_row_of_their_own_behind_all_buckets():
    rows = series("duration", Cut(linear_edges(10, 1), has_end=False), connections("duration", [5, -1, -1]))
    assert bounds(rows) == [(0, 0, 10, 1), (1, 10, -1, 0), (-1, -1, -1, 2)]
    assert rows.connections_fraction.tolist() == pytest.approx([1 / 3, 0, 2 / 3])
    assert rows.cumulative_fraction.tolist() == pytest.approx([1 / 3, 1 / 3, 1])


def test_only_unknown_values_leave_every_bucket_empty():
    rows = series("duration", Cut(logarithmic_edges(0, 0)), connections("duration", [-1, -1]))
    assert bounds(rows) == [(0, 0, 1, 0), (-1, -1, -1, 2)]


@pytest.mark.parametrize(
    ("least", "most", "edges"),
    [
        (0, 0, [0, 1]),
        (1, 1, [1, 2]),
        (3, 49, [2, 5, 10, 20, 50]),
        (50, 50, [50, 100]),
        (0, 7, [0, 1, 2, 5, 10]),
        (999, 1000, [500, 1000, 2000]),
        (2**63 - 1, 2**63 - 1, [5 * 10**18]),
    ],
)
def test_logarithmic_edges_are_1_2_5_10_around_the_values(least, most, edges):
    assert logarithmic_edges(least, most).tolist() == edges


@pytest.mark.parametrize(
    ("most", "count", "width"), [(0, 20, 1), (19, 20, 1), (20, 20, 2), (99, 10, 10), (100, 10, 20), (1, 1, 2)]
)
def test_the_width_is_the_least_of_1_2_5_10_that_holds_all_values(most, count, width):
    assert nice_width(most, count) == width


def test_quantiles_hold_equal_numbers():
    rows = series("duration", Cut(None, count=4, total=8), connections("duration", [1, 2, 3, 4, 5, 6, 7, 80]))
    assert bounds(rows) == [(0, 1, 3, 2), (1, 3, 5, 2), (2, 5, 7, 2), (3, 7, 81, 2)]


def test_equal_values_are_never_in_different_quantiles():
    values = [1, 1, 1, 1, 1, 1, 2, 3]
    for split in range(len(values) + 1):
        parts = [connections("duration", part) for part in (values[:split], values[split:])]
        rows = series("duration", Cut(None, count=4, total=8), *parts)
        assert bounds(rows) == [(0, 1, 2, 6), (3, 2, 4, 2)]


def test_cutting_the_rows_changes_nothing():
    values = [0, 0, 3, 7, 7, 7, 11, 40, 40, 500, -1, -1]
    whole = series("duration", Cut(logarithmic_edges(0, 500)), connections("duration", values))
    for split in range(len(values) + 1):
        parts = [connections("duration", part) for part in (values[:split], values[split:])]
        assert series("duration", Cut(logarithmic_edges(0, 500)), *parts).rows.tobytes() == whole.rows.tobytes()


def test_what_connections_of_a_bucket_are_like():
    states = [STATES.index(state) for state in ("closed", "refused", "client_reset", "server_reset", "open")]
    table = connections(
        "duration",
        [10, 20, 30, 40, 50],
        client_bytes=[1, 2, 3, -1, 6],
        server_bytes=[-1] * 5,
        requests=[0, 1, 2, 3, 4],
        connect_ns=[-1, 5, 1, 9, 7],
        throughput_bits_per_s=[100, 300, 200, -1, -1],
        connect_attempts=[0, 1, 2, 4, 1],
        state=states,
    )
    row = series("duration", Cut(np.array([0, 100])), table).rows[0]
    assert (row["client_bytes_mean"], row["requests_mean"]) == (3.0, 2.0)
    assert math.isnan(row["server_bytes_mean"])
    assert (row["duration_p50_ns"], row["duration_p95_ns"]) == (30, 50)
    assert (row["connect_p50_ns"], row["connect_p95_ns"]) == (5, 9)
    assert (row["throughput_p50_bits_per_s"], row["throughput_p95_bits_per_s"]) == (200, 300)
    assert (row["repeated_syns"], row["resets"]) == (4, 3)


def test_throughput_is_the_bits_of_both_directions_over_the_duration():
    table = Connections.allocate(5)
    table.client_bytes[:] = [100, -1, 100, 0, 2**40]
    table.server_bytes[:] = [900, 900, 900, 0, 2**40]
    table.duration_ns[:] = [10**9, 10**9, 0, 7, 1]
    assert rated(table).throughput_bits_per_s[:4].tolist() == [8000, -1, -1, 0]
    assert rated(table).throughput_bits_per_s[4] == 2**62


def test_bounds_have_the_unit_of_what_buckets_are_made_by():
    units = {by: next(c.unit for c in bucket_table(by).columns if c.name == "low") for by in MEASURES}
    assert units == {
        "duration": "ns", "connect": "ns", "client_bytes": "B", "server_bytes": "B",
        "throughput": "bit/s", "requests": "", "attempts": "",
    }  # fmt: skip
    assert bucket_table("duration").dtype == Buckets.dtype
    assert all(measure(by).null in (-1, None) for by in MEASURES)
