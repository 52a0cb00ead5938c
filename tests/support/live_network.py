"""Networks of their own for tests that capture: made for a test, gone with it, unknown to all others."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tcpsight.capture.live import LiveCapture
from tests.conftest import PEERS_ARE_REQUIRED, require_program

CLONE_NEWNET = 0x40000000
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000

_libc = ctypes.CDLL(None, use_errno=True)


def is_listening(port: int) -> bool:
    """Tell whether a server of this machine takes connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def until(is_so: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def missing() -> str:
    """Say what capturing needs and this machine does not have; empty if nothing."""
    if os.geteuid() != 0:
        return "needs root"
    child = os.fork()
    if child == 0:
        os._exit(0 if _libc.unshare(CLONE_NEWNET) == 0 else 1)
    return "may not make network namespaces" if os.waitpid(child, 0)[1] else ""


def require_live_network() -> None:
    """Skip the test where it may not capture; fail where everything must run."""
    if reason := missing():
        if PEERS_ARE_REQUIRED and os.geteuid() == 0:
            pytest.fail(f"capturing {reason}")
        pytest.skip(f"capturing {reason}")


@contextmanager
def own_network() -> Iterator[None]:
    """Let this thread, and what it starts, be in a network of its own, with loopback up and no IPv6 chatter."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    assert _libc.unshare(CLONE_NEWNET) == 0
    try:
        Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
        ip("link set dev lo up")
        yield
    finally:
        assert _libc.setns(home, CLONE_NEWNET) == 0
        os.close(home)


def ip(*commands: str) -> None:
    """Run commands of `ip`."""
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands), text=True, check=True, stdout=subprocess.PIPE)


def veth(first: str, second: str) -> None:
    """Make two interfaces that are the ends of one cable."""
    ip(f"link add name {first} type veth peer name {second}", f"link set dev {first} up", f"link set dev {second} up")


def tun(name: str) -> int:
    """Make an interface without link layer; what is written to the descriptor is received on it."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    ip(f"link set dev {name} up")
    return device


@contextmanager
def cable_end(name: str) -> Iterator[socket.socket]:
    """Give a socket that sends whole frames by an interface."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
        s.bind((name, 0))
        yield s


@contextmanager
def recorded(path: Path) -> Iterator[None]:
    """Let tcpdump record what goes over loopback."""
    command = [require_program("tcpdump"), "-i", "lo", "-Z", "root", "-U", "--immediate-mode", "-w", str(path), "tcp"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "listening on" not in process.stderr.readline():
            assert process.poll() is None
        try:
            yield
            time.sleep(0.5)  # what the kernel holds is given in blocks
        finally:
            process.terminate()
            process.wait(timeout=10)


class Got(NamedTuple):
    """A frame that was captured."""

    number: int
    time_ns: int
    data: bytes
    wire_bytes: int
    interface: int
    link_type: int


class Listening:
    """Takes what a capture gives, in a thread, until it is stopped."""

    def __init__(self, capture: LiveCapture) -> None:
        self.capture = capture
        self.frames: list[Got] = []
        self.silences: list[tuple[int, int]] = []  # how many frames had come, and until when there are no more
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            for batch in self.capture:
                data = memoryview(batch.data)
                if not len(batch):
                    assert batch.until_ns is not None
                    self.silences.append((len(self.frames), batch.until_ns))
                for row in batch:
                    content = bytes(data[row["position"] : row["position"] + row["captured_bytes"]])
                    numbers = (int(row[name]) for name in ("wire_bytes", "interface_id", "link_type"))
                    self.frames.append(Got(int(row["frame_number"]), int(row["time_ns"]), content, *numbers))
        except BaseException as failure:
            self.failure = failure

    def stop(self) -> list[Got]:
        """Give all that came."""
        self.capture.stop()
        self._thread.join(timeout=30)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure
        return self.frames
