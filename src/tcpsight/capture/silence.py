"""Tells silence: gives a batch without frames when nothing came for a while.

Theory of operation
-------------------
A thread waits for the capture's next batch, and whoever iterates waits for the thread, but not for longer than agreed.
The thread goes on only when it is asked for the next batch, so batches need no copies, as without it.

How far time has come in silence is told by a clock that nobody sets (monotonic), less the least delay that any frame
had from its stamp to its coming by that clock, which holds what the clocks of two machines differ, and less a grace for
what lies in buffers on the way. It is told only while frames come about as they were captured: a file that is piped in
is silent for reasons of its own. Where every frame comes much later than before, the clock that stamps was set back,
and the delay is learnt anew.

What it cannot see: buffers on the way that hold frames back for longer than the grace (tcpdump without ``-U``). Frames
that come later than time was told to have come count where they are still new.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from tcpsight.tables import Frames, UnseenCounter

if TYPE_CHECKING:
    from tcpsight.capture.opening import Capture
    from tcpsight.capture.reader import CaptureFile, CaptureInterface

WAIT_SECONDS = 0.1
"""After so long without a frame silence is told."""

GRACE_NS = 1_500_000_000
"""What lies in buffers: tcpdump's kernel buffer is handed over every second."""

FORGETTING = 0.01
"""The least delay is let rise by this part of the time since: clocks that are set back make every delay longer."""

STEP_NS = 5_000_000_000
"""A frame that comes so much later than the others did was stamped by a clock that was set back, or was held up."""

MOST_DELAY_NS = 600_000_000_000
"""Frames that come later than this after their stamp were not captured just now."""


class Silence:
    """A capture that also tells when nothing comes; otherwise as `Capture`.

    Parameters
    ----------
    capture : Capture
        Of a pipe, or a file that is still being written.

    Attributes
    ----------
    may_have_ended : bool
        Who writes it may have stopped, which looks like silence.
    """

    may_have_ended = True

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._delay_ns: int | None = None
        self._learnt_ns = 0
        self._asked = threading.Semaphore(0)
        self._given = threading.Semaphore(0)
        self._batch: Frames | None = None
        self._failure: BaseException | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._read, name="tcpsight-reader", daemon=True)

    @property
    def files(self) -> list[CaptureFile]:
        """See `Capture.files`."""
        return self._capture.files

    @property
    def interfaces(self) -> list[CaptureInterface]:
        """See `Capture.interfaces`."""
        return self._capture.interfaces

    @property
    def unseen(self) -> UnseenCounter:
        """See `Capture.unseen`."""
        return self._capture.unseen

    @property
    def bytes_read(self) -> int:
        """See `Capture.bytes_read`."""
        return self._capture.bytes_read

    @property
    def bytes_total(self) -> int | None:
        """See `Capture.bytes_total`."""
        return self._capture.bytes_total

    def __iter__(self) -> Iterator[Frames]:
        self._thread.start()
        while True:
            self._asked.release()
            while not self._given.acquire(timeout=WAIT_SECONDS):
                yield Frames(until_ns=self._until_ns())
            if self._failure is not None:
                raise self._failure
            if self._batch is None:
                return
            self._learn(self._batch)
            yield self._batch

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop reading; the capture is closed by whoever opened it."""
        self._is_closed = True
        self._asked.release()

    def _read(self) -> None:
        """Take one batch whenever one is asked for."""
        while self._batch is not None or self._failure is None:
            self._asked.acquire()
            if self._is_closed:
                return
            try:
                self._batch = next(self._capture, None)
            except BaseException as failure:
                self._batch, self._failure = None, failure
            is_over = self._batch is None
            self._given.release()
            if is_over:
                return

    def _learn(self, batch: Frames) -> None:
        """Look at how long after its stamp the latest frame came."""
        now_ns, latest_ns = time.monotonic_ns(), int(batch.time_ns.max())
        delay_ns = now_ns - latest_ns
        known_ns, self._delay_ns = self._delay_ns, None
        if abs(time.time_ns() - latest_ns) <= MOST_DELAY_NS:
            self._delay_ns = delay_ns
            if known_ns is not None and delay_ns - known_ns < STEP_NS:
                self._delay_ns = min(delay_ns, known_ns + int(FORGETTING * (now_ns - self._learnt_ns)))
        self._learnt_ns = now_ns

    def _until_ns(self) -> int | None:
        return None if self._delay_ns is None else time.monotonic_ns() - self._delay_ns - GRACE_NS
