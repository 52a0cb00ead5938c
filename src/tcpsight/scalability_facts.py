"""The facts of a scalability model as plain values: what ``usl --format json`` prints, and what its page is drawn from.

Unknown is None, and so is a coefficient that the points do not determine; then `refusal` says why. Durations end in
``_ns``; throughput is per second, of a table in the unit it has there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.model.forecasting import band, loads
from tcpsight.model.identifying import CLEAR_ERRORS, Answer, Estimate, Reason, chance, judge, negative, refusal
from tcpsight.model.queueing import better, criteria, fit_queue, misfit
from tcpsight.model.resampling import LEVEL, SEED, Resampled, resample
from tcpsight.model.residual_checks import order_of_load, r_squared, runs_p_value, spread_trend, warm_up
from tcpsight.model.scalability import LawFit, Points, fit, predicted_at

Facts = dict[str, Any]

CURVE_POINTS = 120
LEAST_SIGMA_OF_A_POLE = 0.9
"""From σ = 1 on the law has a pole between no request and one, where it says nothing; κ brings it a little lower."""

DIGITS = 12


@dataclass(frozen=True, slots=True)
class Left:
    """What was left out before, and what is known beside the points.

    Attributes
    ----------
    edges, idle : int
        Slices that are not whole, or too near to the ends of the capture; points without concurrency.
    without_completion : int
        Points with concurrency and without throughput; they are not left out.
    start_ns : ndarray of int64, shape (k,), or None
        When the slice of each point began.
    littles_law : dict or None
        How throughput times response time compares with concurrency.
    """

    edges: int = 0
    idle: int = 0
    without_completion: int = 0
    start_ns: Any = None
    littles_law: Facts | None = None


def facts_of(points: Points, left: Left, *, seed: int | None = None, at: Sequence[float] = ()) -> Facts:
    """Fit the law to points and tell all that follows.

    Parameters
    ----------
    points : Points
        In order of time, if they have one.
    left : Left
        What was left out of them.
    seed : int, optional
        Of the resampling.
    at : sequence of float
        Concurrencies that the forecast shall have, beside those that it chooses.
    """
    why = refusal(points)
    if why is not None:
        return refused(points, left, why)
    fitted = fit(points)
    cold = 0
    if points.is_series:
        cold = warm_up(fitted.residuals / fitted.scale * fitted.used, 1.0)
        if cold:
            is_warm = np.arange(len(points)) >= cold
            why = refusal(points.where(is_warm))
            points, cold = (points.where(is_warm), cold) if why is None else (points, 0)
            fitted = fit(points)
            if left.start_ns is not None and cold:
                left = Left(left.edges, left.idle, left.without_completion, left.start_ns[cold:], left.littles_law)
    why = chance(points, fitted)
    if why is not None:
        return refused(points, left, why, cold)
    resampled = resample(points, fitted, seed=SEED if seed is None else seed)
    answer = judge(points, fitted, resampled)
    told = _answered(points, left, cold, fitted, resampled, answer)
    return told | {"forecast": _forecast(points, fitted, resampled, answer, at)}


def _answered(points: Points, left: Left, cold: int, fitted: LawFit, resampled: Resampled, answer: Answer) -> Facts:
    used = points.where(fitted.used)
    below = negative(used, fitted)
    return {
        **_head(answer, answer.reasons),
        "is_superlinear": bool(negative(used, fitted, CLEAR_ERRORS)),
        "best_fit": dict(zip(("sigma", "kappa", "lambda"), map(_round, fitted.values), strict=True)),
        "unconstrained": {
            name: {"value": _round(value), "error": _round(error)}
            for name, value, error in zip(("sigma", "kappa", "lambda"), fitted.free, fitted.free_errors, strict=True)
        },
        "negative": below,
        "points": _counts(points, left, cold, fitted),
        "load": _load(points),
        "headroom": _headroom(points, answer),
        "forecast": [],
        # A law that is refused is not drawn either.
        "curve": _curve(points, fitted, resampled, answer) if answer.sigma and not answer.is_missed else None,
        "checks": _checks(points, fitted) | {"littles_law": left.littles_law},
        # Nothing to compare with a law that is not told.
        "queue": _queue(used, fitted, is_missed=answer.is_missed) if _is_known(answer) else None,
        "confidence": {
            "level": LEVEL,
            "method": "wild bootstrap over blocks of intervals" if resampled.block else "bootstrap of residuals",
            "resamples": len(resampled.draws),
            "block_intervals": resampled.block,
        },
        "data": _data(points, left, fitted.used),
    }


def refused(points: Points, left: Left, why: Reason, cold: int = 0) -> Facts:
    """Tell that the points determine no law, and why."""
    none = dict.fromkeys(("best_fit", "unconstrained", "headroom", "curve", "checks", "queue", "confidence"))
    return {
        **_head(Answer(), [why]),
        "is_superlinear": False,
        "negative": [],
        **none,
        "points": _counts(points, left, cold, None),
        "load": _load(points),
        "forecast": [],
        "data": _data(points, left, np.ones(len(points), np.bool_)),
    }


def _head(answer: Answer, reasons: Sequence[Reason]) -> Facts:
    return {
        "sigma": _interval(answer.sigma),
        "kappa": _interval(answer.kappa),
        "lambda": _interval(answer.throughput_of_one),
        "peak_concurrency": _value(answer.peak_concurrency),
        "peak_throughput_per_s": _value(answer.peak_throughput_per_s),
        "refusal": "; ".join(each.text for each in reasons) or None,
        "refusal_codes": [each.code for each in reasons],
        "peak_concurrency_interval": _interval(answer.peak_concurrency),
        "peak_throughput_interval": _interval(answer.peak_throughput_per_s),
        "limit_per_s": _interval(answer.limit_per_s),
    }


def _counts(points: Points, left: Left, cold: int, fitted: LawFit | None) -> Facts:
    outliers = int((~fitted.used).sum()) if fitted is not None else 0
    return {
        "kind": "intervals" if points.is_series else "points",
        "used": len(points) - outliers,
        "outliers": outliers,
        "warm_up": cold,
        "edges": left.edges,
        "idle": left.idle,
        "without_completion": left.without_completion,
        "concurrency_min": _round(float(points.concurrency.min())) if len(points) else None,
        "concurrency_max": _round(float(points.concurrency.max())) if len(points) else None,
        "level_low": _round(points.reach[0]) if len(points) else None,
        "level_high": _round(points.reach[1]) if len(points) else None,
    }


def _load(points: Points) -> Facts | None:
    if not len(points):
        return None
    quantiles = {}
    for name, values in (("concurrency", points.concurrency), ("throughput_per_s", points.throughput_per_s)):
        quantiles[f"{name}_p50"] = _round(float(np.quantile(values, 0.5)))
        quantiles[f"{name}_p95"] = _round(float(np.quantile(values, 0.95)))
        quantiles[f"{name}_max"] = _round(float(values.max()))
    return quantiles


def _headroom(points: Points, answer: Answer) -> Facts | None:
    """Compare the 95th percentile of today's throughput and concurrency with what is most."""
    today, busy = float(np.quantile(points.throughput_per_s, 0.95)), float(np.quantile(points.concurrency, 0.95))
    peak, at, limit = answer.peak_throughput_per_s, answer.peak_concurrency, answer.limit_per_s
    if peak is not None and at is not None:
        against, most = "peak", peak
    elif limit is not None and answer.kappa is not None:
        against, most = "limit", limit
    else:
        return None
    return {
        "against": against,
        "throughput_fraction": _round(most.value / today - 1) if today > 0 else None,
        "throughput_low_fraction": _round(most.low / today - 1) if today > 0 else None,
        "throughput_high_fraction": _round(most.high / today - 1) if today > 0 else None,
        "concurrency_fraction": _round(at.value / busy - 1) if at is not None else None,
        "is_beyond_peak": at is not None and busy > at.value,
    }


def _forecast(points: Points, fitted: LawFit, resampled: Resampled, answer: Answer, at: Sequence[float]) -> list[Facts]:
    if not _is_known(answer) or answer.is_missed:
        return []
    peak = answer.peak_concurrency.value if answer.peak_concurrency is not None else None
    highest = points.reach[1]
    found = band(fitted, resampled.draws, np.union1d(loads(highest, peak), at))
    return [
        {
            "concurrency": _round(n),
            "throughput_per_s": _round(x),
            "low_per_s": _round(low),
            "high_per_s": _round(high),
            "response_time_ns": _round(r * 1e9),
            "efficiency_fraction": _round(e),
            "is_beyond_data": bool(n > highest),
        }
        for n, x, low, high, r, e in zip(
            found.concurrency.tolist(), found.throughput_per_s.tolist(), found.low_per_s.tolist(),
            found.high_per_s.tolist(), found.response_time_s.tolist(), found.efficiency_fraction.tolist(), strict=True,
        )
    ]  # fmt: skip


def _curve(points: Points, fitted: LawFit, resampled: Resampled, answer: Answer) -> Facts | None:
    """Give the line through the points, and its band, for pictures."""
    if not _is_known(answer):
        return None
    end = 1.2 * float(points.concurrency.max())
    if answer.peak_concurrency is not None and answer.peak_concurrency.value < 3 * end:
        end = max(end, 1.3 * answer.peak_concurrency.value)
    first = end / CURVE_POINTS
    if max(float(sigma) for sigma in (fitted.values[0], *resampled.draws[:, 0])) >= LEAST_SIGMA_OF_A_POLE:
        first = max(first, min(1.0, end / 2))
    found = band(fitted, resampled.draws, np.linspace(first, end, CURVE_POINTS))
    columns = ("concurrency", "throughput_per_s", "low_per_s", "high_per_s")
    return {name: [_round(each) for each in getattr(found, name).tolist()] for name in columns}


def _is_known(answer: Answer) -> bool:
    return None not in (answer.sigma, answer.kappa, answer.throughput_of_one)


def _checks(points: Points, fitted: LawFit) -> Facts:
    used = points.where(fitted.used)
    predicted, residuals = predicted_at(used, fitted.values), fitted.residuals[fitted.used]
    order = order_of_load(used.concurrency, is_series=used.is_series)
    correlation, p_value = spread_trend(residuals, predicted)
    return {
        "r_squared": _round(r_squared(used.throughput_per_s, predicted)),
        "runs_by_concurrency_p_value": _round(runs_p_value(residuals[order])),
        "runs_by_time_p_value": _round(runs_p_value(residuals)) if used.is_series else None,
        "spread_correlation": _round(correlation),
        "spread_p_value": _round(p_value),
    }


def _queue(used: Points, fitted: LawFit, *, is_missed: bool) -> Facts | None:
    queue = fit_queue(used)
    if queue is None:
        return None
    of_law, of_queue = criteria(used, misfit(used, predicted_at(used, fitted.values)), queue.misfit)
    if is_missed and used.is_series and of_law < of_queue:
        # At each single load the law fits better whatever the service does (`model.levelling`): that prefers nothing.
        of_law = of_queue = math.nan
    return {
        "servers": queue.servers if queue.is_identified else None,
        "service_time_ns": _round(queue.service_time_s * 1e9) if queue.is_identified else None,
        "capacity_per_s": _round(queue.servers / queue.service_time_s) if queue.is_identified else None,
        "is_identified": queue.is_identified,
        "aicc": _round(of_queue),
        "aicc_usl": _round(of_law),
        "better": better(of_law, of_queue) if queue.is_identified else None,
    }


def _data(points: Points, left: Left, used: Any) -> Facts:
    return {
        "concurrency": [_round(each) for each in points.concurrency.tolist()],
        "throughput_per_s": [_round(each) for each in points.throughput_per_s.tolist()],
        "is_used": used.tolist(),
        "start_ns": left.start_ns.tolist() if left.start_ns is not None else None,
    }


def _interval(estimate: Estimate | None) -> Facts | None:
    if estimate is None:
        return None
    return {"value": _round(estimate.value), "low": _round(estimate.low), "high": _round(estimate.high)}


def _value(estimate: Estimate | None) -> float | None:
    return None if estimate is None else _round(estimate.value)


def _round(value: float) -> float | None:
    """Give a number that JSON can hold, without digits that no machine agrees on."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
