"""Of bytes that were sent more often than they came: which copies came. It is taken that the last ones did.

Where only one run holds a byte, and where each copy of it came or none, there is nothing to choose. What is left is cut
at every begin and end into pieces, and each piece is given to the last runs that hold it, as often as it was seen. As
runs may overlap in any way, there may be pieces × runs of them: so many are looked at, a window at a time.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Runs = tuple[Integers, Integers]

MOST_PIECES = 1 << 25
"""So many pieces of runs are looked at, those first that few runs hold: a second or two of work. Of what is beyond,
every copy is taken to have come."""
WINDOW_PIECES = 1 << 18
"""So many at once, of 100 bytes each; or one piece, if more runs hold it."""


def seen_of_copies(sent: Runs, seen: Runs, count: Integers) -> Mask:
    """Tell how many bytes of each run that was sent were seen, if of several that hold a byte the last ones were.

    Parameters
    ----------
    sent, seen : tuple of ndarray of int64
        Runs of bytes on a line, where they begin and end, in the order of time.
    count : ndarray of int64, shape (n,)
        How many bytes of each that was sent were seen at least once; made less by what came of other copies.

    Returns
    -------
    ndarray of bool, shape (n,)
        Whose bytes overlap with others so often that some of them are counted though only a copy may have come.
    """
    is_unknown = np.zeros(len(count), np.bool_)
    rows = _overlapping(*sent)
    if not len(rows):
        return is_unknown
    begins, ends = sent[0][rows], sent[1][rows]
    near = _touching(seen, begins, ends)
    edges = np.unique(np.concatenate([begins, ends, *near]))
    depth, times = (_depth(edges, *runs) for runs in ((begins, ends), near))
    doubtful = np.flatnonzero((times > 0) & (times < depth))
    by_depth = doubtful[np.argsort(depth[doubtful], kind="stable")]
    chosen = np.sort(by_depth[np.cumsum(depth[by_depth]) <= MOST_PIECES])
    lengths = np.diff(edges, append=edges[-1:])
    low, high = np.searchsorted(edges, begins), np.searchsorted(edges, ends)
    if len(chosen) < len(doubtful):
        is_left = np.zeros(len(edges) + 1, np.int64)
        is_left[1:][np.setdiff1d(doubtful, chosen, assume_unique=True)] = 1
        before = np.cumsum(is_left)
        is_unknown[rows] = before[high] > before[low]
    # From here on, pieces are only those that are chosen.
    low, high = np.searchsorted(chosen, low), np.searchsorted(chosen, high)
    count[rows] -= _not_seen((low, high), lengths[chosen], depth[chosen], times[chosen])
    return is_unknown


def _overlapping(begins: Integers, ends: Integers) -> Integers:
    """Tell which runs share a byte with another, or with one that does, in their order."""
    order = np.argsort(begins, kind="stable")
    begins, reached = begins[order], np.maximum.accumulate(ends[order])
    is_apart = np.concatenate([begins[:1] == begins[:1], begins[1:] >= reached[:-1]])
    is_alone = is_apart & np.concatenate([is_apart[1:], is_apart[:1]])
    mine: Integers = np.sort(order[~is_alone])
    return mine


def _touching(seen: Runs, begins: Integers, ends: Integers) -> Runs:
    """Leave out runs that have no byte of those that were sent."""
    firsts, lasts = np.sort(begins), np.sort(ends)
    # More begin before its end than end before its begin: those have bytes of it.
    is_near = np.searchsorted(firsts, seen[1], "left") > np.searchsorted(lasts, seen[0], "right")
    return seen[0][is_near], seen[1][is_near]


def _depth(edges: Integers, begins: Integers, ends: Integers) -> Integers:
    """Tell how many runs hold the piece that begins at each edge."""
    starts, stops = (np.bincount(np.searchsorted(edges, bound), minlength=len(edges)) for bound in (begins, ends))
    depth: Integers = np.cumsum(starts - stops)
    return depth


def _not_seen(runs: Runs, lengths: Integers, depth: Integers, times: Integers) -> Integers:
    """Tell how many bytes of each run did not come, of pieces that only the last runs that hold them came of.

    Parameters
    ----------
    runs : tuple of ndarray of int64
        Which pieces each holds, from the first to behind the last, in the order of time.
    lengths, depth, times : ndarray of int64
        Of each piece, its bytes, how many runs hold it, and how many of them came.
    """
    missing = np.zeros(len(runs[0]), np.int64)
    total = np.cumsum(depth)
    first = 0
    while first < len(lengths):
        done = int(total[first - 1]) if first else 0
        last = max(int(np.searchsorted(total, done + WINDOW_PIECES, "right")), first + 1)
        low, high = np.maximum(runs[0], first), np.minimum(runs[1], last)
        # The last run first, so that those that hold a piece are in the order in which they are believed.
        here = np.flatnonzero(low < high)[::-1]
        pieces = (high - low)[here]
        run = np.repeat(here, pieces)
        piece = np.arange(len(run)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + low[run]
        order = np.argsort(piece, kind="stable")
        run, piece = run[order], piece[order]
        number = np.arange(len(run)) - (total[piece] - depth[piece] - done)
        is_lost = number >= times[piece]
        missing += np.bincount(run[is_lost], lengths[piece[is_lost]], len(missing)).astype(np.int64)
        first = last
    return missing
