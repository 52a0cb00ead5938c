"""What a message costs between two processes: there and back for latency, one way for throughput.

Theory of operation
-------------------
A child is forked for each measurement and talks with this process by a compiled loop, so that Python is not in what is
measured. For latency each message is sent back before the next one goes: a round trip is two messages and two
awakenings. For throughput messages go one way until time is over, then their end; the clock stops when the other side
says how many bytes have come. What was measured while caches and windows were cold (a tenth of the time) is left out.

What it cannot see: what else runs on this machine meanwhile, and what another machine would do. Where two processes
share a processor, it measures the scheduler; on a virtual machine, the host's, too.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.errors import TcpsightError
from tcpsight.model.distribution import Distribution
from tcpsight.transports import _exchange
from tcpsight.transports.channels import open_channel, shared_memory

MOST_SAMPLES = 1_000_000
LARGEST_MESSAGE = 64 * 1024 * 1024
WARM_FRACTION = 0.1
_BEGUN, _ENDED = 8, 16
"""Of shared memory, words beside what is said, which nothing is said in."""

_LATE_NS = 2_000_000_000
PINNINGS = ("free", "same", "apart")
"""Where both processes run: wherever the system puts them, on one processor, on one each."""


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured.

    Attributes
    ----------
    transport : str
        One of `TRANSPORTS`.
    message_bytes : int
        How long each message is.
    pinning : str
        One of `PINNINGS`.
    """

    transport: str
    message_bytes: int
    pinning: str


@dataclass(frozen=True, slots=True)
class Measurement:
    """What a case cost.

    Attributes
    ----------
    case : Case
        What was measured.
    round_trips : Distribution
        Of messages there and back, ns.
    messages, byte_count, duration_ns : int
        What went one way, and in which time.
    """

    case: Case
    round_trips: Distribution
    messages: int
    byte_count: int
    duration_ns: int


def processors(pinning: str) -> tuple[int, int] | None:
    """Give where both processes run; None for anywhere.

    Raises
    ------
    TcpsightError
        This process may use too few processors.
    """
    if pinning == "free":
        return None
    allowed = sorted(os.sched_getaffinity(0))
    if pinning == "same":
        return allowed[0], allowed[0]
    if len(allowed) < 2:
        raise TcpsightError("two processors are needed, and this process may use one")
    return allowed[0], allowed[1]


def measure(case: Case, duration_ns: int) -> Measurement:
    """Measure one case, half of the time latency and half of it throughput.

    Raises
    ------
    TcpsightError
        The system refuses, or the other side falls silent.
    """
    try:
        places = processors(case.pinning)
        before = os.sched_getaffinity(0)
        if places is not None:
            os.sched_setaffinity(0, {places[0]})
        try:
            is_shared = case.transport == "shared_memory"
            latency, throughput = (_latency_shared, _throughput_shared) if is_shared else (_latency, _throughput)
            samples = latency(case, places, duration_ns // 2)
            messages, byte_count, took_ns = throughput(case, places, duration_ns // 2)
        finally:
            os.sched_setaffinity(0, before)
    except OSError as error:
        raise TcpsightError(f"{case.transport}, {case.message_bytes} bytes: {error.strerror or error}") from None
    round_trips = Distribution()
    round_trips.add(samples[int(len(samples) * WARM_FRACTION) :])
    return Measurement(case, round_trips, messages, byte_count, took_ns)


def _latency(case: Case, places: tuple[int, int] | None, duration_ns: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    ours, theirs = open_channel(case.transport)
    is_datagram = case.transport == "unix_datagram"
    message, samples = _message(case), np.zeros(MOST_SAMPLES, np.int64)

    def answer() -> None:
        ours.close()
        _checked(_exchange.pong(theirs.sending, theirs.receiving, _message(case), is_datagram=is_datagram))

    with _Child(answer, places):
        theirs.close()
        until_ns = _exchange.now_ns() + duration_ns
        count = _exchange.ping(ours.sending, ours.receiving, message, until_ns, samples, is_datagram=is_datagram)
        if count >= 0:
            ours.say_end()
        ours.close()
    return samples[: _checked(count)]


def _throughput(case: Case, places: tuple[int, int] | None, duration_ns: int) -> tuple[int, int, int]:
    ours, theirs = open_channel(case.transport)
    is_datagram = case.transport == "unix_datagram"

    def take() -> None:
        ours.close()
        total = _exchange.drain(theirs.receiving, _message(case), is_datagram=is_datagram)
        os.write(theirs.sending, struct.pack("=q", total))

    with _Child(take, places):
        theirs.close()
        begun_ns = _exchange.now_ns()
        count = _exchange.flood(ours.sending, _message(case), begun_ns + duration_ns)
        total, took_ns = 0, 1
        if count >= 0:
            ours.say_end()
            (total,) = struct.unpack("=q", os.read(ours.receiving, 8).ljust(8, b"\xff"))
            took_ns = _exchange.now_ns() - begun_ns
        ours.close()
    return _checked(count), _checked(total), took_ns


def _latency_shared(
    case: Case, places: tuple[int, int] | None, duration_ns: int
) -> np.ndarray[Any, np.dtype[np.int64]]:
    memory, samples = _memory(case), np.zeros(MOST_SAMPLES, np.int64)
    until_ns = _exchange.now_ns() + duration_ns
    with _Child(lambda: _checked(_exchange.pong_shared(memory, _message(case), until_ns)), places):
        count = _exchange.ping_shared(memory, _message(case), until_ns, samples)
        memory[7] = 0x80  # the highest bit of the first word: there is no more
        return samples[: _checked(count)]


def _throughput_shared(case: Case, places: tuple[int, int] | None, duration_ns: int) -> tuple[int, int, int]:
    memory = _memory(case)
    # Beginning and end of the other side, on the same clock: neither its fork nor its exit is in the time.
    begun, ended = (memory[at : at + 8].view(np.int64) for at in (_BEGUN, _ENDED))

    def take() -> None:
        message = _message(case)
        begun[0] = _exchange.now_ns()
        _checked(_exchange.drain_shared(memory, message, int(begun[0]) + duration_ns))
        ended[0] = _exchange.now_ns()

    with _Child(take, places) as child:
        message, late_ns = _message(case), _exchange.now_ns() + _LATE_NS
        while not begun[0] and _exchange.now_ns() < late_ns:
            os.sched_yield()
        begun_ns = _exchange.now_ns()
        count = _exchange.flood_shared(memory, message, begun_ns + duration_ns)
        child.wait()
    return _checked(count), count * case.message_bytes, max(int(ended[0]) - begun_ns, 1)


def _message(case: Case) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.arange(case.message_bytes, dtype=np.int64).astype(np.uint8)


def _memory(case: Case) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.frombuffer(shared_memory(_exchange.shared_bytes(case.message_bytes)), np.uint8)


def _checked(count: int) -> int:
    """Give a count, or raise the error that it is."""
    if count < 0:
        raise OSError(-count, os.strerror(-count))
    return count


class _Child:
    """The other side: a process of its own, which is gone when this ends."""

    def __init__(self, run: Callable[[], object], places: tuple[int, int] | None) -> None:
        self._has_ended = False
        self._pid = os.fork()
        if self._pid:
            return
        status = 1
        try:  # nothing of this process may happen twice
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if places is not None:
                os.sched_setaffinity(0, {places[1]})
            run()
            status = 0
        finally:
            os._exit(status)

    def __enter__(self) -> _Child:
        return self

    def wait(self) -> None:
        """Wait for its end, which comes by itself when it has heard the end or nothing for long."""
        os.waitpid(self._pid, 0)
        self._has_ended = True

    def __exit__(self, *_: object) -> None:
        if not self._has_ended:
            with suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)
            self.wait()


def cases(transports: Sequence[str], sizes: Sequence[int], pinnings: Sequence[str]) -> Iterator[Case]:
    """Give all cases, those of a pinning together."""
    for pinning in pinnings:
        for size in sizes:
            for transport in transports:
                yield Case(transport, size, pinning)
