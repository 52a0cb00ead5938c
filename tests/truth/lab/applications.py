"""Client and server of the laboratory: one generic exchange, and what either side can be told to do wrong.

A request begins with 16 bytes that say how long it is, how long its answer shall be and how long the server shall
think. Both sides stamp what they do with CLOCK_REALTIME in nanoseconds, the clock of captures: before the first byte
is given to the kernel, when the last was taken from it. The sockets' TCP_INFO is read regularly and at the end.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from tests.truth.lab.sockets import interesting, tcp_info

HEADER = struct.Struct("<IIQ")
CHUNK = 65536
FLOOD_NETWORK = "10.78.0.0/16"
"""Where made-up addresses are from: nobody there answers."""

FLOOD_PORTS = (1024, 30_000)
"""Ports of made-up clients: kernels give others to theirs."""

SAMPLE_SECONDS = 0.1
PORT = 8080


@dataclass(frozen=True)
class Exchange:
    """One request of a client; durations in ns."""

    request_bytes: int = 200
    response_bytes: int = 1000
    server_ns: int = 0
    think_ns: int = 0  # before it is sent
    writes: int = 1  # in how many pieces the request is written
    write_gap_ns: int = 0


@dataclass(frozen=True)
class Client:
    """What the client does: connections one after the other or side by side, each with the same exchanges."""

    exchanges: tuple[Exchange, ...] = (Exchange(),)
    connections: int = 1
    is_parallel: bool = False
    gap_ns: int = 0  # between the starts of connections
    timeout_ns: int = 8_000_000_000
    receive_buffer: int = 0
    send_buffer: int = 0
    has_nodelay: bool = True
    read_first: int = 0  # after so many response bytes the client stops reading …
    pause_ns: int = 0  # … for this long; each time again if `read_every`
    read_every: int = 0
    close: str = "fin"  # fin, reset, or vanish: the process ends while the path is out
    port: int = PORT
    linger_ns: int = 0  # how long the run goes on when all is done
    background_ns: int = 0  # between the exchanges of one more connection, which lasts as long as the run
    flood: int = 0  # so many handshakes are begun besides, from made-up addresses …
    flood_gap_ns: int = 0  # … one each


@dataclass(frozen=True)
class Server:
    """What the server does."""

    backlog: int = 128
    accept_after_ns: int = 0
    receive_buffer: int = 0
    send_buffer: int = 0
    has_nodelay: bool = True
    has_quick_ack: bool = True
    close: str = "fin"  # fin, reset (instead of an answer), never
    read_first: int = 0
    pause_ns: int = 0
    keep_alive_s: int = 0


def now() -> int:
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


def pause(ns: int) -> None:
    if ns > 0:
        time.sleep(ns / 1e9)  # as the scenario says


class Log:
    """What one side saw: one record per connection, its socket's TCP_INFO sampled while it is open."""

    def __init__(self) -> None:
        self.connections: list[dict[str, Any]] = []
        self._open: dict[int, socket.socket] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._sample, daemon=True).start()

    def begin(self) -> dict[str, Any]:
        record: dict[str, Any] = {"exchanges": [], "samples": []}
        self.connections.append(record)
        return record

    def watch(self, record: dict[str, Any], s: socket.socket) -> None:
        with self._lock:
            self._open[id(record)] = s

    def end(self, record: dict[str, Any], s: socket.socket) -> None:
        """Read TCP_INFO a last time; the caller closes the socket."""
        with self._lock:
            self._open.pop(id(record), None)
            with contextlib.suppress(OSError):
                record["info"] = interesting(tcp_info(s))

    def give(self) -> list[dict[str, Any]]:
        """Give the records; sockets that are still open are read a last time."""
        with self._lock:
            for record in self.connections:
                s = self._open.get(id(record))
                if s is not None:
                    with contextlib.suppress(OSError):
                        record["info"] = interesting(tcp_info(s))
            return self.connections

    def _sample(self) -> None:
        names = ("rtt", "min_rtt", "snd_cwnd", "unacked", "delivery_rate", "total_retrans", "busy_time", "rwnd_limited")
        while True:
            time.sleep(SAMPLE_SECONDS)
            with self._lock:
                by_id = {id(record): record for record in self.connections}
                for key, s in self._open.items():
                    with contextlib.suppress(OSError):
                        info = tcp_info(s)
                        by_id[key]["samples"].append([now(), *(info.get(n, 0) for n in names)])


def receive(s: socket.socket, n: int, how: Client | Server | None = None) -> tuple[int, int, int]:
    """Take `n` bytes; give how many came, and when the first and the last were taken."""
    got = first = last = 0
    stop = how.read_first if how is not None else 0
    while got < n:
        data = s.recv(min(CHUNK, n - got, stop - got if stop > got else CHUNK))
        last = now()
        first = first or last
        if not data:
            break
        got += len(data)
        if stop and got >= stop and how is not None:
            pause(how.pause_ns)
            stop = stop + how.read_every if isinstance(how, Client) and how.read_every else 0
    return got, first, last


def _prepare(s: socket.socket, how: Client | Server) -> None:
    if how.receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, how.receive_buffer // 2)  # the kernel doubles it
    if how.send_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, how.send_buffer // 2)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, how.has_nodelay)


def reset(s: socket.socket) -> None:
    """Close so that the peer gets a RST."""
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def _send(s: socket.socket, data: bytes, pieces: int, gap_ns: int) -> None:
    size = -(-len(data) // pieces)
    for at in range(0, len(data), size):
        if at:
            pause(gap_ns)  # as the scenario says
        s.sendall(data[at : at + size])


# --- the client


def _exchange(s: socket.socket, one: Exchange, how: Client) -> dict[str, int]:
    pause(one.think_ns)  # as the scenario says
    size = max(one.request_bytes, HEADER.size)
    data = HEADER.pack(size, one.response_bytes, one.server_ns) + bytes(size - HEADER.size)
    stamps = {"request_begin_ns": now()}
    _send(s, data, one.writes, one.write_gap_ns)
    stamps["request_given_ns"] = now()
    got, first, last = receive(s, one.response_bytes, how)
    return stamps | {"response_bytes": got, "response_first_ns": first, "response_last_ns": last}


def _socket(address: str, congestion: str) -> socket.socket:
    s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    # A namespace may not choose every algorithm for itself; a privileged socket may.
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion.encode())
    return s


def _connection(log: Log, how: Client, address: str, congestion: str) -> None:
    record = log.begin()
    s = _socket(address, congestion)
    _prepare(s, how)
    s.settimeout(how.timeout_ns / 1e9)
    record["connect_begin_ns"] = now()
    try:
        log.watch(record, s)
        s.connect((address, how.port))
        record["connected_ns"] = now()
        record["port"] = s.getsockname()[1]
        for one in how.exchanges:
            record["exchanges"].append(_exchange(s, one, how))
    except OSError as error:
        record["error"] = type(error).__name__
        record.setdefault("port", s.getsockname()[1])
    record["closing_ns"] = now()
    log.end(record, s)
    if how.close == "reset":
        reset(s)
    else:
        s.close()


def _flood(how: Client, address: str) -> None:
    """Begin handshakes from made-up addresses, each from a port of its own; nobody completes them."""
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as s:
        for i in range(how.flood):
            source = b"\x0a\x4e" + (1 + i * 40_503 % 65_534).to_bytes(2, "big")
            s.sendto(_syn(source, FLOOD_PORTS[0] + i, socket.inet_aton(address), how.port, i << 16), (address, 0))
            pause(how.flood_gap_ns)  # as the scenario says


def _syn(source: bytes, source_port: int, destination: bytes, port: int, number: int) -> bytes:
    """Write an IPv4 packet with a SYN; the kernel fills in what IP needs."""
    tcp = struct.pack("!HHIIBBHHHBBH", source_port, port, number, 0, 6 << 4, 2, 64_240, 0, 0, 2, 4, 1460)
    words = source + destination + struct.pack("!HH", socket.IPPROTO_TCP, len(tcp)) + tcp
    total = sum(struct.unpack(f"!{len(words) // 2}H", words))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF
    tcp = tcp[:16] + struct.pack("!H", checksum) + tcp[18:]
    return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0, source, destination) + tcp


def run_client(log: Log, how: Client, address: str, congestion: str) -> None:
    """Do all connections; returns when they are done."""
    threads = []
    if how.background_ns:
        other = replace(how, exchanges=(Exchange(think_ns=how.background_ns),) * 1000)
        threading.Thread(target=_connection, args=(log, other, address, congestion), daemon=True).start()
    if how.flood:
        threads.append(threading.Thread(target=_flood, args=(how, address), daemon=True))
        threads[-1].start()
    for i in range(how.connections):
        if i:
            pause(how.gap_ns)  # as the scenario says
        if how.is_parallel:
            threads.append(threading.Thread(target=_connection, args=(log, how, address, congestion), daemon=True))
            threads[-1].start()
        else:
            _connection(log, how, address, congestion)
    for thread in threads:
        thread.join()
    pause(how.linger_ns)  # as the scenario says


# --- the server


def _serve(log: Log, how: Server, s: socket.socket, port: int) -> None:
    record = log.begin()
    record |= {"port": port, "accepted_ns": now()}
    log.watch(record, s)
    try:
        _prepare(s, how)
        if how.keep_alive_s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, how.keep_alive_s)
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, how.keep_alive_s)
        while _answer(record, how, s):
            pass
    except OSError as error:
        record["error"] = type(error).__name__
    log.end(record, s)
    if how.close == "reset":
        reset(s)
    elif how.close == "never":
        record["kept"] = True
        _kept.append(s)
    else:
        s.close()


_kept: list[socket.socket] = []


def _answer(record: dict[str, Any], how: Server, s: socket.socket) -> bool:
    if not how.has_quick_ack:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
    head = b""
    while len(head) < HEADER.size:
        more = s.recv(HEADER.size - len(head))
        if not more:
            return False
        head += more
    first = now()
    size, response_bytes, server_ns = HEADER.unpack(head)
    last = receive(s, size - HEADER.size, how)[2] or first
    stamps = {"request_first_ns": first, "request_last_ns": last}
    if how.close == "reset":
        record["exchanges"].append(stamps)
        return False
    pause(server_ns)  # as the scenario says
    stamps["response_begin_ns"] = now()
    left = response_bytes
    while left > 0:
        n = min(left, 1 << 20)
        s.sendall(bytes(n))
        left -= n
    record["exchanges"].append(stamps | {"response_given_ns": now()})
    return True


def listen(how: Server, address: str, congestion: str) -> socket.socket:
    """Open the listening socket; what it accepts has its settings."""
    s = _socket(address, congestion)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if how.receive_buffer:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, how.receive_buffer // 2)
    s.bind((address, PORT))
    s.listen(how.backlog)
    return s


def run_server(log: Log, how: Server, listener: socket.socket) -> None:
    """Accept for ever, a thread per connection."""
    pause(how.accept_after_ns)  # as the scenario says
    while True:
        s, peer = listener.accept()
        threading.Thread(target=_serve, args=(log, how, s, peer[1]), daemon=True).start()
