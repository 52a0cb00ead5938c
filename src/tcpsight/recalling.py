"""Keeps the last minutes of what is watched, so that what was found can be saved with its packets.

Theory of operation
-------------------
Frames go through as they come; on the way the headers of each are copied, with a pcapng record in front, into chunks of
about a second, which are compressed and kept in memory until they are too old, or there are too many bytes of them.
A file is made only when something is to be saved: the descriptions of the interfaces, then the chunks of the time that
is asked for, compressed as they are. It is written by a thread, one file at a time, because frames do not wait for a
slow disk; what is found meanwhile is saved together in the next file.

What it cannot see: payload, of which nothing is kept; and whatever came before the oldest chunk that is still there.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

import tcpsight
from tcpsight.decode import extents_of
from tcpsight.errors import TcpsightError, UsageError
from tcpsight.output.destination import Destination
from tcpsight.output.pcapng import DescribedInterface, PcapngEncoder
from tcpsight.output.units import instant
from tcpsight.tables import FINDINGS, Findings

if TYPE_CHECKING:
    from tcpsight.capture import CaptureInterface
    from tcpsight.tables import Frames

CHUNK_NS = 1_000_000_000
CHUNK_BYTES = 1 << 20
"""A chunk is closed when it is as long as this."""

MARGIN_NS = 10_000_000_000
"""So much is saved from before a finding began."""

MOST_FILES = 100
MOST_TIMES_MEMORY = 16
"""So many files are saved, and so many times as much of them as may be kept in memory; then it is said that there is no
more room."""

SUFFIX = ".pcapng.zst"

ASKED = "asked"
"""What a file is called that was asked for."""

PATIENCE_S = 10.0
"""How long the end waits for what is still being written."""

SNAPLEN = 262_144


class Described(Protocol):
    """A capture that tells its interfaces."""

    @property
    def interfaces(self) -> list[CaptureInterface]:
        """Those met so far."""

    def __iter__(self) -> Iterator[Frames]: ...


class Chunk(NamedTuple):
    """Frames of a second or so, in the order in which they came, as compressed records of pcapng."""

    first_ns: int
    last_ns: int
    compressed: bytes


class Recall:
    """Frames on their way, of which the last minutes are kept; iterate it once.

    Parameters
    ----------
    capture : iterable of Frames
        Where they come from; `interfaces` describes its interfaces.
    keep_ns : int
        For how long frames are kept.
    most_bytes : int
        How much memory they may take, compressed.

    Attributes
    ----------
    held_bytes, most_bytes : int
        How much they take, and may take.
    last_ns, gone_ns : int
        The latest time of a frame, and of one that is not kept any more; 0 where there is none.
    """

    def __init__(self, capture: Described, *, keep_ns: int, most_bytes: int) -> None:
        import zstandard

        self.held_bytes = 0
        self.most_bytes = most_bytes
        self._capture = capture
        self._keep_ns = keep_ns
        self._encoder = PcapngEncoder([], "")
        self._compressor: Any = zstandard.ZstdCompressor(level=1)
        self._chunks: deque[Chunk] = deque()
        self._open = bytearray()
        self.last_ns = self.gone_ns = 0
        self._first_ns = self._last_ns = 0

    def __iter__(self) -> Iterator[Frames]:
        for frames in self._capture:
            if len(frames):
                self._keep(frames)
            yield frames

    def kept(self, since_ns: int, until_ns: int) -> list[Chunk]:
        """Give what is kept of a time, in chunks of a second or so."""
        self._close()
        return [each for each in self._chunks if each.last_ns >= since_ns and each.first_ns <= until_ns]

    def beginning(self) -> bytes:
        """Give the beginning of a compressed pcapng file that chunks make whole."""
        described = [DescribedInterface(each.name, each.link_type, SNAPLEN) for each in self._capture.interfaces]
        compressed: bytes = self._compressor.compress(
            PcapngEncoder(described, f"tcpsight {tcpsight.__version__}").begin()
        )
        return compressed

    def _keep(self, frames: Frames) -> None:
        if not self._open:
            self._first_ns = self._last_ns = int(frames.time_ns[0])
        kept = np.minimum(extents_of(frames).header_bytes, frames.captured_bytes).astype(np.uint32)
        self._open += self._encoder.frames(frames, kept)
        self._first_ns = min(self._first_ns, int(frames.time_ns.min()))
        self._last_ns = max(self._last_ns, int(frames.time_ns.max()))
        self.last_ns = self._last_ns
        if len(self._open) >= CHUNK_BYTES or self._last_ns - self._first_ns >= CHUNK_NS:
            self._close()

    def _close(self) -> None:
        """Close the open chunk, and let go of what is too old or too much."""
        chunks = self._chunks
        if self._open:
            chunks.append(Chunk(self._first_ns, self._last_ns, self._compressor.compress(self._open)))
            self.held_bytes += len(chunks[-1].compressed)
            self._open = bytearray()
        while chunks and (self.held_bytes > self.most_bytes or chunks[0].last_ns < self._last_ns - self._keep_ns):
            gone = chunks.popleft()
            self.held_bytes -= len(gone.compressed)
            self.gone_ns = max(self.gone_ns, gone.last_ns)


@dataclass
class _Wanted:
    """What is to be saved next: what for, since when, and all that was kept of it when that was asked for."""

    name: str
    since_ns: int
    chunks: dict[int, Chunk]
    more: int = 0

    @property
    def what(self) -> str:
        """Name it in words."""
        return f"{self.name} and {self.more} more" if self.more else self.name

    @property
    def size(self) -> int:
        """How many bytes it is, compressed."""
        return sum(len(chunk.compressed) for chunk in self.chunks.values())


class FindingFiles:
    """Save findings with their packets, in one file those that were found together.

    Parameters
    ----------
    recall : Recall
        What is kept.
    folder : path
        Where files go; made if it is not there.

    Raises
    ------
    UsageError
        The folder cannot be made or written.
    """

    def __init__(self, recall: Recall, folder: str | Path) -> None:
        self._recall = recall
        self._folder = Path(folder)
        self._number = self._files = self._bytes = 0
        self._wanted: _Wanted | None = None
        self._writing: threading.Thread | None = None
        self._lines: SimpleQueue[str] = SimpleQueue()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--record {folder}: {error.strerror or error}") from error

    def save(self, findings: Findings, until_ns: int) -> None:
        """Save what was found, but what is merely worth knowing.

        Parameters
        ----------
        findings : Findings
            What was found.
        until_ns : int
            To where frames are saved; what was kept ends before, if this is later.
        """
        for row in findings.rows[findings.severity > 0]:
            self.save_as(FINDINGS[row["kind"]], int(row["start_ns"]) - MARGIN_NS, until_ns)

    def save_as(self, name: str, since_ns: int, until_ns: int) -> None:
        """Save a stretch of time under a name, with what else is to be saved."""
        chunks = {id(chunk): chunk for chunk in self._recall.kept(since_ns, until_ns)}
        wanted = self._wanted
        if wanted is None:
            self._wanted = _Wanted(name, since_ns, chunks)
            return
        wanted.since_ns = min(wanted.since_ns, since_ns)
        wanted.more += 1
        if name == ASKED:
            wanted.name = name  # who asked for it looks for that
        # No more than may be kept is kept for a disk that does not take it.
        if wanted.size + sum(len(chunks[key].compressed) for key in chunks.keys() - wanted.chunks.keys()) <= (
            self._recall.most_bytes
        ):
            wanted.chunks |= chunks

    def look(self) -> list[str]:
        """Begin to write what is to be saved, if nothing else is being written; give a line about each file so far."""
        if self._writing is not None and not self._writing.is_alive():
            self._writing.join()
            self._writing = None
        if self._writing is None and self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            self._begin(wanted)
        lines: list[str] = []
        with suppress(Empty):
            while True:
                lines.append(self._lines.get_nowait())
        return lines

    def finish(self) -> list[str]:
        """Write all that is still to be saved; give a line about each file. A disk that hangs is not waited for."""
        lines: list[str] = []
        until = time.monotonic() + PATIENCE_S
        while self._writing is not None or self._wanted is not None:
            if self._writing is not None:
                self._writing.join(max(until - time.monotonic(), 0))
                if self._writing.is_alive():
                    return [*lines, f"what was found is not saved: {self._folder} took nothing for {PATIENCE_S:.0f} s"]
            lines += self.look()
        return lines + self.look()

    def _begin(self, wanted: _Wanted) -> None:
        most = MOST_TIMES_MEMORY * self._recall.most_bytes
        beginning = self._recall.beginning()
        if not wanted.chunks:
            self._lines.put(f"{wanted.what}: nothing of it is kept any more")
        elif self._files >= MOST_FILES:
            self._lines.put(f"{wanted.what} is not saved: {MOST_FILES} files were, which is all the room there is")
        elif self._bytes + len(beginning) + wanted.size > most:
            self._lines.put(f"{wanted.what} is not saved: {self._bytes:,} bytes were, which is all the room there is")
        else:
            when = instant(self._recall.last_ns, digits=0).replace("-", "").replace(":", "")
            self._writing = threading.Thread(target=self._write, args=(wanted, when, beginning), daemon=True)
            self._writing.start()

    def _write(self, wanted: _Wanted, when: str, beginning: bytes) -> None:
        chunks = sorted(wanted.chunks.values(), key=lambda chunk: chunk.first_ns)
        late = ""
        if self._recall.gone_ns >= wanted.since_ns and chunks[0].first_ns > wanted.since_ns:
            late = f", from {instant(chunks[0].first_ns, digits=0)} on: what came before is not kept any more"
        try:
            path = self._reserved(f"{when}-", f"-{wanted.name}{SUFFIX}")
            try:
                destination = Destination(path)
                for part in (beginning, *(chunk.compressed for chunk in chunks)):
                    destination.write(part)
                destination.close()
            except TcpsightError:
                with suppress(OSError):
                    path.unlink()
                raise
        except (OSError, TcpsightError) as error:
            self._lines.put(f"{wanted.what} is not saved: {error}")
            return
        self._files += 1
        self._bytes += len(beginning) + wanted.size
        self._lines.put(f"{wanted.what} is saved with its packets in {path}{late}")

    def _reserved(self, before: str, after: str) -> Path:
        """Make an empty file with a number that none has, not even one of another watch."""
        while True:
            path = self._folder / f"{before}{self._number:03}{after}"
            self._number += 1
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666))
                return path
