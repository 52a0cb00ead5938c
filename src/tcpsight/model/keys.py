"""Intervals by service, server or client: which keys are the largest, and one series for each of them.

The number of series must be known before the first row goes out, so requests are read twice: `KeyCounter`
counts them, `KeyedIntervalSeries` cuts them into slices. Requests of any other key share one more series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tcpsight.model._kernel import classify
from tcpsight.model.grouping import endpoint_groups
from tcpsight.model.intervals import Slicing
from tcpsight.tables import KeyedIntervals, Requests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

By = Literal["service", "server", "client"]

LARGEST_KEYS = 20
"""How many keys have rows of their own."""

MOST_KEYS = 1_000_000
"""How many keys a counter tells apart."""

_ANY_PORT = -1


@dataclass(frozen=True, slots=True)
class IntervalKey:
    """A service, a server or a client.

    Attributes
    ----------
    address : bytes
        16 bytes, as in the address columns.
    port : int
        The service's port; −1 where any port will do.
    """

    address: bytes
    port: int = _ANY_PORT


class KeyCounter:
    """Count requests per key, to find the largest.

    Parameters
    ----------
    by : {"service", "server", "client"}
        A service is a server's address and port; servers and clients are addresses.
    most_keys : int
        How many keys are told apart: the first that occur. Memory is bounded by it.

    Attributes
    ----------
    uncounted : int
        Requests of keys that came after that many.
    """

    def __init__(self, by: By, *, most_keys: int = MOST_KEYS) -> None:
        self.by = by
        self.uncounted = 0
        self._most_keys = most_keys
        self._counts: dict[tuple[bytes, int], int] = {}

    def feed(self, requests: Requests) -> None:
        """Count the next requests, in any order of time."""
        name = "client_address" if self.by == "client" else "server_address"
        groups = endpoint_groups(requests, name, "server_port" if self.by == "service" else None)
        # In order of appearance, so that cutting changes nothing.
        for (address, port, _), count in zip(groups.endpoints, groups.counts.tolist(), strict=True):
            key = (address, port if self.by == "service" else _ANY_PORT)
            if key in self._counts or len(self._counts) < self._most_keys:
                self._counts[key] = self._counts.get(key, 0) + count
            else:
                self.uncounted += count

    def merge(self, other: KeyCounter) -> None:
        """Add what another worker counted."""
        self.uncounted += other.uncounted
        for key, count in other._counts.items():
            if key in self._counts or len(self._counts) < self._most_keys:
                self._counts[key] = self._counts.get(key, 0) + count
            else:
                self.uncounted += count

    def largest(self, n: int = LARGEST_KEYS) -> list[IntervalKey]:
        """Give the `n` keys with the most requests, largest first; equal ones by address and port."""
        ranked = sorted(self._counts, key=lambda key: (-self._counts[key], key))
        return [IntervalKey(address, port) for address, port in ranked[:n]]


class ServiceSplit:
    """Split requests by service.

    Parameters
    ----------
    services : sequence of (bytes, int)
        Address and port of those that are wanted.
    """

    def __init__(self, services: Sequence[tuple[bytes, int]]) -> None:
        self._addresses = np.zeros((len(services), 16), np.uint8)
        for i, (address, _) in enumerate(services):
            self._addresses[i] = np.frombuffer(address, np.uint8)
        self._ports = np.array([port for _, port in services], np.int32)

    def split(self, requests: Requests) -> Iterator[tuple[int, Requests]]:
        """Give the number of each service that has some, and its rows in their order."""
        codes = np.empty(len(requests), np.int32)
        classify(requests.packed(), requests.dtype.itemsize, self._addresses, self._ports, codes, is_client=False)
        for i, count in enumerate(np.bincount(codes, minlength=len(self._ports))[: len(self._ports)]):
            if count == len(requests) > 0:
                yield i, requests
            elif count:
                yield i, requests[codes == i]


class KeyedIntervalSeries(Slicing[KeyedIntervals]):
    """Cut time into slices, one row for each key and one for all others.

    Parameters
    ----------
    by : {"service", "server", "client"}
        What the keys are.
    keys : sequence of IntervalKey
        The keys that get rows of their own, in the order in which their rows shall come.
    interval_ns : int
        Length of a slice.
    first_ns, last_ns : int
        The capture's first and last segment, as for `IntervalSeries`, as are the further options.
    """

    def __init__(self, by: By, keys: Sequence[IntervalKey], interval_ns: int, **span: Any) -> None:
        self.by = by
        self.keys = tuple(keys)
        self._series = len(self.keys) + 1
        self._addresses = np.zeros((len(self.keys), 16), np.uint8)
        for i, key in enumerate(self.keys):
            self._addresses[i] = np.frombuffer(key.address, np.uint8)
        self._ports = np.array([key.port if by == "service" else _ANY_PORT for key in self.keys], np.int32)
        super().__init__(interval_ns, **span)

    def series_of(self, rows: Requests) -> np.ndarray[Any, np.dtype[np.int32]]:
        """Tell to which series each request belongs, shape (n,): the place of its key, their number for the others."""
        return self._codes(rows)

    def _codes(self, rows: Requests) -> np.ndarray[Any, np.dtype[np.int32]]:
        codes = np.empty(len(rows), np.int32)
        is_client = self.by == "client"
        classify(rows.packed(), rows.dtype.itemsize, self._addresses, self._ports, codes, is_client=is_client)
        return codes

    def _allocate(self, n: int) -> KeyedIntervals:
        return KeyedIntervals.allocate(n)

    def _labelled(self, block: KeyedIntervals) -> KeyedIntervals:
        """Write the keys beside the numbers: a slice's rows come in the order of the series."""
        rows = block.rows.reshape(-1, self._series)
        rows["server_port"] = _ANY_PORT
        for i in range(len(self.keys)):
            rows[f"{'client' if self.by == 'client' else 'server'}_address"][:, i] = self._addresses[i]
            rows["server_port"][:, i] = self._ports[i]
        rows["is_other"][:, -1] = True
        return block
