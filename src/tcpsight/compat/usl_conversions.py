"""What usl makes points of: samples of SHOW GLOBAL STATUS, or a capture.

The second conversion counts requests as the old tool did, from their first segment to the first of the answer, and
leaves idle time out of the throughput; a request that is never answered stays in progress for ever. Requests and their
times come from the pipeline. Sums are made in floating-point seconds of the day, in the old order, so that the last
printed digit is the old one.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple

from tcpsight.analysis import Analysis
from tcpsight.endpoints import parse_server
from tcpsight.output.spill import SortedSpill
from tcpsight.pipeline import Options as PipelineOptions
from tcpsight.selection import Selection
from tcpsight.tables import IPV4_PREFIX, Requests, Table

if TYPE_CHECKING:
    from tcpsight.analysis import Run

_US_PER_MINUTE = 60 * 10**6
_US_PER_DAY = 86_400 * 10**6


def from_global_status(
    lines: Iterable[str], *, interval_s: float, most_threads: float, adjustment: float
) -> Iterator[str]:
    """Make a point of each interval: the mean of Threads_running without our own, and questions a second.

    Parameters
    ----------
    lines : iterable of str
        Names and values, sample after sample; Uptime ends a sample.
    interval_s : float
        Least length of an interval; 0 for one of each sample.
    most_threads : float
        Samples with more threads leave their threads out; 0 for no limit.
    adjustment : float
        Threads to subtract, besides the one that asks.
    """
    threads = threads_sum = questions = 0.0
    first_questions: float | None = None
    start: float | None = None
    samples = skipped = 0
    for line in lines:
        words = line.replace("|", " ").split()
        value = _value(words)
        if value is None:
            continue
        if words[0] == "Threads_running":
            threads = value - 1 - adjustment
            if 0 < most_threads < threads:
                skipped += 1
            else:
                threads_sum += threads
        elif words[0] == "Questions":
            questions = value
            first_questions = value if first_questions is None else first_questions
        elif words[0] == "Uptime":
            # A server that was started anew begins a new interval.
            if start is None or value < start:
                start, first_questions = value, questions
                samples, skipped, threads_sum = 0, 0, threads
            elapsed = value - start
            if elapsed > 0 and elapsed >= interval_s and samples > skipped:
                concurrency = threads_sum / (samples - skipped + 1)
                throughput = (questions - (first_questions or 0)) / elapsed
                yield f"{concurrency:f} {throughput:f}\n"
                first_questions, start = questions, value
                samples = skipped = 0
                threads_sum = min(threads, most_threads) if most_threads > 0 else threads
            samples += 1


def _value(words: list[str]) -> float | None:
    if len(words) < 2:
        return None
    try:
        return float(words[1])
    except ValueError:
        return None


class Reply(NamedTuple):
    """The state of the server when a request was answered; seconds, of which the old tool passed on six decimals."""

    date: str
    clock: str
    at: float
    client: str
    response_time: float
    pending: int
    busy: float
    weighted: float

    @property
    def line(self) -> str:
        """One line, as the old tool's first stage wrote it."""
        return (
            f"{self.date} {self.clock} {self.at:12.6f} {self.client:<21s} {self.response_time:10.6f} "
            f"{self.pending:3d} {self.busy:10.6f} {self.weighted:10.6f}\n"
        )


def from_capture(files: list[str], port: int) -> Iterator[str]:
    """Make a point of each second or more: requests in progress while busy, and answers per busy second.

    Parameters
    ----------
    files : list of str
        The capture.
    port : int
        The server's port.

    Raises
    ------
    CaptureError
        It cannot be read, or no further; points before the break come first.
    """
    first: Reply | None = None
    count = 0
    for reply in replies(files, port):
        first = reply if first is None else first
        if reply.at < first.at + 1:
            count += 1
            continue
        busy = reply.busy - first.busy
        if busy > 0:
            concurrency = (reply.weighted - first.weighted) / busy
            yield f"{concurrency:.6f} {count / busy:.6f} {reply.date} {reply.clock}\n"
        first, count = reply, 0


def replies(files: list[str], port: int) -> Iterator[Reply]:
    """Give every answer in order of time, with what was in progress then and all busy time so far."""
    pending, busy, weighted, last = 0, 0.0, 0.0, 0.0
    midnight_us: int | None = None
    for time_us, is_answer, arrival_us, client in _events(files, port):
        if midnight_us is None:
            midnight_us = time_us - time_us % _US_PER_DAY
        at = _seconds(time_us - midnight_us)
        if pending:
            weighted += pending * (at - last)
            busy += at - last
        last = at
        pending += -1 if is_answer else 1
        if is_answer:
            moment = datetime.fromtimestamp(time_us // 10**6, UTC)
            clock = f"{moment:%H:%M:%S}.{time_us % 10**6:06d}"
            response_time = at - _seconds(arrival_us - midnight_us)
            sums = _printed(response_time), pending, _printed(busy), _printed(weighted)
            yield Reply(f"{moment:%Y-%m-%d}", clock, _printed(at), client, *sums)


def _printed(seconds: float) -> float:
    """Give what is left of a number when it has been printed and read again."""
    return float(f"{seconds:.6f}")


def _seconds(us: int) -> float:
    """Give seconds of the day, rounded as the old tool did: whole minutes and the rest are numbers of their own."""
    return us // _US_PER_MINUTE * 60 + us % _US_PER_MINUTE / 10**6


def _events(files: list[str], port: int) -> Iterator[tuple[int, bool, int, str]]:
    """Give arrivals and answers in order of time: microseconds, which of the two, the arrival, the client."""
    selection = Selection((parse_server(f":{port}"),))
    analysis = Analysis(list(files) or ["-"], PipelineOptions(selection, start="request_first", end="response_first"))
    arrivals = SortedSpill(Requests, ("arrival_ns",))
    answers = SortedSpill(Requests, ("completion_ns",))
    with analysis.run() as run:
        for batch in run:
            for table in (batch.requests, batch.unanswered):
                if len(table):
                    arrivals.add(_requests(table))
            if len(batch.requests):
                answers.add(batch.requests)
        yield from heapq.merge(
            _column(arrivals.sorted(), "arrival_ns", is_answer=False),
            _column(answers.sorted(), "completion_ns", is_answer=True),
        )
        _raise_if_broken(run)


def _requests(table: Table) -> Requests:
    if type(table) is Requests:
        return table
    rows = Requests.allocate(len(table))
    for column in Requests.columns:
        rows.rows[column.name] = table.rows[column.name]
    return rows


def _column(tables: Iterable[Requests], name: str, *, is_answer: bool) -> Iterator[tuple[int, bool, int, str]]:
    for table in tables:
        times, arrivals = (table.rows[name] // 1000).tolist(), (table.rows["arrival_ns"] // 1000).tolist()
        for i, (time_us, arrival_us) in enumerate(zip(times, arrivals, strict=True)):
            client = _endpoint(bytes(table.client_address[i]), int(table.client_port[i])) if is_answer else ""
            yield time_us, is_answer, arrival_us, client


def _endpoint(address: bytes, port: int) -> str:
    is_v4 = address.startswith(IPV4_PREFIX)
    return f"{ip_address(address[12:] if is_v4 else address)}.{port}"


def _raise_if_broken(run: Run) -> None:
    if run.pipeline.broken is not None:
        raise run.pipeline.broken
