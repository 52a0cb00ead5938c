"""A closed load that rises: more and more clients, each of which asks, waits for its answer, and pauses."""

from __future__ import annotations

import heapq
import random
import select
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from tests.truth.usl_server.server import ANSWER, REQUEST_BYTES


@dataclass
class Step:
    """What happened while there were so many clients.

    Attributes
    ----------
    response_times_s : list of float
        By the client's clock, of the requests answered in this step.
    """

    clients: int
    seconds: float = 0.0
    response_times_s: list[float] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """Give it as plain values."""
        times = sorted(self.response_times_s)
        return {
            "clients": self.clients,
            "seconds": round(self.seconds, 6),
            "answers": len(times),
            "response_time_mean_ns": round(sum(times) / len(times) * 1e9),
            "response_time_p50_ns": round(times[len(times) // 2] * 1e9),
        }


class Load:
    """Clients in one process, each with a connection.

    Parameters
    ----------
    port : int
        Of the server, on loopback.
    seed : int
        Of the pauses.
    pause_s : float
        Their mean; they are exponential.
    """

    def __init__(self, port: int, seed: int, pause_s: float) -> None:
        self._port, self._pause_s = port, pause_s
        self._random = random.Random(seed)
        self._clients: list[socket.socket] = []
        self._sent: dict[int, float] = {}  # by file descriptor
        self._next: list[tuple[float, int]] = []  # when a client asks again, and which

    def run(self, clients: tuple[int, ...], requests: int) -> list[Step]:
        """Let so many requests be answered, an equal share at each number of clients."""
        steps = [Step(each) for each in clients]
        answered = 0
        for number, step in enumerate(steps):
            self._join(step.clients)
            began, until = time.perf_counter(), requests * (number + 1) // len(steps)
            while answered < until:
                answered += self._turn(step)
            step.seconds = time.perf_counter() - began
        while self._sent:
            self._next.clear()  # nobody asks again
            self._turn(Step(0))
        for client in self._clients:
            client.close()
        return steps

    def _join(self, count: int) -> None:
        while len(self._clients) < count:
            client = socket.create_connection(("127.0.0.1", self._port))
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            heapq.heappush(self._next, (time.perf_counter(), len(self._clients)))
            self._clients.append(client)

    def _turn(self, step: Step) -> int:
        """Send what is due, read what has come; give how many answers that was."""
        now = time.perf_counter()
        while self._next and self._next[0][0] <= now:
            _, client = heapq.heappop(self._next)
            self._sent[client] = time.perf_counter()
            self._clients[client].sendall(bytes(REQUEST_BYTES))
        waiting = {self._clients[client].fileno(): client for client in self._sent}
        wait = max(self._next[0][0] - time.perf_counter(), 0.0) if self._next else 5.0
        ready, _, _ = select.select(list(waiting), [], [], wait)
        for descriptor in ready:
            client = waiting[descriptor]
            if len(self._clients[client].recv(len(ANSWER))) != len(ANSWER):
                raise RuntimeError("the server closed a connection, or sent half an answer")
            now = time.perf_counter()
            step.response_times_s.append(now - self._sent.pop(client))
            heapq.heappush(self._next, (now + self._random.expovariate(1 / self._pause_s), client))
        return len(ready)
