"""Pair requests with responses, connection by connection.

Theory of operation
-------------------
A request is a run of client bytes, its response the run of server bytes that follows: the two sides take turns, as
they do in any request-response protocol, so no knowledge of the protocol is needed. Only bytes seen for the first time
count; retransmissions, keep-alives, probes and pure acknowledgments neither open, extend nor answer a turn.

Each connection holds the current turn and at most one before it, because bytes may still arrive for that one:

1. Client bytes extend the current turn until it is answered; after that they open the next.
2. Server bytes answer the current turn if they acknowledge any byte of it. If they do not, the server sent them
   before it had the request: they belong to the response before, and the request is overlapped. Server bytes before
   any request (greetings) are unsolicited.
3. Each stream has an edge: one past its highest byte that was captured, or that data of the other side acknowledged.
   A turn owns the bytes of each stream from the edge where it began to the edge where the next began. Bytes below the
   edge fill a hole, or were overtaken in the capture; they belong to the turn that owns them and open nothing. They
   do not move the end of a request that is already answered.
4. Client bytes that acknowledge less than the server's edge were sent while a response went on: their request is
   overlapped.
5. A row is final when the next turn is answered and no byte of it is missing, when a second turn begins, or when the
   connection ends. Rows come out in that order.
6. A last request without an answer is unanswered, unless the client's FIN followed at once and first: a farewell (the
   QUIT of many protocols).

Without sequence numbers (tcpdump text that shows lengths only) order of capture is all there is: rules 2 to 4 do not
apply, and a row is final as soon as the next request begins. The older tools read every capture so, and whoever must
give their answer can ask for it: `by` = "capture" forgets the numbers, and bytes that were sent again count again.

Rows come when they are final, or, for those who count while traffic goes on, when the answer begins (`given_at` =
"answer"): the response is then as long as its first segment, and nothing is given at the end.

7. Of TLS the headers of records tell, where payload was captured (`_tls.pxd`): a turn that is all of a handshake is
   marked; a request that travels with the client's Finished begins behind it, and session tickets do not answer it;
   alerts are nobody's bytes. What may be an alert of TLS 1.3, which only its length tells, is held until an end follows
   it, or more.

What it cannot see
------------------
Pipelining: requests sent before the first of them is answered are one request, a batch in one segment among them. A
request sent in the middle of a response is taken to be answered by the first server bytes that acknowledge it, even
where they are the rest of that response; `is_overlapped` marks it, and its response time is a lower bound. Multiplexing
(HTTP/2, AMQP) and server push are such mixtures too: what comes out are turns, not the protocol's requests. A request
that the capture lost whole is not counted, and its response extends the one before; a response that the capture lost
whole makes one request of two. Bytes that fill a hole of a turn whose row is already out are not added to it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tcpsight.errors import UsageError
from tcpsight.requests import _carrying, _kernel
from tcpsight.tables import (
    INT64_MIN,
    KINDS,
    Boundaries,
    Headers,
    RequestCounts,
    Requests,
    Segments,
    Unanswered,
    UnseenCounter,
)

if TYPE_CHECKING:
    Block = np.ndarray[Any, np.dtype[np.uint8]]

STARTS = ("request_first", "request_last")
"""Where response time may start."""

ENDS = ("response_first", "response_last")
"""Where response time may end."""

ORDERS = ("stream", "capture")
"""What tells which turn bytes belong to: their place in the stream, or the order in which they were captured alone."""

MOMENTS = ("final", "answer")
"""When the row of an answered request is given."""

ALIGNMENT_BYTES = 128
"""State is aligned to this: two cache lines, which processors fetch as a pair."""

SMALLEST_ROOM = 256
"""Slots and rows to begin with."""

GROWTH = 8
"""State gets room for so many times the slots that are needed, if it is to be had: memory is taken where it is written
to, so that room costs nothing until it is used, but growing costs a copy in memory that was never touched."""


class Paired(NamedTuple):
    """What a batch completed; each table is valid until the next call."""

    requests: Requests
    unanswered: Unanswered
    counts: RequestCounts


class RequestPairing:
    """Pair requests with responses, batch by batch.

    Feed segments in capture order. How they are cut into batches never changes the rows that come out.

    Parameters
    ----------
    start : str
        One of `STARTS`: where response time starts, which is the request's arrival.
    end : str
        One of `ENDS`: where response time ends, which is the request's completion.
    by : str
        One of `ORDERS`: whether sequence numbers count.
    given_at : str
        One of `MOMENTS`: when rows of answered requests come.

    Attributes
    ----------
    opened : int
        How many requests, answered or not, have begun so far.
    unseen : UnseenCounter
        Empty: whatever reaches this room has been counted before it.

    Raises
    ------
    UsageError
        If a parameter is none of its words.
    """

    def __init__(
        self,
        start: str = "request_last",
        end: str = "response_first",
        *,
        by: str = "stream",
        given_at: str = "final",
    ) -> None:
        if start not in STARTS:
            raise UsageError(f"response time can start at {' or '.join(STARTS)}, not at {start}")
        if end not in ENDS:
            raise UsageError(f"response time can end at {' or '.join(ENDS)}, not at {end}")
        if by not in ORDERS or given_at not in MOMENTS:
            raise UsageError(f"requests are paired by {' or '.join(ORDERS)} and given at {' or '.join(MOMENTS)}")
        self.opened = 0
        self._held = 0
        self.unseen = UnseenCounter()
        self._by = by
        self._measure = (start == "request_first") + 2 * (end == "response_last") + 4 * (given_at == "answer")
        self._slots = _zeroed(0)
        self._requests = Requests.allocate(SMALLEST_ROOM)
        self._unanswered = Unanswered.allocate(SMALLEST_ROOM)
        self._counts = RequestCounts.allocate(SMALLEST_ROOM)
        self._waiting_room = SMALLEST_ROOM

    def feed(self, segments: Segments, boundaries: Boundaries, headers: Headers | None = None) -> Paired:
        """Take the next segments and the boundaries among them; give the requests they complete.

        Parameters
        ----------
        segments : Segments, shape (n,)
            In capture order.
        boundaries : Boundaries, shape (m,)
            By position; one that lies at row i happens before segment i.
        headers : Headers, shape (n,), optional
            What the segments were made from, row for row: they tell TLS handshakes.

        Returns
        -------
        Paired
            Answered requests in the order in which they became final; unanswered ones and counts in the order of
            the boundaries that ended their connections, one row of counts for each.

        Raises
        ------
        ValueError
            If a slot is used that is not open, or opened while open: the fault of whoever made the tables.
        """
        self._make_room(len(segments), boundaries)
        outputs = (self._requests.packed(), self._unanswered.packed(), self._counts.packed())
        if self._by == "capture":
            segments = in_capture_order(segments)
        made = _kernel.pair(
            segments.packed(),
            boundaries.packed(),
            self._slots,
            outputs,
            self._measure,
            (self.opened, self._held),
            headers.packed() if headers is not None else None,
        )
        self.opened, self._held = made[3:]
        paired = Paired(self._requests[: made[0]], self._unanswered[: made[1]], self._counts[: made[2]])
        for table in paired:
            table.until_ns = segments.until_ns
        return paired

    def waiting(self, until_ns: int) -> Unanswered:
        """Give the requests that wait for an answer now, by slot, as if every connection ended at `until_ns`.

        It changes nothing.
        """
        return self._as_if_ended(until_ns, with_counts=False)[0]

    def open_counts(self, until_ns: int) -> tuple[Unanswered, RequestCounts]:
        """Give what `waiting` gives, and the counts of the open connections."""
        return self._as_if_ended(until_ns, with_counts=True)

    def _as_if_ended(self, until_ns: int, *, with_counts: bool) -> tuple[Unanswered, RequestCounts]:
        # One walk over all slots, if no more wait than was thought: it takes longer than all else, as they lie apart.
        room = len(self._slots) // _kernel.SLOT_BYTES if with_counts else self._waiting_room
        while True:
            unanswered, counts = Unanswered.allocate(room), RequestCounts.allocate(room)
            outputs = (Requests().packed(), unanswered.packed(), counts.packed())
            *made, needed = _kernel.waiting(self._slots, until_ns, self._measure, outputs, with_counts)
            if needed <= room:
                break
            room = needed
        if not with_counts:
            self._waiting_room = max(needed + needed // 4, SMALLEST_ROOM)
        return unanswered[: made[0]], counts[: made[1]]

    def finish(self) -> Paired:
        """Give what is left, by `connection_id`: nothing, where every connection was ended by a boundary."""
        ends = Boundaries.allocate(_kernel.still_open(self._slots, Boundaries().packed()))
        _kernel.still_open(self._slots, ends.packed())
        return self.feed(Segments(), ends[np.argsort(ends.connection_id, kind="stable")])

    def carried(self, slots: np.ndarray[Any, np.dtype[np.int64]]) -> bytes:
        """Give what is known of the connections in these slots."""
        rows = self._slots[: len(self._slots) // _kernel.SLOT_BYTES * _kernel.SLOT_BYTES]
        return bytes(rows.reshape(-1, _kernel.SLOT_BYTES)[slots])

    def restore(self, carried: bytes, numbers: np.ndarray[Any, np.dtype[np.int64]], first: int) -> None:
        """Take what `carried` gave of the connections with these numbers, in the slots from `first` on.

        Raises
        ------
        ValueError
            Something is wrong with it.
        """
        self._held += _carrying.held_by(np.frombuffer(carried, np.uint8), numbers)
        begin = first * _kernel.SLOT_BYTES
        self._make_slots(first + len(numbers))
        self._slots[begin : begin + len(carried)] = np.frombuffer(carried, np.uint8)

    def _make_slots(self, slots: int) -> None:
        if slots * _kernel.SLOT_BYTES > len(self._slots):
            grown = _room_for(slots, _kernel.SLOT_BYTES)
            grown[: len(self._slots)] = self._slots
            self._slots = grown

    def _make_room(self, segment_count: int, boundaries: Boundaries) -> None:
        """Grow state to the slots that open, and outputs to the rows that this batch could give."""
        if len(boundaries):
            # A slot that ends was opened before.
            self._make_slots(int(boundaries.slot.max()) + 1)
        # Whatever happens completes two requests at most: a segment without numbers the one before, and the one before
        # that; the end of a connection likewise; one that is held does so later.
        rows = 2 * (segment_count + len(boundaries) + self._held)
        if rows > len(self._requests):
            self._requests = Requests.allocate(_roomy(rows))
        if len(boundaries) > len(self._counts):
            self._unanswered = Unanswered.allocate(_roomy(len(boundaries)))
            self._counts = RequestCounts.allocate(_roomy(len(boundaries)))


def in_capture_order(segments: Segments) -> Segments:
    """Forget sequence numbers: every byte of data is new, sent again or not; capture duplicates and probes stay out.

    Returns
    -------
    Segments, shape (n,)
        A copy.
    """
    forgetful = segments.copy()
    is_resent = segments.kind == KINDS.index("retransmission")
    forgetful.new_bytes[:] = np.where((segments.new_bytes > 0) | is_resent, segments.payload_bytes, 0)
    forgetful.new_at[:] = 0
    forgetful.offset[:] = forgetful.acked_offset[:] = INT64_MIN
    return forgetful


def _roomy(n: int) -> int:
    """Round up to a power of two."""
    return max(SMALLEST_ROOM, 1 << (n - 1).bit_length())


def _room_for(slots: int, slot_bytes: int) -> Block:
    """Allocate zeroed state for so many slots, and for more."""
    try:
        return _zeroed(_roomy(GROWTH * slots) * slot_bytes)
    except MemoryError:
        return _zeroed(_roomy(slots) * slot_bytes)


def _zeroed(byte_count: int) -> Block:
    """Allocate zeroed bytes, aligned."""
    block = np.zeros(byte_count + ALIGNMENT_BYTES, np.uint8)
    begin = -block.ctypes.data % ALIGNMENT_BYTES
    return block[begin : begin + byte_count]
