"""The queue and the thread of a feed, with receivers of every kind of ill will."""

from __future__ import annotations

import gc
import threading
import tracemalloc
from time import monotonic

import numpy as np
import pytest

from tcpsight.errors import UsageError
from tcpsight.output.feeds import Feed, FeedCounts, Feeds, Update, open_feed, open_feeds
from tcpsight.output.feeds import feed as feeds_feed
from tests.support.updates import finding, updates, wait_until


class Receiver:
    """Takes what it is given while its gate is open, and fails as often as it is told to."""

    name = "test"
    needs_totals = False

    def __init__(self, *, failures: int = 0, is_open: bool = True) -> None:
        self.taken: list[Update] = []
        self.failures = failures
        self.gate = threading.Event()
        self.is_closed = False
        self.begun = threading.Event()
        if is_open:
            self.gate.set()

    def deliver(self, update: Update) -> None:
        self.begun.set()
        self.gate.wait()
        if self.failures:
            self.failures -= 1
            raise OSError("gone away")
        self.taken.append(update)

    def interrupt(self) -> None:
        self.failures = 1_000_000
        self.gate.set()

    def close(self) -> None:
        self.is_closed = True


class Deaf(Receiver):
    """Hangs, and cannot be interrupted."""

    def interrupt(self) -> None:
        pass


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch):
    monkeypatch.setattr(feeds_feed, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(feeds_feed, "LONGEST_PAUSE_S", 0.01)


def numbered(n: int) -> list[Update]:
    return [updates()[0]._replace(frames=i) for i in range(n)]


def frames(receiver: Receiver) -> list[int]:
    return [update.frames for update in receiver.taken]


def test_updates_arrive_in_their_order():
    feed = Feed(receiver := Receiver())
    for update in numbered(50):
        feed.send(update)
    feed.close(10)
    assert frames(receiver) == list(range(50))
    assert feed.counts == FeedCounts(50, 0, 0)
    assert receiver.is_closed


def test_the_oldest_go_where_the_receiver_is_too_slow():
    feed = Feed(receiver := Receiver(is_open=False), most_waiting=3)
    sent = numbered(10)
    feed.send(sent[0])
    receiver.begun.wait()
    for update in sent[1:]:
        feed.send(update)
    assert feed.waiting == 3
    assert feed.counts == FeedCounts(0, 6, 0)
    receiver.gate.set()
    feed.close(10)
    assert frames(receiver) == [0, 7, 8, 9]
    assert feed.counts == FeedCounts(4, 6, 0)


def test_updates_of_very_many_services_wait_in_smaller_number(monkeypatch):
    monkeypatch.setattr(feeds_feed, "MOST_BYTES", 10_000)
    feed = Feed(receiver := Receiver(is_open=False))
    sent = numbered(10)
    feed.send(sent[0])
    receiver.begun.wait()
    for update in sent[1:]:
        feed.send(update)
    assert 2 <= feed.waiting < 9
    large = updates()[0]._replace(services=updates()[0].services[np.zeros(1_000, int)], frames=10)
    feed.send(large)
    assert feed.waiting == 1, "the newest waits in any case"
    receiver.gate.set()
    feed.close(10)
    assert frames(receiver) == [0, 10]
    assert feed.counts == FeedCounts(2, 9, 0)


def test_patience_waits_for_a_receiver_that_is_slow_and_loses_nothing():
    feed = Feed(receiver := Receiver(is_open=False), most_waiting=2, patience_s=60)

    def send_all() -> None:
        for update in numbered(50):
            feed.send(update)

    sending = threading.Thread(target=send_all, daemon=True)
    sending.start()
    receiver.begun.wait()
    wait_until(lambda: feed.waiting == 2)
    assert feed.counts.dropped == 0
    receiver.gate.set()
    sending.join()
    feed.close(10)
    assert frames(receiver) == list(range(50))


def test_patience_does_not_wait_for_a_receiver_that_fails():
    feed = Feed(Receiver(failures=1_000_000), most_waiting=2, patience_s=60)
    for update in numbered(50):
        feed.send(update)
    feed.close(10)
    assert feed.counts[:2] == (0, 50)


def test_patience_ends_with_a_receiver_that_hangs():
    feed = Feed(receiver := Receiver(is_open=False), most_waiting=2, patience_s=0.01)
    for update in numbered(10):
        feed.send(update)
    assert feed.counts.dropped >= 7
    receiver.gate.set()
    feed.close(10)
    assert feed.counts.sent + feed.counts.dropped == 10


def test_an_update_is_tried_again_until_it_is_taken():
    feed = Feed(receiver := Receiver(failures=5))
    for update in numbered(3):
        feed.send(update)
    wait_until(lambda: feed.counts.sent == 3)
    feed.close(10)
    assert frames(receiver) == [0, 1, 2]
    assert feed.counts == FeedCounts(3, 0, 5)
    assert feed.last_failure == "gone away"


def test_what_is_tried_again_is_the_oldest_and_goes_first():
    feed = Feed(receiver := Receiver(failures=1_000_000, is_open=False), most_waiting=2)
    sent = numbered(5)
    feed.send(sent[0])
    receiver.begun.wait()
    for update in sent[1:]:
        feed.send(update)
    receiver.gate.set()
    wait_until(lambda: feed.counts.failures > 3)
    receiver.failures = 0
    feed.close(10)
    assert frames(receiver) == [3, 4]
    assert feed.counts[:2] == (2, 3)


def test_a_receiver_that_hangs_ends_with_its_feed():
    feed = Feed(receiver := Receiver(is_open=False))
    for update in numbered(4):
        feed.send(update)
    receiver.begun.wait()
    feed.close(0.05)
    assert feed.counts[:2] == (0, 4)
    assert feed.counts.failures <= 1


def test_closing_is_bounded_even_if_nothing_can_interrupt_the_receiver():
    feed = Feed(receiver := Deaf(is_open=False))
    for update in numbered(4):
        feed.send(update)
    receiver.begun.wait()
    began = monotonic()
    feed.close(0.05)
    assert monotonic() - began < 5  # it would hang for ever
    assert feed.counts == FeedCounts(0, 4, 0)
    receiver.gate.set()
    wait_until(lambda: receiver.is_closed)
    assert feed.counts == FeedCounts(0, 4, 0), "what ends later is not counted twice"


def test_every_update_is_counted_once_however_it_ends():
    feed = Feed(receiver := Receiver(failures=3), most_waiting=5)
    for update in numbered(500):
        feed.send(update)
    feed.close(10)
    assert feed.counts.sent == len(receiver.taken)
    assert feed.counts.sent + feed.counts.dropped == 500


def test_a_closed_feed_drops_and_counts():
    feed = Feed(Receiver())
    feed.close(10)
    feed.send(updates()[0])
    feed.close(10)
    assert feed.counts == FeedCounts(0, 1, 0)


def test_a_feed_survives_any_error_of_its_receiver():
    class Broken(Receiver):
        def deliver(self, update: Update) -> None:
            if self.failures:
                self.failures -= 1
                raise AssertionError
            super().deliver(update)

    feed = Feed(receiver := Broken(failures=2))
    feed.send(updates()[0])
    wait_until(lambda: len(receiver.taken) == 1)
    feed.close(10)
    assert feed.last_failure == "AssertionError"


def test_memory_does_not_grow_behind_a_receiver_that_hangs():
    feed = Feed(receiver := Receiver(is_open=False), most_waiting=10)

    def send(n: int) -> None:
        for i in range(n):
            feed.send(updates()[0]._replace(services=updates()[0].services.copy(), frames=i))
        gc.collect()  # Python keeps some freed tuples

    send(50)
    tracemalloc.start()
    try:
        send(20)
        before = tracemalloc.get_traced_memory()[0]
        send(5_000)
        assert tracemalloc.get_traced_memory()[0] - before < 10_000
    finally:
        tracemalloc.stop()
    receiver.gate.set()
    feed.close(10)


def test_feeds_tell_what_became_of_each_other_and_of_all_findings():
    first, second = Receiver(), Receiver()
    second.name = "second"
    feeds = Feeds([Feed(first), Feed(second)])
    feeds.send(updates()[0]._replace(findings=finding()))
    wait_until(lambda: all(feed.counts.sent == 1 for feed in feeds.feeds))
    feeds.send(updates()[1])
    feeds.send(updates()[2]._replace(findings=finding("stall", "critical")))
    feeds.close()
    assert [update.findings_so_far for update in first.taken] == [
        {("stall", "warning"): 1},
        {("stall", "warning"): 1},
        {("stall", "warning"): 1, ("stall", "critical"): 1},
    ]
    assert first.taken[0].feeds == {"test": FeedCounts(), "second": FeedCounts()}
    assert first.taken[1].feeds == {"test": FeedCounts(1), "second": FeedCounts(1)}
    assert not feeds.last_words()


def test_last_words_name_what_was_lost_and_why():
    feed = Feed(Receiver(failures=1_000_000))
    feeds = Feeds([feed])
    feeds.send(updates()[0])
    wait_until(lambda: feed.counts.failures >= 2)
    feeds.close()
    (line,) = feeds.last_words()
    assert line.startswith("feed test: 0 slices sent, 1 slice dropped; its receiver failed ")
    assert line.endswith(" times (last: gone away)")


def test_a_target_is_fed_once(tmp_path):
    path = tmp_path / "out"
    with pytest.raises(UsageError, match="named twice"):
        open_feeds([str(path), f"jsonl:{path}"])


def test_only_feeds_of_numbers_need_totals(tmp_path):
    with_lines = open_feeds([str(tmp_path / "out"), "tcp://127.0.0.1:9"])
    with_numbers = open_feeds(["statsd://127.0.0.1:9"])
    assert (with_lines.needs_totals, with_numbers.needs_totals) == (False, True)
    assert with_lines
    assert not open_feeds([])
    with_lines.close(0)
    with_numbers.close(0)


@pytest.mark.parametrize(("extra", "target"), [("otlp", "otlp+http://h:1"), ("kafka", "kafka://h/t")])
def test_a_missing_library_is_named_with_the_extra_that_installs_it(monkeypatch, extra: str, target: str):
    import sys

    for name in ("confluent_kafka", "opentelemetry.exporter.otlp.proto.http.metric_exporter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=rf"pip install 'tcpsight\[{extra}\]'"):
        open_feed(target)
