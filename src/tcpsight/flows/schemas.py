"""What is known of a connection, in the words of four vocabularies: of tcpsight, Zeek, Elastic and IPFIX.

tcpsight's own record has every key, with None for what is unknown. The other three leave out what is unknown, as they
do where they come from, and what they have no name for stands under ``tcpsight``. Field by field, with units and
sources: ``docs/methods/flow_records.md``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tcpsight.flows.zeek import conn_state
from tcpsight.output.units import instant
from tcpsight.tables import DIRECTIONS

if TYPE_CHECKING:
    from tcpsight.flows.assembling import Flow

Record = dict[str, Any]
"""What becomes one JSON object."""

TCP = 6
"""Its number as a protocol of IP."""

ECS_VERSION = "8.17.0"
"""The release of the Elastic Common Schema whose fields these are; all of them are older."""

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

OF_NETWORK = (
    "segments",
    "retransmissions",
    "timeout_retransmissions",
    "fast_retransmissions",
    "spurious_retransmissions",
    "retransmitted_bytes",
    "out_of_order",
    "duplicate_acks",
    "in_flight_max_bytes",
    "rtt_samples",
    "rtt_min_ns",
    "rtt_p50_ns",
    "rtt_p95_ns",
    "rtt_max_ns",
    "zero_window_ns",
    "window_limited_ns",
    "non_idle_ns",
)
"""Columns of Network that the record of tcpsight has, for its direction."""

OF_ACCOUNT = ("vantage", "vantage_confidence", "limited_by")
"""Columns of Connections that every record has: where it was captured, and what most of its time went to."""


def tcpsight_record(flow: Flow) -> Record:
    """Write a record in tcpsight's own words: every key is there, unknown is None."""
    c = flow.connection
    return {
        "start_timestamp": timestamp(c["start_ns"]),
        "end_timestamp": timestamp(c["end_ns"]),
        "duration_ns": c["duration_ns"],
        "connection_id": c["connection_id"],
        "community_id": c["community_id"],
        "client_address": str(c["client_address"]),
        "client_port": c["client_port"],
        "client_country": flow.country,
        "server_address": str(c["server_address"]),
        "server_port": c["server_port"],
        "server_zone": flow.zone,
        **{name: c[name] for name in ("ip_version", "encapsulation", "role_source", "state", *OF_ACCOUNT)},
        **{name: c[name] for name in ("connect_ns", "client_bytes", "server_bytes", "requests", "unanswered")},
        **_judged(flow),
        "bytes": c[f"{DIRECTIONS[flow.direction]}_bytes"],
        "gap_bytes": c[f"{DIRECTIONS[flow.direction]}_gap_bytes"],
        **{name: flow.own[name] for name in OF_NETWORK},
        "is_approximate": c["is_approximate"],
    }


def zeek_record(flow: Flow) -> Record:
    """Write a record in the words of Zeek's ``conn.log``: times in seconds, the client is the originator."""
    c = flow.connection
    gaps = (c["client_gap_bytes"], c["server_gap_bytes"])
    lasted = c["duration_ns"] > 0
    record = {
        "ts": c["start_ns"] // 1000 / 1e6,
        "uid": _uid(c),
        "id.orig_h": str(c["client_address"]),
        "id.orig_p": c["client_port"],
        "id.resp_h": str(c["server_address"]),
        "id.resp_p": c["server_port"],
        "proto": "tcp",
        "duration": c["duration_ns"] / 1e9 if lasted else None,
        "orig_bytes": c["client_bytes"] if lasted else None,
        "resp_bytes": c["server_bytes"] if lasted else None,
        "conn_state": conn_state(c),
        "missed_bytes": None if None in gaps else sum(gaps),
        "orig_pkts": c["client_segments"],
        "resp_pkts": c["server_segments"],
        "ip_proto": TCP,
        "community_id": c["community_id"],
    }
    return _known(record | _beside(flow, "client_country"))


def ecs_record(flow: Flow) -> Record:
    """Write a record in the words of the Elastic Common Schema: nested, durations in nanoseconds."""
    c = flow.connection
    source = _known(_ecs_end(c, "client"))
    destination = _known(_ecs_end(c, "server"))
    if flow.country is not None:
        source["geo"] = {"country_iso_code": flow.country}
    start, end = (instant(c[name], digits=9) for name in ("start_ns", "end_ns"))
    octets = (c["client_bytes"], c["server_bytes"])
    network = {
        "transport": "tcp",
        "type": f"ipv{c['ip_version']}",
        "iana_number": str(TCP),
        "community_id": c["community_id"],
        "bytes": None if None in octets else sum(octets),
        "packets": c["client_segments"] + c["server_segments"],
    }
    return {
        "@timestamp": start,
        "ecs": {"version": ECS_VERSION},
        "event": {
            "kind": "event",
            "category": ["network"],
            "type": _ecs_types(c),
            "start": start,
            "end": end,
            "duration": c["duration_ns"],
        },
        "network": _known(network),
        "source": source,
        "destination": destination,
        "client": dict(source),
        "server": dict(destination),
        "tcpsight": _known(_judged(flow) | _extra(flow)),
    }


def ipfix_record(flow: Flow) -> Record:
    """Write a record in the names of IPFIX's information elements: a biflow from client to server (RFC 5103)."""
    c = flow.connection
    client, server = flow.sides
    record = {
        "flowId": c["connection_id"],
        "flowStartNanoseconds": instant(c["start_ns"], digits=9),
        "flowEndNanoseconds": instant(c["end_ns"], digits=9),
        "ipVersion": c["ip_version"],
        "protocolIdentifier": TCP,
        f"sourceIPv{c['ip_version']}Address": str(c["client_address"]),
        f"destinationIPv{c['ip_version']}Address": str(c["server_address"]),
        "sourceTransportPort": c["client_port"],
        "destinationTransportPort": c["server_port"],
        "packetDeltaCount": c["client_segments"],
        "reversePacketDeltaCount": c["server_segments"],
        "transportOctetDeltaCount": _observed(client),
        "reverseTransportOctetDeltaCount": _observed(server),
        # Arbitrary where the two ends look alike, else the initiator as far as can be told.
        "biflowDirection": 0 if c["role_source"] == "first" else 1,
        # The end of a flow detected. Otherwise nothing tells time-outs from the end of the capture.
        "flowEndReason": 3 if c["state"] in ("closed", "refused", "client_reset", "server_reset") else None,
    }
    return _known(record | _beside(flow, "client_country", "community_id"))


SCHEMAS: dict[str, Callable[[Flow], Record]] = {
    "tcpsight": tcpsight_record,
    "zeek": zeek_record,
    "ecs": ecs_record,
    "ipfix": ipfix_record,
}
"""The vocabularies, and what writes them."""


def _judged(flow: Flow) -> Record:
    """Tell what is wrong with the direction, and how fast it was."""
    is_sequenced = flow.connection["is_sequenced"]
    blackhole, bloat = flow.findings.get("blackhole"), flow.findings.get("bufferbloat")
    return {
        "direction": DIRECTIONS[flow.direction],
        "blackholed": blackhole is not None if is_sequenced else None,
        "blackholed_reason": blackhole,
        "bufferbloat": bloat is not None if is_sequenced else None,
        "bufferbloat_reason": bloat,
        "findings": list(flow.findings),
        "non_idle_throughput_mbps": _mbps(flow.own["non_idle_goodput_bits_per_s"]),
        "goodput_mbps": _mbps(flow.own["goodput_bits_per_s"]),
    }


def _extra(flow: Flow, *names: str) -> Record:
    """Give what other vocabularies have no name for; of country and Community ID, what they lack."""
    c = flow.connection
    known = {"client_country": flow.country, "community_id": c["community_id"]}
    also = {name: c[name] for name in ("connection_id", "role_source", "state", *OF_ACCOUNT)}
    return {name: known[name] for name in names} | {"server_zone": flow.zone} | also


def _beside(flow: Flow, *names: str) -> Record:
    """Give what the vocabulary has no name for, for records that are not nested."""
    return {f"tcpsight.{name}": value for name, value in (_judged(flow) | _extra(flow, *names)).items()}


def _ecs_end(c: dict[str, Any], who: str) -> Record:
    address = str(c[f"{who}_address"])
    return {
        "address": address,
        "ip": address,
        "port": c[f"{who}_port"],
        "bytes": c[f"{who}_bytes"],
        "packets": c[f"{who}_segments"],
    }


def _ecs_types(c: dict[str, Any]) -> list[str]:
    begun = ["start"] if c["connect_attempts"] else []
    ended = ["end"] if c["state"] in ("closed", "refused", "client_reset", "server_reset") else []
    return ["connection", *begun, *ended]


def _observed(side: Record) -> int | None:
    """Count all payload bytes that were captured of a side, those sent again included."""
    first, again = side["bytes"], side["retransmitted_bytes"]
    return None if first is None or again is None else int(first) + int(again)


def _mbps(bits_per_s: int | None) -> float | None:
    return None if bits_per_s is None else bits_per_s / 1e6


def _known(record: Record) -> Record:
    return {name: value for name, value in record.items() if value is not None}


def timestamp(time_ns: int) -> str:
    """Write an instant as tcpsight's records have it: ``2017-05-22 13:23:00.325632Z``."""
    return instant(time_ns).replace("T", " ")


def _uid(c: dict[str, Any]) -> str:
    """Make a name as Zeek's are, ``C`` and letters: the same for the same connection in every run."""
    told = f"{c['community_id']} {c['start_ns']} {c['connection_id']}"
    number = int.from_bytes(hashlib.sha256(told.encode()).digest()[:12], "big")
    letters = ""
    for _ in range(17):
        number, digit = divmod(number, 62)
        letters += BASE62[digit]
    return "C" + letters
