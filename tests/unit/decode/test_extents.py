"""Where the headers of frames end."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given

from tcpsight.decode import Decoding, extents_of
from tcpsight.tables import REASONS, Frames
from tests.reference.decode_strategies import frame_batches
from tests.support.pcap import tcp_frame


def frames_of(*contents: bytes, link_type: int = 1) -> Frames:
    table, data = Frames.allocate(len(contents)), b""
    for i, content in enumerate(contents):
        row = table.rows[i]
        row["frame_number"], row["position"], row["link_type"] = i + 1, len(data), link_type
        row["captured_bytes"] = row["wire_bytes"] = len(content)
        data += content
    table.data = data
    return table


def ipv4(protocol: int, payload: bytes, fragment: int = 0) -> bytes:
    head = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 7, fragment, 64, protocol, 0, b"\x0a" * 4, b"\x0b" * 4
    )
    return bytes(12) + b"\x08\x00" + head + payload


def mixed(number: int) -> int:
    """SplitMix64's finalizer."""
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def endpoint_number(address: bytes, port: int) -> int:
    golden = 0x9E3779B97F4A7C15
    state = mixed((port + golden) % 2**64)
    for (word,) in struct.iter_unpack(">I", address):
        state = (mixed(state ^ word) + golden) % 2**64
    return state


def connection_number(source: bytes, port: int, destination: bytes, other: int) -> int:
    return mixed((endpoint_number(source, port) + endpoint_number(destination, other)) % 2**64)


@pytest.mark.parametrize("options", [b"", bytes([1] * 12), bytes([1] * 40)])
def test_headers_end_with_the_options_of_tcp(options):
    frames = frames_of(tcp_frame("10.0.0.1", "10.0.0.2", 1, 2, 3, 4, "PA", bytes(500), options=options))
    found = extents_of(frames)
    assert found.header_bytes.tolist() == [54 + len(options)]
    assert found.flags.tolist() == [0x18]


@pytest.mark.parametrize(
    ("frame", "header_bytes"),
    [
        (ipv4(17, struct.pack(">HHHH", 53, 5353, 108, 0) + bytes(100)), 14 + 20 + 8),
        (ipv4(1, bytes(100)), 14 + 20 + 8),
        (ipv4(132, bytes(100)), 14 + 20 + 8),
        (ipv4(6, bytes(500), fragment=0x2000), 14 + 120),
        (ipv4(6, bytes(500), fragment=0x0030), 14 + 120),
        (bytes(12) + b"\x08\x06" + bytes(28), 42),
        (bytes(12) + b"\x88\xcc" + bytes(400), 128),
        (ipv4(6, bytes(5)), 39),
        (b"", 0),
        (bytes(3), 3),
    ],
)
def test_of_other_frames_a_stated_part_is_kept(frame, header_bytes):
    found = extents_of(frames_of(frame))
    assert found.header_bytes.tolist() == [header_bytes]
    assert found.flags.tolist() == [-1]
    assert found.connections.tolist() == [0]


def test_a_connection_has_one_number_in_both_directions_and_everywhere():
    there = tcp_frame("10.0.0.1", "10.0.0.2", 1000, 80, 1, 1, "A")
    back = tcp_frame("10.0.0.2", "10.0.0.1", 80, 1000, 1, 1, "A")
    others = [tcp_frame("10.0.0.1", "10.0.0.2", 1000, port, 1, 1, "A") for port in range(81, 200)]
    six = tcp_frame("fd00::1", "fd00::2", 1000, 80, 1, 1, "A")
    numbers = extents_of(frames_of(there, back, six, *others)).connections.tolist()
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == len(numbers) - 1
    # Recordings of several machines, and of several versions, agree.
    assert numbers[0] == connection_number(b"\x0a\0\0\1", 1000, b"\x0a\0\0\2", 80) == 7468575482939054619
    assert numbers[2] == connection_number(
        bytes.fromhex("fd" + "00" * 14 + "01"), 1000, b"\xfd" + bytes(14) + b"\2", 80
    )


def test_samples_are_as_large_as_they_are_called():
    frames = frames_of(*(tcp_frame("10.0.0.1", "10.0.0.2", port, 80, 1, 1, "A") for port in range(1, 20_001)))
    numbers = extents_of(frames).connections
    for n in (2, 3, 10, 64):
        assert 0.85 < (numbers % np.uint64(n) == 0).mean() * n < 1.15


@given(frame_batches())
def test_segments_of_frames_that_are_cut_there_are_the_same(frames):
    """But for the payload, and what is read of it."""
    whole = Decoding()
    expected = whole.feed(frames).copy()
    whole.finish()
    cut = Frames(frames.rows.copy(), data=frames.data)
    cut.rows["captured_bytes"] = extents_of(frames).header_bytes
    decoding = Decoding()
    found = decoding.feed(cut).copy()
    decoding.finish()
    for rows in (expected.rows, found.rows):
        rows["captured_payload_bytes"] = 0
        for name in ("tls", "tls_bytes", "tls_records"):
            rows[name] = 0
    assert found.rows["frame_number"].tolist() == expected.rows["frame_number"].tolist()
    assert found.packed().tobytes() == expected.packed().tobytes()
    # What is no segment stays none.
    assert decoding.unseen.counts.sum(axis=0)[0] == whole.unseen.counts.sum(axis=0)[0]
    assert len(REASONS) == len(decoding.unseen.counts)


@given(frame_batches())
def test_no_more_is_said_to_be_headers_than_was_captured(frames):
    found = extents_of(frames)
    assert (found.header_bytes >= 0).all()
    assert (found.header_bytes <= frames.captured_bytes).all()
    assert ((found.flags >= 0) == (found.connections != 0)).all()


def test_frames_outside_their_data_are_refused():
    frames = frames_of(tcp_frame("10.0.0.1", "10.0.0.2", 1, 2, 3, 4, "A"))
    frames.data = frames.data[:-1]
    with pytest.raises(ValueError, match="outside their data"):
        extents_of(frames)
