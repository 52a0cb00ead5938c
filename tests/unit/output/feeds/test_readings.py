"""Metrics are the columns of the tables, in the units of their names."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest

from tcpsight.output.feeds.metrics import METRICS, OTHER
from tcpsight.output.feeds.readings import BOUNDS_S, Buckets, Reader, Reading
from tcpsight.output.feeds.update import FeedCounts, Update
from tcpsight.tables import FINDINGS, REASONS, SEVERITIES, Findings, KeyedIntervals, ServiceTotals
from tests.support.traffic import MS, START_NS, Talk, answered
from tests.support.updates import SERVICES, updates, updates_of


def read(update: Update | None) -> dict[str, Reading]:
    return {reading.metric.name: reading for reading in Reader("1.2.3").read(update)}


def points(update: Update, name: str) -> dict[tuple[str, ...], float | Buckets]:
    return {point.labels: point.value for point in read(update)[name].points}


def test_names_are_those_that_prometheus_asks_for():
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    for metric in METRICS:
        assert re.fullmatch(r"tcpsight_[a-z0-9_]+", metric.name)
        assert metric.name.endswith("_total") == (metric.kind == "counter")
        base = metric.name.removesuffix("_total")
        assert base.endswith("_seconds") == (metric.unit == "s"), metric
        assert base.endswith("_bytes") == (metric.unit == "By"), metric
        assert base.endswith("_ratio") == (metric.unit == "1"), metric
        assert metric.help
        assert "  " not in metric.help


def test_no_label_names_a_client():
    assert {label for metric in METRICS for label in metric.labels} == {
        "service", "direction", "outcome", "reason", "kind", "severity", "feed", "version", "interface",
    }  # fmt: skip


def test_every_column_of_the_totals_has_a_metric():
    told = {column for metric in METRICS if metric.source is ServiceTotals for column, _ in metric.columns}
    assert {c.name for c in ServiceTotals.columns} - told == {
        "server_address", "server_port", "ip_version", "is_other",
    }  # fmt: skip


@pytest.mark.parametrize("metric", [m for m in METRICS if m.source and m.kind != "histogram"], ids=lambda m: m.name)
def test_values_are_those_of_the_columns(metric):
    update = updates()[0]
    table = update.services if metric.source is KeyedIntervals else update.totals
    for column, value in metric.columns:
        scale = 1e9 if metric.unit == "s" else 1
        known = {
            (service, value) if value else (service,): pytest.approx(number / scale)
            for service, number in zip((*SERVICES, OTHER), table.rows[column].tolist(), strict=True)
            if number == number and number != -1
        }
        found = {labels: n for labels, n in points(update, metric.name).items() if not value or labels[-1] == value}
        assert found == known


def test_what_is_unknown_has_no_value():
    assert set(points(updates()[0], "tcpsight_response_time_p99_seconds")) == {(service,) for service in SERVICES}
    assert "tcpsight_captured_bytes_total" not in read(updates()[0])
    assert "tcpsight_response_time_mean_seconds" not in read(updates()[-1])


def test_the_histogram_counts_every_request_once():
    # 5, 1, 3, 2 and 4 ms; bounds are inclusive.
    found = points(updates()[-1], "tcpsight_response_time_seconds")[(SERVICES[0],)]
    assert isinstance(found, Buckets)
    at = {bound: count for bound, count in zip(BOUNDS_S, found.counts, strict=False) if count}
    assert at == {0.001: 1, 0.0025: 1, 0.005: 3}
    assert found.number == 5
    assert found.sum == pytest.approx(0.015)


def test_counters_of_the_watch():
    update = updates()[-1]._replace(
        bytes=1234,
        drops=3,
        findings=Findings(),
        findings_so_far={("stall", "critical"): 2},
        feeds={"tcp://h:1": FeedCounts(5, 6, 7)},
    )
    assert points(update, "tcpsight_captured_frames_total") == {(): 38}
    assert points(update, "tcpsight_captured_bytes_total") == {(): 1234}
    assert points(update, "tcpsight_capture_dropped_frames_total") == {(): 3}
    findings = points(update, "tcpsight_findings_total")
    assert set(findings) == set(product(FINDINGS, SEVERITIES)), (
        "all from the start: a rate needs the 0 before the first"
    )
    assert {labels for labels, count in findings.items() if count} == {("stall", "critical")}
    assert findings["stall", "critical"] == 2
    assert points(update, "tcpsight_feed_sent_total") == {("tcp://h:1",): 5}
    assert points(update, "tcpsight_feed_dropped_total") == {("tcp://h:1",): 6}
    assert points(update, "tcpsight_feed_failures_total") == {("tcp://h:1",): 7}
    assert points(update, "tcpsight_slice_end_timestamp_seconds") == {(): update.end_ns / 1e9}
    assert points(update, "tcpsight_build_info") == {("1.2.3",): 1}


def test_findings_that_nobody_looks_for_are_unknown_not_none():
    assert "tcpsight_findings_total" not in read(updates()[-1])


def test_every_reason_is_told_from_the_start():
    assert set(points(updates()[0], "tcpsight_unseen_total")) == {(reason,) for reason in REASONS}


def test_before_the_first_slice_there_is_what_is_known():
    assert list(read(None)) == ["tcpsight_build_info"]


def test_services_that_read_alike_are_told_once():
    update = updates()[0]
    services, totals = update.services.copy(), update.totals.copy()
    for table in (services, totals):
        table.rows["server_address"][1] = table.rows["server_address"][0]
        table.rows["server_port"][1] = table.rows["server_port"][0]
    totals.rows["ip_version"][1] = totals.rows["ip_version"][0]
    update = update._replace(services=services, totals=totals)
    assert points(update, "tcpsight_backlog_requests") == {(SERVICES[0],): 0, (OTHER,): 0}
    assert points(update, "tcpsight_requests_total")[(SERVICES[0],)] == totals.requests[0]


def test_there_are_no_more_services_than_have_rows():
    talks = [Talk(answered(1), server_port=1000 + i, start_ns=START_NS + i * MS) for i in range(150)]
    for update in updates_of(talks):
        names = {point.labels[0] for point in read(update)["tcpsight_requests_total"].points}
        assert OTHER in names
        assert len(names) <= 101
    assert len(names) == 101
    assert points(update, "tcpsight_requests_total")[(OTHER,)] == 50


def test_labels_of_few_words_hold_no_others():
    by_label = {"kind": FINDINGS, "severity": SEVERITIES, "reason": REASONS}
    for metric in METRICS:
        for label in set(metric.labels) & set(by_label):
            assert set(by_label[label]) <= set(metric.values)


def test_bounds_can_be_told_apart():
    assert np.all(np.diff(BOUNDS_S) > 0)
