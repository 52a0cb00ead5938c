"""Frames for the tests of this room, and what became of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.decode import Decoding
from tcpsight.tables import REASONS, Frames


def frames_of(*captured: bytes, link_type: int = 1, wire_bytes: int | None = None) -> Frames:
    """Lay frames out one behind the other, numbered from 1, one microsecond apart."""
    frames = Frames.allocate(len(captured))
    sizes = np.array([len(data) for data in captured], np.int64)
    frames.frame_number[:] = frames.frame_in_file[:] = np.arange(1, len(captured) + 1)
    frames.time_ns[:] = 1000 * frames.frame_number
    frames.position[:] = np.cumsum(sizes) - sizes
    frames.captured_bytes[:] = sizes
    frames.wire_bytes[:] = sizes if wire_bytes is None else wire_bytes
    frames.link_type[:] = link_type
    frames.data = b"".join(captured)
    return frames


def decode_one(data: bytes, *, link_type: int = 1, wire_bytes: int | None = None) -> np.void:
    """Decode a frame that must give a row."""
    decoding = Decoding()
    headers = decoding.feed(frames_of(data, link_type=link_type, wire_bytes=wire_bytes))
    assert len(headers) == 1, decoding.unseen.table().rows
    assert not decoding.unseen.counts.any()
    row: np.void = headers.rows[0]
    return row


def unseen_reason(data: bytes, *, link_type: int = 1, wire_bytes: int | None = None) -> str:
    """Decode a frame that must not give a row; tell why it did not."""
    decoding = Decoding()
    headers = decoding.feed(frames_of(data, link_type=link_type, wire_bytes=wire_bytes))
    assert len(headers) == 0
    decoding.finish()
    unseen: Any = decoding.unseen.table()
    assert unseen.count.tolist() == [1]
    assert unseen.bytes.tolist() == [len(data) if wire_bytes is None else wire_bytes]
    assert unseen.first_frame.tolist() == [1]
    return REASONS[int(unseen.reason[0])]
