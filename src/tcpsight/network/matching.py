"""Find the same segments in two captures of the same connections.

Theory of operation
-------------------
Both captures are given with one numbering of streams, and with offsets that count from the same byte.

1. *The same segment* has the same stream, offset, length, flags, acknowledgment, IP identification (IPv4) and timestamp
   value: a retransmission differs from what it repeats in the last two. PSH and the bits of congestion notification are
   left out, for what is on the way may set them. Where several are alike in everything, they are taken in order, and
   not believed as times unless both captures have as many.
2. What is left is looked for again without the IP identification (some firewalls write it anew), and then, if it has
   data, SYN or FIN, without the acknowledgment (a capture that began in mid-stream cannot always number it).
3. *Offloads.* One segment here may be several there: what is still left is compared by bytes, among segments with the
   same timestamp value. A segment whose bytes are all there was seen at both points; one with some of them was partly.
   Some interfaces put together segments of different timestamps: where what came has bytes of a super-segment of the
   stream, or is one, that were not sent with its timestamp, the stream is compared as one without timestamps.
   Where bytes were sent more often than they came (without timestamps copies are alike), the last to be sent came.

Everything is sorting and searching of columns; nothing runs per segment.

What it cannot see
------------------
Two segments alike in everything, of which one was lost: which. A middlebox that cuts streams anew with other timestamps
(a proxy) has no segment in common with what it was given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tcpsight.network.copies import seen_of_copies
from tcpsight.network.full_segments import full_segments
from tcpsight.tables import FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, FLAG_URG, Sightings

Integers = np.ndarray[Any, np.dtype[np.int64]]
Keys = np.ndarray[Any, np.dtype[np.uint64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Stamps = np.ndarray[Any, np.dtype[np.uint32]]

IDENTITY_FLAGS = FLAG_FIN | FLAG_SYN | FLAG_RST | FLAG_ACK | FLAG_URG

_EXACT = ("offset", "payload_bytes", "acked_offset", "ip_id", "timestamp_value")
_WITHOUT_ID = ("offset", "payload_bytes", "acked_offset", "timestamp_value")
_WITHOUT_ACKNOWLEDGMENT = ("offset", "payload_bytes", "ip_id", "timestamp_value")


@dataclass(frozen=True, slots=True)
class Side:
    """What one capture has of the streams that both have.

    Attributes
    ----------
    sightings : Sightings, shape (n,)
        In capture order, offsets by the common numbering.
    stream : ndarray of int64, shape (n,)
        Twice the number of the connection, and one more for what its server sent.
    """

    sightings: Sightings
    stream: Integers


@dataclass(slots=True)
class Matched:
    """Which segments of two captures are the same.

    Attributes
    ----------
    rows : tuple of ndarray of int64, shape (m,) each
        Row by row the same segment, in either capture.
    is_timed : ndarray of bool, shape (m,)
        Whether it is surely the same, so that its two times are a delay.
    seen_bytes : tuple of ndarray of int64, shape (n,) each
        By row of either capture, how many of its payload bytes the other has; −1 if it has not seen the segment at all.
    copies_unknown : tuple of int
        Of either capture, segments sent at it that overlap with others too often to tell which of the copies came: all
        are taken to have come, if one has.
    """

    rows: tuple[Integers, Integers]
    is_timed: Mask
    seen_bytes: tuple[Integers, Integers] = field(default_factory=lambda: (np.zeros(0, np.int64),) * 2)
    copies_unknown: tuple[int, int] = (0, 0)


def match(client_side: Side, server_side: Side) -> Matched:
    """Find the segments that both captures have."""
    sides = (client_side, server_side)
    left = [np.arange(len(side.stream)) for side in sides]
    found: list[tuple[Integers, Integers]] = []
    timed: list[Mask] = []
    for number, names in enumerate((_EXACT, _WITHOUT_ID, _WITHOUT_ACKNOWLEDGMENT)):
        if number == 2:
            rows = [mine[_has_sequence(side.sightings.rows[mine])] for side, mine in zip(sides, left, strict=True)]
        else:
            rows = left
        if not min(map(len, rows)):
            continue
        *pair, is_sure = _same([_keys(side, names, mine) for side, mine in zip(sides, rows, strict=True)])
        pair = [mine[positions] for mine, positions in zip(rows, pair, strict=True)]
        found.append((pair[0], pair[1]))
        # Without the identification a retransmission may be taken for what it repeats; unless it is written anew.
        timed.append(is_sure & (number == 0 or 10 * sum(map(len, timed)) < len(is_sure)))
        left = [np.setdiff1d(mine, matched, assume_unique=True) for mine, matched in zip(left, pair, strict=True)]
    none = np.zeros(0, np.int64)
    matched = Matched(
        (np.concatenate([none, *(pair[0] for pair in found)]), np.concatenate([none, *(pair[1] for pair in found)])),
        np.concatenate([np.zeros(0, np.bool_), *timed]),
    )
    matched.seen_bytes, matched.copies_unknown = _seen_bytes(sides, matched.rows, left)
    return matched


def _has_sequence(rows: np.ndarray[Any, Any]) -> Mask:
    mask: Mask = (rows["payload_bytes"] > 0) | (rows["flags"] & (FLAG_SYN | FLAG_FIN) != 0)
    return mask


# --- segments that are alike


def _keys(side: Side, names: tuple[str, ...], rows: Integers) -> Keys:
    """Hash what makes a segment what it is, shape (len(rows),)."""
    table = side.sightings.rows
    keys = _mixed(side.stream[rows].astype(np.uint64), (table["flags"][rows] & IDENTITY_FLAGS).astype(np.uint64))
    for name in names:
        keys = _mixed(keys, table[name][rows].astype(np.int64).view(np.uint64))
    return keys


def is_alike(side: Side, rows: Integers, other: Side) -> Mask:
    """Tell which segments are like one of the other capture in everything, shape (len(rows),)."""
    if not len(rows):
        return np.zeros(0, np.bool_)
    return np.isin(_keys(side, _EXACT, rows), _keys(other, _EXACT, np.arange(len(other.stream))))


def _mixed(keys: Keys, values: Keys) -> Keys:
    """Mix values into hashes: the finalizer of MurmurHash3 after each."""
    mixed = (keys * np.uint64(0x9E3779B97F4A7C15)) ^ values
    for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    result: Keys = mixed ^ (mixed >> np.uint64(33))
    return result


def _same(keys: list[Keys]) -> tuple[Integers, Integers, Mask]:
    """Give the positions of equal keys in both, the k-th of several with the k-th, and which are beyond doubt."""
    ranks, counts = zip(*map(_ranks, keys), strict=True)
    several = [_mixed(key, rank.astype(np.uint64)) for key, rank in zip(keys, ranks, strict=True)]
    _, ours, theirs = np.intersect1d(several[0], several[1], assume_unique=True, return_indices=True)
    return ours, theirs, counts[0][ours] == counts[1][theirs]


def _ranks(keys: Keys) -> tuple[Integers, Integers]:
    """Give equal keys the numbers 0, 1, 2 … in their order, and how many there are of each, shape (n,) each."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(keys[order]) != 0]))
    lengths = np.diff(np.append(starts, len(keys)))
    ranks, counts = np.empty(len(keys), np.int64), np.empty(len(keys), np.int64)
    ranks[order] = np.arange(len(keys)) - np.repeat(starts, lengths)
    counts[order] = np.repeat(lengths, lengths)
    return ranks, counts


# --- segments that were cut or put together


def _seen_bytes(
    sides: tuple[Side, Side], matched: tuple[Integers, Integers], left: list[Integers]
) -> tuple[tuple[Integers, Integers], tuple[int, int]]:
    """Tell how many bytes of each segment the other capture has, shape (n,) each, and of how many that is not known."""
    seen, unknown = [], [0, 0]
    for side, rows in zip(sides, matched, strict=True):
        mine = np.full(len(side.stream), -1, np.int64)
        mine[rows] = side.sightings.payload_bytes[rows]
        seen.append(mine)
    rest = [rows[side.sightings.payload_bytes[rows] > 0] for side, rows in zip(sides, left, strict=True)]
    if not min(map(len, rest)):
        return (seen[0], seen[1]), (0, 0)
    stamps = [side.sightings.timestamp_value[rows] for side, rows in zip(sides, rest, strict=True)]
    is_mixed = _mixed_stamps(sides, rest, stamps)
    for side, rows, stamp in zip(sides, rest, stamps, strict=True):
        stamp[is_mixed[side.stream[rows]]] = 0
    begins = _laid_out(sides, rest, stamps)
    ends = [begin + side.sightings.payload_bytes[rows] for side, rows, begin in zip(sides, rest, begins, strict=True)]
    for this, other in ((0, 1), (1, 0)):
        covered = Covered(begins[other], ends[other])
        count = covered.below(ends[this]) - covered.below(begins[this])
        # Of copies of a byte that were sent here, no more came than the other point saw.
        ours, theirs = (np.flatnonzero(sides[each].stream[rest[each]] & 1 == this) for each in (this, other))
        sent, came = (begins[this][ours], ends[this][ours]), (begins[other][theirs], ends[other][theirs])
        exact = count[ours]
        unknown[this] = int(seen_of_copies(sent, came, exact).sum())
        count[ours] = exact
        seen[this][rest[this][count > 0]] = count[count > 0]
    return (seen[0], seen[1]), (unknown[0], unknown[1])


def _mixed_stamps(sides: tuple[Side, Side], rows: list[Integers], stamps: list[Stamps]) -> Mask:
    """Tell of which streams segments with different timestamps were put together, shape (streams,).

    There what came has bytes that were sent, but not with its timestamp, and was put together, or was sent so.
    """
    full = full_segments(sides)
    lengths = [side.sightings.payload_bytes[mine].astype(np.int64) for side, mine in zip(sides, rows, strict=True)]
    streams = [side.stream[mine] for side, mine in zip(sides, rows, strict=True)]
    is_super = [length > full[stream] for length, stream in zip(lengths, streams, strict=True)]
    mixed = np.zeros(len(full), np.bool_)
    if not any(each.any() for each in is_super):
        return mixed
    stamped, bare = (_laid_out(sides, rows, each) for each in (stamps, [np.zeros_like(stamp) for stamp in stamps]))
    for near, far in ((0, 1), (1, 0)):
        came, sent = (np.flatnonzero(streams[each] & 1 == near) for each in (far, near))
        with_stamp = _of(stamped[near][sent], lengths[near][sent], stamped[far][came], lengths[far][came])
        at_all, of_super = (
            _of(bare[near][chosen], lengths[near][chosen], bare[far][came], lengths[far][came])
            for chosen in (sent, sent[is_super[near][sent]])
        )
        is_other = np.where(is_super[far][came], at_all > with_stamp, (of_super > 0) & (with_stamp == 0))
        mixed[streams[far][came[is_other]]] = True
    return mixed


def _of(begins: Integers, lengths: Integers, places: Integers, bytes_there: Integers) -> Integers:
    """Tell how many of the bytes at some places lie in runs."""
    covered = Covered(begins, begins + lengths)
    return covered.below(places + bytes_there) - covered.below(places)


def _laid_out(sides: tuple[Side, Side], rows: list[Integers], stamps: list[Stamps]) -> list[Integers]:
    """Put the bytes of each stream and timestamp value beside each other on one line: where each segment begins."""
    stream = np.concatenate([side.stream[mine] for side, mine in zip(sides, rows, strict=True)])
    stamp = np.concatenate(stamps)
    group = np.unique(np.stack([stream, stamp]), axis=1, return_inverse=True)[1].reshape(-1)
    offset = np.concatenate([side.sightings.offset[mine] for side, mine in zip(sides, rows, strict=True)])
    length = np.concatenate([side.sightings.payload_bytes[mine] for side, mine in zip(sides, rows, strict=True)])
    line = Line(group, offset, offset + length)
    at = line.at(group, offset)
    return [at[: len(rows[0])], at[len(rows[0]) :]]


class Line:
    """Streams laid end to end, so that a place in one of many is a single number.

    Parameters
    ----------
    stream, begin, end : ndarray of int64, shape (n,)
        Which bytes of which stream there are; streams are numbered from 0.
    """

    def __init__(self, stream: Integers, begin: Integers, end: Integers) -> None:
        count = int(stream.max()) + 1 if len(stream) else 0
        self._least = np.full(count, np.iinfo(np.int64).max)
        self._most = np.full(count, np.iinfo(np.int64).min)
        np.minimum.at(self._least, stream, begin)
        np.maximum.at(self._most, stream, end)
        lengths = np.where(self._most >= self._least, self._most - self._least, 0) + 2
        self._base = np.cumsum(lengths) - lengths + 1

    def at(self, stream: Integers, offset: Integers) -> Integers:
        """Give the places of offsets, shape (n,); those outside a stream's bytes are moved to its nearest end."""
        least = self._least[stream]
        inside = np.clip(offset, least, np.maximum(self._most[stream], least))
        places: Integers = self._base[stream] + inside - least
        return places


class Covered:
    """Runs of bytes on a line, overlapping or not: how many bytes lie below a place.

    Parameters
    ----------
    begins, ends : ndarray of int64, shape (n,)
        The runs, in any order.
    """

    def __init__(self, begins: Integers, ends: Integers) -> None:
        order = np.argsort(begins, kind="stable")
        begins, ends = begins[order], ends[order]
        reached = np.maximum.accumulate(ends) if len(ends) else ends
        before = np.concatenate([begins[:1], reached[:-1]])
        # What an earlier run has covered is taken off the later one's beginning.
        self._begins = np.maximum(begins, before)
        self._ends = np.maximum(ends, self._begins)
        self._total = np.concatenate([[0], np.cumsum(self._ends - self._begins)])

    def below(self, places: Integers) -> Integers:
        """Tell how many covered bytes lie below places, shape (n,)."""
        if not len(self._begins):
            return np.zeros(len(places), np.int64)
        last = np.searchsorted(self._begins, places, "right")
        inside = np.where(last > 0, np.maximum(self._ends[last - 1] - places, 0), 0)
        below: Integers = self._total[last] - inside
        return below
