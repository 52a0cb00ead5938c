"""The laws of a stage, for request pairing: cutting, no clock, interleaving."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.requests import Paired, RequestPairing
from tcpsight.tables import Boundaries, Segments, Table
from tests.support.conversation import Event, boundary, cut, tables

STEPS = st.tuples(
    st.sampled_from("><"),
    st.sampled_from([0, 0, 0, 4, -4, -8]),  # bytes skipped, or sent before the edge
    st.sampled_from([0, 0, 4, 8]),  # bytes of the other side not acknowledged
    st.integers(0, 8),  # length
    st.integers(-1, 5),  # nanoseconds since the step before
    st.sampled_from([0] * 9 + [1, 4]),  # flags
)
TALKS = st.lists(STEPS, min_size=1, max_size=25)
MANY_TALKS = st.lists(TALKS, min_size=1, max_size=4)


def connection(steps: list[Any], connection_id: int, slot: int) -> list[Event]:
    edge = {">": 0, "<": 0}
    time_ns = 1_000
    events: list[Event] = [boundary("opened", connection_id, slot, time_ns)]
    for side, skip, lag, length, step_ns, flags in steps:
        time_ns += step_ns
        other = "<" if side == ">" else ">"
        offset = max(0, edge[side] + skip)
        edge[side] = max(edge[side], offset + length)
        events.append(
            {
                "time_ns": time_ns,
                "connection_id": connection_id,
                "slot": slot,
                "offset": offset,
                "acked_offset": max(0, edge[other] - lag),
                "payload_bytes": length,
                "new_bytes": length,
                "direction": "><".index(side),
                "flags": flags,
            }
        )
    return [*events, boundary("ended", connection_id, slot, time_ns)]


def interleave(talks: list[list[Event]], data: st.DataObject) -> list[Event]:
    rest = [list(talk) for talk in talks]
    events = []
    while any(rest):
        alive = [talk for talk in rest if talk]
        events.append(alive[data.draw(st.integers(0, len(alive) - 1))].pop(0))
    return events


def plain(table: Table, without: str = "") -> list[Any]:
    """Give rows that can be compared: padding may hold anything, and `made_by` counts from the beginning of a batch."""
    names = [column.name for column in table.columns if column.name not in (without, "made_by")]
    return list(zip(*(table.rows[name].tolist() for name in names), strict=True))


def rows(batches: list[Paired]) -> list[list[Any]]:
    """Give the rows of each table, whatever batch they came in."""
    return [[row for paired in batches for row in plain(paired[i])] for i in range(3)]


def run(batches: list[tuple[Segments, Boundaries]]) -> list[Paired]:
    pairing = RequestPairing()
    paired = (pairing.feed(*batch) for batch in batches)
    return [Paired(p.requests.copy(), p.unanswered.copy(), p.counts.copy()) for p in paired]


@settings(deadline=None)
@given(talks=MANY_TALKS, data=st.data())
def test_however_rows_are_cut_into_batches_the_same_rows_come_out(talks: list[Any], data: st.DataObject):
    events = interleave([connection(t, i + 1, i) for i, t in enumerate(talks)], data)
    places = data.draw(st.lists(st.integers(0, len(events)), max_size=10))
    assert rows(run(cut(events, places))) == rows(run(cut(events, [])))
    assert rows(run(cut(events, list(range(1, len(events)))))) == rows(run(cut(events, [])))


@settings(deadline=None)
@given(steps=TALKS, shift=st.integers(-(10**15), 10**18))
def test_shifting_all_times_shifts_instants_and_nothing_else(steps: list[Any], shift: int):
    events = connection(steps, 1, 0)
    later = [event | {"time_ns": event["time_ns"] + shift} for event in events]
    (before,), (after,) = run([tables(events)]), run([tables(later)])
    for old, new in zip(before, after, strict=True):
        expected = old.copy()
        for column in expected.columns:
            if column.unit == "epoch ns":
                is_known = (
                    ~((column.null == -1) & (expected.rows["response_bytes"] == 0)) if column.null == -1 else True
                )
                expected.rows[column.name] += shift * is_known
        assert plain(expected) == plain(new)


@settings(deadline=None)
@given(talks=MANY_TALKS, data=st.data())
def test_however_connections_interleave_each_gives_the_same_rows(talks: list[Any], data: st.DataObject):
    connections = [connection(t, i + 1, i) for i, t in enumerate(talks)]
    (mixed,) = run([tables(interleave(connections, data))])
    (in_turn,) = run([tables([event for events in connections for event in events])])
    for one, other in zip(mixed, in_turn, strict=True):
        for connection_id in range(1, len(talks) + 1):
            here, there = (t.rows["connection_id"] == connection_id for t in (one, other))
            # The number counts the requests of all connections together.
            assert plain(one[here], "request_number") == plain(other[there], "request_number")


@settings(deadline=None)
@given(talks=MANY_TALKS, data=st.data())
def test_requests_are_numbered_through_all_connections_as_they_begin(talks: list[Any], data: st.DataObject):
    events = interleave([connection(t, i + 1, i) for i, t in enumerate(talks)], data)
    pairing = RequestPairing(by="capture")
    paired = pairing.feed(*tables(events))
    begun = [(int(row["request_number"]), row) for t in (paired.requests, paired.unanswered) for row in t.rows]
    assert sorted(number for number, _ in begun) == list(range(pairing.opened))
    for connection_id in range(1, len(talks) + 1):
        ours = sorted((n, int(row["request_index"])) for n, row in begun if row["connection_id"] == connection_id)
        assert [index for _, index in ours] == list(range(len(ours)))


@settings(deadline=None)
@given(talks=MANY_TALKS, data=st.data())
def test_every_first_time_byte_goes_to_one_request_at_most(talks: list[Any], data: st.DataObject):
    events = interleave([connection(t, i + 1, i) for i, t in enumerate(talks)], data)
    (paired,) = run([tables(events)])
    for side, name in ((0, "request_bytes"), (1, "response_bytes")):
        given_out = int(sum(t.rows[name].sum() for t in (paired.requests, paired.unanswered)))
        given_out += int(paired.counts.unsolicited_bytes.sum()) if side else 0
        assert given_out <= sum(e["new_bytes"] for e in events if e.get("direction") == side)
    assert len(paired.counts) == len(talks)
    assert (paired.requests.response_time_ns >= 0).all()
    assert (paired.requests.request_first_ns <= paired.requests.request_last_ns).all()
