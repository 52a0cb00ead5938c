"""The addresses of this machine, as the kernel lists them."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from tcpsight.tables import IPV4_PREFIX


def local_addresses() -> list[bytes]:
    """Give the addresses of this machine, 16 bytes each as tables hold them, without those of loopback interfaces."""
    return [*_ipv4_addresses(), *_ipv6_addresses()]


def _is_loopback(interface: str) -> bool:
    try:
        flags = int(Path(f"/sys/class/net/{interface}/flags").read_text("ascii"), 16)
    except (OSError, ValueError):
        return interface == "lo"
    return bool(flags & 0x8)  # IFF_LOOPBACK


def _ipv4_addresses() -> Iterator[bytes]:
    import fcntl
    import struct

    names = [name for _, name in socket.if_nameindex() if not _is_loopback(name)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        # SIOCGIFCONF fills an array of 40-byte entries: a name of 16 bytes, family, port, address.
        room = bytearray(40 * 1024)
        view = (struct.pack("iP", len(room), _address_of(room)),)
        used = struct.unpack("iP", fcntl.ioctl(asking, 0x8912, view[0]))[0]
    for at in range(0, used, 40):
        name = os.fsdecode(bytes(room[at : at + 16]).split(b"\0")[0]).partition(":")[0]
        if name in names:
            yield IPV4_PREFIX + bytes(room[at + 20 : at + 24])


def _address_of(room: bytearray) -> int:
    import ctypes

    return ctypes.addressof((ctypes.c_char * len(room)).from_buffer(room))


def _ipv6_addresses() -> Iterator[bytes]:
    try:
        lines = Path("/proc/net/if_inet6").read_text("ascii").splitlines()
    except OSError:
        return
    for words in map(str.split, lines):
        if not _is_loopback(words[-1]):
            yield bytes.fromhex(words[0])
