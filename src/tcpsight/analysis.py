"""The library: open a capture, take its tables.

>>> capture = open("examples/mariadb-lock.pcap", servers=[":3306"])
>>> requests = capture.requests.to_polars()
>>> requests.height, requests["response_time_ns"].max()
(4706, 1500280404)
>>> capture.intervals(1_000_000_000).to_numpy()["completions"].sum()
np.int64(4706)
>>> series = capture.intervals()
>>> len(series.to_numpy()), series.chosen.interval_ns
(1303, 10000000)
>>> series.chosen.reason
'10 ms, the shortest that is chosen, because the 99th-percentile response time is 897 µs.'
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO

from tcpsight.capture import Capture, open_capture
from tcpsight.errors import UsageError
from tcpsight.pipeline import Batch, Keep, Options, Pipeline, Selection
from tcpsight.rows import Rows
from tcpsight.tables import Connections, Requests, SegmentDetails, Table, Unanswered, Unseen

if TYPE_CHECKING:
    from tcpsight.capture.filter import FrameFilter
    from tcpsight.capture.following import Following
    from tcpsight.capture.link_offset import Passing
    from tcpsight.model import ChosenInterval
    from tcpsight.model.keys import By
    from tcpsight.slices import IntervalCollection
    from tcpsight.streams import CapturedStreams, Policy

Source = str | os.PathLike[str] | BinaryIO


class Run:
    """One pass over the capture, under way: iterate it once.

    Attributes
    ----------
    capture : Capture
        Files, interfaces and bytes read so far.
    pipeline : Pipeline
        What is known so far.
    frame_filter : FrameFilter or None
        How many frames it matched so far.
    """

    def __init__(self, capture: Capture, pipeline: Pipeline, frame_filter: FrameFilter | None) -> None:
        self.capture = capture
        self.pipeline = pipeline
        self.frame_filter = frame_filter

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.pipeline)


class IntervalRows(Rows):
    """Slices of time, not read yet: `Rows` that tell how long a slice is, and why.

    Parameters
    ----------
    run : callable
        Opens the capture for one pass.
    collect : callable
        Makes what takes its requests.

    Attributes
    ----------
    chosen : ChosenInterval or None
        The length of a slice, `interval_ns`, and the `reason`, a sentence; None before the rows were read, and
        where the caller set the length.
    """

    def __init__(
        self, run: Callable[[], AbstractContextManager[Run]], collect: Callable[[], IntervalCollection]
    ) -> None:
        super().__init__(collect().table_type, self._blocks)
        self.chosen: ChosenInterval | None = None
        self._run = run
        self._collect = collect

    def _blocks(self) -> Iterator[Table]:
        collection = self._collect()
        with self._run() as run:
            for batch in run:
                collection.feed(batch)
            for block in collection.rows(run.pipeline.span):
                self.chosen = collection.chosen
                yield block
            _raise_if_broken(run)


class Analysis:
    """What a capture tells.

    Parameters
    ----------
    sources : sequence of path, ``-`` or binary file
        One capture, in any number of files.
    options : Options
        Which rows, and how they are made.
    frame_filter : str, optional
        BPF expression; frames that do not match are left out before anything else.
    input_timezone : str
        IANA name of the zone of times in tcpdump text, or ``local``.
    following : Following, optional
        Until when a file that is still being written is followed; not at all by default.
    link_offset : int
        Bytes in front of IP that the link type does not explain.

    Notes
    -----
    Every table is made by a pass of its own, which reads the files again, open ones from where they stood; a pipe can
    be read once.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        options: Options | None = None,
        *,
        frame_filter: str | None = None,
        input_timezone: str = "UTC",
        following: Following | None = None,
        link_offset: int = 0,
    ) -> None:
        self.sources = list(sources)
        self.following = following
        self._positions = [_position(source) for source in sources]
        self.options = options or Options()
        self._frame_filter = frame_filter
        self._input_timezone = input_timezone
        self._link_offset = link_offset

    @contextmanager
    def run(self, *, with_segments: bool = False, keep: Keep | None = None) -> Iterator[Run]:
        """Open the capture for one pass; with `keep`, which takes care of payload, its batches index streams.

        Raises
        ------
        CaptureError
            It cannot be opened. If it breaks off later, `Pipeline.broken` says so.
        """
        frame_filter = None
        if self._frame_filter is not None:
            from tcpsight.capture.filter import FrameFilter

            frame_filter = FrameFilter(self._frame_filter)
        passing: Passing | None = frame_filter
        if self._link_offset:
            from tcpsight.capture.link_offset import LinkOffset

            passing = LinkOffset(self._link_offset, frame_filter)
        options = self.options
        if with_segments:
            options = replace(options, with_segments=True)
        for source, position in zip(self.sources, self._positions, strict=True):
            if position is not None:
                source.seek(position)  # type: ignore[union-attr]
        with open_capture(self.sources, input_timezone=self._input_timezone, following=self.following) as capture:
            yield Run(capture, Pipeline(capture, options, passing, keep), frame_filter)

    @property
    def requests(self) -> Rows:
        """Answered requests, in the order in which they became final."""
        return self._rows(Requests, lambda batch: batch.requests)

    @property
    def unanswered(self) -> Rows:
        """Requests that were never answered."""
        return self._rows(Unanswered, lambda batch: batch.unanswered)

    @property
    def connections(self) -> Rows:
        """Connections, in the order in which they became final."""
        return self._rows(Connections, lambda batch: batch.connections)

    @property
    def segments(self) -> Rows:
        """Segments, in capture order."""
        return self._rows(SegmentDetails, lambda batch: batch.segments)

    def intervals(
        self, interval_ns: int | None = None, *, max_stall_ns: int = 200_000_000, by: By | None = None
    ) -> IntervalRows:
        """Slices of time: arrivals, completions, concurrency, response times.

        Parameters
        ----------
        interval_ns : int, optional
            Length of a slice; by default it is chosen from the response times, and the rows' `chosen` says why.
        max_stall_ns : int
            The longest slice that is chosen: shorter stalls can hide in it.
        by : {"service", "server", "client"}, optional
            A series for each of the 20 largest.

        Raises
        ------
        UsageError
            If a length is not positive.
        """
        from tcpsight.slices import IntervalCollection

        for name, length_ns in (("interval_ns", interval_ns), ("max_stall_ns", max_stall_ns)):
            if length_ns is not None and length_ns < 1:
                raise UsageError(f"{name} is {length_ns}: a slice must be longer than 0")
        return IntervalRows(self.run, lambda: IntervalCollection(interval_ns, max_stall_ns=max_stall_ns, by=by))

    def buckets(self, by: str = "duration", *, where: str | None = None, **chosen: Any) -> Rows:
        """Count connections in buckets, and tell what those in each are like.

        Parameters
        ----------
        by : str
            ``duration``, ``connect``, ``client_bytes``, ``server_bytes``, ``throughput``, ``requests``, ``attempts``.
        where : str, optional
            Only connections for which this holds.
        **chosen
            ``scale``, ``width`` and ``count`` of the buckets, as `BucketCollection` takes them.

        Raises
        ------
        UsageError
            If the condition or the buckets make no sense.
        """
        return self._in_buckets(by, where, chosen, is_list=False)

    def bucketed(self, by: str = "duration", *, where: str | None = None, **chosen: Any) -> Rows:
        """Give connections in order of what buckets are made by, each with its bucket; see `buckets`."""
        return self._in_buckets(by, where, chosen, is_list=True)

    def _in_buckets(self, by: str, where: str | None, chosen: dict[str, Any], *, is_list: bool) -> Rows:
        from tcpsight.bucketing import BucketCollection
        from tcpsight.tables import BucketConnections, RatedConnections
        from tcpsight.where import Where

        condition = Where(where, RatedConnections) if where is not None else None
        table_type = BucketCollection(by, **chosen).table_type  # what makes no sense is refused now

        def read() -> Iterator[Table]:
            collection = BucketCollection(by, where=condition, **chosen)
            with self.run() as run:
                for batch in run:
                    collection.feed(batch.connections)
                yield from collection.connections() if is_list else collection.rows()
                _raise_if_broken(run)

        return Rows(BucketConnections if is_list else table_type, read)

    def streams(self, overlaps: Policy = "first") -> CapturedStreams:
        """Read the capture once, and give what each side of each connection sent: use it in a ``with`` statement.

        Parameters
        ----------
        overlaps : {"first", "last"}
            Which copy gives a byte that was captured more than once.
        """
        from tcpsight.streams import CapturedStreams

        return CapturedStreams(self, overlaps)

    @property
    def unseen(self) -> Unseen:
        """What was not understood, by reason; reads the capture."""
        with self.run() as run:
            for _ in run:
                pass
            _raise_if_broken(run)
            return run.pipeline.unseen.table()

    def _rows(self, table_type: type[Table], part: Callable[[Batch], Table]) -> Rows:
        def read() -> Iterator[Table]:
            with self.run(with_segments=table_type is SegmentDetails) as run:
                for batch in run:
                    table = part(batch)
                    if len(table):
                        yield table
                _raise_if_broken(run)

        return Rows(table_type, read)


def _position(source: Source) -> int | None:
    """Tell where an open file stands; None for a path and for what cannot go back."""
    if isinstance(source, str | os.PathLike) or not source.seekable():
        return None
    return source.tell()


def _raise_if_broken(run: Run) -> None:
    if run.pipeline.broken is not None:
        raise run.pipeline.broken


def open(
    *sources: Source,
    servers: Sequence[str] = (),
    frame_filter: str | None = None,
    since_ns: int | None = None,
    until_ns: int | None = None,
    start_end: tuple[str, str] = ("request_last", "response_first"),
    input_timezone: str = "UTC",
) -> Analysis:
    """Open a capture, in one file or several.

    Parameters
    ----------
    *sources : path, ``-`` or binary file
        pcap, pcapng or tcpdump text, plain or compressed.
    servers : sequence of str
        ``[ADDRESS]:PORT`` of the services of interest; all by default.
    frame_filter : str, optional
        BPF expression.
    since_ns, until_ns : int, optional
        Nanoseconds since the Unix epoch: requests that arrive, connections that last, segments and slices that lie in
        [since_ns, until_ns). State is built from the whole capture.
    start_end : tuple of str
        Between which instants of a request response time runs.
    input_timezone : str
        IANA name of the zone of times in tcpdump text.

    Returns
    -------
    Analysis
        Its `requests`, `connections`, `segments` and `intervals()` are read when they are used.

    Raises
    ------
    UsageError
        Without a source, if a server makes no sense, or if the wanted time ends before it begins.
    """
    from tcpsight.endpoints import parse_server

    if not sources:
        raise UsageError("no capture was named")
    if since_ns is not None and until_ns is not None and until_ns <= since_ns:
        raise UsageError(f"until_ns {until_ns} is not after since_ns {since_ns}")
    selection = Selection(tuple(parse_server(text) for text in servers), since_ns, until_ns)
    options = Options(selection, start_end[0], start_end[1])
    return Analysis(sources, options, frame_filter=frame_filter, input_timezone=input_timezone)
