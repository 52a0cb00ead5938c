"""Streams to files of a folder, one for each direction of each connection, and to pcapng: nothing else is touched.

Names are made of numbers and addresses only, opened in the folder itself, new, and never through a link: whatever is in
a capture or in the folder, no byte goes anywhere else. Bytes that were not captured are left out, and told in
``holes.jsonl`` beside the streams; with `zeros` they are a hole in the file, which reads as zeros.
"""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

import tcpsight
from tcpsight.conversations.extracting import Extraction, Parcel
from tcpsight.errors import TcpsightError, UsageError
from tcpsight.output._runs import write_runs
from tcpsight.output.addresses import address_text
from tcpsight.output.destination import Destination
from tcpsight.output.pcapng import DescribedInterface, PcapngEncoder
from tcpsight.payload import SHORTER
from tcpsight.pipeline import Pipeline
from tcpsight.tables import DIRECTIONS, SegmentDetails

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis
    from tcpsight.streams import CapturedStreams, Conversation, Stream
    from tcpsight.tables import Frames

HOLES = "holes.jsonl"
BUFFER_BYTES = 1 << 17
MOST_HOLES_BYTES = 64 << 20
"""A longer list of holes of an earlier dump is not kept up: files that were replaced stay in it."""

SNAPLEN = 262_144
MOST_OPEN = 512
MOST_WRITERS = 2
"""Threads that write: with more of them memory is the limit."""


@dataclass
class Dumped:
    """What was written.

    Attributes
    ----------
    files, bytes, missing_bytes : int
        How many files, of how many bytes, and how many more were not captured.
    """

    files: int = 0
    bytes: int = 0
    missing_bytes: int = 0


class Folder:
    """A folder that takes streams.

    Parameters
    ----------
    path : str
        Made if it is not there.
    overwrites : bool
        Whether files of the same name are replaced; refused otherwise.
    zeros : bool
        Whether bytes stand at their offsets, with zeros where none were captured.
    kept : sequence of str
        Files that are never replaced: the captures.

    Raises
    ------
    UsageError
        The folder cannot be made or opened.
    """

    def __init__(self, path: str, *, overwrites: bool = False, zeros: bool = False, kept: Sequence[str] = ()) -> None:
        self._path, self._overwrites, self._zeros, self._kept = path, overwrites, zeros, kept
        self.dumped = Dumped()
        self._has_holes = False
        self._replaced: set[str] = set()
        try:
            os.makedirs(path, exist_ok=True)  # noqa: PTH103 - what follows is about descriptors
            self._descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror or error}") from None
        self._earlier = self._read_holes() if overwrites else []

    def _read_holes(self) -> list[str]:
        """Read the list of holes of an earlier dump."""
        with suppress(OSError):
            how = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            with os.fdopen(os.open(HOLES, how, dir_fd=self._descriptor), "rb") as file:
                status = os.fstat(file.fileno())
                if stat.S_ISREG(status.st_mode) and status.st_size <= MOST_HOLES_BYTES:
                    return file.read().decode("utf-8", "replace").splitlines()
        return []

    def close(self) -> None:
        """Let go of the folder; the list of holes tells of all files that are in it, those of earlier dumps, too."""
        try:
            if self._replaced:
                self._settle()
        finally:
            os.close(self._descriptor)

    def _settle(self) -> None:
        """Keep of an earlier list of holes what it tells of files that were not replaced."""
        kept = [line for line in self._earlier if _file_of(line) not in self._replaced]
        if len(kept) == len(self._earlier) and not self._has_holes:
            return
        if kept:
            self._tell("".join(f"{line}\n" for line in kept))
        elif self._earlier and not self._has_holes:
            with suppress(FileNotFoundError):
                os.unlink(HOLES, dir_fd=self._descriptor)

    def add(self, conversation: Conversation, sides: Iterable[str] = DIRECTIONS) -> None:
        """Write what the sides of a conversation sent, if anything."""
        for side in sides:
            stream: Stream = getattr(conversation, side)
            if len(stream):
                self._add(f"{name_of(conversation.connection)}.{side}", stream)

    def add_all(self, streams: CapturedStreams, rows: np.ndarray[Any, Any]) -> None:
        """Write what both sides of connections sent, told by their places in the table."""
        extraction = Extraction(streams, rows)
        names: dict[int, str] = {}
        with Descriptors(MOST_OPEN) as opened, Writers() as writers:
            for parcel in extraction.parcels():
                for first in range(0, len(parcel.keys), MOST_OPEN):
                    part = slice(first, first + MOST_OPEN)
                    files = [self._opened(key, names, opened, streams) for key in parcel.keys[part].tolist()]
                    shares = (files, parcel.offsets[part], parcel.firsts[part], parcel.lasts[part])
                    self._write(writers, np.stack(shares, axis=1).astype(np.int64), parcel)
                self.dumped.bytes += int(parcel.lengths.sum())
        connections = streams.connections.rows
        for row, name in extraction.others:
            self.add(streams[int(connections[row]["connection_id"])], (name,))

    def _opened(self, key: int, names: dict[int, str], opened: Descriptors, streams: CapturedStreams) -> int:
        """Give the file of a stream, made if it is the first time."""
        name = names.get(key)
        if name is not None:
            return opened.get(name, self._descriptor)
        name = names[key] = f"{name_of(streams.connections.rows[key >> 1])}.{DIRECTIONS[key & 1]}"
        descriptor = self._create(name)
        opened.put(name, descriptor)
        self.dumped.files += 1
        return descriptor

    def _write(self, writers: Writers, shares: np.ndarray[Any, Any], parcel: Parcel) -> None:
        try:
            writers.write(shares, parcel)
        except OSError as error:
            if error.errno == errno.EFAULT:
                raise TcpsightError(f"the capture: {SHORTER}") from None
            raise TcpsightError(f"{self._path}: {error.strerror or error}") from None

    def _add(self, name: str, stream: Stream) -> None:
        with os.fdopen(self._create(name), "wb", BUFFER_BYTES) as file:
            holes = []
            for block in stream.blocks():
                if block.missing_bytes:
                    # As JSON; a name has nothing in it that would have to be written otherwise.
                    what = f'"offset": {block.offset}, "missing_bytes": {block.missing_bytes}'
                    holes.append(f'{{"file": "{name}", {what}}}\n')
                    if self._zeros:
                        file.seek(block.missing_bytes, os.SEEK_CUR)
                else:
                    file.write(block.data)
                    self.dumped.bytes += len(block.data)
            if self._zeros:
                file.truncate(len(stream))
        self.dumped.files += 1
        self.dumped.missing_bytes += stream.missing_bytes
        if holes:
            self._tell("".join(holes))

    def _tell(self, lines: str) -> None:
        if not self._has_holes:
            self._new(HOLES).close()
            self._has_holes = True
        descriptor = os.open(HOLES, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW, dir_fd=self._descriptor)
        with os.fdopen(descriptor, "wb") as file:
            file.write(lines.encode())

    def _new(self, name: str) -> Any:
        return os.fdopen(self._create(name), "wb", 0)

    def _create(self, name: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            if self._overwrites:
                self._refuse_kept(name)
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=self._descriptor)  # a link goes, not what it points to
                    self._replaced.add(name)
            return os.open(name, flags, 0o666, dir_fd=self._descriptor)
        except FileExistsError:
            raise UsageError(f"{self._path}/{name} is there already: name another folder, or add --overwrite") from None
        except OSError as error:
            raise TcpsightError(f"{self._path}/{name}: {error.strerror or error}") from None

    def _refuse_kept(self, name: str) -> None:
        with suppress(FileNotFoundError):
            there = os.stat(name, dir_fd=self._descriptor, follow_symlinks=False)
            for each in self._kept:
                with suppress(OSError):
                    if os.path.samestat(there, os.stat(each)):  # noqa: PTH116
                        raise UsageError(f"{self._path}/{name} is the input {each!r}: the capture would be lost")


class Writers:
    """Writes to several files at once: most of the work is the kernel's, and it has a core for each."""

    def __init__(self) -> None:
        from concurrent.futures import ThreadPoolExecutor

        self._count = min(len(os.sched_getaffinity(0)), MOST_WRITERS)
        self._threads = ThreadPoolExecutor(self._count)

    def write(self, shares: np.ndarray[Any, Any], parcel: Parcel) -> None:
        """Write shares of a parcel; each is of another file."""

        def some(which: int) -> None:
            mine = np.ascontiguousarray(shares[which :: self._count])
            write_runs(mine, parcel.data, parcel.positions, parcel.lengths)

        for _ in self._threads.map(some, range(self._count)):
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown()


class Descriptors:
    """Files of a folder that are open for writing, not too many: the one that was used longest ago is closed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._open: dict[str, int] = {}

    def put(self, name: str, descriptor: int) -> None:
        """Take a file that was opened."""
        while len(self._open) >= self._most:
            os.close(self._open.pop(next(iter(self._open))))
        self._open[name] = descriptor

    def get(self, name: str, folder: int) -> int:
        """Give a file, opened again if it had to be closed."""
        descriptor = self._open.pop(name, -1)
        if descriptor < 0:
            descriptor = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            self.put(name, descriptor)
        self._open[name] = descriptor
        return descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)
        self._open.clear()


def name_of(row: Any) -> str:
    """Call a row of `Connections` by its number and endpoints: letters, digits, dots, dashes."""
    ends = []
    for side in DIRECTIONS:
        address = address_text(row[f"{side}_address"].tobytes(), int(row["ip_version"]))
        ends.append(f"{address.replace(':', '_')}.{int(row[f'{side}_port'])}")
    return f"{int(row['connection_id'])}-{ends[0]}-{ends[1]}"


def _file_of(line: str) -> object:
    """Give the file that a line of a list of holes is about."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row.get("file") if isinstance(row, dict) else None


def export(analysis: Analysis, connection_ids: np.ndarray[Any, Any], path: str) -> int:
    """Write the frames of connections to a pcapng file, as they were captured; give how many.

    Of segments that came in IP fragments these are all frames, the first of which went by before it was known whose
    segment it is. So the capture is read twice: which frames, then these.

    Parameters
    ----------
    analysis : Analysis
        The capture, which is read again.
    connection_ids : ndarray of int64, shape (n,)
        Which connections.
    path : str
        Where to.

    Raises
    ------
    UsageError
        The capture is text, and has no frames.
    """
    wanted = _frames_of(analysis, np.sort(connection_ids))
    encoder, described, count = PcapngEncoder([], f"tcpsight {tcpsight.__version__}"), 0, 0

    class Copying(Pipeline):
        """Writes frames instead of looking at them."""

        needs_one_worker = True

        def feed(self, captured: Frames) -> Iterator[Any]:
            whole = captured.whole()
            # Both ascend: only what lies between the batch's first and last number is looked at.
            first, last = np.searchsorted(wanted, whole.frame_number[[0, -1]], "left") if len(whole) else (0, 0)
            copy(whole[np.isin(whole.frame_number, wanted[first : last + 1])])
            return iter(())

    def copy(frames: Frames) -> None:
        nonlocal described, count
        if not len(frames):
            return
        if any(run.capture.files[i].is_text for i in np.unique(frames.file).tolist()):
            raise UsageError("export: the capture is text, which has no frames to write")
        more = [DescribedInterface(each.name, each.link_type, SNAPLEN) for each in run.capture.interfaces[described:]]
        destination.write(encoder.described(more))
        described += len(more)
        destination.write(encoder.frames(frames, np.ascontiguousarray(frames.captured_bytes)))
        count += len(frames)

    destination = Destination(path)
    try:
        destination.write(encoder.begin())
        with analysis.run(through=Copying) as run:
            for _ in run:
                pass
        destination.close()
    except BaseException:
        destination.abort()
        raise
    return count


def _frames_of(analysis: Analysis, connection_ids: np.ndarray[Any, Any]) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Tell which frames carried segments of connections, or parts of these, ascending."""
    found = [np.zeros(0, np.int64)]
    with analysis.run(SegmentDetails) as run:
        run.pipeline.note_fragments()
        for batch in run:
            numbers, of = batch.segments.frame_number, batch.segments.connection_id
            found.append(numbers[np.isin(of, connection_ids)])
        numbers = np.concatenate(found)
        parts, whole = run.pipeline.frames_of_fragments().T
    return np.union1d(numbers, parts[np.isin(whole, numbers)])
