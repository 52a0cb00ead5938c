"""Requests that waited together and were released together, while others may have been answered.

Theory of operation
-------------------
For a number of ages, each twice the one before, only requests that waited so long are looked at: they join when they
are that old. If they waited for nothing in common, each would be as likely to be answered next as the others, and
what they wait together between one completion and the next would vary as exponential times do. Of k residents that
wait, and are then answered, the share f of all that waiting that lies before the first completion is larger than so
with probability (1 − f)^(k − 1): the spacings of a uniform sample. If all of them wait for the same thing, f is
nearly 1. Nothing has to be estimated, so stalls spoil no baseline, and a server whose queue grows and shrinks at its
own pace doesn't look like it.

Requests that came together, and all take the same time, end together, too; what is released together is only a release
if it came over a longer time than it left. How long its middle half took to come is asked of all stretches of
completions at once (`RangeOrder`), so that n requests take n log n steps, however many of them seem released together.

What it cannot see: releases of fewer than four requests; those whose queue drains as slowly as it grew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tcpsight.model.range_order import RangeOrder
from tcpsight.model.waiting import Gaps, Integers, gaps_of

FIRST_AGE = 4
"""The first age, in median response times: what most requests reach says nothing."""

LEAST_RELEASED = 4

PARTS = (1.0, 0.75, 0.5)
"""Shares of the residents that may belong together: others wait for something else."""

COMPRESSION = 2.0
"""The middle half of the arrivals is spread over at least so many times the time of the middle half of the answers."""


class Release(NamedTuple):
    """Requests that were released together.

    Attributes
    ----------
    surprise : float
        −log of the chance that it is an accident.
    held : ndarray of int64
        Numbers of their rows.
    """

    surprise: float
    held: Integers


def releases_in(
    arrivals: Integers, ends: Integers, by_completion: Integers, median_ns: int, alarm: float
) -> Iterator[Release]:
    """Find releases at all ages.

    Parameters
    ----------
    arrivals, ends : ndarray, shape (rows,)
        When requests came and were answered, or given up; in order of arrival.
    by_completion : ndarray, shape (completions,)
        Numbers of the rows that were answered, in order of completion.
    median_ns : int
        Median response time.
    alarm : float
        Least surprise.
    """
    waits = ends - arrivals
    age = FIRST_AGE * max(median_ns, 1)
    while True:
        is_old = waits >= age
        members = by_completion[is_old[by_completion]]
        if len(members) < LEAST_RELEASED:
            return
        old = np.flatnonzero(is_old)
        gaps = gaps_of(arrivals[old] + age, ends[members], np.sort(ends[old]))
        yield from _releases_of(gaps, members, (arrivals, ends), alarm)
        age *= 2


def _releases_of(gaps: Gaps, members: Integers, times: tuple[Integers, Integers], alarm: float) -> Iterator[Release]:
    together = np.concatenate([np.zeros(1), np.cumsum(gaps.together_ns.astype(np.float64))])
    came: RangeOrder | None = None
    left = times[1][members]
    for part in PARTS:
        counts = np.ceil(part * gaps.residents).astype(np.int64)
        first = np.flatnonzero((counts >= LEAST_RELEASED) & (np.arange(len(counts)) + counts <= len(counts)))
        k = counts[first]
        before = np.maximum(gaps.together_ns[first].astype(np.float64), 0.0)
        after = together[first + k] - together[first + 1]
        surprises = (k - 1) * np.log1p(before / np.maximum(after, 1.0)) - np.log(len(PARTS))
        is_rare = surprises >= alarm
        if not is_rare.any():
            continue
        first, k, surprises = first[is_rare], k[is_rare], surprises[is_rare]
        came = came or RangeOrder(times[0][members])
        # The time that the middle half takes: one that has nothing to do with the others does not count.
        quarter, rest = first + k // 4, first + 3 * k // 4
        spread = came.smallest(first, first + k, 3 * k // 4) - came.smallest(first, first + k, k // 4)
        is_release = np.flatnonzero(spread >= COMPRESSION * (left[rest] - left[quarter]))
        start = came.smallest(first, first + k, np.zeros_like(k))
        for at in _apart(start, left[first], surprises, is_release):
            yield Release(float(surprises[at]), members[first[at] : first[at] + k[at]])


def _apart(start_ns: Integers, end_ns: Integers, surprises: Any, chosen: Integers) -> list[int]:
    """Of waits that overlap keep the one that is least likely an accident: it is the one that counts in the end."""
    starts: list[int] = []
    ends: list[int] = []
    kept: list[int] = []
    for at in chosen[np.argsort(-surprises[chosen], kind="stable")].tolist():
        start, end = int(start_ns[at]), int(end_ns[at])
        place = bisect_right(ends, start)
        # What is kept never overlaps, so its ends are in the order of its starts.
        if place == len(starts) or starts[place] >= end:
            starts.insert(place, start)
            ends.insert(place, end)
            kept.append(at)
    return sorted(kept)
