"""What happened at each service equals a slow twin that adds up row by row, however rows are cut."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.model import services
from tcpsight.model.services import SLOWEST, ServiceSummary
from tcpsight.tables import STATES, TIME_PARTS, Connections, Requests, Unanswered
from tests.support.thorough import up_to

ADDRESSES = [bytes(10) + b"\xff\xff\x0a\x00\x00" + bytes([n]) for n in range(4)]
# The same 16 bytes mean another endpoint under another version.
ENDPOINTS = st.tuples(st.sampled_from(ADDRESSES[:2]), st.sampled_from([80, 3306]), st.sampled_from([4, 6]))
CLIENTS = st.sampled_from(ADDRESSES)
UNKNOWN_STATE = 255
SMALL = st.integers(0, 50)

REQUEST = st.fixed_dictionaries(
    {
        "service": ENDPOINTS,
        "client_address": CLIENTS,
        "arrival_ns": st.integers(0, 1000),
        "duration": st.integers(0, 20),
        "request_bytes": SMALL,
        "response_bytes": SMALL,
        "is_overlapped": st.booleans(),
        "is_open": st.booleans(),
    }
)
CONNECTION = st.fixed_dictionaries(
    {
        "service": ENDPOINTS,
        "client_address": CLIENTS,
        "state": st.sampled_from([*range(len(STATES)), UNKNOWN_STATE]),
        "connect_attempts": st.integers(0, 3),
        "is_sequenced": st.booleans(),
        "connect_ns": st.integers(-1, 30),
        "server_handshake_rtt_ns": st.integers(-1, 30),
        "client_handshake_rtt_ns": st.integers(-1, 30),
        "client_gap_bytes": st.integers(-1, 30),
        "server_segments": SMALL,
        "is_farewell": st.booleans(),
    }
)


def table(table_type: Any, rows: list[dict[str, Any]]) -> Any:
    made = table_type.allocate(len(rows))
    for i, row in enumerate(rows):
        address, port, version = row["service"]
        values = {name: value for name, value in row.items() if name not in ("service", "duration", "is_open")}
        values |= {"server_address": address, "server_port": port, "ip_version": version, "connection_id": i + 1}
        if table_type is Requests:
            values |= {"response_time_ns": row["duration"], "completion_ns": row["arrival_ns"] + row["duration"]}
        if table_type is Unanswered:
            values |= {"end_ns": row["arrival_ns"] + row["duration"], "response_time_ns": -1, "completion_ns": -1}
            values["is_open"] = row["is_open"]
        for name, value in values.items():
            made.rows[name][i] = np.frombuffer(value, np.uint8) if isinstance(value, bytes) else value
    return made


def summary(requests: Any, unanswered: Any, connections: Any, cuts: list[int], **options: Any) -> ServiceSummary:
    found = ServiceSummary(**options)
    for rows, feed in (
        (requests, found.feed_requests),
        (unanswered, found.feed_unanswered),
        (connections, found.feed_connections),
    ):
        edges = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
        for begin, end in pairwise(edges):
            feed(rows[begin:end])
    found.finish()
    return found


def expected_longest(rows: list[Any]) -> list[int]:
    """Give connection_ids: longest first, then by arrival, then by connection."""
    return [n + 1 for _, _, n in sorted((-r["duration"], r["arrival_ns"], n) for n, r in rows_of(rows))][:SLOWEST]


def rows_of(rows: Any) -> Any:
    return rows if rows and isinstance(rows[0], tuple) else list(enumerate(rows))


@settings(deadline=None, max_examples=up_to(60))
@given(
    st.lists(REQUEST, max_size=60),
    st.lists(REQUEST, max_size=30),
    st.lists(CONNECTION, max_size=40),
    st.lists(st.integers(0, 60), max_size=5),
)
def test_services_equal_their_slow_twin_however_rows_are_cut(answered, waiting, connections, cuts):
    found = summary(table(Requests, answered), table(Unanswered, waiting), table(Connections, connections), cuts)
    grouped: dict[Any, dict[str, list[Any]]] = defaultdict(lambda: {"a": [], "w": [], "c": []})
    for kind, rows in (("a", answered), ("w", waiting), ("c", connections)):
        for n, row in enumerate(rows):
            grouped[row["service"]][kind].append((n, row))
    assert set(found.services) == set(grouped)
    for endpoint, mine in grouped.items():
        check(found.services[endpoint], mine)
    assert not found.other_services_seen


def check(service: Any, mine: dict[str, list[Any]]) -> None:
    answered = [row for _, row in mine["a"]]
    longest = max((row["duration"] for row in answered), default=-1)
    flights = [row for _, row in mine["w"] if row["is_open"] and row["duration"] <= longest]
    unanswered = [(n, row) for n, row in mine["w"] if not row["is_open"] or row["duration"] > longest]
    waiting = [row for _, row in unanswered]
    connections = [row for _, row in mine["c"]]
    times = sorted(row["duration"] for row in answered)
    assert service.requests == len(times)
    assert service.response_times.sum == sum(times)
    if times:
        assert service.response_times.quantile(0.5) == times[-(-len(times) // 2) - 1]
    assert service.request_bytes == sum(row["request_bytes"] for row in answered)
    assert service.response_bytes == sum(row["response_bytes"] for row in answered)
    assert service.overlapped == sum(row["is_overlapped"] for row in answered)
    assert (service.unanswered, service.in_flight_at_end) == (len(waiting), len(flights))
    assert service.slowest.connection_id.tolist() == expected_longest(mine["a"])
    assert service.waiting.connection_id.tolist() == expected_longest(unanswered)

    assert service.connections == len(connections)
    assert service.states.tolist() == [sum(row["state"] == i for row in connections) for i in range(len(STATES))]
    assert service.stateless_connections == sum(row["state"] == UNKNOWN_STATE for row in connections)
    failed = [STATES.index(name) for name in ("unanswered", "handshaking", "refused")]
    assert service.failed_connections == sum(row["state"] in failed for row in connections)
    assert service.retried_connections == sum(row["connect_attempts"] > 1 for row in connections)
    assert service.joined_connections == sum(
        row["connect_attempts"] == 0 and row["is_sequenced"] for row in connections
    )
    assert service.unsequenced_connections == sum(not row["is_sequenced"] for row in connections)
    for name, distribution in (
        ("connect_ns", service.connect_times),
        ("server_handshake_rtt_ns", service.server_handshake_rtts),
        ("client_handshake_rtt_ns", service.client_handshake_rtts),
    ):
        known = [row[name] for row in connections if row[name] >= 0]
        assert (distribution.count, distribution.sum) == (len(known), sum(known))
    assert service.totals["client_gap_bytes"] == sum(max(row["client_gap_bytes"], 0) for row in connections)
    assert service.totals["server_segments"] == sum(row["server_segments"] for row in connections)
    assert service.totals["is_farewell"] == sum(row["is_farewell"] for row in connections)

    everyone = {row["client_address"] for row in answered + waiting + flights + connections}
    version = (answered + waiting + flights + connections)[0]["service"][2]
    assert set(service.clients) == {(address, version) for address in everyone}
    for (address, _), client in service.clients.items():
        own = [row["duration"] for row in answered if row["client_address"] == address]
        assert (client.requests, client.response_time_sum_ns) == (len(own), sum(own))
        assert client.response_time_max_ns == max(own, default=-1)
        assert client.unanswered == sum(row["client_address"] == address for row in waiting)
        assert client.connections == sum(row["client_address"] == address for row in connections)


def some_requests(ports: list[int], clients: list[int] | None = None) -> Any:
    return table(
        Requests,
        [
            {
                "service": (ADDRESSES[0], port, 4),
                "client_address": bytes(12) + (clients[i] if clients else 7).to_bytes(4, "big"),
                "arrival_ns": i,
                "duration": i,
                "request_bytes": 1,
                "response_bytes": 1,
                "is_overlapped": False,
            }
            for i, port in enumerate(ports)
        ],
    )


def test_services_beyond_the_limit_are_added_up():
    found = summary(some_requests([1, 2, 3, 1, 4]), Unanswered(), Connections(), [2], most_services=2)
    assert [endpoint[1] for endpoint in found.services] == [1, 2]
    assert found.other_services_seen
    assert found.others.requests == 2


def test_clients_beyond_the_limit_are_added_up(monkeypatch):
    monkeypatch.setattr(services, "MOST_CLIENTS", 2)
    found = summary(some_requests([1] * 5, [1, 2, 3, 1, 4]), Unanswered(), Connections(), [])
    (service,) = found.services.values()
    counts = Counter(
        {key and int.from_bytes(key[0], "big"): client.requests for key, client in service.clients.items()}
    )
    assert counts == {1: 2, 2: 1, None: 2}


def test_the_largest_services_come_first_and_the_unanswered_count():
    found = summary(some_requests([1, 2, 2, 3]), Unanswered(), Connections(), [])
    waiting = some_requests([3] * 5)
    unanswered = Unanswered.allocate(5)
    for name in ("server_address", "server_port", "ip_version", "client_address"):
        unanswered.rows[name] = waiting.rows[name]
    found.feed_unanswered(unanswered)
    assert [endpoint[1] for endpoint, _ in found.largest(9)] == [3, 2, 1]
    assert [endpoint[1] for endpoint, _ in found.largest(1)] == [3]


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_the_slowest_are_kept_through_many_blocks(block):
    times = [(i * 7919) % 1009 for i in range(1000)]
    requests = some_requests([80] * 1000)
    requests.arrival_ns[:] = np.arange(1000)
    requests.response_time_ns[:] = times
    requests.completion_ns[:] = requests.arrival_ns + requests.response_time_ns
    found = summary(requests, Unanswered(), Connections(), list(range(0, 1000, block)))
    (service,) = found.services.values()
    assert service.slowest.response_time_ns.tolist() == sorted(times, reverse=True)[:SLOWEST]


def test_where_the_time_went_is_added_up_over_the_connections_with_an_account():
    rows = Connections.allocate(3)
    for part in TIME_PARTS:
        rows.rows[f"{part}_ns"] = [5, 7, -1]
    rows.connect_ns[1] = -1
    rows.connect_ns[2] = 100  # no account was kept of it
    summary = ServiceSummary()
    summary.feed_connections(rows)
    (service,) = summary.services.values()
    assert service.times_ns == dict.fromkeys(TIME_PARTS, 12) | {"connect": 5}


def test_times_beyond_64_bits_do_not_wrap():
    rows = Connections.allocate(4)
    rows.think_ns[:] = 2**62
    summary = ServiceSummary()
    summary.feed_connections(rows)
    (service,) = summary.services.values()
    assert service.times_ns["think"] == 2**64


def test_response_times_of_a_client_do_not_wrap():
    rows = Requests.allocate(4)
    rows.response_time_ns[:] = 2**62
    summary = ServiceSummary()
    summary.feed_requests(rows)
    (service,) = summary.services.values()
    (client,) = service.clients.values()
    assert client.response_time_sum_ns == 2**64


def test_services_that_are_known_by_their_connections_are_told_apart_and_count_nothing():
    rows = [{"service": (ADDRESSES[0], port, 4), "connect_ns": 5} for port in (80, 3306)]
    found = ServiceSummary(most_services=1)
    found.know(table(Connections, rows))
    (service,) = found.services.values()
    assert service.connections == service.connect_times.count == 0
    found.feed_connections(table(Connections, rows))
    assert (service.connections, found.others.connections) == (1, 1)
