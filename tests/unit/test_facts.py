"""The facts of a report: plain values under stable keys, unknown as None."""

from __future__ import annotations

import json

import pytest

from tcpsight.capture.tags import TagSurvey
from tcpsight.connections import Server
from tcpsight.facts import (
    capture_filter,
    distribution_facts,
    isolating_filter,
    quantile_name,
)
from tcpsight.model import Distribution
from tcpsight.output.addresses import endpoint_text
from tcpsight.output.report import page
from tcpsight.pipeline import Options
from tcpsight.selection import Selection
from tcpsight.tables import BucketConnections
from tests.support.layers import ethernet as on_ethernet
from tests.support.layers import typed, vxlan
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.reports import facts_of, report_facts
from tests.support.traffic import HANDSHAKE_NS, MS, START_NS, Exchange, Talk, answered, capture, udp_frame

FOUR = bytes(10) + b"\xff\xff\x0a\x00\x00\x01"
SIX = bytes(15) + b"\x01"

KEYS = {
    "": {"capture", "findings", "services", "omitted", "unseen"},
    "findings": {
        "kind", "severity", "subject", "direction", "start_ns", "end_ns", "connections", "connection_id", "confidence",
        "summary", "evidence", "server_address", "server_port",
    },
    "capture": {
        "files", "interfaces", "frames", "segments", "start_ns", "end_ns", "duration_ns", "connections", "selection",
        "response_time", "broken", "unknown_link_types", "tunnels", "clock", "remarks",
    },
    "services": {
        "server_address", "server_port", "requests", "unanswered", "in_flight_at_end", "overlapped", "request_bytes",
        "response_bytes",
        "throughput_per_s", "turns", "concurrency", "unanswered_concurrency", "utilization_fraction", "response_time",
        "count_dispersion", "histogram", "interval_ns", "series", "connections", "clients", "slowest_requests",
        "unanswered_requests", "remarks", "is_waited_through",
    },
    "omitted": {"services", "requests", "unanswered", "in_flight_at_end", "connections", "failed_connections"},
    "unseen": {"reason", "count", "bytes", "first_frame", "first_line", "furthest_back_ns", "meaning"},
    "slowest_requests": {
        "connection_id", "request_index", "client_address", "client_port", "arrival_ns", "filter", "response_time_ns",
        "request_bytes", "response_bytes",
    },
    "unanswered_requests": {
        "connection_id", "request_index", "client_address", "client_port", "arrival_ns", "filter", "waited_ns",
        "request_bytes",
    },
}  # fmt: skip

TALKS = [
    Talk(answered(1, 2, 3, 4)),
    Talk([*answered(10), Exchange(5 * MS, None)], client="10.0.0.2", start_ns=START_NS + MS, is_closed=False),
]


def test_keys_are_stable():
    ends = ("10.0.0.1", "10.0.0.9", 50_000, 81)
    refused = [
        Frame(START_NS + 10**9, tcp_frame(*ends, 1, 0, "S")),
        Frame(START_NS + 10**9 + MS, tcp_frame(*ends[1::-1], *ends[:1:-1], 0, 2, "RA")),
    ]
    found = report_facts(TALKS, more=[*refused, udp_frame(START_NS + 2 * 10**9)])
    service = found["services"][0]
    places = {
        "": found,
        "capture": found["capture"],
        "findings": found["findings"][0],
        "services": service,
        "omitted": found["omitted"],
        "unseen": found["unseen"][0],
        "slowest_requests": service["slowest_requests"][0],
        "unanswered_requests": service["unanswered_requests"][0],
    }
    for name, keys in KEYS.items():
        assert set(places[name]) == keys, name


def waiting(waited_ms: int, *response_times_ms: float, is_closed: bool = False) -> list[Talk]:
    """Give a service that answers one client until 1 s has passed, and a client that began to wait before that."""
    busy = Talk(answered(*response_times_ms, 1, after_ms=(900 - sum(response_times_ms)) / len(response_times_ms)))
    end_ns = max(frame.time_ns for frame in busy.frames())
    asked_ns = end_ns - waited_ms * MS
    begin_ns = START_NS + 4 * MS
    asks = [Exchange(asked_ns - begin_ns - HANDSHAKE_NS, None)]
    return [busy, Talk(asks, client="10.0.0.2", start_ns=begin_ns, is_closed=is_closed)]


@pytest.mark.parametrize(("waited_ms", "in_flight"), [(0, 1), (30, 1), (50, 1), (51, 0), (500, 0)])
def test_who_waits_at_the_end_of_the_capture_no_longer_than_the_service_ever_took_is_in_flight(waited_ms, in_flight):
    found = report_facts(waiting(waited_ms, 10, 50, 10))
    (service,) = found["services"]
    assert (service["requests"], service["in_flight_at_end"], service["unanswered"]) == (4, in_flight, 1 - in_flight)
    assert [row["waited_ns"] for row in service["unanswered_requests"]] == [waited_ms * MS] * (1 - in_flight)
    clients = {each["client_address"]: each["unanswered"] for each in service["clients"]["largest"]}
    assert clients == {"10.0.0.1": 0, "10.0.0.2": 1 - in_flight}
    # Intervals are written before that is known.
    assert sum(each["unanswered"] for each in service["series"]) == 1
    text = " ".join(page(found).split())
    assert ("1 in flight at the end of the capture" in text) == bool(in_flight)
    assert ("1 never answered" in text) != bool(in_flight)


def test_where_nothing_was_answered_nobody_is_in_flight():
    (service,) = report_facts([Talk([Exchange(MS, None)], is_closed=False)])["services"]
    assert (service["in_flight_at_end"], service["unanswered"]) == (0, 1)


@pytest.mark.parametrize("flags", ["RA", "FA"])
def test_a_request_whose_server_reset_or_closed_as_the_capture_ended_is_not_in_flight(flags):
    talks = waiting(5, 10, 50, 10)
    end_ns = max(frame.time_ns for talk in talks for frame in talk.frames())
    end = Frame(end_ns + MS, tcp_frame("10.0.0.9", "10.0.0.2", 3306, 40_000, 9001, 1021, flags))
    (service,) = report_facts(talks, more=[end])["services"]
    assert (service["in_flight_at_end"], service["unanswered"]) == (0, 1)


def test_facts_are_plain_values():
    found = report_facts(TALKS, more=[udp_frame(START_NS + 10**9)])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_numbers_are_those_of_the_capture():
    (service,) = report_facts(TALKS)["services"]
    assert (service["requests"], service["unanswered"]) == (5, 1)
    assert (service["request_bytes"], service["response_bytes"]) == (100, 500)
    times = service["response_time"]
    assert (times["min_ns"], times["p50_ns"], times["p99_ns"], times["max_ns"]) == (MS, 3 * MS, 10 * MS, 10 * MS)
    assert times["mean_ns"] == 4 * MS
    assert sum(step["count"] for step in service["histogram"]) == 5
    assert sum(r["completions"] for r in service["series"]) == 5
    assert sum(r["length_ns"] for r in service["series"]) == report_facts(TALKS)["capture"]["duration_ns"]
    assert service["connections"]["states"] == {"closed": 1, "open": 1}
    assert service["clients"]["largest"][0]["client_address"] in ("10.0.0.1", "10.0.0.2")
    (slowest, *_) = service["slowest_requests"]
    assert slowest["filter"] == "tcp and host 10.0.0.2 and host 10.0.0.9 and port 40000 and port 3306"
    assert slowest["response_time_ns"] == 10 * MS


def test_rates_are_those_of_the_wanted_time():
    frames = Talk(answered(*[1] * 100, after_ms=9)).frames()
    first, last = frames[0].time_ns, frames[-1].time_ns
    whole = report_facts([Talk(answered(*[1] * 100, after_ms=9))])["services"][0]
    selection = Selection(since_ns=first + 200 * MS, until_ns=first + 400 * MS)
    part = report_facts([Talk(answered(*[1] * 100, after_ms=9))], options=Options(selection))["services"][0]
    assert whole["throughput_per_s"] == pytest.approx(100 * 1e9 / (last - first))
    assert part["requests"] == 20
    assert part["throughput_per_s"] == pytest.approx(100)
    assert sum(r["length_ns"] for r in part["series"]) == 200 * MS


def test_a_hung_server_is_seen():
    talks = [Talk([Exchange(MS, None)], client_port=40_000 + i, is_closed=False) for i in range(5)]
    late = Talk(answered(1), server_port=81, start_ns=START_NS + 10**9)
    service = report_facts([*talks, late])["services"][0]
    assert (service["requests"], service["unanswered"]) == (0, 5)
    assert service["response_time"]["p50_ns"] is None
    assert service["response_time"]["mean_ns"] is None
    assert service["unanswered_concurrency"] == pytest.approx(5, rel=0.01)
    assert [r["waited_ns"] for r in service["unanswered_requests"]] == [1012 * MS] * 5 or all(
        r["waited_ns"] > 10**9 for r in service["unanswered_requests"]
    )
    assert max(r["unanswered_backlog"] for r in service["series"]) == 5


def test_what_nobody_can_know_is_none():
    lines = [
        "2024-05-01 12:00:00.000000 IP 10.0.0.1.40000 > 10.0.0.9.3306: tcp 20",
        "2024-05-01 12:00:00.250000 IP 10.0.0.9.3306 > 10.0.0.1.40000: tcp 100",
    ]
    (service,) = facts_of("".join(f"{line}\n" for line in lines).encode())["services"]
    connections = service["connections"]
    assert connections["unsequenced"] == connections["stateless"] == connections["count"] == 1
    assert (connections["states"], connections["failed"], connections["joined"]) == ({}, 0, 0)
    assert connections["client_retransmissions"] is None
    assert connections["server_gap_bytes"] is None


def test_small_services_are_added_up():
    talks = [Talk(answered(*[1] * (5 - i)), server_port=80 + i) for i in range(5)]
    found = report_facts(talks, top=2)
    assert [s["server_port"] for s in found["services"]] == [80, 81]
    assert found["omitted"] == {
        "services": 3, "requests": 6, "unanswered": 0, "in_flight_at_end": 0, "connections": 3, "failed_connections": 0,
    }  # fmt: skip
    assert found["capture"]["connections"] == 5


def test_link_types_are_told_where_one_is_not_decoded():
    frames = [(START_NS, bytes(60))]
    strange = facts_of(pcap_bytes(frames, link_type=195))["capture"]
    advice = "capture on another interface, or convert the file"
    assert strange["unknown_link_types"] == [{"link_type": 195, "name": "IEEE 802.15.4", "advice": advice}]
    assert facts_of(pcap_bytes(frames, link_type=65_000))["capture"]["unknown_link_types"] == [
        {"link_type": 65_000, "name": None, "advice": advice}
    ]
    assert facts_of(pcap_bytes(frames, link_type=189))["capture"]["unknown_link_types"] == []
    assert report_facts(TALKS)["capture"]["unknown_link_types"] == []


def test_the_selection_is_told():
    selection = Selection((Server(None, 3306, 0), Server(SIX, 0, 6), Server(FOUR, 80, 4)), 5, 2**62)
    found = report_facts(TALKS, options=Options(selection), frame_filter="tcp")
    assert found["capture"]["selection"] == {
        "servers": [":3306", "::1", "10.0.0.1:80"], "filter": "tcp", "since_ns": 5, "until_ns": 2**62,
    }  # fmt: skip


def test_a_broken_capture_says_why():
    assert report_facts(TALKS, cut=5)["capture"]["broken"].startswith("talks.pcap: ")
    assert report_facts(TALKS)["capture"]["broken"] is None


@pytest.mark.parametrize(
    ("p", "name"), [(0.5, "p50_ns"), (0.99, "p99_ns"), (0.999, "p99.9_ns"), (0.07, "p7_ns"), (0.00001, "p0.001_ns")]
)
def test_quantiles_are_named_as_people_say_them(p, name):
    assert quantile_name(p) == name


def test_a_distribution_without_values_is_unknown():
    found = distribution_facts(Distribution(), (0.5,))
    assert found == {
        "count": 0, "mean_ns": None, "min_ns": None, "p50_ns": None, "max_ns": None, "is_exact": True,
    }  # fmt: skip


def test_an_endpoint_and_the_filter_of_a_connection_are_written_as_tools_read_them():
    assert endpoint_text(FOUR, 80, 4) == "10.0.0.1:80"
    assert endpoint_text(SIX, 80, 6) == "[::1]:80"
    assert endpoint_text(SIX, None, 6) == "::1"
    assert capture_filter((SIX, 1024, 6), (SIX, 80, 6)) == "tcp and host ::1 and port 1024 and port 80"
    assert capture_filter((FOUR, 80, 4), (SIX, 80, 6)) == "tcp and host 10.0.0.1 and host ::1 and port 80"


def test_the_longest_filter_fits_its_column():
    ends = [(bytes.fromhex(f"20010db8{'1234' * 5}567{i}"), 50_000 + i, 6) for i in (1, 2)]
    room = BucketConnections.dtype["capture_filter"].itemsize
    tags = TagSurvey()
    for tags.vlan_tags in range(3):
        for is_tunnelled in (False, True):
            assert len(isolating_filter(ends[0], ends[1], tags, is_tunnelled=is_tunnelled)) <= room


def test_a_tunnel_is_told_and_endpoints_inside_and_outside_are_counted_twice():
    frames = capture(TALKS)
    talk = TALKS[0].frames()
    copies = [(f.time_ns, on_ethernet(vxlan(typed(f.data[14:]))).data) for f in talk]
    plain = report_facts(TALKS)["capture"]["tunnels"]
    assert plain == {"connections": {}, "pairs_inside_and_outside": 0, "is_complete": True}
    both = facts_of(pcap_bytes(sorted([*((f.time_ns, f.data) for f in frames), *copies]), nanoseconds=True))
    assert both["capture"]["tunnels"]["connections"] == {"vxlan": 1}
    assert both["capture"]["tunnels"]["pairs_inside_and_outside"] == 1
    inside = facts_of(pcap_bytes(copies, nanoseconds=True))["capture"]["tunnels"]
    assert inside == {"connections": {"vxlan": 1}, "pairs_inside_and_outside": 0, "is_complete": True}
