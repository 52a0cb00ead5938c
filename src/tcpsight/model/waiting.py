"""Gaps between completions while requests wait, at any age: what stalls are made of.

A class of requests are those that waited for some time at least, its *age*; each joins the class when it has waited so
long, and leaves it when it is answered or given up. Between two completions of a class there is a gap: how long members
waited in it, and how much they waited together.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]


class Gaps(NamedTuple):
    """The gaps of a class, each before a completion: shape (completions,).

    Attributes
    ----------
    start_ns : ndarray
        The completion before, or when the first of the class joined after it.
    end_ns : ndarray
        The completion.
    together_ns : ndarray
        How long members were there meanwhile, summed over members.
    residents : ndarray
        How many were there right before the completion, with the one that completes.
    present : ndarray
        How many were there at some time of the gap.
    """

    start_ns: Integers
    end_ns: Integers
    together_ns: Integers
    residents: Integers
    present: Integers

    @property
    def length_ns(self) -> Integers:
        """How long somebody waited and none was answered."""
        return self.end_ns - self.start_ns


def gaps_of(joined_ns: Integers, completions_ns: Integers, left_ns: Integers) -> Gaps:
    """Give the gaps of a class.

    Parameters
    ----------
    joined_ns : ndarray, shape (members,)
        When each member joined, sorted.
    completions_ns : ndarray, shape (completions,)
        When those that were answered were, sorted.
    left_ns : ndarray, shape (members,)
        The same and when the others gave up, sorted.

    Returns
    -------
    Gaps
        One before each completion.
    """
    came = np.searchsorted(joined_ns, completions_ns, "right")
    left_before, gone = _ranks(left_ns, completions_ns)
    residents = came - left_before
    previous = np.empty_like(completions_ns)
    previous[1:] = completions_ns[:-1]
    # Of the time until then: sums of differences wrap around together, and their differences are right.
    waited = _waited(joined_ns, completions_ns, came) - _waited(left_ns, completions_ns, gone)
    together = np.diff(waited, prepend=waited.dtype.type(0))
    came_before, gone_before = _shifted(came), _shifted(gone)
    joins = joined_ns[np.minimum(came_before, len(joined_ns) - 1)]
    start = np.where(came_before > gone_before, previous, np.maximum(joins, previous))
    start[:1] = joined_ns[:1]
    return Gaps(np.minimum(start, completions_ns), completions_ns, together, residents, came - gone_before)


def _ranks(values: Integers, of: Integers) -> tuple[Integers, Integers]:
    """Tell how many sorted values are less than each of others, sorted too, and how many are not greater."""
    if len(values) != len(of) or not len(of) or not (values == of).all():
        return np.searchsorted(values, of, "left"), np.searchsorted(values, of, "right")
    # Nearly always nobody gave up: the ranks of values among themselves.
    firsts = np.flatnonzero(np.concatenate([[True], of[1:] != of[:-1]]))
    counts = np.diff(firsts, append=len(of))
    return np.repeat(firsts, counts), np.repeat(firsts + counts, counts)


def _waited(since_ns: Integers, at_ns: Integers, counts: Integers) -> Integers:
    sums = np.concatenate([np.zeros(1, np.int64), np.cumsum(since_ns)])
    waited: Integers = counts * at_ns - sums[counts]
    return waited


def _shifted(values: Integers) -> Integers:
    before = np.zeros_like(values)
    before[1:] = values[:-1]
    return before


class Tail(NamedTuple):
    """How often a gap is longer than most: log gap = intercept + slope × log(−log p) (Weibull)."""

    intercept: float
    slope: float

    def surprise(self, values: Any) -> Floats:
        """Give −log p of each value."""
        with np.errstate(divide="ignore"):
            logs = np.log(np.maximum(values, 1e-300))
        exponent = np.clip((logs - self.intercept) / self.slope, -50.0, 12.0)
        surprises: Floats = np.exp(exponent)
        return surprises


class Hazard:
    """How much waiting is used up at an age: −log of the share of requests that wait longer.

    Parameters
    ----------
    waits_ns : ndarray
        How long requests waited.
    """

    def __init__(self, waits_ns: Integers) -> None:
        self._sorted = np.sort(waits_ns)

    def at(self, ages_ns: Integers) -> Floats:
        """Give it at ages; what nobody reached counts as if one had."""
        count = len(self._sorted)
        longer = count - np.searchsorted(self._sorted, ages_ns, "left")
        used: Floats = np.log((count + 1) / (longer + 1))
        return used

    def between(self, first_ns: Integers, last_ns: Integers) -> float:
        """Give −log of the chance that none of several requests is answered between these ages of theirs."""
        return float((self.at(last_ns) - self.at(first_ns)).sum())


LEAST_VALUES = 100
"""Fewer tell nothing about a tail."""

LEAST_SLOPE = 0.5
"""A tail lighter than that of the normal distribution is not believed."""

BODY = 0.693
"""The median: −log p there; what is below it says nothing about the tail."""

BEYOND = 20
"""So many of the largest values are left out: stalls are among them, and few values tell little."""


def tail_of(values: Any) -> Tail | None:
    """Fit the upper half of positive values, without the very largest; None where there are too few.

    Notes
    -----
    The slope is that of the uppermost third on the scale of −log p, or of all of it where that is steeper: tails that
    grow heavier farther out are seen as heavy.
    """
    known = np.sort(np.asarray(values, np.float64)[np.asarray(values) > 0])
    n = len(known)
    if n < LEAST_VALUES:
        return None
    last = min(np.log(n / BEYOND), 7.0)
    surprises = np.linspace(BODY, last, 16)
    places = np.minimum((n * -np.expm1(-surprises)).astype(np.int64), n - 1)
    logs, x = np.log(known[places]), np.log(surprises)
    slope = max(_slope(x, logs), _slope(x[8:], logs[8:]), LEAST_SLOPE)
    return Tail(float(np.mean(logs[-4:]) - slope * np.mean(x[-4:])), slope)


def _slope(x: Floats, y: Floats) -> float:
    centred = x - x.mean()
    return float((centred * y).sum() / (centred**2).sum())
