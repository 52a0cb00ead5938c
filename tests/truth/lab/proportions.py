"""Proportions with their bounds, and runs counted once."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from typing import NamedTuple

from tests.truth.lab.measure import Verdict

Z = 1.959964
"""Quantile of the normal distribution for 95 %, both sides."""


class Interval(NamedTuple):
    """A proportion with its bounds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f}–{self.high:.3f})"


def wilson(hits: int, of: int) -> Interval:
    """Give a proportion and its 95 % score interval (Wilson 1927)."""
    if of == 0:
        return Interval(math.nan, 0.0, 1.0)
    p, spread = hits / of, Z * Z / of
    middle = (p + spread / 2) / (1 + spread)
    half = Z * math.sqrt(p * (1 - p) / of + spread / (4 * of)) / (1 + spread)
    return Interval(p, max(0.0, middle - half), min(1.0, middle + half))


class Counted(NamedTuple):
    """How many runs had something, how many not, in how many of them it was told."""

    positive: int
    negative: int
    hits: int
    wrong: int


def told_by_run(some: Iterable[Verdict]) -> Counted:
    """Count the runs with a kind of finding and those without, and in how many of each it was told."""
    # One run, one trial: its captures are of the same packets. It counts as found where every capture shows it …
    positive: dict[str, list[bool]] = defaultdict(list)
    negative: dict[str, list[bool]] = defaultdict(list)
    for v in some:
        (positive if v.is_true else negative)[v.run].append(v.is_told)
    hits = sum(all(told) for told in positive.values())
    # … and as told wrongly where any does.
    wrong = sum(any(told) for told in negative.values())
    return Counted(len(positive), len(negative), hits, wrong)
