"""However many connections there are, memory is bounded, and so is what comes at once."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tcpsight.connections import ConnectionTracking, Timeouts, Tracked
from tcpsight.connections.tracking import Among
from tcpsight.tables import FLAG_ACK, FLAG_SYN, STATES, Headers
from tests.reference.connections import known_hash
from tests.support.headers import counts_of, follow, track
from tests.support.holes import HOLES, crowd_of_bursts, crowded

SECOND = 1_000_000_000
LARGEST_PART = 16_384


def flood(n: int, flags: int = FLAG_SYN, *, step_ns: int = 1000, from_frame: int = 1) -> Headers:
    """Give one segment of each of n connections."""
    table = Headers.allocate(n)
    table.frame_number[:] = np.arange(from_frame, from_frame + n)
    table.time_ns[:] = table.frame_number * step_ns
    table.ip_version[:] = 4
    table.source_address[:, 10:12] = table.destination_address[:, 10:12] = 0xFF
    table.source_address[:, 12:] = (table.frame_number >> 14).astype(">u4").view(np.uint8).reshape(n, 4)
    table.source_port[:] = 1024 + (table.frame_number & 0x3FFF)
    table.destination_address[:, 15] = 9
    table.destination_port[:] = 80
    table.sequence_number[:] = 77
    table.flags[:] = flags
    return table


def columns(rows: np.ndarray[Any, Any]) -> dict[str, list[Any]]:
    return {name: rows[name].tolist() for name in rows.dtype.names or ()}


def parts(tracking: ConnectionTracking, tracked: Tracked) -> Iterator[Tracked]:
    yield tracked
    while not tracked.is_whole:
        tracked = tracking.more()
        yield tracked


def crowd(flags: int, total: int, most: int) -> ConnectionTracking:
    tracking = ConnectionTracking(most=most)
    for first in range(1, total, 5000):
        for part in parts(tracking, tracking.feed(flood(5000, flags, from_frame=first))):
            assert len(part.connections) <= LARGEST_PART + 5000
        assert tracking.open_connections <= most + 256
    return tracking


@pytest.mark.parametrize(("flags", "most"), [(FLAG_SYN, 80_000), (FLAG_ACK, 10_000)])
def test_a_flood_of_connections_is_bounded_and_counted(flags: int, most: int):
    # Those whose handshake is not over have an eighth of the room.
    tracking = crowd(flags, 100_000, most)
    still_open = tracking.open_connections
    assert 9_000 <= still_open <= 10_240
    given_up = counts_of(tracking.unseen)["connection_overflow"]
    assert given_up[0] == 100_000 - still_open
    # The first share was full when some ten thousand had come.
    assert 5_000 < given_up[2] < 12_000
    assert sum(len(part.connections) for part in parts(tracking, tracking.finish())) == still_open


def test_those_whose_handshake_is_not_over_go_first_and_the_oldest_of_them():
    tracking = ConnectionTracking(most=2560)
    established = flood(600, FLAG_ACK)
    first = tracking.feed(established)
    assert len(first.connections) == 0
    ended = []
    for from_frame in range(601, 40_601, 4000):
        tracked = tracking.feed(flood(4000, from_frame=from_frame))
        assert tracked.is_whole
        ended += tracked.connections.copy().rows.tolist()
    names = tracked.connections.rows.dtype.names
    assert names is not None
    rows = [dict(zip(names, row, strict=True)) for row in ended]
    assert {STATES[row["state"]] for row in rows} == {"unanswered"}
    assert min(row["connection_id"] for row in rows) > 600
    # Within a share the oldest goes; so do, nearly, all the old ones of all shares.
    assert {row["connection_id"] for row in rows} >= set(range(601, 35_000))


def test_then_those_that_were_silent_longest_go():
    tracking = ConnectionTracking(most=2560)
    tracking.feed(flood(1000, FLAG_ACK))
    busy = flood(100, FLAG_ACK)
    ended: set[int] = set()
    for turn in range(20):
        # One hundred go on; the others are silent.
        busy.time_ns[:] = 10**9 * (turn + 1)
        busy.sequence_number[:] += 1
        newcomers = flood(500, FLAG_ACK, from_frame=10_000 + 500 * turn)
        newcomers.time_ns[:] = 10**9 * (turn + 1) + 1
        tracking.feed(busy)
        ended |= set(tracking.feed(newcomers).connections.connection_id.tolist())
    assert len(ended) > 7000
    assert not ended & set(range(1, 101))


def test_the_hash_seed_does_not_tell_who_goes():
    table = flood(20_000)
    one, other = (follow([table], most=1000, hash_seed=seed) for seed in (1, 2**63 + 5))
    assert columns(one.connections.rows) == columns(other.connections.rows)
    assert columns(one.boundaries.rows) == columns(other.boundaries.rows)


def crowded_ns(seed: int) -> int:
    """Give the processor time that 40,000 clients take, each with an address of its own and all with one port."""
    table = flood(40_000)
    table.source_address[:, 12:] = table.frame_number.astype(">u4").view(np.uint8).reshape(-1, 4)
    table.source_port[:] = 1024
    began = time.process_time_ns()
    follow([table], hash_seed=seed)
    return time.process_time_ns() - began


@pytest.mark.parametrize("seed", [2**64 - 1, 0xFFFF_FFFF << 32])
def test_whatever_the_hash_seed_addresses_do_not_collide(seed: int):
    """A place that all had in common would be looked through by each: thirty times as long, and more."""
    assert crowded_ns(seed) < 8 * min(crowded_ns(1) for _ in range(2))


def test_workers_that_have_whole_shares_give_up_the_same_connections():
    table = Headers.concatenate([flood(6000, FLAG_ACK), flood(6000, from_frame=6001)])
    whole = follow([table], most=1000)
    ends = zip(map(bytes, table.source_address), table.source_port.tolist(), strict=True)
    server = known_hash((bytes(table.destination_address[0]), 80))
    shares = [(known_hash(end) + server) * 0x9E3779B97F4A7C15 % 2**64 >> 56 for end in ends]
    workers = [follow([table[np.array(shares) % 3 == i]], most=1000) for i in range(3)]
    rows = np.concatenate([worker.connections.rows for worker in workers])
    rows = rows[np.argsort(rows["connection_id"])]
    assert columns(rows) == columns(whole.connections.rows[np.argsort(whole.connections.connection_id)])
    assert sum(worker.unseen["connection_overflow"][0] for worker in workers) == whole.unseen["connection_overflow"][0]


def test_one_part_for_each_share_is_the_least():
    assert track("0 > S seq=1 \n 1 > S seq=5 port=7", most=1).connections.connection_id.tolist() == [1, 2]


def test_many_that_end_together_come_in_parts():
    tracking = ConnectionTracking(timeouts=Timeouts(SECOND, SECOND, SECOND))
    assert tracking.feed(flood(60_000)).is_whole
    late = flood(10, from_frame=100_000, step_ns=20_000)
    late.time_ns[0] -= SECOND // 10**6
    pieces = [
        (len(part.segments), part.connections.copy(), part.boundaries.copy())
        for part in parts(tracking, tracking.feed(late))
    ]
    assert [len(connections) for _, connections, _ in pieces] == [LARGEST_PART] * 3 + [60_000 - 3 * LARGEST_PART]
    assert [segments for segments, _, _ in pieces] == [0, 0, 0, 10]
    ids = [i for _, connections, _ in pieces for i in connections.connection_id.tolist()]
    assert ids == list(range(1, 60_001))
    assert all((turns.position == 0).all() for _, _, turns in pieces[:3])
    assert counts_of(tracking.unseen) == {}


def test_silence_ends_many_in_parts_too():
    tracking = ConnectionTracking()
    tracking.feed(flood(20_000))
    sizes = [len(part.connections) for part in parts(tracking, tracking.feed(Headers(until_ns=1000 * SECOND)))]
    assert sizes == [LARGEST_PART, 20_000 - LARGEST_PART]


def test_headers_that_others_track_end_many_in_parts_too():
    tracking = ConnectionTracking()
    tracking.feed(flood(20_000))
    others = Among(np.array([130 * SECOND, 1000 * SECOND]), np.zeros(0, np.int32))
    pieces = [part.connections.copy() for part in parts(tracking, tracking.feed(Headers(), others))]
    assert [len(piece) for piece in pieces] == [LARGEST_PART, 20_000 - LARGEST_PART]
    assert tracking.open_connections == 0


def test_the_end_of_the_capture_comes_in_parts():
    tracking = ConnectionTracking()
    tracking.feed(flood(50_000))
    pieces = [part.connections.connection_id.tolist() for part in parts(tracking, tracking.finish())]
    assert [len(piece) for piece in pieces] == [LARGEST_PART] * 3 + [50_000 - 3 * LARGEST_PART]
    assert [i for piece in pieces for i in piece] == list(range(1, 50_001))
    assert tracking.open_connections == 0


def test_parts_must_be_taken_before_the_next_batch():
    tracking = ConnectionTracking()
    tracking.feed(flood(20_000))
    assert not tracking.finish().is_whole
    with pytest.raises(ValueError, match="not taken to its end"):
        tracking.feed(flood(1))
    tracking = ConnectionTracking()
    tracking.feed(flood(20_000))
    assert not tracking.feed(Headers(until_ns=1000 * SECOND)).is_whole
    for asked in (tracking.finish, tracking.snapshot):
        with pytest.raises(ValueError, match="not taken to its end"):
            asked()


def test_a_time_that_ends_many_is_judged_once():
    """It is a jump that the next confirms, and another one beyond: neither is forgotten or taken twice."""
    tracking = ConnectionTracking()
    tracking.feed(flood(20_000))
    late = flood(3, from_frame=30_000)
    hour = 3600 * SECOND
    late.time_ns[:] = [2 * hour, 2 * hour + 1, 9 * hour]
    sizes = [len(part.connections) for part in parts(tracking, tracking.feed(late))]
    assert sizes == [LARGEST_PART, 20_000 - LARGEST_PART]
    tracking.finish()
    assert counts_of(tracking.unseen) == {"time_jump": [1, 0, 30_002]}


def test_room_for_holes_is_that_of_a_share_and_given_back():
    """Of 1 MiB 65 directions have a thousand each, and one more 32: 16 bytes each, those of the first 16 apart."""
    followed = follow([crowded(68)])
    rows = followed.connections.rows[followed.connections.connection_id.argsort()]
    assert rows["is_approximate"].tolist() == [0] * 65 + [1] * 3 + [0]
    assert rows["client_gap_bytes"].tolist() == [2 * HOLES] * 69
    assert followed.unseen["hole_overflow"][0] == (HOLES - 32) + 2 * (HOLES - 16)


def test_room_for_what_copies_are_recognised_by_is_that_of_a_share_and_given_back():
    """Of 1 MiB 16 directions remember 4,096 segments each, of 16 bytes."""
    followed = follow([crowd_of_bursts(18)])
    rows = followed.connections.rows[followed.connections.connection_id.argsort()]
    assert rows["duplicates"].tolist() == [1] * 16 + [0, 0] + [1]
