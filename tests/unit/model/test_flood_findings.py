"""Handshakes that are begun in numbers and never completed, and what looks like them."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.findings import written
from tcpsight.model.findings import Finding, FindingCollection
from tests.support.headers import A_ADDRESS, follow, headers_of, rows_of
from tests.support.network import measure

TALK = """
    0     > S   seq=1000
    1     < SA  seq=5000
    2     > A
    3     > PA 100
    4     < PA 1000
    {last} > FA
    {last} < FA
    {last} > A
"""
"""A client that is served, for as long as the capture lasts."""


def judged(scripts: list[str], clients: int = 10**6) -> list[Finding]:
    """Judge connections of one service, from so many addresses by turns."""
    return collected(scripts, clients).finish()


def collected(scripts: list[str], clients: int = 10**6) -> FindingCollection:
    rows = []
    for number, script in enumerate(scripts):
        address = np.frombuffer(bytes(10) + b"\xff\xff\xac" + (number % clients).to_bytes(3, "big"), np.uint8)
        for row in rows_of(script):
            for end in ("source", "destination"):
                if row[f"{end}_address"].tobytes() == A_ADDRESS:
                    row |= {f"{end}_address": address, f"{end}_port": 10_000 + number}
            rows.append(row)
    rows.sort(key=lambda row: row["time_ns"])
    table = headers_of(rows)
    connections = follow([table]).connections
    network = measure(table)
    assert network.connection_id[::2].tolist() == connections.connection_id.tolist()
    collection = FindingCollection()
    for at in range(0, len(connections), 64):  # sums do not depend on how batches are cut
        collection.feed(network[2 * at : 2 * at + 128], connections[at : at + 64])
    return collection


def talk(last_ms: float) -> str:
    return TALK.format(last=last_ms)


def begun(count: int, *, is_answered: bool, gap_ms: float = 20) -> list[str]:
    """Write handshakes that are left at one SYN."""
    answer = "\n{time} < SA seq=7" if is_answered else ""
    return [
        f"{gap_ms * number} > S seq={number}" + answer.format(time=gap_ms * number + 0.1) for number in range(count)
    ]


@pytest.mark.parametrize("is_answered", [True, False])
def test_handshakes_left_at_one_syn_in_numbers_are_a_flood(is_answered):
    (finding,) = judged([*begun(120, is_answered=is_answered), talk(6000)])
    assert (finding.key.kind, finding.key.direction, finding.severity) == ("syn_flood", 0, "critical")
    assert (finding.start_ns, finding.end_ns) == (0, 119 * 20_000_000)
    assert (finding.connections, finding.confidence) == (120, 0.95)
    numbers = finding.numbers
    assert (numbers["handshakes"], numbers["client_addresses"]) == (120, 120)
    assert numbers["answered"] == (120 if is_answered else 0)
    assert numbers["hundred_within_ns"] == 99 * 20_000_000


def test_beside_as_many_clients_that_are_served_it_is_a_warning():
    served = [TALK.format(last=6000)] * 130
    (finding,) = judged([*begun(120, is_answered=True), *served])
    assert (finding.key.kind, finding.severity) == ("syn_flood", "warning")


@pytest.mark.parametrize(
    ("count", "gap_ms", "last_ms"),
    [(99, 20, 30_000), (120, 110, 30_000), (120, 40, 4500)],
    ids=["fewer", "slower", "too late to tell"],
)
def test_less_than_that_is_none(count, gap_ms, last_ms):
    assert judged([*begun(count, is_answered=True, gap_ms=gap_ms), talk(last_ms)]) == []


def test_clients_that_give_up_at_once_are_not_answered_and_no_flood():
    (finding,) = judged([*begun(120, is_answered=False), talk(6000)], clients=3)
    assert (finding.key.kind, finding.severity, finding.connections) == ("unanswered", "warning", 120)
    assert "120 SYNs without an answer, one each" in written([finding]).summary[0].decode()


def test_made_up_handshakes_from_few_addresses_are_a_flood_where_they_are_answered():
    (finding,) = judged([*begun(120, is_answered=True), talk(6000)], clients=3)
    assert (finding.key.kind, finding.numbers["client_addresses"]) == ("syn_flood", 3)


@pytest.mark.parametrize("is_answered", [True, False])
def test_where_only_syns_were_captured_clients_with_several_connections_are_no_flood(is_answered):
    scripts = [*begun(200, is_answered=is_answered), *begun(1, is_answered=False, gap_ms=0)]
    late = "9000 > S seq=1"
    assert judged([*scripts, late], clients=100) == []
    (finding,) = judged([*scripts, late])
    assert (finding.key.kind, finding.confidence) == ("syn_flood", 0.6)
    assert "unless nothing but SYNs" in written([finding]).summary[0].decode()


def test_a_scan_of_services_is_no_flood_of_any():
    scripts = begun(300, is_answered=True)
    scan = [script.replace("seq", f"bport={1000 + number} seq") for number, script in enumerate(scripts)]
    assert judged([*scan, talk(12_000)]) == []


def test_slow_attempts_of_others_hide_no_flood():
    monitor = [f"{1000 * number} > S seq={number}" for number in range(300)]
    flood = [f"{100_000 + 10 * number} > S seq={number}" for number in range(150)]
    (finding,) = judged([*flood, talk(310_000), *monitor])
    assert finding.key.kind == "syn_flood"
    # Within ten seconds of the flood nobody can tell them apart.
    assert 90 <= finding.start_ns // 10**9 <= finding.end_ns // 10**9 <= 111
    assert 150 <= finding.connections <= 172


def test_where_a_clock_was_set_back_what_is_under_way_is_no_flood():
    scripts = [*begun(120, is_answered=True), talk(6000)]
    assert [each.key.kind for each in collected(scripts).finish()] == ["syn_flood"]
    assert collected(scripts).finish(stepped_back_ns=5_000_000_000) == []


def test_no_flood_is_lost_in_others(monkeypatch):
    """However many handshakes of other services are kept."""
    monkeypatch.setattr("tcpsight.model.lone_handshakes.MOST_LONE", 400)
    noise = [f"{20 * number} > S bport={1000 + number} seq=1" for number in range(2000)]
    flood = [f"{30_000 + 2 * number} > S seq={number}" for number in range(300)]
    (finding,) = judged([*noise, *flood, talk(44_000)])
    assert finding.key.kind == "syn_flood"
    assert (
        200 < finding.connections <= 300
    )  # too few to be seen as part of one may be forgotten when others are counted
