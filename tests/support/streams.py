"""Pieces of streams whose bytes are kept in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tcpsight.tables import KINDS, Pieces


def pieces_from(runs: Iterable[Any]) -> tuple[Pieces, bytes]:
    """Write one row per run (offset, data, payload_bytes, is_probe), in frames 1, 2, 3 …; give them and the bytes."""
    runs = list(runs)
    pieces, store = Pieces.allocate(len(runs)), b""
    for i, (offset, data, payload_bytes, is_probe) in enumerate(runs):
        row = pieces.rows[i]
        row["offset"], row["position"], row["previous"] = offset, len(store), i - 1
        row["frame_number"], row["time_ns"] = i + 1, 1000 * (i + 1)
        row["payload_bytes"], row["captured_bytes"] = payload_bytes, len(data)
        row["kind"] = KINDS.index("zero_window_probe") if is_probe else 0
        store += data
    return pieces, store


def kept(store: bytes) -> Callable[[Any, Any, Any], bytes]:
    """Give the read function of bytes in memory."""

    def read(files: Any, positions: Any, lengths: Any) -> bytes:
        places = zip(positions.tolist(), lengths.tolist(), strict=True)
        return b"".join(store[at : at + length] for at, length in places)

    return read
