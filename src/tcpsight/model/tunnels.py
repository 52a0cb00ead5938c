"""Which connections are inside tunnels, and which endpoints are seen inside and outside: those are counted twice.

Theory of operation
-------------------
The endpoints of the first `MOST_PAIRS` connections inside and of as many outside are kept and compared at the end.

What it cannot see: pairs whose addresses or ports are translated between the two, and pairs whose roles differ.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.tables import ENCAPSULATIONS, Connections

MOST_PAIRS = 100_000
"""Connections inside, and outside, whose endpoints are kept."""

COLUMNS = ("client_address", "client_port", "server_address", "server_port", "ip_version")


class TunnelSummary:
    """Summarise connections by tunnel.

    Attributes
    ----------
    connections : dict of str to int
        How many are inside, by the innermost tunnel.
    is_complete : bool
        Whether the endpoints of all connections were compared.
    """

    def __init__(self) -> None:
        self.connections: dict[str, int] = {}
        self.is_complete = True
        self._pairs: dict[bool, list[np.ndarray[Any, Any]]] = {False: [], True: []}
        self._kept = {False: 0, True: 0}

    def feed(self, connections: Connections) -> None:
        """Take connections that ended."""
        if not len(connections):
            return
        is_inside = connections.encapsulation != 0
        if is_inside.any():
            counts = np.bincount(connections.encapsulation, minlength=len(ENCAPSULATIONS)).tolist()
            for name, n in list(zip(ENCAPSULATIONS, counts, strict=True))[1:]:
                if n:
                    self.connections[name] = self.connections.get(name, 0) + n
        for inside in (False, True):
            self._keep(connections.rows[is_inside == inside], inside=inside)

    def _keep(self, rows: np.ndarray[Any, Any], *, inside: bool) -> None:
        room = MOST_PAIRS - self._kept[inside]
        self.is_complete &= len(rows) <= room
        rows = rows[:room]
        if len(rows):
            self._kept[inside] += len(rows)
            parts = [np.ascontiguousarray(rows[name]).view(np.uint8).reshape(len(rows), -1) for name in COLUMNS]
            self._pairs[inside].append(np.concatenate(parts, axis=1))

    @property
    def pairs_inside_and_outside(self) -> int:
        """Client and server endpoints that have connections inside and outside of tunnels; at least so many."""
        if not (self._pairs[False] and self._pairs[True]):
            return 0
        outside, inside = ({row.tobytes() for block in self._pairs[way] for row in block} for way in (False, True))
        return len(outside & inside)
