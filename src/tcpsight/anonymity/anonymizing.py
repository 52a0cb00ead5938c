"""A capture on its way to one that may be given away.

Theory of operation
-------------------
Frames come from `tcpsight.capture`, `tcpsight.decode` reads the headers of the TCP segments in them, addresses, ports
and clocks are mapped by a key, and frames are built anew from that (`rebuilding`). Every frame of the original becomes
one, at its place, so that numbers of frames, and of connections, which are named by them, stay. Frames without a
segment become blank ones. What the headers have no column for is not in the result: payload, link layers, tunnels,
other options, other protocols, names and comments.

What it cannot keep: in which tunnel a segment was; segments of text without sequence numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.anonymity.prefixes import LOW_PORTS
from tcpsight.anonymity.rebuilding import BLANK, LINK_TYPE_ETHERNET, build, shapes_of
from tcpsight.anonymity.sums import OPAQUE, PARTIAL, RIGHT, WRONG, ZERO, Runs, find_headers, folded, pseudo_sums
from tcpsight.decode import Decoding, extents_of
from tcpsight.errors import UsageError
from tcpsight.tables import OPTION_CUT, OPTION_TIMESTAMPS, OPTION_UNSEQUENCED, Frames

if TYPE_CHECKING:
    from tcpsight.anonymity.prefixes import Secrets
    from tcpsight.capture import Capture
    from tcpsight.tables import Headers

Rows = np.ndarray[Any, Any]

_LATEST_NS = 2**62


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is mapped beside addresses.

    Attributes
    ----------
    maps_ports : bool
        Ports too; they are kept otherwise.
    shift_ns : int
        What is added to all times.
    start_ns : int or None
        When the first frame shall be, instead.
    """

    maps_ports: bool = False
    shift_ns: int = 0
    start_ns: int | None = None


class Anonymizing:
    """Give the frames of a capture anew, batch by batch.

    Parameters
    ----------
    secrets : Secrets
        What maps.
    wanted : Wanted
        What is mapped.

    Attributes
    ----------
    segments, others, tunnelled, wrong, near : int
        How many frames had a TCP segment; how many had none, and are blank; how many segments were in a tunnel; how
        many had a wrong checksum; how many had two ports that are mapped among themselves, both low.
    interfaces : int
        How many interfaces frames were captured on.
    """

    def __init__(self, secrets: Secrets, wanted: Wanted) -> None:
        self.segments = self.others = self.tunnelled = self.wrong = self.near = 0
        self._secrets = secrets
        self._ports = secrets.ports() if wanted.maps_ports else None
        self._shift_ns = wanted.shift_ns
        self._start_ns = wanted.start_ns
        self._decoding = Decoding()
        self._interfaces: dict[int, int] = {}

    @property
    def interfaces(self) -> int:
        """How many interfaces frames were captured on so far."""
        return len(self._interfaces)

    def feed(self, frames: Frames) -> Frames:
        """Take the next frames of a capture; give as many.

        Raises
        ------
        UsageError
            They are of text without sequence numbers, or their times cannot be shifted so far.
        """
        headers = self._decoding.feed(frames)
        if len(headers) and (headers.options & OPTION_UNSEQUENCED).any():
            raise UsageError("text without sequence numbers has no headers to build anew: take a capture of packets")
        kinds = _checksum_kinds(frames, headers)
        mapped = self._map(headers.rows.copy())
        self.segments += len(headers)
        self.others += len(frames) - len(headers)
        self.tunnelled += int((headers.encapsulation != 0).sum())
        self.wrong += int((kinds[:, 1] == WRONG).sum())
        has_payload = headers.payload_bytes > 0
        kinds[has_payload & (kinds[:, 1] == RIGHT), 1] = OPAQUE
        return self._frames(frames, mapped, kinds, self._secrets.damage(headers.checksum))

    def _map(self, rows: Rows) -> Rows:
        """Map addresses, clocks and ports of rows, in place."""
        secrets = self._secrets
        clocks = [secrets.clock_offsets(rows[name]) for name in ("source_address", "destination_address")]
        has = rows["options"] & OPTION_TIMESTAMPS != 0
        echoes = has & (rows["timestamp_echo"] != 0)  # RSTs without ACK have them, too
        rows["timestamp_value"][has] += clocks[0][has]
        rows["timestamp_echo"][echoes] += clocks[1][echoes]
        for name in ("source_address", "destination_address"):
            rows[name] = secrets.addresses(rows[name])
        if self._ports is not None:
            self.near += int(((rows["source_port"] < LOW_PORTS) & (rows["destination_port"] < LOW_PORTS)).sum())
            for name in ("source_port", "destination_port"):
                rows[name] = self._ports[rows[name]]
        return rows

    def _frames(self, frames: Frames, mapped: Rows, kinds: Rows, damage: Rows) -> Frames:
        """Put frames together, those that were built and blank ones, in their order."""
        result = Frames.allocate(len(frames))
        for name in ("frame_number", "frame_in_file"):
            result.rows[name] = frames.rows[name]
        result.rows["time_ns"] = self._times(frames.time_ns)
        result.rows["link_type"] = LINK_TYPE_ETHERNET
        result.captured_bytes[:] = result.wire_bytes[:] = len(BLANK)
        result.interface_id[:] = self._numbered(frames.interface_id)
        places = np.searchsorted(frames.frame_number, mapped["frame_number"])
        # Of frames captured on all interfaces the header tells which one it was.
        result.interface_id[places] = self._numbered(mapped["interface_id"])
        data, size = [BLANK], len(BLANK)
        shapes = shapes_of(mapped)
        for shape in np.unique(shapes):
            members = np.flatnonzero(shapes == shape)
            built, wire_bytes = build(mapped[members], kinds[members], damage[members])
            at = places[members]
            result.position[at] = size + built.shape[1] * np.arange(len(members))
            result.captured_bytes[at] = built.shape[1]
            result.wire_bytes[at] = np.maximum(wire_bytes, built.shape[1])
            data.append(built.tobytes())
            size += built.size
        result.data = b"".join(data)
        return result

    def _times(self, times: Rows) -> Rows:
        if not len(times):
            return times
        if self._start_ns is not None:
            self._shift_ns = self._start_ns - int(times[0])
            self._start_ns = None
        shifted = times + np.int64(self._shift_ns)
        if self._shift_ns and not (int(shifted.min()) >= 0 and int(shifted.max()) < _LATEST_NS):
            raise UsageError("shifted so far, times would lie before 1970 or after 2116")
        return shifted

    def _numbered(self, interfaces: Rows) -> Rows:
        """Give interfaces the numbers in which they come."""
        distinct, first, places = np.unique(interfaces, return_index=True, return_inverse=True)
        for number in distinct[np.argsort(first)].tolist():
            self._interfaces.setdefault(number, len(self._interfaces))
        return np.array([self._interfaces[number] for number in distinct.tolist()], np.uint32)[places]


def _checksum_kinds(frames: Frames, headers: Headers) -> Rows:
    """Tell what the checksums of IP and of TCP were, shape (n, 2)."""
    rows = headers.rows
    kinds = np.zeros((len(rows), 2), np.uint8)
    if not len(rows):
        return kinds
    places = np.searchsorted(frames.frame_number, rows["frame_number"])
    begins = frames.position[places]
    raw = np.frombuffer(frames.data, np.uint8)
    ends = begins + extents_of(frames).header_bytes[places].astype(np.int64)
    found = find_headers(raw, begins, ends, rows)
    low = int(begins.min())
    runs = Runs(raw[low : int((begins + frames.captured_bytes[places]).max())])
    is_v4 = (found.ip >= 0) & (rows["ip_version"] == 4)
    # Options of IP are behind the addresses; its length stands in its first byte.
    ip_ends = found.ip + 4 * (raw[found.ip] & 0x0F)
    is_wrong = is_v4.copy()
    is_wrong[is_v4] = folded(runs.sums(found.ip[is_v4] - low, ip_ends[is_v4] - low)) != 0xFFFF
    is_zero = is_v4 & (raw[found.ip + 10] == 0) & (raw[found.ip + 11] == 0)
    kinds[:, 0] = np.where(is_wrong, np.where(is_zero, ZERO, WRONG), RIGHT)
    is_whole = (found.tcp >= 0) & (rows["captured_payload_bytes"] == rows["payload_bytes"])
    is_whole &= rows["options"] & OPTION_CUT == 0
    kinds[is_whole, 1] = _tcp_kinds(runs, rows[is_whole], found.tcp[is_whole] - low, ends[is_whole] - low)
    return kinds


def _tcp_kinds(runs: Runs, rows: Rows, begins: Rows, ends: Rows) -> Rows:
    """Tell the same of segments that were captured whole."""
    payload = rows["payload_bytes"].astype(np.int64)
    pseudo = pseudo_sums(rows["source_address"], rows["destination_address"], ends - begins + payload)
    is_right = folded(pseudo + runs.sums(begins, ends + payload)) == 0xFFFF
    given = rows["checksum"].astype(np.int64)
    is_partial = given == folded(pseudo)
    return np.where(is_right, RIGHT, np.where(given == 0, ZERO, np.where(is_partial, PARTIAL, WRONG)))


def anonymized(capture: Capture, anonymizing: Anonymizing) -> Any:
    """Give all frames of a capture anew, batch by batch; what it raises at its end comes behind them."""
    for frames in capture:
        yield anonymizing.feed(frames)
