"""By what factor each quantile of response time changed between two captures, and how sure that is.

Theory of operation
-------------------
Response times are related to those before them (a slow second is slow for everybody) and heavy-tailed, so their
errors are found by resampling: of each capture blocks of slices that follow each other are drawn at random, the end
joined to the beginning (the circular block bootstrap of Politis and Romano, *Exploring the Limits of Bootstrap*,
Wiley 1992), until there are as many slices as were, and the quantiles taken of what they hold together. A block is
twice as long as the first lag at which the autocorrelation of a quantile's influence is below 2/√k, at least ∛k
slices, at most k/10 (`tcpsight.model.resampling.block_length`): at least ten blocks.

The shift is the difference of the logarithms of a quantile; its standard error joins those of both captures, each made
larger by √(B / (B − 1)) for B blocks, and its interval is that many of Student's t, with the degrees of freedom of
Welch and Satterthwaite. Draws come from a generator with a fixed seed: the same captures give the same answer.

What it cannot see: what changes more slowly than a tenth of a capture, and what both captures do not share although it
is no property of the server: another load, other requests, a machine that is warm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.model.resampling import block_length
from tcpsight.model.response_slices import LEAST_REQUESTS, ResponseSlices, mid_quantiles

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

RESAMPLES = 1000
SEED = 1992
CHUNK = 250
"""Resamples at once, so that memory stays below a few MB."""

LEAST_BEYOND = 20
"""So many requests must lie on either side of a quantile that tells anything."""

POWER = 0.95
"""What could have been found is what is found so often."""


@dataclass(frozen=True, slots=True)
class Quantiles:
    """Quantiles of one capture.

    Attributes
    ----------
    log_ns : ndarray of float64, shape (quantiles,)
        Logarithms of them; NaN where there is no request.
    error : ndarray of float64, shape (quantiles,)
        Their standard errors; NaN where too little tells them.
    blocks : ndarray of float64, shape (quantiles,)
        Of how many blocks they were drawn; 0 where the error is unknown.
    """

    log_ns: Floats
    error: Floats
    blocks: Floats


@dataclass(frozen=True, slots=True)
class Shift:
    """How a quantile changed: logarithms of after / before.

    Attributes
    ----------
    value, error : float
        The shift and its standard error; the error is NaN where too little tells it.
    freedom : float
        Degrees of freedom.
    """

    value: float
    error: float
    freedom: float

    def interval(self, level: float) -> tuple[float, float]:
        """Give the interval that holds the shift with this confidence; NaN where it is unknown."""
        if not self.error >= 0:
            return float("nan"), float("nan")
        reach = student(0.5 + level / 2, self.freedom) * self.error
        return self.value - reach, self.value + reach

    def detectable(self, level: float) -> float:
        """Give the shift that would have been found, its interval beyond 0, in 95 of 100 cases; NaN if unknown."""
        if not self.error >= 0:
            return float("nan")
        return (student(0.5 + level / 2, self.freedom) + student(POWER, self.freedom)) * self.error


def student(p: float, freedom: float) -> float:
    """Give the quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1), p))


def quantiles_of(slices: ResponseSlices, p: Floats, *, seed: int = SEED) -> Quantiles:
    """Give the quantiles of a capture's response times, and how sure they are.

    Parameters
    ----------
    slices : ResponseSlices
        The response times.
    p : ndarray of float64, shape (quantiles,)
        Which quantiles.
    seed : int
        Of the generator.
    """
    counts, log_values = slices.filled()
    unknown = Quantiles(np.full(len(p), np.nan), np.full(len(p), np.nan), np.zeros(len(p)))
    if not len(log_values):
        return unknown
    found = mid_quantiles(counts.sum(axis=0, keepdims=True), log_values, p)[0]
    told = np.minimum(p, 1 - p) * slices.requests >= LEAST_BEYOND
    if slices.requests < LEAST_REQUESTS or not told.any():
        return Quantiles(found, unknown.error, unknown.blocks)
    block = np.array([block_length(_influence(counts, log_values, each)) for each in zip(found, p, strict=True)])
    error = np.full(len(p), np.nan)
    blocks = np.where(told, len(counts) / block, 0)
    for length in np.unique(block[told]).tolist():
        own = told & (block == length)
        error[own] = _drawn(counts, log_values, p[own], length, seed).std(axis=0, ddof=1)
    # As many slices are drawn as make whole blocks, which may be a few more than there are.
    whole = np.ceil(blocks[told]) / blocks[told]
    error[told] *= np.sqrt(whole * blocks[told] / (blocks[told] - 1))
    return Quantiles(found, error, blocks)


def shifts_between(before: Quantiles, after: Quantiles) -> list[Shift]:
    """Give the shift of every quantile."""
    values = after.log_ns - before.log_ns
    both = (before.error**2, after.error**2)
    found = []
    for i, value in enumerate(values):
        one, two = float(both[0][i]), float(both[1][i])
        parts = one**2 / max(before.blocks[i] - 1, 1) + two**2 / max(after.blocks[i] - 1, 1)
        freedom = (one + two) ** 2 / parts if parts > 0 else 1.0
        found.append(Shift(float(value), float(np.sqrt(one + two)), freedom))
    return found


def _influence(counts: Floats, log_values: Floats, quantile: tuple[float, float]) -> Floats:
    """Give how many requests of each slice lie below a quantile, too many or too few, shape (slices,)."""
    value, share = quantile
    at = int(np.searchsorted(log_values, value))
    influence: Floats = counts[:, :at].sum(axis=1) - share * counts.sum(axis=1)
    return influence


def _drawn(counts: Floats, log_values: Floats, p: Floats, block: int, seed: int) -> Floats:
    """Draw blocks of slices again and again, and give the quantiles of each draw, shape (resamples, quantiles)."""
    generator = np.random.Generator(np.random.PCG64(seed))
    slices = len(counts)
    blocks = -(-slices // block)
    drawn = []
    for _ in range(RESAMPLES // CHUNK):
        times = times_drawn(generator, CHUNK, slices, (blocks, block))
        drawn.append(mid_quantiles(times @ counts, log_values, p))
    return np.concatenate(drawn)


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
