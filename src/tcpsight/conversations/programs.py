"""Runs a program with a stream as its input: it may die early, hang or flood, and does no harm by it.

Bytes are written as the program takes them, while what it says is read; so neither waits for the other. A program that
neither takes nor says anything for `IDLE_S`, runs longer than `LONGEST_S` or says more than `MOST_BYTES` is
ended, with everything it has started.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

IDLE_S = 30.0
LONGEST_S = 600.0
MOST_BYTES = 256 << 20
CHUNK_BYTES = 1 << 16


def run_program(words: list[str], data: Iterator[bytes], show: Callable[[bytes], object]) -> str:
    """Pipe data through a program.

    Parameters
    ----------
    words : list of str
        The program and its arguments.
    data : iterator of bytes
        Its standard input, block by block.
    show : callable
        Takes what it writes to standard output and standard error, as it comes.

    Returns
    -------
    str
        Why it was ended early; empty if it was not.

    Raises
    ------
    OSError
        It cannot be run.
    """
    process = subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
    )
    try:
        return _feed(process, filter(None, data), show)
    finally:
        # All of its session, or what it has started would go on; harmless where all have ended.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            with suppress(OSError):
                pipe.close()
        process.wait()


def _feed(process: subprocess.Popen[bytes], data: Iterator[bytes], show: Callable[[bytes], object]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    giving, taking = process.stdin.fileno(), process.stdout.fileno()
    os.set_blocking(giving, False)
    end = time.monotonic() + LONGEST_S
    pending: memoryview | None = memoryview(b"")
    shown = 0
    with selectors.DefaultSelector() as selector:
        selector.register(giving, selectors.EVENT_WRITE)
        selector.register(taking, selectors.EVENT_READ)
        while True:
            left = end - time.monotonic()
            ready = {key.fd for key, _ in selector.select(max(min(left, IDLE_S), 0))}
            if left <= 0 or (not ready and left <= IDLE_S):
                return f"ran longer than {LONGEST_S:g} s"
            if not ready:
                return f"took and said nothing for {IDLE_S:g} s"
            if giving in ready and pending is not None:
                pending = _give(giving, pending, data)
                if pending is None:
                    selector.unregister(giving)
                    process.stdin.close()
            if taking in ready:
                said = os.read(taking, CHUNK_BYTES)
                if not said:
                    return _wait(process)
                show(said[: MOST_BYTES - shown])
                shown += len(said)
                if shown > MOST_BYTES:
                    return f"wrote more than {MOST_BYTES} bytes"


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


def _wait(process: subprocess.Popen[bytes]) -> str:
    """Let a program that says no more come to its end."""
    try:
        process.wait(IDLE_S)
    except subprocess.TimeoutExpired:
        return f"did not end within {IDLE_S:g} s"
    return ""
