"""Payload on demand: from the capture file where it is, or from a copy where that cannot be gone back to."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tcpsight.capture.source import is_reopenable
from tcpsight.connections._streams import gather
from tcpsight.errors import CaptureError, TcpsightError

if TYPE_CHECKING:
    from tcpsight.arguments import Source
    from tcpsight.capture import CaptureFile
    from tcpsight.capture._mapping import Mapping
    from tcpsight.tables import Frames, Headers

COPIED = 2**62
"""Positions from here on are places in the temporary file; no capture file is that long."""

SPAN_BYTES = 1 << 20
GAP_BYTES = 1 << 16
STRETCH_BYTES = 4 << 20
LEAST_MAPPED = 256 << 10
"""Shorter parts of a file are read: to map one costs about as much as to copy that much."""

MANY_RUNS, SHORT_BYTES = 16, 1000
"""So many runs, so short in the mean, are read one by one, by a loop that is compiled: what is between them is more."""

SHORTER = "the file is shorter than when it was first read"

Positions = np.ndarray[Any, np.dtype[np.int64]]


class Lacking(NamedTuple):
    """Payload of segments that were seen, and that is not there.

    Attributes
    ----------
    cut_bytes, fragment_bytes, text_bytes : int
        Cut off at the snapshot length; of segments that came in IP fragments, of which no payload is kept; of tcpdump
        text, which has none.
    """

    cut_bytes: int = 0
    fragment_bytes: int = 0
    text_bytes: int = 0


class Stretch(NamedTuple):
    """Bytes as they lie in a file; valid until the next.

    Attributes
    ----------
    first, last : int
        Which of the places that were asked for they hold: [first, last).
    data : buffer
        The bytes.
    origin : int
        Where in the file they begin.
    positions, lengths : ndarray of int64
        Those places.
    """

    first: int
    last: int
    data: Any
    origin: int
    positions: Positions
    lengths: Positions


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
        self._mapping: tuple[int, Mapping | None] = (-1, None)
        self._room = bytearray()

    @property
    def is_in_place(self) -> bool:
        """Whether all of it is in the capture's own files."""
        return self._copy is None

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
            write_all(self._copy, data)
        except OSError as error:
            raise no_room(error) from None
        kept = np.full(len(positions), -1, np.int64)
        kept[where] = COPIED + self._copied + np.cumsum(lengths) - lengths
        self._copied += len(data)
        return kept

    def read(self, files: np.ndarray[Any, Any], positions: Positions, lengths: Positions) -> bytes:
        """Give the bytes kept at these places behind each other; see `tcpsight.connections.streams.Read`."""
        out = bytearray(int(lengths.sum()))
        view, at = memoryview(out), 0
        if self._are_scattered(files, positions, len(out)):
            self._read_scattered(int(files[0]), positions, lengths, view)
            return bytes(out)
        for each in self.stretches(files, positions, lengths, SPAN_BYTES):
            wanted = np.ascontiguousarray(each.lengths, np.int64)
            at += gather(each.data, each.positions - each.origin, wanted, view[at:])
        return bytes(out)

    def _are_scattered(self, files: np.ndarray[Any, Any], positions: Positions, size: int) -> bool:
        """Tell whether these are many short runs, all in one file, or all in the copy."""
        if len(positions) < MANY_RUNS or size > SHORT_BYTES * len(positions):
            return False
        are_copied = positions >= COPIED
        return bool((files == files[0]).all() and (are_copied == are_copied[0]).all())

    def _read_scattered(self, file: int, positions: Positions, lengths: Positions, view: memoryview) -> None:
        """Read many short runs, which are all in a file, or all in the copy."""
        from tcpsight.capture._scattered import read_runs

        descriptor, begin, path = self._opened(file, int(positions[0]))
        places = np.ascontiguousarray(positions - begin, np.int64)
        try:
            count = read_runs(descriptor, places, np.ascontiguousarray(lengths, np.int64), view)
        except OSError as error:
            raise CaptureError(path, int(positions[0]), f"cannot be read: {error.strerror}") from None
        if count < len(view):
            raise CaptureError(path, int(positions[0]), SHORTER)

    def stretches(
        self, files: np.ndarray[Any, Any], positions: Positions, lengths: Positions, most: int = STRETCH_BYTES
    ) -> Iterator[Stretch]:
        """Give the bytes at these places as they lie in their files, with what is between them, in order.

        Raises
        ------
        CaptureError
            A file cannot be read, or is shorter than when it was first read: what was made of the last stretch is then
            not true.
        """
        ends = positions + lengths
        is_near = (files[1:] == files[:-1]) & (positions[1:] >= ends[:-1]) & (positions[1:] - ends[:-1] <= GAP_BYTES)
        edges = [0, *(np.flatnonzero(~is_near) + 1).tolist(), len(positions)]
        for first, last in pairwise(edges):
            begin = first
            while begin < last:
                start, file = int(positions[begin]), int(files[begin])
                until = begin + max(1, int(np.searchsorted(ends[begin:last], start + most, "right")))
                length = int(ends[until - 1]) - start
                mapping = self._mapped(file, start, length)
                data, origin = (
                    (self._read(file, start, length), start) if mapping is None else (mapping, mapping.offset)
                )
                yield Stretch(begin, until, data, origin, positions[begin:until], lengths[begin:until])
                if mapping is not None and mapping.sound_bytes() < mapping.length:
                    raise CaptureError(str(self._paths[file]), start, SHORTER)
                begin = until

    def _mapped(self, file: int, position: int, length: int) -> Mapping | None:
        """Map a part of a capture file; None where it is short, a copy, or of a file that the system does not map."""
        path = self._paths[file]
        if length < LEAST_MAPPED or position >= COPIED or path is None:
            return None
        from tcpsight.capture._mapping import ALIGNMENT_BYTES, Mapping

        begin = position - position % ALIGNMENT_BYTES
        needed = position + length - begin
        known, mapping = self._mapping
        try:
            if mapping is None or known != file or len(mapping) < needed:
                self._mapping = (file, None)  # its place goes to the next
                mapping = Mapping(self._descriptor(file, path), needed + -needed % ALIGNMENT_BYTES)
                self._mapping = (file, mapping)
            if mapping.size < position + length:
                raise CaptureError(path, position, SHORTER)
            mapping.move(begin, needed)
        except OSError:
            return None
        return mapping

    def _read(self, file: int, position: int, length: int) -> memoryview:
        """Read some bytes; they are there until the next are read."""
        if length > len(self._room):
            self._room = bytearray(max(length, SPAN_BYTES))
        view = memoryview(self._room)[:length]
        self._read_into(file, position, view)
        return view

    def _read_into(self, file: int, position: int, view: memoryview) -> None:
        descriptor, begin, path = self._opened(file, position)
        position -= begin
        done = 0
        while done < len(view):
            try:
                count = os.preadv(descriptor, [view[done:]], position + done)
            except OSError as error:
                raise CaptureError(path, position, f"cannot be read: {error.strerror}") from None
            if not count:
                raise CaptureError(path, position, SHORTER)
            done += count

    def _opened(self, file: int, position: int) -> tuple[int, int, str]:
        """Give what is read at a position: its descriptor, at which position it begins, what it is called."""
        if position >= COPIED:
            assert self._copy is not None
            return self._copy.fileno(), COPIED, "the copy of payload"
        path = self._paths[file]
        assert path is not None
        return self._descriptor(file, path), 0, path

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
        self._mapping, self._room = (-1, None), bytearray()
        for descriptor in self._descriptors.values():
            os.close(descriptor)
        self._descriptors.clear()
        if self._copy is not None:
            self._copy.close()


def write_all(file: IO[bytes], data: Any) -> None:
    """Write all of it to a file that takes part of it at a time."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def no_room(error: OSError) -> TcpsightError:
    """Tell that a temporary file has no room."""
    return TcpsightError(f"no room for temporary files in {tempfile.gettempdir()}: {error.strerror}")
