"""The reused buffer through which a file is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcpsight.capture.reader import ByteSource


class Window:
    """A sliding view of a file: bytes ``data[start:end]`` have arrived and are not consumed yet.

    The file is read, not mapped, so that a file that shrinks while it is read gives an error and no signal.
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
