"""Metrics as datagrams, to a real UDP socket."""

from __future__ import annotations

import socket
from collections import Counter
from contextlib import closing

import pytest

from tcpsight.output.feeds import FeedCounts, open_feed
from tcpsight.output.feeds import feed as feeds_feed
from tcpsight.output.feeds.statsd import MOST_BYTES, StatsD
from tcpsight.output.feeds.targets import parse_target
from tests.support.traffic import MS, START_NS, Talk, answered
from tests.support.updates import updates, updates_of, wait_until


class Server:
    """Adds up what comes, as a StatsD server does."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening = listening
        self.counters: Counter[str] = Counter()
        self.gauges: dict[str, float] = {}
        self.datagrams: list[bytes] = []

    def take_all(self) -> None:
        self.listening.setblocking(False)
        while True:
            try:
                self.datagrams.append(self.listening.recv(65_536))
            except BlockingIOError:
                return
            for line in self.datagrams[-1].decode("ascii").split("\n"):
                self._take(line)

    def _take(self, line: str) -> None:
        name, _, rest = line.partition("|#") if "|#" in line else (line, "", "")
        body, kind = name.split("|")
        key, _, value = body.rpartition(":")
        if rest:
            key = f"{key}|{rest}"
        assert kind in ("c", "g")
        if kind == "c":
            self.counters[key] += float(value)  # type: ignore[assignment]
        else:
            self.gauges[key] = float(value)


@pytest.fixture
def server():
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
        listening.bind(("127.0.0.1", 0))
        yield Server(listening)


def target(server: Server, scheme: str = "statsd") -> str:
    return f"{scheme}://127.0.0.1:{server.listening.getsockname()[1]}"


def test_counters_add_up_to_what_was_counted(server):
    feed = open_feed(target(server))
    for update in updates():
        feed.send(update)
    feed.close(10)
    server.take_all()
    assert feed.counts == (len(updates()), 0, 0)
    mysql = "tcpsight.10_0_0_9_3306"
    assert server.counters[f"{mysql}.requests_total"] == 5
    assert server.counters[f"{mysql}.response_time_seconds_count"] == 5
    assert server.counters[f"{mysql}.response_time_seconds_sum"] == pytest.approx(0.015)
    assert server.counters[f"{mysql}.client.stream_bytes_total"] == 120
    assert server.counters["tcpsight.fd00__9__80.requests_total"] == 3
    assert server.counters["tcpsight.captured_frames_total"] == updates()[-1].frames
    assert server.gauges[f"{mysql}.unanswered_backlog_requests"] == 1
    assert server.gauges["tcpsight.fd00__9__80.throughput_per_second"] == pytest.approx(1 / 0.035)


def test_labels_are_tags_where_the_server_knows_them(server):
    feed = open_feed(target(server, "dogstatsd"))
    feed.send(updates()[-1])
    feed.close(10)
    server.take_all()
    assert server.counters["tcpsight.requests_total|service:10.0.0.9:3306"] == 5
    assert server.counters["tcpsight.stream_bytes_total|service:10.0.0.9:3306,direction:client"] == 120
    assert server.gauges["tcpsight.build_info|version:"] == 1


def test_updates_that_were_dropped_are_made_up_for(server):
    receiver = StatsD(parse_target(target(server)), version="1")
    receiver.deliver(updates()[0])
    receiver.deliver(updates()[-1])
    server.take_all()
    assert server.counters["tcpsight.10_0_0_9_3306.segments_total"] == 0
    assert server.counters["tcpsight.10_0_0_9_3306.client.segments_total"] == updates()[-1].totals.client_segments[0]


def test_a_counter_that_begins_anew_counts_from_nothing(server):
    receiver = StatsD(parse_target(target(server)), version="1")
    receiver.deliver(updates()[0]._replace(feeds={"x": FeedCounts(10)}))
    receiver.deliver(updates()[0]._replace(feeds={"x": FeedCounts(3)}))
    receiver.deliver(updates()[0])
    receiver.deliver(updates()[0]._replace(feeds={"x": FeedCounts(4)}))
    server.take_all()
    assert server.counters["tcpsight.x.feed_sent_total"] == 10 + 3 + 4
    receiver.close()


def test_datagrams_fit_a_frame_however_many_services_there_are(server):
    talks = [Talk(answered(1), server_port=1000 + i, start_ns=START_NS + i * MS) for i in range(150)]
    receiver = StatsD(parse_target(target(server)), version="1")
    for update in updates_of(talks):
        receiver.deliver(update)
        server.take_all()
    assert max(map(len, server.datagrams)) <= MOST_BYTES
    total = sum(n for name, n in server.counters.items() if name.endswith(".requests_total"))
    assert total == 150


def test_nothing_is_counted_twice_where_sending_breaks_off(server):
    class Breaking:
        """Refuses the second datagram, once."""

        def __init__(self, real: socket.socket) -> None:
            self.real, self.sent = real, 0

        def send(self, data: bytes) -> int:
            self.sent += 1
            if self.sent == 2:
                raise OSError(105, "No buffer space available")
            return self.real.send(data)

        def close(self) -> None:
            self.real.close()

    receiver = StatsD(parse_target(target(server)), version="1")
    receiver._socket = Breaking(receiver._connected())  # type: ignore[assignment]
    with pytest.raises(OSError, match="No buffer"):
        receiver.deliver(updates()[-1])
    receiver.deliver(updates()[-1])
    server.take_all()
    assert server.counters["tcpsight.10_0_0_9_3306.requests_total"] == 5
    assert server.counters["tcpsight.captured_frames_total"] == updates()[-1].frames


def test_a_server_that_is_gone_is_a_failure_and_is_found_again(server, monkeypatch):
    monkeypatch.setattr(feeds_feed, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(feeds_feed, "LONGEST_PAUSE_S", 0.01)
    address = server.listening.getsockname()
    where = target(server)
    server.listening.close()
    feed = open_feed(where)
    feed.send(updates()[-1])
    wait_until(lambda: feed.counts.failures > 2)
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listening:
        listening.bind(address)
        wait_until(lambda: feed.counts.sent == 1)
    feed.close(5)
