"""The index of a capture's streams, kept on disk between two looks at the same file.

Theory of operation
-------------------
Beside what it says of the capture, an index file holds the rows of three tables as they lie in memory, each from a page
of its own, so that a later look maps them instead of reading the capture. It is found by a hash of the capture's real
path and of everything that was asked (filter, services, time-outs, layout of rows), and it holds only while size,
inode and time of the last change of the capture are what they were, and while its own checksums are right. Files appear
whole or not at all, for their owner only, in the user's cache; the oldest go when there are more than `MOST_FILES` or
`MOST_BYTES`.

What it cannot see: a capture that was changed without changing its size, its inode or that time.
"""

from __future__ import annotations

import json
import os
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tcpsight.errors import TcpsightError
from tcpsight.output.destination import Destination
from tcpsight.payload import Lacking
from tcpsight.tables import Connections, Pieces, Streams, Table

if TYPE_CHECKING:
    from tcpsight.passes import Passes

MAGIC = b"tcpsight streams index 2\n"
HEADER_BYTES = 1 << 16
PAGE = 4096
MOST_FILES = 64
MOST_BYTES = 8 << 30
LEAST_CAPTURE_BYTES = 64 << 20
"""Smaller captures are read again sooner than anybody waits."""

TABLES: tuple[type[Table], ...] = (Pieces, Streams, Connections)

Rows = np.ndarray[Any, Any]


class Kept(NamedTuple):
    """What an index holds.

    Attributes
    ----------
    pieces, ends, connections : ndarray
        Rows of `Pieces`, `Streams` and `Connections`.
    lacking : Lacking
        Payload of segments that were seen, and that is not there.
    """

    pieces: Rows
    ends: Rows
    connections: Rows
    lacking: Lacking


class SavedIndex:
    """Where the index of a capture is kept.

    Parameters
    ----------
    passes : Passes
        The capture, of one file that is named.
    folder : path, optional
        Where index files are; in the user's cache by default.

    Attributes
    ----------
    notes : list of str
        What was said of the capture: kept with its index.
    """

    def __init__(self, passes: Passes, folder: Path | None = None) -> None:
        self._capture = Path(os.path.realpath(os.fspath(passes.sources[0])))  # type: ignore[arg-type]
        self._folder = folder or _cache() / "tcpsight" / "streams"
        from hashlib import sha256

        asked = [str(self._capture), passes.asked, [str(table.dtype) for table in TABLES]]
        name = sha256(json.dumps(asked).encode("utf-8", "surrogateescape")).hexdigest()[:32]
        self.path = self._folder / f"{name}.index"
        self._before = self._identity()
        self.notes: list[str] = []

    def _identity(self) -> list[int]:
        try:
            status = self._capture.stat()
        except OSError:
            return []
        return [status.st_size, status.st_mtime_ns, status.st_ino, status.st_dev]

    @property
    def is_worth_it(self) -> bool:
        """Whether the capture is so large that reading it again takes longer than anybody likes."""
        return bool(self._before) and self._before[0] >= LEAST_CAPTURE_BYTES

    def load(self) -> Kept | None:
        """Give what is kept, mapped from disk; None where nothing is, or the capture is another by now."""
        try:
            with self.path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    return None
                header = json.loads(file.read(HEADER_BYTES - len(MAGIC)).rstrip(b"\0"))
                size = os.fstat(file.fileno()).st_size
            if header["capture"] != self._identity() or not self._before:
                return None
            return self._mapped(header, size)
        except (OSError, ValueError, LookupError, TypeError):
            return None

    def _mapped(self, header: dict[str, Any], size: int) -> Kept | None:
        at = HEADER_BYTES
        tables: list[Rows] = []
        for table, count in zip(TABLES, header["rows"], strict=True):
            length = int(count) * table.dtype.itemsize
            if count < 0 or at + length > size:
                return None
            rows = np.memmap(self.path, table.dtype, "r", at, (int(count),)) if count else np.zeros(0, table.dtype)
            if _checksum(rows) != header["checksums"][len(tables)]:
                return None
            tables.append(rows)
            at = _next_page(at + length)
        self.notes = [str(note) for note in header["notes"]]
        return Kept(tables[0], tables[1], tables[2], Lacking(*map(int, header["lacking"])))

    def save(self, kept: Kept) -> None:
        """Keep an index; in silence, nothing where the system refuses or the capture has changed meanwhile."""
        rows = (kept.pieces, kept.ends, kept.connections)
        header = {
            "capture": self._before,
            "rows": [len(each) for each in rows],
            "checksums": [_checksum(each) for each in rows],
            "lacking": kept.lacking,
            "notes": self.notes,
        }
        text = MAGIC + json.dumps(header).encode()
        if not self._before or self._before != self._identity() or len(text) > HEADER_BYTES:
            return
        with suppress(OSError, TcpsightError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(sum(each.nbytes for each in rows))
            destination = Destination(self.path)
            try:
                destination.write(text.ljust(HEADER_BYTES, b"\0"))
                for each in rows:
                    destination.write(np.ascontiguousarray(each).view(np.uint8))
                    destination.write(bytes(-destination.tell() % PAGE))
                destination.close()
            except BaseException:
                destination.abort()
                raise
            self.path.chmod(0o600)

    def _make_room(self, needed: int) -> None:
        """Remove the oldest files where there would be too many, or too large ones."""
        found = [(path, path.stat()) for path in self._folder.glob("*.index")]
        found.sort(key=lambda each: each[1].st_mtime_ns)
        total = needed + sum(status.st_size for _, status in found)
        while found and (len(found) >= MOST_FILES or total > MOST_BYTES):
            path, status = found.pop(0)
            total -= status.st_size
            path.unlink(missing_ok=True)


def _checksum(rows: Rows) -> int:
    return zlib.crc32(np.ascontiguousarray(rows).view(np.uint8).data)


def _next_page(at: int) -> int:
    return at + -at % PAGE


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return Path(home) if home else Path.home() / ".cache"
