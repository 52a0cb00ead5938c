"""Which connections are worth a look, of however many: those with trouble first, then those that lasted longest.

Theory of operation
-------------------
Trouble is counted: segments sent again, a request never answered, a connection that failed or was reset. Rows are kept
in a pool, of which all but the worst are forgotten whenever it has grown to twice their number; so memory is bounded,
and what comes out does not depend on how rows were cut into batches.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tcpsight.tables import STATES, Connections, Network

FAILED_STATES = ("unanswered", "handshaking", "refused", "client_reset", "server_reset")

ROW = np.dtype([("connection", Connections.dtype), ("rtt_p50_ns", np.int64), ("zero_window_ns", np.int64)])


class WorstConnections:
    """Keep the worst connections.

    Parameters
    ----------
    most : int
        How many.

    Attributes
    ----------
    seen : int
        How many there were.
    """

    def __init__(self, most: int) -> None:
        self.seen = 0
        self._most = most
        self._pool: list[np.ndarray[Any, Any]] = []
        self._pooled = 0

    def feed(self, connections: Connections, network: Network) -> None:
        """Take connections, and what the network did to both directions of each, in the same order."""
        n = len(connections)
        if n == 0:
            return
        rows = np.zeros(n, ROW)
        rows["connection"] = connections.rows
        rows["rtt_p50_ns"] = rows["zero_window_ns"] = -1
        if len(network) == 2 * n:
            both = network.rows.reshape(n, 2)
            for name in ("rtt_p50_ns", "zero_window_ns"):
                rows[name] = both[name].max(axis=1)
        self.seen += n
        self._pool.append(rows)
        self._pooled += n
        if self._pooled > 2 * self._most:
            self._forget()

    def rows(self) -> np.ndarray[Any, Any]:
        """Give the rows that are kept, the worst first; fields ``connection``, ``rtt_p50_ns``, ``zero_window_ns``."""
        self._forget()
        return self._pool[0]

    def _forget(self) -> None:
        rows = np.concatenate(self._pool) if self._pool else np.zeros(0, ROW)
        of = rows["connection"]
        order = np.lexsort((of["connection_id"], -of["duration_ns"], -trouble(Connections(of))))[: self._most]
        self._pool, self._pooled = [rows[order]], min(len(rows), self._most)


def trouble(connections: Connections) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Count what went wrong with each connection, shape (n,): segments sent again, no answer, a failure."""
    again = np.maximum(connections.client_retransmissions, 0) + np.maximum(connections.server_retransmissions, 0)
    codes = [STATES.index(name) for name in FAILED_STATES]
    sums: np.ndarray[Any, np.dtype[np.int64]] = again + connections.unanswered + np.isin(connections.state, codes)
    return sums
