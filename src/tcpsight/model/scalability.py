"""The universal scalability law through measured points, constrained and robust; `scalability_curve` has the law.

Theory of operation
-------------------
A point is a slice of time, or a line of a table: a concurrency and the throughput there. What the law predicts of a
slice is its mean over the numbers of residents that the slice had, weighted by how long each lasted (`occupancy`), not
its value at their mean: the law is curved, so those differ (Jensen's inequality), and as the levels are known exactly
no error of N biases σ. A line of a table has one level.

*Weights.* A count of completions scatters by about its root, so a slice's residual is divided by the root of what the
law predicts of it, frozen at the fit before (iteratively reweighted least squares: quasi-likelihood, Wedderburn,
Biometrika 61, 1974). Weights by what was measured would favour slices that happened to be slow. Points without a count
weigh alike.

*Constraint.* σ ≥ 0, κ ≥ 0, λ > 0, by SciPy's bounded least squares. The same points are fitted without the constraint,
too; where that gives a coefficient below 0 by more than its error explains, whoever looks is told.

*Outliers.* The first fit weighs large residuals less (the loss soft_l1, its scale from the median absolute residual).
Points more than five such scales away from it (eight without a count) are left out, and the others fitted by plain
least squares; without outliers that is the ordinary fit. More than a fifth far away are no outliers but another law:
then all stay.

What it cannot see: whether concurrency changes throughput, or something else changes both. Response time that is spent
outside of the service (a capture at the client) makes N larger, and looks like less contention.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.errors import UsageError
from tcpsight.model.scalability_curve import gradient_at, throughput_at

if TYPE_CHECKING:
    from collections.abc import Callable

Floats = np.ndarray[Any, np.dtype[np.float64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]

OUTLIER, OUTLIER_UNWEIGHTED = 5.0, 8.0
"""Scales from the robust fit beyond which a point is left out: of normal errors one in two million is. Points without a
count may scatter more the more throughput they have, so of them only what is farther."""

MOST_OUTLIERS = 0.2
"""A larger share than this is no accident."""

NEEDS_SCIPY = "the scalability model needs SciPy: pip install scipy"

ROUNDS = 3
"""How often weights follow the fit."""

PRECISE = 1e-12
"""Relative change at which a fit has arrived."""

LEAST_HIGHEST = 4.0
"""Concurrency must have come so high: below that σ and κ bend the curve alike, and only σ is fitted."""


@dataclass(frozen=True, slots=True)
class Points:
    """Concurrency and throughput, as they were measured.

    Attributes
    ----------
    concurrency, throughput_per_s : ndarray of float64, shape (k,)
        The points.
    lengths_s : ndarray of float64, shape (k,), or None
        How long each was observed; None where completions were not counted.
    levels : ndarray of float64, shape (l,), or None
        The numbers of residents that occurred; None where only the mean is known.
    shares : sparse array of float64, shape (k, l), or None
        The share of each point's time at each level; what is missing to 1 was idle.
    is_series : bool
        Whether the points follow each other in time.
    """

    concurrency: Floats
    throughput_per_s: Floats
    lengths_s: Floats | None = None
    levels: Floats | None = None
    shares: Any = None
    is_series: bool = False

    def __len__(self) -> int:
        return len(self.concurrency)

    def where(self, chosen: Mask) -> Points:
        """Give some of them."""
        return Points(
            self.concurrency[chosen],
            self.throughput_per_s[chosen],
            None if self.lengths_s is None else self.lengths_s[chosen],
            self.levels,
            None if self.shares is None else self.shares[chosen],
            self.is_series,
        )

    @property
    def reach(self) -> tuple[float, float]:
        """The lowest and highest concurrency; of slices without the levels that held less than 1 % of the time."""
        if self.levels is None or self.shares is None:
            return float(self.concurrency.min()), float(self.concurrency.max())
        time = np.asarray(self.shares.sum(axis=0)).ravel()
        parts = np.cumsum(time) / time.sum()
        low, high = np.searchsorted(parts, [0.01, 0.99])
        return float(self.levels[low]), float(self.levels[min(high, len(parts) - 1)])

    def averaged(self, function: Callable[[Floats], Floats]) -> Floats:
        """Give the mean of a function of the number of residents over each point's time."""
        if self.shares is None:
            return function(self.concurrency)
        means: Floats = self.shares @ function(self.levels)  # type: ignore[arg-type]
        return means

    def weights(self, predicted_per_s: Floats) -> Floats:
        """Give the inverse of how far each point scatters about a throughput, up to a common factor."""
        if self.lengths_s is None:
            return np.ones(len(self))
        weights: Floats = np.sqrt(self.lengths_s / np.maximum(predicted_per_s, 1 / self.lengths_s))
        return weights


@dataclass(frozen=True, slots=True)
class LawFit:
    """The law through points.

    Attributes
    ----------
    sigma, kappa, throughput_of_one : float
        The coefficients, within the constraint; λ in 1/s.
    free : tuple of float
        σ, κ and λ without the constraint.
    free_errors : tuple of float
        Their standard errors; NaN where there are only as many points as coefficients.
    told : ndarray of bool, shape (3,)
        Which of them were fitted; the others are 0.
    used : ndarray of bool, shape (k,)
        Which points are no outliers.
    residuals : ndarray of float64, shape (k,)
        Of all points, measured less predicted, weighted so that all scatter alike.
    weights : ndarray of float64, shape (k,)
        The weights.
    scale : float
        What residuals are usually like: 1.4826 times their median size, degrees of freedom accounted for.
    """

    sigma: float
    kappa: float
    throughput_of_one: float
    free: tuple[float, float, float]
    free_errors: tuple[float, float, float]
    told: Mask
    used: Mask
    residuals: Floats
    weights: Floats
    scale: float

    @property
    def values(self) -> tuple[float, float, float]:
        """σ, κ and λ."""
        return self.sigma, self.kappa, self.throughput_of_one


def fit(points: Points) -> LawFit:
    """Fit the law.

    Parameters
    ----------
    points : Points
        At least four, of which one has throughput.

    Raises
    ------
    UsageError
        SciPy is not installed.
    """
    told = told_apart(points)
    start = np.where(told, _start(points), 0.0)
    values, weights = start, points.weights(predicted_at(points, start))
    for _ in range(ROUNDS):
        scale = robust_scale(_residuals(points, values) * weights)
        values = solve(points, weights, values, told=told, robust=scale)
        weights = points.weights(predicted_at(points, values))
    residuals = _residuals(points, values) * weights
    most = OUTLIER if points.lengths_s is not None else OUTLIER_UNWEIGHTED
    far = np.abs(residuals) > most * robust_scale(residuals)
    used = ~far if 0 < far.mean() <= MOST_OUTLIERS and (~far).sum() >= 4 else np.ones(len(points), np.bool_)
    kept = points.where(used)
    for _ in range(ROUNDS if points.lengths_s is not None else 1):
        found = [solve(kept, weights[used], begin, told=told) for begin in (values, start)]
        values = min(found, key=lambda each: float(np.sum((_residuals(kept, each) * weights[used]) ** 2)))
        weights = points.weights(predicted_at(points, values))
    free = solve(kept, weights[used], values, told=told, is_bounded=False)
    errors = _errors(kept, weights[used], free, told)
    residuals = _residuals(points, values) * weights
    scale = robust_scale(residuals[used])
    return LawFit(*_three(values), _three(free), _three(errors), told, used, residuals, weights, scale)


def told_apart(points: Points) -> Mask:
    """Tell which of σ, κ and λ the levels of concurrency can tell apart at all; the others stay 0."""
    levels = len(points.levels) if points.levels is not None else len(points)
    return np.array([levels > 1, levels > 2 and points.reach[1] >= LEAST_HIGHEST, True])


def solve(
    points: Points,
    weights: Floats,
    begin: Floats,
    *,
    told: Mask,
    robust: float | None = None,
    is_bounded: bool = True,
) -> Floats:
    """Minimize the sum of squared weighted residuals, or of a loss of them, from a start; give σ, κ and λ.

    Parameters
    ----------
    points : Points
        The points.
    weights : ndarray of float64, shape (k,)
        Their weights.
    begin : ndarray of float64, shape (3,)
        Where to start.
    told : ndarray of bool, shape (3,)
        Which coefficients are fitted.
    robust : float, optional
        From which residual on the loss soft_l1 counts less; None for squares.
    is_bounded : bool
        Whether σ and κ must not be negative.
    """
    optimize = scipy_optimize()
    unit = float(max(np.abs(points.throughput_per_s * weights).max(), 1e-300))
    size = np.array([1, 1, float(begin[2])])  # λ as a multiple of where it starts: all coefficients are of like size

    def full(values: Floats) -> Floats:
        placed = np.zeros(3)
        placed[told] = values
        placed *= size
        return placed

    def residuals(values: Floats) -> Floats:
        errors = _residuals(points, full(values)) * weights / unit
        finite: Floats = np.nan_to_num(errors, nan=1e6, posinf=1e6, neginf=-1e6)
        return finite

    def jacobian(values: Floats) -> Floats:
        rates = (_jacobian(points, weights, full(values)) * size / unit)[:, told]
        finite: Floats = np.nan_to_num(rates, nan=0, posinf=0, neginf=0)
        return finite

    lower = np.array([0.0, 0.0, 1e-9] if is_bounded else [-1.0, -1.0, 1e-9])[told]
    loss: dict[str, Any] = {"loss": "soft_l1", "f_scale": max(robust / unit, 1e-12)} if robust is not None else {}
    with np.errstate(all="ignore"):
        done = optimize.least_squares(
            residuals, np.maximum((begin / size)[told], lower), jac=jacobian, bounds=(lower, np.inf), x_scale="jac",
            ftol=PRECISE, xtol=PRECISE, gtol=PRECISE, max_nfev=200, **loss,
        )  # fmt: skip
    found = full(done.x)
    # An inner point method stops short of its bound.
    if is_bounded:
        effect = np.array([1.0, float(points.concurrency.max())])
        found[:2] = np.where(found[:2] * effect < 1e-9, 0.0, found[:2])
    return found


def robust_scale(residuals: Floats, coefficients: int = 3) -> float:
    """Give the standard deviation of normal errors whose median size these have; never 0."""
    freedom = np.sqrt(len(residuals) / max(len(residuals) - coefficients, 1))
    return max(float(1.4826 * np.median(np.abs(residuals)) * freedom), 1e-12 * float(np.abs(residuals).max()), 1e-300)


def predicted_at(points: Points, values: Floats | tuple[float, float, float]) -> Floats:
    """Give the throughput that the law predicts of each point, in 1/s."""
    sigma, kappa, one = map(float, values)
    return points.averaged(partial(throughput_at, sigma=sigma, kappa=kappa, throughput_of_one=one))


def _residuals(points: Points, values: Floats) -> Floats:
    return points.throughput_per_s - predicted_at(points, values)


def _jacobian(points: Points, weights: Floats, values: Floats) -> Floats:
    sigma, kappa, one = map(float, values)
    rates = points.averaged(partial(gradient_at, sigma=sigma, kappa=kappa, throughput_of_one=one))
    return -weights[:, np.newaxis] * rates


def directions(points: Points, weights: Floats, fitted: LawFit) -> Floats:
    """Give an orthonormal basis of how coefficients move predictions, shape (k, 1 to 3): with itself the hat matrix."""
    jacobian = _jacobian(points, weights, np.array(fitted.free))[:, fitted.told]
    lengths = np.sqrt((jacobian**2).sum(axis=0))
    basis, _ = np.linalg.qr(jacobian / np.where(lengths > 0, lengths, 1))
    return basis


def _start(points: Points) -> Floats:
    """Start where efficiency is highest, with a little contention."""
    busy = points.concurrency > 0
    n, x = points.concurrency[busy], points.throughput_per_s[busy]
    few = n <= max(float(np.quantile(n, 0.25)), float(n.min()))
    one = float(np.median(x[few] / n[few])) or float(np.max(x / n))
    return np.array([0.05, 0.0005, one])


def _errors(points: Points, weights: Floats, values: Floats, told: Mask) -> Floats:
    """Give the asymptotic standard errors of coefficients."""
    errors = np.full(3, np.nan)
    freedom = len(points) - int(told.sum())
    jacobian = _jacobian(points, weights, values)[:, told]
    lengths = np.sqrt((jacobian**2).sum(axis=0))
    if freedom < 1 or not np.isfinite(lengths).all() or not (lengths > 0).all():
        return errors
    residuals = _residuals(points, values) * weights
    inverse = np.linalg.pinv((jacobian / lengths).T @ (jacobian / lengths))
    errors[told] = np.sqrt(np.diag(inverse) * float(residuals @ residuals) / freedom) / lengths
    return errors


def _three(values: Floats) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def scipy_optimize() -> Any:
    """Import SciPy's optimizers, late; raise `UsageError` where it is not installed."""
    try:
        from scipy import optimize
    except ImportError:
        raise UsageError(NEEDS_SCIPY) from None
    return optimize
