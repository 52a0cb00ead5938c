"""What of two captures is called worse, and what of that counts."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

import tcpsight
from tcpsight.errors import CaptureWarning, UsageError
from tcpsight.worsening import is_new_critical, worse_kinds
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.steady_service import Workload, capture, live
from tests.support.traffic import MS, START_NS, Talk, answered
from tests.support.traffic import capture as written

NGINX, DATABASE = 80, 3306


def compare(before: list[Talk], after: list[Talk], **options: Any) -> dict[str, Any]:
    both = (io.BytesIO(pcap_bytes(written(each), nanoseconds=True)) for each in (before, after))
    found: dict[str, Any] = tcpsight.compare(*both, **options)
    json.dumps(found, allow_nan=False)
    return found


def talks(port: int, connections: int, requests: int, *, wait_ms: float = 5) -> list[Talk]:
    own = answered(*[wait_ms] * requests)
    return [
        Talk(own, client_port=20_000 + port + i, server_port=port, start_ns=START_NS + 977 * i)
        for i in range(connections)
    ]


def kinds(found: dict[str, Any]) -> list[tuple[str, int]]:
    return [(each["kind"], each["server_port"]) for each in found["worse"]]


def test_a_service_that_vanished_makes_it_worse():
    database = talks(DATABASE, 5, 50)
    found = compare([*database, *talks(NGINX, 5, 20)], database)
    assert kinds(found) == [("vanished", NGINX)]
    assert (found["verdict"], found["is_worse"]) == ("worse", True)
    assert compare(database, [*database, *talks(NGINX, 5, 20)])["worse"] == []


def test_a_service_that_is_connected_to_and_asked_nothing_any_more_has_vanished():
    database, idle = talks(DATABASE, 5, 50), [Talk([], client_port=30_000, server_port=NGINX)]
    found = compare([*database, *talks(NGINX, 5, 20)], [*database, *idle])
    assert kinds(found) == [("vanished", NGINX)]
    assert {each["server_port"]: each["verdict"] for each in found["services"]}[NGINX] == "worse"


def test_a_port_that_refused_everybody_is_not_missed():
    database = talks(DATABASE, 3, 100)
    frames = written(database)
    refused = []
    for i in range(40):
        time_ns = START_NS + i * 20 * MS
        refused.append(Frame(time_ns, tcp_frame("10.0.0.1", "10.0.0.9", 30_000 + i, 9999, 1, 0, "S")))
        refused.append(Frame(time_ns + MS, tcp_frame("10.0.0.9", "10.0.0.1", 9999, 30_000 + i, 0, 2, "RA")))
    before = sorted([*frames, *refused], key=lambda frame: frame.time_ns)
    found = tcpsight.compare(*(io.BytesIO(pcap_bytes(each, nanoseconds=True)) for each in (before, frames)))
    assert found["worse"] == []


def test_the_only_service_that_vanished_makes_it_worse_though_nothing_else_can_be_compared():
    nginx, database = talks(NGINX, 2, 20), talks(DATABASE, 2, 20)
    found = compare(nginx, database)
    assert kinds(found) == [("vanished", NGINX)]
    assert (found["verdict"], found["is_worse"], found["services"]) == ("worse", True, [])
    with pytest.warns(CaptureWarning):
        named = compare([*nginx, *database], database, servers=":80")
    assert kinds(named) == [("vanished", NGINX)]


def test_of_too_few_requests_nothing_is_said_where_nothing_else_can_be_compared():
    with pytest.raises(UsageError, match="no service is in both"):
        compare(talks(NGINX, 1, 4), talks(DATABASE, 1, 4))


def backends(*servers: str, requests: int = 100) -> list[Talk]:
    return talks(DATABASE, 3, 100) + [
        Talk(
            answered(*[5] * requests),
            client_port=20_000 + 100 * i + c,
            server=server,
            server_port=NGINX,
            start_ns=START_NS + 977 * c,
        )
        for i, server in enumerate(servers)
        for c in range(3)
    ]


def test_a_service_that_moved_to_other_addresses_is_not_missed():
    assert compare(backends("10.1.0.1", "10.1.0.2"), backends("10.1.0.3", "10.1.0.4"))["worse"] == []
    few = [*backends(), *backends("10.1.0.3", requests=2)[3:]]
    found = compare(backends("10.1.0.1", "10.1.0.2"), few)
    assert kinds(found) == [("vanished", NGINX)] * 2


@pytest.mark.parametrize("requests", [(1, 19), (30, 5000)], ids=["few would be expected", "a small part of all"])
def test_a_service_with_few_requests_is_not_missed(requests):
    few, many = requests
    database = talks(DATABASE, 1, many)
    assert compare([*database, *talks(NGINX, 1, few)], database)["worse"] == []


def test_in_a_shorter_capture_fewer_are_expected():
    one, database = talks(NGINX, 1, 40), talks(DATABASE, 5, 100)
    assert kinds(compare([*database, *one], talks(DATABASE, 5, 100))) == [("vanished", NGINX)]
    assert compare([*database, *one], talks(DATABASE, 5, 30))["worse"] == []


def test_more_segments_sent_again_than_are_tolerated_make_it_worse():
    own = [
        Talk(answered(*[5 + i % 7 / 10] * 60), client_port=20_000 + i, start_ns=START_NS + 977 * i) for i in range(40)
    ]
    frames = written(own)
    again = [Frame(each.time_ns + 2 * MS, each.data) for each in frames[::4] if len(each.data) > 60]
    late = sorted([*frames, *again], key=lambda frame: frame.time_ns)
    both = [pcap_bytes(frames, nanoseconds=True), pcap_bytes(late, nanoseconds=True)]
    found = tcpsight.compare(*map(io.BytesIO, both))
    assert ("retransmissions", DATABASE) in kinds(found)
    tolerant = tcpsight.compare(*map(io.BytesIO, both), failure_tolerance=0.5)
    assert kinds(tolerant) == []


def test_less_throughput_with_as_many_requests_in_progress_is_worse():
    one, two = live(Workload(), 1, requests=4000, slow_down=1.3)
    found = tcpsight.compare(io.BytesIO(capture(one)), io.BytesIO(capture(two)))
    assert [each["kind"] for each in found["worse"]] == ["response_time", "throughput"]
    again = tcpsight.compare(io.BytesIO(capture(one)), io.BytesIO(capture(two)), tolerance=0.5)
    assert again["worse"] == []


def test_a_critical_finding_that_came_makes_it_worse():
    def stalled(wait_ms: float) -> list[Talk]:
        waits = [5 + i * 37 % 101 / 20 for i in range(300)]
        waits[150] = wait_ms
        return [Talk(answered(*waits), client_port=40_000 + i) for i in range(8)]

    found = compare(stalled(5), stalled(6000))
    assert kinds(found) == [("findings", DATABASE)]
    assert compare(stalled(6000), stalled(6000))["worse"] == []
    # One that was a warning before is no news as a kind, but as a critical one.
    grown = compare(stalled(900), stalled(6000))
    assert [row["severity_before"] for row in grown["services"][0]["findings"]["stayed"]] == ["warning"]
    assert grown["is_worse"]


def locked(wait_ms: float) -> list[Talk]:
    """Give clients of whom all wait at once, and nobody else is heard."""
    talks = []
    for i in range(8):
        waits = [5 + (i * 37 + j) % 101 / 20 for j in range(301)]
        waits[150] = wait_ms - sum(waits[:150])
        talks.append(Talk(answered(*waits), client_port=40_000 + i))
    return talks


def test_a_long_stall_in_which_nobody_was_heard_makes_it_worse_for_it_may_be_one():
    found = compare(locked(1500), locked(70_000))
    rows = found["services"][0]["findings"]
    (stall,) = [row for row in rows["came"] + rows["stayed"] if row["kind"] == "stall"]
    assert (stall["severity"], stall["possible_severity"]) == ("warning", "critical")
    assert ("findings", DATABASE) in kinds(found)
    assert compare(locked(70_000), locked(70_000))["worse"] == []


def test_only_what_is_to_count_decides():
    database = talks(DATABASE, 5, 50)
    both = [*database, *talks(NGINX, 5, 20)], database
    found = compare(*both, fail_on=("response_time", "failures"))
    assert (found["is_worse"], found["verdict"]) == (False, "worse")
    assert [each["is_counted"] for each in found["worse"]] == [False]
    assert compare(*both, fail_on=["vanished"])["is_worse"]
    with pytest.raises(UsageError, match="'speed'; known are response_time"):
        compare(*both, fail_on=["speed"])


def service(**changed: Any) -> dict[str, Any]:
    row = {"is_decisive": True, "low": None}
    return {
        "response_time": [row],
        "shares": [{**row, "name": "failed"}, {"name": "retransmitted", "is_decisive": False, "low": None}],
        "throughput_at_equal_concurrency": {"high": None},
        "findings": {"came": [], "stayed": []},
    } | changed


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({}, []),
        ({"response_time": [{"is_decisive": True, "low": 1.06}]}, ["response_time"]),
        ({"response_time": [{"is_decisive": True, "low": 1.04}]}, []),
        ({"response_time": [{"is_decisive": False, "low": 9.0}]}, []),
        ({"throughput_at_equal_concurrency": {"high": 0.95}}, ["throughput"]),
        ({"throughput_at_equal_concurrency": {"high": 0.96}}, []),
    ],
)
def test_worse_is_what_lies_beyond_what_is_tolerated_with_its_whole_interval(changed, kind):
    assert worse_kinds(service(**changed), (0.05, 0.01), is_gone=False) == kind


@pytest.mark.parametrize(
    ("severity", "before", "is_new"),
    [
        ("critical", None, True),
        ("critical", "warning", True),
        ("critical", "critical", False),
        ("warning", None, False),
    ],
)
def test_a_critical_finding_is_new_if_it_was_not_there_or_not_critical(severity, before, is_new):
    assert is_new_critical({"possible_severity": severity, "possible_severity_before": before}) is is_new
