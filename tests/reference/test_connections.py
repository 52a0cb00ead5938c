"""The kernel says what its slow twin says: of each segment, boundary and connection, and of what it did not believe."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.connections import MOST_CONNECTIONS, Server, Timeouts
from tcpsight.network.accounting import ACCOUNT_COLUMNS
from tcpsight.tables import Boundaries, Connections, Headers, Segments, Table
from tests.reference.connections import Twin, known_hash
from tests.reference.connections_strategies import (
    SECOND,
    batches,
    endpoint_servers,
    random_moves,
    rows_of,
    timeouts,
)
from tests.support.headers import Followed, Row, follow, headers_of, words
from tests.support.holes import many_holes
from tests.support.thorough import up_to

FILLED_LATER = {"community_id", "requests", "unanswered", "is_farewell", "unsolicited_bytes", *ACCOUNT_COLUMNS}


def numbered(rows: Iterable[Row], first_frame: int) -> list[Row]:
    return [row | {"frame_number": first_frame + i} for i, row in enumerate(rows)]


def as_headers(rows: list[Row], first_frame: int, until_ns: int | None) -> Headers:
    """Give rows the form of a table."""
    arrays = ("source_address", "destination_address")
    table = headers_of(
        ({k: np.frombuffer(v, np.uint8) if k in arrays else v for k, v in row.items()} for row in rows), first_frame
    )
    table.until_ns = until_ns
    return table


def plain(kind: type[Table], table: Table, like: list[Row]) -> list[Row]:
    """Give a table the form of the twin's rows: the columns that those have, in words."""
    columns = {}
    for name in like[0] if like else []:
        column = next(c for c in kind.columns if c.name == name)
        columns[name] = [bytes(v) for v in table.rows[name]] if column.is_address else words(kind, table, name)
    if not like:
        return [{} for _ in table.rows]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def check_slots(followed: Followed) -> None:
    """A slot belongs to one connection from its opening to its end."""
    turns = followed.boundaries.rows.tolist()
    names = followed.boundaries.rows.dtype.names
    at: dict[int, list[Row]] = {}
    for turn in turns:
        row = dict(zip(names, turn, strict=True))
        at.setdefault(row["position"], []).append(row)
    owners: dict[int, int] = {}
    for position in range(len(followed.segments) + 1):
        for turn in at.get(position, []):
            if turn["boundary"] == 0:
                assert turn["slot"] not in owners
                owners[turn["slot"]] = turn["connection_id"]
            else:
                assert owners.pop(turn["slot"]) == turn["connection_id"]
        if position < len(followed.segments):
            segment = followed.segments.rows[position]
            assert owners[int(segment["slot"])] == segment["connection_id"]
    assert not owners


def check(
    given_batches: list[tuple[list[Row], int | None]],
    servers: list[Server],
    given_timeouts: Timeouts,
    most: int = MOST_CONNECTIONS,
) -> None:
    twin = Twin(servers, given_timeouts, most)
    tables = []
    frame = 1
    for rows, until_ns in given_batches:
        twin.feed(numbered(rows, frame), until_ns)
        tables.append(as_headers(rows, frame, until_ns))
        frame += len(rows)
    twin.finish()
    followed = follow(tables, servers=servers, timeouts=given_timeouts, most=most)
    assert plain(Segments, followed.segments, twin.segments) == twin.segments
    opened = [b for b in twin.boundaries if b["boundary"] == "opened"]
    ended = [b for b in twin.boundaries if b["boundary"] == "ended"]
    kinds = followed.boundaries.boundary
    assert plain(Boundaries, followed.boundaries[kinds == 0], opened) == opened
    assert plain(Boundaries, followed.boundaries[kinds == 1], ended) == ended
    everything = [{name: b[name] for name in ("connection_id", "position", "boundary")} for b in twin.boundaries]
    assert plain(Boundaries, followed.boundaries, everything) == everything
    assert plain(Connections, followed.connections, twin.connections) == twin.connections
    assert followed.unseen == twin.unseen
    check_slots(followed)


def test_the_twin_has_every_column():
    twin = Twin()
    row: Row = {c.name: 0 for c in Headers.columns}
    twin.feed([row | {"flags": 2, "source_address": b"a", "destination_address": b"b"}])
    twin.finish()
    assert {c.name for c in Connections.columns} - FILLED_LATER == twin.connections[0].keys()
    assert {c.name for c in Segments.columns} - {"slot"} == twin.segments[0].keys()
    assert {c.name for c in Boundaries.columns} - {"slot", "row"} == twin.boundaries[0].keys()


@pytest.mark.parametrize("seed", range(25))
def test_kernel_equals_twin_in_long_traffic(seed: int):
    rows = rows_of(random_moves(seed, 600))
    check([(rows, None)], [], Timeouts(5 * SECOND, SECOND, 20 * SECOND) if seed % 4 == 0 else Timeouts())


@pytest.mark.parametrize("seed", [2, 3])
def test_kernel_equals_twin_where_more_holes_open_than_are_kept(seed: int):
    rows = many_holes(seed, 4500)
    assert follow([as_headers(rows, 1, None)]).unseen["hole_overflow"][0] > 10
    check([(rows, None)], [], Timeouts())


@settings(max_examples=up_to(300), deadline=None)
@given(batches(), endpoint_servers, timeouts)
def test_kernel_equals_twin(given_batches: Any, servers: list[Server], given_timeouts: Timeouts):
    check(given_batches, servers, given_timeouts)


FAR = (2**20, 2**20 + 1, 2 * 2**20, 3 * 2**20, 7 * 2**20, 7 * 2**20 + 1, 2**29, 2**30, 2**31 - 1, 2**31, 3 * 2**30)
hops = st.fixed_dictionaries(
    {
        # Who sends, how far from where it was, for good or astray, and what it acknowledges beyond what there is.
        "side": st.sampled_from((0, 0, 0, 1)),
        "hop": st.sampled_from((0, 0, 0, 3 * 2**20, -3 * 2**20, *FAR, *(-far for far in FAR))),
        "is_stray": st.booleans(),
        "ack_hop": st.sampled_from((0, 0, 0, 0, 1, 3 * 2**20, *FAR)),
        "length": st.sampled_from((0, 1, 100)),
        "flags": st.sampled_from((0x10, 0x10, 0x10, 0x10, 0x11, 0x14, 0)),
        "step": st.sampled_from((1, 1, 99_000_000, 101_000_000)),
        "window": st.sampled_from((0, 10, 65535)),
    }
)
steady_hops = st.builds(
    lambda hop, count, more: [hop] * count + more, hops, st.integers(6, 10), st.lists(hops, max_size=3)
)


def ports_of_share(share: int, count: int) -> list[int]:
    """Find ports of one client whose connections share a limit."""
    server = known_hash((bytes(15) + b"9", 80))
    found: list[int] = []
    for port in range(1024, 65536):
        both = known_hash((bytes(16), port)) + server
        if both * 0x9E3779B97F4A7C15 % 2**64 // 2**56 == share and len(found) < count:
            found.append(port)
    return found


CROWD = [port for share in range(3) for port in ports_of_share(share, 12)]


def jumping_rows(moves: list[Row], options: list[int], isn: int) -> list[Row]:
    ends = [(bytes(16), 40000), (bytes(15) + b"9", 80)]
    at = [isn, isn + 5000]
    rows: list[Row] = []

    def send(side: int, sequence: int, acked: int, **more: int) -> None:
        (source, source_port), (destination, destination_port) = ends[side], ends[1 - side]
        row: Row = {c.name: 0 for c in Headers.columns if c.name not in ("sack", "padding")}
        row |= {"source_address": source, "source_port": source_port, "ip_version": 4, "ip_id": len(rows) + 1}
        row |= {"destination_address": destination, "destination_port": destination_port}
        row |= {"sequence_number": sequence % 2**32, "acknowledgment_number": acked % 2**32, **more}
        rows.append(row)

    time_ns = 10**18
    if options:
        send(0, at[0] - 1, 0, flags=2, options=options[0], window_scale=7, time_ns=time_ns)
        send(1, at[1] - 1, at[0], flags=18, options=options[1], window_scale=3, time_ns=time_ns + 1)
    for move in moves:
        side, flags = move["side"], move["flags"]
        time_ns += move["step"]
        sequence = at[side] + move["hop"]
        acked = at[1 - side] + move["ack_hop"] if flags & 16 else 0
        send(side, sequence, acked, flags=flags, payload_bytes=move["length"], window=move["window"], time_ns=time_ns)
        if not move["is_stray"]:
            at[side] = sequence + move["length"] + (flags & 1)
    return rows


@settings(max_examples=up_to(300), deadline=None)
@given(
    st.lists(hops | steady_hops, max_size=20),
    st.sampled_from(([], [0, 0], [4, 4], [4, 0], [64, 4])),
    st.sampled_from((1000, 2**32 - 50)),
)
def test_kernel_equals_twin_where_numbers_jump(what: list[Any], options: list[int], isn: int):
    moves = [move for each in what for move in (each if isinstance(each, list) else [each])]
    check([(jumping_rows(moves, options, isn), None)], [], Timeouts())


crowding = st.lists(
    st.tuples(
        # Whose turn it is, what it sends, and how long after the last.
        st.integers(0, 30),
        st.sampled_from((2, 2, 2, 18, 16, 16, 16, 17, 4)),
        st.sampled_from((0, 1, SECOND)),
        st.booleans(),
    ),
    max_size=120,
)


@settings(max_examples=up_to(200), deadline=None)
@given(crowding, st.sampled_from((1, 256, 257, 600)))
def test_kernel_equals_twin_where_more_are_open_than_may_be(what: list[tuple[int, int, int, bool]], most: int):
    rows: list[Row] = []
    time_ns = 10**18
    for who, flags, step, is_answer in what:
        time_ns += step
        ends = [(bytes(16), CROWD[who]), (bytes(15) + b"9", 80)]
        (source, source_port), (destination, destination_port) = ends[::-1] if is_answer else ends
        row: Row = {c.name: 0 for c in Headers.columns if c.name not in ("sack", "padding")}
        row |= {"source_address": source, "source_port": source_port, "time_ns": time_ns, "ip_id": len(rows)}
        row |= {"destination_address": destination, "destination_port": destination_port, "ip_version": 4}
        row |= {"flags": flags, "sequence_number": 1000 + (flags != 2), "acknowledgment_number": 1001}
        rows.append(row | {"payload_bytes": 0})
    check([(rows, None)], [], Timeouts(), most)


bursts = st.fixed_dictionaries(
    {
        "count": st.sampled_from((1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 80, 300)),
        "length": st.sampled_from((0, 0, 10)),
        # Between segments; and between the first of the burst and the first of its copies.
        "step": st.sampled_from((0, 1000, 10_000, 62_500, 250_000, 333_334, 1_000_000, 20_000_000)),
        "delay": st.sampled_from((0, 900_000, 1_000_000, 1_000_001, 99_000_000, 100_000_000, 100_000_001, -500_000)),
        "copied": st.sampled_from((0, 1, 1, 2)),
        "interfaces": st.sampled_from(((0, 0), (0, 0), (0, 1), (1, 256), (3, 3))),
        "id": st.sampled_from((0, 1, 1, 1)),
    }
)


@settings(max_examples=up_to(150), deadline=None)
@given(st.lists(bursts, max_size=6))
def test_kernel_equals_twin_where_bursts_are_captured_twice(what: list[Row]):
    rows: list[Row] = []
    time_ns, sequence = 10**18, 1000
    blank: Row = {c.name: 0 for c in Headers.columns if c.name not in ("sack", "padding")}
    blank |= {"source_address": bytes(16), "destination_address": bytes(15) + b"9", "ip_version": 4}
    for each in what:
        burst = []
        for i in range(each["count"]):
            row = blank | {"source_port": 40000, "destination_port": 80, "flags": 16, "acknowledgment_number": 5}
            row |= {"time_ns": time_ns + i * each["step"], "payload_bytes": each["length"], "window": i % 7}
            row |= {"sequence_number": sequence, "ip_id": each["id"] * (i + 1), "interface_id": each["interfaces"][0]}
            burst.append(row)
            sequence += each["length"]
        copies = [
            row | {"time_ns": row["time_ns"] + each["delay"], "interface_id": each["interfaces"][1]} for row in burst
        ]
        rows += burst + copies * each["copied"]
        time_ns += each["count"] * each["step"] + max(each["delay"], 0)
    check([(rows, None)], [], Timeouts())


@settings(max_examples=up_to(100), deadline=None)
@given(st.data())
def test_kernel_equals_twin_where_holes_overflow(data: st.DataObject):
    """Bytes arrive in any order from far apart, so that more holes open than are kept."""
    offsets = data.draw(st.lists(st.integers(0, 130), max_size=80))
    # Twenty-one holes of five bytes before anything fills one.
    order = [*range(0, 126, 6), *offsets]
    lengths = [1] * 21 + data.draw(st.lists(st.integers(1, 15), min_size=len(offsets), max_size=len(offsets)))
    rows = []
    for i, (offset, length) in enumerate(zip(order, lengths, strict=True)):
        row: Row = {c.name: 0 for c in Headers.columns if c.name != "sack"}
        row |= {"time_ns": 10**10 + i * 10**7, "ip_id": i + 1, "flags": 8, "ip_version": 4, "payload_bytes": length}
        row |= {"source_address": bytes(16), "destination_address": bytes(15) + b"9", "sequence_number": offset}
        rows.append(row | {"source_port": 40000, "destination_port": 80})
    check([(rows, None)], [], Timeouts())
