"""Instants that are left out change neither silences nor steps of the clock."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpsight.model.clock_steps import ClockSteps
from tcpsight.model.silences import Silences
from tcpsight.telling import telling

MS = 1_000_000
STEPS = st.sampled_from([0, 1, MS, 900 * MS, 1000 * MS, 1100 * MS, 29_000 * MS, 61_000 * MS, 3_600_000 * MS])
RUNS = st.lists(st.tuples(st.one_of(STEPS, STEPS.map(lambda step: -step)), st.integers(1, 12)), max_size=25)


def instants(runs: list[tuple[int, int]]) -> np.ndarray:
    steps = [step if not at else MS for step, count in runs for at in range(count)]
    return 1_700_000_000_000_000_000 + np.cumsum(np.array(steps, np.int64))


def told(batches: list[np.ndarray]) -> tuple[object, ...]:
    silences, steps = Silences(), ClockSteps()
    for batch in batches:
        silences.feed(batch)
        steps.feed(batch)
    return silences.spans, steps.steps, steps.back_ns


@settings(max_examples=500, deadline=None)
@given(RUNS, st.lists(st.integers(0, 300), max_size=5))
@example([(0, 12), (-61_000 * MS, 12), (61_000 * MS, 12)], [6, 18])
def test_what_is_left_out_changes_nothing(runs, cuts):
    whole = instants(runs)
    batches = np.split(whole, sorted(min(cut, len(whole)) for cut in cuts))
    assert told([telling(batch) for batch in batches]) == told(batches)


def test_of_an_ordinary_batch_hardly_anything_is_left():
    batch = np.arange(0, 32_768_000_000, MS)
    assert len(telling(batch)) < 20
