"""The kernel gives what its slow twin gives, on anything that the tracking room could hand over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.tables import BOUNDARIES, FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, INT64_MIN, Connections, Headers
from tests.reference.connections_strategies import timeouts, traffic
from tests.reference.network.accounting import Twin
from tests.support.accounting import Inputs, inputs, lives, plain, run
from tests.support.conversation import Event, boundary
from tests.support.headers import Row, follow, headers_of
from tests.support.thorough import up_to

MS = 1_000_000
STEPS = (0, 1, 10_000, 200_000, MS, MS + 1, 3 * MS, 3 * MS, 40 * MS, -1, -5 * MS, 10**9, 3601 * 10**9, -3700 * 10**9)
ROUND_TRIPS = (-1, 0, 50_000, 100_000, 100_001, 700_000, 2 * MS, 60 * MS)


@st.composite
def anything(draw: Callable[..., Any]) -> Event:
    length = draw(st.integers(0, 9))
    new = draw(st.integers(0, length))
    return {
        "which": draw(st.integers(0, 1)),
        "step_ns": draw(st.sampled_from(STEPS)),
        "offset": draw(st.integers(-1, 30) | st.just(INT64_MIN)),
        "acked_offset": draw(st.integers(-1, 30) | st.just(INT64_MIN)),
        "payload_bytes": length,
        "new_bytes": new,
        "new_at": draw(st.integers(0, length - new)),
        "window_bytes": draw(st.sampled_from([-1, 0, 3, 10, 65535])),
        "flags": draw(st.sampled_from([FLAG_ACK] * 5 + [FLAG_FIN, FLAG_RST, FLAG_SYN, FLAG_SYN | FLAG_ACK])),
        "direction": draw(st.integers(0, 1)),
        "kind": draw(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4, 5])),
        "ttl": draw(st.sampled_from([0, 1, 30, 57, 64, 64, 120, 128, 255])),
        "mss_bytes": draw(st.sampled_from([0, 0, 4, 8])),
    }


@st.composite
def talking(draw: Callable[..., Any]) -> Event:
    """Describe a segment by where it lies relative to what was sent; `place` fills the numbers in."""
    length = draw(st.sampled_from([0, 0, 4, 4, 8]))
    return {
        "which": draw(st.integers(0, 1)),
        "step_ns": draw(st.sampled_from(STEPS[:8])),
        "direction": draw(st.integers(0, 1)),
        "skip": draw(st.sampled_from([0, 0, 0, 0, 0, 4, -4])),
        "lag": draw(st.sampled_from([0, 0, 0, 4, 8])),
        "payload_bytes": length,
        "window_bytes": draw(st.sampled_from([0, 4, 8, 12, 65535, 65535])),
        "flags": FLAG_ACK | draw(st.sampled_from([0] * 15 + [FLAG_FIN])),
        "ttl": 64,
        "mss_bytes": 0,
    }


def place(move: Event, edges: dict[int, int]) -> Event:
    """Give a move its offsets: `skip` after what this side has sent, acknowledging all but `lag` of the other."""
    offset = max(0, edges[move["direction"]] + move["skip"])
    end = offset + move["payload_bytes"]
    new = max(0, end - max(offset, edges[move["direction"]]))
    kind = 0 if new or not move["payload_bytes"] else 1 if move["lag"] else 2
    edges[move["direction"]] = max(edges[move["direction"]], end)
    placed = {key: value for key, value in move.items() if key not in ("skip", "lag")}
    return placed | {
        "offset": offset,
        "acked_offset": max(0, edges[1 - move["direction"]] - move["lag"]),
        "new_bytes": move["payload_bytes"] if kind == 2 else new,
        "new_at": 0 if kind else move["payload_bytes"] - new,
        "kind": kind,
    }


def shaken(connection_id: int, slot: int, time_ns: int) -> list[Event]:
    """Describe a handshake over a distance of 2 ms, the client next door; segments carry at most 4 bytes."""
    steps = ((FLAG_SYN, 0, -1, INT64_MIN, 0), (FLAG_SYN | FLAG_ACK, 1, -1, 0, 2 * MS), (FLAG_ACK, 0, 0, 0, 30_000))
    events = [boundary("opened", connection_id, slot, time_ns)]
    for flags, direction, offset, acked, step_ns in steps:
        time_ns += step_ns
        columns = {"connection_id": connection_id, "slot": slot, "time_ns": time_ns, "kind": 0, "new_bytes": 0}
        columns |= {"flags": flags, "direction": direction, "offset": offset, "acked_offset": acked, "ttl": 64}
        events.append(columns | {"payload_bytes": 0, "new_at": 0, "window_bytes": 12, "mss_bytes": 4})
    return events


def connect(moves: list[Event], shakes: list[bool]) -> list[Event]:
    """Turn moves of two talkers into events; those that shake hands do so first."""
    events: list[Event] = []
    time_ns = 10**15
    edges: dict[int, dict[int, int]] = {}
    for move in moves:
        which = move["which"]
        if which not in edges:
            edges[which] = {0: 0, 1: 0}
            begin = shaken(which + 1, which, time_ns)
            events += begin if shakes[which] else begin[:1]
            time_ns = events[-1]["time_ns"]
        time_ns += move["step_ns"]
        placed = place(move, edges[which]) if "skip" in move else move
        columns = {key: value for key, value in placed.items() if key not in ("which", "step_ns")}
        events.append(columns | {"connection_id": which + 1, "slot": which, "time_ns": time_ns})
    return [*events, *(boundary("ended", which + 1, which, time_ns) for which in edges)]


def check(events: list[Event], connections: dict[int, Row], batch: Inputs) -> None:
    twin = Twin()
    twin.take(events, connections)
    accounted = run([batch])
    assert plain(accounted.connections) == twin.connections
    given_rows = {(row["connection_id"], row["request_index"]): row for row in plain(accounted.requests)}
    assert len(given_rows) == len(accounted.requests)
    assert given_rows == twin.requests
    without = run([batch], with_requests=False)
    assert plain(without.connections) == twin.connections


@settings(max_examples=up_to(300), deadline=None)
@given(
    moves=st.lists(talking(), max_size=60),
    shakes=st.tuples(st.booleans(), st.booleans()),
    connect_ns=st.sampled_from([-1, 2_030_000]),
)
def test_kernel_equals_twin_over_conversations(moves: list[Event], shakes: Any, connect_ns: int):
    events = connect(moves, shakes)
    connections = lives(events, connect_ns=connect_ns)
    check(events, connections, inputs(events, connections))


@settings(max_examples=up_to(300), deadline=None)
@given(
    moves=st.lists(st.one_of(anything(), talking()), max_size=50),
    shakes=st.tuples(st.booleans(), st.booleans()),
    known=st.fixed_dictionaries(
        {
            "connect_ns": st.sampled_from([-1, -1, 0, 2_030_000, 10**9]),
            "server_handshake_rtt_ns": st.sampled_from(ROUND_TRIPS),
            "client_handshake_rtt_ns": st.sampled_from(ROUND_TRIPS),
            "server_handshake_least_ns": st.sampled_from(ROUND_TRIPS),
            "client_handshake_least_ns": st.sampled_from(ROUND_TRIPS),
            "client_segments": st.sampled_from([0, 1, 1, 1]),
            "server_segments": st.sampled_from([0, 1, 1, 1]),
        }
    ),
)
def test_kernel_equals_twin_over_anything(moves: list[Event], shakes: Any, known: Row):
    events = connect(moves, shakes)
    connections = lives(events, **known)
    check(events, connections, inputs(events, connections))


def tracked(headers: Headers, times: Any) -> tuple[list[Event], dict[int, Row], Inputs]:
    """Let the tracking room make segments of headers; give them as events too."""
    followed = follow([headers], timeouts=times)
    names = [column.name for column in followed.segments.columns]
    segments = [{name: int(row[name]) for name in names} for row in followed.segments.rows]
    for event, header in zip(segments, headers.rows, strict=True):
        event |= {"ttl": int(header["ttl"]), "mss_bytes": int(header["mss_bytes"])}
    events: list[Event] = []
    at = 0
    for row in followed.boundaries.rows:
        events += segments[at : row["position"]]
        at = int(row["position"])
        of = boundary(BOUNDARIES[row["boundary"]], int(row["connection_id"]), int(row["slot"]), int(row["time_ns"]))
        events.append(of)
    numbers = [column.name for column in Connections.columns if column.width == 1 and column.dtype.startswith("int")]
    rows = {int(row["connection_id"]): {name: int(row[name]) for name in numbers} for row in followed.connections.rows}
    return events, rows, (followed.segments, headers, followed.boundaries, followed.connections)


@settings(max_examples=up_to(300), deadline=None)
@given(rows=traffic, times=timeouts)
def test_kernel_equals_twin_on_what_tracking_makes_of_wild_traffic(rows: list[Row], times: Any):
    table = headers_of(
        {key: np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value for key, value in row.items()}
        for row in rows
    )
    check(*tracked(table, times))
