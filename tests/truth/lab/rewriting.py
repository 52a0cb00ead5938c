"""Makes captures that are not what they seem from captures that are: what happened stays the same.

Works on pcaps of raw IP in nanoseconds as the laboratory writes them.
"""

from __future__ import annotations

import lzma
import struct
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

import zstandard

HEADER, RECORD = struct.Struct("<IHHiIII"), struct.Struct("<IIII")
MAGIC = 0xA1B23C4D
ACK_ONLY = 16


class Frame(NamedTuple):
    """A captured frame."""

    time_ns: int
    wire_bytes: int
    data: bytes

    @property
    def ip_bytes(self) -> int:
        return (self.data[0] & 15) * 4 if self.data[0] >> 4 == 4 else 40

    @property
    def tcp_bytes(self) -> int:
        return (self.data[self.ip_bytes + 12] >> 4) * 4

    @property
    def ports(self) -> tuple[int, int]:
        source, destination = struct.unpack_from(">HH", self.data, self.ip_bytes)
        return source, destination

    @property
    def seq(self) -> int:
        return int(struct.unpack_from(">I", self.data, self.ip_bytes + 4)[0])

    @property
    def flags(self) -> int:
        return self.data[self.ip_bytes + 13]

    @property
    def payload(self) -> int:
        return self.wire_bytes - self.ip_bytes - self.tcp_bytes


Rewrite = Callable[[list[Frame], Random, int], list[Frame]]


def read(path: Path) -> tuple[bytes, list[Frame]]:
    """Give the file's header and its frames."""
    data = path.read_bytes()
    if path.suffix == ".xz":
        data = lzma.decompress(data)
    elif path.suffix == ".zst":
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    if HEADER.unpack_from(data)[0] != MAGIC:
        raise ValueError(f"{path} is no capture of the laboratory")
    frames, at = [], HEADER.size
    while at + RECORD.size <= len(data):
        seconds, fraction, captured, wire = RECORD.unpack_from(data, at)
        at += RECORD.size
        frames.append(Frame(seconds * 10**9 + fraction, wire, data[at : at + captured]))
        at += captured
    return data[: HEADER.size], frames


def write(path: Path, header: bytes, frames: list[Frame]) -> None:
    """Write a capture."""
    parts = [header]
    for f in frames:
        seconds, fraction = divmod(f.time_ns, 10**9)
        parts += [RECORD.pack(seconds, fraction, len(f.data), f.wire_bytes), f.data]
    path.write_bytes(b"".join(parts))


def only_client(frames: list[Frame], _: Random, port: int) -> list[Frame]:
    """Keep what the clients sent."""
    return [f for f in frames if f.ports[1] == port]


def only_server(frames: list[Frame], _: Random, port: int) -> list[Frame]:
    """Keep what the server sent."""
    return [f for f in frames if f.ports[0] == port]


def mid_stream(frames: list[Frame], random: Random, _: int) -> list[Frame]:
    """Begin the capture somewhere after the handshakes."""
    last_syn = max((i for i, f in enumerate(frames) if f.flags & 2), default=0)
    return frames[last_syn + 3 + random.randrange(max(1, (len(frames) - last_syn) // 3)) :]


def lose_frames(frames: list[Frame], random: Random, _: int) -> list[Frame]:
    """Lose frames in the capture: single ones and runs of them."""
    kept, skip = [], 0
    for f in frames:
        if skip or random.random() < 0.01:
            skip = skip - 1 if skip else random.choice((0, 0, 3, 10))
            continue
        kept.append(f)
    return kept


def lose_acknowledgments(frames: list[Frame], random: Random, _: int) -> list[Frame]:
    """Lose a third of the segments that only acknowledge."""
    return [f for f in frames if f.payload or f.flags != ACK_ONLY or random.random() > 0.33]


def clock_backwards(frames: list[Frame], random: Random, _: int) -> list[Frame]:
    """Set the clock back in the middle, twice, by up to 300 ms."""
    found, shift = [], 0
    steps = set(random.sample(range(len(frames)), min(2, len(frames))))
    for i, f in enumerate(frames):
        shift += random.randrange(5_000_000, 300_000_000) if i in steps else 0
        found.append(f._replace(time_ns=f.time_ns - shift))
    return found


def cut_options(frames: list[Frame], random: Random, _: int) -> list[Frame]:
    """Capture so little that TCP's options are cut, wholly or in the middle."""
    keep = 20 + random.choice((0, 2, 6, 9))
    return [f._replace(data=f.data[: f.ip_bytes + keep]) for f in frames]


def merge_segments(frames: list[Frame], _: Random, __: int) -> list[Frame]:
    """Merge adjacent data segments of one direction up to 64 KB, as receive offload does."""
    found: list[Frame] = []
    for f in frames:
        last = found[-1] if found else None
        if last is not None and _follows(last, f):
            found[-1] = _merged(last, f)
        else:
            found.append(f)
    return found


def _follows(a: Frame, b: Frame) -> bool:
    return (
        a.ports == b.ports
        and a.payload > 0
        and b.payload > 0
        and (a.flags | b.flags) & 7 == 0
        and not a.flags & 8
        and (a.seq + a.payload) % 2**32 == b.seq
        and a.tcp_bytes == b.tcp_bytes
        and a.wire_bytes + b.payload < 65536
    )


def _merged(a: Frame, b: Frame) -> Frame:
    # The later segment's ACK, window and timestamps, the earlier one's sequence number; the time of the last.
    size = a.wire_bytes + b.payload
    data = bytearray(b.data)
    if data[0] >> 4 == 4:
        struct.pack_into(">H", data, 2, size)
    else:
        struct.pack_into(">H", data, 4, size - 40)
    struct.pack_into(">I", data, b.ip_bytes + 4, a.seq)
    return Frame(b.time_ns, size, bytes(data))


def duplicate_frames(frames: list[Frame], random: Random, _: int) -> list[Frame]:
    """Show every frame twice, as a mirror port of both directions does, with a queue between."""
    gap = random.choice((0, 1000, 20_000, 1_100_000, 5_000_000, 20_000_000))
    twice = [f._replace(time_ns=f.time_ns + k * gap) for f in frames for k in (0, 1)]
    return sorted(twice, key=lambda f: f.time_ns)


REWRITES: dict[str, Rewrite] = {
    f.__name__: f
    for f in (
        only_client, only_server, mid_stream, lose_frames, lose_acknowledgments, clock_backwards, cut_options,
        merge_segments, duplicate_frames,
    )
}  # fmt: skip


def rewrite(path: Path, name: str, seed: int, server_port: int) -> None:
    """Rewrite a capture in place."""
    header, frames = read(path)
    write(path, header, REWRITES[name](frames, Random(seed), server_port))
