"""The network kernel says what its slow twin says, of hostile headers and of a path that loses and overtakes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.network import NetworkMeasuring
from tcpsight.tables import Boundaries, Headers, Network, Segments
from tests.reference.connections_strategies import random_moves, rows_of, traffic
from tests.reference.network.measuring import Row, Twin
from tests.reference.network.strategies import moves, random_path, rows_of_a_path, settings_of_a_path
from tests.support.headers import follow, headers_of
from tests.support.holes import many_holes
from tests.support.network import measure
from tests.support.thorough import up_to

WITHIN = 0.05
"""How far percentiles may be from the exact ones."""
CORRELATION_ERROR = 1e-5
"""Of sums in doubles, where both quantities vary by more than a thousandth."""
SHORTEST_BIN_NS = 1024
LONGEST_BIN_NS = 2**37 - 2**31  # the middle of the last; whatever is longer counts as that
TWINLESS = {"client_address", "server_address"}


def as_headers(rows: list[Row]) -> Headers:
    return headers_of(
        {k: np.frombuffer(v, np.uint8) if isinstance(v, bytes) else v for k, v in row.items()} for row in rows
    )


def steps_of(headers: Headers) -> Any:
    """Give the rows before which time goes back by more than 1 ms."""
    return np.flatnonzero(headers.time_ns[:-1] - 1_000_000 > headers.time_ns[1:]).astype(np.int32) + np.int32(1)


def events_of(segments: Segments, headers: Headers, boundaries: Boundaries) -> list[Row]:
    """Give segments, each with its header, what is between them and where time goes back, as the twin takes them."""
    names = ("window", "options", "mss_bytes", "timestamp_value", "timestamp_echo", "acknowledgment_number")
    columns = {name: segments.rows[name].tolist() for name in segments.rows.dtype.names}
    columns |= {name: headers.rows[name].tolist() for name in (*names, "sack_count", "sack")}
    rows = [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
    names = boundaries.rows.dtype.names
    turns = [dict(zip(names, turn, strict=True)) for turn in boundaries.rows.tolist()]
    events: list[Row] = []
    steps = set(steps_of(headers).tolist())
    for position in range(len(rows) + 1):
        while turns and turns[0]["position"] == position:
            events.append(turns.pop(0))
        if position in steps:
            events.append({"step": position})
        events += rows[position : position + 1]
    return events


def compare(network: Network, expected: list[Row]) -> None:
    assert len(network) == len(expected)
    columns = {c.name: network.rows[c.name].tolist() for c in Network.columns if c.name not in TWINLESS}
    for i, row in enumerate(expected):
        given = {name: values[i] for name, values in columns.items()}
        for name in ("rtt_p50_ns", "rtt_p95_ns"):
            exact, near = row.pop(name), given.pop(name)
            if near == LONGEST_BIN_NS:
                exact = min(exact, near)
            assert abs(near - exact) <= max(WITHIN * exact, SHORTEST_BIN_NS if exact >= 0 else 0), name
        exact, near = row.pop("rising_correlation"), given.pop("rising_correlation")
        assert exact is None or abs(near - exact) < CORRELATION_ERROR
        assert given == row


def check(rows: list[Row]) -> None:
    check_headers(as_headers(rows))


def check_headers(headers: Headers) -> None:
    followed = follow([headers])
    twin = Twin()
    twin.take(events_of(followed.segments, headers, followed.boundaries))
    compare(NetworkMeasuring().feed(followed.segments, headers, followed.boundaries, steps_of(headers)), twin.network)


def test_the_twin_has_every_column():
    headers = as_headers(rows_of_a_path({"timestamps": True, "sack": True, "handshake": 2, "isn": 1, "mss": 1460}, []))
    followed = follow([headers])
    twin = Twin()
    twin.take(events_of(followed.segments, headers, followed.boundaries))
    assert {c.name for c in Network.columns} - TWINLESS == twin.network[0].keys()


@settings(max_examples=up_to(400), deadline=None)
@given(settings_of_a_path, st.lists(moves, max_size=30) | st.lists(moves, min_size=30, max_size=80))
def test_kernel_equals_twin_on_a_path_that_loses_and_overtakes(how: Any, what: list[Any]):
    check(rows_of_a_path(how, what))


@pytest.mark.parametrize("seed", range(30))
def test_kernel_equals_twin_over_long_paths(seed: int):
    check(rows_of_a_path(*random_path(seed, 700)))


@pytest.mark.parametrize("seed", [2, 3])
def test_kernel_equals_twin_where_more_holes_open_than_are_kept(seed: int):
    headers = as_headers(many_holes(seed, 3500, acknowledged=0.0005))
    assert measure(headers).is_approximate.tolist() == [1, 0]
    check_headers(headers)


@settings(max_examples=up_to(150), deadline=None)
@given(traffic)
def test_kernel_equals_twin_on_hostile_headers(rows: list[Row]):
    check(rows)


@pytest.mark.parametrize("seed", range(20))
def test_kernel_equals_twin_in_long_hostile_traffic(seed: int):
    check(rows_of(random_moves(seed, 600)))
