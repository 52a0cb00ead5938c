"""One feed: updates wait in a queue of its own, and a thread of its own hands them to the receiver.

Theory of operation
-------------------
`Feed.send` puts an update at the end of a queue and returns; if the queue is full, the oldest goes and is counted. So
neither a slow receiver nor one that hangs can hold up the capture, or let memory grow. The feed's thread takes the
oldest update and gives it to its receiver; where that fails, the update goes back to its place, and the receiver is
tried again after a pause, which doubles each time. Every update ends as sent, as dropped, or in the queue.

Feeds whose receiver adds up by itself lose nothing by a drop: counters are told as what they are since the watch began.

What it cannot see: what a receiver does with what it took. Lines that lay in the buffers of a connection when its
receiver died count as sent, and an update that was half sent is sent again from its beginning.
"""

from __future__ import annotations

import signal
import threading
from collections import deque
from time import monotonic
from typing import Protocol

from tcpsight.output.feeds.update import FeedCounts, Update

MOST_WAITING = 60
"""Updates that wait for a receiver: a minute of slices of a second, 4 MB with a hundred services."""

MOST_BYTES = 16_000_000
"""What they may hold together, which counts where there are thousands of services; the newest waits in any case."""

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 30.0

GRACE_S = 0.25
"""How long a thread that was interrupted has to end."""


class DeliveryError(Exception):
    """The receiver did not take an update; the message says why."""


class Receiver(Protocol):
    """Who gets the updates of a feed. All but `interrupt` is called by the feed's thread."""

    @property
    def name(self) -> str:
        """What messages and labels call it, without secrets."""

    @property
    def needs_totals(self) -> bool:
        """Whether it tells what was counted since the watch began."""

    def deliver(self, update: Update) -> None:
        """Hand over an update; raises `OSError` or `DeliveryError` if that fails, having tried for seconds at most."""

    def interrupt(self) -> None:
        """Let `deliver` fail soon; called by another thread."""

    def close(self) -> None:
        """Let go of the receiver."""


class Feed:
    """Hand updates to a receiver without ever waiting for it.

    Parameters
    ----------
    receiver : Receiver
        Who gets them.
    most_waiting : int
        How many updates may wait.
    patience_s : float
        How long `send` may wait for room in the queue while the receiver takes others. Only for a capture that is
        read from files, and waits itself: slices of it come faster than they were lived.

    Attributes
    ----------
    name : str
        What messages and labels call it.
    needs_totals : bool
        Whether it tells what was counted since the watch began.
    last_failure : str
        Why the receiver could not be reached last; empty if it always could.
    """

    def __init__(self, receiver: Receiver, *, most_waiting: int = MOST_WAITING, patience_s: float = 0) -> None:
        self.name = receiver.name
        self.needs_totals = receiver.needs_totals
        self.last_failure = ""
        self._receiver = receiver
        self._most_waiting = most_waiting
        self._patience_s = patience_s
        self._changed = threading.Condition(threading.Lock())
        self._queue: deque[Update] = deque()
        self._bytes = 0
        self._counts = FeedCounts()
        self._has_one_in_hand = False
        self._is_failing = False
        self._is_closing = False
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name=f"feed {self.name}", daemon=True)
        self._thread.start()

    @property
    def counts(self) -> FeedCounts:
        """What became of the updates so far."""
        return self._counts

    @property
    def waiting(self) -> int:
        """How many updates wait."""
        return len(self._queue)

    def send(self, update: Update) -> None:
        """Take an update; without patience this never waits for the receiver, with it not for one that fails."""
        size = _size(update)
        with self._changed:
            if self._patience_s and not self._is_failing:
                self._changed.wait_for(lambda: self._has_room(size) or self._is_failing, self._patience_s)
            if self._is_closing:
                self._count(dropped=1)
                return
            while self._queue and not self._has_room(size):
                self._bytes -= _size(self._queue.popleft())
                self._count(dropped=1)
            self._queue.append(update)
            self._bytes += size
            self._changed.notify_all()

    def stop(self) -> None:
        """Take no more updates, and end when those that wait were sent, or at the first failure."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()

    def close(self, timeout_s: float) -> None:
        """End; what could not be sent within `timeout_s` is dropped and counted."""
        self.stop()
        self._thread.join(max(timeout_s, 0))
        if self._thread.is_alive():
            self._receiver.interrupt()
            self._thread.join(GRACE_S)
        with self._changed:
            if not self._is_over:
                self._is_over = True
                self._count(dropped=len(self._queue) + self._has_one_in_hand)
                self._queue.clear()

    # -------------------------------------------------------------------------------------------------- the thread

    def _run(self) -> None:
        # Signals are for the thread that captures: here they would not wake it.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        pause_s = FIRST_PAUSE_S
        while (update := self._next()) is not None:
            try:
                self._receiver.deliver(update)
            except Exception as error:  # a library's own errors too: the feed goes on whatever its receiver does
                self._failed(update, error, pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            else:
                self._sent()
                pause_s = FIRST_PAUSE_S
        self._receiver.close()

    def _next(self) -> Update | None:
        """Wait for the oldest update; None when there will be no more."""
        with self._changed:
            while not self._queue and not self._is_closing:
                self._changed.wait()
            self._has_one_in_hand = bool(self._queue)
            if not self._queue:
                self._is_over = True
                return None
            update = self._queue.popleft()
            self._bytes -= _size(update)
            self._changed.notify_all()
            return update

    def _sent(self) -> None:
        with self._changed:
            self._has_one_in_hand = self._is_failing = False
            if not self._is_over:
                self._count(sent=1)

    def _failed(self, update: Update, error: Exception, pause_s: float) -> None:
        """Count a failure, put the update back where there is room, and pause."""
        with self._changed:
            self._has_one_in_hand = False
            if self._is_over:
                return
            self._is_failing = True
            self._changed.notify_all()
            self.last_failure = str(error) or type(error).__name__
            self._count(failures=1)
            was_closing = self._is_closing
            if was_closing:
                self._count(dropped=len(self._queue) + 1)
                self._queue.clear()
            elif self._has_room(size := _size(update)):
                self._queue.appendleft(update)
                self._bytes += size
            else:
                self._count(dropped=1)
            until = monotonic() + pause_s
            while not self._is_closing and (rest := until - monotonic()) > 0:
                self._changed.wait(rest)

    def _has_room(self, size: int) -> bool:
        return len(self._queue) < self._most_waiting and (not self._queue or self._bytes + size <= MOST_BYTES)

    def _count(self, *, sent: int = 0, dropped: int = 0, failures: int = 0) -> None:
        before = self._counts
        self._counts = FeedCounts(before.sent + sent, before.dropped + dropped, before.failures + failures)


def _size(update: Update) -> int:
    """Tell how much memory the tables of an update take, in bytes."""
    findings = 0 if update.findings is None else update.findings.rows.nbytes
    return update.services.rows.nbytes + update.totals.rows.nbytes + update.histogram.nbytes + findings
