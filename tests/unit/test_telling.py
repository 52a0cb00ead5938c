"""Instants that are left out change neither silences nor steps of the clock."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tcpsight.model.clock_leaps import ClockLeaps
from tcpsight.model.clock_steps import ClockSteps
from tcpsight.model.silences import Silences
from tcpsight.tables import OPTION_TIMESTAMPS, Frames, Headers
from tcpsight.telling import TellingSegments, telling
from tests.support.thorough import up_to

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


@settings(max_examples=up_to(500), deadline=None)
@given(RUNS, st.lists(st.integers(0, 300), max_size=5))
@example([(0, 12), (-61_000 * MS, 12), (61_000 * MS, 12)], [6, 18])
def test_what_is_left_out_changes_nothing(runs, cuts):
    whole = instants(runs)
    batches = np.split(whole, sorted(min(cut, len(whole)) for cut in cuts))
    assert told([telling(batch) for batch in batches]) == told(batches)


def test_of_an_ordinary_batch_hardly_anything_is_left():
    batch = np.arange(0, 32_768_000_000, MS)
    assert len(telling(batch)) < 20


def stamped(seed: int, leap_ns: int) -> tuple[Frames, Headers]:
    """Give segments of connections, both sides by turns; amid them nobody is heard, and clocks of hosts stand."""
    random = np.random.default_rng(seed)
    count, flows = 30_000, int(random.integers(2, 200))
    lived_ns = np.cumsum(random.integers(1, 200_000, count)) + np.repeat([0, 900 * MS], [20_000, 10_000])
    frames, headers = Frames.allocate(count), Headers.allocate(count)
    frames.frame_number[:] = headers.rows["frame_number"] = np.arange(1, count + 1)
    frames.time_ns[:] = 1_700_000_000_000_000_000 + lived_ns + np.repeat([0, leap_ns], [9000, 21_000])
    headers.rows["time_ns"] = frames.time_ns
    flow, side = np.arange(count) % flows, np.arange(count) // flows % 2
    headers.rows["source_address"][:, 15] = 1 + side
    headers.rows["destination_address"][:, 15] = 2 - side
    headers.rows["source_port"] = np.where(side == 0, 1000 + flow, 80)
    headers.rows["destination_port"] = np.where(side == 0, 80, 1000 + flow)
    headers.rows["timestamp_value"] = lived_ns // MS
    headers.rows["options"] = OPTION_TIMESTAMPS
    return frames, headers


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("leap_ns", [0, 5000 * MS])
def test_segments_that_are_left_out_change_no_step_forward(seed: int, leap_ns: int):
    frames, headers = stamped(seed, leap_ns)
    whole, parted = ClockLeaps(), ClockLeaps()
    random = np.random.default_rng(seed)
    sizes = random.integers(1, 6000, 40)
    cuts = np.minimum(np.cumsum(sizes), len(frames)).tolist()
    segments, kept = TellingSegments(), 0
    for begin, end in zip([0, *cuts], [*cuts, len(frames)], strict=True):
        batch, rows = frames[begin:end], headers[begin:end]
        whole.feed(np.ascontiguousarray(batch.time_ns), rows)
        segments.feed(batch, rows)
        if random.random() < 0.2 or end == len(frames):
            segments.finish()
            for run in segments.runs:
                if not run.is_next:
                    parted.begin_anew()
                kept += len(run.instants_ns)
                parted.feed(run.instants_ns, Headers(run.rows.view(Headers.dtype)))
            segments = TellingSegments()
    assert parted.leaps == whole.leaps
    assert len(whole.leaps) == (leap_ns > 0)
    assert kept <= len(frames)
