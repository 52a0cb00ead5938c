"""Write a conversation as a few lines of text, get the Segments and Boundaries that it would arrive as.

One line is one segment::

    10.0   0 >  100          # milliseconds, offset of the first byte, direction (> client, < server), payload
    12.0   + >   40          # + : right after the highest byte that this side has sent
    30.0   0 < 1400 ack=140  # ack=N: what it acknowledges; if absent, everything the other side has sent
    31.0   + >    0 fin      # flags: syn fin rst; dup: the same frame captured twice
    40.0   ? >   10          # unknown sequence number (text that shows lengths only); acknowledges nothing known

Bytes are new when this side has not sent them before. A SYN with data has offset 0 for its first byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from tcpsight.tables import BOUNDARIES, DIRECTIONS, FLAG_FIN, FLAG_RST, FLAG_SYN, INT64_MIN, KINDS, Boundaries, Segments

Event = dict[str, Any]
"""One segment, or one boundary (which has the key ``boundary``); the other keys are columns."""

FLAGS = {"syn": FLAG_SYN, "fin": FLAG_FIN, "rst": FLAG_RST}
CLIENT_ADDRESS = bytes(10) + b"\xff\xff\x0a\x00\x00\x01"
SERVER_ADDRESS = bytes(10) + b"\xff\xff\x0a\x00\x00\x09"


def boundary(which: str, connection_id: int, slot: int, time_ns: int, *, is_open: int = 0) -> Event:
    """Describe the opening or the end of a connection; `is_open`: the capture ended, it did not."""
    return {
        "boundary": BOUNDARIES.index(which),
        "connection_id": connection_id,
        "slot": slot,
        "time_ns": time_ns,
        "client_address": np.frombuffer(CLIENT_ADDRESS, np.uint8),
        "server_address": np.frombuffer(SERVER_ADDRESS, np.uint8),
        "client_port": 1024 + connection_id % 60000,
        "server_port": 3306,
        "ip_version": 4,
        "is_open": is_open,
    }


def talk(script: str, connection_id: int = 1, slot: int = 0) -> list[Event]:
    """Describe each segment of a script, one connection, without its boundaries."""
    sent: dict[str, set[int]] = {">": set(), "<": set()}
    edge = {">": 0, "<": 0}
    events = []
    for line in script.splitlines():
        words = line.split("#")[0].split()
        if words:
            events.append(_segment(words, sent, edge) | {"connection_id": connection_id, "slot": slot})
    return events


def _segment(words: list[str], sent: dict[str, set[int]], edge: dict[str, int]) -> Event:
    milliseconds, where, side, length = words[0], words[1], words[2], int(words[3])
    notes = {name: value for name, _, value in (word.partition("=") for word in words[4:])}
    other = "<" if side == ">" else ">"
    offset = edge[side] if where in "+?" else int(where)
    fresh = [] if "dup" in notes else [i for i in range(offset, offset + length) if i not in sent[side]]
    kind = "duplicate" if "dup" in notes else "retransmission" if length and not fresh else "new"
    if fresh and fresh[0] < edge[side]:
        kind = "out_of_order"
    sent[side].update(fresh)
    edge[side] = max(edge[side], offset + length)
    acked = notes.get("ack", "?" if where == "?" else str(edge[other]))
    return {
        "time_ns": round(float(milliseconds) * 1_000_000),
        "offset": INT64_MIN if where == "?" else offset,
        "acked_offset": INT64_MIN if acked == "?" else int(acked),
        "payload_bytes": length,
        "new_bytes": len(fresh),
        "new_at": fresh[0] - offset if fresh else 0,
        "window_bytes": 65535,
        "flags": sum(bit for name, bit in FLAGS.items() if name in notes),
        "direction": DIRECTIONS.index("client" if side == ">" else "server"),
        "kind": KINDS.index(kind),
    }


def whole(script: str, connection_id: int = 1, slot: int = 0) -> list[Event]:
    """Describe a connection from its opening to its end, which is its last segment."""
    events = talk(script, connection_id, slot)
    opened = boundary("opened", connection_id, slot, events[0]["time_ns"])
    ended = boundary("ended", connection_id, slot, events[-1]["time_ns"])
    return [opened, *events, ended]


def tables(events: Iterable[Event]) -> tuple[Segments, Boundaries]:
    """Make one batch of events in capture order."""
    segment_events: list[Event] = []
    boundary_events: list[Event] = []
    for event in events:
        if "boundary" in event:
            boundary_events.append(event | {"position": len(segment_events)})
        else:
            segment_events.append(event | {"frame_number": len(segment_events) + 1})
    segments = Segments.allocate(len(segment_events))
    boundaries = Boundaries.allocate(len(boundary_events))
    for table, rows in ((segments, segment_events), (boundaries, boundary_events)):
        for i, row in enumerate(rows):
            for name, value in row.items():
                table.rows[name][i] = value
    return segments, boundaries


def cut(events: list[Event], places: list[int]) -> list[tuple[Segments, Boundaries]]:
    """Make several batches of the same events, cut before the events at `places`."""
    edges = [0, *sorted(places), len(events)]
    return [tables(events[begin:end]) for begin, end in pairwise(edges)]
