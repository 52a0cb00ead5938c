"""Which connections a capture leaves open, and the numbers that each side expects next."""

from __future__ import annotations

from pathlib import Path

import pytest

from tcpsight.capture import open_capture
from tcpsight.local import observing
from tcpsight.local.observing import Observation, sides_of
from tests.support.pcap import pcap_bytes
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered, capture


@pytest.fixture
def observed(tmp_path: Path) -> Observation:
    """A connection that is closed, and one that is open with a request that waits."""
    talks = [
        Talk(answered(5)),
        Talk([Exchange(5 * MS, None)], client="10.0.0.3", start_ns=START_NS + 30 * MS, is_closed=False),
    ]
    path = tmp_path / "traffic.pcap"
    path.write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
    seen = Observation()
    with open_capture([path]) as frames:
        for each in frames:
            seen.feed(each)
    return seen


def test_connections_that_are_closed_are_not_to_be_ended(observed):
    (row,) = observed.connections().rows
    assert row["client_address"].tobytes()[12:] == bytes([10, 0, 0, 3])


def test_each_side_expects_what_follows_what_it_acknowledged(observed):
    (row,) = observed.connections().rows
    client, server = sides_of(row)
    of_client, of_server = observed.numbers(client, server), observed.numbers(server, client)
    assert of_client is not None
    assert of_client.expected == (int(row["server_isn"]) + 1 + int(row["server_bytes"])) % 2**32
    assert of_client.sent == (int(row["client_isn"]) + 1 + int(row["client_bytes"])) % 2**32
    # The server acknowledged the SYN, and perhaps the request.
    assert of_server is not None
    assert (of_server.expected - int(row["client_isn"])) % 2**32 in (1, 1 + int(row["client_bytes"]))


def test_what_was_seen_before_is_kept_apart_from_what_is_seen_now(observed):
    (row,) = observed.connections().rows
    client, server = sides_of(row)
    assert observed.is_live(client, server)
    before = observed.numbers(client, server)
    observed.begin_live()
    assert not observed.is_live(client, server)
    assert observed.numbers(client, server) == before


def test_numbers_of_connections_that_are_over_are_forgotten_when_there_are_many(observed, monkeypatch, tmp_path):
    monkeypatch.setattr(observing, "MOST_REMEMBERED", 10)
    seen = Observation()
    talks = [Talk(answered(1), client=f"10.1.{n}.2", start_ns=START_NS + n * 200_000 * MS) for n in range(60)]
    path = tmp_path / "many.pcap"
    path.write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
    with open_capture([path], batch_frames=16) as frames:
        for each in frames:
            seen.feed(each)
    assert len(seen._numbers) <= 40
