"""Rows of Frames from what was printed about one frame each: its text, and its bytes where there are hex lines."""

from __future__ import annotations

import re
from struct import Struct
from typing import NamedTuple

import numpy as np

from tcpsight.capture.reader import CaptureFile, CaptureInterface
from tcpsight.capture.text_frame import (
    IPV4_BYTES,
    IPV6_BYTES,
    LINK_TYPE_RAW,
    TCP_BYTES,
    TextFrame,
    bad_ip_frame,
    cut_ip_frame,
    hex_frame,
    not_ip_frame,
    other_frame,
    sack_edges,
    says_arp,
    says_ip,
    segment_frame,
)
from tcpsight.capture.text_line import (
    UNREADABLE,
    Endpoint,
    IpFields,
    TextSegment,
    parse_endpoint,
    parse_ip_fields,
    parse_segment,
)
from tcpsight.capture.text_sequence import Numbers, SequenceNumbers
from tcpsight.tables import LINK_TYPE_TEXT_LENGTHS, Frames

PAIR_LIMIT = 1024
"""Source and destination stand within so many bytes of the line's beginning."""

CACHE_LIMIT = 65_536
"""Distinct pairs of endpoints remembered; then the memory of them begins anew."""

INTERFACE_LIMIT = 1024
"""Interface names of one text; frames of further ones count to the unnamed interface."""

_PAIR = re.compile(rb"(?<!\S)(\S+ > \S+):(?!\S) *")
_DIRECTION = re.compile(rb"(?:(\S{1,64}) +)?(?:In|Out|B|M|P|\?) +(?=\S)")
_BAD_IP = re.compile(rb"\bIP\d{0,2} (?:\(invalid|bad-|\[.*\] ?\(invalid)|\bIP\d{1,2}, wrong link-layer")
_NO_FIELDS = IpFields()
_VOID = Numbers(0, 0, ())

_IPV4_LENGTHS = Struct(">2sH36s")
_IPV6_LENGTHS = Struct(">4sH54s")


class _Row(NamedTuple):
    time_ns: int
    captured_bytes: int
    wire_bytes: int
    interface_id: int
    link_type: int


class _Template(NamedTuple):
    """The frame of a line that says only a length, less what changes from line to line."""

    layout: Struct
    start: bytes
    end: bytes
    header_bytes: int
    length_offset: int


class _Statement(NamedTuple):
    """What the text says of one frame."""

    interface_id: int
    pair: bytes
    words: bytes
    ip_text: bytes


class TextRows:
    """Collect the frames of one text into batches.

    Parameters
    ----------
    file : CaptureFile
        Gets the interfaces, and the count of lines that were not understood.
    batch_frames : int
        Rows in a batch at most.
    """

    def __init__(self, file: CaptureFile, batch_frames: int) -> None:
        self._file = file
        self._table = Frames.allocate(batch_frames)
        self._rows: list[_Row] = []
        self._data: list[bytes] = []
        self._taken = 0
        self._sequences = SequenceNumbers()
        self._hex_link_type = LINK_TYPE_RAW
        self._ends: dict[bytes, tuple[Endpoint, Endpoint] | None] = {}
        self._templates: dict[bytes, _Template | None] = {}
        self._interfaces: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._rows)

    def take(self) -> Frames:
        """Give the rows collected so far; they and their data are valid until the next call."""
        count = len(self._rows)
        rows = self._table.rows[:count]
        values = np.array(self._rows, np.int64).reshape(count, len(_Row._fields))
        for index, name in enumerate(_Row._fields):
            rows[name] = values[:, index]
        rows["position"][:1] = 0
        np.cumsum(rows["captured_bytes"][:-1], out=rows["position"][1:])
        rows["frame_in_file"] = rows["frame_number"] = np.arange(self._taken + 1, self._taken + count + 1)
        rows["file"] = self._file.index
        data = b"".join(self._data)
        self._taken += count
        self._rows.clear()
        self._data.clear()
        return Frames(rows, data=data)

    def add_lengths(self, time_ns: int, pair: bytes, payload_bytes: int) -> bool:
        """Add a segment of which only addresses, ports and length are known; False if they cannot be read."""
        template = self._templates.get(pair)
        if template is None:
            template = self._template(pair)
            if template is None:
                return False
        self._add_lengths(time_ns, template, payload_bytes, self._interface(b""))
        return True

    def _add_lengths(self, time_ns: int, template: _Template, payload_bytes: int, interface: int) -> None:
        layout, start, end, header_bytes, length_offset = template
        wire_bytes = header_bytes + payload_bytes
        length = wire_bytes - length_offset
        if length > 0xFFFF:  # as offloading hands it over: a length of 0, and the wire length tells
            length = 0
        self._data.append(layout.pack(start, length, end))
        self._rows.append(_Row(time_ns, header_bytes, wire_bytes, interface, LINK_TYPE_TEXT_LENGTHS))

    def _template(self, pair: bytes) -> _Template | None:
        ends = self._find_ends(pair)
        if ends is None or min(ends[0].port, ends[1].port) < 0 or len(ends[0].address) != len(ends[1].address):
            return None
        made = segment_frame(ends, TextSegment(0), _VOID, _NO_FIELDS).data
        if len(ends[0].address) == 4:
            template = _Template(_IPV4_LENGTHS, made[:2], made[4:], IPV4_BYTES + TCP_BYTES, 0)
        else:
            template = _Template(_IPV6_LENGTHS, made[:4], made[6:], IPV6_BYTES + TCP_BYTES, IPV6_BYTES)
        if len(self._templates) >= CACHE_LIMIT:
            self._templates.clear()
        self._templates[pair] = template
        return template

    def add(self, time_ns: int, text: bytes, second: bytes, data: bytearray | None) -> bool:
        """Add any frame.

        Parameters
        ----------
        time_ns : int
            Its time.
        text : bytes
            Its line, behind the time.
        second : bytes
            The second line of its ``-v`` header, or empty.
        data : bytearray or None
            The bytes of its hex lines.

        Returns
        -------
        is_understood : bool
            False if there is no telling what it was; then no row was added.
        """
        statement = self._state(text, second)
        ends = self._find_ends(statement.pair) if statement.pair else None
        whole = text + b" " + second if second else text
        frame = hex_frame(data, ends, whole, self._hex_link_type) if data else None
        if frame is None and ends is not None:
            return self._add_words(time_ns, statement, ends)
        if frame is None:
            frame = self._without_ends(statement, text)
        elif ends is not None:
            self._hex_link_type = frame.link_type
        if frame is None:
            return False
        self._add(time_ns, frame, statement.interface_id)
        return True

    def _state(self, text: bytes, second: bytes) -> _Statement:
        """Take the printed line apart."""
        direction = _DIRECTION.match(text)
        interface = b""
        if direction is not None:
            interface = direction[1] or b""
            text = text[direction.end() :]
        pair = _PAIR.search(text, 0, PAIR_LIMIT)
        ip_text = text
        if pair is not None:
            ip_text = text[: pair.start()]
        elif second:
            text = second
            pair = _PAIR.match(text, 0, PAIR_LIMIT)
        if pair is None:
            return _Statement(self._interface(interface), b"", text, ip_text)
        return _Statement(self._interface(interface), pair[1], text[pair.end() :], ip_text)

    @staticmethod
    def _without_ends(statement: _Statement, text: bytes) -> TextFrame | None:
        """Make a frame that is not IP, or whose IP header is cut; None for what cannot be told."""
        if b"[|ip" in text[:PAIR_LIMIT]:
            return cut_ip_frame()
        if _BAD_IP.search(text, 0, PAIR_LIMIT):
            return bad_ip_frame()
        return None if says_ip(text) else not_ip_frame(is_arp=says_arp(text))

    def _add_words(self, time_ns: int, statement: _Statement, ends: tuple[Endpoint, Endpoint]) -> bool:
        """Add a frame made up from words."""
        segment = parse_segment(statement.words)
        fields = parse_ip_fields(statement.ip_text) if b"(" in statement.ip_text else _NO_FIELDS
        is_segment = segment.payload_bytes >= 0 and not fields.fragment & 0x1FFF
        if segment.payload_bytes == UNREADABLE or len(ends[0].address) != len(ends[1].address):
            return False
        if not is_segment:
            self._add(time_ns, other_frame(ends, segment, fields), statement.interface_id)
            return True
        if min(ends[0].port, ends[1].port) < 0:
            return False
        if not segment.is_sequenced:
            template = self._template(statement.pair)
            if template is None:
                return False
            self._add_lengths(time_ns, template, segment.payload_bytes, statement.interface_id)
            return True
        source, destination = (end.address + end.port.to_bytes(2, "big") for end in ends)
        numbers = self._sequences.resolve(
            (source, destination),
            segment.flags,
            (segment.sequence, segment.acknowledgment),
            segment.payload_bytes,
            sack_edges(segment.options),
        )
        self._add(time_ns, segment_frame(ends, segment, numbers, fields), statement.interface_id)
        return True

    def _add(self, time_ns: int, frame: TextFrame, interface: int) -> None:
        self._data.append(frame.data)
        self._rows.append(_Row(time_ns, len(frame.data), frame.wire_bytes, interface, frame.link_type))

    def _interface(self, name: bytes) -> int:
        index = self._interfaces.get(name)
        if index is None:
            if len(self._interfaces) >= INTERFACE_LIMIT and name:
                return self._interface(b"")
            index = self._interfaces[name] = len(self._file.interfaces)
            described = CaptureInterface(self._file.index, name.decode("utf-8", "replace"), LINK_TYPE_RAW)
            self._file.interfaces.append(described)
        return index

    def _find_ends(self, pair: bytes) -> tuple[Endpoint, Endpoint] | None:
        """Read ``source > destination``; None where it names what only the recording machine could resolve."""
        if pair in self._ends:
            return self._ends[pair]
        source, _, destination = pair.partition(b" > ")
        ends = parse_endpoint(source), parse_endpoint(destination)
        found = (ends[0], ends[1]) if ends[0] is not None and ends[1] is not None else None
        if len(self._ends) >= CACHE_LIMIT:
            self._ends.clear()
        self._ends[pair] = found
        return found
