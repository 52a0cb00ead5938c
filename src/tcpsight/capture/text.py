"""Reads the text that tcpdump prints, and gives the frames it was printed from as far as they can be known.

Theory of operation
-------------------
A line that begins with a time begins a frame; indented lines behind it are its hex dump, the second line of
its ``-v`` header, or details that are not needed. A frame is finished when the next one begins, so the last one
waits for the end of the text.

From hex lines come the captured bytes themselves, with addresses and ports as the text line
has them. Without hex lines headers are made up from the words: link type raw IP, and the captured bytes
end with the TCP header. Where only lengths are printed (``-q``) the link type is
`LINK_TYPE_TEXT_LENGTHS` and sequence numbers are void.

What it cannot see: whatever is not printed. Segments inside tunnels count as not TCP unless there are hex
lines; of lines with names instead of addresses only those with hex lines are frames.
"""

from __future__ import annotations

import re

from tcpsight.capture.reader import TIME_LIMIT_NS, ByteSource, CaptureFile, ReadOptions
from tcpsight.capture.text_line import UNKNOWN_PORT, parse_endpoint
from tcpsight.capture.text_rows import TextRows
from tcpsight.capture.text_time import TextClock, time_zone
from tcpsight.errors import CaptureError
from tcpsight.tables import Frames

LINE_LIMIT = 64 * 1024
"""No line that tcpdump prints about a segment is longer; a longer one is counted and skipped."""

HEX_LIMIT = 256 * 1024
"""Bytes of hex lines kept of one frame; tcpdump's own limit of a frame."""

_DATED = re.compile(rb"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.(\d{1,12}) +(?:IP6? (\S+ > \S+): (tcp \d{1,5}$)|(.*))")
_EPOCH = re.compile(rb"(\d{1,10})\.(\d{6,12}) +(?:IP6? (\S+ > \S+): (tcp \d{1,5}$)|(.*))")
_NUMBERED = re.compile(rb" {0,8}\d{1,12} {1,2}(?=\d)")
_UNDATED = re.compile(rb"\s?(?:(?:\d{1,3}:)?\d\d:\d\d\.\d{3,12}|\d{6}) +\S")
_UNTIMED = re.compile(rb"(?:IP6?|ARP,|arp) ")
_HEX = re.compile(
    rb"[ \t]+0x([0-9a-fA-F]{4,8}):[ \t]+((?:[0-9a-fA-F]{4} ){0,7}[0-9a-fA-F]{2}(?:[0-9a-fA-F]{2})?)(?:[ \t]{2}|[ \t]*$)"
)
_DROPS = re.compile(
    rb"(?:\^C)?(\d{1,15}) packets? (captured|received by filter|dropped by kernel|dropped by interface)"
)
_TALK = re.compile(rb"(?:\^C)?(?:tcpdump:|listening on |reading from |dropped privs to |Warning: |Got \d+$)")
_PEERS = re.compile(rb"\S > \S[^ ]*[:,](?: |$)")
_SKIPPED = b"\0"
_DROP_REASONS = {b"dropped by kernel": "kernel_drop", b"dropped by interface": "interface_drop"}

_NO_DATE = "the times have no date; print them with 'tcpdump -tttt', or with '-tt' as seconds since 1970"


def looks_like_text(prefix: bytes) -> bool:
    """Tell whether a file that begins with `prefix` is the text of tcpdump.

    Texts whose times lack the date are recognised too, so that the reader can say so. What decides is the first line
    that is typical, or has a NUL; what comes behind it may have arrived or not.
    """
    for line in prefix.split(b"\n"):
        if b"\0" in line:
            return False
        numbered = _NUMBERED.match(line)
        start = numbered.end() if numbered is not None else 0
        dated = _DATED.match(line, start) or _EPOCH.match(line, start)
        body = (dated[4] or dated[5] or b"") if dated else b""
        if dated and (dated[3] or body.startswith((b"IP", b"ARP", b"arp")) or _PEERS.search(line) or b" IP" in body):
            return True
        if (_UNDATED.match(line) or _UNTIMED.match(line)) and _PEERS.search(line):
            return True
    return False


class TextReader:
    """Read the text of tcpdump.

    See `tcpsight.capture.reader.Reader`.
    """

    def __init__(self, source: ByteSource, file: CaptureFile, options: ReadOptions) -> None:
        self._source = source
        self._file = file
        self._batch_frames = options.batch_frames
        self._clock = TextClock(time_zone(options.input_timezone))
        self._rows = TextRows(file, options.batch_frames)
        self._buffer = bytearray(max(options.buffer_bytes, 1))
        # Lines that were read and not yet looked at, the beginning of the next one, and where in the file they are.
        self._lines: list[bytes] = []
        self._next = 0
        self._tail = b""
        self._is_skipping = False
        self._offset = 0
        # Lines read before these, and the numbers of the line that is looked at and of the one that began the frame.
        self._lines_before = 0
        self._line_number = 0
        self._head_number = 0
        self._last_unreadable = 0
        self._loose_end = (0, 0)  # number and offset of a last line without a line end
        self._is_finished = False
        self._failure: CaptureError | None = None
        # The frame that is being read: the match of its first line, its second line, its bytes.
        self._head: re.Match[bytes] | None = None
        self._second = b""
        self._hex: bytearray | None = None
        self._has_begun = False

    def read(self) -> Frames | None:
        """Give the next batch; None at the end."""
        while True:
            self._walk()
            if self._is_finished and not len(self._rows):
                self._end_frame()  # that no other line followed
            if len(self._rows):
                return self._rows.take()
            if self._is_finished:
                self._find_cut()
                if self._failure is not None:
                    raise self._failure
                return None
            self._fill()

    def _fill(self) -> None:
        """Read more lines, or find out that there are none."""
        try:
            count = self._source.readinto(memoryview(self._buffer))
        except CaptureError as failure:
            self._failure, count = failure, 0
        if count == 0:
            self._finish()
            return
        text = self._tail + self._buffer[:count]
        if self._is_skipping:
            end = text.find(b"\n") + 1
            self._offset += end or len(text)
            text = text[end:] if end else b""
            self._is_skipping = not end
        self._lines_before += len(self._lines)
        *self._lines, self._tail = text.split(b"\n")
        self._next = 0
        if len(self._tail) > LINE_LIMIT:
            self._skip_tail()

    def _skip_tail(self) -> None:
        """Skip to the next line end; an unreadable line stands for what is skipped."""
        self._lines.append(_SKIPPED)
        self._offset += len(self._tail) - len(_SKIPPED) - 1
        self._tail, self._is_skipping = b"", True

    def _finish(self) -> None:
        """Look at what is left: a last line without a line end."""
        self._is_finished = True
        tail, self._tail = self._tail.rstrip(b"\r"), b""
        self._lines_before += len(self._lines)
        self._lines, self._next = [], 0
        number = self._lines_before + 1
        if tail:
            self._loose_end = number, self._offset
        stamped = _DATED.fullmatch(tail) or _EPOCH.fullmatch(tail)
        if stamped is not None and stamped[3] is None and not _is_whole(stamped[5]):
            self._end_frame()
            self._unreadable(number)
        elif tail:
            self._lines = [tail]

    def _find_cut(self) -> None:
        """Tell, once all else was given, whether the text ends inside a line."""
        number, offset = self._loose_end
        if number and self._last_unreadable == number and self._failure is None:
            reason = f"the text ends inside line {number}; it was cut short"
            self._failure = CaptureError(self._source.path, offset, reason)

    def _walk(self) -> None:
        """Look at lines until a batch is full or no more are there."""
        lines, rows, limit = self._lines, self._rows, self._batch_frames
        before = self._lines_before
        dated = _DATED.match
        offset, position = self._offset, self._next
        while position < len(lines) and len(rows) < limit:
            line = lines[position]
            position += 1
            stamped = dated(line)
            if stamped is not None and len(line) <= LINE_LIMIT:
                self._end_frame()
                self._head, self._head_number = stamped, before + position
            else:
                self._offset, self._line_number = offset, before + position
                self._take(line.rstrip(b"\r"))
            offset += len(line) + 1
        self._offset, self._next = offset, position

    def _take(self, line: bytes) -> None:
        """Look at a line that does not begin with a date."""
        if len(line) > LINE_LIMIT:
            line = _SKIPPED
        if not self._has_begun and self._head is None:
            self._refuse_undated(line)
        numbered = _NUMBERED.match(line)  # tcpdump -#
        start = numbered.end() if numbered is not None else 0
        stamped = _EPOCH.match(line, start) or (_DATED.match(line, start) if start else None)
        if stamped is None and line[:1] in (b" ", b"\t"):
            self._take_indented(line)
        elif stamped is not None:
            self._end_frame()
            self._head, self._head_number = stamped, self._line_number
        elif line and not self._take_talk(line) and not (self._has_begun and _UNTIMED.match(line)):
            # An untimed IP line is what tcpdump prints about the inside of a tunnel. Of anything else it is
            # unknown whether the lines behind it still belong to the frame before it.
            self._end_frame()
            self._unreadable(self._line_number)

    def _unreadable(self, number: int) -> None:
        """Count a line that was not understood."""
        self._file.unseen.add("unreadable_text")
        self._last_unreadable = number
        if self._file.unreadable_line is None or number < self._file.unreadable_line:
            self._file.unreadable_line = number

    def _refuse_undated(self, line: bytes) -> None:
        if (_UNDATED.match(line) or _UNTIMED.match(line)) and _PEERS.search(line):
            self._is_finished = True
            raise CaptureError(self._source.path, self._offset, _NO_DATE)

    def _take_talk(self, line: bytes) -> bool:
        """Take what tcpdump says about itself; False if it is something else."""
        drops = _DROPS.match(line)
        if drops is not None:
            reason = _DROP_REASONS.get(drops[2])
            if reason is not None and int(drops[1]):
                self._file.unseen.add(reason, int(drops[1]))
            return True
        return _TALK.match(line) is not None

    def _take_indented(self, line: bytes) -> None:
        """Take a hex line, the second line of a header, or a detail."""
        head = self._head
        found = _HEX.match(line)
        if head is None:
            if not line.isspace():
                self._unreadable(self._line_number)
        elif found is None:
            # Only the header's own second line; details behind it are indented as well.
            if not self._second and self._hex is None and head[3] is None:
                self._second = line.strip()
        else:
            self._take_hex(int(found[1], 16), found[2])

    def _take_hex(self, offset: int, digits: bytes) -> None:
        """Take a hex line. Of several dumps the last is the frame's; the others are details that -v prints."""
        data = self._hex
        if data is None or offset == 0:
            data = self._hex = bytearray()
        if offset != len(data):
            self._unreadable(self._line_number)  # a line is missing: what follows would be out of place
        elif len(data) < HEX_LIMIT:
            data += bytes.fromhex(digits.decode("ascii"))

    def _end_frame(self) -> None:
        """Give the frame that is being read to the rows."""
        head = self._head
        if head is None:
            return
        second, fraction, pair, length, text = head.groups()
        clock = self._clock
        time_ns = clock.dated(second, fraction) if head.re is _DATED else clock.epoch(second, fraction)
        self._head = None
        if time_ns is None:
            is_understood = False
        elif pair is not None and self._hex is None:
            is_understood = self._rows.add_lengths(time_ns, pair, int(length[4:]))
        else:
            text = text.rstrip(b"\r") if pair is None else b"IP " + pair + b": " + length
            is_understood = self._rows.add(time_ns, text, self._second, self._hex)
        self._has_begun = True
        if not is_understood:
            self._unreadable(self._head_number)
            self._file.named_lines += time_ns is not None and has_names(pair + b":" if pair is not None else text)
        elif abs(time_ns or 0) == TIME_LIMIT_NS:
            self._file.unseen.add("unrepresentable_time")
        self._second, self._hex = b"", None


def has_names(text: bytes) -> bool:
    """Tell whether a line about a segment has a name in place of an address, or of a port that nobody knows here."""
    found = _ENDS.search(text)
    return found is not None and any(map(_is_name, found.groups()))


def _is_name(end: bytes) -> bool:
    endpoint = parse_endpoint(end)
    return _NAME.match(end) is not None if endpoint is None else endpoint.port == UNKNOWN_PORT


def _is_whole(text: bytes) -> bool:
    """Tell whether a line without a line end says all that it would have said about a segment."""
    return bool(_WHOLE.search(text))


_ENDS = re.compile(rb"(?<!\S)(\S+) > (\S+):(?!\S)")
_NAME = re.compile(rb"(?=.*[A-Za-z])[A-Za-z0-9_][A-Za-z0-9._-]*\.[A-Za-z0-9-]+$")
_WHOLE = re.compile(rb" > \S+: .*(?:length \d+|win \d+|tcp \d+|>|\))")
