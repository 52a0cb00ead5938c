"""The old tool's rule for requests in text of tcpdump, written down once more, less the lines without data.

Per client and server, in order of lines: what goes to the port asks, what comes back answers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.(\d{6}).* IP6? (\S+) > (\S+): (.*)")
LENGTHS = (re.compile(r"^tcp (\d+)"), re.compile(r"\((\d+)\)"), re.compile(r"length (\d+)"))


def length_of(words: str) -> int:
    """Give the bytes of data that a line tells of."""
    for pattern in LENGTHS:
        found = pattern.search(words)
        if found:
            return int(found[1])
    return 0


def old_requests(lines: Iterable[str], port: str, start: str = "ts", end: str = "end") -> list[str]:
    """Give the lines of requests, by id."""
    latest: dict[tuple[str, str], dict[str, int]] = {}
    begun: list[tuple[str, dict[str, int]]] = []
    for line in lines:
        found = LINE.search(line)
        if not found or not length_of(found[5]):
            continue
        second = datetime.fromisoformat(found[1]).replace(tzinfo=UTC)
        us = (second - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) + int(found[2])
        source, destination = found[3], found[4]
        if destination.endswith(f".{port}"):
            turn = latest.get((source, destination))
            if turn is None or "end" in turn:
                turn = latest[source, destination] = {"id": len(begun), "ts0": us}
                begun.append((":".join(source.rsplit(".", 1)), turn))
            turn["ts"] = us
        elif (destination, source) in latest:
            turn = latest[destination, source]
            turn.setdefault("end", us)
            turn["end1"] = us
    return [shown(turn, client, start, end) for client, turn in begun if "end" in turn]


def shown(turn: dict[str, int], client: str, start: str, end: str) -> str:
    """Write one request as the old tool did."""
    begin, finish = turn[start], turn[end]
    return (
        f"{turn['id']:6d} {begin // 10**6}.{begin % 10**6:06d} {finish // 10**6}.{finish % 10**6:06d} "
        f"{(finish - begin) / 10**6:9.6f} {client}"
    )
