"""Rows by the endpoint in them: which endpoints there are, and the rows of each.

Theory of operation
-------------------
Comparing addresses of 16 bytes is what sorting them would spend its time on. So rows are grouped by a product of their
bytes, one number, and what that put together is compared once: where different endpoints have the same number, which
somebody may have contrived, they are sorted as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

Endpoint = tuple[bytes, int, int]
"""Address (16 bytes), port, IP version."""

Indices = np.ndarray[Any, np.dtype[np.intp]]

_KEY = np.dtype([("address", "V16"), ("port", np.uint16), ("version", np.uint8), ("padding", "V5")])
_FACTORS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], np.uint64)
"""Odd numbers with bits all over, so that products differ where addresses do."""


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


def endpoint_groups(table: Any, address: str, ports: Any) -> EndpointGroups:
    """Group the rows of a table by a column of addresses and by ports (one for all, or one each)."""
    keys = np.zeros(len(table), _KEY)
    keys["address"] = np.ascontiguousarray(table.rows[address]).view("V16").ravel()
    keys["port"] = ports
    keys["version"] = table.ip_version
    firsts, found = _grouped(keys)
    if len(firsts) == 1:
        return EndpointGroups([_endpoint(keys[0])], np.arange(len(keys)), firsts, np.array([len(keys)]))
    # In order of appearance; numbers of 16 bits are sorted by counting.
    appearance = np.argsort(firsts)
    rank = np.empty(len(firsts), np.uint16 if len(firsts) < 1 << 16 else np.int64)
    rank[appearance] = np.arange(len(firsts))
    group = rank[found]
    counts = np.bincount(group, minlength=len(firsts))
    return EndpointGroups(
        [_endpoint(keys[i]) for i in firsts[appearance]],
        np.argsort(group, kind="stable"),
        np.cumsum(counts) - counts,
        counts,
    )


def by_endpoint(table: Any, address: str, ports: Any) -> Iterator[tuple[Endpoint, Any]]:
    """Split rows by endpoint, in order of appearance, keeping their order."""
    groups = endpoint_groups(table, address, ports)
    if len(groups.endpoints) == 1:
        yield groups.endpoints[0], table
        return
    for endpoint, start, count in zip(groups.endpoints, groups.starts, groups.counts, strict=True):
        yield endpoint, table[groups.order[start : start + count]]


def _grouped(keys: Any) -> tuple[Indices, Indices]:
    """Give the first row of each group, and the group of each row."""
    words = keys.view(np.uint64).reshape(len(keys), 3)
    if len(keys) and (words == words[0]).all():
        return np.zeros(1, np.intp), np.zeros(len(keys), np.intp)
    mixed = words[:, 0] * _FACTORS[0] ^ words[:, 1] * _FACTORS[1] ^ words[:, 2] * _FACTORS[2]
    _, firsts, group = np.unique(mixed, return_index=True, return_inverse=True)
    if (words[firsts][group] != words).any():
        _, firsts, group = np.unique(keys.view(f"V{_KEY.itemsize}"), return_index=True, return_inverse=True)
    return firsts, group


def _endpoint(key: Any) -> Endpoint:
    return key["address"].tobytes(), int(key["port"]), int(key["version"])
