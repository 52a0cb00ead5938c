"""A server with workers, clients that ask it, and stalls of known start, end and cause, simulated event by event.

Requests take a free worker in order of arrival. What stops them:

`pause`: no worker goes on between two instants (a collector that stops the world, a disk that hangs).
`lock`: one request holds what a share of the others needs, for a known time. Those wait beside the workers, so that
requests that do not need it are served meanwhile, and are taken up in order when it lets go.
`sync`: the same without a request that holds it (a checkpoint).
`slow`: what is begun between two instants takes several times as long (a cache was emptied, a disk is busy): no stall.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.support.pcap import Frame, tcp_frame

Floats = np.ndarray[Any, np.dtype[np.float64]]

START_NS = 1_700_000_000 * 10**9


@dataclass(frozen=True)
class Stall:
    """What is to happen.

    Attributes
    ----------
    kind : str
        `pause`, `lock` or `sync`.
    start_s, duration_s : float
        When it begins, at the earliest: a lock is taken by the next request that comes; and how long it lasts.
    share : float
        Of the requests, those that it stops; how many times as long they take, where it slows them down.
    """

    kind: str
    start_s: float
    duration_s: float
    share: float = 1.0


@dataclass(frozen=True)
class Setup:
    """Who asks what.

    Attributes
    ----------
    workers : int
        Requests that can be served at once.
    service_s : float
        Mean service time.
    law : str
        How service times vary: `fixed` (within 10 %), `exponential`, `lognormal` (σ = 1), `mixed` (one of fifty takes
        thirty times as long).
    rate_per_s : float
        At which requests come; with `clients`, at which they would come to a server that answers at once.
    clients : int
        0: as many connections as it takes; else so many, each of which asks again some time after it was answered.
    burst : float
        Mean number of requests that come together, 1: none do.
    """

    workers: int
    service_s: float
    law: str
    rate_per_s: float
    clients: int = 0
    burst: float = 1.0
    requests: int = 10_000


@dataclass
class Happened:
    """What a stall did.

    Attributes
    ----------
    start_s, end_s : float
        When it stopped requests.
    blocker : tuple of int, or None
        Connection and index of the request that caused it.
    """

    kind: str
    start_s: float
    end_s: float
    blocker: tuple[int, int] | None = None


@dataclass
class Lived:
    """What happened, shape (requests,) each, in order of arrival."""

    arrival_s: Floats
    completion_s: Floats
    connection: np.ndarray[Any, np.dtype[np.int64]]
    index: np.ndarray[Any, np.dtype[np.int64]]
    stalls: list[Happened] = field(default_factory=list)

    def held(self, stall: Happened) -> int:
        """How many requests a stall kept waiting to its end for longer than half of it, what caused it not counted."""
        waited = self.completion_s - np.maximum(self.arrival_s, stall.start_s)
        came = (self.arrival_s < stall.end_s) & (self.completion_s >= stall.end_s)
        own = stall.blocker is not None
        return int((came & (waited > 0)).sum()) - own


def draw_services(random: np.random.Generator, setup: Setup, n: int) -> Floats:
    """Draw service times."""
    mean = setup.service_s
    if setup.law == "fixed":
        return random.uniform(0.9, 1.1, n) * mean
    if setup.law == "exponential":
        return random.exponential(mean, n)
    if setup.law == "lognormal":
        return random.lognormal(np.log(mean) - 0.5, 1.0, n)
    drawn = random.exponential(mean / 1.58, n)
    return np.where(random.random(n) < 0.02, drawn * 30, drawn)


class _Server:
    """One run under way."""

    def __init__(self, setup: Setup, stalls: list[Stall], seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.setup = setup
        self.services = draw_services(self.random, setup, setup.requests).tolist()
        self.pauses = sorted((s.start_s, s.start_s + s.duration_s) for s in stalls if s.kind == "pause")
        self.locks = [s for s in stalls if s.kind in ("lock", "sync")]
        self.slow = [(s.start_s, s.start_s + s.duration_s, s.share) for s in stalls if s.kind == "slow"]
        self.happened = [Happened("pause", *pause) for pause in self.pauses]
        self.happened += [Happened("slow", start, stop) for start, stop, _ in self.slow]
        self.held: list[tuple[Happened, float]] = []
        for s in self.locks:
            if s.kind == "sync":
                self.held.append((Happened("sync", s.start_s, s.start_s + s.duration_s), s.share))
        self.happened += [each for each, _ in self.held]
        self.waiting_locks = sorted((s for s in self.locks if s.kind == "lock"), key=lambda s: s.start_s)
        self.free = [0.0] * setup.workers
        heapq.heapify(self.free)

    def finish_of(self, begin: float, service: float) -> float:
        """Tell when work that begins then is done: nothing is while all pause."""
        end = begin + service
        for start, stop in self.pauses:
            if begin < stop and end > start:
                end += stop - max(start, begin)
        return end

    def parked_until(self, now: float) -> float | None:
        for each, share in self.held:
            if each.start_s <= now < each.end_s and self.random.random() < share:
                return each.end_s
        return None

    def serve(self, now: float, service: float, who: tuple[int, int]) -> float:
        """Take a worker; tell when it is done."""
        begin = max(now, heapq.heappop(self.free))
        if self.waiting_locks and begin >= self.waiting_locks[0].start_s:
            lock = self.waiting_locks.pop(0)
            each = Happened("lock", begin, self.finish_of(begin, lock.duration_s), who)
            self.happened.append(each)
            self.held.append((each, lock.share))
            service = lock.duration_s
        for start, stop, factor in self.slow:
            service *= factor if start <= begin < stop else 1.0
        end = self.finish_of(begin, service)
        heapq.heappush(self.free, end)
        return end


def simulate(setup: Setup, stalls: list[Stall], seed: int) -> Lived:
    """Let requests come until there have been as many as the set-up says."""
    server = _Server(setup, stalls, seed)
    random = server.random
    events: list[tuple[float, int, int, float, int]] = []  # time, order, connection (−1: any), arrival, number
    order = 0
    if setup.clients:
        think = max(setup.clients / setup.rate_per_s - setup.service_s, 1e-6)
        for client in range(setup.clients):
            events.append((random.exponential(think), order := order + 1, client, -1.0, -1))
    else:
        think = 0.0
        events.append((random.exponential(1 / setup.rate_per_s), order := order + 1, -1, -1.0, -1))
    heapq.heapify(events)
    idle: list[tuple[float, int]] = []
    counts: list[int] = [0] * setup.clients
    rows: list[tuple[float, float, int, int]] = []
    begun = 0
    while events:
        now, _, connection, arrival, number = heapq.heappop(events)
        if number < 0:
            if begun >= setup.requests:
                continue
            number, arrival = begun, now
            begun += 1
            if not setup.clients:
                gap = random.exponential(setup.burst / setup.rate_per_s) if random.random() * setup.burst < 1 else 0.0
                heapq.heappush(events, (now + gap, order := order + 1, -1, -1.0, -1))
                if idle and idle[0][0] <= now:
                    connection = heapq.heappop(idle)[1]
                else:
                    connection = len(counts)
                    counts.append(0)
            until = server.parked_until(now)
            if until is not None:
                heapq.heappush(events, (until, order := order + 1, connection, arrival, number))
                continue
        end = server.serve(now, server.services[number], (connection, counts[connection]))
        rows.append((arrival, end, connection, counts[connection]))
        counts[connection] += 1
        if setup.clients:
            heapq.heappush(events, (end + random.exponential(think), order := order + 1, connection, -1.0, -1))
        else:
            heapq.heappush(idle, (end, connection))
    table = np.array(sorted(rows))
    ends = server.happened
    return Lived(table[:, 0], table[:, 1], table[:, 2].astype(np.int64), table[:, 3].astype(np.int64), ends)


def frames(lived: Lived, *, port: int = 3306, server: str = "10.0.0.9") -> list[Frame]:
    """Write what happened as a capture: a segment for each request and each answer, without handshakes."""
    arrivals, completions = (
        START_NS + np.rint(each * 1e9).astype(np.int64) for each in (lived.arrival_s, lived.completion_s)
    )
    events = [(int(at), 1, int(who)) for at, who in zip(arrivals, lived.connection, strict=True)]
    events += [(int(at), 0, int(who)) for at, who in zip(completions, lived.connection, strict=True)]
    sent = {who: [9000, 1000] for who in set(lived.connection.tolist())}
    found = []
    for at, side, who in sorted(events):
        client = (f"10.1.{who // 250 % 250}.{who % 250 + 1}", 40_000 + who // 62_500)
        ends = (client[0], server) if side else (server, client[0])
        ports = (client[1], port) if side else (port, client[1])
        own = sent[who]
        found.append(Frame(at, tcp_frame(*ends, *ports, own[side], own[1 - side], "PA", bytes(10))))
        own[side] += 10
    return found
