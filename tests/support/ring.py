"""Lays out rings as the kernel fills them, byte by byte, so that tests know what is in them."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

BLOCK_BYTES = 4096
USER = 1
TAG_VALID, TAG_PROTOCOL_VALID = 16, 64


@dataclass
class Held:
    """A frame as it lies in a block."""

    data: bytes = b"\x02" * 14 + bytes(40)
    time_ns: int = 1_700_000_000 * 10**9
    wire_bytes: int = -1
    status: int = USER
    tag: int = 0
    tag_protocol: int = 0
    protocol: int = 0x0800
    device: int = 3
    hardware: int = 1
    direction: int = 0
    address: bytes = b"\x02\0\0\0\0\x01"
    reserved: int = 32

    def laid_out(self, *, is_last: bool) -> bytes:
        """Give the header, the address, room in front of the frame, the frame, and what aligns the next."""
        begin = 80 + self.reserved + 2
        size = begin + len(self.data)
        padded = -(-size // 16) * 16
        seconds, nanoseconds = divmod(self.time_ns, 10**9)
        wire = len(self.data) if self.wire_bytes < 0 else self.wire_bytes
        header = struct.pack(
            "=IIIIIIHHIIHH8x", 0 if is_last else padded, seconds, nanoseconds, len(self.data), wire, self.status, begin,
            begin + 14, 0, self.tag, self.tag_protocol, 0,
        )  # fmt: skip
        address = struct.pack("=H", 17) + struct.pack(">H", self.protocol)
        address += struct.pack("=iHBB8s", self.device, self.hardware, self.direction, len(self.address), self.address)
        return (header + address).ljust(begin, b"\xaa") + self.data + bytes(padded - size)


@dataclass
class Block:
    """A block of a ring, handed over or not."""

    frames: list[Held] = field(default_factory=list)
    status: int = USER

    def laid_out(self) -> bytes:
        """Give it as it lies in memory."""
        body = b"".join(f.laid_out(is_last=i + 1 == len(self.frames)) for i, f in enumerate(self.frames))
        head = struct.pack("=IIIIII", 3, 48, self.status, len(self.frames), 48, 48 + len(body)).ljust(48, b"\0")
        assert len(head + body) <= BLOCK_BYTES
        return (head + body).ljust(BLOCK_BYTES, b"\0")


def ring_bytes(blocks: list[Block]) -> bytearray:
    """Give a ring of these blocks."""
    return bytearray(b"".join(block.laid_out() for block in blocks))
