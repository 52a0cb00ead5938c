"""The truth lies inside the intervals of ``tcpsight usl``: a few runs here, hundreds in the stored result."""

from __future__ import annotations

import json
import re

import pytest

from tests.conftest import ROOT
from tests.support.closed_system import Law
from tests.truth.usl_coverage import NAMES, RUNS, STORED, SYSTEMS, System, hits, told

LEAST_INSIDE = 90


def test_the_truth_lies_inside_in_nearly_all_of_a_few_runs():
    system = System(Law(0.05, 0.002, 1000.0))
    rows = [hits(system, told(system, seed, requests=2500)) for seed in range(12)]
    assert sum(all(row.values()) for row in rows) >= 10


@pytest.mark.parametrize("name", SYSTEMS)
def test_throughput_alone_is_not_biased_by_slices_of_mixed_load(name):
    stored = json.loads(STORED.read_text())[name]
    assert stored["mean"]["lambda"] == pytest.approx(SYSTEMS[name].law.throughput_of_one, rel=0.01)


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_stored_result_holds_what_intervals_promise(name):
    stored = json.loads(STORED.read_text())[name]
    assert stored["runs"] == RUNS
    assert stored["requests"] == 10_000
    # What is refused does not hold the truth either.
    assert stored["refused"] <= 2
    assert all(stored["inside"][each] >= LEAST_INSIDE for each in NAMES)
    assert stored["all_inside"] >= (LEAST_INSIDE if SYSTEMS[name].drift is None else 85)


def test_the_page_of_the_method_shows_the_stored_result():
    page = (ROOT / "docs" / "methods" / "scalability.md").read_text()
    for name, each in json.loads(STORED.read_text()).items():
        inside = [each["inside"][coefficient] for coefficient in NAMES]
        cells = " | ".join(map(str, [*inside, each["all_inside"], each["refused"]]))
        assert re.search(rf"\| {name} \|.*\| {re.escape(cells)} \|", page), name
