"""The universal scalability law, and the two-step fit of the older tools through measured points.

Theory of operation
-------------------
The law says that throughput at concurrency N is

    X(N) = λ N / (1 + σ (N − 1) + κ N (N − 1))

with contention σ, coherency κ and X(1) = λ. Dividing λ N by it leaves a parabola without a constant: with C = X / λ,

    N / C − 1 = a (N − 1)² + b (N − 1),   κ = a,   σ = b − a,

which is fitted in one step and has no wrong minimum to end in, but weighs the errors of slow points more. So its result
is only where the second step starts: least squares of X(N) itself, by the method of Levenberg and Marquardt.

What it cannot see: whether the points have anything to do with the law. It fits σ and κ of any sign, and gives errors
that assume independent points of equal variance. The coefficient of determination is not centred, as gnuplot's users
computed it, so it flatters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.errors import TcpsightError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Floats = np.ndarray[Any, np.dtype[np.float64]]

MOST_STEPS = 500
"""Iterations of the second step; a dozen are usual."""

_ENOUGH = 1e-14
"""Relative improvement of the sum of squares below which the fit stands still."""


class FitError(TcpsightError):
    """The points do not determine the coefficients."""


@dataclass(frozen=True, slots=True)
class Coefficient:
    """A fitted coefficient.

    Attributes
    ----------
    value : float
        The estimate.
    error : float
        Its asymptotic standard error; NaN where there are only as many points as coefficients.
    """

    value: float
    error: float


def throughput_at(
    n: ArrayLike, sigma: float | Floats, kappa: float | Floats, throughput_of_one: float | Floats
) -> Floats:
    """Give the throughput that the law predicts, in the unit of λ.

    Parameters
    ----------
    n : array of float
        Concurrency.
    sigma, kappa : float or array of float
        Contention and coherency; of several laws at once, columns of them.
    throughput_of_one : float or array of float
        λ, the throughput at N = 1.

    References
    ----------
    N. J. Gunther, *Guerrilla Capacity Planning*, 2007, chapter 5.
    """
    at = np.asarray(n, np.float64)
    with np.errstate(all="ignore"):  # where σ or κ is negative, the law has poles
        predicted: Floats = throughput_of_one * at / (1 + sigma * (at - 1) + kappa * at * (at - 1))
    return predicted


def gradient_at(n: ArrayLike, sigma: float, kappa: float, throughput_of_one: float) -> Floats:
    """Give how the predicted throughput changes with σ, κ and λ, shape (k, 3)."""
    at = np.asarray(n, np.float64)
    with np.errstate(all="ignore"):
        denominator = 1 + sigma * (at - 1) + kappa * at * (at - 1)
        predicted = throughput_of_one * at / denominator
        columns = [-predicted * (at - 1) / denominator, -predicted * at * (at - 1) / denominator, at / denominator]
    return np.column_stack(columns)


def response_time_at(n: ArrayLike, sigma: float, kappa: float, throughput_of_one: float) -> Floats:
    """Give the response time that follows by Little's law, R = N / X(N), in the inverse unit of λ; 1 / λ at N = 1."""
    at = np.asarray(n, np.float64)
    with np.errstate(all="ignore"):
        predicted: Floats = (1 + sigma * (at - 1) + kappa * at * (at - 1)) / throughput_of_one
    return predicted


def peak_concurrency(sigma: float, kappa: float) -> float:
    """Give the concurrency of the highest throughput, √((1 − σ) / κ); NaN where throughput never falls."""
    return float(np.sqrt((1 - sigma) / kappa)) if kappa > 0 and sigma < 1 else float("nan")


def deviation(n: ArrayLike, throughput: ArrayLike, throughput_of_one: float) -> tuple[Floats, Floats]:
    """Give how far points are from linear scaling: x = N − 1 and y = N / C − 1; points without throughput are left out.

    Parameters
    ----------
    n, throughput : array of float, shape (k,)
        The points.
    throughput_of_one : float
        λ.

    Returns
    -------
    tuple of array of float, shape (m,), m ≤ k
    """
    at, done = np.asarray(n, np.float64), np.asarray(throughput, np.float64)
    counts = done != 0
    return at[counts] - 1, at[counts] / (done[counts] / throughput_of_one) - 1


def fit_deviation(n: ArrayLike, throughput: ArrayLike, throughput_of_one: float) -> tuple[Coefficient, Coefficient]:
    """Fit the parabola of the first step; give a and b.

    Raises
    ------
    FitError
        There are fewer than two points, or they do not determine both.
    """
    x, y = deviation(n, throughput, throughput_of_one)
    jacobian = np.column_stack([x * x, x])
    _check(jacobian, y)
    solution, _, rank, _ = np.linalg.lstsq(jacobian / _scales(jacobian), y, rcond=None)
    if rank < 2:
        raise FitError("the quadratic fit needs points at two different N beside N = 1")
    values = solution / _scales(jacobian)
    a, b = _with_errors(values, jacobian, y - jacobian @ values)
    return a, b


def fit_law(
    n: ArrayLike, throughput: ArrayLike, start: tuple[float, float, float], *, fits_throughput_of_one: bool
) -> tuple[Coefficient, Coefficient, Coefficient]:
    """Fit the law itself; give σ, κ and λ.

    Parameters
    ----------
    n, throughput : array of float, shape (k,)
        The points.
    start : tuple of float
        σ, κ and λ to start from.
    fits_throughput_of_one : bool
        Whether λ is fitted, too; else it stays, with the error 0.

    Raises
    ------
    FitError
        There are fewer points than coefficients, or the fit does not converge.
    """
    at, done = np.asarray(n, np.float64), np.asarray(throughput, np.float64)
    free = 3 if fits_throughput_of_one else 2

    def predict(values: Floats) -> tuple[Floats, Floats]:
        sigma, kappa, one = map(float, (*values, start[2])[:3])
        return throughput_at(at, sigma, kappa, one), gradient_at(at, sigma, kappa, one)[:, :free]

    values, jacobian, residuals = _least_squares(predict, done, np.array(start[:free]))
    found = _with_errors(values, jacobian, residuals)
    one = found[2] if fits_throughput_of_one else Coefficient(start[2], 0.0)
    return found[0], found[1], one


def determination(measured: ArrayLike, predicted: ArrayLike) -> float:
    """Give R² = 1 − Σ(y − f)² / Σy², not centred; NaN where all measured values are 0."""
    y, f = np.asarray(measured, np.float64), np.asarray(predicted, np.float64)
    squares = float(np.sum(y * y))
    return 1 - float(np.sum((f - y) ** 2)) / squares if squares else float("nan")


def _least_squares(
    predict: Callable[[Floats], tuple[Floats, Floats]], measured: Floats, values: Floats
) -> tuple[Floats, Floats, Floats]:
    """Minimize Σ(y − f)² from a start; give the values, and Jacobian and residuals there."""
    with np.errstate(all="ignore"):
        predicted, jacobian = predict(values)
        residuals = measured - predicted
        _check(jacobian, residuals)
        best, damping = float(residuals @ residuals), 1e-3
        for _ in range(MOST_STEPS):
            scales = _scales(jacobian)
            # Marquardt: damp each coefficient by its own scale. As rows of a least-squares problem, for precision.
            stacked = np.vstack([jacobian / scales, np.sqrt(damping) * np.eye(len(values))])
            wanted = np.concatenate([residuals, np.zeros(len(values))])
            tried = values + np.linalg.lstsq(stacked, wanted, rcond=None)[0] / scales
            predicted, new_jacobian = predict(tried)
            new_residuals = measured - predicted
            squares = float(new_residuals @ new_residuals)
            if not (squares <= best and np.isfinite(new_jacobian).all()):
                damping *= 10
                if damping > 1e20:
                    return values, jacobian, residuals
                continue
            is_enough = best - squares <= _ENOUGH * best
            values, jacobian, residuals, best = tried, new_jacobian, new_residuals, squares
            damping = max(damping / 10, 1e-20)
            if is_enough:
                return values, jacobian, residuals
    raise FitError(f"the fit has not converged after {MOST_STEPS} steps")


def _check(jacobian: Floats, measured: Floats) -> None:
    if len(measured) < jacobian.shape[1]:
        raise FitError(f"{len(measured)} points do not determine {jacobian.shape[1]} coefficients")
    if not (np.isfinite(jacobian).all() and np.isfinite(measured).all()):
        raise FitError("the points leave the range in which the law has a value")


def _scales(jacobian: Floats) -> Floats:
    lengths: Floats = np.sqrt((jacobian * jacobian).sum(axis=0))
    return np.where(lengths > 0, lengths, 1.0)


def _with_errors(values: Floats, jacobian: Floats, residuals: Floats) -> tuple[Coefficient, ...]:
    """Put beside each value its asymptotic standard error: √ of the diagonal of (JᵀJ)⁻¹ · SSE / degrees of freedom."""
    freedom = len(residuals) - len(values)
    if freedom <= 0:
        return tuple(Coefficient(float(value), float("nan")) for value in values)
    scales = _scales(jacobian)
    scaled = jacobian / scales
    try:
        inverse = np.linalg.inv(scaled.T @ scaled)
    except np.linalg.LinAlgError:
        raise FitError("the points do not determine the coefficients") from None
    errors = np.sqrt(np.diag(inverse) * float(residuals @ residuals) / freedom) / scales
    return tuple(Coefficient(float(value), float(error)) for value, error in zip(values, errors, strict=True))
