"""A real server of known coefficients: what it did, and what ``tcpsight usl`` said of it."""

from __future__ import annotations

import json
import math

import pytest

import tcpsight
from tests.conftest import ROOT
from tests.support.closed_system import STEPS, Law
from tests.truth.usl_server.record import CAPTURE, EXAMPLE, EXAMPLE_LAW, LAW, NAMES, REQUESTS, SEEDS, SHORT, STORED
from tests.truth.usl_server.server import Sharing

RUNS = json.loads(STORED.read_text())["runs"]


def test_the_server_works_at_the_rate_of_the_law():
    law, now = Law(0.1, 0.01, 100.0), 50.0
    sharing = Sharing(law, 1, now)
    for request in range(8):
        sharing.arrive(request)
    answered = 0
    while answered < 20_000:
        now = sharing.due() or now
        for request, at in sharing.advance(now):
            assert at == pytest.approx(now)
            sharing.arrive(request)
            answered += 1
    assert sharing.completions[8] == answered
    assert answered / sharing.time_s[8] == pytest.approx(float(law.throughput(8)), rel=0.03)


def test_work_that_was_due_while_the_server_slept_is_done_when_it_was_due():
    sharing = Sharing(Law(0.0, 0.0, 10.0), 2, 0.0)
    for request in range(3):
        sharing.arrive(request)
    done = sharing.advance(1000.0)
    assert [at for _, at in done] == sorted(at for _, at in done)
    assert len(done) == 3
    # Three at once, each as fast as if alone: no rate is lost.
    assert done[-1][1] < 10
    assert sharing.due() is None


@pytest.mark.parametrize("row", RUNS, ids=lambda row: f"seed {row['seed']}")
def test_by_its_own_counters_the_server_followed_the_law(row):
    time_s = dict(row["server"]["time_s"])
    surprise, levels = 0.0, 0
    for n, count in row["server"]["completions"]:
        expected = float(LAW.throughput(n)) * time_s[n]
        if expected >= 20:
            surprise += (count - expected) ** 2 / expected
            levels += 1
    # χ²: five standard deviations above its mean, once in a million.
    assert surprise < levels + 5 * math.sqrt(2 * levels)
    assert row["server"]["late_p99_ns"] < 2_000_000
    assert row["server"]["answers"] == pytest.approx(row["requests"], abs=max(STEPS))


def test_five_runs_have_the_truth_in_their_intervals():
    runs = [row for row in RUNS if row["requests"] == REQUESTS]
    assert [row["seed"] for row in runs] == list(SEEDS)
    for row in runs:
        for name, truth in zip(NAMES, LAW.values, strict=True):
            assert row[name]["low"] <= truth <= row[name]["high"]
            assert row["inside"][name]
        peak = row["peak_concurrency_interval"]
        assert peak["low"] <= math.sqrt((1 - LAW.sigma) / LAW.kappa) <= peak["high"]


def test_the_kept_capture_has_the_truth_in_its_intervals_and_agrees_with_both_logs():
    opened = tcpsight.open(CAPTURE)
    told, row = opened.scalability(), RUNS[-1]
    assert row["requests"] == SHORT
    assert told["requests"] == row["server"]["answers"]
    for name, truth in zip(NAMES, LAW.values, strict=True):
        assert told[name]["low"] <= truth <= told[name]["high"]
    requests = tcpsight.open(CAPTURE).requests.to_numpy()
    resident_s = sum(n * seconds for n, seconds in row["server"]["time_s"])
    assert requests["response_time_ns"].sum() / 1e9 == pytest.approx(resident_s, rel=0.02)
    seen_by_clients = sum(step["answers"] * step["response_time_mean_ns"] for step in row["load"])
    assert requests["response_time_ns"].sum() == pytest.approx(seen_by_clients, rel=0.03)


def test_the_example_has_a_peak_and_the_truth_in_its_intervals():
    told = tcpsight.open(EXAMPLE).scalability()
    truth = json.loads(EXAMPLE.with_name("scaling.truth.json").read_text())
    assert told["refusal"] is None
    assert told["requests"] == truth["server"]["answers"]
    for name, value in zip(NAMES, EXAMPLE_LAW.values, strict=True):
        assert truth["truth"][name] == value
        assert told[name]["low"] <= value <= told[name]["high"]
    at = math.sqrt((1 - EXAMPLE_LAW.sigma) / EXAMPLE_LAW.kappa)
    for name, value in (("concurrency", at), ("throughput", float(EXAMPLE_LAW.throughput(at)))):
        assert told[f"peak_{name}_interval"]["low"] <= value <= told[f"peak_{name}_interval"]["high"]


def test_the_page_of_the_method_shows_the_stored_runs():
    page = (ROOT / "docs" / "methods" / "scalability.md").read_text()
    for row in RUNS:
        cells = [f"{row[name]['value']:.3g} ({row[name]['low']:.3g} to {row[name]['high']:.3g})" for name in NAMES]
        assert f"| {row['requests']} | {' | '.join(cells)} |" in page
