"""Segments find their connections, and sequence numbers become stream offsets.

Theory of operation
-------------------
Every TCP header is looked up by its two endpoints. The first one of a connection opens it and decides, once and for
all, who is the client; `connection_id` is the number of that frame. From then on each direction is a stream: sequence
numbers, which wrap, are unwrapped against the stream's end so far, into 64-bit offsets where the first payload byte is
0 and the SYN is −1. What lies beyond the end is new; what lies below it is a retransmission unless it fills a hole
(bytes passed over, of which 16 per direction are kept). A number farther away than anything its sender could have in
flight is held, and believed when the next one agrees with it: so garbage changes nothing, and no gap locks a direction
out.

A connection ends when the capture ends, when a time-out passes (all in capture time: a handshake that stops half-way
130 s, after both FINs or a RST 60 s, established 2 h 10 min), or when its endpoints are used again: a SYN with another
ISN after FIN, RST or 60 s of silence, or earlier if the peer answers it; until then such a SYN is held. Deadlines are
kept in a heap and looked at only when they come up, so an active connection costs nothing. Slots of ended connections
are recycled: memory follows the number of open connections, and that has a limit (`_shares`).

The clock is the highest time seen. A jump forward of more than an hour is believed when the next frame's time is not
more than an hour before it, or when it is known from elsewhere that time has come so far (`until_ns`).

The kernel is made of small parts, each with its rules: `_placing` (what one header causes), `_handshake` (SYNs, their
answers, whose RST is believed), `_rules` (acknowledgments, payload, FIN, windows), `_edge` (gaps and jumps),
`_duplicates`, `_lifecycle` (roles, time-outs, the row), `_shares` (who goes when there are too many), `_reuse`, and
below them `_sequence`, `_timers`, `_slots`, `_context`, `_state`.

Several trackings may share one capture, each with the headers of some shares: then each is told the times of all
headers (`Among`), so that its clock is the clock of the whole, and boundaries tell where among all headers they lie.

What it cannot see
------------------
* Whether bytes that fill a hole were late or lost and sent again: both are ``out_of_order`` here.
* A FIN that was not captured, unless the peer acknowledged it and closed too: otherwise its stream seems to go on.
* Where offset 0 is when the capture starts mid-stream: it is the first byte seen, or the first acknowledged.
* Bytes before that: sent again, or late, they are retransmissions.
* Window scaling when either SYN is missing: the window is then unknown, except where it is zero.
* Which segments belong to which of two connections between the same endpoints, where neither SYN of the later one nor
  its answer was captured.
* That a capture's first frame is stamped far in the future: until time catches up, nothing expires.
* For text without sequence numbers, anything but lengths in their order.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tcpsight.connections._kernel import Tracker
from tcpsight.tables import Boundaries, Connections, Headers, Segments, UnseenCounter

NS_PER_S = 1_000_000_000

MOST_CONNECTIONS = 1_000_000
"""How many connections may be open if nobody says otherwise: some 2 GB for all rooms."""


Slots = np.ndarray[Any, np.dtype[np.int64]]


class Timeouts(NamedTuple):
    """How long a silent connection is kept, in nanoseconds of capture time.

    Attributes
    ----------
    handshake_ns : int
        A SYN without answer, or a handshake that stopped half-way: Linux sends six retries in 127 s.
    ended_ns : int
        After both FINs or a RST: TIME-WAIT as Linux has it.
    established_ns : int
        Otherwise: just beyond the 2 h after which keep-alives begin (RFC 1122 §4.2.3.6).
    """

    handshake_ns: int = 130 * NS_PER_S
    ended_ns: int = 60 * NS_PER_S
    established_ns: int = 7800 * NS_PER_S


class Server(NamedTuple):
    """An endpoint, or one half of it, that the user says is a server's.

    Attributes
    ----------
    address : bytes or None
        16 bytes, IPv4 as ``::ffff:a.b.c.d``; None for any.
    port : int
        0 for any.
    ip_version : int
        4 or 6; without meaning where the address is None.
    """

    address: bytes | None
    port: int
    ip_version: int


class Among(NamedTuple):
    """Of which headers those of a batch are some.

    Attributes
    ----------
    times_ns : ndarray of int64, shape (n,)
        The times of all headers of the batch.
    rows : ndarray of int32, shape (m,)
        Which of them these are; ascending.
    """

    times_ns: np.ndarray[Any, np.dtype[np.int64]]
    rows: np.ndarray[Any, np.dtype[np.int32]]


Steps = np.ndarray[Any, np.dtype[np.int32]]
NO_STEPS: Steps = np.zeros(0, np.int32)


class Tracked(NamedTuple):
    """What a batch became; each table is valid until the next call.

    Attributes
    ----------
    segments : Segments
        Row for row with the headers.
    boundaries : Boundaries
        Where among them connections open and end.
    connections : Connections
        Those that ended, in the order of their ``ended`` boundaries; columns that later rooms fill are zero.
    is_whole : bool
        Whether that is all; if not, `ConnectionTracking.more` gives the next part.
    steps : array of int32
        Rows of the segments before which the capture's time went back by more than 1 ms, in their order; a row behind
        the last one stands for its end.
    """

    segments: Segments
    boundaries: Boundaries
    connections: Connections
    is_whole: bool
    steps: Steps = NO_STEPS


class ConnectionTracking:
    """Follow every connection, batch by batch.

    Feed headers in capture order. How they are cut into batches never changes the rows that come out.

    Parameters
    ----------
    servers : sequence of Server
        Endpoints known to be servers'; better evidence than a SYN.
    timeouts : Timeouts
        When silent connections end.
    most : int
        How many connections may be open at once. They are shared out, rounded up, over 256 parts by a hash of their
        endpoints; where one is full, the oldest connection that is not beyond its handshake is given up for the next,
        or else the first in turn that was silent since it was last looked at.
    hash_seed : int
        Any 64-bit number; it changes speed under attack, never rows.
    blocks : int
        After so many calls the segments of the first are written over.

    Attributes
    ----------
    unseen : UnseenCounter
        Capture duplicates, gaps, times going backwards, and what else did not become a number.
    """

    def __init__(
        self,
        servers: Sequence[Server] = (),
        timeouts: Timeouts | None = None,
        *,
        most: int = MOST_CONNECTIONS,
        hash_seed: int = 0x7C95,
        blocks: int = 1,
    ) -> None:
        self.unseen = UnseenCounter()
        self._tracker = Tracker(tuple(timeouts or Timeouts()), list(servers), hash_seed, most)
        self._blocks = deque([Segments()] * blocks)
        self._left: Headers | None = None
        self._among: Among | None = None
        self._is_finishing = False

    @property
    def open_connections(self) -> int:
        """Connections open now."""
        return self._tracker.open_count

    def feed(self, headers: Headers, among: Among | None = None) -> Tracked:
        """Take the next headers, shape (n,); give their n segments and the connections that end with them.

        If they are not all that the capture has there, `among` tells of which they are some. Where very many end, the
        answer is a part of it, and `more` gives the next; so a batch stays small.
        """
        if self._left is not None or self._is_finishing:
            raise ValueError("the batch before this one was not taken to its end")
        self._left, self._among = headers, among
        return self.more()

    def snapshot(self) -> Connections:
        """Give the connections that are open now as they would be if the capture ended here, by slot.

        It changes nothing. Community IDs are left out, and so are the columns that later rooms fill.
        """
        if self._left is not None:
            raise ValueError("the batch before this one was not taken to its end")
        return Connections(np.frombuffer(self._tracker.snapshot(), Connections.dtype))

    def slots(self) -> Slots:
        """Give the slots of the open connections, in the order in which they are carried."""
        if self._left is not None or self._is_finishing:
            raise ValueError("the batch before this one was not taken to its end")
        return np.frombuffer(self._tracker.slots(), np.int64)

    def carried(self, slots: Slots) -> bytes:
        """Give what is known of the connections in these slots."""
        return bytes(self._tracker.carried(slots))

    def restore(self, carried: bytes, count: int, most_id: int) -> Slots:
        """Open so many connections as `carried` gave them, in the next slots; give their numbers.

        Raises
        ------
        ValueError
            Something is wrong with one, or its number is above `most_id`.
        """
        made = self._tracker.restore(np.frombuffer(carried, np.uint8), count, most_id)
        return np.frombuffer(made, np.int64)

    def clock(self, slots: Slots) -> list[int]:
        """Give what is known of time."""
        return list(map(int, self._tracker.clock(slots)))

    def set_clock(self, told: list[int]) -> None:
        """Take what `clock` gave, when all connections were restored."""
        self._tracker.set_clock(told)

    def finish(self) -> Tracked:
        """End the capture: end every open connection, by `connection_id`; in parts, as `feed`."""
        if self._left is not None:
            raise ValueError("the batch before this one was not taken to its end")
        self._is_finishing = True
        return self.more()

    def more(self) -> Tracked:
        """Give the next part of what is not whole yet; its segments belong to the headers that are left."""
        tracked = self._more()
        self.unseen.furthest_back_ns = self._tracker.furthest_back_ns
        return tracked

    def _more(self) -> Tracked:
        if self._left is None:
            is_whole, connections, boundaries = self._tracker.finish(self.unseen.counts)
            self._is_finishing = not is_whole
            return _tracked(Segments(), boundaries, connections, is_whole=is_whole)
        headers, among = self._left, self._among
        self._blocks.rotate()
        if len(self._blocks[0]) < len(headers):
            self._blocks[0] = Segments.allocate(len(headers))
        block = self._blocks[0].rows
        taken, is_whole, connections, boundaries = self._tracker.feed(
            headers.packed(),
            block.view(np.uint8),
            self.unseen.counts,
            headers.until_ns,
            *(among or (None, None)),
        )
        self._left = None if is_whole else headers[taken:]
        self._among = None if among is None else Among(among.times_ns, among.rows[taken:])
        segments = Segments(block[:taken], headers.until_ns if is_whole else None)
        steps = np.frombuffer(self._tracker.steps(), np.int32)
        return _tracked(segments, boundaries, connections, is_whole=is_whole)._replace(steps=steps)


def _tracked(segments: Segments, boundaries: bytearray, connections: bytearray, *, is_whole: bool) -> Tracked:
    ended = Connections(np.frombuffer(connections, Connections.dtype))
    return Tracked(segments, Boundaries(np.frombuffer(boundaries, Boundaries.dtype)), ended, is_whole)
