"""A TCP server that follows the universal scalability law by construction: the truth that `usl` is asked for.

Theory of operation
-------------------
Every request brings a demand, drawn from an exponential distribution with the mean 1. While n requests are here the
server works at the rate X(n) = λ n / (1 + σ (n − 1) + κ n (n − 1)) in all, and shares it equally among them (processor
sharing); a request is answered when its demand is done. So the mean rate of answers at concurrency n is X(n), whatever
the clients do.

The work is a bookkeeping of real time, not a computation: no processor is busy with it. It is done exactly, event by
event, in the server's own time; a timer that wakes up late delays an answer by that, but neither the work of the others
nor what the law says. Requests begin when they are read. Both make the residence on the wire longer than in here, by
what the machine needs to wake a process; `counters` tells how late answers were.

What it cannot do: more answers a second than the machine can wake a process.
"""

from __future__ import annotations

import argparse
import json
import random
import select
import signal
import socket
import sys
import time

from tests.support.closed_system import Law

REQUEST_BYTES, ANSWER = 16, bytes(48)


class Sharing:
    """Requests that share a rate that depends on how many they are.

    Parameters
    ----------
    law : Law
        The rate.
    seed : int
        Of the demands.
    now : float
        The clock, in seconds.
    """

    def __init__(self, law: Law, seed: int, now: float) -> None:
        self._law = law
        self._random = random.Random(seed)
        self._left: dict[int, float] = {}  # demand by request
        self._now = now
        self.time_s: dict[int, float] = {}
        """How long so many requests were here."""
        self.completions: dict[int, int] = {}
        """How many were answered while so many were here, the answered one included."""

    def arrive(self, request: int) -> None:
        """Take a request, now."""
        self._left[request] = self._random.expovariate(1.0)

    def advance(self, now: float) -> list[tuple[int, float]]:
        """Work until now; give the requests that are done, and when each was."""
        done = []
        while (due := self.due()) is not None and due <= now:
            request = min(self._left, key=self._left.__getitem__)
            n = len(self._left)
            self._work(due)
            del self._left[request]
            self.completions[n] = self.completions.get(n, 0) + 1
            done.append((request, due))
        self._work(now)
        return done

    def due(self) -> float | None:
        """Give when the next request is done if nobody else comes; None if nobody is here."""
        if not self._left:
            return None
        return self._now + min(self._left.values()) / self._share()

    def _share(self) -> float:
        n = len(self._left)
        return float(self._law.throughput(n)) / n

    def _work(self, until: float) -> None:
        n, passed = len(self._left), until - self._now
        self.time_s[n] = self.time_s.get(n, 0.0) + passed
        if n:
            part = passed * self._share()
            for request in self._left:
                self._left[request] -= part
        self._now = until


class Server:
    """The sockets around it."""

    def __init__(self, law: Law, seed: int, port: int) -> None:
        self._listening = socket.create_server(("127.0.0.1", port), backlog=128)
        self._connections: dict[int, socket.socket] = {}
        self._sharing = Sharing(law, seed, time.perf_counter())
        self._late: list[float] = []
        self.is_ending = False

    def serve(self) -> None:
        """Serve until it is ended."""
        while not self.is_ending:
            due = self._sharing.due()
            wait = 0.2 if due is None else min(max(due - time.perf_counter(), 0.0), 0.2)
            ready, _, _ = select.select([self._listening, *self._connections.values()], [], [], wait)
            now = time.perf_counter()
            for request, at in self._sharing.advance(now):
                self._connections[request].sendall(ANSWER)
                self._late.append(time.perf_counter() - at)
            for one in ready:
                self._read(one)

    def _read(self, one: socket.socket) -> None:
        if one is self._listening:
            connection, _ = one.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._connections[connection.fileno()] = connection
            return
        if len(one.recv(REQUEST_BYTES)) == REQUEST_BYTES:
            self._sharing.arrive(one.fileno())
            return
        del self._connections[one.fileno()]
        one.close()

    def counters(self) -> dict[str, object]:
        """Give what the server counted: time and answers by number of requests here."""
        late = sorted(self._late)
        return {
            "answers": len(late),
            "time_s": [[n, round(seconds, 6)] for n, seconds in sorted(self._sharing.time_s.items())],
            "completions": sorted(map(list, self._sharing.completions.items())),
            "late_p50_ns": round(late[len(late) // 2] * 1e9) if late else None,
            "late_p99_ns": round(late[len(late) * 99 // 100] * 1e9) if late else None,
        }


def main() -> None:
    """Serve until SIGTERM, then print the counters."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--sigma", type=float, required=True)
    parser.add_argument("--kappa", type=float, required=True)
    parser.add_argument("--one", type=float, required=True, help="λ, answers a second of one request at a time")
    chosen = parser.parse_args()
    server = Server(Law(chosen.sigma, chosen.kappa, chosen.one), chosen.seed, chosen.port)
    signal.signal(signal.SIGTERM, lambda *_: setattr(server, "is_ending", True))
    print("listening", file=sys.stderr, flush=True)
    server.serve()
    print(json.dumps(server.counters()))


if __name__ == "__main__":
    main()
