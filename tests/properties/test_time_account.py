"""The laws of a stage, for the time account: cutting, no clock, interleaving; and its own: the parts add up."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.network import Accounted, Placing, TimeAccounting
from tcpsight.tables import ConnectionAccounts
from tests.reference.connections_strategies import traffic
from tests.reference.network.strategies import moves as path_moves
from tests.reference.network.strategies import rows_of_a_path, settings_of_a_path
from tests.reference.network.test_accounting import anything, connect, talking
from tests.reference.network.test_measuring import as_headers
from tests.support.accounting import PARTS, inputs, lives, plain, run
from tests.support.conversation import Event
from tests.support.headers import Row, follow
from tests.support.thorough import up_to

MOVES = st.lists(st.one_of(talking(), talking(), anything()), max_size=50)
SHAKES = st.tuples(st.booleans(), st.booleans())
CONNECT_NS = st.sampled_from([-1, 0, 2_030_000])
TTLS = st.sampled_from([0, 55, 63, 64, 128, 255])
GAPS = st.sampled_from([-1, 0, 30_000, 5_000_000])


def rows(accounted: Accounted) -> tuple[list[Any], list[Any]]:
    return plain(accounted.connections), plain(accounted.requests)


@settings(deadline=None)
@given(moves=MOVES, shakes=SHAKES, connect_ns=CONNECT_NS, data=st.data())
def test_however_rows_are_cut_into_batches_the_same_rows_come_out(
    moves: list[Event], shakes: Any, connect_ns: int, data: st.DataObject
):
    events = connect(moves, shakes)
    known = lives(events, connect_ns=connect_ns)
    places = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=8)))
    cuts = [0, *places, len(events)]
    whole = rows(run([inputs(events, known)]))
    assert rows(run([inputs(events[a:b], known) for a, b in pairwise(cuts)])) == whole
    assert rows(run([inputs([event], known) for event in events] or [inputs([], known)])) == whole


@settings(deadline=None)
@given(moves=MOVES, shakes=SHAKES, connect_ns=CONNECT_NS, shift=st.integers(-(10**15), 10**18))
def test_shifting_all_times_changes_nothing(moves: list[Event], shakes: Any, connect_ns: int, shift: int):
    events = connect(moves, shakes)
    later = [event | {"time_ns": event["time_ns"] + shift} for event in events]
    here, there = (run([inputs(each, lives(each, connect_ns=connect_ns))]) for each in (events, later))
    connections, requests = rows(there)
    back = [row | {"request_first_ns": row["request_first_ns"] - shift} for row in requests]
    assert rows(here) == (connections, back)


@settings(deadline=None)
@given(moves=MOVES, shakes=SHAKES)
def test_however_connections_interleave_each_gives_the_same_rows(moves: list[Event], shakes: Any):
    events = connect(moves, shakes)
    known = lives(events)
    mixed = run([inputs(events, known)])
    for of in known:
        alone = run([inputs([event for event in events if event["connection_id"] == of], known)])
        for one, other in zip(mixed, alone, strict=True):
            assert plain(one[one.rows["connection_id"] == of]) == plain(other)


@settings(deadline=None, max_examples=up_to(300))
@given(moves=MOVES, shakes=SHAKES, connect_ns=CONNECT_NS, segments=st.integers(0, 1))
def test_the_parts_add_up_to_the_duration(moves: list[Event], shakes: Any, connect_ns: int, segments: int):
    events = connect(moves, shakes)
    known = lives(events, connect_ns=connect_ns, server_segments=segments)
    for row in known.values():
        # A connection takes no less time than its handshake.
        row["connect_ns"] = min(row["connect_ns"], row["duration_ns"])
    for row in plain(run([inputs(events, known)]).connections):
        life = known[row["connection_id"]]
        parts = [max(0, life["connect_ns"]), *(row[name] for name in PARTS)]
        assert min(parts) >= 0
        assert sum(parts) == life["duration_ns"]


HOUR_NS = 3600 * 10**9
STEPS_NS = st.sampled_from([0, 0, 0, 1, 10**6, -(10**6), 10**9, 2 * HOUR_NS, -2 * HOUR_NS, 10**17, -(10**17)])


@st.composite
def stepping(draw: st.DrawFn) -> list[Row]:
    """Conversations of two stacks, captured by a clock that is set while they go on."""
    rows = rows_of_a_path(draw(settings_of_a_path), draw(st.lists(path_moves, max_size=20)))
    ahead = 0
    for row in rows:
        ahead += draw(STEPS_NS)
        row["time_ns"] += ahead
    return rows


@settings(deadline=None, max_examples=up_to(300))
@given(traffic | stepping())
def test_the_parts_add_up_however_clocks_are_set(rows: list[Row]):
    table = as_headers(rows)
    followed = follow([table])
    accounted = TimeAccounting().feed(followed.segments, table, followed.boundaries, followed.connections)
    for account, life in zip(plain(accounted.connections), followed.connections.rows, strict=True):
        parts = [max(0, int(life["connect_ns"])), *(account[name] for name in PARTS)]
        assert min(parts) >= 0
        assert sum(parts) == life["duration_ns"]
        assert life["connect_ns"] <= life["duration_ns"]


@settings(deadline=None)
@given(moves=MOVES, shakes=SHAKES, connect_ns=CONNECT_NS, data=st.data())
def test_places_are_those_of_the_account(moves: list[Event], shakes: Any, connect_ns: int, data: st.DataObject):
    events = [event if "boundary" in event else event | {"ttl": data.draw(TTLS)} for event in connect(moves, shakes)]
    known = lives(
        events, connect_ns=connect_ns, server_handshake_rtt_ns=data.draw(GAPS), client_handshake_rtt_ns=data.draw(GAPS)
    )
    cut = data.draw(st.integers(0, len(events)))
    batches = [inputs(events[:cut], known), inputs(events[cut:], known)]
    room = Placing()
    placed = ConnectionAccounts.concatenate([room.feed(*batch).connections.copy() for batch in batches])
    accounted = run(batches).connections
    for name in ("connection_id", "vantage", "vantage_confidence"):
        assert placed.rows[name].tolist() == accounted.rows[name].tolist()
    assert {row["limited_by"] for row in plain(placed)} <= {255}
