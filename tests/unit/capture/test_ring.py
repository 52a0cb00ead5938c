"""The walk over a packet ring: what it takes, and what it gives back."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from tcpsight.capture._ring import BlockWalk, RingMemory
from tcpsight.capture.live import MARGIN_NS
from tcpsight.capture.live_rings import next_rest_ms, told_until_ns
from tcpsight.capture.ring import shape_of
from tcpsight.cli.watch import LONGEST_WAIT_NS
from tcpsight.tables import Frames
from tests.support.ring import BLOCK_BYTES, Block, Held, ring_bytes


def walk_over(blocks: int, link_type: int = 1) -> BlockWalk:
    return BlockWalk(first=0, block_bytes=BLOCK_BYTES, blocks=blocks, snaplen=256, link_type=link_type, interface_id=0)


def statuses(ring: bytearray) -> list[int]:
    return [struct.unpack_from("=I", ring, at + 8)[0] for at in range(0, len(ring), BLOCK_BYTES)]


def taken(walk: BlockWalk, ring: bytearray, rows: int = 100, most_blocks: int = 100) -> list[int]:
    """Give the times of the frames that a walk takes."""
    table = Frames.allocate(rows)
    count = walk.walk(ring, table.rows.view(np.uint8), most_blocks)
    return [int(at) for at in table.time_ns[:count]]


def block_of(*times: int) -> Block:
    return Block([Held(time_ns=at) for at in times])


def test_blocks_that_the_kernel_still_fills_are_left_alone():
    ring = ring_bytes([block_of(1, 2), Block([Held(time_ns=3)], status=0)])
    walk = walk_over(2)
    assert taken(walk, ring) == [1, 2]
    assert taken(walk, ring) == []
    struct.pack_into("=I", ring, BLOCK_BYTES + 8, 1)
    assert taken(walk, ring) == [3]


def test_a_block_is_given_back_when_it_was_read_to_its_end_and_no_sooner():
    ring = ring_bytes([block_of(1, 2, 3), block_of(4)])
    walk = walk_over(2)
    assert taken(walk, ring, rows=2) == [1, 2]
    walk.release(ring)
    assert statuses(ring) == [1, 1]
    assert taken(walk, ring) == [3, 4]
    assert statuses(ring) == [1, 1]
    walk.release(ring)
    assert statuses(ring) == [0, 0]


def test_blocks_from_one_that_is_still_in_use_on_are_kept():
    ring = ring_bytes([block_of(1), block_of(2), block_of(3)])
    walk = walk_over(3)
    assert taken(walk, ring) == [1, 2, 3]
    walk.release(ring, 1)
    assert statuses(ring) == [0, 1, 1]
    assert walk.oldest == 1
    assert taken(walk, ring) == []


def test_no_more_blocks_are_held_than_wanted():
    ring = ring_bytes([block_of(1), block_of(2), block_of(3)])
    walk = walk_over(3)
    assert taken(walk, ring, most_blocks=2) == [1, 2]
    assert taken(walk, ring, most_blocks=2) == []
    walk.release(ring)
    assert taken(walk, ring, most_blocks=2) == [3]


def test_a_block_is_not_read_twice_before_it_was_given_back():
    ring = ring_bytes([block_of(1), block_of(2)])
    walk = walk_over(2)
    assert taken(walk, ring) == [1, 2]
    assert taken(walk, ring) == []


def test_what_leaves_by_loopback_is_left_out():
    frames = [Held(time_ns=i, hardware=772, direction=4 * (i % 2)) for i in range(6)]
    frames += [Held(time_ns=9, hardware=1, direction=4)]
    assert taken(walk_over(1), ring_bytes([Block(frames)])) == [0, 2, 4, 9]


@pytest.mark.parametrize(("at", "number"), [(16, 47), (16, 4090), (16, 2**32 - 1), (48, 0), (60, 5000), (48, 67)])
def test_a_block_that_contradicts_itself_is_given_up_and_counted(at, number):
    ring = ring_bytes([block_of(1, 2, 3), block_of(4)])
    struct.pack_into("=I", ring, at, number)
    walk = walk_over(2)
    assert taken(walk, ring) == [4]
    assert walk.damaged == 3


def test_a_walk_beyond_its_memory_is_refused():
    walk = walk_over(2)
    with pytest.raises(ValueError, match="outside"):
        taken(walk, bytearray(BLOCK_BYTES))
    with pytest.raises(ValueError, match="no ring is like that"):
        BlockWalk(first=-1, block_bytes=4096, blocks=1, snaplen=1, link_type=1, interface_id=0)


def test_memory_without_rings_holds_zeros():
    memory = RingMemory(2, 8192)
    assert bytes(memoryview(memory)) == bytes(16384)
    with pytest.raises(ValueError, match="no such ring"):
        memory.attach(2, 0)
    with pytest.raises(ValueError, match="no room"):
        RingMemory(0, 8192)


@pytest.mark.parametrize("ring_bytes", [0, 1, 100_000, 2**20, 2**26, 2**28])
def test_rings_have_blocks_enough_for_two_to_work_at_once(ring_bytes):
    shape = shape_of(ring_bytes, 50, 256)
    assert shape.blocks >= 2
    assert shape.block_bytes & (shape.block_bytes - 1) == 0
    assert shape.block_bytes * shape.blocks <= max(ring_bytes, 2 * 65536)


@pytest.mark.parametrize(
    ("last_ns", "looked_ns", "silent_ns", "told_ns"),
    [
        (50, 100, 80, 80),  # it was silent
        (95, 100, 80, 95),  # its last frame is younger than what is known of its silence
        (95, 100, 0, 95),  # it has more to tell
        (500, 100, 80, 80),  # the clock was set back since its last frame
        (500, 100, 0, 0),
    ],
)
def test_a_ring_has_told_all_until_its_last_frame_or_its_silence(last_ns, looked_ns, silent_ns, told_ns):
    assert told_until_ns(last_ns, looked_ns, silent_ns) == told_ns


@pytest.mark.parametrize("bytes_per_ms", [0, 10, 1000, 50_000, 10**6])
def test_rests_are_as_long_as_a_ring_allows(bytes_per_ms: int):
    ring_bytes, most_ms, look_ms = 64 << 20, 200, 1
    rest_ms = 1
    for _ in range(100):
        filled = (rest_ms + look_ms) * bytes_per_ms / ring_bytes
        rest_ms = next_rest_ms(rest_ms, filled, most_ms)
    assert 0 <= rest_ms <= most_ms
    assert (rest_ms + look_ms) * bytes_per_ms <= ring_bytes / 4
    # No shorter than it takes to fill a 32nd of the ring: shorter rests would be doubled.
    assert rest_ms == most_ms or (rest_ms + look_ms) * bytes_per_ms >= ring_bytes / 32


def test_rests_end_at_once_where_the_ring_fills_up():
    assert [next_rest_ms(rest_ms, 0.9, 200) for rest_ms in (200, 3, 1, 0)] == [100, 1, 0, 0]
    assert next_rest_ms(0, 0.0, 200) == 1


def test_silence_after_a_slice_is_told_within_a_second():
    # What came before a look may be in the ring for two ticks, each half a wait, and a look may just be over.
    assert 2 * (LONGEST_WAIT_NS // 2) + MARGIN_NS + LONGEST_WAIT_NS <= 1_000_000_000
