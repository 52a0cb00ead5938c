"""What is known of open connections, from the end of one capture to the beginning of the next, as bytes.

Theory of operation
-------------------
`Rooms` and what else remembers frames (`Memory`) are written as they are: who goes on with them cannot be told from who
was never interrupted. The bytes are those of this version of the rooms on this kind of machine; `fingerprint` tells
whether they can be read, and nothing else is tried. In them are no slots, lists, tables or deadlines: rooms make those
anew, so that no number leads anywhere; what a rule relies on is looked at (`connections/_carrying.pxd` and others).

A stream of sections, each behind its length: what is told in JSON, segments around the latest silences, accounts whose
requests have not come yet; then, for `CHUNK` connections at a time, a section of each room.

What it cannot see: damage that leaves everything plausible. Whoever keeps the bytes keeps a checksum, too.
"""

from __future__ import annotations

import json
import sys
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import numpy as np

from tcpsight.batches import Before
from tcpsight.connections import _kernel as _connections
from tcpsight.model.clock_leaps import REMEMBERED, ClockLeaps
from tcpsight.model.clock_steps import ClockSteps
from tcpsight.model.silences import Silences
from tcpsight.network import _account, _policing
from tcpsight.network import _kernel as _network
from tcpsight.requests import _kernel as _requests
from tcpsight.rooms import Rooms
from tcpsight.tables import Headers, RequestAccounts

FORMAT = 1
"""Of the sections. Rooms whose rules change what they remember, without another size of it, make it another one."""

CHUNK = 4096
"""So many connections at a time: about 16 MB."""

MOST_SECTION_BYTES = 1 << 31
MOST_TOLD_BYTES = 1 << 28
PIECE_BYTES = 1 << 24

LIMIT = 1 << 63
"""No number is larger."""


class Memory(NamedTuple):
    """What remembers frames beside the rooms."""

    silences: Silences
    clock_steps: ClockSteps
    clock_leaps: ClockLeaps


class Out(Protocol):
    """Where bytes go."""

    def write(self, data: bytes) -> Any:
        """Take some."""


class Source(Protocol):
    """Where bytes come from."""

    def read(self, size: int) -> bytes:
        """Give so many, or fewer at the end."""


def fingerprint(version: str) -> str:
    """Tell what can be read: the rooms' version and the layout of what they remember.

    Parameters
    ----------
    version : str
        That of tcpsight.
    """
    sizes = (
        _connections.STATE_BYTES,
        _requests.SLOT_BYTES,
        _account.SLOT_BYTES,
        _account.TURN_BYTES,
        _network.SLOT_BYTES,
        _policing.SLOT_BYTES,
        _policing.ENTRY_BYTES,
    )
    told = (FORMAT, version, sys.byteorder, sizes, Headers.dtype.descr, RequestAccounts.dtype.descr)
    return blake2b(repr(told).encode(), digest_size=16).hexdigest()


def write(out: Out, rooms: Rooms, memory: Memory, before: Before) -> int:
    """Write what is known when no batch is under way; give how many connections are open.

    Parameters
    ----------
    out : Out
        Where to.
    rooms, memory : Rooms, Memory
        What knows it.
    before : Before
        How many frames and interfaces there were so far.
    """
    slots = rooms.tracking.slots()
    leaps, recent = memory.clock_leaps.carried()
    told = {
        "frames": before.frames,
        "interfaces": before.interfaces,
        "connections": len(slots),
        "opened": rooms.pairing.opened,
        "clock": rooms.tracking.clock(slots),
        "silences": memory.silences.carried(),
        "steps": memory.clock_steps.carried(),
        "leaps": leaps,
    }
    _write_section(out, json.dumps(told).encode())
    _write_section(out, recent)
    _write_section(out, rooms.waiting_accounts.rows.tobytes())
    for begin in range(0, len(slots), CHUNK):
        for each in rooms.carried(slots[begin : begin + CHUNK]):
            _write_section(out, each)
    return len(slots)


def read(source: Source, rooms: Rooms, memory: Memory) -> Before:
    """Let new rooms and memory go on from what was written; give how many frames and interfaces came before.

    Parameters
    ----------
    source : Source
        Where it is.
    rooms, memory : Rooms, Memory
        New ones, made with the same options.

    Raises
    ------
    ValueError
        Something is wrong with it: rooms and memory are of no use any more.
    """
    told = json.loads(_read_section(source, MOST_TOLD_BYTES), parse_constant=_refuse)
    if not isinstance(told, dict) or not _is_sound(told):
        raise ValueError("not what was told")
    try:
        before = Before(_count(told["frames"]), _count(told["interfaces"]))
        count = _count(told["connections"])
        recent = _read_section(source, REMEMBERED * Headers.dtype.itemsize)
        memory.silences.go_on(told["silences"])
        memory.clock_steps.go_on(told["steps"])
        memory.clock_leaps.go_on(told["leaps"], recent)
        rows = np.frombuffer(_read_section(source, MOST_SECTION_BYTES), RequestAccounts.dtype)
        rooms.take_waiting_accounts(RequestAccounts(rows))
        for begin in range(0, count, CHUNK):
            carried = [_read_section(source, MOST_SECTION_BYTES) for _ in range(6)]
            rooms.restore(carried, min(CHUNK, count - begin), before.frames, begin)
        rooms.tracking.set_clock(list(map(int, told["clock"])))
        rooms.pairing.opened = _count(told["opened"])
    except (KeyError, IndexError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(repr(error)) from error
    if source.read(1):
        raise ValueError("something follows it")
    return before


def _write_section(out: Out, data: bytes) -> None:
    out.write(len(data).to_bytes(8, "little"))
    out.write(data)


def _read_section(source: Source, most: int) -> bytes:
    size = int.from_bytes(_read(source, 8), "little")
    if size > most:
        raise ValueError(f"a section of {size:,} bytes")
    return _read(source, size)


def _read(source: Source, size: int) -> bytes:
    """Read so much, a piece at a time: what says that it is long need not be."""
    pieces: list[bytes] = []
    while size:
        pieces.append(source.read(min(size, PIECE_BYTES)))
        if not pieces[-1]:
            raise ValueError("it breaks off")
        size -= len(pieces[-1])
    return b"".join(pieces)


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is no number")


def _is_sound(value: Any) -> bool:
    """Tell whether all numbers fit where they go."""
    if isinstance(value, dict):
        return all(map(_is_sound, value.values()))
    if isinstance(value, list):
        return all(map(_is_sound, value))
    return not isinstance(value, int | float) or abs(value) <= LIMIT
