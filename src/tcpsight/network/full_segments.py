"""How long a full segment of each stream is on the wire, where offloads show longer ones at one capture point or both.

What the handshake said bounds it, less what timestamps take (RFC 6691): the peer's maximum segment size, and mostly the
sender's own, which tells of the link that it sends on. So the smaller of both is supposed; but the larger one holds
where more segments are multiples of that (a router wrote the other anew), and what both points show of the same length
is one segment, up to Ethernet's, where it is more than there are multiples. It may be less, as paths are found to be
narrower; then the point that shows segments as they are on the wire shows no longer ones. Where no handshake was
captured, or none that can be believed, and both points show longer ones than links carry, it is the length that occurs
most.
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

LEAST_MSS_BYTES = 88
"""A smaller maximum segment size is not believed: stacks send no less, whatever they are told."""

UNKNOWN = np.iinfo(np.int64).max

LEAST_SIGHTINGS = 3
"""So often both points together show a length that is one segment: a single one may have been put together at both."""


def full_segments(sides: tuple[Side, Side]) -> Integers:
    """Tell how long a full segment of each stream is, shape (streams,).

    Parameters
    ----------
    sides : tuple of Side
        Client side, server side.
    """
    streams = max((int(side.stream.max()) // 2 * 2 for side in sides if len(side.stream)), default=0) + 2
    longest = np.ones((2, streams), np.int64)
    announced = np.full(streams, UNKNOWN)  # by stream of the SYN that says it
    options = np.zeros(streams, np.int64)
    for number, side in enumerate(sides):
        table = side.sightings
        np.maximum.at(longest[number], side.stream, table.payload_bytes)
        said = np.flatnonzero(table.mss_bytes >= LEAST_MSS_BYTES)
        np.minimum.at(announced, side.stream[said], table.mss_bytes[said].astype(np.int64))
        options[side.stream[table.timestamp_value != 0]] = TIMESTAMPS_BYTES
    both = np.stack([announced, announced[np.arange(streams) ^ 1]])
    is_announced = both.min(axis=0) < UNKNOWN
    limit = np.where(is_announced, both.min(axis=0), ETHERNET_BYTES) - options
    larger = np.where(both < UNKNOWN, both, 0).max(axis=0) - options
    doubtful = is_announced & (longest.min(axis=0) > limit) & (np.maximum(larger, ETHERNET_BYTES - options) > limit)
    if doubtful.any():
        limit = _raised(sides, doubtful, limit, larger, ETHERNET_BYTES - options)
    shortest = longest.min(axis=0)
    is_narrower = (longest.max(axis=0) > limit) & (shortest >= SMALL_BYTES) & (shortest < limit)
    full = np.where(is_narrower, shortest, limit)
    doubtful = ~is_announced & (shortest > limit)
    return _commonest(sides, doubtful, shortest, full) if doubtful.any() else full


def _raised(
    sides: tuple[Side, Side], doubtful: Mask, limit: Integers, larger: Integers, ethernet: Integers
) -> Integers:
    """Give longer lengths to doubtful streams whose segments speak against the smaller maximum segment size."""
    shown: list[Integers] = []
    for side in sides:
        mine = np.flatnonzero(doubtful[side.stream] & (side.sightings.payload_bytes > 0))
        length = side.sightings.payload_bytes[mine].astype(np.int64)
        shown.append(np.left_shift(side.stream[mine], 32) | length)
    kinds, times = np.unique(np.concatenate(shown), return_counts=True)
    stream, length = kinds >> 32, kinds & 0xFFFFFFFF

    def sightings(chosen: Mask) -> Integers:
        return np.bincount(stream[chosen], times[chosen], minlength=len(limit)).astype(np.int64)

    whole = sightings(length % limit[stream] == 0)
    of_larger = sightings(length % np.maximum(larger, 1)[stream] == 0)
    is_larger = doubtful & (larger > limit) & (of_larger > 0) & (of_larger >= whole)
    found = np.where(is_larger, larger, limit)
    whole = np.where(is_larger, of_larger, whole)
    is_one = np.isin(kinds, np.intersect1d(shown[0], shown[1])) & (times >= LEAST_SIGHTINGS)
    is_one &= (length <= ethernet[stream]) & (length > found[stream]) & (length % found[stream] != 0)
    is_one &= (sightings(is_one) > whole)[stream]
    np.maximum.at(found, stream[is_one], length[is_one])
    return found


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
