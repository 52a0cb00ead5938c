"""Kernels and their slow twins on the same mutated rows: not only that there is an answer, but that it is the same."""

from __future__ import annotations

from typing import Any

from tcpsight.connections import Timeouts
from tcpsight.tables import FLAG_SYN, Headers
from tests.fuzz.features import Features
from tests.fuzz.rooms import frames_in, headers_in
from tests.reference import test_connections, test_decode, test_streams
from tests.reference.network import test_measuring as test_network
from tests.reference.streams import Run

MOST_ON_A_SYN = 65_535
NUMBERED_LATER = ("frame_number", "frame_in_file", "sack")


def run_decode_twin(data: bytes) -> Features:
    """Decode frames of any link type twice."""
    frames = frames_in(data)
    test_decode.check(frames)
    return {f"link {value}" for value in set(frames.link_type.tolist())}


def run_connections_twin(data: bytes) -> Features:
    """Track hostile headers twice."""
    rows = [_row(row) for row in headers_in(data).rows]
    half = len(rows) // 2
    test_connections.check([(rows[:half], None), (rows[half:], None)], [], Timeouts())
    return {f"flags {row['flags']} {row['options']}" for row in rows}


def run_network_twin(data: bytes) -> Features:
    """Measure what hostile headers do to each other twice."""
    headers = headers_in(data)
    test_network.check_headers(headers)
    return {f"flags {flags} {options}" for flags, options in headers.rows[["flags", "options"]].tolist()}


def run_streams_twin(data: bytes) -> Features:
    """Index hostile headers twice; put runs that overlap in order twice, compare and search them twice."""
    kind, size = (data[0], 1 + data[1] % 9) if len(data) > 1 else (0, 1)
    if kind & 1:
        headers = headers_in(data[2:])
        headers.captured_payload_bytes[:] = headers.captured_payload_bytes % 200
        test_streams.check_index(headers, size)
        return {f"index {len(headers).bit_length()}"}
    runs = _runs(data[2:200])
    overlaps = "first" if kind & 2 else "last"
    test_streams.check_stream(runs, size * 7, overlaps=overlaps, has_start=bool(kind & 4), most=size)
    test_streams.check_conflicts(runs, overlaps)
    test_streams.check_pattern(runs, bytes([size % 3]) * (1 + size % 2), size * 7)
    return {f"runs {len(runs)} {overlaps} {kind & 4}"}


def _runs(data: bytes) -> list[Run]:
    """Read 4 bytes a run of payload."""
    runs = []
    for i in range(0, len(data) - 3, 4):
        offset, size, what, cut = data[i : i + 4]
        content = bytes((what >> 2) + at * (what & 2) & 3 for at in range(size % 40))
        runs.append(Run(offset % 120 - 6, content, len(content) + cut % 5 * (cut > 200), is_probe=what == 255))
    return runs


def _row(row: Any) -> dict[str, Any]:
    """Give a header the form that the twin takes."""
    made = {c.name: row[c.name] for c in Headers.columns if c.name not in NUMBERED_LATER}
    plain: dict[str, Any] = {name: bytes(v) if name.endswith("_address") else int(v) for name, v in made.items()}
    if plain["flags"] & FLAG_SYN:
        # The kernel counts no more than 2 GB of payload in repetitions of a SYN that is held.
        plain["payload_bytes"] = min(plain["payload_bytes"], MOST_ON_A_SYN)
        plain["captured_payload_bytes"] = min(plain["captured_payload_bytes"], MOST_ON_A_SYN)
    return plain
