"""Reads captures to the end, for tests: every row as plain Python values, and the error if one came."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

from tcpsight.capture import Capture, open_capture
from tcpsight.errors import CaptureError


class Row(NamedTuple):
    """One frame as the capture room gave it."""

    frame_number: int
    time_ns: int
    frame_in_file: int
    wire_bytes: int
    interface_id: int
    link_type: int
    file: int
    data: bytes


class Outcome(NamedTuple):
    rows: list[Row]
    error: CaptureError | None
    capture: Capture | None


class Trickle(io.RawIOBase):
    """A pipe that gives so many bytes at a time, again and again through `sizes`."""

    def __init__(self, content: bytes, sizes: Sequence[int] = (1,)) -> None:
        super().__init__()
        self._content = memoryview(content)
        self._sizes = list(sizes)
        self._reads = 0

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        size = self._sizes[self._reads % len(self._sizes)]
        self._reads += 1
        chunk = self._content[: min(size, len(view))]
        view[: len(chunk)] = chunk
        self._content = self._content[len(chunk) :]
        return len(chunk)


def read_capture(*sources: Any, **options: Any) -> Outcome:
    """Read paths, streams or bytes to the end."""
    opened = [io.BytesIO(source) if isinstance(source, bytes) else source for source in sources]
    rows: list[Row] = []
    try:
        capture = open_capture(opened, **options)
    except CaptureError as error:
        return Outcome(rows, error, None)
    try:
        for batch in capture:
            for row in batch.rows.tolist():
                number, time_ns, position, in_file, captured, wire, interface, link_type, file = row
                data = bytes(memoryview(batch.data)[position : position + captured])
                rows.append(Row(number, time_ns, in_file, wire, interface, link_type, file, data))
    except CaptureError as error:
        return Outcome(rows, error, capture)
    finally:
        capture.close()
    return Outcome(rows, None, capture)
