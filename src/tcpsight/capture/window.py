"""Through what a file is looked at: a buffer that is read into, or a part of the file that is mapped.

Both are a sliding view of the file: bytes ``data[start:end]`` are there and are not consumed yet. Mapping spares the
copy, and of long frames most of the memory's work; what a file that shrinks meanwhile does to it is told in
`_mapping.pyx`. What is no regular file opened by name, or grows while it is followed, is read.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from tcpsight.errors import CaptureError

if TYPE_CHECKING:
    from tcpsight.capture._mapping import Mapping
    from tcpsight.capture.reader import ByteSource, ReadOptions
    from tcpsight.capture.source import RawSource


def window_of(source: ByteSource, options: ReadOptions, least: int) -> Window | MappedWindow:
    """Look at a file in the way that was asked for, if it can be mapped; at `least` bytes, where it has them."""
    stored = getattr(source, "stored", None) if options.mapped_bytes else None
    if stored is not None:
        with suppress(OSError):
            return MappedWindow(stored, stored.map(max(options.mapped_bytes, least)))
    return Window(source, max(options.buffer_bytes, least))


class Window:
    """A view of what was read into a buffer.

    What is left of one read is moved to the front before the next.

    Attributes
    ----------
    data : bytearray
        The buffer; another one after a frame larger than it.
    start, end : int
        The part that is unconsumed; its owner moves `start`.
    """

    __slots__ = ("_base", "_source", "_view", "data", "end", "start")

    def __init__(self, source: ByteSource, buffer_bytes: int) -> None:
        self._source = source
        self._base = 0
        self.data = bytearray(buffer_bytes)
        self._view = memoryview(self.data)
        self.start = 0
        self.end = 0

    @property
    def offset(self) -> int:
        """Where in the (decompressed) file `start` is."""
        return self._base + self.start

    @property
    def origin(self) -> int:
        """Where in the (decompressed) file `data` begins."""
        return self._base

    @property
    def size(self) -> int:
        """How many bytes are unconsumed."""
        return self.end - self.start

    def bytes_at(self, begin: int, length: int) -> bytes:
        """Copy some bytes of `data`."""
        return bytes(self._view[begin : begin + length])

    def fill(self, need: int) -> bool:
        """Read until `need` unconsumed bytes are there; tell whether they are.

        Reads no more than once if that is enough, so nothing that has arrived waits for what has not.
        """
        if self.start == self.end or len(self.data) - self.start < need or self.start > len(self.data) // 2:
            self._move(need)
        while self.end - self.start < need:
            count = self._source.readinto(self._view[self.end :])
            if count == 0:
                return False
            self.end += count
        return True

    def _move(self, need: int) -> None:
        """Move the unconsumed bytes to the front, of a larger buffer if `need` asks for one."""
        left = self.end - self.start
        previous = self._view
        if need > len(self.data):
            self.data = bytearray(max(need, 2 * len(self.data)))
            self._view = memoryview(self.data)
        self._view[:left] = previous[self.start : self.end]
        self._base += self.start
        self.start, self.end = 0, left


class MappedWindow:
    """A view of a part of a file that is mapped; see `Window`.

    A part begins where the system likes it to: at the last such place before what is unconsumed.

    Parameters
    ----------
    stored : RawSource
        The file.
    mapping : Mapping
        Its first part.

    Attributes
    ----------
    data : Mapping
        The part; of more room after a frame longer than that.
    """

    __slots__ = ("_alignment", "_stored", "data", "end", "start")

    def __init__(self, stored: RawSource, mapping: Mapping) -> None:
        from tcpsight.capture._mapping import ALIGNMENT_BYTES

        self._stored = stored
        self._alignment = ALIGNMENT_BYTES
        self.data = mapping
        self.start = 0
        self.end = 0

    @property
    def offset(self) -> int:
        """Where in the file `start` is."""
        return self.data.offset + self.start

    @property
    def origin(self) -> int:
        """Where in the file `data` begins."""
        return self.data.offset

    @property
    def size(self) -> int:
        """How many bytes are unconsumed."""
        return self.end - self.start

    def bytes_at(self, begin: int, length: int) -> bytes:
        """Copy some bytes of `data`."""
        with memoryview(self.data) as view:
            return bytes(view[begin : begin + length])

    def fill(self, need: int) -> bool:
        """Map the part that begins with what is unconsumed; tell whether `need` bytes of it are there.

        Raises
        ------
        CaptureError
            The system refuses.
        """
        at, mapping = self.offset, self.data
        try:
            size = mapping.size
            if size <= self.origin + self.end:
                return self.size >= need  # this is as far as the file goes
            begin = at - at % self._alignment
            if need + self._alignment > len(mapping):
                mapping = self.data = self._stored.map(2 * need)
            mapping.move(begin, min(len(mapping), size - begin))
        except OSError as error:
            raise CaptureError(self._stored.path, at, f"cannot be mapped: {error.strerror}") from error
        self.start, self.end = at - begin, mapping.length
        self._stored.bytes_read = begin + mapping.length
        return self.end - self.start >= need
