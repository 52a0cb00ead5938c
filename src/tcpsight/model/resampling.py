"""How sure a fitted law is: it is fitted again to what might have been measured as well.

Theory of operation
-------------------
*Slices of time* may be correlated: a slow second is followed by one. So the wild bootstrap over blocks of time (Wu,
Annals of Statistics 14, 1986; Shao, J. American Statistical Association 105, 2010) keeps the concurrency of every slice
and what the law predicts of it, and adds its own residual with a sign that is drawn once for a block of slices that
follow each other. Nothing is assumed of how errors are distributed, whether they are alike, or related within a block.
Before, the residuals of a block are made those of a fit without it (CR3, Bell and McCaffrey, Survey Methodology 28,
2002), and, for few blocks, multiplied by Student's t over the normal quantile.

*The length of a block* is two slices where residuals are not related: where their autocorrelation at lag 1 is below
1.64/√k, which of unrelated ones it exceeds one time in twenty. Else it is twice the last lag of those in a row that are
above, at least ∛k slices, at most k/10: at least ten blocks. Longer blocks where nothing asks for them cost much: a
block that alone holds the highest concurrency can hardly be left out, and intervals become many times too wide.

*Lines of a table* have no order of time, and there are often few: residuals are drawn from all of them, divided by
√(1 − leverage) and multiplied by Student's t over the normal quantile, too.

*Intervals* of the coefficients are percentiles of the resamples, so far out that 95 % of these lie within all three.
The law is fitted again without the constraint to points about the fit without it, and of the intervals only what is not
negative is told: where a coefficient is held at 0 the bootstrap of a constrained fit does not hold what it promises
(Andrews, Econometrica 68, 2000), but where an interval covers the truth, so does its part that is possible. They are
stretched to the same percentiles of fits within the constraint, should those lie outside. Where an estimate without the
constraint is negative by chance, next to nothing of its interval may be possible, and would tell more than the points
do; so the upper end is no lower than for an estimate of 0, by the same spread (the power constraint of Cowan, Cranmer,
Gross and Vitells, arXiv:1105.3166, 2011). Bands of predictions come
from fits within the constraint. Draws come from a generator with a fixed seed.

What it cannot see: errors that the whole capture shares.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.model.refitting import Refitting
from tcpsight.model.scalability import Floats, LawFit, Points, directions, predicted_at

Integers = np.ndarray[Any, np.dtype[np.int64]]

RESAMPLES = 2000
MOST_WORK = 60_000_000
"""Points times resamples; beyond it there are fewer resamples, at least `LEAST_RESAMPLES`."""
LEAST_RESAMPLES = 200
SEED = 1990

LEVEL = 0.95

RELATED, CLEARLY_RELATED = 1.64, 2.0
"""Standard errors, 1/√k, above which an autocorrelation is none by chance; the lower where much depends on it."""
SHORTEST_BLOCK = 2
"""So that a little relation, too little to be seen, is kept for the greater part."""


@dataclass(frozen=True, slots=True)
class Resampled:
    """Coefficients that might have been found as well.

    Attributes
    ----------
    draws : ndarray of float64, shape (resamples, 3)
        σ, κ and λ, within the constraint.
    free_draws : ndarray of float64, shape (resamples, 3)
        The same without it.
    block : int or None
        Slices that share a sign; None where single residuals were drawn.
    """

    draws: Floats
    free_draws: Floats
    block: int | None


def resample(points: Points, fit: LawFit, *, seed: int = SEED) -> Resampled:
    """Fit the law to resampled points.

    Parameters
    ----------
    points : Points
        All points; outliers take no part.
    fit : LawFit
        The law through them.
    seed : int
        Of the generator.
    """
    used, weights = points.where(fit.used), fit.weights[fit.used]
    center, basis = predicted_at(used, fit.free), directions(used, weights, fit)
    residuals = (used.throughput_per_s - center) * weights
    generator = np.random.Generator(np.random.PCG64(seed))
    count = int(np.clip(MOST_WORK // max(len(used), 1), LEAST_RESAMPLES, RESAMPLES))
    block = fitted_block_length(residuals) if used.is_series else None
    blocks = np.arange(len(used)) // (block or 1)
    blown = _blown(residuals, basis, blocks) if block else residuals / np.sqrt(1 - _leverages(basis))
    blown = blown * _student_over_normal(int(blocks[-1]) + 1 - basis.shape[1])
    refitting = Refitting(used, weights, fit)
    if block is None:
        errors = generator.choice(blown - blown.mean(), (count, len(blown)))
        return Resampled(*refitting(center + errors / weights), block)

    def signs(rows: int) -> Floats:
        return generator.choice(np.array([-1.0, 1.0]), (rows, int(blocks[-1]) + 1))

    return Resampled(*refitting.flipped(center, blown / weights, blocks, signs, count), block)


def intervals(values: tuple[float, float, float], resampled: Resampled) -> list[tuple[float, float]]:
    """Give the intervals of σ, κ and λ, none of which can be negative: with 95 % confidence all three hold.

    Parameters
    ----------
    values : tuple of float
        The estimates, which lie in them.
    resampled : Resampled
        What might have been found as well; where nothing is held at 0, both kinds of draws agree.
    """
    found = []
    for i, ends in enumerate(zip(_simultaneous(resampled.free_draws), _simultaneous(resampled.draws), strict=True)):
        (free_low, free_high), (low, high) = ends
        spread = free_high - float(np.median(resampled.free_draws[:, i]))
        least = spread if values[i] == 0 else 0.0
        found.append((max(min(free_low, low, values[i]), 0.0), max(free_high, high, values[i], least)))
    return found


def _simultaneous(draws: Floats) -> list[tuple[float, float]]:
    """Give an interval for each column, of equal tails, so that 95 % of the rows lie in all of them."""
    count = len(draws)
    ranks = np.argsort(np.argsort(draws, axis=0, kind="stable"), axis=0)
    tails = np.minimum(ranks, count - 1 - ranks)
    tails[:, (draws == draws[0]).all(axis=0)] = count  # what never changes leaves no interval
    # Half of what is clamped to 0 is no tail.
    tails[draws == 0] = count
    most = int(np.quantile(tails.min(axis=1), 1 - LEVEL, method="lower"))
    ordered = np.sort(draws, axis=0)
    most = min(most, (count - 1) // 2)
    return [(float(low), float(high)) for low, high in zip(ordered[most], ordered[count - 1 - most], strict=True)]


def _leverages(basis: Floats) -> Floats:
    leverages: Floats = np.minimum((basis * basis).sum(axis=1), 0.99)
    return leverages


def _blown(residuals: Floats, basis: Floats, blocks: Integers) -> Floats:
    """Give residuals as they would be if their own block had taken no part in the fit."""
    blown = residuals.copy()
    edges = np.flatnonzero(np.diff(blocks, prepend=-1, append=-1))
    for begin, end in itertools.pairwise(edges.tolist()):
        own = basis[begin:end]
        # By the Woodbury identity, three by three: (I - Q Qᵀ)⁻¹ = I + Q (I - Qᵀ Q)⁻¹ Qᵀ.
        inner = np.eye(own.shape[1]) * (1 + 1e-6) - own.T @ own
        blown[begin:end] += own @ np.linalg.solve(inner, own.T @ residuals[begin:end])
    return blown


def _student_over_normal(freedom: int) -> float:
    """Give the 97.5 % quantile of Student's t over that of the normal distribution."""
    return student(0.5 + LEVEL / 2, freedom) / 1.959964


def student(p: float, freedom: float) -> float:
    """Give the quantile of Student's t."""
    from scipy.special import stdtrit

    return float(stdtrit(max(freedom, 1), p))


def block_length(values: Floats) -> int:
    """Give how many slices that follow each other stay together, whatever is done with them."""
    k = len(values)
    return int(min(max(2 * _related_lags(values, CLEARLY_RELATED), np.ceil(np.cbrt(k))), max(k // 10, 1)))


def fitted_block_length(residuals: Floats) -> int:
    """Give how many slices stay together where a law was fitted to them: no more than are related."""
    k = len(residuals)
    lags = _related_lags(residuals, RELATED)
    return int(min(max(2 * lags, np.ceil(np.cbrt(k))) if lags else SHORTEST_BLOCK, max(k // 10, 1)))


def _related_lags(values: Floats, errors: float) -> int:
    """Give up to which lag autocorrelations are above so many standard errors, at most a tenth of the values."""
    k = len(values)
    centered = values - values.mean()
    total = float(centered @ centered)
    lag = 1
    while total > 0 and lag < k // 10 and float(centered[lag:] @ centered[:-lag]) / total > errors / np.sqrt(k):
        lag += 1
    return lag - 1


def percentiles(values: Floats, level: float = LEVEL) -> tuple[float, float]:
    """Give the interval that holds the middle share of values, by nearest rank; infinite ones may be among them."""
    ordered = np.sort(values)
    below = (1 - level) / 2
    ranks = np.clip(np.ceil(np.array([below, 1 - below]) * len(ordered) - 1e-9).astype(int) - 1, 0, len(ordered) - 1)
    return float(ordered[ranks[0]]), float(ordered[ranks[1]])
