"""Write TCP headers as a few lines of text, the way a capture would show them; track them; read the result.

One line is one header, a template segment plus what matters::

    0     > S   seq=1000         # milliseconds, direction (> from A to B, < from B to A), flags as tcpdump's letters
    10    < SA  seq=5000         # ack=…: if absent, all that the other side has sent
    20    > A                    # seq=…: if absent, right after the highest number that this side has sent
    30    > PA  100              # payload bytes
    40    > PA  100 off=0        # off=…: by stream offset: ISN + 1 + off
    50    < A   acked=100        # acked=…: the same for the acknowledgment number
    60    > copy if=1            # the same header captured again: on interface 1
    70    > PA  100 seq=+50      # 50 beyond the default; seq=-50 before it
    80    > ?   100              # text that shows lengths only: no numbers

More keys: ``win= ws= mss= ts=value/echo id= if= ttl= sum= port=`` (A's port), ``v6``, ``cut`` (options cut by the
capture), ``sackok``, ``sack=100-200,300-400`` (blocks, by stream offsets of the other side).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tcpsight.connections import MOST_CONNECTIONS, ConnectionTracking, Server, Timeouts, Tracked
from tcpsight.tables import (
    BOUNDARIES,
    ENCAPSULATIONS,
    MAX_SACK_BLOCKS,
    OPTION_CUT,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_UNSEQUENCED,
    OPTION_WINDOW_SCALE,
    REASONS,
    Boundaries,
    Column,
    Connections,
    Headers,
    Segments,
    UnseenCounter,
)

Row = dict[str, Any]
"""One header; the keys are columns of Headers."""

OPTIONS = {"cut": OPTION_CUT, "mss": OPTION_MSS, "sackok": OPTION_SACK_PERMITTED, "sack": OPTION_SACK}
FLAGS = {"F": 1, "S": 2, "R": 4, "P": 8, "A": 16, "U": 32, "E": 64, "W": 128}
A_ADDRESS = bytes(10) + b"\xff\xff\x0a\x00\x00\x01"
B_ADDRESS = bytes(10) + b"\xff\xff\x0a\x00\x00\x09"
A_PORT, B_PORT = 40000, 80
WRAP = 2**32


class Talk:
    """What two endpoints have sent so far; gives the numbers that a line leaves out."""

    def __init__(self) -> None:
        self.isn: dict[str, int] = {}
        self.edge: dict[str, int] = {}
        self.last: dict[str, Row] = {}
        self.sent = 0

    def row(self, line: str) -> Row:
        """Read one line."""
        words = line.split()
        milliseconds, side, letters = words[0], words[1], words[2]
        notes = {key: value for key, _, value in (word.partition("=") for word in words[3:])}
        time_ns = round(float(milliseconds) * 1_000_000)
        if letters == "copy":
            return self.last[side] | self._place(notes) | {"time_ns": time_ns}
        length = next((int(key) for key in notes if key.isdigit()), 0)
        row = self._endpoints(side, notes) | self._place(notes) | {"time_ns": time_ns, "payload_bytes": length}
        self.sent += 1
        row["ip_id"] = int(notes.get("id", 0 if "v6" in notes else self.sent))
        row["captured_payload_bytes"] = length
        row["checksum"] = int(notes.get("sum", 0))
        row["window"] = int(notes.get("win", 1000))
        row |= self._options(notes)
        if "sack" in notes:
            row |= self._blocks(side, notes["sack"])
        if letters == "?":
            row["options"] = OPTION_UNSEQUENCED
        else:
            row |= self._numbers(side, letters, notes, length)
        self.last[side] = row
        return row

    def _endpoints(self, side: str, notes: dict[str, str]) -> Row:
        a, b = (A_ADDRESS, int(notes.get("port", A_PORT))), (B_ADDRESS, int(notes.get("bport", B_PORT)))
        source, destination = (a, b) if side == ">" else (b, a)
        return {
            "source_address": np.frombuffer(source[0], np.uint8),
            "source_port": source[1],
            "destination_address": np.frombuffer(destination[0], np.uint8),
            "destination_port": destination[1],
            "ip_version": 6 if "v6" in notes else 4,
            "encapsulation": ENCAPSULATIONS.index(notes.get("in", "none")),
            "tunnel": int(notes.get("tunnel", 0)),
        }

    def _place(self, notes: dict[str, str]) -> Row:
        return {"interface_id": int(notes.get("if", 0)), "ttl": int(notes.get("ttl", 64))}

    def _options(self, notes: dict[str, str]) -> Row:
        row: Row = {"options": 0}
        if "ws" in notes:
            row |= {"window_scale": int(notes["ws"]), "options": OPTION_WINDOW_SCALE}
        if "ts" in notes:
            value, echo = notes["ts"].split("/")
            row |= {"timestamp_value": int(value), "timestamp_echo": int(echo)}
            row["options"] |= OPTION_TIMESTAMPS
        if "mss" in notes:
            row["mss_bytes"] = int(notes["mss"])
        row["options"] |= sum(bit for key, bit in OPTIONS.items() if key in notes)
        text = " ".join(f"{key}={notes[key]}" for key in ("ws", "ts", "cut", "mss", "sackok", "sack") if key in notes)
        row["options_hash"] = zlib.crc32(text.encode()) if text else 0
        return row

    def _blocks(self, side: str, text: str) -> Row:
        first = self.isn["<" if side == ">" else ">"] + 1
        edges = [(first + int(edge)) % WRAP for block in text.split(",") for edge in block.split("-")]
        return {"sack_count": len(edges) // 2, "sack": edges + [0] * (2 * MAX_SACK_BLOCKS - len(edges))}

    def _numbers(self, side: str, letters: str, notes: dict[str, str], length: int) -> Row:
        other = "<" if side == ">" else ">"
        flags = sum(FLAGS[letter] for letter in letters if letter != ".")
        expected = self.edge.get(side, 0)
        text = notes.get("seq", "")
        sequence = expected + int(text or 0) if text[:1] in ("", "+", "-") else int(text)
        if "off" in notes:
            sequence = self.isn[side] + 1 + int(notes["off"])
        if flags & FLAGS["S"]:
            self.isn[side] = sequence
            self.edge[side] = sequence
        elif side not in self.edge:
            self.edge[side], self.isn[side] = sequence, sequence - 1
        end = sequence + length + bool(flags & FLAGS["S"]) + bool(flags & FLAGS["F"])
        if not flags & FLAGS["R"]:
            self.edge[side] = max(self.edge[side], end)
        acknowledged = int(notes.get("ack", self.edge.get(other, 0)))
        if "acked" in notes:
            acknowledged = self.isn[other] + 1 + int(notes["acked"])
        return {
            "flags": flags,
            "sequence_number": sequence % WRAP,
            "acknowledgment_number": acknowledged % WRAP if flags & FLAGS["A"] else 0,
        }


def rows_of(script: str) -> list[Row]:
    """Read the lines of a script; ``#`` begins a comment."""
    talks: dict[str, Talk] = {}
    rows = []
    for raw in script.splitlines():
        line = raw.split("#")[0].strip()
        if line:
            who = next((word for word in line.split() if word.startswith("port=")), "")
            rows.append(talks.setdefault(who, Talk()).row(line))
    return rows


def headers_of(rows: Iterable[Row], first_frame: int = 1) -> Headers:
    """Make a table of rows, numbered from `first_frame`."""
    listed = list(rows)
    table = Headers.allocate(len(listed))
    for i, row in enumerate(listed):
        for name, value in row.items():
            table.rows[name][i] = value
    table.frame_number[:] = np.arange(first_frame, first_frame + len(listed))
    table.frame_in_file[:] = table.frame_number
    return table


def headers(script: str) -> Headers:
    """Make a table of a script."""
    return headers_of(rows_of(script))


class Followed:
    """All that came out of tracking some batches: whole tables, and the words behind their numbers."""

    def __init__(self) -> None:
        self.segments = Segments()
        self.boundaries = Boundaries()
        self.connections = Connections()
        self.unseen: dict[str, list[int]] = {}
        self.furthest_back_ns = 0
        self.open_connections = 0

    def named(self, column: str) -> list[Any]:
        """Give a column of the connections in words, null as None."""
        return words(Connections, self.connections, column)

    def of_segments(self, column: str) -> list[Any]:
        """Give a column of the segments in words, null as None."""
        return words(Segments, self.segments, column)

    def one(self, *columns: str) -> Any:
        """Give these columns of the only connection; of one column, the value alone."""
        assert len(self.connections) == 1
        values = tuple(self.named(column)[0] for column in columns)
        return values[0] if len(values) == 1 else values

    def turns(self) -> list[tuple[int, str, int]]:
        """Give the boundaries as (segments before it in the capture, what, connection)."""
        return [(int(b["position"]), BOUNDARIES[b["boundary"]], int(b["connection_id"])) for b in self.boundaries.rows]


def words(kind: type, table: Any, column: str) -> list[Any]:
    about: Column = next(c for c in kind.columns if c.name == column)  # type: ignore[attr-defined]
    values = table.rows[column].tolist()
    known = [None if about.null is not None and v == about.null else v for v in values]
    return [about.names[v] if v is not None else None for v in known] if about.names else known


def counts_of(unseen: UnseenCounter) -> dict[str, list[int]]:
    """Give [count, bytes, first frame] of each reason that occurred."""
    return {reason: row.tolist() for reason, row in zip(REASONS, unseen.counts, strict=True) if row[0]}


def follow(
    batches: Iterable[Headers],
    *,
    servers: Sequence[Server] = (),
    timeouts: Timeouts | None = None,
    hash_seed: int = 1,
    most: int = MOST_CONNECTIONS,
    finish: bool = True,
) -> Followed:
    """Track batches to the end; positions of boundaries are made to count through the whole capture."""
    tracking = ConnectionTracking(servers, timeouts, hash_seed=hash_seed, most=most)
    segments, boundaries, connections = [], [], []
    before = 0

    def take(tracked: Tracked) -> None:
        nonlocal before
        while True:
            segments.append(tracked.segments.copy())
            turns = tracked.boundaries.copy()
            turns.position[:] += before
            boundaries.append(turns)
            connections.append(tracked.connections.copy())
            before += len(tracked.segments)
            if tracked.is_whole:
                return
            tracked = tracking.more()

    for batch in batches:
        take(tracking.feed(batch))
    followed = Followed()
    followed.open_connections = tracking.open_connections
    if finish:
        take(tracking.finish())
    followed.segments = Segments.concatenate(segments)
    followed.boundaries = Boundaries.concatenate(boundaries)
    followed.connections = Connections.concatenate(connections)
    followed.unseen = counts_of(tracking.unseen)
    followed.furthest_back_ns = tracking.unseen.furthest_back_ns
    return followed


def track(script: str, **options: Any) -> Followed:
    """Track a script in one batch."""
    return follow([headers(script)], **options)


def server(address: str = "", port: int = 0) -> Server:
    """Name a server as the user would."""
    packed = {"A": A_ADDRESS, "B": B_ADDRESS}.get(address)
    return Server(packed, port, 4)
