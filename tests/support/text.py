"""Reads text or binary captures from memory, down to the TCP headers in them, for tests that compare."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np

from tcpsight.capture.formats import open_reader
from tcpsight.capture.reader import CaptureFile, ReadOptions
from tcpsight.capture.text import TextReader
from tcpsight.decode import Decoding
from tcpsight.errors import CaptureError
from tcpsight.tables import REASONS, Frames, Headers, UnseenCounter


class Memory:
    """Bytes as a source that gives at most `step` of them at a time."""

    def __init__(self, data: bytes, step: int = 1 << 20) -> None:
        self.path = "capture.txt"
        self._stream = io.BytesIO(data)
        self._step = step

    def readinto(self, view: memoryview) -> int:
        return self._stream.readinto(view[: self._step])


class Reading(NamedTuple):
    """What came out of a capture."""

    frames: Frames
    headers: Headers
    unseen: dict[str, int]
    file: CaptureFile
    error: CaptureError | None

    def frame_bytes(self, index: int) -> bytes:
        row = self.frames.rows[index]
        return bytes(self.frames.data[row["position"] : row["position"] + row["captured_bytes"]])


def counts_of(counter: UnseenCounter) -> dict[str, int]:
    return {reason: int(count) for reason, count in zip(REASONS, counter.counts[:, 0], strict=True) if count}


def read(
    data: bytes,
    *,
    is_text: bool = True,
    step: int = 1 << 20,
    batch_frames: int = 512,
    zone: str = "UTC",
    may_break: bool = False,
) -> Reading:
    """Read a capture to the end; `unseen` is what reading and decoding together did not understand.

    Where it breaks off the error is raised, or with `may_break` given.
    """
    options = ReadOptions(batch_frames=batch_frames, buffer_bytes=max(step, 64), input_timezone=zone)
    file = CaptureFile(0, "capture.txt")
    source = Memory(data, step)
    reader = TextReader(source, file, options) if is_text else open_reader(source, file, options)
    decoding = Decoding()
    frames, headers, content = [], [], b""
    error = None
    while True:
        try:
            batch = reader.read()
        except CaptureError as failure:
            if not may_break:
                raise
            error, batch = failure, None
        if batch is None:
            break
        headers.append(decoding.feed(batch).copy())
        kept = batch.copy()
        kept.rows["position"] += len(content)
        content += bytes(batch.data)
        frames.append(kept)
    rows = np.concatenate([f.rows for f in frames]) if frames else None
    counter = UnseenCounter()
    counter.merge(file.unseen)
    counter.merge(decoding.unseen)
    return Reading(Frames(rows, data=content), Headers.concatenate(headers), counts_of(counter), file, error)


def read_lines(*lines: str, zone: str = "UTC") -> Reading:
    """Read lines of text."""
    return read("".join(line + "\n" for line in lines).encode(), zone=zone)
