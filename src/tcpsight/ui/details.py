"""What is behind a service: its connections and requests, as far as they are kept; rows of plain values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.output.addresses import endpoint_text
from tcpsight.tables import STATES, Connections, Requests
from tcpsight.ui.board import OTHER, Snapshot

MOST_SHOWN = 500
"""Rows of a list: the open ones, then those with the most bytes; the slowest, or the latest."""

OPEN_STATES = [STATES.index(name) for name in ("handshaking", "open", "half_closed")]

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """One connection; unknown is None."""

    connection_id: int
    client: str
    age_ns: int
    is_open: bool
    state: str
    requests: int
    waiting: int
    client_bytes: int | None
    server_bytes: int | None
    retransmissions: int | None


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One answered request."""

    connection_id: int
    request_index: int
    client: str
    arrival_ns: int
    response_time_ns: int
    request_bytes: int
    response_bytes: int


def connections_of(snapshot: Snapshot, service: str) -> tuple[list[ConnectionRow], int]:
    """Give connections of a service, the open ones first, then those with the most bytes; and how many there are."""
    now_ns = snapshot.latest.end_ns if snapshot.latest is not None else 0
    ended = Connections.concatenate([each[_of(snapshot, service, each)] for each in snapshot.ended])
    # One that was followed when somebody looked may have ended since; and one that is closed is followed for a while.
    followed = snapshot.open[_of(snapshot, service, snapshot.open)]
    followed = followed[~np.isin(followed.connection_id, ended.connection_id)]
    is_open = np.isin(followed.state, OPEN_STATES)
    opened, ended = followed[is_open], Connections.concatenate([ended, followed[~is_open]])
    found = len(opened) + len(ended)
    chosen = [(row, True) for row in _largest(opened, MOST_SHOWN)]
    chosen += [(row, False) for row in _largest(ended, MOST_SHOWN - len(chosen))]
    return [_connection(row, now_ns, is_open=is_open) for row, is_open in chosen], found


def requests_of(snapshot: Snapshot, service: str, *, slowest: bool) -> list[RequestRow]:
    """Give the slowest, or the latest, of the requests of a service that are kept."""
    found = Requests.concatenate([each[_of(snapshot, service, each)] for each in snapshot.requests])
    column = found.response_time_ns if slowest else found.arrival_ns
    order = np.argsort(column, kind="stable")[::-1][:MOST_SHOWN]
    return [_request(row) for row in found[order]]


def requests_on(snapshot: Snapshot, connection_id: int) -> list[RequestRow]:
    """Give the latest requests on a connection, the last one first."""
    found = Requests.concatenate([each[each.connection_id == connection_id] for each in snapshot.requests])
    order = np.argsort(found.arrival_ns, kind="stable")[::-1][:MOST_SHOWN]
    return [_request(row) for row in found[order]]


def _of(snapshot: Snapshot, service: str, rows: Connections | Requests) -> Mask:
    """Tell which rows belong to a service; the others are those of services that have no rows of their own."""
    latest = snapshot.latest
    if service != OTHER:
        endpoint = snapshot.endpoint(service)
        return _at([endpoint] if endpoint is not None else [], rows)
    named = [(each.address, each.port) for each in latest.services if each.name != OTHER] if latest is not None else []
    return ~_at(named, rows)


def _at(endpoints: Iterable[tuple[bytes, int]], rows: Connections | Requests) -> Mask:
    found = np.zeros(len(rows), np.bool_)
    for address, port in endpoints:
        is_there = (rows.server_address == np.frombuffer(address, np.uint8)).all(axis=1)
        found |= (rows.server_port == port) & is_there
    return found


def _largest(rows: Connections, most: int) -> Iterable[Any]:
    volume = rows.client_bytes + rows.server_bytes
    return rows[np.argsort(-volume, kind="stable")[: max(most, 0)]]


def _connection(row: Any, now_ns: int, *, is_open: bool) -> ConnectionRow:
    end_ns = max(now_ns, int(row["end_ns"])) if is_open else int(row["end_ns"])
    sent_again = _known(row["client_retransmissions"]), _known(row["server_retransmissions"])
    return ConnectionRow(
        int(row["connection_id"]),
        _client(row),
        end_ns - int(row["start_ns"]),
        is_open,
        STATES[row["state"]] if row["state"] < len(STATES) else "",
        int(row["requests"]),
        int(row["unanswered"]) if is_open else 0,
        _known(row["client_bytes"]),
        _known(row["server_bytes"]),
        None if None in sent_again else sum(each or 0 for each in sent_again),
    )


def _request(row: Any) -> RequestRow:
    return RequestRow(
        int(row["connection_id"]),
        int(row["request_index"]),
        _client(row),
        int(row["arrival_ns"]),
        int(row["response_time_ns"]),
        int(row["request_bytes"]),
        int(row["response_bytes"]),
    )


def _client(row: Any) -> str:
    return endpoint_text(row["client_address"].tobytes(), int(row["client_port"]), int(row["ip_version"]))


def _known(value: Any) -> int | None:
    return int(value) if value >= 0 else None
