"""What was found at overlapping times by several means is one stall."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Any

import numpy as np

COVERED = 0.5
"""A wait of which halts are so much is a halt."""


@dataclass(slots=True)
class Candidate:
    """Something found: when, how sure, and which rows of the window waited.

    Attributes
    ----------
    start_ns, end_ns : int
        When the wait began and ended.
    surprise : float
        −log of the chance that it is an accident.
    held : ndarray of int64
        Numbers of the rows that waited at its end.
    is_halt : bool
        Whether nobody was answered meanwhile.
    is_over : bool
        Whether it ended before the capture did.
    """

    start_ns: int
    end_ns: int
    surprise: float
    held: np.ndarray[Any, np.dtype[np.int64]]
    is_halt: bool = True
    is_over: bool = True


def joined(candidates: list[Candidate]) -> list[Candidate]:
    """Make one of candidates that are the same wait, in order of their ends.

    Halts that touch are one. A release whose wait is halts for the most part joins them; another takes their place if
    it is less likely an accident. Of releases that overlap, the one that is least likely an accident is kept.
    """
    # What is kept never overlaps, so its ends are in the order of its starts.
    kept = _touching([each for each in candidates if each.is_halt])
    releases = sorted((each for each in candidates if not each.is_halt), key=lambda each: -each.surprise)
    for release in releases:
        first = bisect_right(kept, release.start_ns, key=lambda each: each.end_ns)
        stop = max(bisect_left(kept, release.end_ns, key=lambda each: each.start_ns), first)
        same = kept[first:stop]
        if any(not each.is_halt for each in same):
            continue
        covered = sum(min(each.end_ns, release.end_ns) - max(each.start_ns, release.start_ns) for each in same)
        if same and covered >= COVERED * (release.end_ns - release.start_ns):
            kept[first:stop] = [_union(same)]
        elif not same or release.surprise > max(each.surprise for each in same):
            kept[first:stop] = [release]
    return kept


def _touching(halts: list[Candidate]) -> list[Candidate]:
    found: list[Candidate] = []
    for halt in sorted(halts, key=lambda each: each.start_ns):
        if found and halt.start_ns <= found[-1].end_ns:
            found[-1] = _union([found[-1], halt])
        else:
            found.append(halt)
    return found


def _union(halts: list[Candidate]) -> Candidate:
    """Make one of several: those held at its end are those of the last."""
    last = max(halts, key=lambda each: each.end_ns)
    start_ns, surprise = min(each.start_ns for each in halts), max(each.surprise for each in halts)
    return Candidate(start_ns, last.end_ns, surprise, last.held, is_over=last.is_over)
