"""What tshark and tcptrace said of the corpus, and what we say, in the same form."""

from __future__ import annotations

import csv
import io
import ipaddress
import lzma
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcpsight.capture import open_capture
from tcpsight.connections import ConnectionTracking
from tcpsight.decode import Decoding
from tcpsight.errors import CaptureError
from tcpsight.tables import KINDS, Connections, Segments

Endpoint = tuple[str, int]

# What may stand before TCP without being a tunnel, in tshark's names.
PLAIN_LAYERS = {"frame", "eth", "ethertype", "vlan", "ieee8021ad", "sll", "null", "raw", "ip", "ipv6"}
PLAIN_LAYERS |= {"ipv6.hopopts", "ipv6.routing", "ipv6.dstopts", "ipv6.fraghdr", "ah"}


@dataclass
class Half:
    """One direction of a connection, in a peer's words."""

    segments: int = 0
    bytes: int = 0
    retransmissions: int = 0


@dataclass
class Talk:
    """One connection: its frames, and both directions by sender."""

    number: int
    frames: list[int] = field(default_factory=list)
    halves: dict[Endpoint, Half] = field(default_factory=lambda: defaultdict(Half))
    first_ns: int = 0
    ours: Any = None
    notes: set[str] = field(default_factory=set)


def tshark_rows(path: Path) -> list[dict[str, str]]:
    """Give what tshark said of each frame."""
    text = lzma.decompress(path.read_bytes()).decode("utf-8", "replace")
    return list(csv.DictReader(io.StringIO(text), delimiter="\t", quoting=csv.QUOTE_NONE))


def is_plain(row: dict[str, str]) -> bool:
    """Tell whether the frame holds one TCP segment that is neither tunnelled nor in fragments."""
    layers = row["frame.protocols"].split(":")
    if "tcp" not in layers or not row["tcp.stream"] or not row["tcp.len"]:
        return False
    before = layers[: layers.index("tcp")]
    is_whole = row["ip.flags.mf"] in ("", "0") and row["ip.frag_offset"] in ("", "0") and not row["ipv6.fraghdr.offset"]
    return set(before) <= PLAIN_LAYERS and sum(layer in ("ip", "ipv6") for layer in before) == 1 and is_whole


def tshark_talks(rows: Iterable[dict[str, str]], frames: set[int]) -> list[Talk]:
    """Group tshark's frames, of those given, by its streams; bytes are those of the union of their sequence ranges."""
    talks: dict[int, Talk] = {}
    ranges: dict[tuple[int, Endpoint], list[tuple[int, int]]] = defaultdict(list)
    for row in rows:
        number = int(row["frame.number"])
        if number not in frames:
            continue
        stream = int(row["tcp.stream"])
        talk = talks.setdefault(stream, Talk(stream))
        talk.frames.append(number)
        source = (normal(row["ip.src"] or row["ipv6.src"]), int(row["tcp.srcport"]))
        half = talk.halves[source]
        half.segments += 1
        marks = ("retransmission", "fast_retransmission", "spurious_retransmission")
        half.retransmissions += any(row[f"tcp.analysis.{mark}"] for mark in marks)
        if row["tcp.analysis.keep_alive"] or row["tcp.analysis.zero_window_probe"]:
            continue
        flags = int(row["tcp.flags"], 0)
        if not flags & 4:
            start = int(row["tcp.seq_raw"]) + (flags >> 1 & 1)
            ranges[stream, source].append((start, int(row["tcp.len"])))
    for (stream, source), pieces in ranges.items():
        talks[stream].halves[source].bytes = union(pieces)
    return list(talks.values())


def union(pieces: list[tuple[int, int]]) -> int:
    """Count the bytes of ranges modulo 2³²: unwrapped one after the other, each near the one before."""
    spans: list[tuple[int, int]] = []
    near = pieces[0][0]
    for start, length in pieces:
        near += (start - near + 2**31) % 2**32 - 2**31
        if length:
            spans.append((near, near + length))
    total, reach = 0, None
    for start, stop in sorted(spans):
        if reach is None or start > reach:
            total += stop - start
        else:
            total += max(0, stop - reach)
        reach = stop if reach is None else max(reach, stop)
    return total


def track(path: Path) -> tuple[Segments, Connections, bool]:
    """Read a capture through the rooms; tell whether it could be read to its end."""
    decoding, tracking = Decoding(), ConnectionTracking()
    segments, connections = [], []
    is_whole = True
    try:
        with open_capture([path]) as capture:
            for frames in capture:
                tracked = tracking.feed(decoding.feed(frames))
                segments.append(tracked.segments.copy())
                connections.append(tracked.connections.copy())
    except CaptureError:
        is_whole = False
    connections.append(tracking.finish().connections.copy())
    return Segments.concatenate(segments), Connections.concatenate(connections), is_whole


def our_talks(segments: Segments, connections: Connections, frames: set[int]) -> list[Talk]:
    """Give our connections the form of a peer's: only the frames given, bytes and retransmissions counted from them."""
    talks = {}
    for row in connections.rows:
        talk = Talk(int(row["connection_id"]), first_ns=int(row["start_ns"]), ours=row)
        for who in ("client", "server"):
            end = endpoint_of(row, who)
            talk.halves[end].segments = 0
        talks[talk.number] = talk
    ends = {
        (talk.number, d): endpoint_of(talk.ours, who)
        for talk in talks.values()
        for d, who in enumerate(("client", "server"))
    }
    for row in segments.rows:
        number, talk = int(row["frame_number"]), talks[int(row["connection_id"])]
        if number not in frames:
            continue
        talk.frames.append(number)
        half = talk.halves[ends[talk.number, int(row["direction"])]]
        half.segments += 1
        half.bytes += int(row["new_bytes"])
        kind = KINDS[row["kind"]]
        half.retransmissions += kind == "retransmission"
        talk.notes.add(kind)
    return [talk for talk in talks.values() if talk.frames]


def endpoint_of(row: Any, who: str) -> Endpoint:
    packed = bytes(row[f"{who}_address"])
    address = ipaddress.ip_address(packed[12:] if row["ip_version"] == 4 else packed)
    return str(address), int(row[f"{who}_port"])


# --- tcptrace

NUMBERS = {
    "segments": r"total packets:\s+(\d+)\s+total packets:\s+(\d+)",
    "bytes": r"unique bytes sent:\s+(\d+)\s+unique bytes sent:\s+(\d+)",
    "retransmissions": r"rexmt data pkts:\s+(\d+)\s+rexmt data pkts:\s+(\d+)",
}


def tcptrace_talks(path: Path) -> Iterator[Talk]:
    """Give tcptrace's connections in its order; bytes are what it calls unique, retransmissions those with data."""
    text = lzma.decompress(path.read_bytes()).decode("utf-8", "replace")
    for part in re.split(r"^TCP connection (?=\d+:)", text, flags=re.M)[1:]:
        hosts = re.findall(r"host \S+\s+(\S+):(\d+)\s*$", part, flags=re.M)[:2]
        if len(hosts) < 2:
            continue
        talk = Talk(int(part.split(":", 1)[0]))
        ends = [(normal(address), int(port)) for address, port in hosts]
        for end in ends:
            talk.halves[end].segments = 0
        for name, pattern in NUMBERS.items():
            found = re.search(pattern, part)
            for end, value in zip(ends, found.groups() if found else (), strict=False):
                setattr(talk.halves[end], name, int(value))
        yield talk


def normal(address: str) -> str:
    """Write an address the usual way; tcptrace pads the parts of IPv6 addresses with zeros."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        # It loses one of two leading colons.
        return str(ipaddress.ip_address(":" + address))
