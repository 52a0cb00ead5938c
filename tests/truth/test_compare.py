"""``tcpsight compare`` says what is so: of simulated services in a stored result, of real servers from captures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import tcpsight
from tests.conftest import ROOT
from tests.truth.compare_runs import REQUESTS, RUNS, SLOW_DOWNS, STORED, WORKLOADS, run

PAIRS = Path(__file__).with_name("compare_pairs")
SERVERS = ("mariadb", "postgresql", "redis", "memcached", "nginx")
LEAST_RIGHT = 95
SLOWED = 1.5


def stored(name: str, slow_down: float) -> dict[str, Any]:
    found = [each for each in json.loads(STORED.read_text()) if (each["name"], each["slow_down"]) == (name, slow_down)]
    assert len(found) == 1
    assert (found[0]["runs"], found[0]["requests_in_each_half"]) == (RUNS, REQUESTS[name])
    return dict(found[0])


@pytest.mark.parametrize("name", WORKLOADS)
def test_halves_of_a_steady_workload_do_not_differ_in_the_stored_result(name):
    assert stored(name, 1.0)["verdicts"]["no_difference"] >= LEAST_RIGHT


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_slow_down_of_a_tenth_is_found_in_the_stored_result(name):
    found = stored(name, 1.1)
    assert found["verdicts"]["worse"] >= LEAST_RIGHT
    assert found["exit_status_1"] >= LEAST_RIGHT
    assert found["median_ratio_of_p50"] > 1.09


def test_runs_are_what_was_stored():
    for slow_down, verdict in zip(SLOW_DOWNS, ("no_difference", "worse"), strict=True):
        assert run(("light", 10_000, slow_down))["verdict"] == verdict


def capture_of(server: str, number: int) -> Path:
    return PAIRS / f"{server}-{number}.pcap.zst"


def medians(found: dict[str, Any]) -> dict[str, Any]:
    (service,) = found["services"]
    median: dict[str, Any] = {row["quantile"]: row for row in service["response_time"]}[0.5]
    return median


@pytest.mark.parametrize("server", SERVERS)
def test_a_real_server_slowed_by_half_is_found_at_that_size(server):
    found = tcpsight.compare(capture_of(server, 1), capture_of(server, 3))
    assert found["is_worse"]
    assert medians(found)["ratio"] == pytest.approx(SLOWED, rel=0.05)
    equal = found["services"][0]["throughput_at_equal_concurrency"]
    assert equal["ratio"] == pytest.approx(1 / SLOWED, rel=0.05)


@pytest.mark.parametrize("server", SERVERS)
def test_a_real_server_as_it_was_is_not_called_worse_or_better(server):
    found = tcpsight.compare(capture_of(server, 1), capture_of(server, 2))
    assert found["verdict"] in ("no_difference", "too_little_data")
    assert medians(found)["low"] < 1 < medians(found)["high"]


def test_the_page_of_the_method_shows_the_stored_result():
    page = (ROOT / "docs" / "methods" / "compare.md").read_text()
    for name in WORKLOADS:
        same, slowed = stored(name, 1.0), stored(name, 1.1)
        cells = f"{same['verdicts']['no_difference']} | {slowed['verdicts']['worse']}"
        assert re.search(rf"\| {name}[^|]*\|[^|]*\| {re.escape(cells)} \|", page), name
