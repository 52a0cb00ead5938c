"""Runs a program with a stream as its input: it may die early, hang or flood, and does no harm by it.

Bytes are written as the program takes them, while what it says is read; so neither waits for the other. A program that
neither takes nor says anything for `IDLE_S`, runs longer than `LONGEST_S` or says more than `MOST_BYTES` is
ended, with everything it has started.

It is the program that is waited for. What it leaves behind may still hold its output open: what comes within `REST_S`
of its end is read, and then its process group is ended.

What it cannot see: what has left the group by a session of its own; that goes on, and is told of if it holds the pipe.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

IDLE_S = 30.0
REST_S = 0.5
LOOK_S = 0.1
"""How often a program that says nothing is looked at."""

LONGEST_S = 600.0
MOST_BYTES = 256 << 20
CHUNK_BYTES = 1 << 16


class Ended(NamedTuple):
    """How a program ended.

    Attributes
    ----------
    why : str
        Why it was ended early; empty if it was not.
    status : int
        Its exit status, or the number of the signal that ended it, negative.
    has_left : bool
        Whether something that it started still held its output when it had ended.
    """

    why: str
    status: int
    has_left: bool = False

    @property
    def has_failed(self) -> bool:
        """Whether it failed or had to be ended."""
        return bool(self.why) or self.status != 0

    def __str__(self) -> str:
        """Say how it ended, if there is anything to say."""
        said = []
        if self.why:
            said.append(f"was ended: it {self.why}")
        elif self.status < 0:
            said.append(f"was killed by {_signal_name(-self.status)}")
        elif self.status:
            said.append(f"ended with status {self.status}")
        if self.has_left:
            said.append("left something behind that still holds its output")
        return ", and ".join(said)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def run_program(words: list[str], data: Iterator[bytes], show: Callable[[bytes], object]) -> Ended:
    """Pipe data through a program.

    Parameters
    ----------
    words : list of str
        The program and its arguments.
    data : iterator of bytes
        Its standard input, block by block.
    show : callable
        Takes what it writes to standard output and standard error, as it comes.

    Raises
    ------
    OSError
        It cannot be run.
    """
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    why, has_left = "was interrupted", False
    try:
        why, has_left = _feed(process, filter(None, data), show)
    finally:
        # All of its session, or what it has started would go on; harmless where all have ended.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        process.wait()
    return Ended(why, process.returncode, has_left)


def _feed(process: subprocess.Popen[bytes], data: Iterator[bytes], show: Callable[[bytes], object]) -> tuple[str, bool]:
    """Give and take until it has ended, or must be; tell why it must, and whether its output is still held."""
    assert process.stdin is not None
    assert process.stdout is not None
    giving, taking = process.stdin.fileno(), process.stdout.fileno()
    os.set_blocking(giving, False)
    patience = _Patience()
    pending: memoryview | None = memoryview(b"")
    shown = 0
    with selectors.DefaultSelector() as selector:
        selector.register(giving, selectors.EVENT_WRITE)
        selector.register(taking, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select(LOOK_S)}
            why = patience.lost(is_moving=bool(ready))
            if why:
                return why, False
            # Before what is there is read: all that it has said itself is there by then.
            has_ended = _has_ended(process.pid)
            if giving in ready and pending is not None:
                pending = _give(giving, pending, data)
                if pending is None:
                    selector.unregister(giving)
                    process.stdin.close()
            if taking in ready:
                said = os.read(taking, CHUNK_BYTES)
                if not said:
                    selector.unregister(taking)  # it may take more, and write it elsewhere
                show(said[: MOST_BYTES - shown])
                shown += len(said)
                if shown > MOST_BYTES:
                    return f"wrote more than {MOST_BYTES} bytes", False
            if not selector.get_map():
                return _wait(process.pid), False
            if has_ended and taking not in selector.get_map():
                return "", False
            if has_ended and patience.rest(is_said=taking in ready):
                return "", True


class _Patience:
    """How long something may go on."""

    def __init__(self) -> None:
        self._begun = self._moved = time.monotonic()
        self._until: float | None = None

    def lost(self, *, is_moving: bool) -> str:
        """Tell why it may not go on."""
        now = time.monotonic()
        if is_moving:
            self._moved = now
        if now - self._begun >= LONGEST_S:
            return f"ran longer than {LONGEST_S:g} s"
        return f"took and said nothing for {IDLE_S:g} s" if now - self._moved >= IDLE_S else ""

    def rest(self, *, is_said: bool) -> bool:
        """Tell whether nothing more is to be waited for from what has ended."""
        now = time.monotonic()
        if self._until is None:
            self._until = now + REST_S
        return now >= self._until or (not is_said and now >= self._until - REST_S + LOOK_S)


def _give(descriptor: int, pending: memoryview, data: Iterator[bytes]) -> memoryview | None:
    """Write what the pipe takes; give what is left, None where there is no more to write or nobody to read it."""
    if not pending:
        pending = memoryview(next(data, b""))
    if not pending:
        return None
    try:
        return pending[os.write(descriptor, pending[:CHUNK_BYTES]) :]
    except BlockingIOError:
        return pending
    except BrokenPipeError:
        return None


def _has_ended(pid: int) -> bool:
    """Tell whether a program has ended, which keeps its number until it is waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _wait(pid: int) -> str:
    """Let a program that says no more come to its end."""
    end = time.monotonic() + IDLE_S
    while not _has_ended(pid):
        if time.monotonic() >= end:
            return f"did not end within {IDLE_S:g} s"
        time.sleep(0.01)
    return ""
