"""What readers of rare formats share: a file header, then records, each looked at in Python.

That costs a few microseconds a frame, which is enough for formats that nobody records today. A format says how
long a record is and which row it makes; reading, waiting, numbering and cuts are here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tcpsight.capture.reader import FRAME_LIMIT, TIME_LIMIT_NS, CaptureInterface
from tcpsight.capture.window import Window
from tcpsight.errors import CaptureError
from tcpsight.tables import Frames

if TYPE_CHECKING:
    from collections.abc import Hashable

    from tcpsight.capture.reader import ByteSource, CaptureFile, ReadOptions

Row = tuple[int, int, int, int, int, int, int, int, int]

RECORD_LIMIT = FRAME_LIMIT + 65_536
"""No record is longer than this."""


class Record(NamedTuple):
    """One frame as its record describes it.

    Attributes
    ----------
    time_ns : int
        Since the Unix epoch, however far away.
    start : int
        Where its bytes begin in the buffer.
    captured_bytes, wire_bytes : int
        How many were captured and how many there were.
    link_type : int
        LINKTYPE_ number.
    interface : hashable
        Tells the interfaces of the file apart.
    """

    time_ns: int
    start: int
    captured_bytes: int
    wire_bytes: int
    link_type: int
    interface: Hashable = 0


class RecordReader:
    """Read a file record by record; a format is a subclass that fills in `_begin`, `_measure` and `_record`.

    See `tcpsight.capture.reader.Reader`.
    """

    name = ""
    header_bytes = 0
    """How much of a record must be there to tell how long it is."""

    ticks_per_second = 10**6

    def __init__(self, source: ByteSource, file: CaptureFile, options: ReadOptions) -> None:
        self._file = file
        self._path = source.path
        self._options = options
        self._window = Window(source, max(options.buffer_bytes, self.header_bytes))
        self._table = Frames.allocate(options.batch_frames)
        self._rows: list[Row] = []
        self._frames = 0
        self._records = 0
        self._numbers: dict[Hashable, int] = {}
        self._need = self.header_bytes
        self._has_begun = False
        self._is_finished = False
        self._failure: CaptureError | None = None

    def read(self) -> Frames | None:
        """Give the next batch; None at the end."""
        if not self._has_begun:
            self._begin()
            self._has_begun = True
        while True:
            self._walk()
            if self._rows:
                return self._take()
            if self._failure is not None:
                raise self._failure
            if self._is_finished:
                return None
            if not self._window.fill(self._need):
                if self._window.size == 0 and self._may_end():
                    return None
                raise self._cut()

    def _begin(self) -> None:
        """Read the file header and move past it."""

    def _measure(self, data: bytearray, at: int) -> int:
        """Tell the length of the record that begins at `at`, at least `header_bytes`.

        Raises
        ------
        CaptureError
            The record contradicts itself.
        """
        raise NotImplementedError

    def _record(self, data: bytearray, at: int, length: int) -> Record | None:
        """Read the whole record from `at` to ``at + length``; None if it is no frame."""
        raise NotImplementedError

    def _is_over(self) -> bool:
        """Tell whether the records end here, before the file does.

        Raises
        ------
        CaptureError
            They should not.
        """
        return False

    def _may_end(self) -> bool:
        """Tell whether the file may end here, between two records."""
        return True

    def _walk(self) -> None:
        """Make rows of the records that have arrived."""
        window, limit = self._window, self._options.batch_frames
        data = window.data
        while len(self._rows) < limit:
            try:
                self._is_finished = self._is_over()
                if self._is_finished:
                    return
                if window.size < self.header_bytes:
                    self._need = self.header_bytes
                    return
                length = self._measure(data, window.start)
            except CaptureError as failure:
                self._failure = failure
                return
            if window.size < length:
                self._need = length
                return
            self._records += 1
            record = self._record(data, window.start, length)
            if record is not None:
                self._add(record)
            window.start += length

    def _add(self, record: Record) -> None:
        time_ns = min(max(record.time_ns, -TIME_LIMIT_NS), TIME_LIMIT_NS)
        self._frames += 1
        frame = self._frames
        if time_ns != record.time_ns:
            self._file.unseen.add("unrepresentable_time", 1, 0, frame)
        number = self._numbers.get(record.interface)
        if number is None:
            number = self._numbers[record.interface] = len(self._file.interfaces)
            found = CaptureInterface(self._file.index, "", record.link_type, self.ticks_per_second)
            self._file.interfaces.append(found)
        self._rows.append(
            (
                frame,
                time_ns,
                record.start,
                frame,
                record.captured_bytes,
                record.wire_bytes,
                number,
                record.link_type,
                self._file.index,
            )
        )

    def _take(self) -> Frames:
        """Give the rows collected so far."""
        count = len(self._rows)
        rows = self._table.rows[:count]
        rows[:] = self._rows
        self._rows.clear()
        return Frames(rows, data=self._window.data, origin=self._window.origin)

    def _fill_header(self, need: int) -> None:
        """Wait for the file header.

        Raises
        ------
        CaptureError
            The file is shorter.
        """
        window = self._window
        if not window.fill(need):
            reason = f"the file ends inside the {self.name} file header ({window.size} of {need} bytes)"
            raise CaptureError(self._path, window.size, f"{reason}; it holds no frames")

    def _damage(self, what: str) -> CaptureError:
        return CaptureError(
            self._path, self._window.offset, f"{what} after frame {self._frames}; the file is damaged here"
        )

    def _cut(self) -> CaptureError:
        where = f"({self._window.size} of {self._need} bytes)" if self._window.size else "before its frame table"
        reason = f"the file ends inside a record after frame {self._frames} {where}"
        return CaptureError(self._path, self._window.offset, f"{reason}; the capture was cut short")
