"""Traffic for the connections kernel: a few endpoints that talk, lose, repeat, reorder, lie and come back."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from tcpsight.connections import Server, Timeouts
from tcpsight.tables import OPTION_CUT, OPTION_TIMESTAMPS, OPTION_UNSEQUENCED, OPTION_WINDOW_SCALE
from tests.support.headers import A_ADDRESS, B_ADDRESS, WRAP, Row

MS = 1_000_000
SECOND = 1000 * MS
FIN, SYN, RST, ACK = 1, 2, 4, 16

# Client address and port, server address and port, IP version, kind of tunnel and its number: few, so that they are
# used again; one talks to itself.
PAIRS = (
    ((A_ADDRESS, 40000), (B_ADDRESS, 80), 4, 0, 0),
    ((A_ADDRESS, 40000), (B_ADDRESS, 80), 6, 0, 0),
    ((A_ADDRESS, 40001), (B_ADDRESS, 40002), 4, 0, 0),
    ((A_ADDRESS, 7), (A_ADDRESS, 7), 4, 0, 0),
    ((A_ADDRESS, 40000), (B_ADDRESS, 80), 4, 5, 65535),
    ((A_ADDRESS, 40000), (B_ADDRESS, 80), 4, 5, 1),
)
ISNS = (1000, 1000, 2000, WRAP - 5, WRAP - 1, 2**31, 0)
STEPS = (0, 0, 1, 500_000, MS, MS + 1, *(10 * MS,) * 12, SECOND, 59 * SECOND, 61 * SECOND, 131 * SECOND)
RARE_STEPS = (-1, -2 * SECOND, 3600 * SECOND, 3601 * SECOND, 7801 * SECOND, 90000 * SECOND, -7300 * SECOND)
ACTIONS = (
    ("data",) * 6
    + ("ack",) * 3
    + (
        "syn",
        "syn again",
        "syn_ack",
        "syn_ack",
        "fin",
        "rst",
        "keep_alive",
        "one_byte",
        "again",
        "again",
        "skip",
        "skip",
        "copy",
        "copy",
        "open",
        "open",
        "close",
        "refuse",
        "anything",
        "gap",
        "gap",
        "stray",
    )
)
SHIFTS = (0,) * 12 + (1, -1, 2, -2, 10, -10, -25, 100_000, -(2**29), 2**30, 2**30 + 1, 2**31 - 1, 2**31)
# A gap in the capture: as much lies behind it. Within reach, just beyond, and where nearness tells nothing any more.
GAPS = (1000, 2**20 + 999, 2**20 + 1001, 3 * 2**20, 2**29, 2**30, 2**31 - 1, 2**31, 2**31 + 1, 3 * 2**30, 2**32)

Move = dict[str, Any]

CHOICES: dict[str, tuple[Any, ...]] = {
    "pair": (0,) * 12 + (1, 1, 2, 3, 4, 4, 5),
    "side": (0, 1),
    "action": ACTIONS,
    "isn": ISNS,
    "length": (0, 1, 1, 2, 10, 10, 20, 30),
    "shift": SHIFTS,
    "ack_shift": SHIFTS,
    "gap": GAPS,
    "step": STEPS * 5 + RARE_STEPS,
    "interface": (0, 0, 0, 1),
    "window": (1000, 1000, 1000, 0, 65535),
    "options": (0, 0, OPTION_TIMESTAMPS, OPTION_WINDOW_SCALE | OPTION_TIMESTAMPS, OPTION_CUT),
    "ip_id": (None, None, 0, 7),
    "value": (0, 1, 2, 3),
    "flags": tuple(range(32)),
    "lengths_only": (False,) * 100 + (True,),
}
"""What a move may be: for each of its keys, the values it is drawn from."""

moves = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in CHOICES.items()})


def random_moves(seed: int, count: int) -> list[Move]:
    """Draw many moves at once; `moves` draws few, and shrinks them."""
    draw = random.Random(seed)
    return [{name: draw.choice(values) for name, values in CHOICES.items()} for _ in range(count)]


class Traffic:
    """Turns moves into headers."""

    def __init__(self) -> None:
        self.time_ns = 10**18
        self.rows: list[Row] = []
        self.isn: dict[tuple[int, int], int] = {}
        self.edge: dict[tuple[int, int], int] = {}
        self.last: dict[tuple[int, int], list[Row]] = {}

    def take(self, move: Move) -> None:
        """Do what the move says."""
        self.time_ns += move["step"]
        me, peer = (move["pair"], move["side"]), (move["pair"], 1 - move["side"])
        action: str = move["action"]
        length: int = move["length"]
        if action == "open":
            self.open(move, me, peer)
        elif action == "close":
            self.close(move, me, peer)
        elif action == "refuse":
            self.send(move, peer, RST | ACK, 0, 0)
        elif action == "copy" or action == "again":
            self.repeat(move, me, is_copy=action == "copy")
        elif action == "skip":
            self.edge[me] = self.edge.get(me, 0) + max(1, length)
        elif action == "syn":
            self.isn[me] = move["isn"]
            self.send(move, me, SYN, length if length == 20 else 0, move["isn"])
        elif action == "syn again":
            self.send(move, me, SYN, 0, self.isn.setdefault(me, move["isn"]))
        elif action == "syn_ack":
            self.send(move, me, SYN | ACK, 0, self.isn.setdefault(me, move["isn"]))
        elif action == "gap":
            self.edge[me] = self.edge.get(me, 0) + move["gap"]
        elif action == "stray":
            self.send(move | {"shift": 2000}, me, ACK, length, self.edge.get(me, 0) + move["gap"])
        elif action == "anything":
            self.send(move, me, move["flags"], length, self.edge.get(me, 0) + move["shift"])
        else:
            sequence = self.edge.get(me, 0) + move["shift"]
            sequence -= action == "keep_alive"
            sizes = {"data": max(1, length), "fin": length if length == 10 else 0, "one_byte": 1}
            flags = {"fin": FIN | ACK, "rst": RST | (move["flags"] & ACK)}.get(action, ACK)
            self.send(move, me, flags, sizes.get(action, 0), sequence)

    def open(self, move: Move, me: tuple[int, int], peer: tuple[int, int]) -> None:
        """Shake hands in full."""
        plain = move | {"shift": 0, "ack_shift": 0}
        self.isn[me], self.isn[peer] = move["isn"], move["isn"] + 5000
        self.send(plain, me, SYN, 0, move["isn"])
        self.time_ns += 10 * MS
        self.send(plain, peer, SYN | ACK, 0, self.isn[peer])
        self.time_ns += 10 * MS
        self.send(plain, me, ACK, 0, self.edge[me])

    def close(self, move: Move, me: tuple[int, int], peer: tuple[int, int]) -> None:
        """End both streams; with a shift, the answer to one FIN or the other FIN was not captured."""
        plain = move | {"shift": 0, "ack_shift": 0}
        self.send(plain, me, FIN | ACK, 0, self.edge.get(me, 0))
        self.time_ns += 10 * MS
        if move["shift"] == 0:
            self.send(plain, peer, FIN | ACK, 0, self.edge.get(peer, 0))
        else:
            self.edge[peer] = self.edge.get(peer, 0) + 1
        self.send(plain, me, ACK, 0, self.edge[me])

    def repeat(self, move: Move, me: tuple[int, int], *, is_copy: bool) -> None:
        """Show one of the last headers again: captured twice, or sent again with another IP ID."""
        before = self.last.get(me, [])
        if not before:
            return
        row = before[-1 - move["value"] % len(before)] | {"time_ns": self.time_ns, "ttl": move["value"]}
        if is_copy:
            row["interface_id"] = move["interface"]
            row["checksum"] += move["length"] % 3 == 0
        else:
            row["ip_id"] = len(self.rows)
        self.rows.append(row)

    def send(self, move: Move, me: tuple[int, int], flags: int, length: int, sequence: int) -> None:
        pair, side = me
        client, server, version, encapsulation, tunnel = PAIRS[pair]
        source, destination = (client, server) if side == 0 else (server, client)
        end = sequence + length + bool(flags & SYN) + bool(flags & FIN)
        if flags & SYN or me not in self.edge:
            self.edge[me] = end
        elif not flags & RST and abs(move["shift"]) < 1000:
            self.edge[me] = max(self.edge[me], end)
        acknowledged = self.edge.get((pair, 1 - side), 0) + move["ack_shift"]
        lengths_only = move["lengths_only"]
        row = {
            "time_ns": self.time_ns,
            "source_address": source[0],
            "source_port": source[1],
            "destination_address": destination[0],
            "destination_port": destination[1],
            "ip_version": version,
            "encapsulation": encapsulation,
            "tunnel": tunnel,
            "sequence_number": 0 if lengths_only else sequence % WRAP,
            "acknowledgment_number": acknowledged % WRAP if flags & ACK and not lengths_only else 0,
            "payload_bytes": length,
            "flags": 0 if lengths_only else flags,
            "window": move["window"],
            "options": OPTION_UNSEQUENCED if lengths_only else move["options"],
            "window_scale": 7 if move["options"] & OPTION_WINDOW_SCALE else 0,
            "timestamp_value": move["value"] if move["options"] & OPTION_TIMESTAMPS else 0,
            "timestamp_echo": move["length"] % 3 if move["options"] & OPTION_TIMESTAMPS else 0,
            "options_hash": move["options"] * 10 + move["value"],
            "ip_id": len(self.rows) + 100 if move["ip_id"] is None else move["ip_id"],
            "checksum": move["value"],
            "interface_id": move["interface"],
            "ttl": 64,
        }
        self.rows.append(row)
        self.last[me] = [*self.last.get(me, []), row][-4:]


def rows_of(what: list[Move]) -> list[Row]:
    traffic = Traffic()
    for move in what:
        traffic.take(move)
    return traffic.rows


traffic = (st.lists(moves, max_size=20) | st.lists(moves, min_size=20, max_size=50)).map(rows_of)
"""Rows of Headers, in capture order."""

endpoint_servers = st.lists(
    st.builds(Server, st.sampled_from((None, A_ADDRESS, B_ADDRESS)), st.sampled_from((0, 7, 80, 40001)), st.just(4)),
    max_size=2,
)
timeouts = st.sampled_from(
    (
        Timeouts(),
        Timeouts(),
        Timeouts(),
        Timeouts(5 * SECOND, SECOND, 20 * SECOND),
        Timeouts(SECOND, 30 * SECOND, 2 * SECOND),
    )
)


@st.composite
def batches(draw: Callable[..., Any]) -> list[tuple[list[Row], int | None]]:
    """Cut traffic into batches; some say how far time has come."""
    rows = draw(traffic)
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    pieces = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    untils = draw(
        st.lists(st.none() | st.sampled_from((0, SECOND, 62 * SECOND, 8000 * SECOND)), min_size=5, max_size=5)
    )
    given = []
    reached = 10**18
    for piece, ahead in zip(pieces, untils, strict=False):
        reached = max([reached, *(row["time_ns"] for row in piece)])
        given.append((piece, None if ahead is None else reached + ahead))
    return given
