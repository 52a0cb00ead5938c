"""The room as a whole: batches, buffers, counts."""

from __future__ import annotations

import mmap
import socket

import numpy as np
import pytest

from tcpsight.decode import Decoding
from tcpsight.tables import Frames, Headers
from tests.support.pcap import tcp_frame
from tests.unit.decode.frames import frames_of

ARP = bytes(12) + b"\x08\x06" + bytes(46)


def segment(port):
    return tcp_frame("10.0.0.1", "10.0.0.2", port, 80)


def test_rows_come_in_frame_order_and_carry_their_frame():
    frames = frames_of(segment(1), ARP, segment(3))
    frames.interface_id[:] = [7, 8, 9]
    frames.file[:] = [0, 0, 2]
    frames.frame_in_file[:] = [101, 102, 1]
    headers = Decoding().feed(frames)
    assert isinstance(headers, Headers)
    assert headers.source_port.tolist() == [1, 3]
    assert headers.frame_number.tolist() == [1, 3]
    assert headers.time_ns.tolist() == [1000, 3000]
    assert headers.interface_id.tolist() == [7, 9]
    assert headers.file.tolist() == [0, 2]
    assert headers.frame_in_file.tolist() == [101, 1]


def test_silence_is_passed_on():
    silence = Frames(until_ns=5_000_000_000)
    headers = Decoding().feed(silence)
    assert len(headers) == 0
    assert headers.until_ns == 5_000_000_000
    frames = frames_of(segment(1))
    assert Decoding().feed(frames).until_ns is None
    frames.until_ns = 77
    assert Decoding().feed(frames).until_ns == 77


def test_nothing_is_held_back_for_the_end():
    decoding = Decoding()
    decoding.feed(frames_of(segment(1)))
    assert len(decoding.finish()) == 0


def test_unseen_adds_up_over_batches_with_bytes_of_the_wire_and_the_first_frame():
    decoding = Decoding()
    for first in (5, 3, 9):
        frames = frames_of(ARP, segment(1), ARP[:10], wire_bytes=1000)
        frames.frame_number[:] = [first, first + 1, first + 2]
        decoding.feed(frames)
    unseen = decoding.unseen.table()
    assert unseen.count.tolist() == [3, 3]
    assert unseen.bytes.tolist() == [3000, 3000]
    assert unseen.first_frame.tolist() == [5, 3]


def ipv4(text):
    return bytes(10) + b"\xff\xff" + socket.inet_aton(text)


def test_of_pairs_segments_become_rows_either_way_and_no_others():
    here, there = "10.0.0.1", "10.0.0.2"
    wanted = [(here, there, 1, 80), (there, here, 80, 1), (here, there, 2, 81)]
    # Other addresses, other ports, and ports whose hash is the same as that of 1 and 80.
    others = [
        (here, "10.0.0.3", 1, 80),
        (there, here, 1, 80),
        (here, there, 1, 81),
        (here, there, 2, (80 - 40503) & 0xFFFF),
    ]
    frames = frames_of(*[tcp_frame(*ends) for ends in (*others[:2], *wanted, *others[2:])])
    pairs = [((ipv4(here), 1), (ipv4(there), 80)), ((ipv4(there), 81), (ipv4(here), 2))]
    decoding = Decoding(pairs)
    assert decoding.feed(frames).frame_number.tolist() == [3, 4, 5]
    assert len(decoding.unseen.table()) == 0


def test_block_is_reused_and_grows_with_the_batch():
    decoding = Decoding()
    large = decoding.feed(frames_of(*[segment(port) for port in range(1, 10)]))
    assert large.source_port.tolist() == list(range(1, 10))
    small = decoding.feed(frames_of(segment(99)))
    assert small.source_port.tolist() == [99]
    assert np.shares_memory(small.rows, large.rows)


def test_data_may_be_anything_with_the_buffer_protocol():
    frames = frames_of(segment(1), segment(2))
    data = frames.data
    mapped = mmap.mmap(-1, len(data))
    mapped[:] = data
    for form in (data, bytearray(data), memoryview(data), np.frombuffer(data, np.uint8), mapped):
        frames.data = form
        assert Decoding().feed(frames).source_port.tolist() == [1, 2]


def test_rows_may_be_every_other_one():
    frames = frames_of(segment(1), segment(2), segment(3))
    every_other = frames[::2]
    every_other.data = frames.data
    assert Decoding().feed(every_other).source_port.tolist() == [1, 3]


@pytest.mark.parametrize(("position", "captured_bytes"), [(-1, 54), (1, 54), (2**62, 1), (0, 2**32 - 1), (55, 0)])
def test_frame_outside_its_data_is_an_error_of_whoever_made_it(position, captured_bytes):
    frames = frames_of(segment(1))
    frames.position[0] = position
    frames.captured_bytes[0] = captured_bytes
    with pytest.raises(ValueError, match="row 0 of the frames lies outside their data"):
        Decoding().feed(frames)


def test_empty_frame_at_the_end_of_empty_data_is_truncated():
    decoding = Decoding()
    assert len(decoding.feed(frames_of(b""))) == 0
    assert decoding.unseen.table().count.tolist() == [1]
