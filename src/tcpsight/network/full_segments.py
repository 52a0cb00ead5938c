"""How long a full segment of each stream is on the wire, where offloads show longer ones at one capture point or both.

What the handshake said bounds it: the smaller of both maximum segment sizes, less what timestamps take (RFC 6691). It
may be less, as paths are found to be narrower; then the point that shows segments as they are on the wire shows no
longer ones. Where no handshake was captured, and both points show longer ones than links carry, it is the length that
occurs most.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tcpsight.network.matching import Side

Integers = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

TIMESTAMPS_BYTES = 12

ETHERNET_BYTES = 1460
"""Payload of a full segment on Ethernet, without timestamps."""

SMALL_BYTES = 1220
"""Full segments are no shorter, mostly: the least MTU of IPv6 less its header and TCP's (RFC 8200 §5)."""


def full_segments(sides: tuple[Side, Side]) -> Integers:
    """Tell how long a full segment of each stream is, shape (streams,).

    Parameters
    ----------
    sides : tuple of Side
        Client side, server side.
    """
    streams = max((int(side.stream.max()) // 2 * 2 for side in sides if len(side.stream)), default=0) + 2
    longest = np.ones((2, streams), np.int64)
    announced = np.full(streams, np.iinfo(np.int64).max)
    options = np.zeros(streams, np.int64)
    for number, side in enumerate(sides):
        table = side.sightings
        np.maximum.at(longest[number], side.stream, table.payload_bytes)
        said = np.flatnonzero(table.mss_bytes > 0)
        for direction in range(2):
            np.minimum.at(announced, side.stream[said] // 2 * 2 + direction, table.mss_bytes[said].astype(np.int64))
        options[side.stream[table.timestamp_value != 0]] = TIMESTAMPS_BYTES
    is_announced = announced < np.iinfo(np.int64).max
    limit = np.maximum(np.where(is_announced, announced, ETHERNET_BYTES) - options, 1)
    shortest = longest.min(axis=0)
    is_narrower = (longest.max(axis=0) > limit) & (shortest >= SMALL_BYTES) & (shortest < limit)
    full = np.where(is_narrower, shortest, limit)
    doubtful = ~is_announced & (shortest > limit)
    return _commonest(sides, doubtful, shortest, full) if doubtful.any() else full


def _commonest(sides: tuple[Side, Side], doubtful: Mask, most: Integers, full: Integers) -> Integers:
    """Take, of doubtful streams, the length of most segments that may be full ones; of several the shortest."""
    stream = np.concatenate([side.stream for side in sides])
    length = np.concatenate([side.sightings.payload_bytes for side in sides]).astype(np.int64)
    may_be = doubtful[stream] & (length >= SMALL_BYTES) & (length <= most[stream])
    (streams, lengths), times = np.unique(np.stack([stream[may_be], length[may_be]]), axis=1, return_counts=True)
    order = np.lexsort((-lengths, times, streams))
    found = full.copy()
    found[streams[order]] = lengths[order]  # the last of each stream stays
    return found
