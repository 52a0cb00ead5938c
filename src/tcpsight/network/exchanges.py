"""What one direction sent in one exchange, as columns: what `token_bucket` and `delivery` judge.

One entry per segment on the wire, in the order of capture. `_log.pxd` has the layout.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tcpsight.network import _policing

Numbers = np.ndarray[Any, Any]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

ENTRY = np.dtype(
    [
        ("time_ns", "<i8"), ("waited_us", "<u4"), ("echoed_us", "<u4"), ("start", "<u4"), ("top", "<u4"),
        ("payload", "<i4"), ("link", "<u2"), ("flags", "<u2"), ("delivered_us", "<u4"), ("padding", "<u4"),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Exchange:
    """The entries of an exchange, and what the handshake said of the way to each side.

    Attributes
    ----------
    rows : ndarray of ENTRY, shape (n,)
        In the order of capture, n > 0.
    this_side_ns, other_side_ns : int
        Handshake round trip from the capture point to the receiver of the data, and to its sender; 0 if unknown.
    """

    rows: Numbers
    this_side_ns: int
    other_side_ns: int

    def has(self, name: str) -> Mask:
        """Tell which entries have a flag, shape (n,)."""
        mask: Mask = (self.rows["flags"] & _policing.FLAGS[name]) != 0
        return mask

    @cached_property
    def time_s(self) -> Numbers:
        """When each was captured, in seconds since the first, shape (n,)."""
        seconds: Numbers = (self.rows["time_ns"] - self.rows["time_ns"][0]) / 1e9
        return seconds

    @cached_property
    def payload(self) -> Numbers:
        """Payload of each, in bytes, shape (n,)."""
        return self.rows["payload"].astype(np.int64)

    @cached_property
    def is_lost(self) -> Mask:
        """Which were sent again, and not needlessly; or missed, and came a round trip later. Shape (n,)."""
        return self.has("lost") & ~self.has("spurious")

    @cached_property
    def is_missed(self) -> Mask:
        """Which were not captured and not lost either: capture gaps. Shape (n,)."""
        return self.has("hole") & ~self.is_lost

    @cached_property
    def is_lost_before(self) -> bool:
        """Whether most losses happened before the capture point: they are holes, not retransmissions."""
        return bool(2 * (self.is_lost & self.has("hole")).sum() > self.is_lost.sum())

    @cached_property
    def has_sack(self) -> bool:
        """Whether no duplicate ACK had to tell that something arrived."""
        is_told = self.has("acked") & ~self.has("hole") & (self.rows["delivered_us"] < self.rows["waited_us"])
        return not bool(is_told.any())

    @cached_property
    def is_acked_once(self) -> Mask:
        """Which were acknowledged and never sent again: those whose wait is a round trip. Shape (n,)."""
        return self.has("acked") & ~self.has("lost") & ~self.has("hole")

    @cached_property
    def is_undisturbed(self) -> Mask:
        """Which were sent after every loss before them had been acknowledged. Shape (n,)."""
        repaired_s = np.where(self.has("lost") & self.has("acked"), self.time_s + self.waited_s, -1.0)
        mask: Mask = self.time_s > np.maximum.accumulate(repaired_s)
        return mask

    @cached_property
    def is_timely(self) -> Mask:
        """Whose wait is a round trip: of those, without SACK, none that waited for a repair. Shape (n,)."""
        return self.is_acked_once if self.has_sack else self.is_acked_once & self.is_undisturbed

    @cached_property
    def waited_s(self) -> Numbers:
        """From each to its acknowledgment, in seconds, shape (n,); means something where `acked`."""
        seconds: Numbers = self.rows["waited_us"] / 1e6
        return seconds

    @cached_property
    def delivered_s(self) -> Numbers:
        """From each until it was known to have arrived, by a duplicate ACK, too, in seconds, shape (n,)."""
        seconds: Numbers = self.rows["delivered_us"] / 1e6
        return seconds

    @cached_property
    def echoed_s(self) -> Numbers:
        """From an acknowledgment to the first data that echoes its timestamp, in seconds, shape (n,); 0 for none."""
        seconds: Numbers = self.rows["echoed_us"] / 1e6
        return seconds
