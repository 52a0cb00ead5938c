"""Laws of connection tracking: what must not change the rows, whatever the traffic."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.tables import INT64_MAX, INT64_MIN, Connections, Headers, Segments
from tests.reference.connections_strategies import (
    CHOICES,
    MS,
    SECOND,
    Move,
    endpoint_servers,
    moves,
    rows_of,
    timeouts,
    traffic,
)
from tests.support.headers import Followed, Row, follow, headers_of
from tests.support.thorough import up_to

TIMES = {"time_ns", "start_ns", "end_ns"}


def table_of(rows: list[Row]) -> Headers:
    return headers_of(
        {k: np.frombuffer(v, np.uint8) if isinstance(v, bytes) else v for k, v in row.items()} for row in rows
    )


def columns(rows: np.ndarray[Any, Any]) -> dict[str, list[Any]]:
    """Give every column; `row` counts from the beginning of its batch."""
    return {name: rows[name].tolist() for name in rows.dtype.names or () if name != "row"}


def content(followed: Followed) -> tuple[Any, ...]:
    """Give everything that came out, slots too."""
    return (
        columns(followed.segments.rows),
        columns(followed.boundaries.rows),
        columns(followed.connections.rows),
        followed.unseen,
    )


@settings(max_examples=up_to(150), deadline=None)
@given(traffic, st.lists(st.integers(0, 50), max_size=6), timeouts, endpoint_servers)
def test_cutting_into_batches_changes_nothing(rows: list[Row], cuts: list[int], times: Any, servers: Any):
    table = table_of(rows)
    edges = [0, *sorted(min(cut, len(table)) for cut in cuts), len(table)]
    pieces = [table[a:b] for a, b in pairwise(edges)]
    whole = follow([table], timeouts=times, servers=servers)
    assert content(follow(pieces, timeouts=times, servers=servers)) == content(whole)
    assert content(follow([table[i : i + 1] for i in range(len(table))], timeouts=times, servers=servers)) == content(
        whole
    )


@settings(max_examples=up_to(100), deadline=None)
@given(traffic, st.integers(-(10**18), 10**18), timeouts)
def test_a_shift_of_all_times_shifts_the_rows_and_nothing_else(rows: list[Row], shift: int, times: Any):
    table = table_of(rows)
    here = follow([table], timeouts=times)
    moved = table.copy()
    moved.time_ns[:] += shift
    there = follow([moved], timeouts=times)
    for one, other in (
        (here.segments, there.segments),
        (here.boundaries, there.boundaries),
        (here.connections, there.connections),
    ):
        for name in one.rows.dtype.names:
            expected = one.rows[name] + shift if name in TIMES else one.rows[name]
            if name == "due_ns":
                # A deadline, where it is none of the two ends of time.
                is_deadline = (one.rows[name] != 0) & (one.rows[name] != INT64_MAX)
                expected = np.where(is_deadline, one.rows[name] + shift, one.rows[name])
            assert other.rows[name].tolist() == expected.tolist(), name
    assert here.unseen == there.unseen


@settings(max_examples=up_to(100), deadline=None)
@given(traffic, st.integers(0, 2**64 - 1), timeouts)
def test_the_hash_seed_changes_nothing(rows: list[Row], seed: int, times: Any):
    table = table_of(rows)
    assert content(follow([table], hash_seed=seed, timeouts=times)) == content(follow([table], timeouts=times))


@settings(max_examples=up_to(100), deadline=None)
@given(traffic, st.data(), timeouts)
def test_silence_that_says_what_the_rows_say_changes_no_row(rows: list[Row], data: st.DataObject, times: Any):
    """An empty batch tells how far time has come: known times before the next row end nothing that would not end."""
    rows = sorted(rows, key=lambda row: row["time_ns"])
    # A jump needs a frame to confirm it, but silence confirms it too: leave jumps out.
    for i, row in enumerate(rows):
        row["time_ns"] = 10**18 + i * (20 * SECOND)
    table = table_of(rows)
    batches: list[Headers] = []
    for i in range(len(table)):
        if data.draw(st.booleans()):
            batches.append(Headers(until_ns=int(table.time_ns[i]) - data.draw(st.integers(0, 19 * SECOND))))
        batches.append(table[i : i + 1])
    spoken, silent = follow([table], timeouts=times), follow(batches, timeouts=times)
    assert columns(silent.segments.rows) == columns(spoken.segments.rows)
    for followed in (spoken, silent):
        followed.connections = followed.connections[np.argsort(followed.connections.connection_id)]
    assert columns(silent.connections.rows) == columns(spoken.connections.rows)
    assert silent.unseen == spoken.unseen


calm_moves = st.fixed_dictionaries(
    {name: st.sampled_from(values) for name, values in CHOICES.items()} | {"step": st.integers(0, 200 * MS)}
)


def per_connection(followed: Followed, frames: np.ndarray[Any, Any]) -> tuple[Any, Any]:
    """Give connections and segments by connection, with frames renamed to where they are in `frames`."""
    names = dict(zip(range(1, len(frames) + 1), frames.tolist(), strict=True))
    connections = followed.connections.rows.copy()
    connections["connection_id"] = [names[i] for i in connections["connection_id"].tolist()]
    segments = followed.segments.rows.copy()
    segments["connection_id"] = [names[i] for i in segments["connection_id"].tolist()]
    segments["frame_number"] = frames
    segments["slot"] = 0
    by_id, by_frame = np.argsort(connections["connection_id"]), np.argsort(segments["frame_number"])
    return columns(connections[by_id]), columns(segments[by_frame])


@settings(max_examples=up_to(100), deadline=None)
@given(st.lists(calm_moves, max_size=60).map(rows_of), st.randoms(use_true_random=False))
def test_interleaving_connections_differently_changes_no_connection(rows: list[Row], random: Any):
    table = table_of(rows)
    keys = [(row["ip_version"], frozenset((row["source_port"], row["destination_port"]))) for row in rows]
    queues: dict[Any, list[int]] = {}
    for i, key in enumerate(keys):
        queues.setdefault(key, []).append(i)
    order = []
    while queues:
        key = random.choice(sorted(queues, key=str))
        order.append(queues[key].pop(0))
        if not queues[key]:
            del queues[key]
    shuffled = table[np.array(order, np.int64)]
    shuffled.frame_number[:] = np.arange(1, len(table) + 1)
    straight = per_connection(follow([table]), np.arange(1, len(table) + 1))
    assert per_connection(follow([shuffled]), np.array(order, np.int64) + 1) == straight


@settings(max_examples=up_to(100), deadline=None)
@given(st.lists(moves, max_size=60))
def test_a_connection_is_the_sum_of_its_segments(what: list[Move]):
    followed = follow([table_of(rows_of(what))])
    segments, connections = followed.segments, followed.connections
    counted = segments.rows[segments.kind != DUPLICATE]
    for row in connections.rows:
        of_both = counted[counted["connection_id"] == row["connection_id"]]
        total = row["client_segments"] + row["server_segments"]
        # A SYN that was held, and then began a connection of its own, is shown where it was met.
        assert abs(len(of_both) - total) <= held_syns(segments)
        assert row["end_ns"] >= row["start_ns"]
        assert row["duration_ns"] == row["end_ns"] - row["start_ns"]
        assert row["client_bytes"] >= 0
        assert row["server_bytes"] >= 0
        assert row["client_control_retransmissions"] <= row["client_retransmissions"]
    assert connections.client_segments.sum() + connections.server_segments.sum() == len(counted)
    assert connections.duplicates.sum() == len(segments) - len(counted)
    assert len(connections) == (followed.boundaries.boundary == 0).sum() == (followed.boundaries.boundary == 1).sum()
    check_rows(segments, connections)


DUPLICATE = Segments.kind.names.index("duplicate")  # type: ignore[union-attr]
SYN = 2


def held_syns(segments: Segments) -> int:
    return int(((segments.flags & SYN != 0) & (segments.offset == INT64_MIN)).sum())


def check_rows(segments: Segments, connections: Connections) -> None:
    assert (segments.new_bytes >= 0).all()
    assert (segments.new_bytes <= segments.payload_bytes).all()
    assert (segments.new_at >= 0).all()
    on_syn = (segments.flags & SYN != 0).astype(np.int64)
    assert (segments.new_at + segments.new_bytes <= segments.payload_bytes + on_syn).all()
    assert (segments.window_bytes >= -1).all()
    assert set(segments.connection_id.tolist()) == set(connections.connection_id.tolist())


@settings(max_examples=up_to(100), deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=40),
    st.integers(0, 2**32 - 1),
)
def test_new_bytes_and_gaps_make_up_the_stream(pieces: list[tuple[int, int]], isn: int):
    """Whatever order, loss and repetition, up to the number of holes that are kept."""
    row: Row = {c.name: 0 for c in Headers.columns if c.name != "sack"}
    row |= {"source_address": bytes(16), "destination_address": bytes(15) + b"9", "source_port": 40000}
    row |= {"destination_port": 80, "ip_version": 4, "window": 1000}
    rows = [row | {"time_ns": 0, "flags": SYN, "sequence_number": isn}]
    for i, (offset, length) in enumerate(pieces):
        sequence = (isn + 1 + offset) % 2**32
        rows.append(
            row | {"time_ns": i * MS * 9, "sequence_number": sequence, "payload_bytes": length, "flags": 16, "ip_id": i}
        )
    followed = follow([table_of(rows)])
    captured = {offset + i for offset, length in pieces for i in range(length)}
    end = max(captured, default=-1) + 1
    new = int(followed.segments.new_bytes.sum())
    assert followed.one("client_bytes") == end
    if not followed.one("is_approximate"):
        assert new == len(captured)
        assert followed.one("client_gap_bytes") == end - len(captured)
    sent = sum(length for _, length in pieces)
    assert new + followed.one("client_retransmitted_bytes") == sent
