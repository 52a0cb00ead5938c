"""By what factor each quantile of response time changed between two captures, and how sure that is.

Theory of operation
-------------------
A quantile is as sure as the share of requests below it: that share has a standard error, and where the distribution
function is that many errors more or less than the quantile's own share, its interval ends (Woodruff, J. American
Statistical Association 47, 1952). Nothing is assumed of the distribution: where it is steep the interval is short, and
where the share is near to a gap between two heaps of response times it reaches over the gap.

Response times are related to those before them (a slow second is slow for everybody), so the error of the share is
that of the circular block bootstrap (Politis and Romano, *Exploring the Limits of Bootstrap*, Wiley 1992) over slices
that follow each other, which for a share needs no draws: it is the variance of the sums of all runs of as many slices
as a block has, the end joined to the beginning. A block is twice as long as the first lag at which the autocorrelation
of the share is below 2/√k, at least ∛k slices, at most k/10 (`tcpsight.model.resampling.block_length`): at least ten
blocks. The variance is made larger by B / (B − 1) for B blocks.

The shift is the difference of the logarithms of a quantile. Its interval joins those of both captures, each to the
side on which it matters (Zou and Donner, Statistics in Medicine 27, 2008): they are that many errors long of Student's
t, with the degrees of freedom of Welch and Satterthwaite. To that comes how far the ends may lie from where they are
told within their tick of the clock: of many that took the same time as recorded nobody knows who took longer.

What it cannot see: what changes more slowly than a tenth of a capture, and what both captures do not share although it
is no property of the server: another load, other requests, a machine that is warm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tcpsight.model.resampling import block_length, student
from tcpsight.model.response_slices import LEAST_REQUESTS, ResponseSlices

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

RESAMPLES = 1000
SEED = 1992
LEAST_BEYOND = 20
"""So many requests must lie on either side of a quantile that tells anything."""

POWER = 0.95
"""What could have been found is what is found so often."""


class Reach(NamedTuple):
    """How far an interval of a quantile goes, as logarithms; inf where it has no end.

    Attributes
    ----------
    low, high : float
        Below and above the quantile, by chance.
    low_tick, high_tick : float
        How much farther, as times are known to a tick of the clock only.
    """

    low: float
    high: float
    low_tick: float
    high_tick: float


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Quantiles of one capture.

    Attributes
    ----------
    p : ndarray of float64, shape (quantiles,)
        Which.
    log_ns : ndarray of float64, shape (quantiles,)
        Logarithms of them; NaN where there is no request.
    share_error : ndarray of float64, shape (quantiles,)
        Standard errors of the share of requests below each; NaN where too little tells them.
    blocks : ndarray of float64, shape (quantiles,)
        Of how many blocks they follow; 0 where the error is unknown.
    slices : ResponseSlices
        The response times.
    """

    p: Floats
    log_ns: Floats
    share_error: Floats
    blocks: Floats
    slices: ResponseSlices

    def reach(self, number: int, errors: float) -> Reach:
        """Tell how far below and above a quantile its interval of so many errors ends."""
        away = errors * float(self.share_error[number])
        ends = np.array([self.p[number] - away, self.p[number] + away])
        logs = np.log(self.slices.quantiles_ns(ends))
        with np.errstate(divide="ignore"):  # what may have taken no time at all has no lower end
            lowest, highest = (np.log(each) for each in self.slices.known_within_ns(ends))
        low, high = float(self.log_ns[number] - logs[0]), float(logs[1] - self.log_ns[number])
        return Reach(
            max(low, 0.0) if ends[0] > 0 else math.inf,
            max(high, 0.0) if ends[1] < 1 else math.inf,
            float(logs[0] - lowest[0]),
            float(highest[1] - logs[1]),
        )


@dataclass(frozen=True, slots=True)
class Shift:
    """How a quantile changed: logarithms of after / before.

    Attributes
    ----------
    value, error : float
        The shift and its standard error; the error is NaN where too little tells it.
    freedom : float
        Degrees of freedom.
    within : float
        How much farther the ends of its interval lie, as times are known to a tick of the clock only.
    """

    value: float
    error: float
    freedom: float
    within: float = 0.0

    def interval(self, level: float) -> tuple[float, float]:
        """Give the interval that holds the shift with this confidence; NaN where it is unknown."""
        if not self.error >= 0:
            return float("nan"), float("nan")
        reach = student(0.5 + level / 2, self.freedom) * self.error + self.within
        return self.value - reach, self.value + reach


@dataclass(frozen=True, slots=True)
class QuantileShift:
    """How a quantile changed: logarithms of after / before.

    Attributes
    ----------
    number : int
        Which of the quantiles.
    before, after : Quantiles
        What it was.
    """

    number: int
    before: Quantiles
    after: Quantiles

    @property
    def value(self) -> float:
        """The shift."""
        return float(self.after.log_ns[self.number] - self.before.log_ns[self.number])

    @property
    def is_known(self) -> bool:
        """Whether anything tells how sure it is."""
        return bool(np.isfinite([each.share_error[self.number] for each in (self.before, self.after)]).all())

    @property
    def freedom(self) -> float:
        """Degrees of freedom, of Welch and Satterthwaite; of the smaller capture where errors tell nothing."""
        blocks = [max(float(each.blocks[self.number]) - 1, 1.0) for each in (self.before, self.after)]
        reaches = [each.reach(self.number, 1.0) for each in (self.before, self.after)]
        variances = [(reach.low + reach.high) ** 2 for reach in reaches]
        if not 0 < sum(variances) < math.inf:
            return min(blocks)
        return sum(variances) ** 2 / sum(v**2 / b for v, b in zip(variances, blocks, strict=True))

    def interval(self, level: float) -> tuple[float, float]:
        """Give the interval that holds the shift with this confidence: infinite where it has no end, NaN if unknown."""
        if not self.is_known:
            return math.nan, math.nan
        (below, above), (tick_below, tick_above) = self._parts(level)
        return self.value - below - tick_below, self.value + above + tick_above

    def _parts(self, level: float) -> tuple[tuple[float, float], tuple[float, float]]:
        """Tell how far the interval goes below and above: by chance, and by ticks of the clock."""
        errors = student(0.5 + level / 2, self.freedom)
        before, after = (each.reach(self.number, errors) for each in (self.before, self.after))
        return (
            (math.hypot(after.low, before.high), math.hypot(after.high, before.low)),
            (after.low_tick + before.high_tick, after.high_tick + before.low_tick),
        )

    def detectable(self, level: float) -> float:
        """Give the shift that would have been found, its interval beyond 0, in 95 of 100 cases; NaN if unknown."""
        if not self.is_known:
            return math.nan
        chance, ticks = (sum(part) / 2 for part in self._parts(level))
        # The interval is as long as the test asks for; chance takes as many errors again as the power asks for.
        more = student(POWER, self.freedom) / student(0.5 + level / 2, self.freedom)
        return (1 + more) * chance + ticks if math.isfinite(chance + ticks) else math.nan


def quantiles_of(slices: ResponseSlices, p: Floats) -> Quantiles:
    """Give the quantiles of a capture's response times, and how sure they are.

    Parameters
    ----------
    slices : ResponseSlices
        The response times, told about where the quantiles are.
    p : ndarray of float64, shape (quantiles,)
        Which quantiles, 0 to 1.
    """
    found = np.log(slices.quantiles_ns(p))
    error, blocks = np.full(len(p), np.nan), np.zeros(len(p))
    told = np.minimum(p, 1 - p) * slices.requests >= LEAST_BEYOND
    if slices.requests >= LEAST_REQUESTS:
        for number in np.flatnonzero(told).tolist():
            influence = slices.influence(number, float(p[number]))
            block = block_length(influence)
            blocks[number] = len(influence) / block
            error[number] = _error_of_sum(influence, block) / slices.requests
    return Quantiles(p, found, error, blocks, slices)


def shifts_between(before: Quantiles, after: Quantiles) -> list[QuantileShift]:
    """Give the shift of every quantile."""
    return [QuantileShift(number, before, after) for number in range(len(before.p))]


def _error_of_sum(values: Floats, block: int) -> float:
    """Give the standard error of the sum of values that are related within a block, by all circular blocks."""
    centered = values - values.mean()
    ends = np.cumsum(np.concatenate([[0.0], centered, centered[: block - 1]]))
    sums = ends[block:] - ends[:-block]
    blocks = len(values) / block
    return float(np.sqrt((sums @ sums) / len(sums) * blocks * blocks / (blocks - 1)))


def times_drawn(generator: np.random.Generator, resamples: int, slices: int, shape: tuple[int, int]) -> Floats:
    """Tell how often each slice is drawn.

    Parameters
    ----------
    generator : Generator
        What chance comes from.
    resamples, slices : int
        How many draws, of how many slices.
    shape : tuple of int
        How many blocks are drawn each time, and how many slices are in each.

    Returns
    -------
    ndarray of float64, shape (resamples, slices)
    """
    blocks, block = shape
    starts = generator.integers(0, slices, (resamples, blocks))
    drawn = (starts[:, :, None] + np.arange(block)) % slices
    cells = np.arange(resamples)[:, None] * slices + drawn.reshape(resamples, -1)
    return np.bincount(cells.reshape(-1), minlength=resamples * slices).reshape(resamples, slices).astype(np.float64)
