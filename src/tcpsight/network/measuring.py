"""Measure what the network did to each direction of each connection.

Theory of operation
-------------------
Each direction has a ring of the segments in flight: where each ends and when it was captured. Whatever the other side
then says is held against it.

1. *Round trips.* An acknowledgment that ends where a segment ended gives one, from that segment; not if any of what it
   covers was sent again (Karn's rule) or lay above a hole, for such an acknowledgment was held back. Timestamps lift
   the ambiguity where only one segment was sent again. A round trip is *clean* if the receiver had no reason to wait:
   a SYN or FIN, or, by a segment without data, two full-size segments (RFC 9293 §3.8.6.3) or one with two more behind
   it. Others may hold a delayed acknowledgment, or the time in which the server made its answer; they count for
   percentiles only as long as there is no clean one. The minimum is that of all: waiting can only lengthen.
2. *Why a segment was sent again.* `spurious`: the receiver had it already, as an earlier acknowledgment, a D-SACK block
   (RFC 2883) or an echoed timestamp (Eifel, RFC 3522) shows. Otherwise `fast`: acknowledgments told of a loss, by SACK
   blocks above it or three duplicates (RFC 5681, 6675), and what follows until all that had been sent is acknowledged.
   `tail loss probe`: nobody told of a loss, and it is the last segment, for the first time, of a sender that offered
   SACK (RFC 8985 §7). `timeout`: all others, and what follows until all that had been sent is acknowledged.
   A retransmission has exactly one cause.
3. *Holes.* A segment that fills a hole was lost before the capture point and sent again, or overtaken. It was overtaken
   if its timestamp is older than that of the segment that showed the hole, or, where they are the same or absent, if it
   came sooner than 7/8 of the shortest round trip after it: a retransmission can't.
4. *Windows and bytes in flight.* In flight is what was sent and not cumulatively acknowledged. A segment fills the
   window if as much is then in flight as the other side last offered. A window is below one MSS if a segment of the
   size that its side said it takes does not fit. Windows are null where the scale is unknown.
5. *Non-idle time* runs from data sent while nothing was in flight to the acknowledgment of all data (as the Linux
   counter `tcpi_busy_time` does, but for data that the sender holds back). For the sender each such time is longer, by
   the way between it and the capture point, and a queue may be there. A pause is none if the data that end it echo an
   older timestamp than the acknowledgment that began it brought. Of other pauses nobody knows more than that what the
   sender acknowledges had reached it: where the vantage point is unknown, and they may hide more than 3 % of the
   non-idle time, the latter is null. Where it is known, only pauses count that follow a full segment that was not
   pushed: its sender had more.
6. *Evidence* for findings, in columns that no output shows: bytes that are sent again and again, round trips that rise
   with bytes in flight, small segments that wait for delayed acknowledgments, slow starts after pauses, the longest
   time with a closed window.

7. *Clocks.* A connection's clock never runs back. A leap of more than an hour is taken back if the connection's next
   segment lies more than an hour before it, or if the connection ended before it: every instant noted at the leap
   becomes the one before. No round trip is measured across a leap, or across a step back of more than 1 ms.

Memory: 2.2 KB per open connection; 32 B per segment in flight beyond four, at most 4,096 per direction; 64 B per
octave in which round trips lie, once there are more than four; 0.3 KB per direction that lost or overtook something,
and 32 B per hole, for 16 at first and 1,024 at most. Segments in flight and holes beyond the first may have 1 MiB each
in each of 256 parts of the connections. State lies in chunks of 4,096 connections that never move; a usual segment
touches ten lines. Beyond the limits fewer round trips are measured, and old holes are forgotten.

What it cannot see
------------------
What happens on the other side of the capture point: captured at the receiver, round trips are those of the receiving
host, loss shows as holes, bytes in flight are too small, and non-idle time is null. Whether a sender without tail loss
probes waited for its timer before it sent a last segment again. Whether a needless retransmission was needless where
neither D-SACK nor timestamps are in use. Segments cut by the sender's interface: they are captured whole, and their
times are those of handing them over.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from tcpsight.network import _kernel
from tcpsight.tables import VANTAGES, Boundaries, Connections, Headers, Network, Segments, UnseenCounter

Steps = np.ndarray[Any, np.dtype[np.int32]]
NO_STEPS: Steps = np.zeros(0, np.int32)
SMALLEST_ROOM = 256
"""Rows to begin with; doubled when they are too few."""

SNAPSHOT_ROWS = 4096
"""Rows of open connections that are given at a time."""

MOST_BITS_PER_S = 9e18
"""Rates end here, for they must fit."""

MOST_UNSEEN = 0.03
"""Part of the non-idle time that may have escaped the capture."""

MOST_STEPPED = 0.01
"""Of the time that a connection seems to have lasted, its clock may have been set back by so much."""

OVER_TIME = (
    *("throughput_bits_per_s", "goodput_bits_per_s", "non_idle_goodput_bits_per_s", "non_idle_ns"),
    *("zero_window_ns", "window_limited_ns", "window_below_mss_ns"),
)
"""What is wrong by as much as a clock was set back."""


class NetworkMeasuring:
    """Measure round trips, recovery and windows, batch by batch.

    Feed segments in capture order. How they are cut into batches never changes the rows that come out.

    Attributes
    ----------
    unseen : UnseenCounter
        Empty: whatever reaches this room has been counted before it.
    """

    def __init__(self) -> None:
        self.unseen = UnseenCounter()
        self._measures = _kernel.Measures()
        self._rows = Network.allocate(SMALLEST_ROOM)

    def feed(self, segments: Segments, headers: Headers, boundaries: Boundaries, steps: Steps = NO_STEPS) -> Network:
        """Take the next segments and the boundaries among them; give two rows for each connection that ended.

        Parameters
        ----------
        segments : Segments, shape (n,)
            In capture order.
        headers : Headers, shape (n,)
            What they were made from, row by row.
        boundaries : Boundaries, shape (m,)
            By position; one that lies at row i happens before segment i.
        steps : array of int32
            Rows before which the capture's time went back: a clock was set, perhaps.

        Returns
        -------
        Network
            In the order of the boundaries that ended their connections, the client's direction first. Valid until the
            next call.

        Raises
        ------
        ValueError
            If a slot is used that is not open, or opened while open: the fault of whoever made the tables.
        """
        slots = int(boundaries.slot.max()) + 1 if len(boundaries) else 0
        if 2 * len(boundaries) > len(self._rows):
            self._rows = Network.allocate(1 << (2 * len(boundaries) - 1).bit_length())
        made = self._measures.feed(
            segments.packed(), headers.packed(), boundaries.packed(), slots, self._rows.packed(), steps
        )
        network = self._rows[:made]
        network.until_ns = segments.until_ns
        return network

    def snapshots(self) -> Iterator[Network]:
        """Give two rows for each open connection as if it ended now, by slot; rows are valid until the next ones.

        It changes nothing.
        """
        rows, at = Network.allocate(SNAPSHOT_ROWS), 0
        while at < self._measures.slots:
            count, at = self._measures.snapshot(rows.packed(), at)
            yield rows[:count]

    def carried(self, slots: np.ndarray[Any, np.dtype[np.int64]]) -> bytes:
        """Give what is known of the connections in these slots."""
        return bytes(self._measures.carried(slots))

    def restore(self, carried: bytes, numbers: np.ndarray[Any, np.dtype[np.int64]]) -> None:
        """Take what `carried` gave of the connections with these numbers, in the next slots.

        Raises
        ------
        ValueError
            Something is wrong with it.
        """
        self._measures.restore(np.frombuffer(carried, np.uint8), numbers)


def agree_on_times(network: Network, connections: Connections) -> None:
    """Where clocks jump, let the rows begin and end with their connections: what comes next in the capture tells when.

    Where a clock was set back nobody knows how long they lasted: rates are null.

    Parameters
    ----------
    network : Network, shape (2n,)
        The client's direction of each connection, then the server's; changed.
    connections : Connections, shape (n,)
        In the same order.
    """
    _begin_and_end(network, connections)
    is_stepped = network.rows["stepped_back_ns"] > MOST_STEPPED * (network.end_ns - network.start_ns)
    for name in OVER_TIME:
        network.rows[name][is_stepped] = -1


def _begin_and_end(network: Network, connections: Connections) -> None:
    start_ns, end_ns = np.repeat(connections.start_ns, 2), np.repeat(connections.end_ns, 2)
    where = np.flatnonzero((network.start_ns != start_ns) | (network.end_ns != end_ns))
    if not len(where):
        return
    rows = network.rows[where]
    rows["start_ns"], rows["end_ns"] = start_ns[where], end_ns[where]
    duration_ns = np.maximum(rows["end_ns"] - rows["start_ns"], 0)
    for name in ("non_idle_ns", "zero_window_ns", "window_limited_ns", "window_below_mss_ns"):
        rows[name] = np.minimum(rows[name], duration_ns)
    is_known = rows["bytes"] >= 0
    for name, byte_count, time_ns in (
        ("throughput", rows["bytes"] + rows["retransmitted_bytes"], duration_ns),
        ("goodput", rows["bytes"], duration_ns),
        ("non_idle_goodput", rows["bytes"], rows["non_idle_ns"]),
    ):
        rate = np.minimum(byte_count * 8e9 / np.maximum(time_ns, 1), MOST_BITS_PER_S).astype(np.int64)
        rows[f"{name}_bits_per_s"] = np.where(is_known & (time_ns > 0), rate, -1)
    network.rows[where] = rows


def see_from_there(network: Network, connections: Connections) -> None:
    """Say where each was captured, and null what can't be seen from the receiver: when its data were outstanding.

    Where the vantage point is unknown it may be the receiver's; these times are kept only if they prove to be right
    wherever that was. Elsewhere they are null if a queue before the capture point seems to have made pauses.

    Parameters
    ----------
    network : Network, shape (2n,)
        The client's direction of each connection, then the server's; changed.
    connections : Connections, shape (n,)
        In the same order.
    """
    if not len(network):
        return
    for name in ("vantage", "vantage_confidence"):
        network.rows[name] = np.repeat(connections.rows[name], 2)
    is_unknown = connections.vantage == VANTAGES.index("unknown")
    for direction, (sender, receiver) in enumerate((("client", "server"), ("server", "client"))):
        is_receiver = connections.vantage == VANTAGES.index(receiver)
        own = network.rows[direction::2]
        to_sender_ns = _round_trip_to(sender, network.rows[1 - direction :: 2], connections)
        is_receiver |= is_unknown & ~_saw_all_non_idle(own, to_sender_ns)
        is_receiver |= own["doubtful_pause_ns"] > MOST_UNSEEN * own["non_idle_ns"]
        rows = 2 * np.flatnonzero(is_receiver) + direction
        network.rows["non_idle_ns"][rows] = -1
        network.rows["non_idle_goodput_bits_per_s"][rows] = -1


def _round_trip_to(end: str, peer: Any, connections: Connections) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Give the shortest time in which an end answered: it is no farther away than that; all there is if unknown."""
    none = np.iinfo(np.int64).max
    known = (peer["rtt_min_ns"], peer["echo_rtt_min_ns"], connections.rows[f"{end}_handshake_rtt_ns"])
    found: np.ndarray[Any, np.dtype[np.int64]] = np.min([np.where(ns >= 0, ns, none) for ns in known], axis=0)
    return found


def _saw_all_non_idle(own: Any, to_sender_ns: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Whether at most so much of each direction's non-idle time escaped the capture point.

    The first data were outstanding before they came by, and the last until after their acknowledgment did; in between,
    all that can have escaped are pauses.
    """
    unseen_ns = own["unseen_pause_ns"] + to_sender_ns.astype(np.float64)
    is_right = (unseen_ns <= MOST_UNSEEN * own["non_idle_ns"]) & (own["unseen_pause_ns"] >= 0)
    found: np.ndarray[Any, np.dtype[np.bool_]] = is_right | (own["bytes"] == 0)
    return found
