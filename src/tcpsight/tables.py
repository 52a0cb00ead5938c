"""The nouns: every table and column that passes between rooms, with type, unit and meaning.

Longer than other files: every table and column in one place is its point.

Theory of operation
-------------------
A table is a block of packed rows (a NumPy structured array) whose layout equals a C struct, so that
kernels walk rows with one pointer while Python sees columns: ``requests.arrival_ns`` is a strided view of
field ``arrival_ns``. The C side, ``tables.pxd``, is generated from this file (``make layout``), so a column is
declared once. Rooms reuse the blocks they return: a table is valid until the next call of the room
that gave it; `Table.copy` keeps one. All tables stand in this one file, however long: they are read together.

Units: names that end in ``_ns`` hold nanoseconds, an instant since the Unix epoch when the unit says ``epoch ns``
and a duration when it says ``ns``. Unknown is −1 in integers unless the column names another null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Self, overload

import numpy as np

INT64_MIN = -(2**63)
INT64_MAX = 2**63 - 1
"""The null of stream offsets, where −1 is the offset of the SYN."""

MAX_SACK_BLOCKS = 4
"""A TCP header has room for four SACK blocks (RFC 2018 §3)."""

DIRECTIONS = ("client", "server")
"""Who sent it."""

KINDS = ("new", "retransmission", "out_of_order", "keep_alive", "zero_window_probe", "duplicate")
"""What a segment is; see `Segments.kind`."""

FINDINGS = (
    "blackhole",
    "path_mtu_blackhole",
    "bufferbloat",
    "policing",
    "shaping",
    "zero_window_stall",
    "window_limited",
    "nagle_delayed_ack",
    "slow_start_after_idle",
    "syn_loss",
    "syn_flood",
    "listen_overflow",
    "refused",
    "unanswered",
    "reset_storm",
    "half_open_leak",
    "one_way_capture",
    "connection_churn",
    "stall",
    "pile_up",
    "no_turns",
    "slow_band",
    "slowdown",
    "no_answers",
    "lasting_slowdown",
)
"""Conditions that have a name; see `Findings.kind`."""

MOMENTARY_FINDINGS = ("stall", "pile_up", "slowdown")
"""Those that have a row for each time it was so."""

SEVERITIES = ("info", "warning", "critical")
"""How bad a finding is; what is merely worth knowing is `info`."""

STATES = ("unanswered", "handshaking", "refused", "closed", "client_reset", "server_reset", "half_closed", "open")
"""How far a connection came; see `Connections.state`."""

FIN_SIDES = ("none", "client", "server", "both")
"""Whose FIN was seen: the client's adds 1, the server's 2; see `Connections.fin_from`."""

ROLE_SOURCES = ("option", "syn", "syn_ack", "port", "first")
"""How client and server were told apart, best evidence first."""

ENCAPSULATIONS = (
    "none",
    "ip_in_ip",
    "gre",
    "nvgre",
    "erspan",
    "vxlan",
    "geneve",
    "gtp",
    "teredo",
    "l2tp",
    "ethernet_in_ip",
    "mpls_in_ip",
    "tzsp",
)
"""The innermost tunnel over IP that carried a segment; see `Connections.encapsulation`."""

POLICING_VERDICTS = (
    "policed",
    "insufficient_loss",
    "late_loss",
    "negative_fill",
    "higher_fill_on_loss",
    "loss_fill_out_of_range",
    "pass_fill_out_of_range",
    "inflated_rtt",
    "unknown_rtt",
)
"""Which test of Flach et al. (SIGCOMM 2016) rules out a policer; see `Policed.verdict`."""

TIME_PARTS = (
    "connect",
    "think",
    "request_transfer",
    "server",
    "response_transfer",
    "recovery",
    "receiver_limited",
    "path_limited",
    "unknown",
)
"""What the time of a connection, or of a request, goes to; see `Connections.limited_by`."""

VANTAGES = ("server", "client", "between", "unknown")
"""Where a capture was taken, seen from a connection: at its server, at its client, on the way."""

SPLITS = ("split", "unpaired", "unseen", "crossed", "clock_step", "reversed")
"""What became of a request whose time was to be split between two capture points; see `SplitRequests.outcome`."""

TLS_RECORDS = ("none", "hello", "handshake", "change", "finished", "alert", "closing", "alike", "data")
"""What the payload of a segment is, by the headers of its TLS records; see `Headers.tls`."""

BOUNDARIES = ("opened", "ended")
"""The two ends of a connection's use of a slot."""

REASONS = (
    "truncated_frame",
    "unknown_link_type",
    "not_ip",
    "not_tcp",
    "fragment",
    "malformed_link",
    "malformed_ip",
    "malformed_tcp",
    "too_deep",
    "aggregate",
    "wifi_without_data",
    "encrypted_wifi",
    "encrypted_link",
    "encrypted_packet",
    "compressed",
    "damaged_frame",
    "netlink",
    "no_network",
    "unreadable_text",
    "kernel_drop",
    "interface_drop",
    "capture_duplicate",
    "ambiguous_duplicate",
    "capture_gap",
    "unsequenced",
    "time_backwards",
    "time_jump",
    "reset_outside_window",
    "segment_outside_window",
    "hole_overflow",
    "acknowledgment_outside_window",
    "unrepresentable_time",
    "untimed_frame",
    "connection_overflow",
    "bad_file",
)
"""Why something in the capture did not become a number; see `Unseen.reason`."""

REASON_TEXTS = {
    "truncated_frame": "frames whose captured bytes end before the TCP header does",
    "unknown_link_type": "frames of a link type that tcpsight does not decode",
    "not_ip": "frames without an IP packet (ARP, LLDP and the like)",
    "not_tcp": "IP packets that are not TCP",
    "fragment": "IP fragments that could not be put together to a TCP segment",
    "malformed_link": "frames whose link, label or tunnel header contradicts itself",
    "malformed_ip": "packets whose IP header contradicts itself",
    "malformed_tcp": "packets whose TCP header contradicts itself",
    "too_deep": "frames with more than 16 headers between link layer and TCP",
    "aggregate": "frames of Wi-Fi with several packets (A-MSDU), of which only the first was read",
    "wifi_without_data": "frames of Wi-Fi without data (beacons, acknowledgments and the like)",
    "encrypted_wifi": "frames encrypted on Wi-Fi",
    "encrypted_link": "frames encrypted on the link (MACsec, DOCSIS)",
    "encrypted_packet": "packets encrypted below TCP (IPsec ESP, WireGuard, PPP)",
    "compressed": "packets compressed below TCP (PPP, Van Jacobson, IPComp)",
    "damaged_frame": "frames that were received damaged",
    "netlink": "messages of Linux netlink, no traffic",
    "no_network": "frames of buses and radios without TCP (Bluetooth, USB, CAN and the like)",
    "unreadable_text": "lines of tcpdump text that were not understood",
    "kernel_drop": "frames that the capturing machine says it dropped",
    "interface_drop": "frames that the interface says it dropped",
    "capture_duplicate": "segments captured twice; counted once",
    "ambiguous_duplicate": "segments that may be captured twice or sent twice; counted as sent twice",
    "capture_gap": "holes in streams: bytes acknowledged or passed over but never captured",
    "unsequenced": "segments from text without sequence numbers; losses and retransmissions are invisible in them",
    "time_backwards": "frames stamped earlier than the frame before them",
    "time_jump": "frames stamped more than an hour ahead, not confirmed by the next frame",
    "reset_outside_window": "RSTs outside the receive window; ignored",
    "segment_outside_window": "segments whose numbers cannot belong to their stream, and SYNs that came to nothing; ignored",
    "hole_overflow": "holes beyond the 1,024 that are kept per direction; counts of that connection are approximate",
    "acknowledgment_outside_window": "acknowledgments of bytes that cannot have been sent; not believed",
    "unrepresentable_time": "frames stamped before the year 1823 or after 2116; moved to that limit",
    "untimed_frame": "frames without a time; given that of the frame before them",
    "connection_overflow": "connections given up because more were open than may be, or more in their handshake than an eighth of that; their rows say what was seen until then",
    "bad_file": "files not read, or not to the end, because they could not be: --skip-bad leaves them out",
}
"""What each reason means, for people."""

SOCKET_STATES = (
    "unknown",
    "established",
    "syn_sent",
    "syn_received",
    "fin_wait_1",
    "fin_wait_2",
    "time_wait",
    "closed",
    "close_wait",
    "last_ack",
    "listening",
    "closing",
)
"""What the kernel of this machine does with a socket, by its numbers (linux/tcp_states.h)."""

SOCKET_ROLES = ("client", "server")
"""Which side of a connection this machine is."""

RESPONSE_TIME_BOUNDS_NS = (
    *(int(step * 10**power) for power in range(4, 11) for step in (1, 2.5, 5)),
    100_000_000_000,
)
"""Upper bounds, inclusive, of the buckets in which a watch counts response times; one more is for what lies beyond."""

LINK_TYPE_TEXT_LENGTHS = 65_280
"""Pseudo link type of frames made from tcpdump text that shows lengths only: IP with sequence numbers unknown."""

IPV4_PREFIX = bytes(10) + b"\xff\xff"
"""What stands in front of IPv4 addresses where tables hold 16 bytes: ``::ffff:`` (RFC 4291 §2.5.5.2)."""

# Bits of Headers.options.
OPTION_TIMESTAMPS = 1
OPTION_MSS = 2
OPTION_WINDOW_SCALE = 4
OPTION_SACK_PERMITTED = 8
OPTION_SACK = 16
OPTION_UNSEQUENCED = 32
OPTION_CUT = 64
OPTION_FRAGMENTED = 128

# Bits of Headers.flags and Segments.flags (RFC 9293 §3.1; AE from RFC 9768).
FLAG_FIN = 0x01
FLAG_SYN = 0x02
FLAG_RST = 0x04
FLAG_PSH = 0x08
FLAG_ACK = 0x10
FLAG_URG = 0x20
FLAG_ECE = 0x40
FLAG_CWR = 0x80
FLAG_AE = 0x100


class Column:
    """One column: how it is stored, in what unit, and what it means.

    Reading it from a table gives the column as a NumPy view, shape (rows,) or (rows, width).
    """

    __slots__ = ("dtype", "internal", "meaning", "name", "names", "null", "unit", "width")

    def __init__(
        self,
        dtype: str,
        unit: str,
        meaning: str,
        *,
        null: int | None = None,
        names: tuple[str, ...] | None = None,
        width: int = 1,
        internal: bool = False,
    ) -> None:
        self.dtype = dtype
        self.unit = unit
        self.meaning = meaning
        self.null = null
        self.names = names
        self.width = width
        self.internal = internal
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, table: None, owner: type) -> Column: ...
    @overload
    def __get__(self, table: Table, owner: type) -> np.ndarray[Any, Any]: ...
    def __get__(self, table: Table | None, owner: type) -> Column | np.ndarray[Any, Any]:
        if table is None:
            return self
        view: np.ndarray[Any, Any] = table.rows[self.name]
        return view

    @property
    def is_address(self) -> bool:
        """Whether the column holds IP addresses, 16 bytes each (IPv4 in the last four)."""
        return self.unit == "address"

    @property
    def is_boolean(self) -> bool:
        """Whether the column holds truth values."""
        return self.unit == "bool"


def column(
    dtype: str,
    unit: str,
    meaning: str,
    *,
    null: int | None = None,
    names: tuple[str, ...] | None = None,
    width: int = 1,
    internal: bool = False,
) -> Column:
    """Declare a column.

    Parameters
    ----------
    dtype : str
        NumPy type name of one element.
    unit : str
        ``ns``, ``epoch ns``, ``B``, ``bool``, ``address`` or empty.
    meaning : str
        What the number tells, in a line; the reference page is made from it.
    null : int, optional
        The value that stands for unknown.
    names : tuple of str, optional
        For enumerations: what each number is called in every output.
    width : int
        Elements per row; 16 for addresses.
    internal : bool
        True for columns that only rooms use; no output shows them.
    """
    return Column(dtype, unit, meaning, null=null, names=names, width=width, internal=internal)


def endpoints(client: str = "client", server: str = "server") -> tuple[Column, Column, Column, Column]:
    """Declare the columns of both endpoints: address and port of the client, then of the server; meanings as given."""
    return (
        column("uint8", "address", client, width=16),
        column("uint16", "", "client's port"),
        column("uint8", "address", server, width=16),
        column("uint16", "", "server's port"),
    )


class Table:
    """Rows of one kind, stored packed; every column is an attribute.

    Parameters
    ----------
    rows : ndarray
        Structured array of this table's `dtype`, shape (n,).
    until_ns : int, optional
        How far capture time has come with this batch; None where the rows themselves tell.
    """

    __slots__ = ("rows", "until_ns")

    columns: ClassVar[tuple[Column, ...]] = ()
    dtype: ClassVar[np.dtype[Any]] = np.dtype([])

    def __init_subclass__(cls) -> None:
        # A subclass of a table repeats its columns first, so that its rows begin with the same layout.
        inherited = {c.name: c for c in cls.columns}
        own = {name: value for name, value in vars(cls).items() if isinstance(value, Column)}
        cls.columns = tuple((inherited | own).values())
        cls.dtype = np.dtype([_field(c) for c in cls.columns], align=True)

    def __init__(self, rows: np.ndarray[Any, Any] | None = None, until_ns: int | None = None) -> None:
        self.rows = np.zeros(0, self.dtype) if rows is None else rows
        self.until_ns = until_ns

    @classmethod
    def allocate(cls, n: int) -> Self:
        """Make a table of `n` zeroed rows."""
        return cls(np.zeros(n, cls.dtype))

    @classmethod
    def concatenate(cls, tables: list[Self]) -> Self:
        """Make one table of several, in order; the rows are copied.

        Raises
        ------
        TypeError
            They have not the columns of this table: those of a subclass have more.
        """
        if not tables:
            return cls()
        if tables[0].rows.dtype != cls.dtype:
            raise TypeError(f"{type(tables[0]).__name__} are not {cls.__name__}")
        return cls(joined_rows([t.rows for t in tables]), tables[-1].until_ns)

    def copy(self) -> Self:
        """Keep these rows beyond the next call of the room that gave them."""
        return type(self)(joined_rows([self.rows]), self.until_ns)

    def packed(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Give the rows as bytes without gaps between them, as kernels take them, shape (rows × row size,)."""
        rows: np.ndarray[Any, np.dtype[np.uint8]] = np.ascontiguousarray(self.rows).view(np.uint8)
        return rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, where: slice | np.ndarray[Any, Any]) -> Self:
        return type(self)(rows_at(self.rows, where), self.until_ns)

    def __iter__(self) -> Iterator[np.void]:
        return iter(self.rows)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} rows>"


def joined_rows(parts: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """Copy rows of one kind, one or more parts of them, behind each other: as bytes, like all that follows here.

    NumPy copies structured rows field by field, which takes ten times as long.
    """
    dtype = parts[0].dtype
    if any(part.dtype is not dtype and part.dtype != dtype for part in parts):
        raise TypeError("rows of different kinds cannot be joined")
    return np.concatenate([np.ascontiguousarray(part).view(np.uint8) for part in parts]).view(dtype)


def rows_at(rows: np.ndarray[Any, Any], where: slice | np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give some rows of a structured array: a slice as a view, those of a mask or of indices copied."""
    if isinstance(where, slice) or not rows.flags.c_contiguous:
        return rows[where]
    chosen = np.flatnonzero(where) if where.dtype == np.bool_ else where
    taken: np.ndarray[Any, Any] = np.take(rows.view(np.uint8).reshape(len(rows), rows.itemsize), chosen, axis=0)
    return taken.reshape(-1).view(rows.dtype)


def _field(c: Column) -> tuple[Any, ...]:
    return (c.name, c.dtype) if c.width == 1 else (c.name, c.dtype, (c.width,))


class Frames(Table):
    """One row per captured frame, in capture order; the bytes are in `data`.

    Attributes
    ----------
    data : buffer
        Holds the bytes of every frame.
    origin : int
        Where in the (decompressed) content of the only file it comes from `data` begins; −1 where it is no part of it.
    """

    __slots__ = ("data", "origin")

    frame_number = column("int64", "", "number of the frame in the whole capture: 1, 2, 3 …, counted before any filter")
    time_ns = column("int64", "epoch ns", "capture timestamp")
    position = column("int64", "B", "where the frame's bytes begin in `data`", internal=True)
    frame_in_file = column("int64", "", "number of the frame in its own file: 1, 2, 3 …")
    captured_bytes = column("uint32", "B", "bytes captured")
    wire_bytes = column("uint32", "B", "bytes on the wire as the capture states them")
    interface_id = column("uint32", "", "index of the capture interface, counted through all files")
    link_type = column("uint16", "", "LINKTYPE_ number of the frame's first header")
    file = column("uint16", "", "index of the file in the order given")

    def __init__(
        self,
        rows: np.ndarray[Any, Any] | None = None,
        until_ns: int | None = None,
        data: Any = b"",
        origin: int = -1,
    ) -> None:
        super().__init__(rows, until_ns)
        self.data = data
        self.origin = origin

    def whole(self) -> Frames:
        """Give the frames, from the first on, whose bytes were in the file all the time: these, unless it was cut.

        What was read of the others is not true. To be asked after `data` was read, where it may be a part of a file
        that is mapped.
        """
        sound_bytes = getattr(self.data, "sound_bytes", None)
        if sound_bytes is None or not len(self):
            return self
        sound = sound_bytes()
        # Positions ascend.
        if int(self.position[-1]) + int(self.captured_bytes[-1]) <= sound:
            return self
        return self[: int(np.argmax(self.position + self.captured_bytes > sound))]

    def __getitem__(self, where: slice | np.ndarray[Any, Any]) -> Self:
        return type(self)(rows_at(self.rows, where), self.until_ns, self.data, self.origin)


class Headers(Table):
    """One row per TCP segment as it was on the wire: numbers still wrap, nobody is client yet.

    In this order what is compared or hashed together lies together: kernels load it as one number.
    """

    frame_number = column("int64", "", "the frame that carried it")
    time_ns = column("int64", "epoch ns", "capture timestamp")
    frame_in_file = column("int64", "", "number of the frame in its own file")
    source_address = column("uint8", "address", "sender", width=16)
    destination_address = column("uint8", "address", "receiver", width=16)
    source_port = column("uint16", "", "sender's port")
    destination_port = column("uint16", "", "receiver's port")
    interface_id = column("uint32", "", "tells interfaces apart: the capture's, or the devices behind `any`")
    acknowledgment_number = column("uint32", "", "acknowledgment number, modulo 2³²; void without ACK")
    sequence_number = column("uint32", "", "sequence number, modulo 2³²")
    window = column("uint16", "", "window field, unscaled")
    flags = column("uint16", "", "TCP flags, FIN = 1 … AE = 256")
    checksum = column("uint16", "", "TCP checksum as captured")
    ip_id = column("uint16", "", "IPv4 identification; 0 for IPv6")
    payload_bytes = column("int32", "B", "TCP payload by the IP header's length, SYN and FIN excluded")
    options_hash = column("uint32", "", "hash of the raw option bytes, to recognise capture duplicates", internal=True)
    captured_payload_bytes = column("int32", "B", "how many payload bytes the capture holds; 0 if they came in IP fragments")
    timestamp_value = column("uint32", "", "TSval (RFC 7323)")
    timestamp_echo = column("uint32", "", "TSecr (RFC 7323)")
    ip_version = column("uint8", "", "4 or 6")
    encapsulation = column("uint8", "", "the innermost tunnel over IP", names=ENCAPSULATIONS)
    tunnel = column("uint16", "", "kinds of the four innermost tunnels, four bits each; 0: none", internal=True)
    options = column("uint8", "", "OPTION_ bits: which TCP options were seen", internal=True)
    window_scale = column("uint8", "", "shift count of the window scale option (at most 14, RFC 7323 §2.3)")
    sack_count = column("uint8", "", "SACK blocks in `sack`")
    ttl = column("uint8", "", "IPv4 time to live or IPv6 hop limit")
    mss_bytes = column("uint16", "B", "maximum segment size option")
    file = column("uint16", "", "index of the file")
    sack = column("uint32", "", "left and right edges of the SACK blocks, modulo 2³²", width=2 * MAX_SACK_BLOCKS)
    tls_bytes = column(
        "int32",
        "B",
        "payload up to the end of the handshake that it begins with (hello, handshake, change, finished); "
        "length of each record (alike); else 0",
        internal=True,
    )
    tls = column(
        "uint8",
        "",
        "what TLS records the payload begins with: a ClientHello; others of a handshake; a ChangeCipherSpec only; up to "
        "what is as long as a Finished of TLS 1.3; one alert; one as long as an alert of TLS 1.3; only encrypted ones of "
        "one length; other encrypted ones",
        names=TLS_RECORDS,
        internal=True,
    )
    tls_records = column("uint8", "", "how many records of one length they are; 0 if they are not", internal=True)


class Segments(Table):
    """One row per TCP segment in capture order, row for row with the Headers it was made from.

    Offsets are 64-bit positions in the sender's stream: the first payload byte is 0, the SYN −1.
    """

    frame_number = column("int64", "", "the frame that carried it")
    time_ns = column("int64", "epoch ns", "capture timestamp")
    connection_id = column("int64", "", "the frame that opened its connection")
    offset = column("int64", "B", "stream offset of the first payload byte; null if unknown", null=INT64_MIN)
    acked_offset = column(
        "int64",
        "B",
        "stream offset in the other direction up to which it acknowledges; null if unknown",
        null=INT64_MIN,
    )
    slot = column("uint32", "", "recycled index of the connection's state, the same in every room", internal=True)
    payload_bytes = column("int32", "B", "TCP payload length, SYN and FIN excluded")
    new_bytes = column("int32", "B", "payload bytes not captured before in this direction")
    new_at = column("int32", "B", "where the first new byte lies, counted from `offset`", internal=True)
    window_bytes = column("int32", "B", "receive window offered, scaled; null if the scale is unknown", null=-1)
    flags = column("uint16", "flags", "TCP flags, FIN = 1 … AE = 256")
    direction = column("uint8", "", "who sent it", names=DIRECTIONS)
    kind = column(
        "uint8",
        "",
        "new: nothing in it was captured before (or it carries no data); retransmission: all its data, SYN or FIN had been sent; "
        "out_of_order: it fills a hole; keep_alive; zero_window_probe; duplicate: the same segment captured twice",
        names=KINDS,
    )


class SegmentDetails(Segments):
    """The Segments columns and what else a person wants to know of a segment; made for output only."""

    file = column("uint16", "", "index of the file that holds it, in the order given")
    frame_in_file = column("int64", "", "number of the frame in that file: a place to look")
    captured_payload_bytes = column(
        "int32", "B", "how many of its payload bytes the capture holds; 0 if they came in IP fragments"
    )
    timestamp_value = column("int64", "", "TSval of the timestamps option", null=-1)
    timestamp_echo = column("int64", "", "TSecr of the timestamps option", null=-1)
    sack = column("S128", "", "SACK blocks as stream offsets of the other direction: left-right, separated by blanks")


class LadderSegments(SegmentDetails):
    """One row per TCP segment, with its numbers as they were sent and as tshark tells them, and what was under way."""

    sequence_number = column("int64", "", "sequence number as it was sent, modulo 2³²")
    acknowledgment_number = column("int64", "", "acknowledgment number as it was sent; null without ACK", null=-1)
    relative_sequence = column("int64", "", "sequence number after that of the SYN, which is 0; it does not wrap")
    relative_acknowledgment = column(
        "int64", "", "acknowledgment number after that of the other side's SYN; null without ACK", null=INT64_MIN
    )
    in_flight_bytes = column("int64", "B", "stream bytes that its sender had sent, and that were not acknowledged, after it", null=-1)
    missing_bytes = column("int64", "B", "stream bytes in front of it that were not captured before it")
    is_fragmented = column("uint8", "bool", "whether it came in IP fragments, of whose payload nothing is kept")


class Sightings(Table):
    """One row per TCP segment, for comparing two captures: what tells it from others, and which bytes it brought first."""

    connection_id = column("int64", "", "the frame that opened its connection")
    frame_number = column("int64", "", "the frame that carried it")
    time_ns = column("int64", "epoch ns", "capture timestamp")
    offset = column("int64", "B", "stream offset of the first payload byte")
    acked_offset = column("int64", "B", "stream offset up to which it acknowledges; null if unknown", null=INT64_MIN)
    sequence_number = column("uint32", "", "sequence number, modulo 2³²")
    timestamp_value = column("uint32", "", "TSval; 0 without timestamps")
    payload_bytes = column("int32", "B", "TCP payload length, SYN and FIN excluded")
    new_bytes = column("int32", "B", "payload bytes not captured before in this direction")
    new_at = column("int32", "B", "where the first new byte lies, counted from `offset`")
    ip_id = column("uint16", "", "IPv4 identification; 0 for IPv6")
    flags = column("uint16", "flags", "TCP flags")
    mss_bytes = column("uint16", "B", "maximum segment size option of a SYN; 0 without")
    direction = column("uint8", "", "who sent it", names=DIRECTIONS)
    has_sack = column("uint8", "bool", "whether it shows that both sides use SACK: a SYN-ACK that permits it, or blocks")


class Boundaries(Table):
    """Where, among the segments of a batch, connections open and end.

    Rooms after `connections` keep state by slot; a boundary tells them when a slot changes hands.
    """

    connection_id = column("int64", "", "the connection")
    time_ns = column(
        "int64",
        "epoch ns",
        "opened: its first segment; ended: its last segment if it closed or was reset, else when it timed out or the capture ended",
    )
    client_address = column("uint8", "address", "client", width=16)
    server_address = column("uint8", "address", "server", width=16)
    client_port = column("uint16", "", "client's port")
    server_port = column("uint16", "", "server's port")
    slot = column("uint32", "", "index of the connection's state", internal=True)
    position = column("int32", "", "it happens before the segment at this row of the batch", internal=True)
    row = column(
        "int32", "", "the same among all headers of the capture's batch, whoever else tracks some of them", internal=True
    )
    share = column("uint8", "", "which of 256 shares of all connections it is in", internal=True)
    due_ns = column(
        "int64", "epoch ns", "ended by a time-out: its deadline; by the end of the capture: 0; else the end of all times", internal=True
    )
    boundary = column("uint8", "", "opened or ended", names=BOUNDARIES)
    ip_version = column("uint8", "", "4 or 6")
    is_open = column("uint8", "bool", "ended: whether it was open yet, and only the capture ended")


class Pieces(Table):
    """One row per captured run of payload: which bytes of which stream it holds, and where they are kept.

    The pieces of a stream are chained from its last to its first, in the order in which they were captured, so that
    the index of a stream can be read without sorting that of all.
    """

    connection_id = column("int64", "", "the connection")
    offset = column("int64", "B", "stream offset of its first byte")
    position = column("int64", "B", "where its first byte is kept: what a read function takes")
    previous = column("int64", "", "number of the piece of the same stream before it; null if it is the first", null=-1)
    frame_number = column("int64", "", "the frame that carried it")
    time_ns = column("int64", "epoch ns", "when it was captured")
    payload_bytes = column("int32", "B", "its bytes on the wire")
    captured_bytes = column("int32", "B", "how many of them were captured, from the first on")
    file = column("uint16", "", "index of the file that holds them")
    flags = column("uint16", "flags", "TCP flags of its segment")
    direction = column("uint8", "", "who sent it", names=DIRECTIONS)
    kind = column("uint8", "", "what its segment is", names=KINDS)


class Streams(Table):
    """One row per direction of a connection, when the connection ends: where its chain of pieces begins."""

    connection_id = column("int64", "", "the connection")
    last_piece = column("int64", "", "number of the piece captured last; null if there is none", null=-1)
    pieces = column("int64", "", "how many there are")
    fin_offset = column("int64", "B", "where its FIN says that it ends; null if no FIN was seen", null=INT64_MIN)
    fragment_bytes = column("int64", "B", "new bytes of segments that came in IP fragments, of whose payload nothing is kept")
    direction = column("uint8", "", "who sent it", names=DIRECTIONS)


class Connections(Table):
    """One row per connection, in the order in which they became final."""

    connection_id = column("int64", "", "number of the frame that opened it: unique, and a place to look")
    community_id = column("S30", "", "Community ID v1, seed 0", width=1)
    client_address, client_port, server_address, server_port = endpoints("client: it sent the SYN")
    ip_version = column("uint8", "", "4 or 6")
    role_source = column("uint8", "", "how the roles were known, decided at the first segment", names=ROLE_SOURCES)
    state = column("uint8", "", "how far it came; null where the text shows no flags", names=STATES, null=255)
    is_sequenced = column("uint8", "bool", "whether sequence numbers were there to count by")
    is_approximate = column(
        "uint8", "bool", "whether counts may be off: more holes than are kept, or a gap whose size nothing tells"
    )
    start_ns = column("int64", "epoch ns", "first segment")
    end_ns = column("int64", "epoch ns", "last segment")
    duration_ns = column("int64", "ns", "from the first segment to the last")
    connect_attempts = column("int64", "", "SYNs with the same ISN sent until one was answered; 0 if no SYN was seen")
    connect_ns = column("int64", "ns", "first SYN to the ACK that completes the handshake", null=-1)
    server_handshake_rtt_ns = column("int64", "ns", "SYN to SYN-ACK as seen here; see `vantage`", null=-1)
    client_handshake_rtt_ns = column("int64", "ns", "SYN-ACK to ACK as seen here; see `vantage`", null=-1)
    server_handshake_least_ns = column(
        "int64", "ns", "where a repeated SYN leaves that unknown: from the last copy on", null=-1, internal=True
    )
    client_handshake_least_ns = column(
        "int64", "ns", "where a repeated SYN-ACK does: from the last copy on", null=-1, internal=True
    )
    client_isn = column("int64", "", "client's initial sequence number", null=-1)
    server_isn = column("int64", "", "server's initial sequence number", null=-1)
    client_bytes = column("int64", "B", "stream bytes the client sent, by sequence number", null=-1)
    server_bytes = column("int64", "B", "stream bytes the server sent, by sequence number", null=-1)
    client_segments = column("int64", "", "segments the client sent, capture duplicates excluded")
    server_segments = column("int64", "", "segments the server sent, capture duplicates excluded")
    client_retransmissions = column("int64", "", "segments without any new byte, SYN and FIN included", null=-1)
    server_retransmissions = column("int64", "", "segments without any new byte, SYN-ACK and FIN included", null=-1)
    client_control_retransmissions = column("int64", "", "of those, repeated SYNs and FINs", null=-1)
    server_control_retransmissions = column("int64", "", "of those, repeated SYN-ACKs and FINs", null=-1)
    client_retransmitted_bytes = column("int64", "B", "payload bytes the client sent again", null=-1)
    server_retransmitted_bytes = column("int64", "B", "payload bytes the server sent again", null=-1)
    client_gap_bytes = column(
        "int64", "B", "client's stream bytes acknowledged or passed over, never captured", null=-1
    )
    server_gap_bytes = column(
        "int64", "B", "server's stream bytes acknowledged or passed over, never captured", null=-1
    )
    duplicates = column("int64", "", "segments captured twice, excluded from every other count")
    ignored_resets = column("int64", "", "RSTs outside the receive window")
    requests = column("int64", "", "answered requests")
    unanswered = column("int64", "", "1 if the last request was never answered")
    is_farewell = column(
        "uint8", "bool", "whether the last client data was followed at once, and only, by the client's FIN"
    )
    unsolicited_bytes = column("int64", "B", "server bytes before any request (greetings)")
    encapsulation = column(
        "uint8", "", "the innermost tunnel over IP that carried it; null if none", names=ENCAPSULATIONS, null=0
    )
    fin_from = column(
        "uint8", "", "whose FIN was seen, or acknowledged; null where the text shows no flags", names=FIN_SIDES, null=255
    )
    think_ns = column("int64", "ns", "after an answer (or the handshake), until the client speaks again", null=-1)
    request_transfer_ns = column("int64", "ns", "between the first and the last data of a request", null=-1)
    server_ns = column(
        "int64",
        "ns",
        "from the last data of a request to the first of its answer: the path to the server is in it",
        null=-1,
    )
    response_transfer_ns = column("int64", "ns", "between the first and the last data of an answer", null=-1)
    recovery_ns = column("int64", "ns", "waiting for what was sent again, and for its acknowledgment", null=-1)
    receiver_limited_ns = column("int64", "ns", "a sender waited for the receiver's window to open", null=-1)
    path_limited_ns = column(
        "int64", "ns", "a sender waited for the path: it went on when an acknowledgment came", null=-1
    )
    unknown_ns = column("int64", "ns", "none of these, or it cannot be told", null=-1)
    limited_by = column("uint8", "", "the largest of these parts; null for 0 ns", names=TIME_PARTS, null=255)
    vantage = column("uint8", "", "where it was captured: at the server, at the client, between", names=VANTAGES)
    vantage_confidence = column("float64", "", "how sure that is, 0 to 1; null if unknown", null=-1)


class RatedConnections(Connections):
    """The Connections columns and the throughput, which follows from them; made to choose and order rows by it."""

    throughput_bits_per_s = column(
        "int64", "bit/s", "stream bits of both directions / duration; null where one is unknown or 0 ns", null=-1
    )


class BucketConnections(RatedConnections):
    """The connections of one bucket, or of all, each with the filter that finds its endpoints' frames."""

    bucket = column("int64", "", "its bucket; null where what buckets are made by is unknown", null=-1)
    capture_filter = column(
        "S432",
        "BPF",
        "what makes tcpdump, or --filter, show its frames; inside tunnels, labels or sessions a tshark display filter",
    )


class Buckets(Table):
    """One row per bucket of connections, empty ones between others included; `low` and `high` in the unit of --by."""

    bucket = column("int64", "", "0, 1, 2 …; null for the connections whose value is unknown", null=-1)
    low = column("int64", "", "least value of the bucket", null=-1)
    high = column("int64", "", "all values of the bucket are below it; null where the bucket has no end", null=-1)
    connections = column("int64", "", "how many")
    connections_fraction = column("float64", "", "their share of all connections")
    cumulative_fraction = column("float64", "", "the share of all connections up to and with this bucket")
    client_bytes_mean = column("float64", "B", "mean of the bytes the clients sent")
    server_bytes_mean = column("float64", "B", "mean of the bytes the servers sent")
    requests_mean = column("float64", "", "mean of the answered requests")
    duration_p50_ns = column("int64", "ns", "median of their durations, nearest rank", null=-1)
    duration_p95_ns = column("int64", "ns", "95th percentile of their durations, nearest rank", null=-1)
    connect_p50_ns = column("int64", "ns", "median of their connect times, nearest rank", null=-1)
    connect_p95_ns = column("int64", "ns", "95th percentile of their connect times, nearest rank", null=-1)
    throughput_p50_bits_per_s = column("int64", "bit/s", "median of their throughputs, nearest rank", null=-1)
    throughput_p95_bits_per_s = column("int64", "bit/s", "95th percentile of their throughputs, nearest rank", null=-1)
    repeated_syns = column("int64", "", "connection attempts beyond the first, all together")
    resets = column("int64", "", "connections refused or ended by a RST")


class Requests(Table):
    """One row per answered request, in the order in which they became final."""

    connection_id = column("int64", "", "the connection that carried it")
    request_index = column("int64", "", "0, 1, 2 … in its connection")
    client_address, client_port, server_address, server_port = endpoints()
    ip_version = column("uint8", "", "4 or 6", internal=True)
    request_number = column("int64", "", "how many requests its pairing had opened before it", internal=True)
    made_by = column(
        "int32", "", "what of its batch made it final: this segment, or the boundary −1, −2 …", internal=True
    )
    request_first_ns = column("int64", "epoch ns", "first client segment with new bytes of it")
    request_last_ns = column("int64", "epoch ns", "last client segment with new bytes of it")
    response_first_ns = column("int64", "epoch ns", "first server segment with new bytes of its answer", null=-1)
    response_last_ns = column("int64", "epoch ns", "last server segment with new bytes of its answer", null=-1)
    request_bytes = column("int64", "B", "new stream bytes of the request")
    response_bytes = column("int64", "B", "new stream bytes of the response")
    arrival_ns = column("int64", "epoch ns", "start of the response time, by --start-end")
    completion_ns = column("int64", "epoch ns", "end of the response time, by --start-end", null=-1)
    response_time_ns = column("int64", "ns", "completion − arrival", null=-1)
    is_overlapped = column("uint8", "bool", "whether client bytes of it were sent while a response was still going on")
    is_first = column("uint8", "bool", "whether it is the first of its connection that was captured")
    is_handshake = column(
        "uint8",
        "bool",
        "whether it is all of a TLS handshake: from the ClientHello to the client's Finished, without data; "
        "false, too, where payload was not captured",
    )


class AccountedRequests(Requests):
    """The Requests columns and where their time went, from `request_first_ns` to `response_last_ns`."""

    request_transfer_ns = column("int64", "ns", "between the first and the last data of the request")
    server_ns = column(
        "int64", "ns", "from the last data of the request to the first of its answer: the path to the server is in it"
    )
    response_transfer_ns = column("int64", "ns", "between the first and the last data of the answer")
    recovery_ns = column("int64", "ns", "waiting for what was sent again, and for its acknowledgment")
    receiver_limited_ns = column("int64", "ns", "a sender waited for the receiver's window to open")
    path_limited_ns = column("int64", "ns", "a sender waited for the path: it went on when an acknowledgment came")
    unknown_ns = column("int64", "ns", "none of these, or it cannot be told")
    limited_by = column("uint8", "", "the largest of these parts; null for 0 ns", names=TIME_PARTS, null=255)


class Sketches(Table):
    """How many answered requests of a service arrived in a minute with a response time in a bucket.

    Buckets divide every power of two into 64, whatever the data, so counts of any minutes and services add up to those
    of the whole: percentiles of any grouping come from them, within 0.8 %. A bucket of a minute may have several rows.
    """

    start_ns = column("int64", "epoch ns", "when the minute begins, in UTC")
    server_address = column("uint8", "address", "server", width=16)
    server_port = column("uint16", "", "server's port")
    ip_version = column("uint8", "", "4 or 6")
    low_ns = column("int64", "ns", "least response time of the bucket")
    high_ns = column("int64", "ns", "all response times of the bucket are below it")
    middle_ns = column("int64", "ns", "stands for all of them: within 0.8 % of each")
    requests = column("int64", "", "how many")


class Unanswered(Requests):
    """One row per request that was never answered: the Requests columns with null response times.

    `end_ns` is when it stopped waiting: the end of its connection or of the capture.
    """

    end_ns = column(
        "int64", "epoch ns", "last segment of its connection, or end of the capture where it was still open"
    )
    is_open = column(
        "uint8", "bool", "whether the server's side was still open when the capture ended: the answer may have come later"
    )


class RequestCounts(Table):
    """What `requests` knows about a connection when it ends; these columns complete its Connections row."""

    connection_id = column("int64", "", "the connection")
    requests = column("int64", "", "answered requests")
    unanswered = column("int64", "", "1 if the last request was never answered")
    unsolicited_bytes = column("int64", "B", "server bytes before any request")
    is_farewell = column(
        "uint8", "bool", "whether the last client data was followed at once, and only, by the client's FIN"
    )


class ConnectionAccounts(Table):
    """Where a connection's time went, when it ends; these columns complete its Connections row."""

    connection_id = column("int64", "", "the connection")
    think_ns = column("int64", "ns", "after an answer (or the handshake), until the client speaks again")
    request_transfer_ns = column("int64", "ns", "between the first and the last data of a request")
    server_ns = column(
        "int64", "ns", "from the last data of a request to the first of its answer: the path to the server is in it"
    )
    response_transfer_ns = column("int64", "ns", "between the first and the last data of an answer")
    recovery_ns = column("int64", "ns", "waiting for what was sent again, and for its acknowledgment")
    receiver_limited_ns = column("int64", "ns", "a sender waited for the receiver's window to open")
    path_limited_ns = column("int64", "ns", "a sender waited for the path: it went on when an acknowledgment came")
    unknown_ns = column("int64", "ns", "none of these, or it cannot be told")
    limited_by = column("uint8", "", "the largest of these parts; null for 0 ns", names=TIME_PARTS, null=255)
    vantage = column("uint8", "", "where it was captured: at the server, at the client, between", names=VANTAGES)
    vantage_confidence = column("float64", "", "how sure that is, 0 to 1; null if unknown", null=-1)


class RequestAccounts(Table):
    """Where an answered request's time went; the order is that in which the next ones began, or connections ended."""

    connection_id = column("int64", "", "the connection")
    request_index = column("int64", "", "0, 1, 2 … in its connection, where no bytes are of TLS")
    request_first_ns = column("int64", "epoch ns", "the client segment it began with")
    request_transfer_ns = column("int64", "ns", "between the first and the last data of the request")
    server_ns = column(
        "int64", "ns", "from the last data of the request to the first of its answer: the path to the server is in it"
    )
    response_transfer_ns = column("int64", "ns", "between the first and the last data of the answer")
    recovery_ns = column("int64", "ns", "waiting for what was sent again, and for its acknowledgment")
    receiver_limited_ns = column("int64", "ns", "a sender waited for the receiver's window to open")
    path_limited_ns = column("int64", "ns", "a sender waited for the path: it went on when an acknowledgment came")


class SplitRequests(Table):
    """One row per answered request of the client-side capture: where its time went, by two captures.

    All times are by the client-side clock unless they say otherwise. ``request_path_ns + server_ns + response_path_ns``
    is exactly the time from the request's last segment to the end of the response time; with ``client_ns`` it is that
    from its first segment.
    """

    connection_id = column("int64", "", "the connection in the client-side capture")
    request_index = column("int64", "", "0, 1, 2 … in its connection, in the client-side capture")
    server_side_connection_id = column("int64", "", "the connection in the server-side capture", null=-1)
    client_address, client_port, server_address, server_port = endpoints("client, as the client side sees it", "server, as the client side sees it")
    ip_version = column("uint8", "", "4 or 6", internal=True)
    outcome = column(
        "uint8",
        "",
        "split; unpaired: its connection is in the client-side capture only; unseen: the server-side capture lacks bytes of it; "
        "crossed: the server began to answer before it had the whole request; clock_step: a clock was set while it lasted; "
        "reversed: its client is nearer the server-side point",
        names=SPLITS,
    )
    arrival_ns = column("int64", "epoch ns", "start of the response time at the client-side point, by --start-end")
    completion_ns = column("int64", "epoch ns", "its end")
    response_time_ns = column("int64", "ns", "response time at the client-side point")
    server_side_response_time_ns = column("int64", "ns", "at the server-side point, by the clock there", null=-1)
    client_ns = column("int64", "ns", "the client's part: from the request's first segment to its last, client-side point")
    request_path_ns = column("int64", "ns", "until its last byte was at the server-side point", null=-1)
    server_ns = column("int64", "ns", "until the response, or its end, was there", null=-1)
    response_path_ns = column("int64", "ns", "until that was at the client-side point", null=-1)
    path_error_ns = column("int64", "ns", "what one way may have too much and the other too little", null=-1)
    request_bytes = column("int64", "B", "new stream bytes of the request at the client-side point")
    response_bytes = column("int64", "B", "new stream bytes of the response at the client-side point")


class Intervals(Table):
    """One row per slice [start, end) of capture time, empty ones included."""

    start_ns = column("int64", "epoch ns", "start of the slice, aligned to the epoch unless it is the first")
    length_ns = column("int64", "ns", "its length")
    is_partial = column("uint8", "bool", "whether the capture began or ended inside it")
    is_gap = column("uint8", "bool", "whether this row stands for over 100,000 empty slices in a row")
    arrivals = column("int64", "", "answered requests that arrived in it")
    completions = column("int64", "", "answered requests that completed in it")
    backlog = column("int64", "", "answered requests resident at its end")
    unanswered = column("int64", "", "requests that arrived in it and were never answered")
    unanswered_backlog = column("int64", "", "never-answered requests resident at its end")
    unanswered_weighted_ns = column("int64", "ns", "residence of never-answered requests inside it")
    arrival_rate_per_s = column("float64", "1/s", "arrivals / length; null where all of the capture is one instant")
    throughput_per_s = column("float64", "1/s", "completions / length; null likewise")
    concurrency = column("float64", "", "time-averaged requests resident: weighted_ns / length_ns; null likewise")
    busy_ns = column("int64", "ns", "time with at least one request resident")
    utilization_fraction = column("float64", "", "busy_ns / length_ns; null likewise")
    weighted_ns = column("int64", "ns", "residence of requests inside it, summed over requests")
    response_time_sum_ns = column("int64", "ns", "sum of response times of the requests that arrived in it")
    response_time_mean_ns = column("float64", "ns", "their mean", null=-1)
    response_time_p50_ns = column("int64", "ns", "their median, nearest rank", null=-1)
    response_time_p95_ns = column("int64", "ns", "their 95th percentile, nearest rank", null=-1)
    response_time_p99_ns = column("int64", "ns", "their 99th percentile, nearest rank", null=-1)
    response_time_max_ns = column("int64", "ns", "their maximum", null=-1)
    response_time_dispersion_ns = column(
        "float64", "ns", "their population variance / mean (index of dispersion)", null=-1
    )
    late = column("int64", "", "live only: completions that came after their slice had been printed")

    def stumps(self, interval_ns: int = 0) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Tell which slices the capture's ends cut to less than half: rates in them are chance, shape (n,).

        Parameters
        ----------
        interval_ns : int
            How long a whole slice is, if it is more than the longest of these.
        """
        whole_ns = max(int(self.length_ns[self.is_gap == 0].max(initial=0)), interval_ns)
        found: np.ndarray[Any, np.dtype[np.bool_]] = (self.is_partial != 0) & (2 * self.length_ns < whole_ns)
        return found


class KeyedIntervals(Intervals):
    """One row per slice and key: the Intervals columns of one service, server or client.

    All keys have the same slices. The rows of a slice follow each other, by requests, and the last is `other`.
    """

    server_address = column("uint8", "address", "the server; null where it is not part of the key", null=0, width=16)
    server_port = column("int32", "", "the server's port; null where it is not part of the key", null=-1)
    client_address = column("uint8", "address", "the client; null where it is not part of the key", null=0, width=16)
    is_other = column("uint8", "bool", "whether this row stands for all keys that have no rows of their own")


class ServiceTotals(Table):
    """Live: one row per service, with what was counted since the watch began, and what is the case now.

    Counts never fall. Open connections are counted with what they are so far.
    """

    server_address = column("uint8", "address", "the server; null for the others", null=0, width=16)
    server_port = column("int32", "", "the server's port; null for the others", null=-1)
    ip_version = column("uint8", "", "4 or 6; null for the others", null=0)
    is_other = column("uint8", "bool", "whether this row stands for all services that have no rows of their own")
    requests = column("int64", "", "requests answered")
    late = column("int64", "", "of these, those answered after the slice of their arrival had been printed")
    response_time_sum_ns = column("int64", "ns", "sum of their response times")
    unanswered = column("int64", "", "requests whose connection ended without an answer")
    waiting = column("int64", "", "requests that wait for an answer now")
    connections = column("int64", "", "connections seen")
    open_connections = column("int64", "", "connections open now: neither refused, reset, closed nor unanswered")
    unanswered_connections = column("int64", "", "connections whose SYN was never answered")
    refused_connections = column("int64", "", "connections that the server refused by RST")
    client_resets = column("int64", "", "connections that the client ended by RST")
    server_resets = column("int64", "", "connections that the server ended by RST")
    client_bytes = column("int64", "B", "stream bytes sent by clients, retransmissions counted once")
    server_bytes = column("int64", "B", "stream bytes sent by the server, retransmissions counted once")
    client_segments = column("int64", "", "segments sent by clients")
    server_segments = column("int64", "", "segments sent by the server")
    client_retransmissions = column("int64", "", "segments that clients sent again")
    server_retransmissions = column("int64", "", "segments that the server sent again")
    gap_bytes = column("int64", "B", "stream bytes of both sides that were acknowledged or passed over, but not captured")


class Network(Table):
    """One row per connection and direction, when the connection ends: the client's direction, then the server's.

    A count or size is of what this direction's sender sent, its acknowledgments and windows included; round trips,
    bytes in flight and outstanding time are of its data, to the acknowledgments of the other side. All is as seen at
    the capture point; capture duplicates are left out. Null where sequence numbers are not known.
    """

    connection_id = column("int64", "", "the connection")
    direction = column("uint8", "", "who sent it", names=DIRECTIONS)
    client_address, client_port, server_address, server_port = endpoints()
    ip_version = column("uint8", "", "4 or 6")
    start_ns = column("int64", "epoch ns", "first segment of the connection")
    end_ns = column("int64", "epoch ns", "last segment of the connection")
    vantage = column("uint8", "", "where it was captured: as seen there is all else", names=VANTAGES)
    vantage_confidence = column("float64", "", "how sure that is, 0 to 1; null if unknown", null=-1)
    is_approximate = column("uint8", "bool", "whether counts may be off: more holes than are kept")
    segments = column("int64", "", "segments sent")
    wire_segments = column(
        "int64", "", "the same with offloaded segments counted as the full-size ones that they are on the wire"
    )
    bytes = column("int64", "B", "payload bytes captured for the first time", null=-1)
    retransmissions = column("int64", "", "segments without any new byte, SYN and FIN included", null=-1)
    timeout_retransmissions = column("int64", "", "of those, sent because a timer ran out, and what followed it", null=-1)
    fast_retransmissions = column("int64", "", "of those, sent because acknowledgments told of a loss", null=-1)
    tail_loss_probes = column("int64", "", "of those, the last segment sent again once to provoke an answer", null=-1)
    spurious_retransmissions = column("int64", "", "of those, found needless: the receiver had it all", null=-1)
    control_retransmissions = column("int64", "", "of all retransmissions, repeated SYNs, SYN-ACKs and FINs", null=-1)
    retransmitted_bytes = column("int64", "B", "payload bytes sent again", null=-1)
    keep_alives = column("int64", "", "keep-alives sent", null=-1)
    zero_window_probes = column("int64", "", "probes sent into a closed window", null=-1)
    out_of_order = column("int64", "", "segments that filled a hole: overtaken, or lost before the capture point", null=-1)
    reordered = column("int64", "", "of those, too early for a retransmission: overtaken on the way", null=-1)
    reordering_max_bytes = column("int64", "B", "how far behind the highest byte seen a reordered one came", null=-1)
    duplicate_acks = column("int64", "", "acknowledgments that repeat the last one (RFC 5681 §2)", null=-1)
    zero_windows = column("int64", "", "segments that announced a closed window", null=-1)
    zero_window_ns = column("int64", "ns", "how long its window was closed", null=-1)
    window_full = column("int64", "", "segments that filled the window of the other side", null=-1)
    window_max_bytes = column("int64", "B", "largest window announced, SYNs left out; null if one is unknown", null=-1)
    in_flight_max_bytes = column("int64", "B", "most bytes sent and not yet acknowledged", null=-1)
    mss_bytes = column("int64", "B", "largest segment it will take, as its SYN said", null=-1)
    rtt_samples = column("int64", "", "round trips measured, by Karn's rule", null=-1)
    rtt_delayed_samples = column("int64", "", "of those, such that the acknowledgment may have been delayed", null=-1)
    rtt_min_ns = column("int64", "ns", "shortest round trip", null=-1)
    rtt_p50_ns = column("int64", "ns", "median of the clean round trips, of all if none is clean; within 5 %", null=-1)
    rtt_p95_ns = column("int64", "ns", "their 95th percentile; within 5 %", null=-1)
    rtt_max_ns = column("int64", "ns", "their maximum", null=-1)
    srtt_ns = column("int64", "ns", "smoothed round trip at the end, of all (RFC 6298)", null=-1)
    rttvar_ns = column("int64", "ns", "its mean deviation", null=-1)
    rto_ns = column("int64", "ns", "time-out that follows, before any lower bound: srtt + 4 rttvar", null=-1)
    echo_rtt_samples = column(
        "int64",
        "",
        "round trips by timestamps: until the other side, while it sends data, echoes one of this side",
        null=-1,
    )
    echo_rtt_min_ns = column("int64", "ns", "the shortest of them", null=-1)
    echo_rtt_max_ns = column("int64", "ns", "the longest of them", null=-1)
    throughput_bits_per_s = column("int64", "bit/s", "all payload bits / duration of the connection", null=-1)
    goodput_bits_per_s = column("int64", "bit/s", "first-time payload bits / duration of the connection", null=-1)
    non_idle_goodput_bits_per_s = column(
        "int64", "bit/s", "first-time payload bits / non-idle time; null where captured at the receiver, or that can't be told", null=-1
    )
    non_idle_ns = column(
        "int64", "ns", "time with bytes sent and not yet acknowledged; null where captured at the receiver, or that can't be told", null=-1
    )
    window_limited_ns = column(
        "int64",
        "ns",
        "time in which what was in flight left no room for another segment in the other side's window",
        null=-1,
    )
    window_below_mss_ns = column(
        "int64", "ns", "how long its window had no room for one segment of the size it takes; null if that is unknown", null=-1
    )
    # What findings are made from.
    zero_window_longest_ns = column("int64", "ns", "its longest time with a closed window", internal=True)
    zero_window_longest_start_ns = column("int64", "epoch ns", "when that began", internal=True)
    rising_samples = column("int64", "", "clean round trips of data", internal=True)
    rising_correlation = column("float64", "", "of those with bytes in flight", internal=True)
    high_samples = column("int64", "", "clean round trips far above the shortest", internal=True)
    high_first_ns = column("int64", "epoch ns", "the first of them", internal=True)
    high_last_ns = column("int64", "epoch ns", "the last of them", internal=True)
    echo_high_samples = column("int64", "", "round trips by timestamps far above the shortest", internal=True)
    echo_high_first_ns = column("int64", "epoch ns", "the first of them", internal=True)
    echo_high_last_ns = column("int64", "epoch ns", "the last of them", internal=True)
    nagle_count = column("int64", "", "small segments held back until a delayed acknowledgment came", internal=True)
    nagle_first_ns = column("int64", "epoch ns", "the first of them", internal=True)
    nagle_last_ns = column("int64", "epoch ns", "the last of them", internal=True)
    restart_count = column("int64", "", "pauses after which less was in flight than before", internal=True)
    restart_first_ns = column("int64", "epoch ns", "the first of them", internal=True)
    restart_last_ns = column("int64", "epoch ns", "the last of them", internal=True)
    stall_start_ns = column("int64", "epoch ns", "when the bytes that were sent again most were sent first", internal=True)
    stall_end_ns = column("int64", "epoch ns", "when they were sent last, or acknowledged at last", internal=True)
    stall_retransmissions = column("int64", "", "how often they were sent again", internal=True)
    stall_peer_segments = column("int64", "", "what the other side sent meanwhile", internal=True)
    stall_offset = column("int64", "B", "where in the stream they begin", internal=True)
    stall_payload_bytes = column("int64", "B", "payload of the segment", internal=True)
    stall_is_over = column("uint8", "bool", "whether they were acknowledged at last", internal=True)
    payload_acked_max_bytes = column("int64", "B", "largest segment that was acknowledged", internal=True)
    needless_syn_acks = column("int64", "", "SYN-ACKs sent again after they had been acknowledged", internal=True)
    # What follows is null in rows of a lake that was written before it was counted.
    repeated_syns = column("int64", "", "SYNs, without an ACK, sent again", null=-1, internal=True)
    repeated_syn_acks = column("int64", "", "SYN-ACKs sent again", null=-1, internal=True)
    stepped_back_ns = column("int64", "ns", "how far its clock was set back while it lasted", null=-1, internal=True)
    unseen_pause_ns = column(
        "int64", "ns", "pauses in which its sender may have had data outstanding for all that is seen here", null=-1, internal=True
    )
    doubtful_pause_ns = column("int64", "ns", "of these, those before which it had more to send", null=-1, internal=True)


class Findings(Table):
    """One row per condition found at a service, worst first; in one direction of its connections where it has one."""

    kind = column("uint8", "", "what it is", names=FINDINGS)
    severity = column("uint8", "", "how bad it is", names=SEVERITIES)
    start_ns = column("int64", "epoch ns", "when it was so first")
    end_ns = column("int64", "epoch ns", "when it was so last")
    subject = column("S80", "", "the service, and who at it")
    direction = column("uint8", "", "whose data it is about; null where it is about both", names=DIRECTIONS, null=255)
    connections = column("int64", "", "connections that show it")
    connection_id = column("int64", "", "the one that shows it most; null where it is about all", null=-1)
    confidence = column("float64", "", "how sure, 0 to 1")
    summary = column("S480", "", "what was seen, in a sentence")
    evidence = column("S2048", "JSON", "the rule and the numbers that met it: an object in JSON lines, its text elsewhere")
    server_address = column("uint8", "address", "server", width=16)
    server_port = column("uint16", "", "server's port")
    ip_version = column("uint8", "", "4 or 6", internal=True)


class Policed(Table):
    """One row per exchange and direction whose losses or rates are worth a judgment, when the exchange ends.

    An exchange is a request and its response: it ends when the client speaks again after all of the response was
    acknowledged, or with the connection. Worth it: 15 segments lost, or 64 sent over 200 ms.
    """

    connection_id = column("int64", "", "the connection")
    direction = column("uint8", "", "who sent it", names=DIRECTIONS)
    made_by = column(
        "int32", "", "what of its batch made it final: this segment, or the boundary −1, −2 …", internal=True
    )
    client_address, client_port, server_address, server_port = endpoints()
    ip_version = column("uint8", "", "4 or 6")
    start_ns = column("int64", "epoch ns", "first data segment of this direction in the exchange")
    end_ns = column("int64", "epoch ns", "last one")
    is_cut = column("uint8", "bool", "whether there was more than is remembered; judged by what was remembered")
    is_lost_before = column("uint8", "bool", "whether most losses are holes: lost before the capture point")
    segments = column("int64", "", "data segments on the wire, offloaded ones cut to size")
    losses = column("int64", "", "of those, sent again and not needlessly; or missed, and seen a round trip later")
    passes = column("int64", "", "of those, the others")
    is_policed = column("uint8", "bool", "whether a token bucket explains which were lost, and no queue does")
    rate_bits_per_s = column(
        "int64", "bit/s", "payload rate at which it fills, that which explains best; null if not policed", null=-1
    )
    rate_low_bits_per_s = column("int64", "bit/s", "lowest that explains nearly as well; null if not policed", null=-1)
    rate_high_bits_per_s = column("int64", "bit/s", "highest that does; null if not policed", null=-1)
    bucket_bytes = column("int64", "B", "what it held before the first loss; null if not policed", null=-1)
    burst_bytes = column("int64", "B", "what passed before the first loss; null without losses", null=-1)
    loss_start_ns = column("int64", "epoch ns", "first loss; null if there was none", null=-1)
    loss_end_ns = column("int64", "epoch ns", "last loss; null if there was none", null=-1)
    slices_with_loss = column("int64", "", "round trips in which something was lost; null if unknown", null=-1)
    order_fraction = column(
        "float64", "", "chance that the bucket held less at a loss than at a pass: ½ by chance; null if too few", null=-1
    )
    queued_fraction = column("float64", "", "share of losses behind a grown round trip; null if too few", null=-1)
    verdict = column("uint8", "", "what the detector of Flach et al. says", names=POLICING_VERDICTS)
    trimmed_verdict = column(
        "uint8", "", "the same without the first two and the last two losses", names=POLICING_VERDICTS
    )
    paper_rate_bits_per_s = column("int64", "bit/s", "its rate, where it says policed", null=-1)
    inflated_losses = column("int64", "", "its losses behind an inflated round trip; null if not counted", null=-1)
    rtt_p50_ns = column("int64", "ns", "median round trip of the path, as the tests use it; null if unknown", null=-1)
    is_shaped = column("uint8", "bool", "whether it was delivered at one rate, behind a queue or after a burst")
    shaped_rate_bits_per_s = column("int64", "bit/s", "that rate; null if not shaped", null=-1)
    shaped_burst_bytes = column(
        "int64", "B", "what was delivered beyond that rate before; null if nothing: a slow link looks so too", null=-1
    )
    shaped_start_ns = column("int64", "epoch ns", "when delivery at that rate began; null if not shaped", null=-1)
    shaped_end_ns = column("int64", "epoch ns", "when it ended; null if not shaped", null=-1)
    queue_p50_ns = column("int64", "ns", "median wait in the queue meanwhile; null if not seen", null=-1)
    queue_max_ns = column("int64", "ns", "longest wait in it; null if not seen", null=-1)
    this_side_ns = column("int64", "ns", "handshake round trip to its receiver; 0 if unknown", internal=True)
    other_side_ns = column("int64", "ns", "handshake round trip to its sender; 0 if unknown", internal=True)


class Unseen(Table):
    """What was not understood, counted: one row per reason that occurred."""

    reason = column("uint8", "", "why it did not become a number", names=REASONS)
    count = column("int64", "", "how many (frames, segments or lines, as the reason says)")
    bytes = column("int64", "B", "how many bytes, where bytes are what is missing")
    first_frame = column("int64", "", "first frame where it happened; null if no frame is to blame", null=-1)
    furthest_back_ns = column("int64", "ns", "of times that go backwards, the longest step; null elsewhere", null=-1)


class Sockets(Table):
    """One row per TCP socket of this machine, as its kernel tells it; null where it does not (sockets in time_wait)."""

    read_ns = column("int64", "epoch ns", "when it was read")
    local_address = column("uint8", "address", "this machine's side", width=16)
    local_port = column("uint16", "", "this machine's port")
    remote_address = column("uint8", "address", "the other side", width=16)
    remote_port = column("uint16", "", "the other side's port; 0 of a socket that listens")
    ip_version = column("uint8", "", "4 or 6, on the wire", internal=True)
    is_mapped = column("uint8", "bool", "whether it is IPv4 through a socket of IPv6 (::ffff:a.b.c.d)")
    state = column("uint8", "", "what the kernel does with it", names=SOCKET_STATES)
    role = column("uint8", "", "server: somebody listens on the local port; else client", names=SOCKET_ROLES)
    process = column("S60", "", "name of the process that holds it; empty if none may be seen")
    pid = column("int64", "", "its number; null if none may be seen", null=-1)
    holders = column("int64", "", "how many processes hold it; null if none may be seen", null=-1)
    uid = column("int64", "", "the account that made it; null once no process holds it", null=-1)
    inode = column("int64", "", "its inode; 0 once no process holds it; null if the kernel keeps none (time_wait, syn_received)", null=-1)
    cookie = column("int64", "", "the kernel's name for it: no other socket gets the same")
    family = column("uint8", "", "address family of the socket", internal=True)
    identity = column("uint8", "", "ports, addresses, interface and cookie as the kernel told them", width=48, internal=True)
    receive_queue_bytes = column("int64", "B", "received, not yet read by the process; null if it has no queue", null=-1)
    send_queue_bytes = column("int64", "B", "written by the process, not yet acknowledged; null if it has no queue", null=-1)
    not_sent_bytes = column("int64", "B", "of these, not yet sent", null=-1)
    rtt_ns = column("int64", "ns", "smoothed round-trip time (RFC 6298)", null=-1)
    rtt_variation_ns = column("int64", "ns", "its mean deviation", null=-1)
    rtt_min_ns = column("int64", "ns", "least round-trip time of the last minutes", null=-1)
    receiver_rtt_ns = column("int64", "ns", "round-trip time as the receiver estimates it", null=-1)
    rto_ns = column("int64", "ns", "retransmission time-out", null=-1)
    congestion_control = column("S16", "", "congestion control algorithm")
    congestion_window_segments = column("int64", "", "congestion window", null=-1)
    slow_start_threshold_segments = column("int64", "", "slow start threshold; null while there is none", null=-1)
    in_flight_segments = column("int64", "", "sent and not acknowledged", null=-1)
    sacked_segments = column("int64", "", "of these, received out of order", null=-1)
    lost_segments = column("int64", "", "of these, taken for lost", null=-1)
    retransmitted_segments_out = column("int64", "", "of these, sent again", null=-1)
    window_bytes = column("int64", "B", "what the other side allows to be sent", null=-1)
    mss_bytes = column("int64", "B", "largest segment sent", null=-1)
    path_mtu_bytes = column("int64", "B", "path MTU", null=-1)
    bytes_sent = column("int64", "B", "stream bytes sent, sent again ones included", null=-1)
    bytes_acked = column("int64", "B", "acknowledged, a SYN counted as one", null=-1)
    bytes_received = column("int64", "B", "stream bytes received in order", null=-1)
    bytes_retransmitted = column("int64", "B", "stream bytes sent again", null=-1)
    segments_sent = column("int64", "", "segments sent", null=-1)
    segments_received = column("int64", "", "segments received", null=-1)
    retransmissions = column("int64", "", "segments sent again", null=-1)
    out_of_order_received = column("int64", "", "segments received out of order", null=-1)
    delivery_rate_bits_per_s = column("int64", "bit/s", "last rate at which bytes were delivered", null=-1)
    is_application_limited = column("uint8", "bool", "whether that rate is the process's, not the path's", null=255)
    pacing_rate_bits_per_s = column("int64", "bit/s", "rate at which it sends at most; null if unlimited", null=-1)
    busy_ns = column("int64", "ns", "time with data to send or in flight", null=-1)
    receiver_limited_ns = column("int64", "ns", "of it, waiting for the other side's window", null=-1)
    buffer_limited_ns = column("int64", "ns", "of it, waiting for room in the send buffer", null=-1)
    last_sent_ns = column("int64", "ns", "since data was sent, or it was set up", null=-1)
    last_received_ns = column("int64", "ns", "since data was received; null if never", null=-1)
    last_acked_ns = column("int64", "ns", "since an acknowledgment was received", null=-1)
    idle_ns = column("int64", "ns", "since data was sent or received, or it was set up", null=-1)
    least_age_ns = column("int64", "ns", "it is not younger than this: the longer of last_sent and last_received", null=-1)
    service_slice_ns = column("int64", "epoch ns", "start of the slice that --watch told last of its service", null=-1)
    service_throughput_per_s = column("float64", "1/s", "completions a second in that slice")
    service_concurrency = column("float64", "", "mean number of requests resident in it")
    service_response_time_p50_ns = column("int64", "ns", "median response time in it", null=-1)
    service_response_time_p99_ns = column("int64", "ns", "99th percentile of response times in it", null=-1)


class UnseenCounter:
    """Counts, per reason, what a room did not understand.

    Attributes
    ----------
    counts : ndarray of int64, shape (reasons, 3)
        Count, bytes and first frame (0 while none) of each of `REASONS`; kernels write into it.
    furthest_back_ns : int
        The longest step of times that go backwards; 0 while none did.
    """

    __slots__ = ("counts", "furthest_back_ns")

    def __init__(self) -> None:
        self.counts = np.zeros((len(REASONS), 3), np.int64)
        self.furthest_back_ns = 0

    def add(self, reason: str, count: int = 1, byte_count: int = 0, frame_number: int = 0) -> None:
        """Count `count` occurrences of `reason`, first met at `frame_number` (0: no frame is to blame)."""
        row = self.counts[REASONS.index(reason)]
        row[0] += count
        row[1] += byte_count
        if frame_number and (row[2] == 0 or frame_number < row[2]):
            row[2] = frame_number

    def merge(self, other: UnseenCounter) -> None:
        """Add what another room, or another worker, counted."""
        first, theirs = self.counts[:, 2], other.counts[:, 2]
        first[:] = np.where(first == 0, theirs, np.where(theirs == 0, first, np.minimum(first, theirs)))
        self.counts[:, :2] += other.counts[:, :2]
        self.furthest_back_ns = max(self.furthest_back_ns, other.furthest_back_ns)

    def table(self) -> Unseen:
        """Give one row per reason that occurred, in the order of `REASONS`."""
        where = np.flatnonzero(self.counts[:, 0] | self.counts[:, 1])
        table = Unseen.allocate(len(where))
        table.reason[:] = where
        table.count[:], table.bytes[:] = self.counts[where, 0], self.counts[where, 1]
        table.first_frame[:] = np.where(self.counts[where, 2] == 0, -1, self.counts[where, 2])
        step_ns = min(self.furthest_back_ns, 2**63 - 1)
        table.furthest_back_ns[:] = np.where(where == REASONS.index("time_backwards"), step_ns, -1)
        return table
