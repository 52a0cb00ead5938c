"""Shares of what went wrong (requests unanswered, connections refused), and how two of them differ.

Theory of operation
-------------------
Failures come in bursts: a second in which every connection is refused is one event, not a thousand. So shares are
counted by slices of time that lengthen as the capture does, and their variance is that of a ratio estimated from
clusters (Cochran, *Sampling Techniques*, Wiley 1977, §6): its quotient by the binomial one, if above 1, says of how
many independent trials the share is worth. The difference of two shares has the interval of Newcombe (Statistics in
Medicine 17, 1998, method 10), which joins Wilson's score intervals and holds where nothing failed at all.
Where things come by connection, not by time, a cluster is a connection.

What it cannot see: bursts longer than a thirty-second part of a capture.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]

CLUSTERS = 32
"""How many slices of time the variance is taken from, at most."""
MOST_SLICES = 2 * CLUSTERS
"""How many are kept: more would be joined anyway before a variance is taken."""
SHORTEST_NS = 1_000_000


@dataclass(frozen=True, slots=True)
class Share:
    """How many of how many.

    Attributes
    ----------
    events, trials : int
        The share is their quotient.
    design_effect : float
        Of how many trials one independent one is worth, 1 or more.
    """

    events: int
    trials: int
    design_effect: float = 1.0

    @property
    def value(self) -> float:
        """The share; NaN of nothing."""
        return self.events / self.trials if self.trials else math.nan

    def score_interval(self, z: float) -> tuple[float, float]:
        """Give Wilson's interval, `z` standard errors wide to each side."""
        n = self.trials / self.design_effect
        center = (self.value + z * z / (2 * n)) / (1 + z * z / n)
        reach = z / (1 + z * z / n) * math.sqrt(self.value * (1 - self.value) / n + z * z / (4 * n * n))
        return max(center - reach, 0.0), min(center + reach, 1.0)


def difference(before: Share, after: Share, level: float) -> tuple[float, float]:
    """Give the interval of how much larger the share is after; NaN where there was nothing to fail.

    How failures come together is taken from the side where that matters more, as one of them may have none.
    """
    if not before.trials or not after.trials:
        return math.nan, math.nan
    from scipy.special import ndtri

    z = float(ndtri(0.5 + level / 2))
    effect = max(before.design_effect, after.design_effect)
    both = [Share(each.events, each.trials, effect).score_interval(z) for each in (before, after)]
    (low_one, high_one), (low_two, high_two) = both
    shift = after.value - before.value
    return (
        shift - math.hypot(after.value - low_two, high_one - before.value),
        shift + math.hypot(high_two - after.value, before.value - low_one),
    )


class SlicedCounts:
    """Count several things at once by slices of time, of which there are never many.

    Parameters
    ----------
    kinds : int
        How many things are counted.
    """

    def __init__(self, kinds: int) -> None:
        self._width_ns = SHORTEST_NS
        # Numbers of slices, sorted, and what is in each: ten thousand services must not take gigabytes.
        self._numbers = np.zeros(0, np.int64)
        self._sums = np.zeros((0, kinds), np.int64)

    def add(self, time_ns: Integers, what: Integers) -> None:
        """Count.

        Parameters
        ----------
        time_ns : ndarray of int64, shape (n,)
            When.
        what : ndarray of int64, shape (n, kinds)
            How many of each.
        """
        if len(time_ns) == 0:
            return
        numbers = np.concatenate([self._numbers, time_ns // self._width_ns])
        self._numbers, self._sums = _added(numbers, np.concatenate([self._sums, what]))
        while len(self._numbers) > MOST_SLICES:
            self._numbers, self._sums = _added(self._numbers >> 1, self._sums)
            self._width_ns *= 2

    def totals(self) -> Integers:
        """Give how many there are of each, shape (kinds,)."""
        sums: Integers = self._sums.sum(axis=0)
        return sums

    def share(self, event: int, trial: int) -> Share:
        """Give the share of one kind in another, of which it is a part."""
        numbers, sums = self._numbers, self._sums
        while len(numbers) and int(numbers[-1]) - int(numbers[0]) >= CLUSTERS:
            numbers, sums = _added(numbers >> 1, sums)
        clusters = Clusters()
        for row in sums:
            clusters.add(row[event : event + 1], row[trial : trial + 1])
        return clusters.share()


def _added(numbers: Integers, what: Integers) -> tuple[Integers, Integers]:
    """Add up what has the same number, in order of numbers."""
    distinct, which = np.unique(numbers, return_inverse=True)
    sums = np.zeros((len(distinct), what.shape[1]), np.int64)
    np.add.at(sums, which, what)
    return distinct, sums


@dataclass(slots=True)
class Clusters:
    """Sums over clusters that a share and its variance follow from."""

    clusters: int = 0
    sums: list[int] = field(default_factory=lambda: [0, 0])
    products: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])

    def add(self, events: Integers, trials: Integers) -> None:
        """Take clusters: events and trials of each, shape (n,)."""
        self.clusters += int((trials > 0).sum())
        e, t = events.astype(np.float64), trials.astype(np.float64)
        self.sums[0] += int(events.sum())
        self.sums[1] += int(trials.sum())
        for place, each in enumerate((e @ e, e @ t, t @ t)):
            self.products[place] += float(each)

    def share(self) -> Share:
        """Give the share, and of how many trials one independent one is worth."""
        events, trials = self.sums
        if not trials or self.clusters < 2:
            return Share(events, trials)
        p = events / trials
        ee, et, tt = self.products
        spread = max(ee - 2 * p * et + p * p * tt, 0.0) * self.clusters / (self.clusters - 1)
        binomial = trials * p * (1 - p)
        return Share(events, trials, max(spread / binomial, 1.0) if binomial > 0 else 1.0)
