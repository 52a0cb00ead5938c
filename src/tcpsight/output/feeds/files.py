"""JSON lines to a file: made if it is not there, added to if it is, and opened anew when it was rotated away."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from tcpsight.errors import TcpsightError
from tcpsight.output.feeds.lines import UpdateLines
from tcpsight.output.feeds.targets import Target
from tcpsight.output.feeds.update import Update

# A FIFO without a reader is refused, and one whose reader sleeps takes no more, instead of holding up the feed.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK


class FileLines:
    """Add lines to a file.

    A line that the system took half of (a full disk) is completed when there is room again, before any other.

    Parameters
    ----------
    target : Target
        Where to.
    with_findings : bool
        Whether findings are told.

    Raises
    ------
    TcpsightError
        If the file cannot be opened. A FIFO may be there before its reader is.
    """

    needs_totals = False

    def __init__(self, target: Target, *, with_findings: bool = False) -> None:
        self.name = target.name
        self._path = target.path
        self._lines = UpdateLines(with_findings=with_findings)
        self._file = -1
        self._identity = (0, 0)
        # What is left of an update that was half written.
        self._rest = b""
        self._halved: Update | None = None
        try:
            self._open()
        except OSError as error:
            if not self._is_fifo():
                raise TcpsightError(f"{self._path}: {error.strerror or error}") from error

    def deliver(self, update: Update) -> None:
        """Write the lines of an update."""
        self._follow()
        if self._rest:
            is_same = self._halved is update
            self._write(self._rest, self._halved)
            if is_same:
                return
        self._write(self._lines.encode(update), update)

    def interrupt(self) -> None:
        """Do nothing: files do not keep one waiting."""

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write(self, data: bytes, update: Update | None) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.write(self._file, data[done:])
        finally:
            # Half of an update is completed later; one that was not begun is not.
            is_halved = done < len(data) and (done > 0 or data is self._rest)
            self._rest, self._halved = (data[done:], update) if is_halved else (b"", None)

    def _follow(self) -> None:
        """Open the file anew where its name leads to another one now, or to none."""
        if self._file >= 0:
            try:
                found = Path(self._path).stat()
            except FileNotFoundError:
                found = None
            if found is not None and (found.st_dev, found.st_ino) == self._identity:
                return
            self.close()
            self._rest, self._halved = b"", None
        self._open()

    def _open(self) -> None:
        self._file = os.open(self._path, _FLAGS, 0o644)
        found = os.fstat(self._file)
        self._identity = (found.st_dev, found.st_ino)

    def _is_fifo(self) -> bool:
        try:
            return stat.S_ISFIFO(Path(self._path).stat().st_mode)
        except OSError:
            return False
