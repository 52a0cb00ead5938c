"""What tcpsight says of a capture, frame by frame and connection by connection, in plain Python values."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tcpsight.capture import open_capture
from tcpsight.connections import ConnectionTracking
from tcpsight.decode import Decoding
from tcpsight.errors import CaptureError
from tcpsight.tables import (
    INT64_MIN,
    KINDS,
    OPTION_CUT,
    OPTION_TIMESTAMPS,
    OPTION_WINDOW_SCALE,
    REASONS,
    Connections,
    Frames,
    Headers,
)
from tests.peers.network import Mark, Watching
from tests.peers.tshark import Endpoint


class Segment(NamedTuple):
    """One row of Segments, with what decoding said of its frame.

    `sack` holds the edges of its blocks, `stamps` the timestamp's value and echo, if it has one; `is_cut` tells that
    the capture cut its options.
    """

    frame: int
    time_ns: int
    connection: int
    direction: int
    source: Endpoint
    destination: Endpoint
    sequence: int
    acknowledgment: int
    flags: int
    window: int
    payload: int
    captured: int
    new_bytes: int
    kind: str
    is_placed: bool
    interface: int
    scale: int
    marks: tuple[int, ...]
    sack: tuple[int, ...]
    stamps: tuple[int, ...]
    is_cut: bool


class Reading(NamedTuple):
    """A capture as tcpsight reads it.

    Attributes
    ----------
    segments : dict
        By frame number.
    connections : dict
        Rows of Connections by `connection_id`.
    stopped : str
        Why reading ended early; empty if it did not.
    frames : int
        How many frames there were.
    marks : dict
        What each frame counts for in Network, by its number; capture duplicates count for nothing.
    network : dict
        Rows of Network by `connection_id` and direction.
    """

    segments: dict[int, Segment]
    connections: dict[int, Any]
    stopped: str
    frames: int
    marks: dict[int, Mark]
    network: dict[tuple[int, int], Any]


def read(path: Path) -> Reading:
    """Read a capture through the rooms; what stands before damage counts."""
    decoding, tracking, watching = Decoding(), ConnectionTracking(), Watching()
    segments: dict[int, Segment] = {}
    ended: list[Connections] = []
    stopped, frames_read = "", 0
    try:
        with open_capture([path]) as capture:
            for frames in capture:
                frames_read += len(frames)
                headers = decoding.feed(frames)
                tracked = tracking.feed(headers)
                for header, row in zip(headers.rows, tracked.segments.rows, strict=True):
                    segments[int(row["frame_number"])] = _segment(header, row)
                assert tracked.is_whole
                watching.take(tracked, headers)
                ended.append(tracked.connections.copy())
    except CaptureError as error:
        stopped = error.reason
    tracked = tracking.finish()
    watching.take(tracked, Headers())
    ended.append(tracked.connections.copy())
    connections = {int(row["connection_id"]): row for table in ended for row in table.rows}
    return Reading(segments, connections, stopped, frames_read, watching.marks, watching.rows)


def _segment(header: Any, row: Any) -> Segment:
    options = int(header["options"])
    return Segment(
        frame=int(row["frame_number"]),
        time_ns=int(row["time_ns"]),
        connection=int(row["connection_id"]),
        direction=int(row["direction"]),
        source=(_address(header["source_address"], header["ip_version"]), int(header["source_port"])),
        destination=(_address(header["destination_address"], header["ip_version"]), int(header["destination_port"])),
        sequence=int(header["sequence_number"]),
        acknowledgment=int(header["acknowledgment_number"]),
        flags=int(row["flags"]),
        window=int(header["window"]),
        payload=int(row["payload_bytes"]),
        captured=int(header["captured_payload_bytes"]),
        new_bytes=int(row["new_bytes"]),
        kind=KINDS[row["kind"]],
        is_placed=int(row["offset"]) != INT64_MIN,
        interface=int(header["interface_id"]),
        scale=int(header["window_scale"]) if options & OPTION_WINDOW_SCALE else -1,
        marks=tuple(int(header[name]) for name in ("ip_id", "checksum", "options_hash")),
        sack=tuple(header["sack"][: 2 * header["sack_count"]].tolist()),
        stamps=(int(header["timestamp_value"]), int(header["timestamp_echo"])) * bool(options & OPTION_TIMESTAMPS),
        is_cut=bool(options & OPTION_CUT),
    )


def _address(packed: Any, ip_version: int) -> str:
    data = bytes(packed)
    return str(ipaddress.ip_address(data[12:] if ip_version == 4 else data))


def endpoint_of(connection: Any, who: str) -> Endpoint:
    """Give the client's or the server's address and port."""
    return _address(connection[f"{who}_address"], connection["ip_version"]), int(connection[f"{who}_port"])


def decoded(path: Path) -> Iterator[tuple[int, Any]]:
    """Give the number of each frame, with its row of Headers or why it has none; up to where the capture is damaged."""
    decoding = Decoding()
    before = decoding.unseen.counts[:, 0].copy()
    try:
        with open_capture([path]) as capture:
            for frames in capture:
                for i, number in enumerate(frames.frame_number.tolist()):
                    headers = decoding.feed(Frames(frames.rows[i : i + 1], data=frames.data))
                    counted = np.flatnonzero(decoding.unseen.counts[:, 0] - before)
                    before[:] = decoding.unseen.counts[:, 0]
                    # Fragments that were held before it may be counted with a frame; its own reason is never theirs.
                    own = [REASONS[reason] for reason in counted if REASONS[reason] != "fragment"]
                    yield number, headers.rows[0].copy() if len(headers) else (own or ["fragment"])[0]
    except CaptureError:
        # The frames behind the damage have no fate of their own.
        pass


def fates_of(path: Path, numbers: set[int]) -> dict[int, str]:
    """Tell why each of these frames gave no segment."""
    return {number: fate for number, fate in decoded(path) if number in numbers and isinstance(fate, str)}
