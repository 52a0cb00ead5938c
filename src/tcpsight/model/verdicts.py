"""The one test by which two captures of a service differ, fixed beforehand.

Theory of operation
-------------------
Four questions are asked of every service: did the median response time change, did its 95th percentile, did the share
of requests that were never answered, did the share of connections that came to nothing? Each is answered by an
interval, at a level by which of a hundred pairs of captures without any difference one at most is called different
(`FAMILY_LEVEL`), however many services are compared (Bonferroni): 1 − 0.01 / (4 · services). That holds where a capture
is long beside what its response times are related by; see below.

*Worse* is said where an interval lies wholly beyond what is tolerated; *within tolerance* where one lies wholly on the
bad side of no change; *better* where one lies wholly on the good side, and none on the bad one. *No difference* is said
only where the median, had it changed by a tenth, would have been found changed in 95 of 100 such pairs; else there is
*too little data*. The other quantiles and numbers are told with intervals of the same level; they decide nothing.

What it cannot see: of what varies more slowly than a tenth of a capture, or in a few long bursts, each capture is one
sample, and more than one in a hundred pairs is called different: of 1,000 pairs of 5,000 requests each related to the
one before by 0.99, 11 medians where 2.5 are expected; with three slow bursts of 1.5 % of the capture on average, 7 of
500 95th percentiles where 1.25 are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

FAMILY_LEVEL = 0.99
QUESTIONS = 4
DECISIVE_QUANTILES = (0.5, 0.95)

SOUGHT = 0.1
"""A change of the median that must be within reach for *no difference* to be said."""

Verdict = Literal["worse", "within_tolerance", "better", "no_difference", "too_little_data"]
WORST_FIRST: tuple[Verdict, ...] = ("worse", "within_tolerance", "too_little_data", "better", "no_difference")


@dataclass(frozen=True, slots=True)
class Answer:
    """What an interval says of one question; larger is worse.

    Attributes
    ----------
    low, high : float
        The interval of the change; NaN where it is unknown.
    tolerated : float
        By how much it may be worse.
    """

    low: float
    high: float
    tolerated: float

    @property
    def verdict(self) -> Verdict | None:
        """What is shown; None where nothing is."""
        if self.low > self.tolerated:
            return "worse"
        if self.low > 0:
            return "within_tolerance"
        return "better" if self.high < 0 else None


def level_of_each(services: int) -> float:
    """Give the confidence of every single interval, so that all together hold with `FAMILY_LEVEL`."""
    return 1 - (1 - FAMILY_LEVEL) / (QUESTIONS * max(services, 1))


def verdict_of(answers: list[Answer], detectable: float) -> Verdict:
    """Join the answers to the questions about a service.

    Parameters
    ----------
    answers : list of Answer
        One each.
    detectable : float
        The shift of the logarithm of the median that would have been found; NaN if unknown.
    """
    shown = {answer.verdict for answer in answers}
    for verdict in ("worse", "within_tolerance", "better"):
        if verdict in shown:
            return verdict
    return "no_difference" if detectable <= math.log1p(SOUGHT) else "too_little_data"
