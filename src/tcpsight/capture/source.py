"""Opens what the user named and gives its bytes: a path, standard input, a remote file, an open file."""

from __future__ import annotations

import errno
import io
import os
import select
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from tcpsight.capture.remote import is_remote, open_remote
from tcpsight.errors import CaptureError

if TYPE_CHECKING:
    from tcpsight.capture._mapping import Mapping
    from tcpsight.capture.reader import ByteSource

    Source = str | os.PathLike[str] | BinaryIO

STORED = "the file"
"""What offsets of the file as it is stored count in; other offsets are those of its content, decompressed."""


class RawSource:
    """The bytes of a file, a pipe or an open stream, as they are stored.

    Attributes
    ----------
    path : str
        As the user named it.
    bytes_read : int
        How many bytes were given.
    bytes_total : int or None
        How many there are; None for a pipe.
    identity : tuple of int or None
        Device and inode of a regular file.
    mapping : Mapping or None
        What part of it is mapped, if it is not read.
    """

    __slots__ = ("_early", "_is_ours", "_stream", "bytes_read", "bytes_total", "identity", "mapping", "path")

    def __init__(self, path: str, stream: BinaryIO | io.RawIOBase, *, is_ours: bool) -> None:
        self.path = path
        self._stream = stream
        self._early = b""
        self._is_ours = is_ours
        self.bytes_read = 0
        self.bytes_total: int | None = None
        self.identity: tuple[int, int] | None = None
        self.mapping: Mapping | None = None
        self._look_up()

    def _look_up(self) -> None:
        """Learn the size and identity of a regular file."""
        try:
            status = os.fstat(self._stream.fileno())
            if stat.S_ISREG(status.st_mode):
                self.identity = (status.st_dev, status.st_ino)
                self.bytes_total = max(status.st_size - self._stream.tell(), 0)
        except (OSError, AttributeError, ValueError):
            pass  # a stream that is no file: its size is not known

    @property
    def stored(self) -> RawSource | None:
        """The file itself, if it is a regular file that was opened by name."""
        return self if self._is_ours and self.identity is not None else None

    def map(self, room: int) -> Mapping:
        """Map the file's first part, with room for so many bytes wherever a part begins.

        Raises
        ------
        OSError
            The system maps no such file, or it is one of no size that the system makes up while it is read.
        """
        from tcpsight.capture._mapping import ALIGNMENT_BYTES, Mapping

        # A part begins up to one alignment before what is asked for.
        mapping = Mapping(self._stream.fileno(), room + -room % ALIGNMENT_BYTES + ALIGNMENT_BYTES)
        mapping.move(0, min(len(mapping), mapping.size))
        if not mapping.length:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        self.mapping = mapping
        return mapping

    @property
    def is_torn(self) -> bool:
        """Whether the part that is mapped is not whole any more."""
        return self.mapping is not None and self.mapping.sound_bytes() < self.mapping.length

    def torn(self, frames: int) -> CaptureError:
        """Tell why the part that is mapped is not whole any more, which is found out after so many frames."""
        assert self.mapping is not None
        offset = self.mapping.offset + self.mapping.sound_bytes()
        reason = f"the file was cut while it was read, after frame {frames}; the capture was cut short"
        try:
            os.pread(self._stream.fileno(), 1, offset)
        except OSError as error:
            reason = f"cannot be read: {error.strerror}"
        return CaptureError(self.path, offset, reason, STORED)

    def readinto(self, view: memoryview) -> int:
        """Fill the beginning of `view` with what is there; give how many bytes, 0 only at the end."""
        try:
            count = self._read_once(view)
            while count is None:  # a descriptor that somebody made non-blocking
                select.select([self._stream], [], [])
                count = self._read_once(view)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise CaptureError(self.path, self.bytes_read, f"cannot be read: {reason}", STORED) from error
        self.bytes_read += count
        return count

    def _read_once(self, view: memoryview) -> int | None:
        if isinstance(self._stream, io.BufferedReader):
            # Asked for more than it holds, it may wait. So take what it holds, and pass it by from now on.
            self._early = self._stream.read(len(self._stream.peek()))
            self._stream = self._stream.raw
        if self._early:
            count = min(len(view), len(self._early))
            view[:count] = self._early[:count]
            self._early = self._early[count:]
            return count
        # `readinto1` gives what has arrived; another buffered stream's `readinto` would fill the view.
        read = getattr(self._stream, "readinto1", None) or getattr(self._stream, "readinto", None)
        if read is not None:
            given: int | None = read(view)
            return given
        data = self._stream.read(len(view))
        if data:
            view[: len(data)] = data
        return None if data is None else len(data)

    def change(self) -> str:
        """Tell what became of a file that was opened by name: ``truncated``, ``replaced`` under it, or nothing.

        What somebody else opened cannot be opened again, so nothing becomes of it.
        """
        if not self._is_ours:
            return ""
        try:
            if os.fstat(self._stream.fileno()).st_size < self._stream.tell():
                return "truncated"
            named = os.stat(self.path)  # noqa: PTH116 - beside fstat
        except OSError:
            return ""  # the name means nothing at present
        return "replaced" if (named.st_dev, named.st_ino) != self.identity else ""

    def close(self) -> None:
        """Close the file if this opened it."""
        if self._is_ours:
            self._stream.close()


class PeekableSource:
    """A source whose first bytes can be looked at before they are read.

    Attributes
    ----------
    failure : CaptureError or None
        What stopped `peek`; it is raised when the bytes in front of it have been read.
    """

    __slots__ = ("_prefix", "_source", "failure", "path")

    def __init__(self, source: ByteSource) -> None:
        self.path = source.path
        self._source = source
        self._prefix = bytearray()
        self.failure: CaptureError | None = None

    def peek(self, need: int, most: int = 0) -> bytes:
        """Give all bytes looked at so far: at least `need` unless the file or its sound part is shorter.

        Where more than `need` has arrived, up to `most` bytes.
        """
        most = max(need, most)
        while len(self._prefix) < need and self.failure is None:
            chunk = bytearray(most - len(self._prefix))
            try:
                count = self._source.readinto(memoryview(chunk))
            except CaptureError as failure:
                # Not before the bytes in front of it were read.
                self.failure = failure
                break
            if count == 0:
                break
            self._prefix += chunk[:count]
        return bytes(self._prefix)

    @property
    def stored(self) -> RawSource | None:
        """The file, if these are its bytes as they are stored, and were read to no end so far."""
        source = self._source
        return source.stored if isinstance(source, RawSource) and self.failure is None else None

    def readinto(self, view: memoryview) -> int:
        """Fill the beginning of `view`; give how many bytes, 0 only at the end."""
        if self._prefix:
            count = min(len(view), len(self._prefix))
            view[:count] = self._prefix[:count]
            del self._prefix[:count]
            return count
        if self.failure is not None:
            raise self.failure
        return self._source.readinto(view)


def name_of(source: Source) -> str:
    """Give the name by which errors call a source."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    name = getattr(source, "name", None)
    return name if isinstance(name, str) else "<stream>"


def is_reopenable(source: Source) -> bool:
    """Tell whether a source is a regular or a remote file by name, which can be read again from the start."""
    if not isinstance(source, str | os.PathLike) or os.fspath(source) == "-":
        return False
    if is_remote(source):
        return True
    try:
        return Path(source).is_file()
    except (OSError, ValueError):
        return False


def open_source(source: Source, stdin: BinaryIO | None = None) -> RawSource:
    """Open a path, ``-`` or a stream.

    Raises
    ------
    CaptureError
        It does not exist, may not be read, or is a directory.
    """
    path = name_of(source)
    if not isinstance(source, str | os.PathLike):
        return RawSource(path, source, is_ours=False)
    if path == "-":
        if stdin is None and sys.stdin is None:
            raise CaptureError(path, -1, "standard input is closed")
        return RawSource(path, stdin if stdin is not None else sys.stdin.buffer, is_ours=False)
    if is_remote(path):
        stream, size = open_remote(path)
        remote = RawSource(path, stream, is_ours=True)
        remote.bytes_total = size
        return remote
    try:
        if Path(path).is_dir():
            raise CaptureError(path, -1, "is a directory, not a capture file")
        return RawSource(path, io.FileIO(path), is_ours=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise CaptureError(path, -1, f"cannot be opened: {reason}") from error
