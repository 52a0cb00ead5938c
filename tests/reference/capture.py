"""Slow, obvious twins of the capture kernels: whole files in memory, exact fractions, one frame at a time."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from math import floor
from typing import NamedTuple

LIMIT_NS = 2**62 - 1


class Broken(Exception):
    """The content breaks off; the frames before are in `frames`."""


class FrameRead(NamedTuple):
    time_ns: int
    wire_bytes: int
    interface: int
    link_type: int
    data: bytes


def clamp(ns: int) -> int:
    return max(-LIMIT_NS, min(ns, LIMIT_NS))


def read_pcap(content: bytes, frames: list[FrameRead]) -> None:
    """Append the frames of a classic pcap file to `frames`; raise `Broken` where it breaks off."""
    magics = {0xA1B2C3D4: (1000, 16), 0xA1B23C4D: (1, 16), 0xA1B2CD34: (1000, 24)}
    endian = "<" if struct.unpack("<I", content[:4])[0] in magics else ">"
    if len(content) < 24:
        raise Broken
    magic, major, minor, _, _, snaplen, network = struct.unpack(endian + "IHHiIII", content[:24])
    tick_ns, header = magics[magic]
    position = 24
    while position < len(content):
        if position + header > len(content):
            raise Broken
        seconds, fraction, captured, wire = struct.unpack(endian + "IIII", content[position : position + 16])
        if (major == 2 and (minor < 3 or (minor == 3 and captured > wire))) or major == 543:
            captured, wire = wire, captured
        if captured > min(max(snaplen, 262144), 2**24):
            raise Broken
        position += header
        if position + captured > len(content):
            raise Broken
        time_ns = seconds * 10**9 + fraction * tick_ns
        frames.append(FrameRead(time_ns, wire, 0, network & 0xFFFF, content[position : position + captured]))
        position += captured


class Described(NamedTuple):
    link_type: int
    snaplen: int
    ticks_per_second: int
    offset_seconds: int


class PcapngTwin:
    """Reads a pcapng file; `drops` adds up what packet blocks say was lost, per interface.

    `clamped` and `untimed` are the numbers of frames with a time beyond the limits, and without one.
    """

    def __init__(self, content: bytes, frames: list[FrameRead]) -> None:
        self.content = content
        self.frames = frames
        self.interfaces: list[Described] = []
        self.section: list[int] = []
        self.endian = "<"
        self.drops: dict[int, int] = {}
        self.clamped: list[int] = []
        self.untimed: list[int] = []

    def read(self) -> None:
        position = 0
        while position < len(self.content):
            left = self.content[position:]
            if len(left) < 12:
                raise Broken
            if left[:4] == b"\x0a\x0d\x0d\x0a":
                orders = [e for e in "<>" if struct.pack(e + "I", 0x1A2B3C4D) == left[8:12]]
                if not orders:
                    raise Broken
                self.endian = orders[0]
            kind, length = struct.unpack(self.endian + "II", left[:8])
            if length < 12 or length % 4 or length > 2**24 + 65536 or length > len(left):
                raise Broken
            if struct.unpack(self.endian + "I", left[length - 4 : length])[0] != length:
                raise Broken
            self.block(kind, left[8 : length - 4])
            position += length

    def block(self, kind: int, body: bytes) -> None:
        if kind == 0x0A0D0D0A:
            if len(body) < 16 or struct.unpack(self.endian + "H", body[4:6])[0] != 1:
                raise Broken
            self.section = []
        elif kind == 1:
            self.describe(body)
        elif kind in (2, 3, 6):
            self.packet(kind, body)
        elif kind == 5 and len(body) < 12:
            raise Broken

    def options(self, data: bytes) -> list[tuple[int, bytes]]:
        found: list[tuple[int, bytes]] = []
        while len(data) >= 4:
            code, length = struct.unpack(self.endian + "HH", data[:4])
            if code == 0 or 4 + length > len(data):
                break
            found.append((code, data[4 : 4 + length]))
            data = data[4 + length + -length % 4 :]
        return found

    def describe(self, body: bytes) -> None:
        if len(body) < 8:
            raise Broken
        link_type, _, snaplen = struct.unpack(self.endian + "HHI", body[:8])
        options = dict(self.options(body[8:]))  # the last of each
        ticks = options.get(9, b"\x06")
        resolution = ticks[0] if len(ticks) == 1 else 6
        per_second = 2 ** (resolution & 0x7F) if resolution & 0x80 else 10**resolution
        offset = options.get(14, b"")
        seconds = struct.unpack(self.endian + "q", offset)[0] if len(offset) == 8 else 0
        self.section.append(len(self.interfaces))
        self.interfaces.append(Described(link_type, snaplen, per_second, seconds))

    def packet(self, kind: int, body: bytes) -> None:
        if kind == 3:
            if len(body) < 4 or not self.section:
                raise Broken
            known = self.interfaces[self.section[0]]
            wire = struct.unpack(self.endian + "I", body[:4])[0]
            captured = min(wire, len(body) - 4, known.snaplen or wire)
            time_ns = self.frames[-1].time_ns if self.frames else 0
            frame = FrameRead(time_ns, wire, self.section[0], known.link_type, body[4 : 4 + captured])
            self.frames.append(frame)
            self.untimed.append(len(self.frames))
            return
        if len(body) < 20:
            raise Broken
        number, _, high, low, captured, wire = struct.unpack(self.endian + "HHIIII", body[:20])
        if kind == 6:
            number = struct.unpack(self.endian + "I", body[:4])[0]
        if number >= len(self.section) or captured > len(body) - 20:
            raise Broken
        index = self.section[number]
        known = self.interfaces[index]
        exact = floor(Fraction((high << 32) + low, known.ticks_per_second) * 10**9)
        offset = known.offset_seconds * 10**9
        # A time that is beyond the limit before the offset is added stays there.
        time_ns = LIMIT_NS if exact >= LIMIT_NS else clamp(exact + offset)
        if abs(time_ns) == LIMIT_NS:
            self.clamped.append(len(self.frames) + 1)
        self.frames.append(FrameRead(time_ns, wire, index, known.link_type, body[20 : 20 + captured]))
        self.drop(kind, body, captured, index)

    def drop(self, kind: int, body: bytes, captured: int, index: int) -> None:
        if kind == 2:
            lost = struct.unpack(self.endian + "H", body[2:4])[0]
            lost = 0 if lost == 0xFFFF else lost
        else:
            options = self.options(body[20 + captured + -captured % 4 :])
            counts = [struct.unpack(self.endian + "Q", v)[0] for code, v in options if code == 4 and len(v) == 8]
            lost = min(counts[0], 2**31 - 1) if counts else 0
        self.drops[index] = self.drops.get(index, 0) + lost


def merge(files: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """Merge the frame times of files given in the order of their rank; give (file, index) of each frame."""
    heads = [0] * len(files)
    order: list[tuple[int, int]] = []
    while True:
        left = [(files[f][heads[f]], f) for f in range(len(files)) if heads[f] < len(files[f])]
        if not left:
            return order
        _, file = min(left)
        order.append((file, heads[file]))
        heads[file] += 1
