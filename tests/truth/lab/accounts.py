"""Holds the time account of a connection against the path's log.

All parts of every account must add up to the connection's duration. Three parts can be told from the log where nothing
was lost, sent twice or overtaken: how long connecting took, how long the server had the request and did not answer, how
long the client did not ask. The other parts divide what the path did, for which there is no witness but the rules.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from tcpsight.tables import TIME_PARTS
from tests.truth.lab.path import RST, SYN

if TYPE_CHECKING:
    from tests.truth.lab.truth import Packet

Record = dict[str, Any]


def waits(packets: list[Packet]) -> dict[str, int] | None:
    """Say how long one waited for the other, by the log; None where something was lost, sent again or overtaken."""
    if any(not p.out_ns or p.is_copy for p in packets) or not packets or not packets[0].flags & SYN:
        return None
    for side in ("client", "server"):
        sent = [p for p in packets if p.side == side and not p.flags & RST]
        arrived = [p.offset for p in sorted(sent, key=lambda p: p.out_ns) if p.payload]
        if any(a >= b for a, b in itertools.pairwise(arrived)) or sum(bool(p.flags & SYN) for p in sent) > 1:
            return None
    acks = [p.in_ns for p in packets if p.side == "client" and not p.flags & (SYN | RST)]
    if not acks:
        return None
    client, server = seen_at(packets, "client"), seen_at(packets, "server")
    said = [(time_ns, p.side) for time_ns, p in client if p.payload]
    think = turns(said, "server", "client") + (said[0][0] - acks[0] if said and said[0][1] == "client" else 0)
    if said and said[-1][1] == "server":
        think += client[-1][0] - said[-1][0]
    return {
        "connect_ns": acks[0] - packets[0].in_ns,
        "think_ns": think,
        "server_ns": turns([(time_ns, p.side) for time_ns, p in server if p.payload], "client", "server"),
        "turns": sum(a != b for (_, a), (_, b) in itertools.pairwise(said)) + 1,
        "is_answered": bool(said) and said[-1][1] == "server",
    }


def seen_at(packets: list[Packet], end: str) -> list[tuple[int, Packet]]:
    """Give what passes one end, with when: what it sent when the path got it, the other's when the path gave it."""
    found = [(p.in_ns if p.side == end else p.out_ns, p) for p in packets]
    return sorted(found, key=lambda moment: moment[0])


def turns(said: list[tuple[int, str]], before: str, after: str) -> int:
    """Add up the times from data of one side to data of the other that follow at once."""
    pairs = itertools.pairwise(said)
    return sum(b_ns - a_ns for (a_ns, a), (b_ns, b) in pairs if (a, b) == (before, after))


class Part(NamedTuple):
    """A part of the account that the log knows, and at whose end it is seen.

    A measurement is good if it is off by `relative` of the truth, or by `absolute` for each change of turns, at most:
    so far lie the stamps of a capture from those of the path.
    """

    name: str
    column: str
    end: str
    relative: float = 0.02
    absolute: int = 300_000
    unit: str = "ns"


SUM = Part("time account: sum of all parts", "duration_ns", "", relative=0.0, absolute=0)
"""Of every connection, wherever it was captured, against its duration."""

ACCOUNTS = (
    SUM,
    Part("connecting", "connect_ns", "client"),
    Part("the server's time", "server_ns", "server"),
    Part("the client's own time", "think_ns", "client"),
)
"""In the order of the table."""


def compare(truth: Record, rows: list[Record], vantage: str) -> Iterator[tuple[Part, int, int, bool]]:
    """Give each part that is known of each connection: what is true, what was measured, whether that is good."""
    known = {connection["client_port"]: connection.get("waits") for connection in truth["connections"]}
    for row in rows:
        if row["unknown_ns"] is None:
            continue
        total = sum(row[f"{part}_ns"] or 0 for part in TIME_PARTS)
        yield SUM, row["duration_ns"], total, total == row["duration_ns"]
        found = known.get(row["client_port"])
        if not found or not found["is_answered"]:
            continue
        for part in ACCOUNTS[1:]:
            if vantage == part.end and row[part.column] is not None:
                error = abs(row[part.column] - found[part.column])
                is_good = error <= max(part.absolute * found["turns"], part.relative * found[part.column])
                yield part, found[part.column], row[part.column], is_good
