"""Simulates traffic that two capture points see: every delay, every loss and both clocks are known."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from random import Random

from tests.support.pcap import Frame, pcap_bytes, tcp_frame

MS = 1_000_000
START_NS = 1_700_000_000 * 10**9
SERVER_PORT = 5432


@dataclass(frozen=True)
class Truth:
    """Where the time of a request went, by a clock that is right."""

    to_server_ns: int
    server_ns: int
    to_client_ns: int


@dataclass
class Points:
    """A client, a server, and two points between them.

    Delays are from point to point; the hosts are at the points.
    """

    seed: int = 1
    to_server_ns: int = 10 * MS
    to_client_ns: int = 10 * MS
    jitter_ns: int = 0
    loss: float = 0.0
    offset_ns: int = 0
    drift_ppm: float = 0.0
    set_ns: dict[int, int] = field(default_factory=dict)  # server side: at this time since the start, by so much
    ip_ids: bool = True
    translated: tuple[str, int] | None = None  # what the client looks like at the server side: address, port shift

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        # With the time by which they are in order, whatever the clocks show.
        self.client_side: list[tuple[int, Frame]] = []
        self.server_side: list[tuple[int, Frame]] = []
        self.truths: list[Truth] = []
        self.delays: dict[bool, list[int]] = {True: [], False: []}
        self.lost: dict[bool, int] = {True: 0, False: 0}
        self.ids = 0

    def server_clock(self, time_ns: int) -> int:
        since = time_ns - START_NS
        moved = sum(by for at, by in self.set_ns.items() if since >= at)
        return time_ns + self.offset_ns + round(since * self.drift_ppm * 1e-6) + moved

    def delay(self, *, up: bool) -> int:
        least = self.to_server_ns if up else self.to_client_ns
        return least + (round(self.random.expovariate(1 / self.jitter_ns)) if self.jitter_ns else 0)

    def send(
        self, time_ns: int, port: int, flags: str, numbers: tuple[int, int], size: int = 0, *, up: bool
    ) -> int | None:
        """Let a segment pass from one point to the other; give when it comes there, or None if it is lost."""
        self.ids = self.ids % 65535 + 1
        arrival = time_ns + self.delay(up=up)
        is_lost = self.random.random() < self.loss
        stamp = (time_ns // MS) % 2**32
        options = struct.pack(">BBBBII", 1, 1, 8, 10, stamp, 0)
        for near, when in ((True, time_ns), (False, arrival)):
            if not near and is_lost:
                continue
            is_client_side = near == up
            client, shift = "10.0.0.1", 0
            if not is_client_side and self.translated:
                client, shift = self.translated
            ends = [(client, port + shift), ("10.0.0.9", SERVER_PORT)]
            (src, sport), (dst, dport) = ends if up else ends[::-1]
            data = tcp_frame(
                src, dst, sport, dport, numbers[0] % 2**32, numbers[1] % 2**32, flags, bytes(size),
                options=options, ip_id=self.ids if self.ip_ids else 0,
            )  # fmt: skip
            where = self.client_side if is_client_side else self.server_side
            where.append((when, Frame(when if is_client_side else self.server_clock(when), data)))
        if is_lost:
            self.lost[up] += 1
            return None
        self.delays[up].append(arrival - time_ns)
        return arrival

    def surely(self, time_ns: int, port: int, flags: str, numbers: tuple[int, int], size: int = 0, *, up: bool) -> int:
        """Send again every 200 ms until it comes."""
        while (came := self.send(time_ns, port, flags, numbers, size, up=up)) is None:
            time_ns += 200 * MS
        return came

    def talk(self, start_ns: int, port: int, exchanges: int, *, think_ns: int = 20 * MS) -> None:
        """One connection: handshake, exchanges, both FINs."""
        c, s = self.random.randrange(2**32), self.random.randrange(2**32)
        now = self.surely(start_ns, port, "S", (c, 0), up=True)
        now = self.surely(now + 100_000, port, "SA", (s, c + 1), up=False)
        c, s = c + 1, s + 1
        self.send(now + 50_000, port, "A", (c, s), up=True)
        now += think_ns
        for _ in range(exchanges):
            request, response = self.random.randrange(50, 400), self.random.randrange(100, 1400)
            asked = now
            came = self.surely(now, port, "PA", (c, s), request, up=True)
            c += request
            gone = came + self.random.randrange(1 * MS, 5 * MS)
            done = self.surely(gone, port, "PA", (s, c), response, up=False)
            s += response
            self.truths.append(Truth(came - asked, gone - came, done - gone))
            self.send(done + 30_000, port, "A", (c, s), up=True)
            now = done + think_ns
        now = self.surely(now, port, "FA", (c, s), up=True)
        now = self.surely(now + 40_000, port, "FA", (s, c + 1), up=False)
        self.surely(now + 40_000, port, "A", (c + 1, s + 1), up=True)

    def several(self, count: int, exchanges: int, *, apart_ns: int = 100 * MS) -> Points:
        """Let connections begin one after the other."""
        for i in range(count):
            self.talk(START_NS + i * apart_ns + self.random.randrange(MS), 40_000 + i, exchanges)
        return self

    def captures(self) -> tuple[bytes, bytes]:
        """Write both captures, in the order in which frames really came."""
        both = (sorted(side, key=lambda each: each[0]) for side in (self.client_side, self.server_side))
        ours, theirs = (pcap_bytes([frame for _, frame in side], nanoseconds=True) for side in both)
        return ours, theirs
