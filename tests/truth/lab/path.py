"""The path between the two ends: what it does to packets, the program that does it, and its log.

The program is `forwarder/path.c`, compiled when it is first needed. Python could forward as many packets as the
laboratory sends, but not on time: a collection of garbage delays by more than the quantities under test are wrong.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
BUILT = HERE.parents[2] / "build" / "lab"
SOURCES = tuple(HERE / "forwarder" / name for name in ("path.c", "rules.h", "packet.h"))

FATES = ("forwarded", "random", "burst", "tail", "listed", "syn", "mtu", "policer", "queue", "outage")
"""What became of a packet, as `enum fate` of rules.h numbers it."""

FORWARDED = 0
CHANCES = ("loss", "to_bad", "to_good", "bad_loss", "reorder", "duplicate")
UP, DOWN = 0, 1
FIN, SYN, RST, ACK = 1, 2, 4, 16
"""Directions of the path: from the client's end to the server's, and back."""

RECORD = np.dtype(
    [
        ("in_ns", "<i8"), ("due_ns", "<i8"), ("out_ns", "<i8"),
        ("wire_bytes", "<u4"), ("queued", "<u4"), ("seq", "<u4"), ("ack", "<u4"), ("payload", "<u4"),
        ("source", "<u2"), ("destination", "<u2"), ("window", "<u2"),
        ("flags", "u1"), ("direction", "u1"), ("fate", "u1"), ("version", "u1"), ("copy", "u1"), ("header_bytes", "u1"),
        ("headers", "u1", (128,)), ("padding", "u1", (8,)),
    ]
)  # fmt: skip
"""`struct record` of path.c: one packet at the forwarder, realtime nanoseconds."""


@dataclass(frozen=True)
class Direction:
    """What one direction of the path does; durations in ns, sizes in bytes, rates in bit/s, chances from 0 to 1.

    Drops come first, the bottleneck (its queue drops too) next, propagation last; so a packet that is dropped by chance
    does not take the bottleneck's time.
    """

    delay_ns: int = 0
    jitter_ns: int = 0  # uniform, on top of the delay
    keep_order: bool = True  # whether jitter may not reorder
    rate: int = 0
    burst: int = 0  # token bucket ahead of the queue: a shaper
    queue: int = 0
    line_rate: int = 0  # of the link behind the bottleneck
    loss: float = 0
    to_bad: float = 0  # Gilbert-Elliott: chance per packet to enter and leave the bad state, and of loss in it
    to_good: float = 0
    bad_loss: float = 1
    tail_from: int = 0  # first transmissions of stream bytes beyond this offset are lost
    syn: int = 0  # how many SYNs of each connection are lost
    listed: tuple[int, ...] = ()  # which data segments of each connection are lost: 1, 2 …
    listed_copies: int = 1  # how often each of them
    mtu: int = 0  # larger packets vanish
    policer_rate: int = 0
    policer_burst: int = 0
    reorder: float = 0
    reorder_ns: int = 0
    duplicate: float = 0
    outages: tuple[tuple[int, int], ...] = ()  # from and to, since the first TCP packet
    outage_after: int = 0  # an outage of `outage_ns` begins behind this many stream bytes
    outage_ns: int = 0
    outage_both: bool = False

    def lines(self, name: str) -> list[str]:
        """Give the settings as path.c reads them."""
        found = []
        for one in fields(self):
            value: Any = getattr(self, one.name)
            if one.name == "listed":
                found += [f"{name} listed {n}" for n in value]
            elif one.name == "outages":
                for start, end in value:
                    found += [f"{name} outage_from {start}", f"{name} outage_to {end}"]
            else:
                found.append(f"{name} {one.name} {round(value * 10**9) if one.name in CHANCES else int(value)}")
        return found


@dataclass(frozen=True)
class Link:
    """Both directions, where the tap in the middle is, and the seed of all that is random."""

    up: Direction = field(default_factory=Direction)
    down: Direction = field(default_factory=Direction)
    seed: int = 1
    # The tap's place in propagation delay from the client's end; rules and bottleneck are on its server's side.
    tap_fraction: float = 0.5

    def text(self) -> str:
        lines = self.up.lines("up") + self.down.lines("down")
        return "\n".join([*lines, f"up seed {self.seed}", f"down seed {self.seed}", ""])


def build() -> Path:
    """Compile the forwarder unless it is there; give the program."""
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in SOURCES)).hexdigest()[:12]
    program = BUILT / f"path-{digest}"
    if not program.exists():
        compiler = os.environ.get("CC") or shutil.which("cc") or "gcc"
        BUILT.mkdir(parents=True, exist_ok=True)
        made = BUILT / f"path-{os.getpid()}.tmp"
        subprocess.run([compiler, "-O2", "-Wall", "-Wextra", "-o", str(made), str(SOURCES[0])], check=True)
        made.replace(program)
    return program


class Forwarder:
    """The running program, between two TUN descriptors."""

    def __init__(self, program: Path, devices: tuple[int, int], path: Link, folder: Path) -> None:
        self.log = folder / "path.log"
        settings = folder / "path.settings"
        settings.write_text(path.text())
        self.process = subprocess.Popen(
            [str(program), str(devices[0]), str(devices[1]), str(settings), str(self.log)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=devices,
        )
        assert self.process.stdout is not None
        if self.process.stdout.readline() != b"ready\n":
            raise RuntimeError(f"the forwarder did not start: status {self.process.wait()}")

    def finish(self) -> np.ndarray[Any, Any]:
        """End it and give its log, one `RECORD` per packet in order of arrival."""
        self.process.terminate()
        if self.process.wait(timeout=10) != 0:
            raise RuntimeError(f"the forwarder ended with status {self.process.returncode}")
        return np.fromfile(self.log, RECORD)
