"""The report's numbers are those of the tables, recomputed in plain Python from their CSV."""

from __future__ import annotations

import json
from collections import Counter
from math import ceil
from pathlib import Path

import pytest

from tests.conftest import ROOT

EXAMPLES = sorted((ROOT / "examples").glob("*.pcap"))


def nearest_rank(values: list[int], p: str) -> int:
    numerator, denominator = int(p), 100
    return sorted(values)[ceil(numerator * len(values) / denominator) - 1]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_report_agrees_with_the_tables(here, path: Path):
    report = json.loads(here("report", path, "--format", "json").out)
    requests = here("requests", path, "--format", "csv").rows()
    connections = here("connections", path, "--format", "csv").rows()
    segments = here("segments", path, "--format", "csv", "--columns", "frame_number").rows()
    (service,) = report["services"]
    times = [int(row["response_time_ns"]) for row in requests]
    assert service["requests"] == len(requests) == sum(int(row["requests"]) for row in connections)
    assert service["unanswered"] == sum(int(row["unanswered"]) for row in connections)
    found = service["response_time"]
    for p in ("50", "90", "95", "99"):
        assert found[f"p{p}_ns"] == nearest_rank(times, p)
    assert (found["min_ns"], found["max_ns"], found["count"]) == (min(times), max(times), len(times))
    assert found["mean_ns"] == pytest.approx(sum(times) / len(times), abs=1)
    assert service["request_bytes"] == sum(int(row["request_bytes"]) for row in requests)
    assert service["response_bytes"] == sum(int(row["response_bytes"]) for row in requests)
    for step in service["histogram"]:
        assert step["count"] == sum(step["low_ns"] <= t < step["high_ns"] for t in times)
    slowest = [row["response_time_ns"] for row in service["slowest_requests"]]
    assert slowest == sorted(times, reverse=True)[: len(slowest)]

    assert service["connections"]["count"] == report["capture"]["connections"] == len(connections)
    assert service["connections"]["states"] == Counter(row["state"] for row in connections)
    for side in ("client", "server"):
        for name in ("bytes", "segments", "retransmissions", "gap_bytes"):
            column = f"{side}_{name}"
            assert service["connections"][column] == sum(int(row[column] or 0) for row in connections)
    assert report["capture"]["segments"] == len(segments)

    start = min(int(row["start_ns"]) for row in connections)
    end = max(int(row["end_ns"]) for row in connections)
    assert (report["capture"]["start_ns"], report["capture"]["end_ns"]) == (start, end)
    assert service["throughput_per_s"] == pytest.approx(len(times) * 1e9 / (end - start))
    assert service["concurrency"] == pytest.approx(sum(times) / (end - start))
    assert sum(slice_["completions"] for slice_ in service["series"]) == len(times)
    by_client: Counter[str] = Counter()
    for row in requests:
        by_client[row["client_address"]] += int(row["response_time_ns"])
    largest = [(c["client_address"], c["response_time_sum_ns"]) for c in service["clients"]["largest"]]
    assert largest == by_client.most_common(5)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_filter_of_a_slow_request_isolates_its_connection(here, path: Path):
    report = json.loads(here("report", path, "--format", "json").out)
    slow = report["services"][0]["slowest_requests"][0]
    found = here("requests", path, "--format", "csv", "--filter", slow["filter"]).rows()
    # Frame numbers count frames before any filter, so the same connection has the same id.
    assert {row["connection_id"] for row in found} == {str(slow["connection_id"])}
    assert str(slow["response_time_ns"]) in {row["response_time_ns"] for row in found}


def test_the_lock_of_the_readme_is_on_the_page(here):
    text = here("report", ROOT / "examples" / "mariadb-lock.pcap").text
    assert "1 s – 2 s ▏                            9" in text
    assert "4 706 answered".replace(" ", "\u202f", 1) in text


def test_all_examples_are_one_capture(here):
    report = json.loads(here("report", *EXAMPLES, "--format", "json").out)
    each = [json.loads(here("report", path, "--format", "json").out) for path in EXAMPLES]
    assert report["capture"]["connections"] == sum(one["capture"]["connections"] for one in each)
    assert sum(s["requests"] for s in report["services"]) == sum(one["services"][0]["requests"] for one in each)


def test_what_both_sides_send_at_once_is_a_finding(here, corpus_dir: Path):
    path = next((corpus_dir / "captures").rglob("tls_with_huge_ch.pcapng"))
    kinds = {json.loads(line)["kind"] for line in here("findings", path, "--format", "jsonl").out.splitlines()}
    assert "no_turns" in kinds
    assert "stall" not in kinds


def test_marked_requests_can_be_left_out(here, examples_dir: Path):
    path = examples_dir / "apache-wrk.pcap"
    everything = here("requests", path, "--format", "csv").rows()
    left = here("requests", path, "--leave-out", "first", "--format", "csv").rows()
    assert left == [row for row in everything if row["request_index"] != "0"]
    assert left == here("requests", path, "--where", "is_first = false", "--format", "csv").rows()
