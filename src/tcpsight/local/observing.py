"""Which connections go by, and the numbers that each side expects next: from a file, or an interface for a while."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tcpsight.pipeline import Pipeline
from tcpsight.tables import FLAG_ACK, FLAG_FIN, FLAG_SYN, STATES, Connections, UnseenCounter

if TYPE_CHECKING:
    from tcpsight.local.resets import Endpoint
    from tcpsight.tables import Frames, Headers

ENDABLE = tuple(STATES.index(name) for name in ("open", "half_closed"))

MOST_REMEMBERED = 200_000
"""Ways whose numbers are remembered before those of connections that are over are forgotten."""

WAY_BYTES = 36
_WAY = ("source_address", "destination_address", "source_port", "destination_port")


class Numbers(NamedTuple):
    """What one side of a connection said last.

    Attributes
    ----------
    expected : int
        The sequence number it expects next: what it acknowledged last.
    sent : int
        The sequence number behind what it sent last.
    """

    expected: int
    sent: int

    @property
    def swapped(self) -> Numbers:
        """What the other side says if it has got all of it."""
        return Numbers(self.sent, self.expected)


class Observation:
    """Takes frames; knows the connections that are open, and the numbers of their sides.

    Attributes
    ----------
    until_ns : int
        How far capture time has come.
    """

    def __init__(self) -> None:
        self.until_ns = 0
        self.unseen = UnseenCounter()
        self._pipeline = Pipeline(())
        self._numbers: dict[bytes, Numbers] = {}
        self._limit = MOST_REMEMBERED
        self._before: dict[bytes, Numbers] = {}

    def begin_live(self) -> None:
        """Take what was seen so far for the past, in which much may have been missed since."""
        self._before, self._numbers = self._numbers, {}

    def feed(self, frames: Frames) -> None:
        """Take the next frames."""
        if len(frames):
            self.until_ns = max(self.until_ns, int(frames.time_ns.max()))
        if frames.until_ns is not None:
            self.until_ns = max(self.until_ns, frames.until_ns)
        for batch in self._pipeline.feed(frames):
            self._note(batch.headers)
        if len(self._numbers) > self._limit:
            self._forget()

    def connections(self) -> Connections:
        """Give the connections that are open, by the number of the frame that opened them."""
        table = self._pipeline.open_connections(self.until_ns)
        table = table[np.isin(table.state, ENDABLE)]
        return table[np.argsort(table.connection_id)]

    def numbers(self, side: Endpoint, other: Endpoint) -> Numbers | None:
        """Give what one side said last to the other; None if it never acknowledged anything here."""
        key = way(side, other)
        return self._numbers.get(key) or self._before.get(key)

    def before(self, side: Endpoint, other: Endpoint) -> Numbers | None:
        """Give what one side had said last to the other when `begin_live` was called."""
        return self._before.get(way(side, other))

    def is_live(self, side: Endpoint, other: Endpoint) -> bool:
        """Tell whether one side has said something since `begin_live`."""
        return way(side, other) in self._numbers

    def _forget(self) -> None:
        """Forget the numbers of connections that are over."""
        table = self._pipeline.open_connections(self.until_ns)
        ways = {way(*pair) for row in table.rows for client, server in [sides_of(row)]
                for pair in ((client, server), (server, client))}  # fmt: skip
        self._numbers = {key: numbers for key, numbers in self._numbers.items() if key in ways}
        self._limit = max(MOST_REMEMBERED, 2 * len(self._numbers))

    def _note(self, headers: Headers) -> None:
        for row in headers.rows[(headers.flags & FLAG_SYN) != 0] if self._before else ():
            for pair in (_endpoints_of(row), _endpoints_of(row)[::-1]):
                self._before.pop(way(*pair), None)  # it was of another connection
        rows = headers.rows[(headers.flags & FLAG_ACK) != 0]
        if not len(rows):
            return
        keys = ways_of(rows)
        _, last = np.unique(keys[::-1], return_index=True)
        for place in (len(rows) - 1 - last).tolist():
            self._numbers[keys[place].tobytes()] = numbers_of(rows[place])


def ways_of(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give of rows of headers from whom to whom each went, as `way` writes it, shape (n,)."""
    if not len(rows):
        return np.zeros(0, f"V{WAY_BYTES}")
    parts = [np.ascontiguousarray(rows[name]).view(np.uint8).reshape(len(rows), -1) for name in _WAY]
    ways = np.ascontiguousarray(np.concatenate(parts, 1))
    return ways.view(f"V{WAY_BYTES}")[:, 0]


def way(side: Endpoint, other: Endpoint) -> bytes:
    """Write from whom to whom."""
    return side[0] + other[0] + np.array([side[1], other[1]], np.uint16).tobytes()


def _endpoints_of(row: np.void) -> tuple[Endpoint, Endpoint]:
    source = row["source_address"].tobytes(), int(row["source_port"])
    return source, (row["destination_address"].tobytes(), int(row["destination_port"]))


def numbers_of(row: np.void) -> Numbers:
    """Give what a segment tells of the numbers of its sender."""
    flags = int(row["flags"])
    taken = int(row["payload_bytes"]) + (flags & FLAG_SYN != 0) + (flags & FLAG_FIN != 0)
    return Numbers(int(row["acknowledgment_number"]), (int(row["sequence_number"]) + taken) % 2**32)


def sides_of(row: np.void) -> tuple[Endpoint, Endpoint]:
    """Give client and server of a row of connections."""
    client = row["client_address"].tobytes(), int(row["client_port"])
    return client, (row["server_address"].tobytes(), int(row["server_port"]))
