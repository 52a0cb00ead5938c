"""Metrics by OTLP, to a real HTTP server that decodes them with OpenTelemetry's own messages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tcpsight.output.feeds import FeedCounts, open_feed
from tcpsight.output.feeds import feed as feeds_feed
from tcpsight.output.feeds.otlp import SeriesStarts
from tcpsight.output.feeds.readings import BOUNDS_S, Buckets, Reader, full_labels
from tests.support.updates import BEGUN_NS, nothing_yet, updates, wait_until


class Collector(ThreadingHTTPServer):
    """Takes metrics, or refuses them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: list[Any] = []
        self.paths: list[str] = []
        self.status = 200
        self.hangs = threading.Event()
        self.hangs.set()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def target(self) -> str:
        return f"otlp+http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.hangs.wait()
        self.server.paths.append(self.path)
        if self.server.status == 200:
            self.server.taken.append(ExportMetricsServiceRequest.FromString(body))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.hangs.set()
    made.shutdown()
    made.server_close()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(feeds_feed, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(feeds_feed, "LONGEST_PAUSE_S", 0.01)


def labels_of(point: Any) -> frozenset[tuple[str, str]]:
    return frozenset((each.key, each.value.string_value) for each in point.attributes)


def metrics_of(request: Any) -> list[Any]:
    ((scope,),) = [resource.scope_metrics for resource in request.resource_metrics]
    return list(scope.metrics)


def test_a_collector_gets_every_metric_under_its_name(collector):
    feed = open_feed(collector.target, version="1.2.3")
    for update in updates():
        feed.send(update)
    feed.close(20)
    assert feed.counts == (len(updates()), 0, 0)
    assert set(collector.paths) == {"/v1/metrics"}
    for request, update in zip(collector.taken, updates(), strict=True):
        sent = {metric.name: metric for metric in metrics_of(request)}
        readings = Reader("1.2.3").read(update)
        assert list(sent) == [reading.metric.name for reading in readings]
        for reading in readings:
            check(sent[reading.metric.name], reading, update)


def check(sent: Any, reading: Any, update: Any) -> None:
    metric = reading.metric
    assert (sent.unit, sent.description) == (metric.unit, metric.help)
    kind = {"counter": "sum", "histogram": "histogram"}.get(metric.kind, "gauge")
    assert sent.WhichOneof("data") == kind
    data = getattr(sent, kind)
    if kind != "gauge":
        assert data.aggregation_temporality == 2  # cumulative
    if kind == "sum":
        assert data.is_monotonic
    points = {labels_of(point): point for point in data.data_points}
    assert len(points) == len(reading.points)
    for point in reading.points:
        got = points[frozenset(full_labels(metric, point).items())]
        assert got.time_unix_nano == update.end_ns
        if kind != "gauge":
            assert got.start_time_unix_nano <= update.end_ns
        if isinstance(point.value, Buckets):
            assert list(got.bucket_counts) == point.value.counts
            assert tuple(got.explicit_bounds) == BOUNDS_S
            assert (got.count, got.sum) == (point.value.number, point.value.sum)
            assert not got.HasField("min")
        else:
            assert getattr(got, got.WhichOneof("value")) == point.value


def test_before_the_first_slice_counters_count_from_the_start_of_the_watch_until_now(collector):
    feed = open_feed(collector.target, version="1.2.3")
    feed.send(nothing_yet())
    feed.close(20)
    sent = {metric.name: metric for metric in metrics_of(collector.taken[0])}
    (frames,) = sent["tcpsight_captured_frames_total"].sum.data_points
    assert (frames.as_int, frames.start_time_unix_nano) == (0, BEGUN_NS)
    assert frames.time_unix_nano == BEGUN_NS + 5 * 10**9
    up = {dict(labels_of(point))["interface"]: point for point in sent["tcpsight_interface_up"].gauge.data_points}
    assert {name: point.as_int for name, point in up.items()} == {"eth0": 1, "eth1": 0}


def test_the_program_is_named_as_the_resource(collector):
    feed = open_feed(collector.target, version="1.2.3")
    feed.send(updates()[0])
    feed.close(20)
    resource = collector.taken[0].resource_metrics[0].resource
    found = {each.key: each.value.string_value for each in resource.attributes}
    assert (found["service.name"], found["service.version"]) == ("tcpsight", "1.2.3")


def test_another_path_can_be_named(collector):
    feed = open_feed(f"{collector.target}/otlp/metrics")
    feed.send(updates()[0])
    feed.close(20)
    assert collector.paths == ["/otlp/metrics"]


def test_a_collector_that_refuses_is_tried_again(collector, capfd):
    collector.status = 400
    feed = open_feed(collector.target)
    feed.send(updates()[0])
    wait_until(lambda: feed.counts.failures >= 2)
    assert "400" in feed.last_failure
    collector.status = 200
    wait_until(lambda: feed.counts.sent == 1)
    feed.close(20)
    assert capfd.readouterr() == ("", ""), "the library says nothing across the lines of a watch"


def test_a_collector_that_is_down_costs_updates_that_are_counted(collector):
    target = collector.target
    collector.shutdown()
    collector.server_close()
    feed = open_feed(target, most_waiting=3)
    for _ in range(50):
        feed.send(updates()[0])
    feed.close(0.5)
    assert feed.counts[:2] == (0, 50)


def test_a_collector_that_hangs_ends_with_its_feed(collector):
    collector.hangs.clear()
    feed = open_feed(collector.target)
    for _ in range(5):
        feed.send(updates()[0])
    feed.close(0.2)
    assert feed.counts[:2] == (0, 5)


def test_a_series_counts_from_the_start_of_the_watch_or_from_where_it_fell():
    starts, first, second, third = SeriesStarts(), *updates()[:3]
    a, b = ("n", ("a",)), ("n", ("b",))

    def look(update: Any, **values: float) -> dict[str, int]:
        starts.begin(update)
        found = {name: starts.of({"a": a, "b": b}[name], value) for name, value in values.items()}
        starts.end(update)
        return found

    begin_ns = int(first.total.start_ns[0])
    assert look(first, a=5) == {"a": begin_ns}
    assert look(second, a=6, b=1) == {"a": begin_ns, "b": first.end_ns}
    assert look(third, a=2, b=1) == {"a": second.end_ns, "b": first.end_ns}
    assert look(updates()[3], b=1) == {"b": first.end_ns}
    assert look(updates()[4], a=9) == {"a": updates()[3].end_ns}


def test_counts_of_feeds_are_series_like_any_other(collector):
    feed = open_feed(collector.target)
    feed.send(updates()[0]._replace(feeds={"tcp://h:1": FeedCounts(1, 2, 3)}))
    feed.close(20)
    (dropped,) = [m for m in metrics_of(collector.taken[0]) if m.name == "tcpsight_feed_dropped_total"]
    assert [(labels_of(p), p.as_int) for p in dropped.sum.data_points] == [(frozenset({("feed", "tcp://h:1")}), 2)]
