"""Which captured run of payload gives each byte of a stream, where runs overlap.

Runs are intervals of stream offsets with a rank; at each offset the run of the lowest rank wins. Where nothing
overlaps, which is nearly always, that is decided for all runs at once; the rest is swept, n log n.
"""

from __future__ import annotations

from heapq import heappop, heappush
from typing import Any, Literal, NamedTuple

import numpy as np

Numbers = np.ndarray[Any, np.dtype[np.int64]]


Policy = Literal["first", "last"]
"""Which run gives a byte that several hold: the one captured first, or last."""

BEHIND = 2**62


class Cover(NamedTuple):
    """What covers a stream, in the order of offsets, without overlaps.

    Attributes
    ----------
    starts, ends : ndarray of int64, shape (m,)
        Offsets.
    winners : ndarray of int64, shape (m,)
        Which of the given runs each part comes from.
    contested : ndarray of int64, shape (k,)
        Runs that share offsets with others, ascending.
    """

    starts: Numbers
    ends: Numbers
    winners: Numbers
    contested: Numbers


def ranks(numbers: Numbers, is_sure: np.ndarray[Any, np.dtype[np.bool_]], overlaps: Policy) -> Numbers:
    """Rank runs, numbered in the order of capture; those that are not sure count where nothing else gives a byte."""
    found: Numbers = np.where(is_sure, numbers if overlaps == "first" else -numbers, BEHIND + numbers)
    return found


def cover(starts: Numbers, ends: Numbers, ranks: Numbers) -> Cover:
    """Decide for each offset which run gives its byte.

    Parameters
    ----------
    starts, ends : ndarray of int64, shape (n,)
        The runs [start, end); empty ones cover nothing.
    ranks : ndarray of int64, shape (n,)
        All different; the lowest wins.
    """
    kept = np.flatnonzero(ends > starts)
    order = kept[np.argsort(starts[kept], kind="stable")]
    first, last = starts[order], ends[order]
    if not len(order):
        return Cover(first, last, order, order)
    reach = np.maximum.accumulate(last)
    begins = np.flatnonzero(np.concatenate(([True], first[1:] >= reach[:-1])))
    sizes = np.diff(np.append(begins, len(order)))
    alone = begins[sizes == 1]
    parts = [(first[alone], last[alone], order[alone])]
    contested = []
    for begin, size in zip(begins[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True):
        group = order[begin : begin + size]
        contested.append(group)
        parts.append(_sweep(group, starts, ends, ranks))
    made = [np.concatenate(column) for column in zip(*parts, strict=True)]
    sorted_by_start = np.argsort(made[0], kind="stable")
    disputed = np.sort(np.concatenate(contested)) if contested else np.zeros(0, np.int64)
    starts, ends, winners = (column[sorted_by_start] for column in made)
    return Cover(starts, ends, winners, disputed)


def _sweep(group: Numbers, starts: Numbers, ends: Numbers, ranks: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Cover one group of runs, sorted by start, each of which overlaps another."""
    runs = list(zip(starts[group].tolist(), ends[group].tolist(), ranks[group].tolist(), group.tolist(), strict=True))
    made: list[list[int]] = []
    open_runs: list[tuple[int, int, int]] = []
    i, at = 0, runs[0][0]
    while i < len(runs) or open_runs:
        while i < len(runs) and runs[i][0] <= at:
            heappush(open_runs, (runs[i][2], runs[i][1], runs[i][3]))
            i += 1
        while open_runs and open_runs[0][1] <= at:
            heappop(open_runs)
        if not open_runs:
            continue
        _, end, winner = open_runs[0]
        until = min(end, runs[i][0]) if i < len(runs) else end
        if made and made[-1][2] == winner and made[-1][1] == at:
            made[-1][1] = until
        else:
            made.append([at, until, winner])
        at = until
    table = np.array(made, np.int64)
    return table[:, 0], table[:, 1], table[:, 2]


def merged(starts: Numbers, ends: Numbers) -> tuple[Numbers, Numbers]:
    """Join intervals that overlap or touch; give the starts and ends of what they cover together."""
    kept = np.flatnonzero(ends > starts)
    order = kept[np.argsort(starts[kept], kind="stable")]
    first, reach = starts[order], np.maximum.accumulate(ends[order])
    begins = np.flatnonzero(np.concatenate(([True], first[1:] > reach[:-1]))) if len(order) else order
    return first[begins], reach[np.append(begins[1:], len(order)) - 1] if len(order) else reach
