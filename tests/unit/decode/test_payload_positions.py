"""Where payload lies: the bytes found there are the bytes that were sent."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.decode import Decoding
from tcpsight.tables import Frames, Headers
from tests.support.pcap import tcp_frame

OPTIONS = b"\x01\x01\x08\x0a" + bytes(8)


def table(frames: list[bytes]) -> Frames:
    made = Frames.allocate(len(frames))
    made.frame_number[:] = np.arange(10, 10 + len(frames))
    made.position[:] = np.cumsum([0, *map(len, frames)])[:-1] + 3
    made.captured_bytes[:] = made.wire_bytes[:] = [len(frame) for frame in frames]
    made.link_type[:] = 1
    made.data = b"???" + b"".join(frames)
    return made


SENT = [b"one", b"", b"two" * 400, b"three", b"four", b"five"]
MADE = [
    tcp_frame("10.0.0.1", "10.0.0.9", 1, 2, payload=SENT[0]),
    tcp_frame("10.0.0.1", "10.0.0.9", 1, 2) + bytes(6),
    tcp_frame("10.0.0.1", "10.0.0.9", 1, 2, payload=SENT[2], options=OPTIONS),
    tcp_frame("2001:db8::1", "2001:db8::9", 1, 2, payload=SENT[3]),
    tcp_frame("10.0.0.1", "10.0.0.9", 1, 2, payload=SENT[4], vlans=(5, 6)),
    tcp_frame("10.0.0.1", "10.0.0.9", 1, 2, payload=SENT[5]) + b"trailer",
]


def test_payload_is_found_behind_every_header():
    frames, decoding = table(MADE), Decoding()
    headers = decoding.feed(frames)
    positions = decoding.payload_positions(frames, headers)
    ends = positions + headers.captured_payload_bytes
    found = [bytes(frames.data[at:end]) for at, end in zip(positions.tolist(), ends.tolist(), strict=True)]
    assert found == [SENT[0], frames.data[-1:-1], *SENT[2:]]
    assert positions[1] == -1


def test_some_of_the_rows_are_enough_and_frames_without_tcp_are_passed_by():
    frames, decoding = table([MADE[0], b"\xff" * 60, *MADE[2:]]), Decoding()
    headers = decoding.feed(frames)
    whole = decoding.payload_positions(frames, headers)
    assert decoding.payload_positions(frames, headers[2:4]).tolist() == whole[2:4].tolist()
    assert decoding.payload_positions(frames, headers[:0]).tolist() == []


def test_a_payload_that_was_cut_off_is_nowhere():
    frames, decoding = table([MADE[0]]), Decoding()
    frames.captured_bytes[:] = 54
    assert decoding.payload_positions(frames, decoding.feed(frames)).tolist() == [-1]


def test_rows_of_other_frames_are_refused():
    frames, decoding = table(MADE), Decoding()
    headers = decoding.feed(frames).copy()
    headers.frame_number[3] = 99
    with pytest.raises(ValueError, match="row 3 of the headers is of none of the frames"):
        decoding.payload_positions(frames, headers)
    with pytest.raises(ValueError, match="row 0"):
        decoding.payload_positions(Frames(), headers)


def test_frames_outside_their_data_are_refused():
    frames, decoding = table(MADE), Decoding()
    headers = decoding.feed(frames).copy()
    frames.data = frames.data[:100]
    with pytest.raises(ValueError, match="of none of the frames"):
        decoding.payload_positions(frames, headers)
    assert decoding.payload_positions(frames, Headers()).tolist() == []
