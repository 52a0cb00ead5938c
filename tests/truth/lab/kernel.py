"""What the laboratory asks of the Linux kernel: namespaces, TUN devices, settings, counters, tracepoints.

Theory of operation
-------------------
Namespaces are never named. A run is a process of its own; it unshares a network namespace per side and holds each by
an open descriptor, so that namespaces, devices and addresses vanish with the process however it ends. A socket belongs
to the namespace its thread was in when it was made: `Namespace.enter` moves the calling thread.

The only thing that outlives a process is an instance of tracefs; it is named after the process and swept by the next
run that finds its process gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import socket
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

CLONE_NEWNS = 0x00020000
CLONE_NEWNET = 0x40000000
MS_REC, MS_PRIVATE = 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
TUNSETIFF, TUNSETOFFLOAD = 0x400454CA, 0x400454D0
IFF_TUN, IFF_NO_PI, IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
TUN_F_CSUM, TUN_F_TSO4, TUN_F_TSO6 = 1, 2, 4
CLOCK_TAI = 11
DEVICE = "tun0"
TRACEFS = Path("/sys/kernel/tracing")
INSTANCE = "tcpsight-lab-"
EVENTS = (
    "tcp/tcp_retransmit_skb",
    "tcp/tcp_retransmit_synack",
    "tcp/tcp_send_reset",
    "tcp/tcp_cong_state_set",
    "sock/inet_sock_set_state",
)

_libc = ctypes.CDLL(None, use_errno=True)


def _call(name: str, *arguments: Any) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


def die_with_parent(signal_number: int) -> None:
    """Let the kernel send this process a signal when its parent ends."""
    _call("prctl", PR_SET_PDEATHSIG, signal_number, 0, 0, 0)


def missing() -> str:
    """Say what the laboratory needs and this machine does not have; empty if nothing."""
    if os.geteuid() != 0:
        return "needs root"
    if not Path("/dev/net/tun").exists():
        return "needs /dev/net/tun"
    try:
        with open("/proc/filesystems") as f:
            has_tracefs = "tracefs" in f.read()
    except OSError:
        has_tracefs = False
    if not has_tracefs:
        return "needs tracefs in the kernel"
    child = os.fork()
    if child == 0:
        try:
            _call("unshare", CLONE_NEWNET | CLONE_NEWNS)
        except OSError:
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        return "may not make network namespaces"
    return ""


def own_mounts() -> None:
    """Give this process mounts of its own, with tracefs among them."""
    _call("unshare", CLONE_NEWNS)
    _call("mount", b"none", b"/", None, MS_REC | MS_PRIVATE, None)
    if not (TRACEFS / "trace_clock").exists():
        _call("mount", b"none", str(TRACEFS).encode(), b"tracefs", 0, None)


class Namespace:
    """A network namespace held by a descriptor, with one TUN device."""

    def __init__(self, *, has_offload: bool) -> None:
        _call("unshare", CLONE_NEWNET)
        self.descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI | IFF_VNET_HDR))
        if has_offload:
            fcntl.ioctl(self.device, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6)

    def enter(self) -> None:
        """Let this thread, and what it starts, be in this namespace."""
        _call("setns", self.descriptor, CLONE_NEWNET)

    def configure(self, commands: list[str], settings: dict[str, str | int]) -> None:
        """Run `ip` commands and write `net.` settings here."""
        self.enter()
        for name, value in settings.items():
            Path("/proc/sys", *name.split(".")).write_text(str(value))
        text = "\n".join([f"link set {DEVICE} txqueuelen 10000 up", "link set lo up", *commands])
        subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)

    def wait_for_route(self, own: str, peer: str) -> None:
        """Wait until packets to `peer` would leave: IPv6 takes a device for up some time after it is."""
        self.enter()
        deadline = time.monotonic() + 5
        while True:
            family = socket.AF_INET6 if ":" in own else socket.AF_INET
            with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as s:
                s.bind((own, 0))
                s.connect((peer, 9))
                return
            if time.monotonic() > deadline:
                raise RuntimeError(f"no route from {own} to {peer}")
            time.sleep(0.005)

    def counters(self) -> dict[str, int]:
        """Give the TCP counters of this namespace that are not zero, and what its device dropped."""
        self.enter()
        found: dict[str, int] = {}
        for name in ("netstat", "snmp"):
            lines = Path("/proc/thread-self/net", name).read_text().splitlines()
            for head, values in zip(lines[::2], lines[1::2], strict=True):
                if head.startswith(("TcpExt:", "Tcp:")):
                    found |= dict(zip(head.split()[1:], map(int, values.split()[1:]), strict=True))
        row = re.search(rf"{DEVICE}:(.*)", Path("/proc/thread-self/net/dev").read_text())
        if row is not None:
            found["device_received_dropped"] = int(row[1].split()[3])
            found["device_sent_dropped"] = int(row[1].split()[11])
        return {name: n for name, n in found.items() if n}


class Event(NamedTuple):
    """A tracepoint that fired: when (realtime), which, its fields."""

    time_ns: int
    name: str
    fields: dict[str, str]


def tai_offset_ns() -> int:
    """Give CLOCK_TAI minus CLOCK_REALTIME; it is a whole number of seconds, so it is exact."""
    return round((time.clock_gettime_ns(CLOCK_TAI) - time.clock_gettime_ns(time.CLOCK_REALTIME)) / 1e9) * 10**9


_LINE = re.compile(r"\s(\d+)\.(\d+): (\w+): (.*)")


@contextlib.contextmanager
def tracing() -> Iterator[Path]:
    """Record the TCP tracepoints of the whole machine into an instance of our own."""
    instance = TRACEFS / "instances" / f"{INSTANCE}{os.getpid()}"
    sweep()
    instance.mkdir()
    try:
        (instance / "trace_clock").write_text("tai")
        (instance / "buffer_size_kb").write_text("512")
        for event in EVENTS:
            (instance / "events" / event / "enable").write_text("1")
        yield instance
    finally:
        remove(instance)


def sweep() -> None:
    """Remove instances whose process is gone."""
    for instance in (TRACEFS / "instances").glob(INSTANCE + "*"):
        if not Path("/proc", instance.name.removeprefix(INSTANCE)).exists():
            remove(instance)


def remove(instance: Path) -> None:
    """Remove an instance of tracefs."""
    with contextlib.suppress(OSError):
        (instance / "events" / "enable").write_text("0")
    with contextlib.suppress(OSError):
        instance.rmdir()


def events(instance: Path, addresses: set[str]) -> list[Event]:
    """Give the tracepoints that fired between `addresses`; other runs trace at the same time.

    tracefs prints microseconds: times are exact to that.
    """
    offset = tai_offset_ns()
    found = []
    for line in (instance / "trace").read_text(errors="replace").splitlines():
        match = None if line.startswith("#") else _LINE.search(line)
        if match is None:
            continue
        fields = dict(pair.split("=", 1) for pair in match[4].split() if "=" in pair)
        ends = {_host(fields.get(k, "")) for k in ("saddr", "daddr", "saddrv6", "daddrv6", "src", "dest")}
        if ends & addresses:
            found.append(Event(int(match[1]) * 10**9 + int(match[2].ljust(9, "0")) - offset, match[3], fields))
    return found


def _host(text: str) -> str:
    if text.startswith("["):
        return text[1:].split("]", maxsplit=1)[0]
    return text.split(":", maxsplit=1)[0] if text.count(":") == 1 else text


def overruns(instance: Path) -> int:
    """Count tracepoints that the ring buffer lost."""
    return sum(
        int(match[1])
        for stats in (instance / "per_cpu").glob("cpu*/stats")
        for match in re.finditer(r"(?:overrun|dropped events): (\d+)", stats.read_text())
    )
