"""Keep the time account of every connection: where its time went, and where it was captured.

Theory of operation
-------------------
The life of a connection is a row of waits, and each ends with a segment that tells what the wait was for. So the
account is charged when data come, not while time passes: the time since the last charge goes to one part, whole.

1. **connect** runs from the first SYN to the end of the handshake; it is the column that `connections` fills. Time of a
   handshake that never ended, or whose end was not captured, is recovery where a SYN was sent again, else unknown.
2. **Turns** are those of the requests room, by the same rules. New client data after client data is
   `request_transfer`, after server data `think`; new server data after client data is `server`, after server data
   `response_transfer`. The first data after a handshake end `think` if the client sends them and `server` if the
   server does (it greets). The wait that the end of the connection cuts short is `server` if a request is open, else
   `think`. Before the first data of a connection whose beginning was not captured, it is `unknown`.
3. **recovery** goes before turns: the time before a segment that repeats data or a FIN, or that fills a hole; and
   from there until the peer acknowledges it, or sends data. A segment without data that lies beyond all that was
   captured of its side (a bare FIN that overtakes the answer) shows a hole: the time before it is what it would be
   if the missing data had come then, and recovery begins with it.
4. **receiver_limited**: between two data segments of one side, the time until the peer's window had room for a segment
   again, if it had none after the first; and the time before a probe of that window.
5. **path_limited**: between two data segments of one side, if an acknowledgment of outstanding data came between them,
   and the second followed within 1 ms and 5/4 of the round trip between capture point and sender.
   Where that round trip is the longer one, what lets the sender go on is on its way unseen, and the time stays
   with the transfer.

Segments that nobody believes, keep-alives and capture duplicates charge nothing. Times going backwards charge
nothing. A step of more than an hour is taken back if the connection's next segment lies more than an hour before it.
What is left to the duration at the end is unknown; if more was charged than that, clocks have jumped, and all is.

Where only one side was captured nobody knows whose turn it was: all but connect and recovery is unknown.

Memory: 256 bytes an open connection, and 128 more where requests are accounted for.

**Vantage** comes from the round trips of the handshake as seen here and from the times to live of each side's first
segment; see `_vantage.pxd`.

What it cannot see
------------------
* What the sides did meanwhile: a client's wait may be its disk, and `server` has the path to the server in it.
* That an application writes little by little, if by chance each step follows an acknowledgment within a millisecond:
  it looks limited by the path.
* A window that the capture did not learn to scale: there is no receiver limit then.
* Without sequence numbers (text that shows lengths only) there are turns, and none of rules 3 to 5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from tcpsight.network import _account, _account_carrying, _placing
from tcpsight.tables import (
    TIME_PARTS,
    VANTAGES,
    AccountedRequests,
    Boundaries,
    ConnectionAccounts,
    Connections,
    Findings,
    Headers,
    Network,
    RequestAccounts,
    Requests,
    Segments,
    Table,
    UnseenCounter,
)

if TYPE_CHECKING:
    Block = np.ndarray[Any, np.dtype[np.uint8]]

ALIGNMENT_BYTES = 128
"""State is aligned to this: two cache lines, which processors fetch as a pair."""

SMALLEST_ROOM = 256
"""Slots and rows to begin with."""

GROWTH = 8
"""State gets room for so many times the slots that are needed, if it is to be had: memory is taken where it is written
to, so that room costs nothing until it is used, but growing costs a copy in memory that was never touched."""

REQUEST_PARTS = tuple(part for part in TIME_PARTS if part not in ("connect", "think", "unknown"))
"""The parts that a request can have, besides what is unknown."""


Account = Literal["none", "places", "connections", "requests"]
"""Whose time is accounted for: nobody's, but for where connections were captured, that of connections, or that of
requests too."""

ACCOUNT_COLUMNS = tuple(column.name for column in ConnectionAccounts.columns if column.name != "connection_id")

NO_ACCOUNT = {column.name: column.null for column in Connections.columns} | {"vantage": VANTAGES.index("unknown")}
"""What these columns hold where no account was kept."""


class Accounted(NamedTuple):
    """What a batch completed; each table is valid until the next call."""

    connections: ConnectionAccounts
    requests: RequestAccounts


class TimeAccounting:
    """Tell where the time of connections, and of requests, went, batch by batch.

    Feed segments in capture order. How they are cut into batches never changes the rows that come out.

    Parameters
    ----------
    with_requests : bool
        Whether requests are accounted for too.

    Attributes
    ----------
    unseen : UnseenCounter
        Empty: whatever reaches this room has been counted before it.
    """

    def __init__(self, *, with_requests: bool = False) -> None:
        self.unseen = UnseenCounter()
        self._with_requests = with_requests
        self._slots = _zeroed(0)
        self._turns = _zeroed(0)
        self._accounts = ConnectionAccounts.allocate(SMALLEST_ROOM)
        self._requests = RequestAccounts.allocate(SMALLEST_ROOM)

    def feed(self, segments: Segments, headers: Headers, boundaries: Boundaries, connections: Connections) -> Accounted:
        """Take the next segments and what belongs to them; give the accounts they complete.

        Parameters
        ----------
        segments : Segments, shape (n,)
            In capture order.
        headers : Headers, shape (n,)
            What they were made from.
        boundaries : Boundaries, shape (m,)
            By position; one that lies at row i happens before segment i.
        connections : Connections, shape (k,)
            Those that the boundaries end, in their order.

        Returns
        -------
        Accounted
            One row per connection that ended; of requests, if wanted, one per answered request that the next one, or
            the end of its connection, completed.

        Raises
        ------
        ValueError
            If the tables do not belong together: the fault of whoever made them.
        """
        self._make_room(len(segments), boundaries, len(connections))
        inputs = (segments.packed(), headers.packed(), boundaries.packed(), connections.packed())
        made = _account.account(inputs, self._slots, self._turns, (self._accounts.packed(), self._requests.packed()))
        accounted = Accounted(self._accounts[: made[0]], self._requests[: made[1]])
        for table in accounted:
            table.until_ns = segments.until_ns
        return accounted

    def carried(self, slots: np.ndarray[Any, np.dtype[np.int64]]) -> tuple[bytes, bytes]:
        """Give what is known of the connections in these slots, and of their requests."""
        sizes = (_account.SLOT_BYTES, _account.TURN_BYTES)
        blocks = [
            block[: len(block) // size * size].reshape(-1, size)
            for block, size in zip((self._slots, self._turns), sizes, strict=True)
        ]
        return blocks[0][slots].tobytes(), blocks[1][slots].tobytes() if self._with_requests else b""

    def restore(self, carried: tuple[bytes, bytes], numbers: np.ndarray[Any, np.dtype[np.int64]], first: int) -> None:
        """Take what `carried` gave of the connections with these numbers, in the slots from `first` on.

        Raises
        ------
        ValueError
            Something is wrong with it.
        """
        slots, turns = (np.frombuffer(each, np.uint8) for each in carried)
        _account_carrying.check(slots, numbers)
        if len(turns) != len(numbers) * _account.TURN_BYTES * self._with_requests:
            raise ValueError("accounts of other requests were carried")
        self._slots = _grown(self._slots, first + len(numbers), _account.SLOT_BYTES)
        self._slots[first * _account.SLOT_BYTES :][: len(slots)] = slots
        if self._with_requests:
            self._turns = _grown(self._turns, first + len(numbers), _account.TURN_BYTES)
            self._turns[first * _account.TURN_BYTES :][: len(turns)] = turns

    def _make_room(self, segment_count: int, boundaries: Boundaries, ends: int) -> None:
        """Grow state to the slots that open, and outputs to the rows that this batch could give."""
        if len(boundaries):
            slots = int(boundaries.slot.max()) + 1
            self._slots = _grown(self._slots, slots, _account.SLOT_BYTES)
            if self._with_requests:
                self._turns = _grown(self._turns, slots, _account.TURN_BYTES)
        if ends > len(self._accounts):
            self._accounts = ConnectionAccounts.allocate(_roomy(ends))
        rows = segment_count + len(boundaries)
        if self._with_requests and rows > len(self._requests):
            self._requests = RequestAccounts.allocate(_roomy(rows))


class Placing:
    """Tell where connections were captured, batch by batch: all that their network rows need of the account.

    What it gives are the accounts that `TimeAccounting` gives, with nothing in them but that.

    Attributes
    ----------
    unseen : UnseenCounter
        Empty: whatever reaches this room has been counted before it.
    """

    def __init__(self) -> None:
        self.unseen = UnseenCounter()
        self._slots = _zeroed(0)
        self._accounts = ConnectionAccounts.allocate(SMALLEST_ROOM)

    def feed(self, segments: Segments, headers: Headers, boundaries: Boundaries, connections: Connections) -> Accounted:
        """Take the next segments and what belongs to them; see `TimeAccounting.feed`."""
        if len(boundaries):
            self._slots = _grown(self._slots, int(boundaries.slot.max()) + 1, _placing.SLOT_BYTES)
        if len(connections) > len(self._accounts):
            self._accounts = ConnectionAccounts.allocate(_roomy(len(connections)))
        accounts = self._accounts[: len(connections)]
        for name in ACCOUNT_COLUMNS:
            accounts.rows[name] = NO_ACCOUNT[name]
        inputs = (segments.packed(), headers.packed(), boundaries.packed(), connections.packed())
        made = _placing.place(*inputs, self._slots, self._accounts.packed())
        accounted = Accounted(accounts[:made], RequestAccounts())
        for table in accounted:
            table.until_ns = segments.until_ns
        return accounted


def account_for(table_type: type[Table], *, alone: bool = False) -> Account:
    """Tell whose time must be accounted for to fill a table, and nothing else if it is wanted alone."""
    if issubclass(table_type, AccountedRequests):
        return "requests"
    # What network rows and findings tell depends on where the capture was taken, which the account knows.
    if alone and issubclass(table_type, Network):
        return "places"
    return "connections" if issubclass(table_type, Connections | Network | Findings) else "none"


def fill(connections: Connections, accounts: ConnectionAccounts) -> None:
    """Fill the columns of ended connections that were accounted for; without an account they are null."""
    for name in ACCOUNT_COLUMNS:
        connections.rows[name] = accounts.rows[name] if len(accounts) else NO_ACCOUNT[name]


class RequestMatching:
    """Bring requests and their accounts together: an account may come some batches before its request.

    Attributes
    ----------
    waiting : RequestAccounts
        Those whose request has not come yet.
    """

    def __init__(self) -> None:
        self.waiting = RequestAccounts()

    def feed(self, requests: Requests, accounted: Accounted) -> AccountedRequests:
        """Take the next requests and accounts; give the requests with theirs, in the order of the requests.

        What is left to the time from `request_first_ns` to `response_last_ns` is unknown. Where an account holds more
        than that (late bytes and clocks that step back move these instants), all of it is.
        """
        known = RequestAccounts.concatenate([self.waiting, accounted.requests])
        at = _places(known, requests)
        table = AccountedRequests.allocate(len(requests))
        for column in Requests.columns:
            table.rows[column.name] = requests.rows[column.name]
        total = np.maximum(requests.response_last_ns - requests.request_first_ns, 0)
        parts = np.zeros((len(TIME_PARTS), len(requests)), np.int64)
        is_found = at >= 0
        for name in REQUEST_PARTS:
            parts[TIME_PARTS.index(name), is_found] = known.rows[f"{name}_ns"][at[is_found]]
        parts[:, parts.sum(axis=0) > total] = 0
        parts[-1] = total - parts.sum(axis=0)
        for name in (*REQUEST_PARTS, "unknown"):
            table.rows[f"{name}_ns"] = parts[TIME_PARTS.index(name)]
        table.limited_by[:] = np.where(total > 0, parts.argmax(axis=0), 255) if len(requests) else 0
        # No request comes after the end of its connection.
        is_waiting = ~np.isin(known.connection_id, accounted.connections.connection_id)
        is_waiting[at[is_found]] = False
        self.waiting = known[is_waiting].copy()
        table.until_ns = requests.until_ns
        return table


def _places(accounts: RequestAccounts, requests: Requests) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Find the account of each request, shape (n,); −1 if there is none.

    It began with the same segment. The number in the connection tells those of one instant apart; where TLS is, of
    which the account knows nothing, turns may differ in number, and time alone must tell.
    """
    places = np.full(len(requests), -1, np.int64)
    for names in (("request_first_ns", "request_index", "connection_id"), ("request_first_ns", "connection_id")):
        rest = np.flatnonzero(places < 0)
        if not len(rest):
            break
        others = np.ones(len(accounts), bool)
        others[places[places >= 0]] = False
        free = np.flatnonzero(others)
        keys = [np.concatenate([accounts.rows[name][free], requests.rows[name][rest]]) for name in names]
        order = np.lexsort((np.arange(len(free) + len(rest)), *keys))
        before, after = order[:-1], order[1:]
        is_pair = (before < len(free)) & (after >= len(free))
        for key in keys:
            is_pair &= key[before] == key[after]
        places[rest[after[is_pair] - len(free)]] = free[before[is_pair]]
    return places


def _grown(block: Block, rows: int, row_bytes: int) -> Block:
    """Give room for so many rows of state, with what is known already."""
    if rows * row_bytes <= len(block):
        return block
    grown = _room_for(rows, row_bytes)
    grown[: len(block)] = block
    return grown


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
