"""Columns of numbers in a page: short text that its scripts read fast."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np

_SEVEN = np.uint64(7)
_LOW = np.uint64(127)


def packed(values: Any) -> str:
    """Write integers from 0 on, 7 bits a byte, the lowest first, a set top bit saying that more follow; as base64.

    Parameters
    ----------
    values : array of int, shape (n,)
        0 or more.

    Raises
    ------
    ValueError
        One is negative.
    """
    given = np.asarray(values, np.int64)
    if len(given) and given.min() < 0:
        raise ValueError("only integers from 0 on can be packed")
    rest = given.astype(np.uint64)
    lengths = np.ones(len(rest), np.int64)
    for _ in range(9):
        rest = rest >> _SEVEN
        lengths += rest > 0
    starts = np.cumsum(lengths) - lengths
    out = np.zeros(int(lengths.sum()), np.uint8)
    rest = given.astype(np.uint64)
    where = np.arange(len(given))
    place = 0
    while len(where):
        has_more = lengths[where] > place + 1
        out[starts[where] + place] = (rest[where] & _LOW).astype(np.uint8) | (has_more.astype(np.uint8) << 7)
        where = where[has_more]
        rest[where] >>= _SEVEN
        place += 1
    return base64.b64encode(out.tobytes()).decode()


def steps(values: Any) -> str:
    """Pack integers in rising order: the first, then how much each is more than the one before it."""
    given = np.asarray(values, np.int64)
    return packed(np.diff(given, prepend=0))
