"""Keeps the last minutes of what is watched, so that what was found can be saved with its packets.

Theory of operation
-------------------
Frames go through as they come; on the way the headers of each are copied, with a pcapng record in front, into chunks of
about a second, which are compressed and kept in memory until they are too old, or there are too many bytes of them.
A file is made only when something is to be saved: the descriptions of the interfaces, then the chunks of the time that
is asked for.

What it cannot see: payload, of which nothing is kept; and whatever came before the oldest chunk that is still there.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path
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
"""So many findings are saved; then it is said that there is no more room."""

SNAPLEN = 262_144


class Described(Protocol):
    """A capture that tells its interfaces."""

    @property
    def interfaces(self) -> list[CaptureInterface]:
        """Those met so far."""

    def __iter__(self) -> Iterator[Frames]: ...


class _Chunk(NamedTuple):
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
    held_bytes : int
        How much they take.
    last_ns : int
        The latest time of a frame.
    """

    def __init__(self, capture: Described, *, keep_ns: int, most_bytes: int) -> None:
        import zstandard

        self.held_bytes = 0
        self._capture = capture
        self._keep_ns = keep_ns
        self._most_bytes = most_bytes
        self._encoder = PcapngEncoder([], "")
        self._compressor: Any = zstandard.ZstdCompressor(level=1)
        self._decompressor: Any = zstandard.ZstdDecompressor()
        self._chunks: deque[_Chunk] = deque()
        self._open = bytearray()
        self.last_ns = 0
        self._first_ns = self._last_ns = 0

    def __iter__(self) -> Iterator[Frames]:
        for frames in self._capture:
            if len(frames):
                self._keep(frames)
            yield frames

    def save(self, path: Path, since_ns: int, until_ns: int) -> int:
        """Write the frames of a time to a file; give how many chunks there were.

        Raises
        ------
        TcpsightError
            It cannot be written.
        """
        self._close()
        described = [DescribedInterface(each.name, each.link_type, SNAPLEN) for each in self._capture.interfaces]
        wanted = [each for each in self._chunks if each.last_ns >= since_ns and each.first_ns <= until_ns]
        destination = Destination(path)
        destination.write(PcapngEncoder(described, f"tcpsight {tcpsight.__version__}").begin())
        for chunk in wanted:
            destination.write(self._decompressor.decompress(chunk.compressed))
        destination.close()
        return len(wanted)

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
            chunks.append(_Chunk(self._first_ns, self._last_ns, self._compressor.compress(self._open)))
            self.held_bytes += len(chunks[-1].compressed)
            self._open = bytearray()
        while chunks and (self.held_bytes > self._most_bytes or chunks[0].last_ns < self._last_ns - self._keep_ns):
            self.held_bytes -= len(chunks.popleft().compressed)


class FindingFiles:
    """Save findings with their packets, a file each.

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
        self._count = 0
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--record {folder}: {error.strerror or error}") from error

    def save(self, findings: Findings, until_ns: int) -> list[str]:
        """Save what was found, but what is merely worth knowing; give a line about each for people.

        Parameters
        ----------
        findings : Findings
            What was found.
        until_ns : int
            To where frames are saved; what was kept ends before, if this is later.
        """
        lines = []
        for row in findings.rows[findings.severity > 0]:
            lines.append(self.save_as(FINDINGS[row["kind"]], int(row["start_ns"]) - MARGIN_NS, until_ns))
        return lines

    def save_as(self, name: str, since_ns: int, until_ns: int) -> str:
        """Save a stretch of time under a name; give a line about it."""
        if self._count >= MOST_FILES:
            return f"{name} is not saved: {MOST_FILES} files were, which is all the room there is"
        when = instant(self._recall.last_ns, digits=0).replace("-", "").replace(":", "")
        path = self._folder / f"{when}-{self._count:03}-{name}.pcapng"
        try:
            chunks = self._recall.save(path, since_ns, until_ns)
        except TcpsightError as error:
            return f"{name} is not saved: {error}"
        self._count += 1
        return f"{name} is saved with its packets in {path}" if chunks else f"{name}: nothing of it is kept any more"
