"""Servers that scale badly and servers that stall, recorded with the logs of both sides (``examples/stalls/``)."""

from __future__ import annotations

import csv
import io
import json
from functools import cache
from pathlib import Path
from statistics import mean, median
from typing import Any, NamedTuple

import numpy as np
import pytest
import zstandard

import tcpsight

STALLS = Path(__file__).parents[2] / "examples" / "stalls"
SLOW = {"postgresql-hot-row": "log_ns", "mariadb-hot-row": "slow_log_ns"}
FAST = {
    "postgresql-for-update": "log_ns",
    "mariadb-storage": "slow_log_ns",
    "nginx-upstream": "request_time_ns",
    "redis-slow": None,
}
CASES = [*SLOW, *FAST]
MS = 1_000_000
PORTS = {"postgresql": 5432, "mariadb": 3306, "redis": 6379, "nginx": 80}


class Row(NamedTuple):
    """One request, as client, wire and server saw it."""

    client_ns: int
    wire_ns: int
    server: dict[str, int]


def service(case: str) -> Any:
    """Give the requests to the service that the clients asked."""
    captured = tcpsight.open(STALLS / f"{case}.pcap.zst").requests.to_numpy()
    return captured[captured["server_port"] == PORTS[case.split("-", maxsplit=1)[0]]]


@cache
def lived(case: str) -> list[Row]:
    """Join capture and logs, request by request."""
    captured, found = service(case), []
    own = {int(port): captured[captured["client_port"] == port] for port in np.unique(captured["client_port"])}
    with zstandard.open(STALLS / f"{case}.requests.csv.zst", "rb") as file:
        for row in csv.DictReader(io.TextIOWrapper(file)):
            start, end = int(row.pop("start_ns")), int(row.pop("end_ns"))
            mine = own[int(row.pop("client_port"))]
            mine = mine[(mine["arrival_ns"] >= start) & (mine["completion_ns"] <= end)]
            assert len(mine) == 1, f"request {row['request']} is in the capture {len(mine)} times"
            server = {name: int(value) for name, value in row.items() if name != "request"}
            found.append(Row(end - start, int(mine["response_time_ns"][0]), server))
    return found


def truth(case: str) -> dict[str, Any]:
    told: dict[str, Any] = json.loads((STALLS / f"{case}.truth.json").read_text())
    return told


STALLED = [(case, number) for case in CASES for number in range(len(truth(case)["stalls"]))]


@pytest.mark.parametrize("case", SLOW)
def test_slow_answers_agree_with_the_logs_of_client_and_server_within_5_percent(case):
    rows = lived(case)
    wire, client, server = (
        median(each) for each in zip(*((r.wire_ns, r.client_ns, r.server[SLOW[case]]) for r in rows), strict=True)
    )
    assert wire >= 10 * MS
    assert wire == pytest.approx(client, rel=0.05)
    assert wire == pytest.approx(server, rel=0.05)


@pytest.mark.parametrize("case", FAST)
def test_fast_answers_lie_between_the_server_s_and_the_client_s_figure(case):
    rows, column = lived(case), FAST[case]
    wire = median(row.wire_ns for row in rows)
    assert wire < median(row.client_ns for row in rows)
    if column is not None:
        assert wire > median(row.server[column] for row in rows)


def test_no_answer_is_faster_than_its_server_says_or_slower_than_its_client_says():
    # A log that counts microseconds may round up by one, one of milliseconds by half of one.
    for case, column, rounding in (*((c, SLOW[c], 1000) for c in SLOW), ("nginx-upstream", "request_time_ns", MS)):
        for row in lived(case):
            assert row.server[column] - rounding <= row.wire_ns <= row.client_ns


@pytest.mark.parametrize(
    ("case", "counter"),
    [
        ("postgresql-hot-row", "pg_stat_statements"),
        ("mariadb-hot-row", "events_statements_summary_by_digest"),
        ("postgresql-for-update", "pg_stat_statements"),
    ],
)
def test_counts_and_means_are_those_of_the_server_s_counters(case, counter):
    counted, rows = truth(case)["server"][counter][0], lived(case)
    assert counted["calls"] == len(rows)
    assert mean(row.wire_ns for row in rows) == pytest.approx(counted["mean_ns"], rel=0.05)
    assert max(row.wire_ns for row in rows) == pytest.approx(counted["max_ns"], rel=0.05)


def test_every_command_that_redis_calls_slow_took_as_long_on_the_wire():
    captured = service("redis-slow")
    for entry in truth("redis-slow")["server"]["slowlog"]:
        port = int(entry["client"].rpartition(":")[2])
        own = captured[captured["client_port"] == port]["response_time_ns"]
        assert np.abs(own / entry["duration_ns"] - 1).min() < 0.05


@pytest.mark.parametrize(("case", "number"), STALLED)
def test_during_a_stall_nothing_completes_and_all_that_waited_are_released_at_its_end(case, number):
    stall, requests = truth(case)["stalls"][number], service(case)
    arrival, completion = requests["arrival_ns"], requests["completion_ns"]
    # What was on its way when the hold began may still get through.
    begin, end = stall["began_before_ns"] + MS, stall["ended_after_ns"]
    assert not ((completion > begin) & (completion < end)).any()
    waited = (arrival < end) & (completion >= end)
    clients = 6 if case == "redis-slow" else 8
    assert waited.sum() in (clients, clients + 1)  # the blocker itself may be one
    held_ms = (end - begin) / MS
    longest_ms = requests["response_time_ns"][waited].max() / MS
    released_ms = (completion[waited].max() - stall["ended_before_ns"]) / MS
    assert longest_ms == pytest.approx(held_ms, rel=0.15)
    assert released_ms < 50


@pytest.mark.parametrize("case", [case for case in CASES if "hot-row" in case])
def test_a_hot_row_scales_badly_and_the_law_says_how(case):
    told = tcpsight.open(STALLS / f"{case}.pcap.zst").scalability()
    # 12 ms alone and 4 ms with the row, in the mean: one at a time takes 16 ms and more, and no more than 250 get by.
    alone, limit = 1 / 0.016, 1 / 0.004
    assert told["lambda"]["low"] <= alone <= told["lambda"]["high"] * 1.05
    assert max(told["sigma"]["low"], told["kappa"]["low"]) > 0
    # What waits for one lock levels off: neither that it falls again is told, nor by how much.
    assert "falls beyond" in told["refusal"]
    assert (told["peak_concurrency"], told["forecast"]) == (None, [])
    most = np.quantile(told["data"]["throughput_per_s"], 0.95)
    assert 0.7 * limit < most < 1.15 * limit
    assert told["checks"]["littles_law"]["ratio_total"] == pytest.approx(1, abs=0.05)
    assert told["load"]["concurrency_max"] == pytest.approx(16, abs=0.1)
    assert told["queue"]["servers"] in (4, 5)
    # 60 intervals are too few to tell by the order of residuals that it is another shape.
    assert told["checks"]["runs_by_concurrency_p_value"] > 0.01
    assert told["checks"]["runs_by_time_p_value"] > 0.01


@pytest.mark.parametrize("case", FAST)
def test_a_stall_at_constant_load_tells_no_law(case):
    told = tcpsight.open(STALLS / f"{case}.pcap.zst").scalability()
    assert told["sigma"] is None
    assert told["kappa"] is None
    assert told["refusal"]
    assert told["points"]["without_completion"] > 0


@cache
def findings(case: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = tcpsight.open(STALLS / f"{case}.pcap.zst").findings.to_arrow().to_pylist()
    return found


def stalls_of(case: str) -> list[dict[str, Any]]:
    port = PORTS[case.split("-", maxsplit=1)[0]]
    return [each for each in findings(case) if each["kind"] in ("stall", "pile_up") and each["server_port"] == port]


def evidence(finding: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(finding["evidence"])
    return told


@pytest.mark.parametrize(("case", "number"), STALLED)
def test_every_stall_is_found_with_its_beginning_and_end(case, number):
    stall = truth(case)["stalls"][number]
    near = [
        each
        for each in stalls_of(case)
        if each["start_ns"] < stall["ended_after_ns"] and each["end_ns"] > stall["began_before_ns"]
    ]
    assert [each["kind"] for each in near] == ["stall"]
    # It begins with the first request that waits, and ends with the first answer.
    assert stall["began_after_ns"] - 10 * MS <= near[0]["start_ns"] <= stall["began_before_ns"] + 50 * MS
    assert stall["ended_after_ns"] <= near[0]["end_ns"] <= stall["ended_before_ns"] + 50 * MS


@pytest.mark.parametrize("case", CASES)
def test_nothing_longer_is_found_where_nothing_was_held(case):
    for found in stalls_of(case):
        held = [
            stall
            for stall in truth(case)["stalls"]
            if found["start_ns"] < stall["ended_after_ns"] and found["end_ns"] > stall["began_before_ns"]
        ]
        # Eight clients that log in at once do wait for each other.
        assert held or evidence(found)["duration_ns"] < 5 * MS


@pytest.mark.parametrize(
    ("case", "number"), [each for each in STALLED if each[0] in ("redis-slow", "postgresql-for-update")]
)
def test_the_blocker_is_named_if_its_request_went_on_meanwhile(case, number):
    stall = truth(case)["stalls"][number]
    (found,) = [each for each in stalls_of(case) if each["start_ns"] < stall["ended_after_ns"] < each["end_ns"] + MS]
    blocker = evidence(found)["blocker"]
    if "idle" in stall["what"]:
        # No request of the one that holds it is there to be named: what is named waited itself.
        assert blocker["client_port"] != stall["blocker_port"]
        spoke = evidence(found)["spoke_again"]
        assert spoke["client_port"] == stall["blocker_port"]
        assert f"port {stall['blocker_port']}" in spoke["filter"]
        assert found["connection_id"] == spoke["connection_id"]
        assert (
            f"connection {spoke['connection_id']} (port {stall['blocker_port']}) spoke again just when they"
            in (found["summary"])
        )
    else:
        assert blocker["client_port"] == stall["blocker_port"]
        assert evidence(found)["spoke_again"] is None
        assert found["summary"].endswith("or for a lock whose holder was silent (idle in a transaction)")


def test_a_stall_behind_a_proxy_is_found_at_both_hops():
    ports = [each["server_port"] for each in findings("nginx-upstream") if each["kind"] == "stall"]
    assert sorted(ports) == [80, 80, 8080, 8080]


@pytest.mark.parametrize("case", SLOW)
def test_contention_alone_is_no_finding_but_that_more_load_made_it_slower(case):
    for each in findings(case):
        assert (each["kind"], each["severity"]) == ("lasting_slowdown", "info")
        evidence = json.loads(each["evidence"])
        assert evidence["throughput_per_s"] > 1.5 * evidence["usual_throughput_per_s"]
