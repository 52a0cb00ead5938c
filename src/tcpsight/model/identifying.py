"""What points can tell of the law, and what they cannot: which coefficients have a value, and whether there is a peak.

A fit always gives three numbers. They are answers only where another answer would have shown: so a coefficient is null
where the load hardly changed, or where values that fit as well differ by so much that they predict something else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from tcpsight.model.levelling import around, only_levels_off
from tcpsight.model.resampling import Resampled, intervals, percentiles
from tcpsight.model.residual_checks import r_squared
from tcpsight.model.scalability import LEAST_HIGHEST, Floats, LawFit, Points, predicted_at
from tcpsight.model.scalability_curve import peak_concurrency, throughput_at

LEAST_POINTS = 4
"""Three coefficients and one point to contradict them."""

LEAST_SLICES = 10
"""Fewer blocks of time say nothing of how sure a fit is."""

LEAST_RATIO = 2.0
"""The highest concurrency must be so many times the lowest."""

WIDEST_ONE = 2.0
"""Width of the interval of λ, as a multiple of it."""

WIDEST_EFFECT = 2.0
"""Width of what a coefficient may do to the response time at the highest concurrency, as a multiple of that."""

FAR = 10.0
"""A coefficient that may be larger than this may be anything."""

WIDEST_PEAK = 5.0
"""Most by which the ends of the peak's interval, and those of the limit's, may differ."""

LEAST_EFFECT = 0.001
"""Less than this share of the response time at the highest concurrency is the rounding of numbers."""

LASTS = 0.5
"""Share of the variance of concurrency that must last from one slice to the next, for load to have been another."""

FOLLOWS = 0.9
"""R² from which on throughput follows concurrency so closely that it does not matter why that was another."""

CLEAR_ERRORS = 3.0
"""So many standard errors below 0 a coefficient without the constraint proves the law wrong."""

MOST_MISSED = 0.05
"""By such a share of throughput the law may miss what the points would have without its limits, and forecast."""

RISING = 1.1
"""Throughput that is more than this times what it was near a peak is not all that a service can do; what was less by as
much seems to fall."""

Code = Literal[
    "no_requests", "no_turns", "too_few", "no_throughput", "one_load", "chance", "wide", "not_the_law", "levels_off",
    "rises", "seems_to_fall", "no_peak",
]  # fmt: skip


class Reason(NamedTuple):
    """Why something is not told.

    Attributes
    ----------
    code : str
        For programs, and for what helps: ``no_requests``; ``no_turns``, nobody knows when a request ends; ``too_few``
        points; ``no_throughput``; ``one_load``, concurrency was too much alike, or too low; ``chance`` varied it;
        ``wide``, a coefficient, the limit or the peak may be nearly anything; ``not_the_law``; where the law
        has a peak that the points do not show: ``levels_off``, ``rises``, ``seems_to_fall``; ``no_peak``.
    text : str
        For people.
    """

    code: Code
    text: str


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number and the interval in which it lies with 95 % confidence."""

    value: float
    low: float
    high: float


@dataclass(slots=True)
class Answer:
    """What is known.

    Attributes
    ----------
    sigma, kappa, throughput_of_one, peak_concurrency, peak_throughput_per_s, limit_per_s : Estimate or None
        None where the points do not tell. The limit is Amdahl's, λ/σ.
    reasons : list of Reason
        Why something is None.
    is_missed : bool
        Whether the law, held to what is possible, misses points that would go beyond it.
    """

    sigma: Estimate | None = None
    kappa: Estimate | None = None
    throughput_of_one: Estimate | None = None
    peak_concurrency: Estimate | None = None
    peak_throughput_per_s: Estimate | None = None
    limit_per_s: Estimate | None = None
    reasons: list[Reason] = field(default_factory=list)
    is_missed: bool = False


DUST = 1e-6
"""Of the response time: nobody measures so exactly, and fits end where they change less."""


def refusal(points: Points) -> Reason | None:
    """Tell why no law can be fitted to points at all; None if one can."""
    least = LEAST_SLICES if points.is_series else LEAST_POINTS
    what = "interval" if points.is_series else "point"
    if len(points) < least:
        found = f"1 {what} is" if len(points) == 1 else f"{len(points)} {what}s are"
        return Reason("too_few", f"{found} too few: at least {least} are needed")
    if not (points.throughput_per_s > 0).any():
        return Reason("no_throughput", "there is no throughput at any concurrency")
    loads = np.unique(np.round(points.concurrency, 9))
    if len(loads) == 1:
        return Reason(
            "one_load", f"concurrency was always {loads[0]:.4g}: how throughput changes with it cannot be told"
        )
    low, high = points.reach
    if high / low < LEAST_RATIO:
        return Reason("one_load", _narrow(points, low, high))
    if points.levels is None and len(loads) < LEAST_POINTS:
        text = f"there are only {len(loads)} different concurrencies: three coefficients need {LEAST_POINTS}"
        return Reason("one_load", text)
    return None


def _narrow(points: Points, low: float, high: float) -> str:
    """Tell that load was too much alike, in the words of what was looked at: a mean, or requests that were there."""
    if points.levels is None:
        seen, most = f"concurrency was between {number(low)} and {number(high)} only", "its highest must be"
        return f"{seen}: {most} {LEAST_RATIO:g} times its lowest, at least, to tell how throughput changes with it"
    many = "1 request was" if high == 1 else f"{number(high)} requests were"
    seen = f"{many} there at once" if low == high else f"{number(low)} to {number(high)} requests were there at once"
    return (
        f"whenever there were any, {seen} (98 % of that time): the most must be {LEAST_RATIO:g} times the fewest, "
        "at least, to tell how throughput changes with them"
    )


def number(value: float) -> str:
    """Write a number with three significant digits, without a power of ten; very large and small ones with it."""
    if value != 0 and not 1e-4 <= abs(value) < 1e15:
        return f"{value:.3g}"
    if abs(value) >= 999.5 or value == int(value):
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.3g}"


def chance(points: Points, fit: LawFit) -> Reason | None:
    """Tell why a fit means nothing, where slices of one and the same load differ as chance makes them; None if it may.

    Notes
    -----
    At one load chance decides both how many requests complete in a slice and how many are there meanwhile; a line
    through such points tells how the two kinds of chance are related, and nothing of the service. Load that somebody
    changed stays changed for more than a slice, so that slices that follow each other are alike; chance is another in
    each. Where throughput follows concurrency nearly exactly nothing but load moved it, and why does not matter.
    """
    if not points.is_series:
        return None
    used = points.where(fit.used)
    share = lasting_share(used.concurrency)
    explained = r_squared(used.throughput_per_s, predicted_at(used, fit.values))
    if share >= LASTS or explained >= FOLLOWS:
        return None
    return Reason(
        "chance",
        "the load hardly varied: concurrency differs between intervals as chance makes it, and throughput does not "
        f"follow it (R² {explained:.2f}): coefficients would mean nothing",
    )


def lasting_share(values: Floats) -> float:
    """Give the autocorrelation at lag 1: the share of the variance of values that lasts from one to the next."""
    centered = values - values.mean()
    total = float(centered @ centered)
    return float(centered[1:] @ centered[:-1]) / total if total > 0 else 0.0


def judge(points: Points, fit: LawFit, resampled: Resampled) -> Answer:
    """Tell which coefficients the points determine, and what follows from them."""
    answer = Answer()
    draws = resampled.draws
    _, high = points.reach
    ends = intervals(fit.values, resampled)
    sigma, kappa, one = (Estimate(value, *pair) for value, pair in zip(fit.values, ends, strict=True))
    sigma, kappa = _without_dust(sigma, high - 1), _without_dust(kappa, high * (high - 1))
    if why := _impossible(points.where(fit.used), one):
        return Answer(reasons=[Reason("not_the_law", why)], is_missed=True)
    if one.high - one.low <= WIDEST_ONE * one.value:
        answer.throughput_of_one = one
    else:
        low = number(one.low) if one.low > one.high / 1000 else "next to nothing"
        answer.reasons.append(Reason("wide", f"λ may be anything from {low} to {number(one.high)}"))
    if high < LEAST_HIGHEST:
        seen = f"concurrency was hardly ever above {number(high)}: to tell σ and κ apart it"
        if points.levels is not None:
            seen = f"hardly ever were more than {number(high)} requests there at once: to tell σ and κ apart they"
        answer.reasons.append(Reason("one_load", f"{seen} must reach {LEAST_HIGHEST:g}"))
        return answer
    wide = _wide(sigma, kappa, high)
    if wide:
        answer.reasons.extend(Reason("wide", each) for each in wide)
        return answer
    answer.sigma, answer.kappa = sigma, kappa
    if missed(points, fit):
        answer.is_missed = True
        text = (
            "neither peak, limit, headroom nor forecast: the points do not follow the law, which misses some of them "
        )
        answer.reasons.append(Reason("not_the_law", f"{text}by more than {100 * MOST_MISSED:.0f} %"))
        return answer
    peak, _ = peak_of(*fit.values)
    used = points.where(fit.used)
    if only_levels_off(used, predicted_at(used, fit.values), peak):
        answer.is_missed = True
        answer.reasons.append(_levelled(used, peak))
        return answer
    if answer.throughput_of_one:
        _judge_limit(answer, draws)
        _judge_peak(answer, fit, draws)
    return answer


def _levelled(points: Points, peak: float) -> Reason:
    """Say that throughput does not fall where the law says that it does, and what it does instead."""
    text = f"neither peak, limit, headroom nor forecast: by the law throughput falls beyond {number(peak)}, "
    if points.is_series:
        text += "and that of the intervals there is not clearly below that of those near it"
    else:
        text += "that of the points does not, and a curve that only levels off explains them as well"
    means = around(points, peak)
    if means is None:
        return Reason("no_peak", text)
    near, far = means
    text += f"; in the mean it was {number(near)}/s near it and {number(far)}/s beyond: "
    if far > RISING * near:
        return Reason("rises", text + "it still rises, so go on to more clients")
    if near > RISING * far:
        return Reason("seems_to_fall", text + "it seems to fall, so stay longer at loads near that and beyond")
    text += "more requests at a time got hardly more done, so this may be all that the service can do"
    return Reason("levels_off", text)


def _impossible(points: Points, one: Estimate) -> str | None:
    """Tell why λ is nothing that the points show; None if it may be."""
    busy = points.where(points.concurrency > 0)
    seen = float((busy.throughput_per_s / busy.concurrency).max(initial=0.0))
    if one.value <= FAR * seen and one.low <= one.value <= one.high:
        return None
    return (
        f"the points do not follow the law: λ would be {number(one.value)}, and no point has more than {number(seen)} "
        "for each request there"
    )


def _without_dust(each: Estimate, effect: float) -> Estimate:
    """Give 0 for what arithmetic leaves of a coefficient that is 0: it slows nothing down at the highest load."""
    value, low, high = (0.0 if abs(end) * max(effect, 1.0) < DUST else end for end in (each.value, each.low, each.high))
    return Estimate(value, low, high)


def _wide(sigma: Estimate, kappa: Estimate, high: float) -> list[str]:
    """Name the coefficients whose intervals let the response time at the highest concurrency be nearly anything."""
    slowdown = 1 + sigma.value * (high - 1) + kappa.value * high * (high - 1)
    return [
        f"{name} may be anything from {each.low:.2g} {f'to {each.high:.2g}' if each.high < FAR else 'up'}"
        for name, each, effect in (("σ", sigma, high - 1), ("κ", kappa, high * (high - 1)))
        if (each.high - each.low) * effect > WIDEST_EFFECT * slowdown
    ]


def missed(points: Points, fit: LawFit) -> bool:
    """Tell whether what keeps coefficients from being negative moves the law clearly away from points."""
    used = points.where(fit.used)
    if not negative(used, fit, CLEAR_ERRORS):
        return False
    with np.errstate(all="ignore"):
        free, held = predicted_at(used, fit.free), predicted_at(used, fit.values)
        return bool((~(np.abs(held - free) <= MOST_MISSED * np.abs(free))).any())


def _judge_limit(answer: Answer, draws: Floats) -> None:
    assert answer.sigma is not None
    assert answer.throughput_of_one is not None
    if answer.sigma.low <= 0:
        return
    limits = draws[:, 2] / np.maximum(draws[:, 0], 1e-300)
    limit = Estimate(answer.throughput_of_one.value / answer.sigma.value, *percentiles(limits))
    if limit.high > WIDEST_PEAK * limit.low:
        text = f"no limit can be told: it may be from {number(limit.low)} to {number(limit.high)}"
        answer.reasons.append(Reason("wide", text))
    else:
        answer.limit_per_s = limit


def _judge_peak(answer: Answer, fit: LawFit, draws: Floats) -> None:
    assert answer.kappa is not None
    if answer.kappa.high <= 0:
        answer.reasons.append(Reason("no_peak", "there is no peak: κ is 0, so that throughput never falls"))
        return
    if answer.kappa.low <= 0:
        text = f"no peak can be told: the 95 % interval of κ, 0 to {answer.kappa.high:.2g}, contains 0, "
        answer.reasons.append(Reason("no_peak", text + "so that throughput may never fall"))
        return
    peaks = np.array([peak_of(*map(float, values)) for values in draws])
    at = Estimate(peak_of(*fit.values)[0], *percentiles(peaks[:, 0]))
    if at.high > WIDEST_PEAK * at.low:
        text = f"no peak can be told: it may be anywhere from {number(at.low)} to {number(at.high)}"
        answer.reasons.append(Reason("wide", text))
        return
    answer.peak_concurrency = at
    answer.peak_throughput_per_s = Estimate(peak_of(*fit.values)[1], *percentiles(peaks[:, 1]))


def peak_of(sigma: float, kappa: float, one: float) -> tuple[float, float]:
    """Give concurrency and throughput of the peak; of a service that is fastest alone, those of one request."""
    at = peak_concurrency(sigma, kappa)
    if at != at:
        if sigma < 1 and kappa <= 0:
            return float("inf"), one / sigma if sigma > 0 else float("inf")
        at = 1.0
    at = max(at, 1.0)
    return at, float(throughput_at(at, sigma, kappa, one))


def negative(points: Points, fit: LawFit, errors: float = 0.0) -> list[str]:
    """Name the coefficients that are below 0, by so many standard errors, once nothing constrains them, and matter."""
    high = points.reach[1]
    effects = (high - 1, high * (high - 1))
    rows = zip(("sigma", "kappa"), fit.free, fit.free_errors, effects, strict=False)
    return [
        name
        for name, value, error, by in rows
        if value + (errors and errors * error) < 0 and value * by < -LEAST_EFFECT
    ]
