"""What a watch tells its feeds when a slice of time is over."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from tcpsight.tables import Findings, Intervals, KeyedIntervals, ServiceTotals, UnseenCounter

UNKNOWN = -1
"""Stands for a count that nobody made; no feed tells it."""


class FeedCounts(NamedTuple):
    """What became of the updates that one feed was given.

    Attributes
    ----------
    sent : int
        Updates that were handed to the receiver.
    dropped : int
        Updates that were given up: the receiver was too slow, or not there.
    failures : int
        How often the receiver could not be reached, or broke off.
    """

    sent: int = 0
    dropped: int = 0
    failures: int = 0


class Update(NamedTuple):
    """One slice of time, and what is known at its end; nothing in it may change once it was sent.

    Before the first slice there are updates without one, whose tables are empty.

    Attributes
    ----------
    services : KeyedIntervals
        The slice, a row for each service, then one for the others.
    total : Intervals
        The slice, one row over all of them.
    totals : ServiceTotals
        What was counted at each service since the watch began.
    histogram : ndarray of int64, shape (services + 1, bounds + 1)
        Response times since then, by row of `totals` and bucket of `RESPONSE_TIME_BOUNDS_NS`.
    unseen : UnseenCounter
        What was not understood since then.
    findings : Findings, optional
        What was found since the update before; None where nobody looks for findings.
    frames, segments, bytes, drops : int
        Frames captured since the watch began, the TCP segments among them, the bytes that were read for them, and the
        frames that were lost before they could be captured; −1 where that is not known.
    open_connections : int
        Connections open at the end of the slice; −1 where that is not known.
    interfaces : mapping of str to bool
        Whether each interface that is captured from is up, by its name; empty where that is not known.
    begun_ns, looked_ns : int
        Without a slice: when the watch began, and this was found; −1 where its time is that of a capture, which has not
        told it yet.
    findings_so_far : mapping of (kind, severity) to int
        How many findings there were since the watch began; `Feeds` counts them.
    feeds : mapping of str to FeedCounts
        What became of the updates before this one, by the name of the feed; `Feeds` counts them.
    """

    services: KeyedIntervals
    total: Intervals
    totals: ServiceTotals
    histogram: np.ndarray[Any, np.dtype[np.int64]]
    unseen: UnseenCounter
    findings: Findings | None = None
    frames: int = UNKNOWN
    segments: int = UNKNOWN
    bytes: int = UNKNOWN
    drops: int = UNKNOWN
    open_connections: int = UNKNOWN
    interfaces: Mapping[str, bool] = MappingProxyType({})
    begun_ns: int = UNKNOWN
    looked_ns: int = UNKNOWN
    findings_so_far: Mapping[tuple[str, str], int] = MappingProxyType({})
    feeds: Mapping[str, FeedCounts] = MappingProxyType({})

    @property
    def has_slice(self) -> bool:
        """Whether there is a slice."""
        return len(self.total) > 0

    @property
    def start_ns(self) -> int:
        """Where the slice begins, since the Unix epoch; without one, when the watch began."""
        return int(self.total.start_ns[0]) if self.has_slice else self.begun_ns

    @property
    def time_ns(self) -> int:
        """Of when this tells: the end of the slice; without one, when it was found."""
        return self.end_ns if self.has_slice else self.looked_ns

    @property
    def end_ns(self) -> int:
        """Where the slice ends; without one, when the watch began."""
        return self.start_ns + int(self.total.length_ns[0]) if self.has_slice else self.begun_ns
