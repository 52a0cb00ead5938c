"""The targets: what is fed, what it begins with, how it is changed.

A target takes any bytes. It comes back with what it saw (`Features`), or it raises: then there is a bug, in
tcpsight or in the target. `TARGETS` is all that the engines know: Hypothesis and the replay of regressions in the
tests, the loop and atheris in ``make fuzz``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from random import Random
from typing import NamedTuple

from tests.fuzz import judging, rooms, seeds, told, twins, whole, words
from tests.fuzz.features import Features
from tests.fuzz.mutation import LINK_TYPES, havoc, mutate_frame
from tests.fuzz.mutation_files import mutate_capture, mutate_text, repacked
from tests.fuzz.rooms import packed_frames

CELLS = (
    *(b"0", b"1", b"-1", b"nan", b"inf", b"1e-13", b"1e-12", b"1e15", b"1e16", b"1e308", b"1e999", b"0.5", b"7"),
    *(b"", b",", b";", b"\t", b"#", b"1_0", b"0x10", b"\xd9\xa1", b"concurrency", b"throughput", b"x", b"n", b"300"),
    *(b"true", b"is_gap", b"9223372036854775807", b"9223372036854775808", b"10.0.0.1", b"\x1b[2J", b"\xef\xbb\xbf"),
    *(b'"3"', b"\r"),
)

Mutate = Callable[[bytes, Random, Sequence[bytes]], bytes]


class Target(NamedTuple):
    """One thing to feed.

    Attributes
    ----------
    run : callable
        Takes any bytes; raises if something is wrong.
    seeds : callable
        What mutations begin with; it is given captures, which most targets have no use for.
    mutate : callable
        Makes another input of one.
    share : float
        Part of the time that it gets in a long run.
    """

    run: Callable[[bytes], Features]
    seeds: Callable[[Sequence[bytes]], Sequence[bytes]]
    mutate: Mutate
    share: float = 1.0


def _same(contents: Sequence[bytes]) -> Sequence[bytes]:
    return contents


def _text(data: bytes, chance: Random, others: Sequence[bytes]) -> bytes:
    return mutate_text(data, chance, others)


def _frames(data: bytes, chance: Random, others: Sequence[bytes]) -> bytes:
    """Change some frames of a pack, and sometimes what is around them."""
    frames: list[tuple[int, bytes]] = []
    at = 0
    while at + 6 <= len(data) and len(frames) < rooms.MOST_ROWS:
        link_type, length = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 4 : at + 6], "little")
        frame = data[at + 6 : at + 6 + length]
        frames.append((link_type, mutate_frame(frame, chance) if chance.random() < 0.5 else frame))
        at += 6 + length
    if frames and chance.random() < 0.1:
        frames[0] = (chance.choice(LINK_TYPES), frames[0][1])
    out = packed_frames(frames)
    return havoc(out, chance, others) if chance.random() < 0.1 else out


def _rows(data: bytes, chance: Random, others: Sequence[bytes]) -> bytes:
    """Change headers: bytes of them, their order, their number."""
    rows = [data[i : i + 16] for i in range(0, len(data), 16)] or [bytes(16)]
    for _ in range(1 << chance.randint(0, 4)):
        at, what = chance.randrange(len(rows)), chance.randrange(5)
        if what == 0 and len(rows) > 1:
            del rows[at]
        elif what == 1:
            rows[at:at] = [rows[at]] * chance.choice((1, 2))
        elif what == 2:
            other = chance.choice(others)
            rows[at:at] = [other[i : i + 16] for i in range(0, len(other), 16)][: chance.randint(1, 30)]
        else:
            row, spot = bytearray(rows[at].ljust(16, b"\0")), chance.randrange(16)
            row[spot] = chance.randrange(256)
            rows[at] = bytes(row)
    return b"".join(rows)[: 16 * rooms.MOST_ROWS]


def _unpack(data: bytes, chance: Random, others: Sequence[bytes]) -> bytes:
    return repacked(chance.choice(others), chance) if chance.random() < 0.1 else havoc(data, chance, others)


def _steps(data: bytes, chance: Random, others: Sequence[bytes]) -> bytes:
    """Change steps of a program: bytes of them, their order, how often they happen."""
    size = judging.STEP_BYTES
    steps = [data[i : i + size].ljust(size, b"\0") for i in range(0, len(data), size)] or [bytes(size)]
    for _ in range(1 << chance.randint(0, 4)):
        at, what = chance.randrange(len(steps)), chance.randrange(5)
        if what == 0 and len(steps) > 1:
            del steps[at]
        elif what == 1:
            begin = chance.randrange(at + 1)
            steps[at:at] = steps[begin:at] * chance.choice((1, 2, 8))
        elif what == 2:
            other = chance.choice(others)
            steps[at:at] = [other[i : i + size].ljust(size, b"\0") for i in range(0, len(other), size)][:20]
        else:
            step = bytearray(steps[at])
            step[chance.randrange(size)] = chance.randrange(256)
            steps[at] = bytes(step)
    return b"".join(steps[:400])


def _pair(data: bytes, chance: Random, others: Sequence[bytes]) -> bytes:
    """Change one of two captures, or both; now and then exchange them, or take one of another pair."""
    sides, more = _sides(data), _sides(chance.choice(others))
    if chance.random() < 0.05:
        sides[chance.randrange(2)] = more[chance.randrange(2)]
    for side in chance.choice(((0,), (1,), (0, 1))):
        for _ in range(chance.choice((1, 1, 4))):
            sides[side] = mutate_capture(sides[side], chance, more)
    if chance.random() < 0.03:
        sides = sides[::-1]
    return len(sides[0]).to_bytes(4, "little") + sides[0] + sides[1]


def _sides(data: bytes) -> list[bytes]:
    at = 4 + int.from_bytes(data[:4], "little")
    return [data[4:at], data[at:]]


def _points(data: bytes, chance: Random, others: Sequence[bytes]) -> bytes:
    """Change cells and lines of a table, or bytes."""
    if chance.random() < 0.2 or b"PAR1" in data:
        return havoc(data, chance, others)
    lines = data[1:].split(b"\n")
    for _ in range(1 << chance.randint(0, 3)):
        at, what = chance.randrange(len(lines)), chance.randrange(5)
        if what == 0:
            lines[at:at] = [lines[at]] * chance.choice((1, 2, 30))
        elif what == 1 and len(lines) > 1:
            del lines[at : at + chance.choice((1, 3))]
            lines = lines or [b""]
        else:
            cells = re.split(rb"([ ,;\t])", lines[at])
            cells[chance.randrange(len(cells))] = chance.choice(CELLS)
            lines[at] = b"".join(cells)
    return (bytes([chance.choice((data[0] if data else 0, chance.randrange(6)))]) + b"\n".join(lines))[:30_000]


def _words(data: bytes, chance: Random, others: Sequence[bytes]) -> bytes:
    """Change words, or bytes."""
    if chance.random() < 0.2:
        return havoc(data, chance, others)[:2000]
    parts, more = data.split(b" "), chance.choice(others).split(b" ")
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(parts) + 1)
        parts[at : at + chance.randrange(3)] = [chance.choice(more)] if chance.random() < 0.8 else []
    return b" ".join(parts)[:2000]


def _encoded(words: Sequence[str], prefix: str = "") -> Callable[[Sequence[bytes]], tuple[bytes, ...]]:
    return lambda _: tuple((prefix + word).encode() for word in words)


def _merged(_: Sequence[bytes]) -> list[bytes]:
    pairs = zip(seeds.made(), seeds.made()[1:], strict=False)
    return [len(a).to_bytes(2, "little") + a + b for a, b in pairs]


TARGETS: dict[str, Target] = {
    "pipeline": Target(whole.run_pipeline, _same, mutate_capture, 4),
    "merge": Target(whole.run_merge, _merged, havoc, 1),
    "reader": Target(whole.run_reader, _same, mutate_capture, 2),
    "text": Target(whole.run_reader, lambda _: [seeds.TEXT], _text, 1),
    "decode": Target(rooms.run_decode, seeds.frames, _frames, 2),
    "connections": Target(rooms.run_connections, lambda _: seeds.headers(), _rows, 3),
    "decodetwin": Target(twins.run_decode_twin, seeds.frames, _frames, 2),
    "connectionstwin": Target(twins.run_connections_twin, lambda _: seeds.headers(), _rows, 2),
    "networktwin": Target(twins.run_network_twin, lambda _: seeds.headers(), _rows, 2),
    "account": Target(judging.run_account, lambda _: seeds.headers(), _rows, 1),
    "accounttwin": Target(judging.run_account_twin, lambda _: seeds.headers(), _rows, 2),
    "policing": Target(judging.run_policing, lambda _: seeds.exchanges(), _steps, 2),
    "policingtwin": Target(judging.run_policing_twin, lambda _: seeds.exchanges(), havoc, 1),
    "findings": Target(told.run_findings, lambda _: seeds.judged(), mutate_capture, 3),
    "streams": Target(told.run_streams, lambda _: seeds.spoken(), mutate_capture, 2),
    "streamstwin": Target(twins.run_streams_twin, lambda _: seeds.exchanges(), havoc, 1),
    "split": Target(told.run_split, lambda _: seeds.pairs(), _pair, 3),
    "points": Target(told.run_points, lambda _: seeds.tables(), _points, 1),
    "program": Target(rooms.run_program, lambda _: seeds.programs(), havoc, 0.5),
    "unpack": Target(rooms.run_unpack, lambda _: seeds.packed(), _unpack, 1),
    "where": Target(words.run_where, _encoded(seeds.CONDITIONS, "\1"), _words, 0.5),
    "filter": Target(words.run_filter, _encoded(seeds.EXPRESSIONS), _words, 0.5),
    "values": Target(words.run_values, _encoded(seeds.WORDS), _words, 0.5),
}
