"""Batches for the time account: segments with the TTL and MSS of their headers, and the connections that end."""

from __future__ import annotations

from typing import Any

from tcpsight.network import Accounted, TimeAccounting
from tcpsight.tables import (
    BOUNDARIES,
    TIME_PARTS,
    Boundaries,
    ConnectionAccounts,
    Connections,
    Headers,
    RequestAccounts,
    Segments,
    Table,
)
from tests.support.conversation import Event, tables

Inputs = tuple[Segments, Headers, Boundaries, Connections]
Row = dict[str, Any]

OF_HEADERS = ("ttl", "mss_bytes")
PARTS = tuple(f"{part}_ns" for part in TIME_PARTS if part != "connect")
KNOWN_AT_END = {
    "connect_ns": -1,
    "server_handshake_rtt_ns": -1,
    "client_handshake_rtt_ns": -1,
    "server_handshake_least_ns": -1,
    "client_handshake_least_ns": -1,
    "client_segments": 1,
    "server_segments": 1,
}
"""What a connection has that its segments alone do not tell, unless a test says otherwise."""


def inputs(events: list[Event], connections: dict[int, Row]) -> Inputs:
    """Make one batch of events in capture order."""
    plain = [{key: value for key, value in event.items() if key not in OF_HEADERS} for event in events]
    segments, boundaries = tables(plain)
    headers = Headers.allocate(len(segments))
    carried = [event for event in events if "boundary" not in event]
    for name in OF_HEADERS:
        headers.rows[name] = [event.get(name, 0) for event in carried]
    ended = [
        connections[event["connection_id"]] for event in events if event.get("boundary") == BOUNDARIES.index("ended")
    ]
    rows = Connections.allocate(len(ended))
    for i, row in enumerate(ended):
        for name, value in row.items():
            rows.rows[name][i] = value
    return segments, headers, boundaries, rows


def lives(events: list[Event], **known: Any) -> dict[int, Row]:
    """Give the connection row of each connection, as its believed segments tell it; `known` goes before."""
    rows: dict[int, Row] = {}
    for event in events:
        of = event["connection_id"]
        if event.get("boundary") == BOUNDARIES.index("opened"):
            rows[of] = {"connection_id": of, "start_ns": event["time_ns"], "end_ns": event["time_ns"]} | KNOWN_AT_END
        elif "boundary" not in event:
            rows[of]["end_ns"] = max(rows[of]["end_ns"], event["time_ns"])
    for row in rows.values():
        row |= known
        row["duration_ns"] = row["end_ns"] - row["start_ns"]
    return rows


def run(batches: list[Inputs], *, with_requests: bool = True) -> Accounted:
    """Account for batches; give all rows."""
    room = TimeAccounting(with_requests=with_requests)
    accounted = []
    for batch in batches:
        fed = room.feed(*batch)
        accounted.append(Accounted(fed.connections.copy(), fed.requests.copy()))
    connections = ConnectionAccounts.concatenate([each.connections for each in accounted])
    return Accounted(connections, RequestAccounts.concatenate([each.requests for each in accounted]))


def plain(table: Table) -> list[Row]:
    """Give the rows of a table as dictionaries."""
    return [{column.name: row[column.name].item() for column in table.columns} for row in table.rows]
