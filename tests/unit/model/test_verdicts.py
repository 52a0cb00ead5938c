"""The verdict follows from the intervals and from nothing else."""

from __future__ import annotations

import math

import pytest

from tcpsight.model.verdicts import FAMILY_LEVEL, Answer, level_of_each, verdict_of

TOLERATED = math.log(1.05)
NOTHING = Answer(-0.02, 0.02, TOLERATED)
WORSE, SLIGHTLY = Answer(0.06, 0.1, TOLERATED), Answer(0.01, 0.1, TOLERATED)
BETTER = Answer(-0.1, -0.01, TOLERATED)
UNKNOWN = Answer(math.nan, math.nan, 0.0)


@pytest.mark.parametrize(
    ("answers", "detectable", "verdict"),
    [
        ([NOTHING, NOTHING], 0.05, "no_difference"),
        ([NOTHING, UNKNOWN], 0.05, "no_difference"),
        ([NOTHING, NOTHING], 0.2, "too_little_data"),
        ([UNKNOWN, UNKNOWN], math.nan, "too_little_data"),
        ([WORSE, NOTHING], 0.05, "worse"),
        ([WORSE, BETTER], 0.05, "worse"),
        ([WORSE, UNKNOWN], math.nan, "worse"),
        ([SLIGHTLY, NOTHING], 0.05, "within_tolerance"),
        ([SLIGHTLY, BETTER], 0.05, "within_tolerance"),
        ([BETTER, NOTHING], 0.2, "better"),
    ],
)
def test_the_verdict_of_a_service(answers, detectable, verdict):
    assert verdict_of(answers, detectable) == verdict


def test_what_ends_at_the_tolerance_is_not_beyond_it():
    assert Answer(TOLERATED, 0.2, TOLERATED).verdict == "within_tolerance"


def test_more_services_need_more_confidence_each():
    assert level_of_each(1) == pytest.approx(1 - (1 - FAMILY_LEVEL) / 4)
    assert level_of_each(10) == pytest.approx(1 - (1 - FAMILY_LEVEL) / 40)
    assert level_of_each(0) == level_of_each(1)
