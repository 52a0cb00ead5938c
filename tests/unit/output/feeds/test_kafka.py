"""Messages to Kafka: to the mock cluster that librdkafka itself is tested with, over real connections."""

from __future__ import annotations

import pytest

from tcpsight.errors import UsageError
from tcpsight.output.feeds import feed as feeds_feed
from tcpsight.output.feeds import open_feed
from tcpsight.output.feeds.feed import Feed
from tcpsight.output.feeds.kafka import Kafka
from tcpsight.output.feeds.lines import UpdateLines
from tcpsight.output.feeds.targets import parse_target
from tests.support.updates import SERVICES, finding, updates, wait_until

MOCK = "kafka://mock/tcpsight?test.mock.num.brokers=1"


def received(receiver: Kafka, number: int) -> list[tuple[str, bytes]]:
    """Read the topic with a consumer of its own."""
    from confluent_kafka import Consumer, TopicPartition

    metadata = receiver._producer.list_topics("tcpsight", 10)
    brokers = ",".join(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values())
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": "test", "auto.offset.reset": "earliest"})
    partitions = list(metadata.topics["tcpsight"].partitions)
    consumer.assign([TopicPartition("tcpsight", each, 0) for each in partitions])
    found: list[tuple[str, bytes]] = []

    def poll() -> bool:
        message = consumer.poll(0.1)
        if message is not None and message.error() is None:
            key, value = message.key(), message.value()
            assert isinstance(key, bytes)
            assert value is not None
            found.append((key.decode(), value))
        return len(found) >= number

    wait_until(poll)
    consumer.close()
    return found


def test_each_line_is_a_message_with_its_service_as_key():
    receiver = Kafka(parse_target(MOCK), with_findings=True)
    feed = Feed(receiver)
    sent = [updates()[0], updates()[1]._replace(findings=finding())]
    lines = UpdateLines(with_findings=True)
    expected = [line for update in sent for line in lines.encode(update).splitlines()]
    for update in sent:
        feed.send(update)
    wait_until(lambda: feed.counts.sent == 2)
    found = received(receiver, len(expected))
    feed.close(10)
    assert sorted(value for _, value in found) == sorted(expected)
    assert [key for key, _ in found].count(SERVICES[0]) == 2
    assert [key for key, value in found if value.startswith(b'{"finding"')] == ["finding"]
    for service, address in zip(SERVICES, (b'"10.0.0.9"', b'"fd00::9"'), strict=True):
        values = [value for key, value in found if key == service]
        assert all(address in value for value in values)
        assert values == [line for line in expected if address in line and b"finding" not in line], "in their order"


def test_brokers_that_are_down_cost_updates_that_are_counted(monkeypatch):
    monkeypatch.setattr(feeds_feed, "FIRST_PAUSE_S", 0.001)
    feed = open_feed("kafka://127.0.0.1:1/tcpsight", most_waiting=3)
    for _ in range(20):
        feed.send(updates()[0])
    feed.close(0.2)
    assert feed.counts[:2] == (0, 20)


def test_messages_that_no_broker_accepts_in_time_are_a_failure(monkeypatch):
    from tcpsight.output.feeds import kafka

    monkeypatch.setattr(kafka, "SEND_S", 0.5)
    feed = open_feed("kafka://127.0.0.1:1/tcpsight")
    feed.send(updates()[0])
    wait_until(lambda: feed.counts.failures >= 1)
    assert feed.last_failure
    feed.close(0.1)


@pytest.mark.parametrize("query", ["plugin.library.paths=/x.so", "security.protocol=nonsense", "ssl.nonsense=1"])
def test_options_that_are_none_are_told(query: str):
    with pytest.raises(UsageError, match="kafka://h/t"):
        open_feed(f"kafka://h/t?{query}")
