"""Each direction's bytes in order: what was captured where it belongs, and every hole said out loud.

Theory of operation
-------------------
`stream_index.py` writes down of each captured run of payload which stream offsets it holds and where its bytes are
kept. They are read when they are asked for, through a function that whoever keeps them gives; so a capture may be
larger than memory.

`Stream` puts the runs of one direction in order. Offsets are those of the connections room: 0 is the first byte after
the SYN, sequence numbers that wrap go on, a port that is used again is another connection. Where runs overlap, the one
that was captured first gives the bytes, or the last one, as asked; runs that say different things of the same offset
are found by comparing them. A stream ends where its FIN says, or else where the last byte lies that was captured or
acknowledged. Whatever lies in between and was not captured is a hole: never filled, its bytes counted. Bytes that were
captured in part, because frames were cut at a snapshot length, are told apart from those that never were.

The octet of a zero-window probe counts where nothing else gives it; the garbage octet of a keep-alive, what a RST
carries, and second captures of a frame never do. Urgent data stay where they are in the stream (RFC 6093 §3.1).

What it cannot see
------------------
* Which of two different contents the receiver took: that depends on its system.
* Bytes of segments that could not be placed: far away from their stream and not confirmed by another, or in front of
  a gap whose size nothing tells.
* Where a stream began if its SYN was not captured: offset 0 is then the first byte seen or acknowledged, and earlier
  bytes that come late have negative offsets.
* Compression and encryption: these are the bytes of TCP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tcpsight.connections.overlaps import Numbers, Policy, cover, merged, ranks
from tcpsight.tables import DIRECTIONS, FLAG_URG, KINDS, Pieces

Read = Callable[[np.ndarray[Any, Any], Numbers, Numbers], bytes]
"""Give the bytes kept at (files, positions, lengths), shape (n,) each, behind each other."""

BLOCK_BYTES = 1 << 20
"""About how many bytes a block holds at most."""

LAST_FRAME = 2**63 - 1
PROBE = KINDS.index("zero_window_probe")


class Block(NamedTuple):
    """Some bytes of a stream, or some that are missing.

    Attributes
    ----------
    direction : str
        ``client`` or ``server``: who sent it.
    time_ns : int
        When these bytes could be read: when the frame was captured that completed them and all before them. Of a
        hole, when what follows it could be; of what was cut off a frame, when that came.
    offset : int
        Of the first byte.
    data : bytes
        Empty for a hole.
    missing_bytes : int
        Length of the hole; 0 for data.
    is_urgent : bool
        Whether a segment with some of these bytes was marked urgent.
    """

    direction: str
    time_ns: int
    offset: int
    data: bytes
    missing_bytes: int = 0
    is_urgent: bool = False


class Conflict(NamedTuple):
    """Bytes that were captured more than once with different content.

    Attributes
    ----------
    offset : int
        Of the first byte that differs.
    kept, other : bytes
        What the stream has there, and what another frame says.
    frame_number : int
        That other frame.
    """

    offset: int
    kept: bytes
    other: bytes
    frame_number: int


class _Parts(NamedTuple):
    """Runs and holes in order, shape (n,) each; a hole has the frame and time of what follows it, or was cut short."""

    directions: np.ndarray[Any, Any]
    starts: Numbers
    ends: Numbers
    files: np.ndarray[Any, Any]
    positions: Numbers
    frames: Numbers
    times: Numbers
    are_holes: np.ndarray[Any, Any]
    are_urgent: np.ndarray[Any, Any]

    def at(self, where: Any) -> _Parts:
        return _Parts(*(column[where] for column in self))


class Bounds(NamedTuple):
    """What numbers tell of where a stream begins and ends.

    Attributes
    ----------
    end : int
        Up to where it is known to go; captured runs may go farther.
    fin_offset : int or None
        Where its FIN says that it ends.
    has_start : bool
        Whether offset 0 is known to be the first byte: nothing before it is part of the stream.
    """

    end: int = 0
    fin_offset: int | None = None
    has_start: bool = True


UNBOUNDED = Bounds()


class Stream:
    """One direction's bytes in order.

    Parameters
    ----------
    pieces : Pieces
        Captured runs in the order in which they were captured, shape (n,).
    read : callable
        Gives bytes by where they are kept.
    bounds : Bounds
        Where it begins and ends, as far as that is known.
    overlaps : {"first", "last"}
        Which run gives a byte that several hold.
    direction : {"client", "server"}
        Who sent it.

    Attributes
    ----------
    start, end : int
        Offsets between which the stream lies.
    captured_bytes : int
        Bytes of it that were captured, each counted once.
    cut_bytes : int
        Bytes of it that were not captured because their frames were cut short.
    repeated_bytes : int
        Captured bytes beyond the first copy of each.
    """

    def __init__(
        self,
        pieces: Pieces,
        read: Read,
        bounds: Bounds = UNBOUNDED,
        *,
        overlaps: Policy = "first",
        direction: str = "client",
    ) -> None:
        self.direction = direction
        self.fin_offset = bounds.fin_offset
        self._pieces, self._read = pieces, read
        offsets, is_sure = pieces.offset, pieces.kind != PROBE
        wire_ends = offsets + pieces.payload_bytes
        self.start = 0 if bounds.has_start or not len(offsets) else min(int(offsets.min()), 0)
        self.end = max(int(wire_ends[is_sure].max()) if is_sure.any() else self.start, bounds.end, self.start)
        numbers = np.arange(len(offsets), dtype=np.int64)
        starts, ends = self._clipped(offsets), self._clipped(offsets + pieces.captured_bytes)
        self._cover = cover(starts, ends, ranks(numbers, is_sure, overlaps))
        self.captured_bytes = int((self._cover.ends - self._cover.starts).sum())
        self.repeated_bytes = int((ends - starts).sum()) - self.captured_bytes
        on_wire = merged(starts, self._clipped(wire_ends))
        self.cut_bytes = int((on_wire[1] - on_wire[0]).sum()) - self.captured_bytes

    def _clipped(self, offsets: Numbers) -> Numbers:
        return offsets.clip(self.start, self.end)

    def __len__(self) -> int:
        return self.end - self.start

    def __repr__(self) -> str:
        missing = f", {self.missing_bytes} of them missing" if self.missing_bytes else ""
        return f"<Stream of the {self.direction}: {len(self)} bytes{missing}>"

    @property
    def missing_bytes(self) -> int:
        """Bytes of the stream that were not captured."""
        return len(self) - self.captured_bytes

    @property
    def is_finished(self) -> bool:
        """Whether its FIN was seen, and nothing lies beyond it."""
        return self.fin_offset == self.end

    @property
    def is_whole(self) -> bool:
        """Whether no byte of it is missing."""
        return self.captured_bytes == len(self)

    def holes(self) -> list[tuple[int, int]]:
        """Give what is missing as (start, end), in order."""
        parts = self._parts(self.start, self.end)
        where = parts.are_holes
        return list(zip(parts.starts[where].tolist(), parts.ends[where].tolist(), strict=True))

    def blocks(self, start: int | None = None, end: int | None = None, *, most: int = BLOCK_BYTES) -> Iterator[Block]:
        """Give the bytes in [start, end), and the holes between them, in order.

        Parameters
        ----------
        start, end : int, optional
            Offsets; by default those of the stream.
        most : int
            About how many bytes a block holds at most.
        """
        since = self.start if start is None else max(start, self.start)
        until = self.end if end is None else min(end, self.end)
        if since < until:
            yield from _blocks(self._parts(since, until), self._read, most)

    def read(self, offset: int | None = None, length: int | None = None) -> bytes:
        """Give bytes from `offset` on, at most `length`, up to the first hole or the end."""
        since = self.start if offset is None else max(offset, self.start)
        until = None if length is None else since + length
        data = bytearray()
        for block in self.blocks(since, until):
            if block.missing_bytes:
                break
            data += block.data
        return bytes(data)

    def find(self, pattern: bytes) -> Iterator[int]:
        """Give the offsets at which a pattern of at least one byte begins; holes match nothing."""
        tail, at = b"", self.start
        for block in self.blocks() if pattern else ():
            if block.missing_bytes:
                tail = b""
                continue
            data = tail + block.data
            at = block.offset - len(tail)
            found = data.find(pattern)
            while found >= 0:
                yield at + found
                found = data.find(pattern, found + 1)
            tail = data[max(len(data) - len(pattern) + 1, 0) :]

    def captured_at(self, offset: int) -> tuple[int, int]:
        """Tell which frame gives a byte that was captured, and when it came, in ns since the epoch."""
        at = int(np.searchsorted(self._cover.ends, offset, "right"))
        if at == len(self._cover.starts) or self._cover.starts[at] > offset:
            raise IndexError(f"the byte at offset {offset} was not captured")
        winner = self._cover.winners[at]
        return int(self._pieces.frame_number[winner]), int(self._pieces.time_ns[winner])

    def conflicts(self) -> Iterator[Conflict]:
        """Compare every byte that was captured more than once; give what differs, by the order of capture."""
        pieces, contested = self._pieces, self._cover.contested
        contested = contested[pieces.kind[contested] != PROBE]
        if not self._are_copies(contested):
            yield from self._compared(contested)

    def _are_copies(self, contested: Numbers) -> bool:
        """Tell at once whether all runs that share offsets with others have the bytes that the stream has there."""
        pieces, covered = self._pieces, self._cover
        starts = self._clipped(pieces.offset[contested])
        ends = self._clipped(pieces.offset[contested] + pieces.captured_bytes[contested])
        lengths = ends - starts
        if lengths.sum() > BLOCK_BYTES:  # both would be in memory
            return False
        positions = pieces.position[contested] + starts - pieces.offset[contested]
        # What gives the bytes of each: the parts of the cover from the first to the last that it shares offsets with.
        first = np.searchsorted(covered.ends, starts, "right")
        counts = np.searchsorted(covered.starts, ends, "left") - first
        of = np.repeat(np.arange(len(contested)), counts)
        parts = np.arange(int(counts.sum())) + np.repeat(first - np.cumsum(counts) + counts, counts)
        winners = covered.winners[parts]
        begin = np.maximum(covered.starts[parts], starts[of])
        sizes = np.minimum(covered.ends[parts], ends[of]) - begin
        kept = self._read(pieces.file[winners], pieces.position[winners] + begin - pieces.offset[winners], sizes)
        return kept == self._read(pieces.file[contested], positions, lengths)

    def _compared(self, contested: Numbers) -> Iterator[Conflict]:
        """Compare runs with what the stream has there, one by one."""
        pieces = self._pieces
        for i in contested.tolist():
            start = max(int(pieces.offset[i]), self.start)
            end = min(int(pieces.offset[i] + pieces.captured_bytes[i]), self.end)
            kept = self.read(start, end - start)
            position = pieces.position[i : i + 1] + (start - int(pieces.offset[i]))
            other = self._read(pieces.file[i : i + 1], position, np.array([end - start]))
            if kept != other:
                for first, last in _differences(kept, other):
                    frame = int(pieces.frame_number[i])
                    yield Conflict(start + first, kept[first:last], other[first:last], frame)

    def _parts(self, since: int, until: int) -> _Parts:
        """Give runs and holes of [since, until) in order."""
        covered, pieces = self._cover, self._pieces
        first = int(np.searchsorted(covered.ends, since, "right"))
        last = int(np.searchsorted(covered.starts, until, "left"))
        winners = covered.winners[first:last]
        starts, ends = covered.starts[first:last].clip(since), covered.ends[first:last].clip(None, until)
        hole_starts, hole_ends = np.append(since, ends), np.append(starts, until)
        where = np.flatnonzero(hole_ends > hole_starts)
        # A hole comes before the run it is followed by: at the place of that run, but first.
        order = np.argsort(np.concatenate((np.arange(len(starts)) * 2 + 1, where * 2)), kind="stable")
        nothing = np.zeros(len(where), np.int64)
        frames = np.append(pieces.frame_number[winners], LAST_FRAME)
        times = np.append(pieces.time_ns[winners], pieces.time_ns.max() if len(pieces) else -1)
        # What was cut off a frame was there when the frame was.
        wire_ends = np.append(pieces.offset[winners] + pieces.payload_bytes[winners], self.start)
        followed_by = np.where(wire_ends[where - 1] > hole_starts[where], where - 1, where)
        parts = _Parts(
            np.full(len(order), DIRECTIONS.index(self.direction)),
            np.concatenate((starts, hole_starts[where]))[order],
            np.concatenate((ends, hole_ends[where]))[order],
            np.concatenate((pieces.file[winners], nothing))[order],
            np.concatenate((pieces.position[winners] + starts - pieces.offset[winners], nothing))[order],
            np.concatenate((frames[:-1], frames[followed_by]))[order],
            np.concatenate((times[:-1], times[followed_by]))[order],
            np.concatenate((np.zeros(len(starts), np.bool_), np.ones(len(where), np.bool_)))[order],
            np.concatenate((pieces.flags[winners] & FLAG_URG != 0, np.zeros(len(where), np.bool_)))[order],
        )
        return parts._replace(
            frames=np.maximum.accumulate(parts.frames) if len(order) else parts.frames,
            times=np.maximum.accumulate(parts.times) if len(order) else parts.times,
        )


def dialogue(client: Stream, server: Stream, *, most: int = BLOCK_BYTES) -> Iterator[Block]:
    """Give both directions' bytes as they could be read: in the order in which they, and all before them, had come.

    Parameters
    ----------
    client, server : Stream
        Of one connection.
    most : int
        About how many bytes a block holds at most.

    Yields
    ------
    Block
        Bytes of one side until the other speaks, in one block if they are no more than `most`; holes between them.
    """
    both = [stream._parts(stream.start, stream.end) for stream in (client, server)]
    parts = _Parts(*(np.concatenate(columns) for columns in zip(*both, strict=True)))
    yield from _blocks(parts.at(np.argsort(parts.frames, kind="stable")), client._read, most)


def _blocks(parts: _Parts, read: Read, most: int) -> Iterator[Block]:
    """Join runs that follow each other; what lies between holes is read together, about `most` bytes at a time."""
    if not len(parts.starts):
        return
    lengths = parts.ends - parts.starts
    shares = (np.cumsum(lengths) - lengths) // max(most, 1)
    same = (parts.directions[1:] == parts.directions[:-1]) & (parts.starts[1:] == parts.ends[:-1])
    same &= ~parts.are_holes[1:] & ~parts.are_holes[:-1] & (shares[1:] == shares[:-1])
    firsts = np.flatnonzero(np.concatenate(([True], ~same)))
    sizes = np.add.reduceat(lengths, firsts)
    captured = np.where(parts.are_holes[firsts], 0, sizes)
    together = (np.cumsum(captured) - captured) // max(most, 1)
    edges = [0, *(np.flatnonzero(together[1:] != together[:-1]) + 1).tolist(), len(firsts)]
    are_urgent = np.logical_or.reduceat(parts.are_urgent, firsts)
    for first, last in pairwise(edges):
        runs = np.arange(firsts[first], firsts[last] if last < len(firsts) else len(lengths))
        runs = runs[~parts.are_holes[runs]]
        data = read(parts.files[runs], parts.positions[runs], lengths[runs]) if len(runs) else b""
        begun, done = firsts[first:last], 0
        columns = (parts.directions[begun], parts.times[begun], parts.starts[begun], sizes[first:last])
        told = zip(*(each.tolist() for each in (*columns, captured[first:last], are_urgent[first:last])), strict=True)
        for direction, time_ns, start, size, has, is_urgent in told:
            of = DIRECTIONS[direction]
            if not has:
                yield Block(of, time_ns, start, b"", size)
                continue
            yield Block(of, time_ns, start, data[done : done + has], 0, is_urgent)
            done += has


def _differences(one: bytes, other: bytes) -> Iterator[tuple[int, int]]:
    """Give the runs of places where two byte strings of equal length differ."""
    differ = np.frombuffer(one, np.uint8) != np.frombuffer(other, np.uint8)
    edges = np.flatnonzero(np.diff(np.concatenate(([False], differ, [False])))).tolist()
    yield from zip(edges[::2], edges[1::2], strict=True)
