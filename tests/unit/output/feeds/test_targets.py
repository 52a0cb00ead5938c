"""Where feeds go, as people write it."""

from __future__ import annotations

import pytest

from tcpsight.errors import UsageError
from tcpsight.output.feeds.targets import FORMS, Target, host_port, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("out.jsonl", ("jsonl", "out.jsonl", (), "out.jsonl")),
        ("/var/log/a:b.jsonl", ("jsonl", "/var/log/a:b.jsonl", (), "/var/log/a:b.jsonl")),
        ("jsonl:tcp://odd", ("jsonl", "tcp://odd", (), "tcp://odd")),
        ("tcp://10.0.0.1:9000", ("tcp", "tcp://10.0.0.1:9000", (("10.0.0.1", 9000),), "")),
        ("tcp://[::1]:9000", ("tcp", "tcp://[::1]:9000", (("::1", 9000),), "")),
        ("unix:///run/x.sock", ("unix", "unix:///run/x.sock", (), "/run/x.sock")),
        ("statsd://localhost:8125", ("statsd", "statsd://localhost:8125", (("localhost", 8125),), "")),
        ("dogstatsd://h:8125", ("dogstatsd", "dogstatsd://h:8125", (("h", 8125),), "")),
        ("otlp+http://h:4318", ("otlp+http", "otlp+http://h:4318", (("h", 4318),), "")),
        ("otlp+https://h:4318/x/y", ("otlp+https", "otlp+https://h:4318/x/y", (("h", 4318),), "/x/y")),
        ("kafka://a:1,b/topic.x", ("kafka", "kafka://a:1,b/topic.x", (("a", 1), ("b", 9092)), "topic.x")),
    ],
)
def test_a_target_is_read(text: str, target: tuple[object, ...]):
    assert parse_target(text) == (*target, {})


def test_the_query_of_kafka_is_no_part_of_its_name():
    target = parse_target("kafka://a/t?security.protocol=SSL&ssl.key.password=x")
    assert target == Target(
        "kafka", "kafka://a/t", (("a", 9092),), "t", {"security.protocol": "SSL", "ssl.key.password": "x"}
    )


@pytest.mark.parametrize(
    "text",
    [
        "http://h:1",
        "udp://h:1",
        "tcp:h:1",
        "tcp://h",
        "tcp://h:",
        "tcp://h:99999",
        "tcp://:1",
        "tcp://h:1/path",
        "tcp://h:1?x=1",
        "tcp://a:1,b:2",
        "tcp://[::1:9000",
        "unix://run/x.sock",
        "unix:///",
        "statsd://h:1#x",
        "otlp+http://h",
        "kafka://a",
        "kafka://a/",
        "kafka://a/t/u",
        "kafka:///t",
        "jsonl:",
        "",
        "tcp://h:1\n",
        "tcp://h\x1b:1",
    ],
)
def test_what_is_no_target_is_refused_in_a_line_that_says_what_is_one(text: str):
    with pytest.raises(UsageError) as refused:
        parse_target(text)
    assert str(refused.value).isprintable()
    assert all(form in str(refused.value) for form in FORMS)


@pytest.mark.parametrize("text", ["tcp://me:secret@h:1", "otlp+http://me:secret@h:1/x", "kafka://me:secret@a/t"])
def test_passwords_are_refused_and_not_repeated(text: str):
    with pytest.raises(UsageError, match="passwords") as refused:
        parse_target(text)
    assert "secret" not in str(refused.value)


def test_standard_output_is_no_feed():
    with pytest.raises(UsageError, match="--json"):
        parse_target("-")


def test_an_address_to_listen_at_names_its_host():
    assert host_port("127.0.0.1:0") == ("127.0.0.1", 0)
    assert host_port("[::]:9470") == ("::", 9470)
    for text in (":9470", "9470", "a:b", "::1:80", "a:1:2", "h:-1", "h: 1"):
        with pytest.raises(ValueError):
            host_port(text)
