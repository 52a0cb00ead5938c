"""What each side of each connection of a capture sent, on demand: the index on disk, the bytes where they are.

Theory of operation
-------------------
One pass writes the index: a row per captured run of payload and one per stream, in memory as long as they are few, then
in a temporary file without a name. Bytes stay in the capture file and are read from there when asked for. What is no
plain file (a pipe, compressed data, text, several files merged) cannot be gone back to: payload is then copied to a
temporary file, once, as it comes. So memory holds neither payload nor, of a large capture, its index.

What it cannot see: that a capture file was changed after it was indexed, as long as it did not become shorter.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from tcpsight.capture.source import is_reopenable
from tcpsight.connections._streams import gather
from tcpsight.connections.stream_index import pieces_of
from tcpsight.connections.streams import Block, Bounds, Conflict, Policy, Read, Stream, dialogue
from tcpsight.errors import CaptureError, TcpsightError
from tcpsight.tables import DIRECTIONS, INT64_MIN, Connections, Pieces, Streams, Table

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis, Source
    from tcpsight.capture import CaptureFile
    from tcpsight.tables import Frames, Headers

__all__ = [
    "Block",
    "Bounds",
    "CapturedStreams",
    "Conflict",
    "Conversation",
    "PayloadStore",
    "Pieces",
    "Policy",
    "Read",
    "Stream",
]

COPIED = 2**62
"""Positions from here on are places in the temporary file; no capture file is that long."""

MEMORY_BYTES = 64 << 20
SPAN_BYTES = 1 << 20
GAP_BYTES = 1 << 16

Positions = np.ndarray[Any, np.dtype[np.int64]]


class PayloadStore:
    """Keeps payload: notes where it is in the capture file, or copies it, and gives it back.

    Parameters
    ----------
    sources : sequence of path, ``-`` or binary file
        The capture.

    Raises
    ------
    TcpsightError
        From `keep`, if there is no room for a copy.
    """

    def __init__(self, sources: list[Source]) -> None:
        self._paths = [os.fspath(source) if is_reopenable(source) else None for source in sources]  # type: ignore[arg-type]
        self._descriptors: dict[int, int] = {}
        self._copy: IO[bytes] | None = None
        self._copied = 0
        self._compressed: set[int] = set()

    def keep(self, frames: Frames, headers: Headers, positions: Positions) -> Positions:
        """Take care of the payload of these headers; see `tcpsight.pipeline.Keep`."""
        if not len(positions):
            return positions
        file = int(headers.file[0])
        if frames.origin >= 0 and self._paths[file] is not None and file not in self._compressed:
            return np.where(positions < 0, -1, positions + frames.origin)
        return self._copy_payload(frames, headers, positions)

    def note_files(self, files: list[CaptureFile]) -> None:
        """Learn from an opened capture which files are compressed: places in their content are none in them."""
        self._compressed = {file.index for file in files if file.compression}

    def _copy_payload(self, frames: Frames, headers: Headers, positions: Positions) -> Positions:
        where = np.flatnonzero(positions >= 0)
        lengths = headers.captured_payload_bytes[where].astype(np.int64)
        data = bytearray(int(lengths.sum()))
        gather(frames.data, positions[where], lengths, data)
        try:
            if self._copy is None:
                self._copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            _write(self._copy, data)
        except OSError as error:
            raise _no_room(error) from None
        kept = np.full(len(positions), -1, np.int64)
        kept[where] = COPIED + self._copied + np.cumsum(lengths) - lengths
        self._copied += len(data)
        return kept

    def read(self, files: np.ndarray[Any, Any], positions: Positions, lengths: Positions) -> bytes:
        """Give the bytes kept at these places behind each other; see `tcpsight.connections.streams.Read`."""
        out = bytearray(int(lengths.sum()))
        view, at = memoryview(out), 0
        ends = positions + lengths
        is_near = (files[1:] == files[:-1]) & (positions[1:] >= ends[:-1]) & (positions[1:] - ends[:-1] <= GAP_BYTES)
        edges = [0, *(np.flatnonzero(~is_near) + 1).tolist(), len(positions)]
        for first, last in pairwise(edges):
            begin = first
            while begin < last:
                start = int(positions[begin])
                until = begin + max(1, int(np.searchsorted(ends[begin:last], start + SPAN_BYTES, "right")))
                data = self._read_at(int(files[begin]), start, int(ends[until - 1]) - start)
                run = slice(begin, until)
                at += gather(data, positions[run] - start, np.ascontiguousarray(lengths[run], np.int64), view[at:])
                begin = until
        return bytes(out)

    def _read_at(self, file: int, position: int, length: int) -> bytes:
        path = self._paths[file]
        if position >= COPIED:
            assert self._copy is not None
            descriptor, position, path = self._copy.fileno(), position - COPIED, "the copy of payload"
        else:
            assert path is not None
            descriptor = self._descriptor(file, path)
        data = b""
        while len(data) < length:
            try:
                more = os.pread(descriptor, length - len(data), position + len(data))
            except OSError as error:
                raise CaptureError(path, position, f"cannot be read: {error.strerror}") from None
            if not more:
                raise CaptureError(path, position, "the file is shorter than when it was first read")
            data = data + more if data else more
        return data

    def _descriptor(self, file: int, path: str) -> int:
        if file not in self._descriptors:
            if len(self._descriptors) >= 16:
                os.close(self._descriptors.pop(next(iter(self._descriptors))))
            try:
                self._descriptors[file] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise CaptureError(path, -1, f"cannot be opened: {error.strerror}") from None
        return self._descriptors[file]

    def close(self) -> None:
        """Give back files; nothing can be read any more."""
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
        if self._copy is not None:
            self._copy.close()


class _Rows:
    """Rows that are added and later looked at in any order: on disk where they are many."""

    def __init__(self, table_type: type[Table]) -> None:
        # Not zeroed: pages that no row ever reaches cost nothing.
        self._rows = np.empty(max(MEMORY_BYTES // table_type.dtype.itemsize, 1), table_type.dtype)
        self._filled = 0
        self._file: IO[bytes] | None = None

    def add(self, table: Table) -> None:
        """Take a copy of rows."""
        rows, room = table.rows, len(self._rows)
        for first in range(0, len(rows), room):
            some = rows[first : first + room]
            if self._filled + len(some) > room:
                self._flush()
            self._rows[self._filled : self._filled + len(some)] = some
            self._filled += len(some)

    def _flush(self) -> None:
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
            _write(self._file, self._rows[: self._filled].view(np.uint8))
        except OSError as error:
            raise _no_room(error) from None
        self._filled = 0

    def all(self) -> np.ndarray[Any, Any]:
        """Give all rows, shape (n,)."""
        if self._file is None:
            return self._rows[: self._filled]
        self._flush()
        return np.memmap(self._file, self._rows.dtype, "r")


class Conversation:
    """What the two sides of one connection said.

    Attributes
    ----------
    connection : numpy.void
        Its `Connections` row.
    client, server : Stream
        What each of them sent.
    """

    def __init__(self, connection: np.void, client: Stream, server: Stream) -> None:
        self.connection = connection
        self.client = client
        self.server = server

    @property
    def connection_id(self) -> int:
        """The number of the frame that opened the connection."""
        return int(self.connection["connection_id"])

    @property
    def is_complete(self) -> bool:
        """Whether both streams are known from their first byte to their last."""
        return all(stream.is_whole and stream.is_finished for stream in (self.client, self.server)) and (
            self.connection["client_isn"] >= 0 and self.connection["server_isn"] >= 0
        )

    def dialogue(self, *, most: int = 1 << 20) -> Iterator[Block]:
        """Give both sides' bytes in the order in which they could be read; a block holds about `most` bytes at most."""
        return dialogue(self.client, self.server, most=most)

    def __repr__(self) -> str:
        return f"<Conversation {self.connection_id}: {len(self.client)} bytes asked, {len(self.server)} answered>"


class CapturedStreams:
    """The streams of a capture, by `connection_id`; iterating gives each conversation.

    Parameters
    ----------
    analysis : Analysis
        The capture, and which connections of it are wanted.
    overlaps : {"first", "last"}
        Which copy gives a byte that was captured more than once.

    Attributes
    ----------
    connections : Connections
        Those that were wanted, by `connection_id`, shape (n,).
    broken : CaptureError or None
        Why the capture ended early; what came before is here.

    Examples
    --------
    >>> with tcpsight.open("examples/mariadb-lock.pcap").streams() as streams:
    ...     conversation = next(iter(streams))
    ...     block = next(conversation.dialogue())
    ...     print(conversation.connection_id, block.direction, block.offset)
    1 client 0
    """

    def __init__(self, analysis: Analysis, overlaps: Policy = "first") -> None:
        self._overlaps = overlaps
        self._store = PayloadStore(analysis.sources)
        pieces, streams, connections = _Rows(Pieces), _Rows(Streams), _Rows(Connections)
        with analysis.run(keep=self._store.keep) as run:
            self._store.note_files(run.capture.files)
            for batch in run:
                pieces.add(batch.pieces)
                streams.add(batch.streams)
                connections.add(batch.connections)
            self.broken = run.pipeline.broken
        self._pieces = pieces.all()
        found = connections.all()
        self.connections = Connections(found[np.argsort(found["connection_id"], kind="stable")])
        ends = streams.all()
        self._ends = ends[np.argsort(ends["connection_id"], kind="stable")]

    def __len__(self) -> int:
        return len(self.connections)

    def __iter__(self) -> Iterator[Conversation]:
        for row in self.connections:
            yield self._conversation(row)

    def __getitem__(self, connection_id: int) -> Conversation:
        at = int(np.searchsorted(self.connections.connection_id, connection_id))
        if at == len(self.connections) or self.connections.connection_id[at] != connection_id:
            raise KeyError(connection_id)
        return self._conversation(self.connections.rows[at])

    def _conversation(self, row: np.void) -> Conversation:
        at = int(np.searchsorted(self._ends["connection_id"], row["connection_id"]))
        return Conversation(row, *(self._stream(row, self._ends[at + side], side) for side in (0, 1)))

    def _stream(self, row: np.void, end: np.void, side: int) -> Stream:
        name = DIRECTIONS[side]
        fin_offset = int(end["fin_offset"])
        return Stream(
            pieces_of(self._pieces, int(end["last_piece"]), int(end["pieces"])),
            self._store.read,
            Bounds(
                int(row[f"{name}_bytes"]),
                None if fin_offset == INT64_MIN else fin_offset,
                bool(row[f"{name}_isn"] >= 0),
            ),
            overlaps=self._overlaps,
            direction=name,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back files; streams cannot be read any more."""
        self._store.close()

    def __repr__(self) -> str:
        return f"<the streams of {len(self)} connections>"


def _write(file: IO[bytes], data: Any) -> None:
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _no_room(error: OSError) -> TcpsightError:
    return TcpsightError(f"no room for temporary files in {tempfile.gettempdir()}: {error.strerror}")
