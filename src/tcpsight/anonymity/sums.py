"""Internet checksums (RFC 1071) of many headers at once: which were right, and what the new ones are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

RIGHT, WRONG, PARTIAL, ZERO, OPAQUE = 0, 1, 2, 3, 4
"""What a checksum was: right, or not to be told since not all of it was captured; wrong; that of the pseudo header
alone, which a card would have finished; zero, which it would have filled in. And what it is of payload that is not
there: a number that only tells copies of a segment from others."""

Ints = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]


def folded(sums: Ints) -> Ints:
    """Add carries until sums fit 16 bits."""
    while (sums >> 16).any():
        sums = (sums & 0xFFFF) + (sums >> 16)
    return sums


def sum_of_columns(data: Bytes) -> Ints:
    """Sum rows of an even number of bytes as 16-bit words, shape (n,)."""
    words: Ints = data[:, 0::2].astype(np.int64).sum(axis=1) * 256 + data[:, 1::2].astype(np.int64).sum(axis=1)
    return words


def pseudo_sums(source: Bytes, destination: Bytes, lengths: Ints) -> Ints:
    """Sum pseudo headers of TCP (RFC 9293 §3.1, RFC 8200 §8.1); the ten zeros and 0xFFFF of mapped IPv4 are no part."""
    is_v4 = (source[:, :10] == 0).all(axis=1) & (source[:, 10:12] == 0xFF).all(axis=1)
    begin = np.where(is_v4, 0xFFFF * 2, 0)
    total: Ints = (
        sum_of_columns(source) + sum_of_columns(destination) - begin + (lengths >> 16) + (lengths & 0xFFFF) + 6
    )
    return total


class Runs:
    """Sums of 16-bit words of any runs of bytes in one buffer."""

    def __init__(self, data: Any) -> None:
        self._raw = np.frombuffer(data, np.uint8)
        # Words that begin at even places, and those that begin at odd ones.
        self._totals = [_running(self._raw[begin:]) for begin in (0, 1)]

    def sums(self, begin: Ints, end: Ints) -> Ints:
        """Sum the words of runs, the last byte of odd ones filled up with zero, shape (n,)."""
        first, words = begin // 2, (end - begin) // 2
        even, odd = (total[np.minimum(first + words, len(total) - 1)] - total[first] for total in self._totals)
        last = np.where((end - begin) % 2 == 1, self._raw[np.maximum(end - 1, 0)].astype(np.int64) << 8, 0)
        total: Ints = np.where(begin % 2 == 0, even, odd) + last
        return total


def _running(raw: Bytes) -> Ints:
    """Give the sums of the first 0, 1, 2 … words."""
    words = raw[: len(raw) // 2 * 2].view(">u2")
    totals: Ints = np.zeros(len(words) + 2, np.int64)  # one more: a run may begin behind the last word
    np.cumsum(words, out=totals[1:-1], dtype=np.int64)
    totals[-1] = totals[-2]
    return totals


class Places(NamedTuple):
    """Where headers are.

    Attributes
    ----------
    tcp, ip : ndarray of int64, shape (n,)
        Where the TCP header begins, and that of the IPv4 packet that it is in; −1 where that cannot be told.
    ends : ndarray of int64, shape (n,)
        Where the TCP header ends.
    """

    tcp: Ints
    ip: Ints
    ends: Ints


def find_headers(raw: Bytes, begins: Ints, ends: Ints, rows: np.ndarray[Any, Any]) -> Places:
    """Find headers by what was read of them, looking back from where the TCP header ends.

    Parameters
    ----------
    raw : ndarray of uint8
        What the places count in.
    begins, ends : ndarray of int64, shape (n,)
        Where frames begin, and where their TCP headers end.
    rows : ndarray, shape (n,)
        Rows of headers.
    """
    ports = _big_endian(rows["source_port"], 2), _big_endian(rows["destination_port"], 2)
    wanted = np.concatenate([*ports, _big_endian(rows["sequence_number"], 4)], axis=1)
    tcp = _look_back(raw, begins, ends, (wanted, 0, lambda p, k: raw[p + 12] >> 4 == k))
    addresses = np.concatenate([rows["source_address"][:, 12:], rows["destination_address"][:, 12:]], axis=1)
    is_v4 = rows["ip_version"] == 4
    behind = np.where(is_v4 & (tcp >= 0), tcp, begins)
    ip = _look_back(raw, begins, behind, (addresses, 12, lambda p, k: raw[p] == 0x40 + k))
    return Places(tcp, ip, ends)


def _look_back(raw: Bytes, begins: Ints, ends: Ints, sought: tuple[Bytes, int, Any]) -> Ints:
    """Find where headers of 20 to 60 bytes begin that end there and hold the sought bytes at an offset."""
    wanted, offset, has_length = sought
    found = np.full(len(ends), -1, np.int64)
    for words in range(5, 16):
        places = ends - 4 * words
        rest = np.flatnonzero((found < 0) & (places >= begins))
        if not len(rest):
            continue
        at = places[rest]
        is_here = (raw[at[:, None] + offset + np.arange(wanted.shape[1])] == wanted[rest]).all(axis=1)
        is_here &= has_length(at, words)
        found[rest[is_here]] = at[is_here]
    return found


def _big_endian(values: np.ndarray[Any, Any], width: int) -> Bytes:
    return np.ascontiguousarray(values.astype(f">u{width}")).view(np.uint8).reshape(-1, width)
