"""A report from a whole capture: services, their series, and what is left out."""

from __future__ import annotations

import pytest

from tcpsight.analysis import Analysis
from tcpsight.pipeline import Options
from tcpsight.reporting import SERIES_COLUMNS, Report, ReportCollection, series_interval_ns
from tcpsight.selection import Selection
from tcpsight.tables import Findings
from tests.support.pcap import pcap_bytes
from tests.support.traffic import MS, START_NS, Talk, answered, capture


def collect(tmp_path, talks, most_services=10, options=None) -> Report:
    path = tmp_path / "talks.pcap"
    path.write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
    with Analysis([path], options).run(Findings) as run:
        collection = ReportCollection(most_services)
        for batch in run:
            collection.feed(batch)
        return collection.report(run)


def test_each_service_has_its_own_series(tmp_path):
    talks = [Talk(answered(*[1] * (10 + i)), server_port=80 + i, client_port=40_000 + i) for i in range(3)]
    report = collect(tmp_path, talks)
    assert [each.endpoint[1] for each in report.services] == [82, 81, 80]
    assert [int(each.series.completions.sum()) for each in report.services] == [12, 11, 10]
    assert [each.service.requests for each in report.services] == [12, 11, 10]
    assert report.omitted.services == 0


def test_sums_are_of_arrivals_and_the_series_is_of_whoever_was_there(tmp_path):
    talks = [Talk(answered(1000)), Talk(answered(*[1] * 20, after_ms=20), client_port=41_000)]
    selection = Selection(since_ns=START_NS + 100 * MS, until_ns=START_NS + 300 * MS)
    (only,) = collect(tmp_path, talks, options=Options(selection)).services
    assert only.service.requests == int(only.series.arrivals.sum()) == only.service.response_times.count
    assert only.service.response_times.max == MS
    assert int(only.series.busy_ns.sum()) == 200 * MS
    assert int(only.series.backlog[-1]) == 1


def test_services_that_are_left_out_are_added_up(tmp_path):
    talks = [Talk(answered(*[1] * (10 - i)), server_port=80 + i, client_port=40_000 + i) for i in range(5)]
    report = collect(tmp_path, talks, most_services=2)
    assert len(report.services) == 2
    omitted = report.omitted
    assert (omitted.services, omitted.requests, omitted.connections) == (3, 8 + 7 + 6, 3)


def test_a_thousand_services_are_told_apart(tmp_path):
    talks = [Talk(answered(1), server_port=1024 + i, start_ns=START_NS + i * MS) for i in range(1000)]
    report = collect(tmp_path, talks, most_services=1)
    assert report.omitted.services == 999
    assert report.omitted.requests == 999
    assert len(report.services[0].series) > 0


@pytest.mark.parametrize("duration_ns", [0, 1, 519, 520, 521, 10**6, 13_003_000_000, 86_400 * 10**9, 2**62])
def test_slices_are_round_and_few(duration_ns):
    interval_ns = series_interval_ns(duration_ns)
    assert interval_ns * SERIES_COLUMNS >= duration_ns
    assert interval_ns == 10 or interval_ns * SERIES_COLUMNS <= 2 * duration_ns
    assert len(f"{interval_ns}".rstrip("0")) == 1 or f"{interval_ns}".startswith("25")
