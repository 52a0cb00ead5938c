"""Stalls of known start, end and cause: a few simulated runs here, hundreds in the stored result, and a real lock."""

from __future__ import annotations

import csv
import io
import json
import re
from typing import Any

import numpy as np
import pytest

import tcpsight
from tests.conftest import ROOT
from tests.support.pcap import pcap_bytes
from tests.truth.stalls import lasting_runs, loop_runs, slow_runs
from tests.truth.stalls.event_loop import Loop, simulate_loop
from tests.truth.stalls.runs import RESULTS, RUNS, detect, instants, judge, live, rows_of, run_quiet, summary
from tests.truth.stalls.server import Lived, Setup, Stall, frames, simulate

LEAST = 0.95
LEAST_BLOCKERS = 0.9
MOST_ACCUSED = 0.05
"""Of pauses of the whole server, those that are said to be a request's fault."""

SETUP = Setup(workers=8, service_s=0.001, law="exponential", rate_per_s=2000, clients=32, requests=4000)


def findings(capture: Any) -> list[dict[str, Any]]:
    rows = tcpsight.open(capture).findings.to_arrow().to_pylist()
    return [row | {"evidence": json.loads(row["evidence"])} for row in rows if row["kind"] in ("stall", "pile_up")]


def test_stalls_are_found_in_nearly_all_of_a_few_runs():
    results = []
    for seed in range(20):
        setup, lived = live(seed)
        results.append(judge(setup, lived, detect(rows_of(lived))))
    found = summary(results, [run_quiet(seed) for seed in range(500, 510)])
    assert found["stalls"] >= 20
    assert found["recall"] >= 0.9
    assert found["precision"] >= 0.9
    assert found["blocker_share"] >= LEAST_BLOCKERS
    assert found["quiet_alarms"] == 0


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_a_capture_of_a_lock_tells_start_end_and_blocker(share):
    lived = simulate(SETUP, [Stall("lock", 1.0, 0.25, share)], 3)
    (truth,) = lived.stalls
    (found,) = findings(io.BytesIO(pcap_bytes(frames(lived), nanoseconds=True)))
    assert truth.blocker is not None
    start_ns, end_ns = instants(truth)
    assert found["kind"] == ("stall" if share == 1.0 else "pile_up")
    assert found["start_ns"] == pytest.approx(start_ns, abs=20_000_000)
    assert found["end_ns"] == pytest.approx(end_ns, abs=1_000_000)
    blocker = found["evidence"]["blocker"]
    at = (lived.connection == truth.blocker[0]) & (lived.index == truth.blocker[1])
    assert blocker["request_index"] == truth.blocker[1]
    assert blocker["response_time_ns"] == round((lived.completion_s - lived.arrival_s)[at][0] * 1e9)


def test_the_lock_of_the_example_is_named_with_its_blocker():
    with (ROOT / "examples" / "mariadb-lock.truth.csv").open() as file:
        truth = {row["event"]: row for row in csv.DictReader(file)}
    (found,) = findings(ROOT / "examples" / "mariadb-lock.pcap")
    granted, released = (int(truth[event]["time_ns"]) for event in ("lock_granted", "release_confirmed"))
    assert found["kind"] == "stall"
    assert found["start_ns"] == pytest.approx(granted, abs=1_000_000)
    assert found["end_ns"] == pytest.approx(released, abs=1_000_000)
    assert found["evidence"]["requests"] == 9
    assert found["evidence"]["blocker"]["client_port"] == int(truth["lock_granted"]["client_port"])
    assert found["evidence"]["blocker"]["response_time_ns"] == pytest.approx(1.5e9, rel=0.001)


def test_the_stored_result_holds_what_is_promised():
    stored = json.loads(RESULTS.read_text())
    assert stored["runs"] == stored["quiet_runs"] == RUNS
    assert stored["stalls"] >= 200
    assert stored["recall"] >= LEAST
    assert stored["precision"] >= LEAST
    assert stored["blocker_share"] >= LEAST_BLOCKERS
    assert stored["sure_right"] >= LEAST_BLOCKERS * stored["sure"]
    assert stored["pauses_accused"] <= MOST_ACCUSED * stored["pauses"]
    # One in a million requests is expected: of three, more than eight would be chance once in 300.
    assert stored["quiet_alarms"] <= 8 * stored["quiet_requests"] / 3_000_000


def test_slowdowns_are_found_in_nearly_all_of_a_few_runs():
    found = slow_runs.summary([slow_runs.run(seed) for seed in range(12)], [slow_runs.run_quiet(500)])
    assert found["slowdowns"] >= 4
    assert found["recall"] >= 0.8
    assert found["precision"] >= 0.8
    assert found["quiet_alarms"] == 0


def test_the_stored_result_of_slowdowns_holds_what_is_promised():
    stored = json.loads(slow_runs.RESULTS.read_text())
    assert stored["runs"] == stored["quiet_runs"] == RUNS
    assert stored["slowdowns"] >= 100
    assert stored["recall"] >= LEAST
    assert stored["precision"] >= LEAST
    # One in a million requests is expected: of six, more than twelve would be chance once in a hundred.
    assert stored["quiet_alarms"] <= 12 * stored["quiet_requests"] / 6_000_000
    page = (ROOT / "docs" / "methods" / "stalls.md").read_text()
    for text in (
        f"{stored['found']} of {stored['slowdowns']}",
        f"recall {stored['recall']:.3f}, precision {stored['precision']:.3f}",
        f"{stored['quiet_alarms']} alarms in {stored['quiet_requests'] / 1e6:g} million requests",
    ):
        assert text in page, text


def test_what_is_slower_for_long_is_found_in_most_of_a_few_runs_and_never_where_nothing_is():
    found = lasting_runs.summary([lasting_runs.run(seed) for seed in range(24)], [lasting_runs.run_quiet(500)])
    for part in ("to_the_end", "ended"):
        slower = [each for factor, each in found[part].items() if float(factor) >= 2]
        assert sum(each["runs"] for each in slower) >= 5
        assert sum(each["found"] for each in slower) >= 0.6 * sum(each["runs"] for each in slower)
    assert (found["quiet_alarms"], found["false_alarms_in_these"]) == (0, 0)


def test_the_stored_result_of_what_lasts_holds_what_is_promised():
    stored = json.loads(lasting_runs.RESULTS.read_text())
    page = " ".join((ROOT / "docs" / "methods" / "stalls.md").read_text().split())
    for part in ("to_the_end", "ended"):
        told = []
        for factor, name in {"1.5": "1.5 times as long", "2.0": "twice", "3.0": "three times", "5.0": "five"}.items():
            each = stored[part][factor]
            told.append(f"{name} {each['found']} of {each['runs']}")
        assert ", ".join(told) in page
        found = sum(each["found"] for each in stored[part].values())
        near = sum(each["at_the_right_instants"] for each in stored[part].values())
        assert near >= 0.85 * found
        assert f"{near} of {found}" in page
    assert stored["quiet_runs"] == stored["runs_with_short_slowdowns"] == RUNS
    assert stored["quiet_alarms"] <= 1
    assert stored["false_alarms_in_these"] <= 0.02 * RUNS
    assert f"Of {RUNS} runs without anything {stored['quiet_alarms']} gave a finding" in page
    assert f"of {RUNS} with short slowdowns {stored['false_alarms_in_these']} gave one of which less than half" in page


def test_the_request_that_kept_an_event_loop_busy_is_named_in_nearly_all_of_a_few_runs():
    found = loop_runs.summary([loop_runs.run(seed) for seed in range(20)], [])
    assert found["stalls"] >= 20
    assert found["recall"] >= 0.9
    assert found["blocker_share"] >= 0.8
    assert found["share_of_named"] >= LEAST_BLOCKERS


def test_the_stored_result_of_event_loops_holds_what_is_promised():
    stored = json.loads(loop_runs.RESULTS.read_text())
    assert stored["runs"] == stored["quiet_runs"] == RUNS
    assert stored["stalls"] >= 200
    assert stored["recall"] >= LEAST
    assert stored["blocker_share"] >= LEAST_BLOCKERS
    page = (ROOT / "docs" / "methods" / "stalls.md").read_text()
    for name, each in stored["by_kind"].items():
        right = f"{each['blockers_right']} of {each['named']} named, of {each['found']}"
        assert f"| {name} | {each['found']} of {each['stalls']} | {right} |" in page
    assert f"{stored['blockers_right']} of {stored['found']}; of those that were named" in page
    assert f"{stored['quiet_alarms']} alarms in 3 million requests" in page


@pytest.mark.parametrize("answers", ["immediate", "together"])
def test_what_was_in_flight_when_an_event_loop_took_up_a_slow_request_is_not_its_blocker(answers):
    loop = Loop(answers, 0.0005, clients=20, think_s=0.004, is_odd=True, slow_s=(0.5,), requests=4000)
    lived = simulate_loop(loop, 11)
    (slow,) = lived.stalls
    before = (lived.arrival_s < slow.start_s) & (lived.completion_s >= slow.end_s)
    assert before.sum() >= 2
    worst = max(detect(loop_runs.sized_rows(lived)), key=lambda each: each.waited_ns)
    assert (worst.blocker["connection_id"], worst.blocker["request_index"]) == slow.blocker
    assert worst.cause == "either"


def test_a_pause_of_the_whole_server_is_no_requests_fault():
    lived = simulate(Setup(8, 0.001, "exponential", 4000, 32, requests=4000), [Stall("pause", 0.5, 0.25)], 4)
    (found,) = findings(io.BytesIO(pcap_bytes(frames(lived), nanoseconds=True)))
    assert found["kind"] == "stall"
    assert found["evidence"]["cause"] in ("server", "either")
    assert "the server as a whole stopped" in found["summary"]


@pytest.mark.parametrize("share", [1.0, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_a_silent_holder_is_named_when_it_speaks_again_and_no_victim_is_accused_alone(share, seed):
    lived = simulate(SETUP, [Stall("sync", 1.0, 0.25, share)], seed)
    (truth,) = lived.stalls
    holder = int(lived.connection.max()) + 1
    begin, commit = truth.start_s - 0.002, truth.end_s - 0.0003
    arrival = np.append(lived.arrival_s, [begin, commit])
    order = np.argsort(arrival)
    ends = np.append(lived.completion_s, [begin + 0.001, commit + 0.0002])
    who, index = np.append(lived.connection, [holder] * 2), np.append(lived.index, [0, 1])
    held = Lived(arrival[order], ends[order], who[order], index[order])
    (found,) = findings(io.BytesIO(pcap_bytes(frames(held), nanoseconds=True)))
    spoke = found["evidence"]["spoke_again"]
    assert spoke["request_index"] == 1
    assert spoke["client_address"] == f"10.1.0.{holder + 1}"
    assert found["connection_id"] == spoke["connection_id"]
    assert "spoke again just when they were released" in found["summary"]
    assert "probably" not in found["summary"]


@pytest.mark.parametrize("seed", range(4))
def test_a_silent_holder_that_is_not_captured_is_left_possible(seed):
    lived = simulate(SETUP, [Stall("sync", 1.0, 0.25)], seed)
    (found,) = findings(io.BytesIO(pcap_bytes(frames(lived), nanoseconds=True)))
    assert "a lock whose holder was silent (idle in a transaction)" in found["summary"]
    assert not found["summary"].endswith("the server as a whole stopped")


def test_by_chance_few_connections_speak_again_at_the_end_of_a_stall():
    stalls = [stall for seed in range(20) for stall in detect(rows_of(live(seed)[1]))]
    assert len(stalls) >= 20
    assert sum(stall.spoke_again is not None for stall in stalls) <= 0.1 * len(stalls)


def test_the_page_of_the_method_shows_the_stored_result():
    page = (ROOT / "docs" / "methods" / "stalls.md").read_text()
    stored = json.loads(RESULTS.read_text())
    rows = {"all": stored, **stored["by_kind"], **stored["by_duration"]}
    rows |= {f"load {load}": each for load, each in stored["by_load"].items()}
    for name, each in rows.items():
        cells = f"{each['found']} of {each['stalls']} | {each['recall']:.3f}"
        assert re.search(rf"^\| {re.escape(name)} \| {re.escape(cells)} \|$", page, re.MULTILINE), name
    for text in (
        f"{stored['false_alarms']} alarms that nothing explains",
        f"of the others, {stored['short']} were shorter and {stored['unseen']} kept fewer waiting",
        f"precision {stored['precision']:.3f}",
        f"{stored['blockers_right']} of {stored['blockers']}",
        f"{stored['sure_right']} of {stored['sure']}",
        f"Of {stored['pauses']} pauses, {stored['pauses_accused']}",
        f"{stored['quiet_alarms']} alarms in {stored['quiet_requests'] / 1e6:g} million requests",
    ):
        assert text in page, text
