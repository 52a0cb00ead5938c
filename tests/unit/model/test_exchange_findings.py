"""Findings of exchanges that were policed or shaped, and how many services are told apart."""

from __future__ import annotations

from tcpsight.findings import written
from tcpsight.model import findings
from tcpsight.model.findings import FindingCollection
from tcpsight.tables import Connections, Network, Policed

POLICED = {"is_policed": 1, "rate_bits_per_s": 3_000_000, "losses": 30, "loss_start_ns": 5, "loss_end_ns": 9}


def policed(*rows: dict[str, int]) -> Policed:
    table = Policed.allocate(len(rows))
    for i, row in enumerate(rows):
        for name, value in ({"connection_id": i + 1, "ip_version": 4} | row).items():
            table.rows[name][i] = value
    return table


def test_exchanges_of_one_connection_are_one_connection_that_was_policed():
    collection = FindingCollection()
    later = POLICED | {"loss_start_ns": 20, "loss_end_ns": 30}
    collection.feed_policed(policed(POLICED, later | {"connection_id": 1}, later | {"connection_id": 2}, {}))
    (finding,) = collection.finish()
    assert (finding.key.kind, finding.connections, finding.examples) == ("policing", 2, [1, 2])
    assert (finding.start_ns, finding.end_ns) == (5, 30)


def test_what_was_policed_is_not_shaped_and_a_link_without_a_burst_is_neither():
    shaped = {"is_shaped": 1, "shaped_rate_bits_per_s": 1000, "shaped_burst_bytes": 50_000}
    for row, expected in (
        (shaped, ["shaping"]),
        (shaped | {"shaped_burst_bytes": 0}, []),
        (shaped | POLICED, ["policing"]),
    ):
        collection = FindingCollection()
        collection.feed_policed(policed(row))
        assert [finding.key.kind for finding in collection.finish()] == expected


def test_services_beyond_the_most_are_told_together(monkeypatch):
    monkeypatch.setattr(findings, "MOST_SERVICES", 2)
    collection = FindingCollection()
    collection.feed_policed(policed(*(POLICED | {"server_port": port} for port in (1, 2, 3, 4, 1))))
    found = {finding.key.port: finding.connections for finding in collection.finish() if finding.key.address}
    assert found == {1: 2, 2: 1}
    (others,) = (finding for finding in collection.finish() if finding.key.address is None)
    assert others.connections == 2


def test_nothing_that_ended_is_nothing_found():
    collection = FindingCollection()
    collection.feed(Network(), Connections())
    assert collection.finish() == []


def test_a_policers_rate_is_told_with_its_bounds_where_they_are_wide():
    for low, high, expected in (
        (-1, -1, "a token bucket drops what exceeds 3.00 Mbit/s"),
        (2_800_000, 3_300_000, "a token bucket drops what exceeds 3.00 Mbit/s"),
        (
            2_800_000,
            9_000_000,
            "a token bucket drops what exceeds some 3.00 Mbit/s "
            "(anything from 2.80 Mbit/s to 9.00 Mbit/s explains the losses)",
        ),
    ):
        collection = FindingCollection()
        collection.feed_policed(policed(POLICED | {"rate_low_bits_per_s": low, "rate_high_bits_per_s": high}))
        (finding,) = collection.finish()
        assert written([finding]).summary.tolist()[0].decode() == expected
        if low > 0:
            assert (finding.numbers["rate_low_bits_per_s"], finding.numbers["rate_high_bits_per_s"]) == (low, high)
