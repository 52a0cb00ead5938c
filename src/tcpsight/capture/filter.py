"""Lets through the frames that a capture filter (BPF expression) matches.

Theory of operation
-------------------
libpcap compiles the expression, once per link type, because where the IP header lies depends on it. The
program is then run here, over whole batches, on every frame by itself: fragments and retransmissions
know nothing of each other. Numbers of frames stay what they were.

What it cannot see: bytes that were not captured (a filter that looks at them does not match, as with
tcpdump); in text without hex lines everything but IP and TCP headers; which way a frame went, unless the link
type says so (Linux cooked).
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import struct
import sys
from typing import Any

import numpy as np

from tcpsight.capture import _bpf
from tcpsight.errors import UsageError
from tcpsight.tables import LINK_TYPE_TEXT_LENGTHS, Frames

SNAPLEN = 262_144
"""What programs return for a match; libpcap's MAXIMUM_SNAPLEN."""

NETMASK_UNKNOWN = 0xFFFFFFFF

LINK_TYPE_NULL = 0
LINK_TYPE_RAW = 101
LINK_TYPE_SWAPPED_NULL = 65_281
"""Pseudo link type of BSD loopback frames whose address family is in the other byte order than this machine's."""

TRIAL_LINK_TYPES = (1, 101, 113)
"""Ethernet, raw IP, Linux cooked: an expression that compiles for none of them is a mistake."""

REJECTS_ALL = "rejects all packets"
"""libpcap's words for an expression that contradicts itself or the link type."""

RETURN_NOTHING = struct.pack("=HBBI", 0x06, 0, 0, 0)
"""The program that lets nothing through."""

SURVEY_FRAMES = 100_000
"""Frames looked at for `FrameFilter.why_nothing_matched`."""

LIBRARY_MISSING = (
    "--filter needs libpcap, which is not installed; "
    "install the package libpcap0.8 (Debian, Ubuntu) or libpcap (others)"
)


INSTRUCTION_BYTES = 8
ERROR_BYTES = 256


class _Program(ctypes.Structure):
    """libpcap's ``struct bpf_program``."""

    _fields_ = (("bf_len", ctypes.c_uint), ("bf_insns", ctypes.c_void_p))


class _Libpcap:
    """The few functions of libpcap that compile.

    The expression is compiled for an empty capture file, not for "no capture" (``pcap_open_dead``): libpcap
    then translates the link type and knows the address families of other systems.
    """

    def __init__(self) -> None:
        self._pcap = self._load()
        self._libc = ctypes.CDLL(None)
        address = ctypes.c_void_p
        for library, name, result, arguments in (
            (self._libc, "fdopen", address, (ctypes.c_int, ctypes.c_char_p)),
            (self._libc, "fclose", ctypes.c_int, (address,)),
            (self._pcap, "pcap_fopen_offline", address, (address, ctypes.c_char_p)),
            (self._pcap, "pcap_open_dead", address, (ctypes.c_int, ctypes.c_int)),
            (
                self._pcap,
                "pcap_compile",
                ctypes.c_int,
                (address, ctypes.POINTER(_Program), ctypes.c_char_p, ctypes.c_int, ctypes.c_uint32),
            ),
            (self._pcap, "pcap_geterr", ctypes.c_char_p, (address,)),
            (self._pcap, "pcap_freecode", None, (ctypes.POINTER(_Program),)),
            (self._pcap, "pcap_close", None, (address,)),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments

    @staticmethod
    def _load() -> ctypes.CDLL:
        # By name first: finding the path asks other programs and takes a while.
        for name in ("libpcap.so.0.8", "libpcap.so.1", "libpcap.so", None):
            path = name if name is not None else ctypes.util.find_library("pcap")
            try:
                if path is not None:
                    return ctypes.CDLL(path)
            except OSError:
                continue
        raise UsageError(LIBRARY_MISSING)

    def _open(self, link_type: int) -> Any:
        """Open an empty capture of one link type."""
        is_swapped = link_type == LINK_TYPE_SWAPPED_NULL
        number = {LINK_TYPE_SWAPPED_NULL: LINK_TYPE_NULL, LINK_TYPE_TEXT_LENGTHS: LINK_TYPE_RAW}.get(
            link_type, link_type
        )
        header = np.array([0xA1B2C3D4, 0, 0, 0, SNAPLEN, number], np.uint32)
        header.view(np.uint16)[2:4] = 2, 4  # the version
        if is_swapped:
            header.byteswap(inplace=True)
            header.view(np.uint16)[2:4] = header.view(np.uint16)[3:1:-1]
        reading, writing = os.pipe()
        os.write(writing, header.tobytes())
        os.close(writing)
        stream = self._libc.fdopen(reading, b"rb")
        message = ctypes.create_string_buffer(ERROR_BYTES)
        handle = self._pcap.pcap_fopen_offline(stream, message)
        if not handle:
            self._libc.fclose(stream)
            raise UsageError(message.value.decode("utf-8", "replace"))
        return handle

    def compile(self, expression: str, link_type: int, *, is_live: bool = False) -> bytes:
        """Compile an expression for one link type; for a kernel, which can be asked which way a frame goes, if live.

        Raises
        ------
        UsageError
            It does not compile; the message is libpcap's.
        """
        pcap = self._pcap
        handle = pcap.pcap_open_dead(link_type, SNAPLEN) if is_live else self._open(link_type)
        program = _Program()
        try:
            if pcap.pcap_compile(handle, ctypes.byref(program), expression.encode("utf-8"), 1, NETMASK_UNKNOWN):
                raise UsageError(pcap.pcap_geterr(handle).decode("utf-8", "replace"))
            instructions = ctypes.string_at(program.bf_insns, program.bf_len * INSTRUCTION_BYTES)
            pcap.pcap_freecode(ctypes.byref(program))
            return instructions
        finally:
            pcap.pcap_close(handle)


class FrameFilter:
    """Let through the frames that an expression matches.

    Parameters
    ----------
    expression : str
        A capture filter, as tcpdump takes it: ``tcp port 3306 and host 10.0.0.1``.

    Attributes
    ----------
    examined, matched : int
        Frames looked at and let through so far.

    Raises
    ------
    UsageError
        libpcap is not installed, or the expression does not compile for any common link type.
    """

    def __init__(self, expression: str) -> None:
        if "\0" in expression:
            raise UsageError("--filter: the expression contains a NUL character")
        try:
            expression.encode()
        except UnicodeEncodeError:  # bytes of a command line that are no UTF-8 arrive as surrogates
            raise UsageError(f"--filter {expression!r}: the expression is not UTF-8") from None
        self.expression = expression
        self.examined = 0
        self.matched = 0
        self._library = _Libpcap()
        self._programs: dict[int, bytes] = {}
        self._hopeless: list[int] = []
        self._block = Frames()
        self._survey = _Survey()
        self._try()

    def _try(self) -> None:
        """Find mistakes in the expression before any frame is read."""
        failures = []
        for link_type in TRIAL_LINK_TYPES:
            try:
                self._library.compile(self.expression, link_type)
                return
            except UsageError as failure:
                failures.append(str(failure))
        raise UsageError(f"--filter {self.expression!r}: {failures[0]}")

    def _program(self, link_type: int) -> bytes:
        program = self._programs.get(link_type)
        if program is not None:
            return program
        where = f"--filter {self.expression!r} cannot be used on frames of link type {link_type}"
        try:
            program = self._library.compile(self.expression, link_type)
        except UsageError as failure:
            if REJECTS_ALL not in str(failure):
                raise UsageError(f"{where}: {failure}") from None
            program = RETURN_NOTHING  # other link types of the capture may match
            self._hopeless.append(link_type)
        wrong = _bpf.check(program)
        if wrong:
            raise UsageError(f"{where}: {_bpf.FINDINGS[wrong]}")
        self._programs[link_type] = program
        return program

    def apply(self, frames: Frames) -> Frames:
        """Give the frames that match, in order, with the numbers they have.

        Parameters
        ----------
        frames : Frames
            Shape (n,).

        Returns
        -------
        Frames
            Shape (m,), m ≤ n, with the same `data` and `until_ns`; valid until the next call.

        Raises
        ------
        UsageError
            The expression does not compile for the link type of a frame.
        """
        count = len(frames)
        if count == 0:
            return frames
        data = frames.data
        rows = _with_byte_orders(np.ascontiguousarray(frames.rows), data)
        flat = rows.view(np.uint8)
        matched = np.zeros(count, np.uint8)
        passed = 0
        for link_type in _link_types(rows["link_type"]):
            passed += _bpf.match(self._program(link_type), flat, data, link_type, matched)
        self.examined += count
        self.matched += passed
        if self.matched == 0:
            self._survey.look(rows, data)
        if passed == count:
            return frames
        if len(self._block) < passed:
            self._block = Frames.allocate(max(count, passed))
        kept = self._block.rows[:passed]
        np.compress(matched.view(np.bool_), rows, out=kept)
        kept["link_type"][kept["link_type"] == LINK_TYPE_SWAPPED_NULL] = LINK_TYPE_NULL
        return Frames(kept, frames.until_ns, data, frames.origin)

    def why_nothing_matched(self) -> str:
        """Say what is likely to be wrong with the expression, for a warning where nothing was let through."""
        why = self._survey.explain(self.expression, self.examined)
        if self._hopeless:
            numbers = ", ".join(map(str, self._hopeless))
            return f"{why} (on frames of link type {numbers} it can match nothing at all, says libpcap)"
        return why


def _with_byte_orders(rows: np.ndarray[Any, Any], data: Any) -> np.ndarray[Any, Any]:
    """Tell apart BSD loopback frames of both byte orders; the rows are copied if there are any of the other order."""
    is_null = (rows["link_type"] == LINK_TYPE_NULL) & (rows["captured_bytes"] >= 4)
    if not is_null.any():
        return rows
    view = np.frombuffer(data, np.uint8)
    # Address families are small numbers, so the end of the number that is zero tells.
    high_byte = 3 if sys.byteorder == "little" else 0
    at = np.where(is_null, rows["position"], 0)
    is_swapped = is_null & (view[at + high_byte] != 0)
    if is_swapped.any():
        rows = rows.copy()
        rows["link_type"][is_swapped] = LINK_TYPE_SWAPPED_NULL
    return rows


def _link_types(column: np.ndarray[Any, Any]) -> list[int]:
    first = int(column[0])
    if bool((column == first).all()):
        return [first]
    return [int(link_type) for link_type in np.unique(column)]


_ETHERTYPES = {
    0x0800: "ipv4",
    0x86DD: "ipv6",
    0x8100: "vlan",
    0x88A8: "vlan",
    0x9100: "vlan",
    0x8847: "mpls",
    0x8848: "mpls",
    0x8863: "pppoe",
    0x8864: "pppoe",
}
_VLAN_ETHERTYPES = [ethertype for ethertype, kind in _ETHERTYPES.items() if kind == "vlan"]
_ETHERTYPE_OFFSETS = {1: 12, 113: 14, 276: 0}
_RAW_LINK_TYPES = {12, 101, 228, 229, LINK_TYPE_TEXT_LENGTHS}
_COOKED_LINK_TYPES = {113, 276}
_PREFIXES = {
    "qinq": ("carry two VLAN tags", "vlan and vlan"),
    "vlan": ("carry an 802.1Q (VLAN) tag", "vlan"),
    "mpls": ("carry an MPLS label", "mpls"),
    "pppoe": ("are inside PPPoE", "pppoes"),
}


class _Survey:
    """What kinds of frames there were, as long as none has matched."""

    def __init__(self) -> None:
        self.examined = 0
        self.kinds: dict[str, int] = {}

    def look(self, rows: np.ndarray[Any, Any], data: Any) -> None:
        """Count the kinds of some more frames."""
        if self.examined >= SURVEY_FRAMES:
            return
        self.examined += len(rows)
        view = np.frombuffer(data, np.uint8)
        for link_type in _link_types(rows["link_type"]):
            some = rows[rows["link_type"] == link_type]
            if link_type in _COOKED_LINK_TYPES:
                self._add("cooked", len(some))
            if link_type in _RAW_LINK_TYPES:
                whole = some["position"][some["captured_bytes"] >= 1]
                versions = view[whole] >> 4
                self._add("raw", len(some))
                self._add("ipv4", int((versions == 4).sum()))
                self._add("ipv6", int((versions == 6).sum()))
            offset = _ETHERTYPE_OFFSETS.get(link_type)
            if offset is None:
                continue
            at = some["position"][some["captured_bytes"] >= offset + 2] + offset
            ethertypes, counts = np.unique(view[at].astype(np.int64) << 8 | view[at + 1], return_counts=True)
            for ethertype, count in zip(ethertypes.tolist(), counts.tolist(), strict=True):
                self._add(_ETHERTYPES.get(ethertype, "other"), count)
            self._look_inside(some, view, offset)

    def _look_inside(self, rows: np.ndarray[Any, Any], view: np.ndarray[Any, Any], offset: int) -> None:
        """Count frames with a second tag among those with one."""
        at = rows["position"][rows["captured_bytes"] >= offset + 6] + offset
        outer, inner = (view[at + n].astype(np.int64) << 8 | view[at + n + 1] for n in (0, 4))
        double = int((np.isin(outer, _VLAN_ETHERTYPES) & np.isin(inner, _VLAN_ETHERTYPES)).sum())
        if double:
            self._add("qinq", double)
            self._add("vlan", -double)

    def _add(self, kind: str, count: int) -> None:
        self.kinds[kind] = self.kinds.get(kind, 0) + count

    def explain(self, expression: str, examined: int) -> str:
        """Name the likeliest cause."""
        if examined == 0:
            return "there were no frames to filter"
        words = expression.lower().replace("(", " ").replace(")", " ").split()
        frames = f"none of {examined} frames matches" if examined > 1 else "the only frame does not match"
        nothing = f"{frames} --filter {expression!r}"
        tried = words.count("vlan")
        # The most frequent first, and of equals the one that is named first.
        for kind, (what, prefix) in sorted(_PREFIXES.items(), key=lambda each: -self.kinds.get(each[0], 0)):
            count = self.kinds.get(kind, 0)
            lacking = "vlan" if kind == "qinq" and tried == 1 else prefix
            if count and not (tried >= 2 if kind == "qinq" else prefix in words):
                return (
                    f"{nothing}; {count} of them {what}, which a filter must name: try '{lacking} and ({expression})'"
                )
        if "ether" in words and self.kinds.get("cooked", 0) + self.kinds.get("raw", 0):
            return f"{nothing}; these frames have no Ethernet header, so 'ether' finds nothing in them"
        if "ip" in words and self.kinds.get("ipv6", 0) and not self.kinds.get("ipv4", 0):
            return f"{nothing}; all IP in them is IPv6: try 'ip6' or leave 'ip' out"
        if "ip6" in words and self.kinds.get("ipv4", 0) and not self.kinds.get("ipv6", 0):
            return f"{nothing}; all IP in them is IPv4: try 'ip' or leave 'ip6' out"
        if not any(self.kinds.get(kind, 0) for kind in ("ipv4", "ipv6", *_PREFIXES)):
            return f"{nothing}; no IP was found in them"
        return f"{nothing}; is the address or port the one that is seen where the capture was taken?"
