"""tcprstat: how long a server takes to answer, a line of statistics per interval.

Theory of operation
-------------------
Data that comes in to a local address asks, the first data that goes out answers; every data segment counts in the
order of capture. So the rooms are told that local addresses are the servers, to read as the older tools did, and to
give a row when its answer begins. A response time belongs to the interval in which its answer was seen.

From a file the first interval begins with the first segment, and a line is written when a segment comes later than an
interval's end; the last interval, which the file cuts short, only for ``--tail``. Live, intervals follow the clock: a
thread reads while this one waits, until capture time has passed the interval's end or has had time to come so far.

What it cannot see: which requests were sent again (`tcpsight requests` can), and answers to several at once.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tcpsight.compat import tcprstat_format
from tcpsight.compat.tcprstat_options import HELP, USAGE, VERSION, Options, Refused, parse
from tcpsight.errors import TcpsightError

if TYPE_CHECKING:
    from tcpsight.listening import Listening
    from tcpsight.pipeline import Batch
    from tcpsight.pipeline import Options as RoomOptions

US_PER_S = 1_000_000

LATENESS_S = 1.0
"""How long live segments may be on their way, on a machine that has no time for us."""

Sample = tuple[int, int]
"""When the answer was seen, and the response time, both in microseconds."""


def run(name: str, arguments: list[str]) -> int:
    """Run a command line; give the exit status."""
    try:
        options = parse(name, arguments)
    except Refused as refused:
        sys.stderr.write(str(refused))
        return 1
    if options.shows:
        print(VERSION)
        if options.shows == "help":
            sys.stdout.write(USAGE.format(name=name) + HELP)
        return 0
    try:
        return _read(options) if options.read_from else _listen(options)
    except TcpsightError as error:
        return _complain(error)


def _complain(error: TcpsightError) -> int:
    from tcpsight.output.units import printable

    sys.stdout.flush()
    print(f"pcap: {printable(str(error))}", file=sys.stderr)
    return 1


def _asked(options: Options) -> RoomOptions:
    """Ask for the requests to the local addresses, each as soon as it is answered."""
    from tcpsight.compat.local_addresses import local_addresses
    from tcpsight.endpoints import server_at
    from tcpsight.pipeline import Options as RoomOptions
    from tcpsight.selection import Selection

    local = local_addresses() if options.local is None else options.local
    if not local:
        raise TcpsightError("this machine has no addresses; name the server's with --local")
    ports = (options.port,) if options.port else ()
    selection = Selection(tuple(server_at(address) for address in local))
    return RoomOptions(selection, ports=ports, by="capture", given_at="answer")


def _samples(batch: Batch) -> list[Sample]:
    """Give the response times of a batch, in the order of their answers."""
    answered = batch.requests.response_first_ns // 1000
    asked = batch.requests.request_last_ns // 1000
    # Clocks step back; a duration is never negative.
    return list(zip(answered.tolist(), (answered - asked).clip(0).tolist(), strict=True))


def _write_header(options: Options) -> None:
    if options.has_header:
        given = options.header
        text = tcprstat_format.header(options.format if given is None else given, is_verbatim=given is not None)
        sys.stdout.write(text)
        sys.stdout.flush()


# ------------------------------------------------------------------------------------------------ from a file


class FileLines:
    """Lines of a capture that is read, interval by interval.

    Parameters
    ----------
    options : Options
        The format and the length of an interval.
    """

    def __init__(self, options: Options) -> None:
        self._format = options.format
        self._length_us = options.interval_s * US_PER_S
        self._start_us: int | None = None  # of the capture
        self._iteration = 0
        self._pending: list[int] = []

    def feed(self, batch: Batch) -> Iterator[str]:
        """Take a batch; give the lines of the intervals that it ends."""
        times = batch.headers.time_ns
        if not len(times):
            return
        if self._start_us is None:
            self._start_us = int(times[0]) // 1000
        for answered_us, response_time_us in _samples(batch):
            yield from self._reach(answered_us)
            self._pending.append(response_time_us)
        yield from self._reach(int(times.max()) // 1000)

    def tail(self) -> Iterator[str]:
        """Give the line of the interval that the capture cut short."""
        if self._start_us is not None:
            yield self._line()

    def _reach(self, instant_us: int) -> Iterator[str]:
        """Let capture time come so far; what happens at the end of an interval belongs to it."""
        assert self._start_us is not None
        while instant_us > self._start_us + (self._iteration + 1) * self._length_us:
            yield self._line()

    def _line(self) -> str:
        assert self._start_us is not None
        end_us = self._start_us + (self._iteration + 1) * self._length_us
        text = tcprstat_format.line(
            self._format,
            tcprstat_format.Samples(self._pending),
            iteration=self._iteration,
            end_s=end_us // US_PER_S,
            elapsed_s=(end_us - self._start_us) // US_PER_S,
        )
        self._iteration += 1
        self._pending = []
        return text


def _read(options: Options) -> int:
    """Write the lines of a capture; give the exit status."""
    from tcpsight.analysis import Analysis

    _write_header(options)
    lines = FileLines(options)
    with _quiet_end(), Analysis([options.read_from], _asked(options)).run() as reading:
        for batch in reading:
            for text in lines.feed(batch):
                sys.stdout.write(text)
            sys.stdout.flush()
        if options.has_tail:
            sys.stdout.writelines(lines.tail())
        if reading.pipeline.broken is not None:
            return _complain(reading.pipeline.broken)
    return 0


@contextmanager
def _quiet_end() -> Iterator[None]:
    """Let Ctrl-C end the reading as the end of the file would: with what was printed, and status 0."""
    with suppress(KeyboardInterrupt):
        yield


# ------------------------------------------------------------------------------------------------------- live


class LiveSamples:
    """What a reading thread has seen so far.

    Attributes
    ----------
    failure : TcpsightError or None
        Why reading ended, if not because it was told to.
    is_over : bool
        Whether it has ended.
    dropped : int
        Frames that the kernel had no room for; known when it has ended.
    """

    def __init__(self) -> None:
        self.dropped = 0
        self.failure: TcpsightError | None = None
        self.is_over = False
        self._changed = threading.Condition()
        self._has_begun = False
        self._samples: list[Sample] = []
        self._seen_us = 0

    def read(self, listening: Listening) -> None:
        """Read all that comes; ends when the listening does."""
        failure: TcpsightError | None = None
        try:
            with listening.run() as reading:
                with self._changed:
                    self._has_begun = True
                    self._changed.notify()
                for batch in reading:
                    self._take(batch)
                self.dropped = getattr(reading.capture, "dropped", 0)
                failure = reading.pipeline.broken
        except TcpsightError as error:
            failure = error
        with self._changed:
            self.failure, self.is_over = failure, True
            self._changed.notify()

    def _take(self, batch: Batch) -> None:
        times = batch.headers.time_ns
        with self._changed:
            self._samples.extend(_samples(batch))
            if len(times):
                self._seen_us = max(self._seen_us, int(times.max()) // 1000)
            self._changed.notify()

    def begin(self) -> int:
        """Wait until the capture is open; give the instant, in microseconds."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_begun or self.is_over, LATENESS_S)
        return time.time_ns() // 1000

    def until(self, end_us: int) -> list[int]:
        """Wait until nothing before an instant is to come; give the response times of answers up to it, once."""
        with self._changed:
            while not self.is_over and self._seen_us <= end_us:
                patience_s = end_us / US_PER_S + LATENESS_S - time.time()
                if patience_s <= 0:
                    break
                self._changed.wait(patience_s)
            taken = [response_time_us for answered_us, response_time_us in self._samples if answered_us <= end_us]
            self._samples = [sample for sample in self._samples if sample[0] > end_us]
            return taken


def _listen(options: Options) -> int:
    """Write a line per interval of what the interfaces see; give the exit status."""
    from tcpsight.compat.live import listening_to

    expression = f"tcp port {options.port}" if options.port else "tcp"
    samples = LiveSamples()
    # Ctrl-C stops the listening; what there is is read, then reading is over.
    with listening_to("any", expression, _asked(options)) as listening, _stopping_at_termination(listening):
        reader = threading.Thread(target=samples.read, args=(listening,), daemon=True)
        reader.start()
        _write_live_lines(options, samples)
        listening.stop()
        reader.join(LATENESS_S)
        if samples.dropped:
            print(f"{samples.dropped} packets dropped by kernel", file=sys.stderr)
    return _complain(samples.failure) if samples.failure is not None else 0


@contextmanager
def _stopping_at_termination(listening: Listening) -> Iterator[None]:
    is_main = threading.current_thread() is threading.main_thread()
    usual = signal.signal(signal.SIGTERM, lambda *_: listening.stop()) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, usual)


def _write_live_lines(options: Options, samples: LiveSamples) -> None:
    start_us = samples.begin()
    if samples.failure is not None:
        return
    _write_header(options)
    iteration = 0
    while not options.iterations or iteration < options.iterations:
        elapsed_s = (iteration + 1) * options.interval_s
        end_us = start_us + elapsed_s * US_PER_S
        taken = samples.until(end_us)
        is_cut_short = samples.is_over and time.time_ns() // 1000 < end_us
        if not is_cut_short or options.has_tail:
            text = tcprstat_format.line(
                options.format,
                tcprstat_format.Samples(taken),
                iteration=iteration,
                end_s=end_us // US_PER_S,
                elapsed_s=elapsed_s,
            )
            sys.stdout.write(text)
            sys.stdout.flush()
        if samples.is_over:
            return
        iteration += 1
