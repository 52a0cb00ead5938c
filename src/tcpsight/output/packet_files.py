"""Files of frames that are written while they are captured: whole at any moment, rotated, compressed, capped.

Theory of operation
-------------------
Nothing is kept back without need: of a file that is not compressed the records of a batch are written at once, by one
call, so that a process that is killed leaves whole records. Of one that is compressed they are collected for a second
at most and written as a frame (or member) of the format that is complete by itself. Where the disk is full, what was
written of the last record, or of the last piece, is cut off again: the file ends with a whole one.

A set of files has names that begin with the same words and sort by time: the instant when each began, then a number.
The oldest ones of the set, also those that an earlier run left, are removed before all together are larger than wanted.

What it cannot see: whether what was written has reached the disk; the system keeps it, and a machine that loses its
power loses that.
"""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from tcpsight.errors import TcpsightError
from tcpsight.output.compressing import SUFFIXES, compressing

if TYPE_CHECKING:
    from tcpsight.tables import Frames

Lengths = np.ndarray[Any, np.dtype[np.uint32]]

FORMATS = ("pcap", "pcapng")
FORMAT_SUFFIXES = {".pcapng": "pcapng", ".ntar": "pcapng"}

OPENED = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC

FLUSH_NS = 900_000_000
"""What is collected is written after so long: within a second, since a look comes every tenth of one."""

MOST_COLLECTED_BYTES = 4 * 1024 * 1024

STATISTICS_BYTES = 256
"""Room for what is told of an interface when a file ends."""


Ends = np.ndarray[Any, np.dtype[np.int64]]

_NO_FRAMES: Ends = np.zeros(0, np.int64)


class Counts(NamedTuple):
    """What was counted on an interface; None where nothing is known.

    Attributes
    ----------
    received, interface_drops, kernel_drops : int or None
        Frames that the filter let through, that the interface dropped, that the kernel dropped.
    """

    received: int | None
    interface_drops: int | None
    kernel_drops: int | None

    def since(self, before: Counts) -> Counts:
        """Give what was counted after an earlier look."""
        pairs = zip(self, before, strict=True)
        return Counts(*(None if now is None else now - (then or 0) for now, then in pairs))


class Encoder(Protocol):
    """Makes the bytes of one file format."""

    def begin(self) -> bytes:
        """Give what a file begins with."""

    def sizes(self, kept: Lengths) -> Lengths:
        """Tell how long the records of frames are of which so much is kept."""

    def frames(self, frames: Frames, kept: Lengths) -> memoryview:
        """Give the records of frames."""

    def statistics(self, counts: Sequence[Counts], start_ns: int, end_ns: int) -> bytes:
        """Give what was counted on each interface."""


@dataclass(frozen=True, slots=True)
class Rotation:
    """When another file is begun, and how much all of them may hold; None for never, and for no limit.

    Attributes
    ----------
    size_bytes : int or None
        Before it would be larger.
    every_ns : int or None
        At every multiple of this since the epoch.
    total_bytes : int or None
        Of all files of the set together.
    """

    size_bytes: int | None = None
    every_ns: int | None = None
    total_bytes: int | None = None

    @property
    def is_wanted(self) -> bool:
        """Whether there is more than one file."""
        return self.size_bytes is not None or self.every_ns is not None


def least_bytes(encoder: Encoder, interfaces: int, snaplen: int) -> int:
    """Tell how large a file must be that holds a frame of so many bytes, and what is told of the interfaces."""
    record = int(encoder.sizes(np.array([snaplen], np.uint32))[0])
    return len(encoder.begin()) + record + interfaces * STATISTICS_BYTES


class PacketFiles:
    """Write frames to a file, or to one after the other.

    Parameters
    ----------
    path : str
        Where to; ``-`` for standard output. Names of a set are made of it.
    encoder : Encoder
        What makes the bytes.
    compression : str
        ``zst``, ``gz``, ``lz4`` or ``none``.
    rotation : Rotation
        When another file is begun.

    Attributes
    ----------
    frames, files : int
        How many were written so far; frames that are still collected do not count.
    removed_files, removed_frames, removed_earlier : int
        How many of these files were removed again as all were too large together, how many frames they had, and how
        many files that earlier runs left.
    name : str
        The file that is written.
    ended_ns : int or None
        When capturing ended, which may be some time before what came until then was written; None before.

    Raises
    ------
    TcpsightError
        It cannot be opened; later, that it cannot be written any more. Where standard output is closed,
        `BrokenPipeError` is raised unchanged.
    """

    def __init__(self, path: str, encoder: Encoder, compression: str, rotation: Rotation) -> None:
        self.frames = self.files = self._number = 0
        self.removed_files = self.removed_frames = self.removed_earlier = 0
        self._frames_of: dict[str, int] = {}  # of this run's files that are still there, if some are to be removed
        self.name = path
        self.ended_ns: int | None = None
        self._path = path
        self._encoder = encoder
        self._compress = compressing(compression)
        self._rotation = rotation
        self._descriptor = -1
        self._is_regular = False
        self._written = 0  # bytes of the file
        self._file_frames = 0
        self._collected: list[bytes] = []
        self._collected_bytes = self._collected_frames = 0
        self._flushed_ns = time.monotonic_ns()
        self._slot = 0
        self._start_ns = 0
        self._before: list[Counts] = []
        self._told: list[Counts] = []
        self._names = re.compile(re.escape(_stem(path)) + r"-\d{8}T\d{6}Z-\d{6}" + re.escape(_endings(path)))
        self._open(time.time_ns())

    # ------------------------------------------------------------------------------------------------ writing

    def write(self, frames: Frames, kept: Lengths, counts: Sequence[Counts]) -> None:
        """Write frames with so many bytes of each; `counts` is what was counted until now."""
        now_ns = time.time_ns()
        if self._rotation.every_ns and now_ns // self._rotation.every_ns != self._slot:
            self._next(now_ns, counts)
        while len(frames):
            fitting = self._fitting(kept, len(counts))
            if fitting == 0:
                self._next(now_ns, counts)
                continue
            self._file_frames += fitting
            ends = np.cumsum(self._encoder.sizes(kept[:fitting]), dtype=np.int64)
            self._put(self._encoder.frames(frames[:fitting], kept[:fitting]), ends)
            frames, kept = frames[fitting:], kept[fitting:]

    def describe(self, description: bytes) -> None:
        """Write the description of an interface, which later files begin with."""
        self._put(description)

    def _fitting(self, kept: Lengths, interfaces: int) -> int:
        """Tell how many of the frames the file has room for; at least one if it is empty."""
        limit = self._rotation.size_bytes
        if limit is None:
            return len(kept)
        room = limit - self._written - interfaces * STATISTICS_BYTES
        if self._compress is not None:
            # How large they will be is known afterwards.
            return 0 if room <= 0 and self._file_frames else len(kept)
        ends = np.cumsum(self._encoder.sizes(kept), dtype=np.int64)
        fitting = int(np.searchsorted(ends, room, "right"))
        return fitting if fitting or self._file_frames else 1

    def look(self, counts: Sequence[Counts]) -> None:
        """Write what has been collected for long enough, and what was counted since; to be called now and then."""
        now_ns = time.monotonic_ns()
        if now_ns - self._flushed_ns < FLUSH_NS:
            return
        self._flushed_ns = now_ns
        if self._descriptor >= 0 and list(counts) != self._told:
            self._tell(counts)
        self._flush()
        self._make_room()

    def _tell(self, counts: Sequence[Counts]) -> None:
        """Write what was counted since the file began."""
        self._told = list(counts)
        before = self._before or [Counts(0, 0, 0)] * len(counts)
        since = [now.since(then) for now, then in zip(counts, before, strict=True)]
        self._put(self._encoder.statistics(since, self._start_ns, self.ended_ns or time.time_ns()))

    def _put(self, data: bytes | memoryview, ends: Ends = _NO_FRAMES) -> None:
        """Write data, or collect it; of frames it is told where in it each ends."""
        frames = len(ends)
        if self._compress is None:
            self._write(data, ends)
            self.frames += frames
            return
        self._collected.append(bytes(data))
        self._collected_bytes += len(data)
        self._collected_frames += frames
        if self._collected_bytes >= MOST_COLLECTED_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._collected and self._compress is not None:
            data, frames = b"".join(self._collected), self._collected_frames
            self._collected.clear()
            self._collected_bytes = self._collected_frames = 0
            self._write(self._compress(data))
            self.frames += frames

    def _write(self, data: bytes | memoryview, ends: Ends = _NO_FRAMES) -> None:
        """Write whole records; if the disk is full, the frames that it has room for, and nothing else."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError as error:
            if self._is_regular:
                with suppress(OSError):
                    whole = int(np.searchsorted(ends, len(data) - len(view), "right"))
                    os.ftruncate(self._descriptor, self._written + (int(ends[whole - 1]) if whole else 0))
                    self.frames += whole
            self._give_up()
            if isinstance(error, BrokenPipeError):
                raise
            raise TcpsightError(f"{self.name}: {error.strerror or error}") from error
        self._written += len(data)

    # -------------------------------------------------------------------------------------------------- files

    def _open(self, now_ns: int) -> None:
        self._written = self._file_frames = 0
        self._start_ns = now_ns
        if self._rotation.every_ns:
            self._slot = now_ns // self._rotation.every_ns
        try:
            if self._path == "-":
                self.name, self._descriptor = "standard output", os.dup(1)
            elif self._rotation.is_wanted:
                self.name, self._descriptor = self._open_next(now_ns)
            else:
                self._descriptor = os.open(self.name, OPENED | os.O_TRUNC, 0o666)
        except OSError as error:
            raise TcpsightError(f"{self.name}: {error.strerror or error}") from error
        self._is_regular = stat.S_ISREG(os.fstat(self._descriptor).st_mode) and self._path != "-"
        self.files += 1
        # At once: a reader that waits for the file shall see what it is.
        header = self._encoder.begin()
        self._write(header if self._compress is None else self._compress(header))

    def _open_next(self, now_ns: int) -> tuple[str, int]:
        """Open the next file of the set; one that another recording began in the same second stays what it is."""
        when = datetime.fromtimestamp(now_ns // 10**9, UTC).strftime("%Y%m%dT%H%M%SZ")
        while True:
            self._number += 1
            name = f"{_stem(self._path)}-{when}-{self._number:06}{_endings(self._path)}"
            path = str(Path(self._path).with_name(name))
            with suppress(FileExistsError):
                return path, os.open(path, OPENED | os.O_EXCL, 0o666)

    def _next(self, now_ns: int, counts: Sequence[Counts]) -> None:
        """End the file and begin another one; an empty one is gone on with."""
        if self._rotation.every_ns:
            self._slot = now_ns // self._rotation.every_ns
        if self._file_frames == 0:
            return
        self._end(counts)
        self._open(now_ns)
        self._make_room()

    def reopen(self, counts: Sequence[Counts]) -> None:
        """Begin another file of a set; else one of the same name, if somebody has taken the old one away."""
        if self._path == "-" or not self._is_regular:
            return
        if not self._rotation.is_wanted:
            with suppress(OSError):
                if os.path.samestat(os.fstat(self._descriptor), os.stat(self.name)):  # noqa: PTH116 - beside fstat
                    return
        elif self._file_frames == 0:
            return
        self._end(counts)
        self._open(time.time_ns())

    def _make_room(self) -> None:
        """Remove the oldest files of the set, but never the one that is written."""
        limit = self._rotation.total_bytes
        if limit is None:
            return
        found = []
        with suppress(OSError), os.scandir(Path(self._path).parent) as entries:
            for entry in entries:
                if self._names.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                    status = entry.stat(follow_symlinks=False)
                    found.append((status.st_mtime_ns, entry.name, status.st_size, entry.path))
        total = sum(size for _, _, size, _ in found)
        # The one that is written may still grow to its limit.
        total += max((self._rotation.size_bytes or 0) - self._written, 0)
        # By when they were written: their names are wrong where the clock was.
        for _, name, size, path in sorted(found):
            if total <= limit:
                break
            if name == Path(self.name).name:
                continue
            with suppress(OSError):
                Path(path).unlink()
                total -= size
                frames = self._frames_of.pop(name, None)
                self.removed_earlier += frames is None
                self.removed_files += frames is not None
                self.removed_frames += frames or 0

    def _end(self, counts: Sequence[Counts]) -> None:
        """Write what is left and close the file."""
        if self._descriptor < 0:
            return
        self._tell(counts)
        self._flush()
        if self._rotation.total_bytes is not None:
            self._frames_of[Path(self.name).name] = self._file_frames
        self._before = list(counts)
        self._give_up()

    def _give_up(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1
        self._collected.clear()
        self._collected_bytes = self._collected_frames = 0

    def finish(self, counts: Sequence[Counts]) -> None:
        """Write what is left, with what was counted, and close."""
        self._end(counts)


def _endings(path: str) -> str:
    """Give what a name ends with: of the format, and of its compression."""
    name = Path(path)
    own = name.suffix
    return Path(name.stem).suffix + own if own in SUFFIXES else own


def _stem(path: str) -> str:
    name = Path(path).name
    return name.removesuffix(_endings(path))


def format_of(path: str) -> str:
    """Tell by its ending which format a file has."""
    endings = _endings(path).lower()
    return next((kind for suffix, kind in FORMAT_SUFFIXES.items() if endings.startswith(suffix)), "pcap")


def compression_of(path: str) -> str:
    """Tell by its ending how a file is compressed."""
    return SUFFIXES.get(Path(path).suffix.lower(), "none")
