"""Traffic for the network kernel: two sides that send, lose, overtake, send again, acknowledge with and without SACK.

A move says what one side does next; `Path` keeps what is sent and what arrived, so that acknowledgments, blocks and
echoes are those of a real receiver, or a little off. Hostile numbers come from the traffic of the connections kernel.
"""

from __future__ import annotations

import random
from typing import Any

from hypothesis import strategies as st

from tcpsight.tables import (
    FLAG_ACK,
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
)
from tests.support.headers import A_ADDRESS, B_ADDRESS, WRAP, Row

MS = 1_000_000
Move = dict[str, Any]

CHOICES: dict[str, tuple[Any, ...]] = {
    "side": (0, 0, 0, 1),
    "what": (
        *("data",) * 8,
        *("ack",) * 8,
        *("again", "again", "again", "lost", "lost", "late", "repeat ack", "repeat ack"),
        *("wide", "fin", "fin again", "probe", "keep alive", "window", "rst", "dsack", "dsack", "syn again", "bare"),
    ),
    "length": (100, 100, 100, 1448, 1460, 1460, 2920, 14600, 1, 70_000),
    # Which of what is there: of segments sent, blocks, things that are late.
    "which": (0, 0, 0, 1, 2, 5),
    "step": (0, 1, 1000, 400_000, MS, 5 * MS, 10 * MS, 10 * MS, 10 * MS, 30 * MS, 250 * MS, 1100 * MS, -MS),
    "echo": ("receiver", "receiver", "receiver", "latest", "first", None),
    "window": (1000, 1000, 1000, 1000, 0, 10, 65535),
    "lag": (0, 0, 0, 0, 1, 2, 50),
    "edge": (0, 0, 0, 0, 1, -1, 5000),
}

moves = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in CHOICES.items()})
settings_of_a_path = st.fixed_dictionaries(
    {
        "timestamps": st.booleans(),
        "sack": st.booleans(),
        "handshake": st.sampled_from((0, 1, 2, 2, 2)),
        "isn": st.sampled_from((1000, WRAP - 3000)),
        "mss": st.sampled_from((1460, 1460, 536, 20)),
    }
)


def random_path(seed: int, count: int) -> tuple[Move, list[Move]]:
    """Draw a path and many moves at once."""
    draw = random.Random(seed)
    how = {
        "timestamps": seed % 2 == 0,
        "sack": seed % 3 > 0,
        "handshake": seed % 4 and 2,
        "isn": 1000 if seed % 5 else WRAP - 3000,
        "mss": 1460,
    }
    return how, [{name: draw.choice(values) for name, values in CHOICES.items()} for _ in range(count)]


class Path:
    """Turns moves into headers."""

    def __init__(self, how: Move) -> None:
        self.how = how
        self.time_ns = 10**18
        self.rows: list[Row] = []
        self.top = [how["isn"], how["isn"] + 7000]
        self.isn = list(self.top)
        self.sent: list[list[tuple[int, int]]] = [[], []]
        self.late: list[list[tuple[int, int]]] = [[], []]
        self.arrived: list[list[tuple[int, int]]] = [[], []]
        self.values: list[list[int]] = [[], []]
        self.echo = [0, 0]
        self.window = [1000, 1000]
        if how["handshake"] > 0:
            self.send(0, FLAG_SYN, 0)
            self.time_ns += 20 * MS
        if how["handshake"] > 1:
            self.send(1, FLAG_SYN | FLAG_ACK, 0)
            self.time_ns += MS
            self.send(0, FLAG_ACK, 0)

    def reached(self, side: int) -> int:
        """Give what the receiver of this side's data would acknowledge."""
        at: int = self.isn[side] + (1 if self.how["handshake"] > side else 0)
        for start, end in sorted(self.arrived[side]):
            if start > at:
                break
            at = max(at, end)
        return at

    def take(self, move: Move) -> None:
        self.time_ns += move["step"]
        side, what, which = move["side"], move["what"], move["which"]
        if what == "data":
            self.send(side, FLAG_ACK, move["length"], move)
        elif what == "lost":
            self.late[side].append((self.top[side], self.top[side] + move["length"]))
            self.top[side] += move["length"]
        elif what == "late" and self.late[side]:
            start, end = self.late[side].pop(which % len(self.late[side]))
            self.send(side, FLAG_ACK, end - start, move, start)
        elif what in ("again", "wide") and self.sent[side]:
            start, end = self.sent[side][-1 - which % len(self.sent[side])]
            self.send(side, FLAG_ACK, end - start + (150 if what == "wide" else 0), move, start)
        elif what in ("fin", "fin again"):
            self.send(side, FLAG_ACK | FLAG_FIN, 0, move, self.top[side] - (what == "fin again"))
        elif what == "syn again":
            self.send(side, FLAG_SYN | (FLAG_ACK if side else 0), 0, move, self.isn[side])
        elif what == "probe":
            self.send(side, FLAG_ACK, 1, move)
        elif what == "keep alive":
            self.send(side, FLAG_ACK, which % 2, move, self.top[side] - 1)
        elif what == "rst":
            self.send(side, FLAG_ACK | FLAG_RST, 0, move)
        elif what == "bare":
            self.send(side, FLAG_ACK, 0, move | {"edge": 0}, self.top[side] + move["length"])
        elif what == "window":
            self.window[side] = move["window"]
            self.send(side, FLAG_ACK, 0, move)
        elif what == "repeat ack":
            for _ in range(1 + which % 4):
                self.send(side, FLAG_ACK, 0, move)
        elif what == "dsack" and self.sent[1 - side]:
            self.send(side, FLAG_ACK, 0, move, block=self.sent[1 - side][-1 - which % len(self.sent[1 - side])])
        else:
            self.send(side, FLAG_ACK, 0, move)

    def send(
        self, side: int, flags: int, length: int, move: Move | None = None, start: int | None = None, block: Any = None
    ) -> None:
        move = move or {"echo": "receiver", "lag": 0, "edge": 0, "which": 0}
        first = self.top[side] if start is None else start
        end = first + length + bool(flags & FLAG_SYN) + bool(flags & FLAG_FIN)
        ends = [(A_ADDRESS, 40000), (B_ADDRESS, 80)]
        (source, source_port), (destination, destination_port) = ends[:: 1 - 2 * side]
        acked = self.reached(1 - side) - move["lag"] + move["edge"]
        row: Row = {"time_ns": self.time_ns, "ip_version": 4, "ip_id": len(self.rows) + 1, "flags": flags}
        row |= {"source_address": source, "source_port": source_port, "payload_bytes": length}
        row |= {"destination_address": destination, "destination_port": destination_port}
        row |= {"sequence_number": first % WRAP, "window": self.window[side], "options": 0}
        row["acknowledgment_number"] = acked % WRAP if flags & FLAG_ACK else 0
        if flags & FLAG_SYN:
            row["options"] |= OPTION_MSS | OPTION_WINDOW_SCALE | (OPTION_SACK_PERMITTED if self.how["sack"] else 0)
            row |= {"mss_bytes": self.how["mss"], "window_scale": 2 + side}
        if self.how["timestamps"]:
            row["options"] |= OPTION_TIMESTAMPS
            row |= {"timestamp_value": self.value(), "timestamp_echo": self.echoed(side, move["echo"])}
        if self.how["sack"] and not flags & FLAG_SYN:
            blocks = ([block] if block else []) + self.blocks(1 - side, acked)
            row |= {"options": row["options"] | (OPTION_SACK if blocks else 0), "sack_count": len(blocks[:4])}
            edges = [edge % WRAP for pair in blocks[:4] for edge in pair]
            row["sack"] = edges + [0] * (8 - len(edges))
        self.rows.append(row)
        if not flags & FLAG_RST and end > first:
            self.note(side, first, end)

    def note(self, side: int, first: int, end: int) -> None:
        if first <= self.reached(side):
            self.echo[1 - side] = self.value()
        self.values[side].append(self.value())
        self.sent[side].append((first, end))
        self.arrived[side].append((first, end))
        self.top[side] = max(self.top[side], end)

    def value(self) -> int:
        return (self.time_ns // MS + 2**32 - 10**12 - 200) % WRAP

    def echoed(self, side: int, how: str | None) -> int:
        values = self.values[1 - side]
        if how == "receiver" or not values:
            return self.echo[side]
        return 0 if how is None else values[-1 if how == "latest" else 0]

    def blocks(self, side: int, acked: int) -> list[tuple[int, int]]:
        return [(start, end) for start, end in reversed(self.arrived[side]) if start > acked][:3]


def rows_of_a_path(how: Move, what: list[Move]) -> list[Row]:
    path = Path(how)
    for move in what:
        path.take(move)
    return path.rows
