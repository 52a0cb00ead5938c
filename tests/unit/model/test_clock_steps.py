"""Steps back of the clock that stamps frames."""

from __future__ import annotations

import random

import numpy as np
import pytest

from tcpsight.model.clock_steps import ClockSteps

S = 1_000_000_000


def steps_in(instants_s: list[float], cuts: int = 1) -> tuple[int, float]:
    steps = ClockSteps()
    for part in np.array_split(np.array([round(each * S) for each in instants_s], np.int64), cuts):
        steps.feed(part)
    return steps.steps, steps.back_ns / S


@pytest.mark.parametrize(
    ("instants_s", "expected"),
    [
        ([0, 1, 2, 3, 4, 5], (0, 0)),
        ([0, 10, 10.1, 5, 5.1, 5.2, 5.3, 20], (1, 5)),
        ([0, 10, 10.1, 5, 5.1, 5.2, 1, 1.1, 1.2], (2, 9.1)),
        ([0, 10, 10.1, 5, 5.1, 10.2, 10.3], (0, 0)),
        ([0, 1, 7200, 1.1, 1.2, 1.3, 1.4], (0, 0)),
        ([0, 10, 10.1, 9.2, 9.3, 9.4, 9.5], (0, 0)),
        ([7200, 1, 1.1, 1.2, 1.3], (0, 0)),
    ],
    ids=[
        "in order",
        "a step",
        "two",
        "two frames late",
        "one from the future",
        "less than a second",
        "the first wrong",
    ],
)
def test_a_clock_that_was_set_back_shows_in_all_frames_that_follow(instants_s, expected):
    for cuts in range(1, len(instants_s) + 1):
        assert steps_in(instants_s, cuts) == pytest.approx(expected)


def test_however_instants_are_cut_the_same_steps_come_out():
    chance = random.Random(5)
    now, instants = 0.0, []
    for _ in range(2000):
        now += chance.random() / 10 - (chance.random() < 0.01) * chance.choice([0.5, 3, 60])
        instants.append(now)
    whole = steps_in(instants)
    assert whole[0] > 3
    for cuts in (2, 7, 100, 2000):
        assert steps_in(instants, cuts) == pytest.approx(whole)


def test_recording_took_from_the_first_frame_to_the_clock_and_what_it_was_set_back():
    steps = ClockSteps()
    assert steps.passed_ns is None
    steps.feed(np.zeros(0, np.int64))
    assert steps.passed_ns is None
    for part in ([100, 110], [110.1, 105, 105.1], [105.2, 105.3, 120]):
        steps.feed(np.array([round(each * S) for each in part], np.int64))
    assert steps.passed_ns == (120 - 100 + 5) * S
