"""Streams, slow and obvious: a dictionary from offset to byte, filled segment by segment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple


class Run(NamedTuple):
    """A captured run of payload in the order of capture."""

    offset: int
    data: bytes
    payload_bytes: int
    is_probe: bool = False


class Assembled(NamedTuple):
    """What a stream consists of."""

    start: int
    end: int
    content: dict[int, int]
    sent: set[int]


def assemble(runs: Iterable[Run], end: int, *, overlaps: str, has_start: bool) -> Assembled:
    """Fill in byte by byte."""
    runs = list(runs)
    sure = [run for run in runs if not run.is_probe]
    start = 0 if has_start else min([0, *(run.offset for run in runs)])
    end = max([start, end, *(run.offset + run.payload_bytes for run in sure)])
    content: dict[int, int] = {}
    for run in sure:
        for at, byte in enumerate(run.data, run.offset):
            if start <= at < end and (overlaps == "last" or at not in content):
                content[at] = byte
    for run in runs:
        for at, byte in enumerate(run.data, run.offset):
            if run.is_probe and start <= at < end:
                content.setdefault(at, byte)
    sent = {at for run in runs for at in range(run.offset, run.offset + run.payload_bytes) if start <= at < end}
    return Assembled(start, end, content, sent)


def index(segments: Any, boundaries: Any, captured: Any, positions: Any) -> tuple[list[Any], list[Any]]:
    """Chain pieces: give (pieces, streams) as lists of dictionaries, numbered through the whole capture."""
    pieces: list[Any] = []
    streams: list[Any] = []
    last: dict[tuple[int, int], Any] = {}
    turns = sorted(enumerate(boundaries), key=lambda item: (item[1]["position"], item[0]))
    for at in range(len(segments) + 1):
        while turns and (turns[0][1]["position"] <= at or at == len(segments)):
            _, turn = turns.pop(0)
            if turn["boundary"] == 1:
                for side in (0, 1):
                    numbers, fin = last.pop((int(turn["connection_id"]), side), ([], None))
                    streams.append((int(turn["connection_id"]), side, numbers, fin))
        if at == len(segments):
            break
        row = segments[at]
        key = int(row["connection_id"]), int(row["direction"])
        numbers, fin = last.get(key, ([], None))
        offset = None if row["offset"] == -(2**63) else int(row["offset"]) + (1 if row["flags"] & 2 else 0)
        if row["flags"] & 1 and row["kind"] != 5 and offset is not None:
            ends = offset + int(row["payload_bytes"])
            fin = ends if fin is None else max(fin, ends)
        is_data = captured[at] > 0 and positions[at] >= 0 and offset is not None
        if is_data and row["kind"] not in (3, 5) and not row["flags"] & 4:
            numbers = [*numbers, len(pieces)]
            pieces.append((*key, offset, int(positions[at]), int(row["payload_bytes"]), int(captured[at])))
        last[key] = (numbers, fin)
    return pieces, streams
