"""Finds IP behind bytes that no link type explains: a user says how many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tcpsight.tables import Frames

if TYPE_CHECKING:
    from tcpsight.capture.filter import FrameFilter

LINK_TYPE_RAW = 101
LINK_HEADER_BYTES = {0: 4, 1: 14, 9: 4, 101: 0, 108: 4, 113: 16, 228: 0, 229: 0, 276: 20}
"""How long the header of common link types is (LINKTYPE_ registry)."""

PROTOCOL_TCP = 6
Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Passing(Protocol):
    """What lets frames through, changed or not."""

    def apply(self, frames: Frames) -> Frames:
        """Give the frames that pass."""


class LinkOffset:
    """Skip bytes in front of IP.

    Where TCP over IP begins so many bytes behind the link header, the frame is taken from there; else where it begins
    so many bytes behind the frame's first byte; else the frame stays as it is.

    Parameters
    ----------
    extra_bytes : int
        How many.
    inner : FrameFilter, optional
        Frames go through it first, as they are.
    """

    def __init__(self, extra_bytes: int, inner: FrameFilter | None = None) -> None:
        self._extra_bytes = extra_bytes
        self._inner = inner

    def apply(self, frames: Frames) -> Frames:
        """Give the frames without what stands in front of IP, shape (n,)."""
        if self._inner is not None:
            frames = self._inner.apply(frames)
        if not len(frames):
            return frames
        rows, data = frames.rows.copy(), np.frombuffer(frames.data, np.uint8)
        headers = np.zeros(len(rows), np.int64)
        for link_type, length in LINK_HEADER_BYTES.items():
            headers[rows["link_type"] == link_type] = length
        skipped = np.zeros(len(rows), np.int64)
        for candidate in (np.full(len(rows), self._extra_bytes, np.int64), headers + self._extra_bytes):
            found = _holds_tcp(rows, data, candidate)
            skipped[found] = candidate[found]
        is_moved = skipped > 0
        rows["position"] += skipped
        for name in ("captured_bytes", "wire_bytes"):
            rows[name] -= skipped.astype(np.uint32)
        rows["link_type"][is_moved] = LINK_TYPE_RAW
        return Frames(rows, frames.until_ns, frames.data, frames.origin)


def _holds_tcp(rows: np.ndarray[Any, Any], data: np.ndarray[Any, Any], skipped: np.ndarray[Any, Any]) -> Mask:
    """Tell which frames have an IP header that announces TCP behind so many bytes, shape (n,)."""
    fits = (rows["captured_bytes"] >= skipped + 20) & (rows["wire_bytes"] >= skipped + 20)
    at = np.where(fits, rows["position"] + skipped, 0)
    version = data[at] >> 4
    is_tcp = (version == 4) & (data[at] & 15 >= 5) & (data[np.where(fits, at + 9, 0)] == PROTOCOL_TCP)
    is_tcp |= (version == 6) & (data[np.where(fits, at + 6, 0)] == PROTOCOL_TCP)
    found: Mask = fits & is_tcp
    return found
