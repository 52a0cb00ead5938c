"""Single rooms on hostile rows: decode, connections with requests, programs of capture filters, decompressors.

Bytes are read as a small program that makes rows: what a mutation changes is a flag, a number or a time, not the form.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np

from tcpsight.capture import _bpf
from tcpsight.capture.decompression import MAGICS, DecompressedSource, compression_of
from tcpsight.capture.reader import TIME_LIMIT_NS
from tcpsight.connections import ConnectionTracking
from tcpsight.decode import Decoding, extents_of
from tcpsight.errors import CaptureError
from tcpsight.requests import RequestPairing
from tcpsight.segment_details import details
from tcpsight.tables import (
    KINDS,
    OPTION_CUT,
    OPTION_TIMESTAMPS,
    OPTION_UNSEQUENCED,
    OPTION_WINDOW_SCALE,
    REASONS,
    STATES,
    Boundaries,
    Connections,
    Frames,
    Headers,
    RequestCounts,
    Requests,
    Segments,
    Table,
    Unanswered,
)
from tests.fuzz.features import Features, shape_of
from tests.fuzz.limits import measured
from tests.fuzz.whole import DECODED, Pipe, check_signs
from tests.support.columns import IN_BATCH

ADDRESSES = [bytes(10) + b"\xff\xff\x0a\x00\x00" + bytes([n]) for n in (1, 2, 9, 10)]
MOST_ROWS = 300

STEPS_NS = (
    0,
    1,
    1000,
    10**6,
    10**8,
    10**9,
    61 * 10**9,
    131 * 10**9,
    3601 * 10**9,
    7801 * 10**9,
    -1,
    -(10**9),
    2**61,
    -(2**61),
)
"""What a header's time may be later than the one before it: just beyond every time-out, and backwards."""

SIZES = (0, 0, 0, 1, 2, 100, 1460, 65_535, 2**20, 2**31 - 1)
JUMPS = (0, 0, 0, 0, 1, -1, -100, 1460, 2**16, -(2**16), 2**30, 2**31 - 1, 2**31, 2**31 + 1, -(2**30))
"""How far a sequence number is from the expected one."""


# --- decode


def check_extents(frames: Frames, headers: Headers) -> None:
    """Check that segments of frames that are cut behind their headers are the same, but for the payload."""
    found = extents_of(frames)
    assert (found.header_bytes >= 0).all()
    assert (found.header_bytes <= frames.captured_bytes).all()
    cut = Frames(frames.rows.copy(), data=frames.data)
    cut.rows["captured_bytes"] = found.header_bytes
    again, expected = Decoding().feed(cut).copy(), headers.copy()
    for table in (again, expected):
        table.rows["captured_payload_bytes"] = 0
        for name in ("tls", "tls_bytes", "tls_records"):
            table.rows[name] = 0
    assert again.packed().tobytes() == expected.packed().tobytes()


def run_decode(data: bytes) -> Features:
    """Decode frames of any link type; at once, one by one and in other cuts: fragments are kept from batch to batch."""
    frames = frames_in(data)
    decoding = Decoding()
    with measured(len(data)):
        headers = decoding.feed(frames).copy()
        decoding.finish()
        check_extents(frames, headers)
    for cuts in (list(range(len(frames) + 1)), cuts_of(len(frames), zlib.crc32(data))):
        again = Decoding()
        parts = Headers.concatenate([again.feed(frames[i:j]).copy() for i, j in pairwise(cuts)])
        again.finish()
        assert columns_of(headers) == columns_of(parts), "headers depend on how frames are cut into batches"
        assert decoding.unseen.counts.tolist() == again.unseen.counts.tolist()
        assert decoding.joined_fragments == again.joined_fragments
    counts = {name: int(count) for name, count in zip(REASONS, decoding.unseen.counts[:, 0], strict=True)}
    assert len(headers) + sum(counts[name] for name in DECODED) + decoding.joined_fragments == len(frames)
    assert (headers.payload_bytes >= 0).all()
    assert (headers.captured_payload_bytes >= 0).all()
    assert (headers.captured_payload_bytes <= headers.payload_bytes).all()
    assert (headers.sack_count <= 4).all()
    assert (headers.window_scale <= 14).all()
    told = {f"{name} {count.bit_length()}" for name, count in counts.items() if count}
    told |= {f"joined {decoding.joined_fragments.bit_length()}"}
    for name in ("encapsulation", "options", "sack_count", "ip_version"):
        told |= {f"{name} {value}" for value in np.unique(headers.rows[name]).tolist()}
    return told | {f"link {value} {len(headers)}" for value in np.unique(frames.link_type).tolist()}


def frames_in(data: bytes) -> Frames:
    """Read ``(link type, lacking bytes, length, frame)`` again and again; the bytes of all lie in `data` itself."""
    rows: list[tuple[int, ...]] = []
    at = 0
    while at + 6 <= len(data) and len(rows) < MOST_ROWS:
        link_type, lacking, length = (int.from_bytes(data[at + i : at + i + 2], "little") for i in (0, 2, 4))
        at += 6
        length = min(length, len(data) - at)
        number = len(rows) + 1
        rows.append((number, number * 1000, at, number, length, length + lacking, number % 3, link_type, 0))
        at += length
    return Frames(np.array(rows, Frames.dtype), data=data)


def packed_frames(frames: list[tuple[int, bytes]]) -> bytes:
    """Write frames the way `run_decode` reads them."""
    return b"".join(
        link_type.to_bytes(2, "little") + bytes(2) + len(frame).to_bytes(2, "little") + frame
        for link_type, frame in frames
        if len(frame) < 65_536
    )


def columns_of(table: Table) -> dict[str, bytes]:
    return {c.name: table.rows[c.name].tobytes() for c in type(table).columns if c.name not in IN_BATCH}


# --- connections and requests


def run_connections(data: bytes) -> Features:
    """Track hostile headers, pair their requests; at once and in small batches."""
    headers = headers_in(data)
    cuts = cuts_of(len(headers), zlib.crc32(data))
    whole, pieces = _track(headers, [0, len(headers)], 1), _track(headers, cuts, zlib.crc32(data))
    for name, table in whole.items():
        assert columns_of(table) == columns_of(pieces[name]), f"{name} depend on how rows are cut into batches"
        if name != "boundaries":
            check_signs(name, table)
    connections, segments = whole["connections"].rows, whole["segments"].rows
    assert len(segments) == len(headers)
    assert set(connections["connection_id"].tolist()) == set(segments["connection_id"].tolist())
    assert int(connections["duplicates"].sum()) == int((segments["kind"] == KINDS.index("duplicate")).sum())
    assert (segments["new_bytes"] <= segments["payload_bytes"]).all()
    ends = segments["new_at"].astype(np.int64) + segments["new_bytes"]
    assert (
        ends <= segments["payload_bytes"].astype(np.int64) + (segments["flags"] >> 1 & 1)
    ).all()  # a SYN counts as 1
    told = {f"kind {value}" for value in np.unique(segments["kind"]).tolist()}
    told |= {f"state {STATES[value]}" for value in np.unique(connections["state"]).tolist() if value < len(STATES)}
    for name in (
        "client_gap_bytes",
        "server_gap_bytes",
        "ignored_resets",
        "connect_attempts",
        "client_retransmissions",
    ):
        told |= {f"{name} {int(value).bit_length()}" for value in np.unique(connections[name])}
    for name in ("is_approximate", "is_sequenced", "role_source"):
        told |= {f"{name} {value}" for value in np.unique(connections[name]).tolist()}
    return told | {f"{name} {len(table).bit_length()}" for name, table in whole.items()}


def cuts_of(n: int, seed: int) -> list[int]:
    chance = random.Random(seed)
    return sorted({0, n, *(chance.randint(0, n) for _ in range(1 + seed % 9))})


def _track(headers: Headers, cuts: list[int], seed: int) -> dict[str, Table]:
    tracking, pairing = ConnectionTracking(hash_seed=seed), RequestPairing()
    parts: dict[str, list[Table]] = {
        "segments": [],
        "boundaries": [],
        "connections": [],
        "requests": [],
        "unanswered": [],
        "counts": [],
    }
    for begin, end in [*pairwise(cuts), (-1, -1)]:
        batch = headers[begin:end] if end >= 0 else Headers()
        tracked = tracking.feed(batch) if end >= 0 else tracking.finish()
        paired = pairing.feed(tracked.segments, tracked.boundaries)
        details(batch, tracked)
        boundaries = tracked.boundaries.copy()
        boundaries.position[:] += max(begin, 0) if end >= 0 else len(headers)
        for name, table in zip(parts, (tracked.segments, boundaries, tracked.connections, *paired), strict=True):
            parts[name].append(table.copy())
    kinds = (Segments, Boundaries, Connections, Requests, Unanswered, RequestCounts)
    return {name: kind.concatenate(tables) for (name, tables), kind in zip(parts.items(), kinds, strict=True)}


def headers_in(data: bytes) -> Headers:
    """Read 16 bytes a header."""
    n = min(len(data) // 16, MOST_ROWS)
    table = Headers.allocate(n)
    expected: dict[tuple[int, int], int] = {}
    time_ns = 1_700_000_000 * 10**9
    for i in range(n):
        step = data[16 * i : 16 * i + 16]
        time_ns = min(
            max(time_ns + STEPS_NS[step[2] % len(STEPS_NS)] * (1 + step[13] % 4), -TIME_LIMIT_NS), TIME_LIMIT_NS
        )
        _fill(table.rows[i], step, expected)
        table.frame_number[i] = table.frame_in_file[i] = i + 1
        table.time_ns[i] = time_ns
    return table


def _fill(row: np.void, step: bytes, expected: dict[tuple[int, int], int]) -> None:
    """Make a header; without further notice its numbers are those that continue what was sent before."""
    side, pair = step[0] & 1, step[0] >> 1 & 3
    ends = [(ADDRESSES[pair & 1], 40_000 + pair), (ADDRESSES[2], 80 if step[0] & 8 == 0 else 40_000)]
    (source, source_port), (destination, destination_port) = ends[:: 1 - 2 * side]
    row["source_address"], row["destination_address"] = np.frombuffer(source + destination, np.uint8).reshape(2, 16)
    row["source_port"], row["destination_port"], row["ip_version"] = source_port, destination_port, 4
    size = SIZES[step[3] % len(SIZES)]
    mine, other = expected.get((pair, side), 0), expected.get((pair, 1 - side), 0)
    number = int.from_bytes(step[4:8], "little") if step[1] & 0x02 else mine + JUMPS[step[15] % len(JUMPS)]
    row["flags"] = (0x18, 0x10, 0x02, 0x12, 0x11, 0x04, 0x14)[step[1] >> 2 & 7] if step[1] >> 2 & 7 < 7 else step[9]
    row["sequence_number"] = number % 2**32
    row["acknowledgment_number"] = (other + JUMPS[step[8] % len(JUMPS)]) % 2**32 if step[8] & 0x80 else other
    row["payload_bytes"], row["captured_payload_bytes"] = size, min(size, step[10])
    row["window"] = int.from_bytes(step[11:13], "little")
    row["window_scale"] = step[12] % 15
    row["options"] = step[14] & (OPTION_TIMESTAMPS | OPTION_WINDOW_SCALE | OPTION_CUT)
    if step[14] == 0xFF:
        row["options"] = OPTION_UNSEQUENCED
    row["timestamp_value"], row["timestamp_echo"] = step[10] * 2**24, step[9]
    row["ip_id"], row["ttl"], row["checksum"], row["interface_id"] = step[13], step[10], step[12], step[0] >> 6
    row["encapsulation"], row["tunnel"] = (1, 77) if step[0] & 0x30 == 0x30 else (0, 0)
    row["sack_count"] = step[9] % 5
    row["sack"][: 2 * (step[9] % 5)] = [(other + 7 * i * step[10]) % 2**32 for i in range(2 * (step[9] % 5))]
    flags = int(row["flags"])
    expected[pair, side] = (number + size + (flags & 1) + (flags >> 1 & 1)) % 2**32


# --- programs of capture filters


def run_program(data: bytes) -> Features:
    """Run bytes as a program of a capture filter over a few frames, if the check lets it through."""
    count = data[0] if data else 0
    program, rest = data[1 : 1 + 8 * count], data[1 + 8 * count :]
    frames = frames_in(packed_frames([(1, rest[:60]), (1, rest), (1, b"")]))
    wrong = _bpf.check(program)
    if wrong:
        return {f"refused {_bpf.FINDINGS[wrong]}"}
    matched = np.zeros(len(frames), np.uint8)
    passed = _bpf.match(program, frames.rows.view(np.uint8), frames.data, 1, matched)
    assert passed == int(np.count_nonzero(matched)) <= len(frames)
    return {f"passed {passed}", *(f"code {code}" for code in program[::8])}


# --- decompressors

WAYS = sorted({way.name: magic for magic, way in MAGICS.items()}.values())
LOST = {"gzip": 16, "zstd": 0}
"""Bytes before damage that may be lost, more or less of them by how bytes arrive; other libraries drop much."""

MOST_UNPACKED = 1 << 22


class _Trickle:
    """A byte source over a pipe."""

    def __init__(self, data: bytes, seed: int) -> None:
        self.path = "packed"
        self._pipe = Pipe(data, seed)

    def readinto(self, view: memoryview) -> int:
        return self._pipe.readinto(view)


def run_unpack(data: bytes) -> Features:
    """Unpack bytes: as they are where they say how, else as the first of them says; whole and trickled."""
    way = compression_of(data[:6])
    if way is None:
        magic = WAYS[data[0] % len(WAYS)] if data else WAYS[0]
        data, way = magic + data[1:], compression_of(magic)
    assert way is not None
    seed = zlib.crc32(data)
    with measured(len(data)):
        whole = _unpacked(lambda: DecompressedSource(_Trickle(data, 0), way), 1 << 16)
    slow = _unpacked(lambda: DecompressedSource(_Trickle(data, seed), way), 1 + seed % 1000)
    if "damaged" not in whole[1]:
        assert whole == slow, "what is unpacked depends on how bytes arrive"
    else:
        assert slow[0].startswith(whole[0]) or whole[0].startswith(slow[0])
        assert shape_of(slow[1]) == shape_of(whole[1])
        assert abs(len(slow[0]) - len(whole[0])) <= LOST.get(way.name, MOST_UNPACKED)
    return {f"{way.name} {len(whole[0]).bit_length()} {shape_of(whole[1])}"}


def _unpacked(make: Callable[[], DecompressedSource], most: int) -> tuple[bytes, str]:
    source, out, view = make(), bytearray(), memoryview(bytearray(most))
    try:
        while (count := source.readinto(view)) and len(out) < MOST_UNPACKED:
            out += view[:count]
    except CaptureError as error:
        # How far the last read came beyond what is wanted depends on its size.
        return bytes(out[:MOST_UNPACKED]), str(error) if len(out) < MOST_UNPACKED else ""
    return bytes(out[:MOST_UNPACKED]), ""
