"""Rows by the endpoint in them: which endpoints there are, and the rows of each.

Theory of operation
-------------------
Comparing addresses of 16 bytes is what sorting them would spend its time on. So rows are put together by hashes, row
by row (`_grouping.pyx`). Where many different endpoints have the same hash, which somebody may have contrived, they
are sorted as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.model._grouping import group

Endpoint = tuple[bytes, int, int]
"""Address (16 bytes), port, IP version."""

Indices = np.ndarray[Any, np.dtype[np.intp]]

_KEY = np.dtype([("address", "V16"), ("port", np.uint16), ("version", np.uint8), ("padding", "V5")])


@dataclass(frozen=True, slots=True)
class EndpointGroups:
    """Rows by endpoint.

    Attributes
    ----------
    endpoints : list of Endpoint
        In order of appearance.
    order : ndarray of int, shape (rows,)
        The rows of the first endpoint in their order, then those of the second, and so on.
    starts, counts : ndarray of int, shape (endpoints,)
        Where in `order` the rows of each begin, and how many they are.
    """

    endpoints: list[Endpoint]
    order: Indices
    starts: Indices
    counts: Indices


def endpoint_groups(table: Any, address: str, port: str | None) -> EndpointGroups:
    """Group the rows of a table by a column of addresses and one of ports, if these matter."""
    rows, n = table.packed(), len(table)
    places = [table.dtype.fields[name][1] if name else -1 for name in (address, port, "ip_version")]
    order, firsts, counts = (np.empty(n, np.int64) for _ in range(3))
    count = group(rows, table.dtype.itemsize, np.array(places, np.int64), order, firsts, counts)
    if count < 0:
        order, firsts, counts = _sorted(table, address, port)
        count = len(firsts)
    counts = counts[:count].copy()
    ports = table.rows[port] if port else np.zeros(n, np.uint16)
    endpoints = [
        (table.rows[address][i].tobytes(), int(ports[i]), int(table.ip_version[i])) for i in firsts[:count].tolist()
    ]
    return EndpointGroups(endpoints, order, np.cumsum(counts) - counts, counts)


def by_endpoint(table: Any, address: str, port: str | None) -> Iterator[tuple[Endpoint, Any]]:
    """Split rows by endpoint, in order of appearance, keeping their order."""
    groups = endpoint_groups(table, address, port)
    if len(groups.endpoints) == 1:
        yield groups.endpoints[0], table
        return
    for endpoint, start, count in zip(groups.endpoints, groups.starts, groups.counts, strict=True):
        yield endpoint, table[groups.order[start : start + count]]


def _sorted(table: Any, address: str, port: str | None) -> tuple[Indices, Indices, Indices]:
    """Group by sorting; give the order, and first row and count of each group."""
    keys = np.zeros(len(table), _KEY)
    keys["address"] = np.ascontiguousarray(table.rows[address]).view("V16").ravel()
    keys["port"] = table.rows[port] if port else 0
    keys["version"] = table.ip_version
    _, firsts, found = np.unique(keys.view(f"V{_KEY.itemsize}"), return_index=True, return_inverse=True)
    appearance = np.argsort(firsts)
    rank = np.empty(len(firsts), np.int64)
    rank[appearance] = np.arange(len(firsts))
    return np.argsort(rank[found], kind="stable"), firsts[appearance], np.bincount(rank[found])
