"""Records of capture files, written one number at a time."""

from __future__ import annotations

import struct


def pcap_record(time_ns: int, data: bytes, wire_bytes: int, tick_ns: int) -> bytes:
    """Write one record of a classic pcap file."""
    seconds, rest = divmod(time_ns, 10**9)
    return struct.pack("=IIII", seconds % 2**32, rest // tick_ns, len(data), wire_bytes) + data


def pcapng_record(time_ns: int, data: bytes, wire_bytes: int, interface: int) -> bytes:
    """Write one enhanced packet block of an interface that counts nanoseconds."""
    high, low = divmod(max(time_ns, 0), 2**32)
    body = struct.pack("=IIIII", interface, high, low, len(data), wire_bytes) + data + bytes(-len(data) % 4)
    return struct.pack("=II", 6, len(body) + 12) + body + struct.pack("=I", len(body) + 12)
