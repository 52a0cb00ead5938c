"""Where an output goes: a file that appears whole or not at all, or a device, FIFO or standard output written straight.

Theory of operation
-------------------
A path that is absent or a regular file is written under a temporary name in the same directory and renamed when all is
written, so that a reader sees the old file or the new one, never half of one; on failure the temporary file is removed.
A symbolic link stays, and what it points to is replaced. Everything else that can be opened (``/dev/null``, a FIFO, a
terminal) is written as it comes. A full disk and its like become a `TcpsightError` that names the file. A closed pipe
raises `BrokenPipeError` unchanged: the reader has seen enough, and whoever runs the command ends it quietly.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from tcpsight.errors import TcpsightError

# Larger buffers gain nothing: writers hand over whole pages and blocks.
_BUFFER_BYTES = 1 << 18

# Opening these again would start at the beginning of a redirected file and cut it.
_OPEN_DESCRIPTOR = re.compile(r"/dev/(?:(?P<name>stdin|stdout|stderr)|fd/(?P<fd>\d+))|/proc/self/fd/(?P<proc>\d+)")


class Destination:
    """An open output.

    Parameters
    ----------
    where : str, os.PathLike or binary file object
        A path; ``-`` for standard output; or an open file, which is flushed and stays open.

    Attributes
    ----------
    name : str
        What messages call it.

    Raises
    ------
    TcpsightError
        If it cannot be opened.
    """

    def __init__(self, where: str | os.PathLike[str] | BinaryIO) -> None:
        self._temporary: Path | None = None
        self._target = Path()
        self._owns_file = True
        self._position = 0
        self._is_open = True
        if isinstance(where, str | os.PathLike):
            self.name = os.fspath(where)
            self._file = self._guard(self._open)
        else:
            self.name = str(getattr(where, "name", "output"))
            self._file, self._owns_file = where, False

    def _open(self) -> BinaryIO:
        if self.name == "-":
            self.name, self._owns_file = "standard output", False
            return sys.stdout.buffer
        descriptor = _OPEN_DESCRIPTOR.fullmatch(self.name)
        if descriptor:
            number = descriptor["fd"] or descriptor["proc"] or ("stdin", "stdout", "stderr").index(descriptor["name"])
            return os.fdopen(os.dup(int(number)), "wb", _BUFFER_BYTES)
        try:
            status = Path(self.name).stat()
        except FileNotFoundError:
            return self._open_temporary(None)
        if stat.S_ISREG(status.st_mode):
            return self._open_temporary(stat.S_IMODE(status.st_mode))
        return Path(self.name).open("wb", _BUFFER_BYTES)

    def _open_temporary(self, mode: int | None) -> BinaryIO:
        """Open a new file beside the target; `mode` is the old file's, None for what the umask gives."""
        self._target = Path(os.path.realpath(self.name))
        temporary = self._target.with_name(f".tcpsight-{os.urandom(6).hex()}.tmp")
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        self._temporary = temporary
        if mode is not None:
            with suppress(OSError):
                os.fchmod(fd, mode & 0o777)
        return os.fdopen(fd, "wb", _BUFFER_BYTES)

    @property
    def closed(self) -> bool:
        """Whether it has been committed or given up."""
        return not self._is_open

    def tell(self) -> int:
        """Give the number of bytes written."""
        return self._position

    def writable(self) -> bool:
        """Tell that it can be written."""
        return True

    def readable(self) -> bool:
        """Tell that it cannot be read."""
        return False

    def seekable(self) -> bool:
        """Tell that writing is strictly forward."""
        return False

    def write(self, data: Any) -> int:
        """Write bytes; after `abort` they are dropped."""
        size = memoryview(data).nbytes
        if self._is_open:
            self._guard(lambda: self._file.write(data))
            self._position += size
        return size

    def flush(self) -> None:
        """Pass on what is buffered."""
        if self._is_open:
            self._guard(self._file.flush)

    def close(self) -> None:
        """Finish: flush, and rename the temporary file to its target."""
        if not self._is_open:
            return
        self._guard(self._finish)
        self._is_open = False

    def _finish(self) -> None:
        self._file.flush()
        if self._owns_file:
            self._file.close()
        if self._temporary is not None:
            self._temporary.replace(self._target)
            self._temporary = None

    def abort(self) -> None:
        """Give up: remove the temporary file; what went to a device or pipe has gone."""
        self._is_open = False
        if self._owns_file and hasattr(self, "_file"):
            with suppress(OSError):
                self._file.close()
        if self._temporary is not None:
            with suppress(OSError):
                self._temporary.unlink()
            self._temporary = None

    def _guard(self, act: Any) -> Any:
        """Do it; if the system refuses, clean up and say what happened to which file."""
        try:
            return act()
        except BrokenPipeError:
            self.abort()
            raise
        except OSError as error:
            self.abort()
            raise TcpsightError(f"{self.name}: {error.strerror or error}") from error
