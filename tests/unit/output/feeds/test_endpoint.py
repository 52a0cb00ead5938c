"""The endpoint for Prometheus: scraped over HTTP, read by Prometheus' own parsers, checked by promtool."""

from __future__ import annotations

import gzip
import json
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote

import pytest

from tcpsight.errors import TcpsightError, UsageError
from tcpsight.output.feeds import FeedCounts, open_feeds
from tcpsight.output.feeds import endpoint as feeds_endpoint
from tcpsight.output.feeds.endpoint import MetricsEndpoint
from tcpsight.output.feeds.metrics import METRICS
from tcpsight.output.feeds.readings import Buckets, Reader, full_labels
from tcpsight.tables import Findings
from tests.support.updates import BEGUN_NS, finding, nothing_yet, updates, wait_until

OPEN_METRICS = "application/openmetrics-text;version=1.0.0"
# What Prometheus 2.42 asks with.
REAL_ACCEPT = (
    f"{OPEN_METRICS},application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.fixture(autouse=True)
def _looks_often(monkeypatch):
    monkeypatch.setattr(feeds_endpoint, "POLL_S", 0.02)


@pytest.fixture
def endpoint() -> Iterator[MetricsEndpoint]:
    made = MetricsEndpoint("127.0.0.1:0", version="1.2.3")
    yield made
    made.close()


def scrape(endpoint: MetricsEndpoint, path: str = "/metrics", **headers: str) -> tuple[str, str]:
    asked = urllib.request.Request(f"http://{endpoint.address}{path}", headers=headers)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def samples(families: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def expected(update: Any) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Write readings as samples, without the library that the endpoint writes them with."""
    found: dict[tuple[str, frozenset[tuple[str, str]]], float] = {}
    for reading in Reader("1.2.3").read(update):
        name = reading.metric.name
        for point in reading.points:
            labels = frozenset(full_labels(reading.metric, point).items())
            if isinstance(point.value, Buckets):
                found[name + "_count", labels] = point.value.number
                found[name + "_sum", labels] = point.value.sum
            else:
                found[name, labels] = point.value
    return found


def test_prometheus_reads_every_metric_in_its_text_format(endpoint):
    from prometheus_client.parser import text_string_to_metric_families

    endpoint.send(updates()[-1])
    kind, text = scrape(endpoint)
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    found = samples(text_string_to_metric_families(text))
    assert {key: n for key, n in found.items() if not key[0].endswith("_bucket")} == expected(updates()[-1])


def test_prometheus_reads_every_metric_as_open_metrics(endpoint):
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    endpoint.send(updates()[-1])
    kind, text = scrape(endpoint, Accept=REAL_ACCEPT)
    assert kind.startswith("application/openmetrics-text; version=1.0.0")
    families = list(text_string_to_metric_families(text))
    found = samples(families)
    assert {key: n for key, n in found.items() if not key[0].endswith("_bucket")} == expected(updates()[-1])
    kinds = {family.name: family.type for family in families}
    for reading in Reader("").read(updates()[-1]):
        ending = {"counter": "_total", "info": "_info"}.get(reading.metric.kind, "")
        assert kinds[reading.metric.name.removesuffix(ending)] == reading.metric.kind


def test_buckets_hold_all_that_took_no_longer(endpoint):
    from prometheus_client.parser import text_string_to_metric_families

    endpoint.send(updates()[-1])
    found = samples(text_string_to_metric_families(scrape(endpoint)[1]))
    name, service = "tcpsight_response_time_seconds_bucket", "10.0.0.9:3306"
    at = {
        dict(labels)["le"]: n for (each, labels), n in found.items() if each == name and ("service", service) in labels
    }
    assert [at[le] for le in ("0.0005", "0.001", "0.0025", "0.005", "0.01", "100", "+Inf")] == [0, 1, 2, 5, 5, 5, 5]


def test_a_scrape_before_the_first_slice_tells_what_is_known(endpoint):
    assert 'tcpsight_build_info{version="1.2.3"} 1.0' in scrape(endpoint)[1]
    assert scrape(endpoint, Accept=OPEN_METRICS)[1].endswith("# EOF\n")


def test_before_the_first_slice_counters_are_0_and_interfaces_are_up_or_down(endpoint):
    from prometheus_client.parser import text_string_to_metric_families

    endpoint.send(nothing_yet())
    found = {(name, *dict(sorted(labels)).values()): n for (name, labels), n in samples(
        text_string_to_metric_families(scrape(endpoint)[1])
    ).items()}  # fmt: skip
    for name in ("captured_frames", "captured_segments", "captured_bytes", "capture_dropped_frames"):
        assert found[f"tcpsight_{name}_total",] == 0
    assert found["tcpsight_unseen_total", "kernel_drop"] == 0
    assert found["tcpsight_findings_total", "stall", "critical"] == 0
    assert found["tcpsight_interface_up", "eth0"] == 1
    assert found["tcpsight_interface_up", "eth1"] == 0
    assert found["tcpsight_slice_end_timestamp_seconds",] == BEGUN_NS / 1e9
    # The time of a pipe is not known before its first frame.
    endpoint.send(nothing_yet()._replace(begun_ns=-1))
    assert "slice_end" not in scrape(endpoint)[1]


def test_feeds_that_are_sent_metrics_are_told_that_there_is_no_slice_yet_and_lines_are_not(tmp_path):
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(20)
        lines = tmp_path / "lines.jsonl"
        feeds = open_feeds([f"statsd://127.0.0.1:{server.getsockname()[1]}", str(lines)], version="1")
        feeds.begin(nothing_yet(), is_pushed=False)
        feeds.begin(nothing_yet(), is_pushed=True)
        assert b"tcpsight.eth1.interface_up:0|g" in server.recv(10_000)
        feeds.close()
        assert [feed.counts.sent for feed in feeds.feeds] == [1, 0]
        assert lines.read_bytes() == b""


def test_an_answer_is_compressed_where_that_is_wanted(endpoint):
    asked = urllib.request.Request(f"http://{endpoint.address}/metrics", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert b"tcpsight_build_info" in gzip.decompress(answer.read())


@pytest.mark.parametrize("path", ["/", "/metricsx", "/metrics/", "/../metrics", "/etc/passwd", "/%6detrics"])
def test_there_is_nothing_else_to_ask_for(endpoint, path: str):
    with pytest.raises(HTTPError) as refused:
        scrape(endpoint, path)
    assert refused.value.code == 404
    assert scrape(endpoint, "/metrics?x=1")[1]


def test_other_methods_are_refused(endpoint):
    for method in ("POST", "PUT", "DELETE", "TRACE"):
        asked = urllib.request.Request(f"http://{endpoint.address}/metrics", method=method, data=b"x")
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(asked, timeout=30)
        assert refused.value.code == 501


def connect(endpoint: MetricsEndpoint) -> socket.socket:
    host, _, port = endpoint.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=30)


@pytest.mark.parametrize(
    "said",
    [b"", b"\0" * 1000, b"GET\r\n\r\n", b"GET /metrics HTTP/9.9\r\n\r\n", b"x" * 100_000],
    ids=["nothing", "zeros", "half a request", "a version to come", "a long line"],
)
def test_nonsense_is_answered_or_cut_off(endpoint, said: bytes):
    with closing(connect(endpoint)) as client:
        try:
            client.sendall(said)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65_536):
                pass
        except OSError:
            pass  # cut off while it spoke
    assert scrape(endpoint)[1]


def test_slow_clients_are_few_and_are_cut_off(endpoint):
    slow = [connect(endpoint) for _ in range(feeds_endpoint.MOST_CLIENTS)]
    for client in slow:
        client.sendall(b"GET /met")
    deadlines = endpoint._server._deadlines
    wait_until(lambda: len(deadlines) == feeds_endpoint.MOST_CLIENTS)
    # Beyond them nobody is let in, and nobody is kept waiting.
    with closing(connect(endpoint)) as another:
        assert another.recv(100) == b""
    # Their time is over.
    for each in list(deadlines):
        deadlines[each] = 0
    for client in slow:
        with closing(client):
            assert client.recv(100) == b""
    wait_until(lambda: not deadlines)
    assert "tcpsight_build_info" in scrape(endpoint)[1]


def test_a_client_that_does_not_read_is_cut_off(endpoint, monkeypatch):
    monkeypatch.setattr(feeds_endpoint._Handler, "timeout", 0.2)
    # More than the buffers of a connection hold.
    endpoint.send(
        updates()[0]._replace(feeds={f"a feed with a long name, number {i}": FeedCounts() for i in range(30_000)})
    )
    with closing(connect(endpoint)) as client:
        client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        wait_until(lambda: bool(endpoint._server._deadlines))
        wait_until(lambda: not endpoint._server._deadlines)
        received = 0
        while data := client.recv(1 << 20):
            received += len(data)
    assert received < len(scrape(endpoint)[1])


def test_closing_does_not_wait_for_clients():
    endpoint = MetricsEndpoint("127.0.0.1:0")
    with closing(connect(endpoint)) as client:
        client.sendall(b"GET /")
        wait_until(lambda: bool(endpoint._server._deadlines))
        endpoint.close()
        assert client.recv(100) == b""
    with pytest.raises(OSError, match="refused"):
        scrape(endpoint)


def test_an_address_that_is_none_or_taken_is_told(endpoint):
    with pytest.raises(TcpsightError, match="Address already in use"):
        MetricsEndpoint(endpoint.address)
    for listen in (":9470", "9470", "nowhere"):
        with pytest.raises(UsageError, match=r"write 127\.0\.0\.1:9470"):
            MetricsEndpoint(listen)
    with pytest.raises(TcpsightError, match="cannot listen"):
        MetricsEndpoint("no-such-host.invalid:1")


def test_drops_of_feeds_are_told(tmp_path):
    feeds = open_feeds(["/dev/full"], listen="127.0.0.1:0", version="1")
    feeds.send(updates()[0])
    wait_until(lambda: feeds.feeds[0].counts.failures > 0)
    for feed in feeds.feeds:
        feed.close(1)
    feeds.send(updates()[1]._replace(findings=finding()))
    assert feeds.endpoint is not None
    text = scrape(feeds.endpoint)[1]
    assert 'tcpsight_feed_dropped_total{feed="/dev/full"} 1.0' in text
    assert 'tcpsight_findings_total{kind="stall",severity="warning"} 1.0' in text
    feeds.close()


def test_promtool_finds_nothing_to_complain_about(endpoint, require_program):
    promtool = require_program("promtool")
    endpoint.send(
        updates()[0]._replace(
            bytes=1,
            findings=Findings(),
            findings_so_far={("stall", "info"): 1},
            feeds={'/a/b c"\n': FeedCounts(1, 2, 3)},
            interfaces={"eth0": True},
        )
    )
    text = scrape(endpoint)[1].encode()
    assert all(metric.name.encode() in text for metric in METRICS)
    run = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


@pytest.mark.peers
def test_a_real_prometheus_scrapes_every_metric(endpoint, require_program, tmp_path):
    prometheus = require_program("prometheus")
    endpoint.send(updates()[-1])
    config = tmp_path / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 1s}\n"
        f"scrape_configs: [{{job_name: tcpsight, static_configs: [{{targets: ['{endpoint.address}']}}]}}]\n"
    )
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [f"--config.file={config}", f"--storage.tsdb.path={tmp_path}", f"--web.listen-address=127.0.0.1:{port}"]
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen([prometheus, *arguments], stdout=log, stderr=log)

    def asked(query: str) -> list[Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query={query}", timeout=10) as answer:
                found: list[Any] = json.load(answer)["data"]["result"]
                return found
        except OSError:
            return []

    try:
        wait_until(lambda: bool(asked("tcpsight_build_info")), 60)
        for (name, labels), value in expected(updates()[-1]).items():
            selector = ",".join(f'{key}="{text}"' for key, text in labels)
            (found,) = asked(quote(f"{name}{{{selector}}}"))
            assert float(found["value"][1]) == value
    finally:
        server.terminate()
        server.wait(30)
        log.close()


def test_every_metric_can_be_told():
    told = {reading.metric.name for reading in Reader("1").read(updates()[0])}
    only_sometimes = {"tcpsight_captured_bytes_total", "tcpsight_findings_total"}
    only_sometimes.add("tcpsight_interface_up")
    only_sometimes |= {f"tcpsight_feed_{what}_total" for what in ("sent", "dropped", "failures")}
    assert {metric.name for metric in METRICS} - told == only_sometimes
