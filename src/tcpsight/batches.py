"""What one pass over a capture is asked for, and the rows that it gives, batch by batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tcpsight.connections import MOST_CONNECTIONS, Timeouts
from tcpsight.decode import Pair
from tcpsight.network import Account
from tcpsight.selection import Selection
from tcpsight.tables import (
    Connections,
    Frames,
    Headers,
    Network,
    Pieces,
    Policed,
    Requests,
    SegmentDetails,
    Streams,
    Unanswered,
)

Positions = np.ndarray[Any, np.dtype[np.int64]]

Keep = Callable[[Frames, Headers, Positions], Positions]
"""Take care of payload: told where in the frames' data that of each header lies (−1: none), say where it is kept."""


NOWHERE: Positions = np.zeros(0, np.int64)


LEFT_OUT = ("first", "handshake", "overlapped")
"""What may be left out of requests, by the columns ``is_…``."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the rooms need to know.

    Attributes
    ----------
    selection : Selection
        Which rows are wanted; its servers also tell the roles.
    start, end : str
        Between which instants of a request response time runs.
    timeouts : Timeouts
        When silent connections end.
    most_connections : int
        How many may be open at once before old ones are given up.
    with_segments : bool
        Whether batches carry segments.
    with_network, with_policing : bool
        Whether batches carry what the network did, and what exchanges tell of policers and shapers.
    ports : tuple of int
        Segments from or to these ports only reach the rooms behind `decode`; empty: all. Other than a selection it
        leaves no trace of what it leaves out.
    pairs : tuple of Pair
        The same for segments between two endpoints.
    by, given_at : str
        What tells which request bytes belong to, and when its row is given: see `RequestPairing`.
    account : str
        One of `Account`; without it the columns of the time account are null.
    with_requests : bool
        Whether requests are paired; without them batches carry none, and connections do not count any.
    leave_out : tuple of str
        Of `LEFT_OUT`: which requests are given no rows. Connections still count them.
    workers : int
        How many threads track connections; more than one give neither headers nor segments, nor what is still open.
    """

    selection: Selection = field(default_factory=Selection)
    start: str = "request_last"
    end: str = "response_first"
    timeouts: Timeouts = field(default_factory=Timeouts)
    most_connections: int = MOST_CONNECTIONS
    with_segments: bool = False
    with_network: bool = False
    with_policing: bool = False
    ports: tuple[int, ...] = ()
    pairs: tuple[Pair, ...] = ()
    by: str = "stream"
    given_at: str = "final"
    account: Account = "none"
    with_requests: bool = True
    leave_out: tuple[str, ...] = ()
    workers: int = 1


class Before(NamedTuple):
    """What came before these frames: so much is added to the numbers of frames and interfaces."""

    frames: int
    interfaces: int

    def add_to(self, rows: np.ndarray[Any, Any]) -> None:
        """Let rows of `Headers` have the numbers that they have in the whole capture."""
        if self.frames:
            rows["frame_number"] += self.frames
        if self.interfaces:
            rows["interface_id"] += np.uint32(self.interfaces)


class Batch(NamedTuple):
    """Rows that became final; each table is valid until the next batch.

    Attributes
    ----------
    requests, unanswered : Requests, Unanswered
        Those that arrived in the wanted time.
    connections, segments : Connections, SegmentDetails
        Those that overlap it, those that lie in it.
    residents, waiting : Requests, Unanswered
        Answered and unanswered requests that were there at some instant of it, even if they arrived before: what
        its slices are made of.
    headers : Headers
        Every TCP segment as it was on the wire, whatever was selected: for whoever counts by other rules than ours.
    kept : ndarray of int64
        Where the payload of each header is kept, −1 for none; empty where nobody keeps it.
    pieces, streams : Pieces, Streams
        What this batch adds to the index of all streams, whatever was selected; empty where nobody keeps payload.
    network : Network
        What the network did to the connections that overlap the wanted time; empty unless it is wanted.
    policed : Policed
        Exchanges of the services in the wanted time that were judged; empty unless they are wanted.
    served, unserved : Requests, Unanswered
        Answered and unanswered requests of the services at any time: what is usual there is told by all of them.
    """

    requests: Requests
    unanswered: Unanswered
    connections: Connections
    segments: SegmentDetails
    residents: Requests
    waiting: Unanswered
    headers: Headers
    kept: Positions
    pieces: Pieces
    streams: Streams
    network: Network
    policed: Policed
    served: Requests
    unserved: Unanswered
