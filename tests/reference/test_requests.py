"""The kernel gives what its slow twin gives, on anything that the tracking room could hand over."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.requests import ENDS, MOMENTS, ORDERS, STARTS, RequestPairing
from tcpsight.tables import FLAG_FIN, FLAG_RST, INT64_MIN, TLS_RECORDS, Headers, Table
from tests.reference.requests import Twin
from tests.support.conversation import Event, boundary, tables
from tests.support.thorough import up_to

# Small offsets meet and cross often; INT64_MIN is an unknown one.
OFFSETS = st.integers(-3, 30) | st.just(INT64_MIN)

RECORDS = st.fixed_dictionaries({
    "tls": st.sampled_from([0] * 9 + list(range(len(TLS_RECORDS)))),
    "tls_bytes": st.integers(0, 80),
    "tls_records": st.integers(0, 3),
})  # fmt: skip


@st.composite
def segments(draw: Callable[..., Any]) -> Event:
    length = draw(st.integers(0, 9))
    new = draw(st.integers(0, length))
    return {
        "which": draw(st.integers(0, 2)),
        "step_ns": draw(st.integers(-2, 9)),
        "offset": draw(OFFSETS),
        "acked_offset": draw(OFFSETS),
        "payload_bytes": length,
        "new_bytes": new,
        "new_at": draw(st.integers(0, length - new)),
        "flags": draw(st.sampled_from([0, 0, 0, 0, FLAG_FIN, FLAG_RST, FLAG_FIN | FLAG_RST])),
        "direction": draw(st.integers(0, 1)),
        "kind": draw(st.integers(0, 5)),
        **draw(RECORDS),
    }


@st.composite
def turn_taking(draw: Callable[..., Any]) -> Event:
    """Describe a segment by where it lies relative to what was sent; `place` fills the numbers in."""
    return {
        "which": draw(st.integers(0, 2)),
        "step_ns": draw(st.integers(0, 9)),
        "direction": draw(st.integers(0, 1)),
        "skip": draw(st.sampled_from([0, 0, 0, 0, 4, -4, -8])),
        "lag": draw(st.sampled_from([0, 0, 0, 4, 8, -4, None])),
        "old": 0,
        "payload_bytes": draw(st.sampled_from([0, 4, 4, 8])),
        "flags": draw(st.sampled_from([0] * 15 + [FLAG_FIN])),
        **draw(RECORDS),
    }


@st.composite
def tls_talk(draw: Callable[..., Any]) -> Event:
    """Describe a segment of one with TLS, mostly in place: records of all kinds, alerts and tickets among them."""
    return {
        "which": draw(st.sampled_from([0, 0, 0, 1])),
        "step_ns": draw(st.integers(0, 9)),
        "direction": draw(st.integers(0, 1)),
        "skip": draw(st.sampled_from([0] * 15 + [24, -24])),
        "lag": draw(st.sampled_from([0] * 9 + [24, 80, -1, None])),
        "old": 0,
        "payload_bytes": draw(st.sampled_from([24, 24, 80, 160])),
        "flags": draw(st.sampled_from([0] * 9 + [FLAG_FIN, FLAG_RST])),
        "tls": draw(st.sampled_from(range(len(TLS_RECORDS)))),
        "tls_bytes": draw(st.sampled_from([0, 24, 64, 80, 80])),
        "tls_records": draw(st.sampled_from([1, 1, 2])),
    }


ENDING = st.builds(lambda which: {"end": which}, st.integers(0, 2))


def connect(moves: list[Event]) -> list[Event]:
    """Turn moves of three talkers into events; who has no connection opens one, in the slot that is free longest."""
    events: list[Event] = []
    open_now: dict[int, tuple[int, int]] = {}
    free = [0, 1, 2]
    edges: dict[tuple[int, int], int] = {}
    time_ns = 1000
    for move in moves:
        which = move["end"] if "end" in move else move["which"]
        if "end" in move:
            if which in open_now:
                connection_id, slot = open_now.pop(which)
                free.append(slot)
                events.append(boundary("ended", connection_id, slot, time_ns, is_open=connection_id % 2))
            continue
        time_ns += move["step_ns"]
        if which not in open_now:
            open_now[which] = (len(events) + 1, free.pop(0))
            events.append(boundary("opened", *open_now[which], time_ns))
        connection_id, slot = open_now[which]
        placed = place(move, edges, connection_id) if "skip" in move else move
        columns = {k: v for k, v in placed.items() if k not in ("which", "step_ns", "skip", "lag", "old")}
        events.append(columns | {"connection_id": connection_id, "slot": slot, "time_ns": time_ns})
    for connection_id, slot in open_now.values():
        events.append(boundary("ended", connection_id, slot, time_ns))
    return events


def place(move: Event, edges: dict[tuple[int, int], int], connection_id: int) -> Event:
    """Give a move its offsets: `skip` after what this side has sent, acknowledging all but `lag` of the other.

    Its last `old` bytes are not new; a `lag` of None acknowledges nothing known.
    """
    mine, theirs = (connection_id, move["direction"]), (connection_id, 1 - move["direction"])
    offset = max(0, edges.get(mine, 0) + move["skip"])
    edges[mine] = max(edges.get(mine, 0), offset + move["payload_bytes"])
    return move | {
        "offset": offset,
        "acked_offset": INT64_MIN if move["lag"] is None else max(0, edges.get(theirs, 0) - move["lag"]),
        "new_bytes": max(0, move["payload_bytes"] - move["old"]),
        "new_at": 0,
        "kind": 0,
    }


def plain(table: Table, like: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the rows of a table as dicts, with the columns that the twin has."""
    names = like[0].keys() if like else []
    return [{name: int(row[name]) for name in names} for row in table.rows] if like else list(table.rows)


def long_talk(chance: random.Random) -> list[Event]:
    """Describe hundreds of segments that mostly take turns, with holes, late bytes and impatient clients among them."""
    moves: list[Event] = []
    side = [0, 0, 0]
    for _ in range(400):
        which = chance.randrange(3)
        if chance.random() < 0.35:
            side[which] = 1 - side[which]
        moves.append(
            {
                "which": which,
                "step_ns": chance.choice([-1, 0, 1, 2, 3]),
                "direction": side[which],
                "skip": chance.choices([0, 4, 8, -4, -8, -12, -20], [30, 3, 1, 2, 2, 1, 1])[0],
                "lag": chance.choices([0, 4, 8, 16, -4, None], [32, 4, 2, 2, 2, 1])[0],
                "old": chance.choices([0, 3], [15, 1])[0],
                "payload_bytes": chance.choice([0, 4, 4, 4, 8]),
                "flags": 0,
                "tls": chance.randrange(len(TLS_RECORDS)) if chance.random() < 0.2 else 0,
                "tls_bytes": chance.choice([0, 4, 60]),
                "tls_records": chance.randrange(3),
            }
        )
        if chance.random() < 0.01:
            moves.append({"end": which})
    return moves


def check(events: list[Event], start: str = "request_last", end: str = "response_first", **how: str) -> None:
    twin = Twin(start, end, **how)
    twin.take(events)
    pairing = RequestPairing(start, end, **how)
    segments, boundaries = tables([{k: v for k, v in each.items() if not k.startswith("tls")} for each in events])
    headers = Headers.allocate(len(segments))
    for name in ("tls", "tls_bytes", "tls_records"):
        headers.rows[name] = [each[name] for each in events if name in each]
    paired = pairing.feed(segments, boundaries, headers)
    assert pairing.opened == twin.opened
    assert plain(paired.requests, twin.requests) == twin.requests
    assert plain(paired.unanswered, twin.unanswered) == twin.unanswered
    assert plain(paired.counts, twin.counts) == twin.counts


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("move", [segments(), turn_taking()], ids=["anything", "turns"])
@settings(max_examples=up_to(100), deadline=None)
@given(data=st.data())
def test_kernel_equals_twin(start: str, end: str, move: st.SearchStrategy[Event], data: st.DataObject):
    check(connect(data.draw(st.lists(st.one_of([move] * 9 + [ENDING]), max_size=60))), start, end)


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("given_at", MOMENTS)
@settings(max_examples=up_to(100), deadline=None)
@given(data=st.data())
def test_kernel_equals_twin_whatever_tells_the_order_and_whenever_rows_come(
    by: str, given_at: str, data: st.DataObject
):
    moves = st.lists(st.one_of([segments()] * 4 + [turn_taking()] * 5 + [ENDING]), max_size=60)
    check(connect(data.draw(moves)), by=by, given_at=given_at)


@pytest.mark.parametrize("given_at", MOMENTS)
@settings(max_examples=up_to(400), deadline=None)
@given(data=st.data())
def test_kernel_equals_twin_where_there_is_tls(given_at: str, data: st.DataObject):
    moves = st.lists(st.one_of([tls_talk()] * 19 + [ENDING]), max_size=40)
    check(connect(data.draw(moves)), given_at=given_at)


@settings(max_examples=up_to(60), deadline=None)
@given(seed=st.integers(0, 2**32))
def test_kernel_equals_twin_over_long_connections(seed: int):
    check(connect(long_talk(random.Random(seed))))
