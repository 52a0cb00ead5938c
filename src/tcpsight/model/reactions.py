"""Whether a server speaks because it was asked: time has a direction where one side answers the other.

Theory of operation
-------------------
Where each side speaks when it likes, turns are what chance makes of them, and they look the same when time runs
backwards: from the server's last words to a request takes as long as from a request to the server's next words, for
any two independent processes that look the same backwards (Poisson, renewal, clockwork). Where the server answers,
one is the client's time to think, the other the server's to work, and there is no reason that they should be alike.
Their distributions are counted in eighths of a doubling, and compared by the distance of Kolmogorov and Smirnov: the
share of answers, at least, that come sooner or later than they would if nobody had asked.

Looked at are consecutive turns of the first `MOST_CONNECTIONS` connections of a service, `MOST_PAIRS` at most among its
first `MOST_LOOKED` requests: memory and time are bounded, and nobody needs more to tell.

What it cannot see: clients that think just as long as the server works. Two clocks of the same period.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tcpsight.tables import Requests, rows_at

MOST_CONNECTIONS = 256
MOST_PAIRS = 1 << 14
MOST_LOOKED = 1 << 18

BINS_PER_DOUBLING = 8
BIN_COUNT = 64 * BINS_PER_DOUBLING

LEAST_PAIRS = 50
"""With fewer, distributions that are alike are too easily so by chance."""

ALIKE = 0.15
"""Distributions no farther apart are taken for the same, however many values there are: one answer in seven."""

NOISE = 1.63
"""Two samples of n from one distribution are farther apart than this times √(2/n) once in a hundred (Smirnov 1948)."""

Counts = np.ndarray[Any, np.dtype[np.int64]]


class Reactions:
    """Compare the time before requests with the time after them.

    Feed requests; those of a connection in their order. How they are cut never changes the result.

    Attributes
    ----------
    pairs : int
        How many requests are compared.
    """

    def __init__(self) -> None:
        self.pairs = 0
        self._looked = 0
        self._before = np.zeros(BIN_COUNT, np.int64)
        self._after = np.zeros(BIN_COUNT, np.int64)
        # The connections that are looked at, in order of their numbers; index and end of the last answer of each.
        self._ids: Counts = np.zeros(0, np.int64)
        self._last_index: Counts = self._ids
        self._last_end: Counts = self._ids

    def add(self, requests: Requests) -> None:
        """Take answered requests."""
        requests = requests[: MOST_LOOKED - self._looked]
        if self.pairs >= MOST_PAIRS or not len(requests):
            return
        self._looked += len(requests)
        own = self._own(requests)
        order = np.lexsort((own["request_index"], own["connection_id"]))
        own = rows_at(own, order)
        index, ended = self._previous(own)
        follows = np.flatnonzero(own["request_index"] == index + 1)
        # In the order in which they came, so that the limit cuts the same, however rows are.
        follows = follows[np.argsort(order[follows])][: MOST_PAIRS - self.pairs]
        self.pairs += len(follows)
        self._before += _counted(own["request_first_ns"][follows] - ended[follows])
        self._after += _counted(own["response_first_ns"][follows] - own["request_last_ns"][follows])

    def _own(self, requests: Requests) -> Any:
        """Give the rows of connections that are looked at."""
        ids = np.ascontiguousarray(requests.connection_id)
        if len(self._ids) < MOST_CONNECTIONS:
            distinct, first = np.unique(ids, return_index=True)
            is_new = ~np.isin(distinct, self._ids)
            self._look_at(distinct[is_new][np.argsort(first[is_new])][: MOST_CONNECTIONS - len(self._ids)])
        # Most are not, as the lowest bits of their numbers tell.
        is_like = np.zeros(1 << 16, np.bool_)
        is_like[self._ids & 0xFFFF] = True
        like = np.flatnonzero(is_like[ids & 0xFFFF])
        return rows_at(requests.rows, like[np.isin(ids[like], self._ids)])

    def _look_at(self, ids: Counts) -> None:
        """Look at more connections."""
        order = np.argsort(np.concatenate([self._ids, ids]))
        self._ids = np.concatenate([self._ids, ids])[order]
        self._last_index = np.concatenate([self._last_index, np.full(len(ids), -2)])[order]
        self._last_end = np.concatenate([self._last_end, np.zeros(len(ids), np.int64)])[order]

    def _previous(self, own: Any) -> tuple[Counts, Counts]:
        """Give the index of the request before each, and the end of its answer; remember the last ones."""
        index, ended = np.full(len(own), -2, np.int64), np.zeros(len(own), np.int64)
        index[1:], ended[1:] = own["request_index"][:-1], own["response_last_ns"][:-1]
        ids = own["connection_id"]
        begins = np.flatnonzero(np.concatenate([[True], ids[1:] != ids[:-1]])[: len(own)])
        stops = np.append(begins[1:], len(own))[: len(begins)] - 1
        places = np.searchsorted(self._ids, ids[begins])
        index[begins], ended[begins] = self._last_index[places], self._last_end[places]
        self._last_index[places], self._last_end[places] = own["request_index"][stops], own["response_last_ns"][stops]
        return index, ended

    @property
    def connections(self) -> set[int]:
        """Give the connections that were looked at."""
        return set(self._ids.tolist())

    @property
    def distance(self) -> float | None:
        """Give the distance of the two distributions, from 0 to 1; None where too few are known."""
        if self.pairs < LEAST_PAIRS:
            return None
        return float(np.abs(np.cumsum(self._before - self._after)).max()) / self.pairs

    @property
    def are_accidents(self) -> bool:
        """Whether the server seems to speak just as if nobody had asked."""
        distance = self.distance
        return distance is not None and distance <= max(ALIKE, NOISE * math.sqrt(2 / self.pairs))


def _counted(times_ns: Counts) -> Counts:
    logs = np.log2(np.maximum(times_ns, 1).astype(np.float64))
    counts: Counts = np.bincount((BINS_PER_DOUBLING * logs).astype(np.int64), minlength=BIN_COUNT)
    return counts
