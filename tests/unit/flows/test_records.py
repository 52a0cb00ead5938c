"""A record per connection: every field, both directions, what is unknown, and four vocabularies."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from tcpsight.errors import UsageError
from tcpsight.flows import SCHEMAS, FlowAssembly
from tcpsight.flows.schemas import OF_NETWORK, timestamp
from tcpsight.network import fill
from tcpsight.tables import ConnectionAccounts
from tests.support.headers import follow, headers
from tests.support.mmdb import mmdb_bytes
from tests.support.network import measure

OPENING = """
    0     > S   seq=1000 mss=1460 ws=7 win=65535 sackok
    50    < SA  seq=5000 mss=1460 ws=7 win=65535 sackok
    50    > A   win=500
"""
ASKED = OPENING + "100 > PA 100 win=500\n150 < PA 1000 win=500\n200 > A\n"
CLOSED = ASKED + "300 > FA\n350 < FA\n400 > A"
VANISHED = OPENING + "60 > PA 900\n110 < A\n"
VANISHED += "\n".join(f"{time} > PA 800 off=900" for time in (200, 450, 850, 1650, 3250))


def filled(trips_ms: list[float]) -> str:
    """Write a transfer whose acknowledgments take longer and longer, with more and more in flight."""
    events: list[tuple[float, str]] = []
    for number, trip in enumerate(trips_ms):
        events.append((100 + 30 * number, f"< A 2920 off={2920 * number} acked=100 win=500"))
        events.append((100 + 30 * number + trip, f"> A acked={2920 * (number + 1)} win=500"))
    return OPENING + "60 > PA 100 win=500\n" + "\n".join(f"{time} {line}" for time, line in sorted(events))


BLOATED = filled([50 + 10 * number for number in range(40)])


def batch_of(script: str) -> Any:
    """Make a batch of what a script shows, without a time account."""
    table = headers(script)
    connections = follow([table]).connections
    fill(connections, ConnectionAccounts())
    return SimpleNamespace(connections=connections, network=measure(table))


def records(script: str, **chosen: Any) -> list[dict[str, Any]]:
    """Give the records of what a script shows, as JSON has them."""
    found = FlowAssembly(**chosen).records(batch_of(script))
    return [json.loads(json.dumps(each, allow_nan=False)) for each in found]


def record(script: str, **chosen: Any) -> dict[str, Any]:
    (only,) = records(script, **chosen)
    return only


# --- tcpsight's own words


def test_a_record_says_who_when_and_how_it_ended():
    found = record(CLOSED)
    assert {name: found[name] for name in list(found)[:16] if name not in ("encapsulation",)} == {
        "start_timestamp": "1970-01-01 00:00:00.000000Z",
        "end_timestamp": "1970-01-01 00:00:00.400000Z",
        "duration_ns": 400_000_000,
        "connection_id": 1,
        "community_id": "1:" + found["community_id"][2:],
        "client_address": "10.0.0.1",
        "client_port": 40000,
        "client_country": None,
        "server_address": "10.0.0.9",
        "server_port": 80,
        "server_zone": None,
        "ip_version": 4,
        "role_source": "syn",
        "state": "closed",
        "vantage": "unknown",
    }
    assert (found["connect_ns"], found["client_bytes"], found["server_bytes"]) == (50_000_000, 100, 1000)
    assert [found[name] for name in ("encapsulation", "vantage_confidence", "limited_by")] == [None] * 3


def test_timestamps_are_cut_to_microseconds():
    assert timestamp(1_495_459_380_325_632_999) == "2017-05-22 13:23:00.325632Z"
    assert timestamp(-1) == "1969-12-31 23:59:59.999999Z"


@pytest.mark.parametrize(
    ("script", "direction", "octets"),
    [(CLOSED, "server", 1000), (VANISHED, "client", 1700), ("0 > S seq=1", "client", 0)],
)
def test_a_record_is_about_the_direction_that_carried_more_bytes(script, direction, octets):
    found = record(script)
    assert (found["direction"], found["bytes"]) == (direction, octets)


def test_numbers_of_the_network_are_those_of_its_direction():
    found = record(CLOSED)
    assert (found["segments"], found["rtt_samples"], found["rtt_min_ns"]) == (3, 3, 0)
    # 1,000 B outstanding for 50 ms, the SYN-ACK for none, the FIN for 50 ms.
    assert found["non_idle_ns"] == 50_000_000
    assert found["non_idle_throughput_mbps"] == 0.16
    assert found["goodput_mbps"] == 0.02


def test_every_key_is_always_there():
    keys = [list(record(script)) for script in (CLOSED, VANISHED, BLOATED, "0 > S seq=1", "0 > ? 100")]
    assert all(each == keys[0] for each in keys)
    assert set(keys[0]) >= {*OF_NETWORK, "client_country", "server_zone", "blackholed", "bufferbloat", "findings"}


def test_a_blackholed_direction_has_its_reason():
    found = record(VANISHED)
    assert (found["blackholed"], found["bufferbloat"], found["bufferbloat_reason"]) == (True, False, None)
    assert found["findings"] == ["blackhole"]
    reason = found["blackholed_reason"]
    assert reason.pop("rule").startswith("the same data were sent again 3 times")
    assert reason == {
        "confidence": 0.95,
        "start_timestamp": "1970-01-01 00:00:00.200000Z",
        "end_timestamp": "1970-01-01 00:00:03.250000Z",
        "retransmissions": 4,
        "payload_bytes": 800,
        "peer_segments": 0,
        "is_over": False,
    }


def test_a_blackhole_of_the_direction_that_carried_less_is_not_of_the_record():
    found = record(OPENING + "60 > PA 100\n110 < PA 5000\n150 > A\n" + "\n".join(
        f"{time} > PA 80 off=100" for time in (200, 450, 850, 1650, 3250)
    ))  # fmt: skip
    assert (found["direction"], found["blackholed"], found["findings"]) == ("server", False, [])


def test_a_path_that_swallows_large_segments_is_a_finding_and_no_blackhole():
    found = record(ASKED + "\n".join(f"{time} < A 1448 off=1000" for time in (210, 450, 900, 1800)))
    assert (found["blackholed"], found["findings"]) == (False, ["path_mtu_blackhole"])


def test_bufferbloat_has_its_reason():
    found = record(BLOATED)
    assert (found["direction"], found["bufferbloat"], found["blackholed"]) == ("server", True, False)
    reason = found["bufferbloat_reason"]
    assert "95th percentile" in reason["rule"]
    assert reason["rtt_p95_ns"] - reason["rtt_min_ns"] > 100_000_000
    assert reason["correlation"] > 0.9


def test_what_only_one_side_can_show_is_a_finding_of_the_connection():
    assert record("0 > S seq=1\n1 < RA seq=0 ack=2")["findings"] == ["refused"]
    assert record("0 > S seq=1\n1000 > S seq=1")["findings"] == ["unanswered"]


def test_without_sequence_numbers_nothing_is_judged():
    found = record("0 > ? 100\n10 < ? 3000\n20 > ? 100")
    assert (found["state"], found["direction"], found["bytes"]) == (None, "server", 3000)
    unknown = ("blackholed", "bufferbloat", "non_idle_throughput_mbps", "rtt_min_ns", "gap_bytes")
    assert [found[name] for name in unknown] == [None] * 5


def test_records_come_in_the_order_of_their_connections():
    both = CLOSED + "\n1000 > S seq=7 port=40001\n1010 < RA seq=0 ack=8 port=40001"
    assert [(each["client_port"], each["state"]) for each in records(both)] == [(40000, "closed"), (40001, "refused")]


# --- conditions


BOTH = CLOSED + "\n1000 > S seq=7 port=40001\n1010 < RA seq=0 ack=8 port=40001"


@pytest.mark.parametrize(
    ("where", "ports"),
    [
        ("state = refused", [40001]),
        ("server_bytes > 500", [40000]),
        ("direction = server and rtt_min < 1ms", [40000]),
        ("not blackholed", [40000, 40001]),
        ("bufferbloat", []),
        ("non_idle_goodput_bits_per_s is null", [40001]),
    ],
)
def test_a_condition_can_ask_for_columns_of_connections_and_of_the_direction(where, ports):
    assert [each["client_port"] for each in records(BOTH, where=where)] == ports


def test_a_condition_can_ask_for_what_was_found():
    assert len(records(VANISHED, where="blackholed")) == 1
    assert len(records(BLOATED, where="bufferbloat and not blackholed")) == 1


def test_it_is_counted_how_many_a_condition_chose():
    assembly = FlowAssembly(where="state = refused")
    assert len(list(assembly.records(batch_of(BOTH)))) == 1
    assert (assembly.seen, assembly.written) == (2, 1)


@pytest.mark.parametrize("chosen", [{"schema": "netflow"}, {"where": "colour = red"}])
def test_what_makes_no_sense_is_refused_at_once(chosen):
    with pytest.raises(UsageError):
        FlowAssembly(**chosen)


# --- the other vocabularies


def test_a_record_of_zeek():
    found = record(CLOSED, schema="zeek")
    assert found.pop("uid")[0] == "C"
    assert found.pop("community_id").startswith("1:")
    assert {name: value for name, value in found.items() if not name.startswith("tcpsight.")} == {
        "ts": 0.0,
        "id.orig_h": "10.0.0.1",
        "id.orig_p": 40000,
        "id.resp_h": "10.0.0.9",
        "id.resp_p": 80,
        "proto": "tcp",
        "duration": 0.4,
        "orig_bytes": 100,
        "resp_bytes": 1000,
        "conn_state": "SF",
        "missed_bytes": 0,
        "orig_pkts": 6,
        "resp_pkts": 3,
        "ip_proto": 6,
    }
    assert (found["tcpsight.direction"], found["tcpsight.blackholed"]) == ("server", False)
    assert "tcpsight.blackholed_reason" not in found


def test_zeek_has_no_duration_and_bytes_of_a_single_segment():
    found = record("0 > S seq=1", schema="zeek")
    assert not {"duration", "orig_bytes", "resp_bytes"} & set(found)
    assert (found["conn_state"], found["orig_pkts"], found["resp_pkts"]) == ("S0", 1, 0)


def test_missed_bytes_are_those_of_both_sides():
    script = ASKED + "210 > PA 10 off=150\n250 < A acked=160\n300 < PA 10 off=1100\n310 > A acked=1110"
    assert record(script, schema="zeek")["missed_bytes"] == 150


def test_the_uid_is_the_same_in_every_run_and_another_for_every_connection():
    names = [[each["uid"] for each in records(BOTH, schema="zeek")] for _ in range(2)]
    assert names[0] == names[1]
    assert len({*names[0]}) == 2
    assert all(len(name) == 18 and name.isalnum() and name[0] == "C" for name in names[0])


def test_a_record_of_ecs():
    found = record(CLOSED, schema="ecs")
    client = {"address": "10.0.0.1", "ip": "10.0.0.1", "port": 40000, "bytes": 100, "packets": 6}
    server = {"address": "10.0.0.9", "ip": "10.0.0.9", "port": 80, "bytes": 1000, "packets": 3}
    assert found.pop("tcpsight")["direction"] == "server"
    assert found["network"].pop("community_id").startswith("1:")
    assert found == {
        "@timestamp": "1970-01-01T00:00:00.000000000Z",
        "ecs": {"version": "8.17.0"},
        "event": {
            "kind": "event",
            "category": ["network"],
            "type": ["connection", "start", "end"],
            "start": "1970-01-01T00:00:00.000000000Z",
            "end": "1970-01-01T00:00:00.400000000Z",
            "duration": 400_000_000,
        },
        "network": {"transport": "tcp", "type": "ipv4", "iana_number": "6", "bytes": 1100, "packets": 9},
        "source": client,
        "destination": server,
        "client": client,
        "server": server,
    }


def test_an_event_of_ecs_begins_and_ends_where_that_was_seen():
    assert record(ASKED, schema="ecs")["event"]["type"] == ["connection", "start"]
    middle = "0 > PA 100 seq=1 ack=1\n10 < PA 200 seq=1 ack=101"
    assert record(middle, schema="ecs")["event"]["type"] == ["connection"]
    assert record(middle + "\n20 > R seq=101", schema="ecs")["event"]["type"] == ["connection", "end"]


def test_a_record_of_ipfix():
    found = record(VANISHED, schema="ipfix")
    assert {name: value for name, value in found.items() if not name.startswith("tcpsight.")} == {
        "flowId": 1,
        "flowStartNanoseconds": "1970-01-01T00:00:00.000000000Z",
        "flowEndNanoseconds": "1970-01-01T00:00:03.250000000Z",
        "ipVersion": 4,
        "protocolIdentifier": 6,
        "sourceIPv4Address": "10.0.0.1",
        "destinationIPv4Address": "10.0.0.9",
        "sourceTransportPort": 40000,
        "destinationTransportPort": 80,
        "packetDeltaCount": 8,
        "reversePacketDeltaCount": 2,
        "transportOctetDeltaCount": 900 + 5 * 800,
        "reverseTransportOctetDeltaCount": 0,
        "biflowDirection": 1,
    }
    assert found["tcpsight.blackholed_reason"]["retransmissions"] == 4


def test_addresses_of_ipfix_are_named_by_their_version():
    found = record("0 > S seq=1 v6", schema="ipfix")
    assert {"sourceIPv6Address", "destinationIPv6Address"} < set(found)
    assert "sourceIPv4Address" not in found


@pytest.mark.parametrize(("script", "reason"), [(CLOSED, 3), (ASKED + "210 < R", 3), (ASKED, None)])
def test_the_end_of_a_flow_is_detected_or_unknown(script, reason):
    assert record(script, schema="ipfix").get("flowEndReason") == reason


@pytest.mark.parametrize("schema", sorted(set(SCHEMAS) - {"tcpsight"}))
def test_other_vocabularies_leave_out_what_is_unknown(schema):
    for script in (CLOSED, "0 > ? 100", "0 > S seq=1"):
        assert "null" not in json.dumps(record(script, schema=schema))


# --- places


@pytest.mark.parametrize("schema", SCHEMAS)
def test_country_and_zone_are_looked_up(tmp_path, schema):
    country_file, zone_file = tmp_path / "country.mmdb", tmp_path / "zones"
    country_file.write_bytes(mmdb_bytes({"10.0.0.0/24": {"country": {"iso_code": "DE"}}}))
    zone_file.write_text('10.0.0.8/30,"a ""zone"" <b>é"\n')
    found = record(CLOSED, schema=schema, country_file=country_file, zone_file=zone_file)
    if schema == "ecs":
        assert found["source"]["geo"] == found["client"]["geo"] == {"country_iso_code": "DE"}
        assert "geo" not in found["destination"]
        assert found["tcpsight"]["server_zone"] == 'a "zone" <b>é'
        return
    prefix = "" if schema == "tcpsight" else "tcpsight."
    assert (found[f"{prefix}client_country"], found[f"{prefix}server_zone"]) == ("DE", 'a "zone" <b>é')
