"""How signals end what would go on for ever: in good order, and with what there is by then.

Theory of operation
-------------------
The first SIGINT or SIGTERM asks for the end; what is there is still told, which takes a moment. People press Ctrl-C
twice, and whoever stops a group of processes sends signals twice: so those that come within `GRACE_S` of the first are
part of it. One that comes later ends at once: somebody waits for what cannot be told, because a pipe is full, say.

A terminal that goes away sends SIGHUP, and so do people who rotate files. Which of the two it was tells the controlling
terminal, wherever output goes: it is held open from the beginning, and asked whether it is still that of this process.
Where there was none, or SIGHUP was ignored from the first (``nohup``), no terminal can go.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

GRACE_S = 5.0
"""So long after the first signal others mean the same; feeds have 3 s for what is left."""

ENDINGS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def until_stopped(stop: Callable[[], None], *, grace_s: float = 0.0) -> Iterator[None]:
    """Let the first interrupt, or request to end, stop what would go on for ever; what there is is given.

    Parameters
    ----------
    stop : callable
        Asks for the end; called once.
    grace_s : float
        For how long further signals mean the same; what was usual happens by those that come later.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = {int(number): signal.getsignal(number) for number in ENDINGS}
    begun_s: float | None = None

    def end(signal_number: int, frame: object) -> None:
        nonlocal begun_s
        if begun_s is None:
            begun_s = monotonic()
            stop()
        elif monotonic() - begun_s >= grace_s:
            signal.signal(signal_number, usual[signal_number])
            signal.raise_signal(signal_number)

    with handling(signal.SIGINT, end), handling(signal.SIGTERM, end):
        yield


@contextmanager
def until_hung_up(
    stop: Callable[[], None], otherwise: Callable[[], None] = lambda: None, *, terminal: Terminal | None = None
) -> Iterator[None]:
    """Let a terminal that goes away stop what would go on for ever; any other SIGHUP means `otherwise`.

    Parameters
    ----------
    stop : callable
        Asks for the end.
    otherwise : callable
        Called by other SIGHUPs.
    terminal : Terminal, optional
        Where it was opened before, since nothing can be opened any more; it is closed here.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    terminal = terminal or Terminal()

    def hang_up(signal_number: int, frame: object) -> None:
        if terminal.has_gone:
            terminal.drop_output()
            stop()
        else:
            otherwise()

    try:
        with handling(signal.SIGHUP, hang_up):
            yield
    finally:
        terminal.close()


class Terminal:
    """The terminal that controls this process, held open; none where there is none, or where its end is ignored."""

    def __init__(self) -> None:
        self._descriptor = -1
        self._nowhere = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
        self._shown = [number for number in (1, 2) if os.isatty(number)]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
            with suppress(OSError):
                self._descriptor = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC | os.O_NONBLOCK)

    @property
    def has_gone(self) -> bool:
        """Whether it controls this process no more: it hung up, or its session has ended."""
        if self._descriptor < 0:
            return False
        try:
            os.tcgetpgrp(self._descriptor)
        except OSError:
            return True
        return False

    def drop_output(self) -> None:
        """Let what is written to a terminal that has gone lead nowhere: others are still to be told."""
        for number in self._shown:
            if not os.isatty(number):
                os.dup2(self._nowhere, number)

    def close(self) -> None:
        """Let go of it."""
        if self._nowhere >= 0:
            os.close(self._nowhere)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = self._nowhere = -1


@contextmanager
def handling(number: signal.Signals, handler: Callable[[int, object], None]) -> Iterator[None]:
    """Handle a signal, until this ends."""
    usual = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, usual)


@contextmanager
def kept(*numbers: signal.Signals) -> Iterator[None]:
    """Let signals be handled afterwards as before, whatever somebody does meanwhile."""
    before = [(number, signal.getsignal(number)) for number in numbers]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)
