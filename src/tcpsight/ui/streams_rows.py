"""Rows and columns of the browser of streams: plain values, made of those rows only that are shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import tzinfo
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.output import units
from tcpsight.output.addresses import endpoint_text
from tcpsight.output.dialogues import Dialogue, block_lines, text_lines
from tcpsight.output.ladders import HEADS, SIDES, WIDTHS, Rung, cells
from tcpsight.tables import STATES, Connections, Requests
from tcpsight.ui.cells import Cells, attribute
from tcpsight.ui.lines import Line, Part

if TYPE_CHECKING:
    from tcpsight.conversations.catalog import Catalog

MOST_ROWS = 500
"""Connections in the table: the first in its order; the others are counted."""

MOST_LINES = 50_000
MOST_BYTES = 4 << 20
"""So much of a dialogue is shown; commands show all."""


@dataclass(frozen=True, slots=True)
class TalkRow:
    """One connection; unknown is None."""

    connection_id: int
    start_ns: int
    duration_ns: int
    client: str
    server: str
    state: str
    requests: int
    client_bytes: int | None
    server_bytes: int | None
    retransmissions: int | None
    gap_bytes: int | None


def columns(first_ns: int) -> tuple[Cells, ...]:
    """Give the columns of connections; starts are told after the first."""
    return (
        attribute("number", "connection_id", str),
        attribute("start", "start_ns", lambda ns: f"{(ns - first_ns) / 1e9:.6f}"),
        attribute("duration", "duration_ns", units.duration),
        attribute("client", "client", str, is_number=False),
        attribute("server", "server", str, is_number=False),
        attribute("state", "state", lambda state: state.replace("_", " "), is_number=False),
        attribute("requests", "requests", units.count),
        attribute("sent", "client_bytes", units.size),
        attribute("received", "server_bytes", units.size),
        attribute("resent", "retransmissions", units.count),
        attribute("missing", "gap_bytes", units.size),
    )


KEYS = (
    ("connection_id",),
    ("start_ns",),
    ("duration_ns",),
    ("client_address", "client_port"),
    ("server_address", "server_port"),
    ("state",),
    ("requests",),
    ("client_bytes",),
    ("server_bytes",),
    ("client_retransmissions", "server_retransmissions"),
    ("client_gap_bytes", "server_gap_bytes"),
)
"""What each column is sorted by; two numbers are added up, an address goes before its port."""


def rows_of(catalog: Catalog, sorted_by: int, *, is_descending: bool) -> list[TalkRow]:
    """Give the first connections that are shown, in the order of a column; equal ones by number."""
    shown = catalog.shown
    order = np.argsort(_key(shown, KEYS[sorted_by]), kind="stable")
    if is_descending:
        # Turned around twice, so that equal ones stay in order.
        order = len(order) - 1 - np.argsort(_key(shown, KEYS[sorted_by])[::-1], kind="stable")[::-1]
    return [_row(row) for row in shown[order[:MOST_ROWS]]]


def _key(shown: Connections, names: tuple[str, ...]) -> np.ndarray[Any, Any]:
    if names[0].endswith("_address"):
        both = np.zeros(len(shown), [("address", "S16"), ("port", "u2")])
        both["address"] = np.ascontiguousarray(shown.rows[names[0]]).view("S16").reshape(-1)
        both["port"] = shown.rows[names[1]]
        _, ranks = np.unique(both, return_inverse=True)
        return ranks
    total: np.ndarray[Any, Any] = sum(shown.rows[name].astype(np.int64) for name in names)  # type: ignore[assignment]
    return total


def _row(row: Any) -> TalkRow:
    version = int(row["ip_version"])
    client, server = (
        endpoint_text(row[f"{side}_address"].tobytes(), int(row[f"{side}_port"]), version)
        for side in ("client", "server")
    )
    return TalkRow(
        int(row["connection_id"]),
        int(row["start_ns"]),
        int(row["duration_ns"]),
        client,
        server,
        STATES[row["state"]] if row["state"] < len(STATES) else "",
        int(row["requests"]),
        _sum(row, "client_bytes"),
        _sum(row, "server_bytes"),
        _sum(row, "client_retransmissions", "server_retransmissions"),
        _sum(row, "client_gap_bytes", "server_gap_bytes"),
    )


def _sum(row: Any, *names: str) -> int | None:
    values = [int(row[name]) for name in names]
    return None if min(values) < 0 else sum(values)


@dataclass(frozen=True, slots=True)
class TurnRow:
    """One request of a connection."""

    request_index: int
    arrival_ns: int
    response_time_ns: int
    request_bytes: int
    response_bytes: int


def turn_columns(timezone: tzinfo) -> tuple[Cells, ...]:
    """Give the columns of requests."""
    return (
        attribute("index", "request_index", str),
        attribute("arrived", "arrival_ns", lambda ns: units.instant(ns, timezone)[11:], is_number=False),
        attribute("response time", "response_time_ns", units.duration),
        attribute("request", "request_bytes", units.size),
        attribute("response", "response_bytes", units.size),
    )


def turns_of(requests: Requests) -> list[TurnRow]:
    """Give the requests of a connection."""
    names = ("request_index", "arrival_ns", "response_time_ns", "request_bytes", "response_bytes")
    return [TurnRow(*values) for values in zip(*(requests.rows[name].tolist() for name in names), strict=True)]


def ladder_lines(rungs: Iterable[Rung]) -> Iterator[Line]:
    """Give the lines of a ladder under their head, in the colours of the sides; the last one says what was left out."""
    yield (Part(_aligned(HEADS), "head"),)
    found = iter(rungs)
    for rung in islice(found, MOST_LINES):
        *plain, remarks = cells(rung)
        side = "client" if rung.is_client else "server"
        yield (
            Part(f"{_aligned((*plain, ''))} ", side),
            Part(remarks, "dim" if rung.lacking and not rung.marks else "mark"),
        )
    left = sum(1 for _ in found)
    if left:
        yield (Part(f"… {units.counted(left, 'segment')} more: the command 'show' has them all", "dim"),)


def _aligned(texts: Iterable[str]) -> str:
    parts = zip(texts, SIDES, WIDTHS, strict=True)
    return " ".join(f"{text:{side}{width}}" if width else text for text, side, width in parts).rstrip()


def dialogue_lines(dialogue: Dialogue, form: str) -> Iterator[tuple[int, Line]]:
    """Give the lines of a dialogue as text, hex or raw, each with its time; the last one says what was left out."""
    shown = lines = 0
    for block in dialogue.blocks:
        if shown >= MOST_BYTES or lines >= MOST_LINES:
            total = dialogue.client.bytes + dialogue.server.bytes
            words = f"… of {units.counted(total, 'byte')} the first {units.count(shown)}: 'follow' has them all"
            yield block.time_ns, (Part(words, "dim"),)
            return
        shown += len(block.data) + block.missing_bytes
        found: Iterable[str] = block_lines(block, dialogue.start_ns, is_hex=form == "hex")
        if form == "raw" and not block.missing_bytes:
            found = text_lines(block.data)
        for i, line in enumerate(found):
            lines += 1
            style = "dim" if block.missing_bytes or (form != "raw" and i == 0) else block.direction
            yield block.time_ns, (Part(line, style),)
