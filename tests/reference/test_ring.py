"""The walk over a ring gives what its slow twin gives, of whatever memory."""

from __future__ import annotations

import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.capture._ring import BlockWalk
from tcpsight.tables import Frames
from tests.reference.ring import Taken, read_block
from tests.support.ring import BLOCK_BYTES, Block, Held, ring_bytes

FRAMES = st.builds(
    Held,
    data=st.binary(max_size=120),
    time_ns=st.integers(0, 2**32 * 10**9 - 1),
    wire_bytes=st.integers(0, 2**32 - 1),
    status=st.sampled_from([1, 17, 81, 65]),
    tag=st.integers(0, 2**32 - 1),
    tag_protocol=st.integers(0, 2**16 - 1),
    protocol=st.integers(0, 2**16 - 1),
    device=st.integers(-(2**31), 2**31 - 1),
    hardware=st.sampled_from([1, 772, 65534]),
    direction=st.integers(0, 7),
    address=st.binary(max_size=8),
    reserved=st.sampled_from([0, 16, 32]),
)
BLOCKS = st.lists(st.builds(Block, st.lists(FRAMES, max_size=12)), min_size=1, max_size=4)
DAMAGE = st.lists(st.tuples(st.integers(0, 4 * BLOCK_BYTES), st.binary(min_size=1, max_size=6)), max_size=4)
# What the damage is most likely to change: how many frames, where the first begins, and the first one's header.
NUMBERS = st.lists(st.tuples(st.sampled_from([12, 16, 48, 60, 64, 68, 72]), st.integers(0, 2**32 - 1)), max_size=3)


def walked(ring: bytearray, blocks: int, link_type: int, snaplen: int, most: int) -> tuple[list[Taken], int, int]:
    walk = BlockWalk(
        first=0, block_bytes=BLOCK_BYTES, blocks=blocks, snaplen=snaplen, link_type=link_type, interface_id=5
    )
    table, found = Frames.allocate(most), []
    while count := walk.walk(ring, table.rows.view(np.uint8), blocks):
        for row in table[:count]:
            at, size = int(row["position"]), int(row["captured_bytes"])
            assert at >= 0
            assert at + size <= len(ring)
            data = bytes(ring[at : at + size])
            found.append(Taken(int(row["time_ns"]), data, int(row["wire_bytes"]), int(row["link_type"])))
    assert walk.frames == len(found)
    walk.release(ring)
    assert walk.held == 0
    return found, walk.damaged, sum(struct.unpack_from("=I", ring, BLOCK_BYTES * i + 8)[0] for i in range(blocks))


@given(BLOCKS, DAMAGE, NUMBERS, st.sampled_from([1, 101, 276]), st.sampled_from([20, 64, 256]), st.integers(1, 30))
def test_the_walk_gives_what_its_twin_gives(blocks, damage, numbers, link_type, snaplen, most):
    ring = ring_bytes(blocks)
    for at, what in damage:
        ring[at : min(at + len(what), len(ring))] = what[: max(len(ring) - at, 0)]
    for at, number in numbers:
        struct.pack_into("=I", ring, at, number)
    for i in range(len(blocks)):
        struct.pack_into("=I", ring, BLOCK_BYTES * i + 8, 1)
    parts = [read_block(bytes(ring[BLOCK_BYTES * i :][:BLOCK_BYTES]), link_type, snaplen) for i in range(len(blocks))]
    found, is_damaged, left = walked(bytearray(ring), len(blocks), link_type, snaplen, most)
    expected = [each for part, _ in parts for each in part]
    if damage or numbers:
        # Frames that lie over each other are written over each other: only their places are told.
        found, expected = (
            [each._replace(data=bytes(len(each.data))) for each in frames] for frames in (found, expected)
        )
    assert found == expected
    assert is_damaged == sum(lost for _, lost in parts)
    assert left == 0
