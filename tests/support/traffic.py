"""Captures of small services whose every response time is known, as frames to write with `tests.support.pcap`."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tests.support.pcap import Frame, ethernet, ip_packet, tcp_frame

MS = 1_000_000
START_NS = 1_700_000_000 * 10**9
HANDSHAKE_NS = 2 * MS
CLIENT, SERVER, PORT = "10.0.0.1", "10.0.0.9", 3306


@dataclass(frozen=True)
class Exchange:
    """One request and its response; without `response_time_ns` nobody answers."""

    after_ns: int
    response_time_ns: int | None
    request_bytes: int = 20
    response_bytes: int = 100


@dataclass(frozen=True)
class Talk:
    """One connection: handshake, exchanges one after the other, both FINs unless it stays open."""

    exchanges: Sequence[Exchange]
    client: str = CLIENT
    client_port: int = 40_000
    server: str = SERVER
    server_port: int = PORT
    start_ns: int = START_NS
    is_closed: bool = True

    def frames(self) -> list[Frame]:
        """Write it, segment by segment."""
        frames: list[Frame] = []
        sent = {True: 1000, False: 9000}

        def send(time_ns: int, flags: str, size: int = 0, *, from_client: bool) -> None:
            ends = (self.client, self.server) if from_client else (self.server, self.client)
            ports = (self.client_port, self.server_port) if from_client else (self.server_port, self.client_port)
            ack = 0 if flags == "S" else sent[not from_client]
            frames.append(Frame(time_ns, tcp_frame(*ends, *ports, sent[from_client], ack, flags, bytes(size))))
            sent[from_client] += size + ("S" in flags) + ("F" in flags)

        now = self.start_ns
        send(now, "S", from_client=True)
        send(now + MS, "SA", from_client=False)
        now += HANDSHAKE_NS
        send(now, "A", from_client=True)
        for exchange in self.exchanges:
            now += exchange.after_ns
            send(now, "PA", exchange.request_bytes, from_client=True)
            if exchange.response_time_ns is not None:
                now += exchange.response_time_ns
                send(now, "PA", exchange.response_bytes, from_client=False)
        if self.is_closed:
            send(now + MS, "FA", from_client=True)
            send(now + 2 * MS, "FA", from_client=False)
            send(now + 3 * MS, "A", from_client=True)
        return frames


def answered(*response_times_ms: float, after_ms: float = 10) -> list[Exchange]:
    """Give exchanges of these response times, the same pause before each."""
    return [Exchange(round(after_ms * MS), round(ms * MS)) for ms in response_times_ms]


def capture(talks: Iterable[Talk]) -> list[Frame]:
    """Write several connections as one capture, in order of time."""
    return list(heapq.merge(*(talk.frames() for talk in talks), key=lambda frame: frame.time_ns))


def udp_frame(time_ns: int = START_NS) -> Frame:
    """Write a frame that is IP but not TCP."""
    return Frame(time_ns, ethernet(ip_packet(CLIENT, SERVER, b"\x00\x35\x00\x35\x00\x0c\x00\x00helo", protocol=17)))
