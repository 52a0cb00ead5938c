"""Passes over a capture: each opens its files anew, and carries what one table needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tcpsight.arguments import Source, position_of
from tcpsight.capture import Capture, open_capture
from tcpsight.capture.reader import MAPPED_BYTES
from tcpsight.capture.tags import TagSurvey
from tcpsight.decode import Pair
from tcpsight.ending import conclude
from tcpsight.errors import UsageError
from tcpsight.lake import is_lake
from tcpsight.network import account_for
from tcpsight.pipeline import Batch, Keep, Options, Pipeline
from tcpsight.rows import OnBreak, Rows
from tcpsight.run import Run
from tcpsight.tables import Findings, Network, Policed, SegmentDetails, Table

if TYPE_CHECKING:
    from tcpsight.capture.following import Following
    from tcpsight.capture.link_offset import Passing
    from tcpsight.clustered import Engine
    from tcpsight.watching import Watch

SECOND_NS = 1_000_000_000


class Passes:
    """One capture, in any number of files, as often as it is asked; see `Analysis`."""

    def __init__(  # noqa: PLR0913 - each is a question of its own, asked by name
        self,
        sources: Sequence[Source],
        options: Options | None = None,
        *,
        frame_filter: str | None = None,
        input_timezone: str = "UTC",
        following: Following | None = None,
        link_offset: int = 0,
        skips_bad: bool = False,
        engine: Engine | None = None,
    ) -> None:
        self.sources = list(sources)
        self.following = following
        self.is_strict = False
        self._positions = [position_of(source) for source in sources]
        self.options = options or Options()
        self._frame_filter = frame_filter
        self._input_timezone = input_timezone
        self._link_offset = link_offset
        self._skips_bad = skips_bad
        self._engine = engine
        lakes = [source for source in sources if is_lake(source)]
        if lakes and len(sources) > 1:
            raise UsageError(f"{lakes[0]} is a lake, and read by itself: ingest more captures into it")
        self.lake = os.fspath(lakes[0]) if lakes else None  # type: ignore[arg-type]

    @property
    def asked(self) -> str:
        """Everything that was asked of the capture, as one text: what is asked twice is the same.

        Examples
        --------
        >>> tcpsight.open("examples/mariadb-lock.pcap", servers=":3306").asked == tcpsight.open("README.md").asked
        False
        """
        return repr((replace(self.options, workers=1), self._frame_filter, self._input_timezone, self._link_offset))

    @contextmanager
    def run(  # noqa: PLR0913 - each is a question of its own, asked by name
        self,
        carrying: type[Table] | None = None,
        *,
        keep: Keep | None = None,
        through: type[Pipeline] = Pipeline,
        pairs: tuple[Pair, ...] = (),
        with_segments: bool = False,
        given_at: str | None = None,
        alone: bool = False,
    ) -> Iterator[Run]:
        """Open the capture for one pass, whose batches carry that table, too, if it is one that costs extra.

        With `keep`, which takes care of payload, they index streams; `through` is the pipeline to go through; with
        `pairs` only segments between these endpoints are looked at; `with_segments` carries these beside that table;
        `given_at` says when rows of requests come, if not as the options have it. Only where none of these is asked
        for, of files that are not followed, there are as many workers as the options say. Who wants that table `alone`
        looks at nothing else of the batches: what it does not need may not be there.

        Raises
        ------
        CaptureError
            It cannot be opened. If it breaks off later, `Pipeline.broken` says so.

        Examples
        --------
        >>> with tcpsight.open("examples/mariadb-lock.pcap").run() as run:
        ...     sum(len(batch.requests) for batch in run)
        4706
        """
        frame_filter = None
        if self._frame_filter is not None:
            from tcpsight.capture.filter import FrameFilter

            frame_filter = FrameFilter(self._frame_filter)
        passing: Passing | None = frame_filter
        if self._link_offset:
            from tcpsight.capture.link_offset import LinkOffset

            passing = LinkOffset(self._link_offset, frame_filter)
        is_segments = carrying is not None and issubclass(carrying, SegmentDetails)
        options = replace(
            self.options,
            with_segments=self.options.with_segments or with_segments or is_segments,
            with_network=self.options.with_network or carrying in (Network, Findings),
            with_policing=self.options.with_policing or carrying in (Policed, Findings),
            pairs=pairs or self.options.pairs,
            given_at=given_at or self.options.given_at,
            account=self.options.account if carrying is None else account_for(carrying, alone=alone),
            with_requests=not (alone and carrying is Network),
        )
        if self.lake is not None:
            self._refuse_of_a_lake(keep or pairs or given_at or self.following or through is not Pipeline)
            from tcpsight.lake.replaying import Replay, StoredCaptures

            stored = StoredCaptures(self.lake)
            yield Run(stored, Replay(stored, options), None, stored)  # type: ignore[arg-type]
            return
        # Who wants to see segments, or what is open, has one worker; and a pipe gives rows as they become final.
        is_alone = options.with_segments or given_at or keep or pairs or through.needs_one_worker or self.following
        with self._opened() as capture:
            if is_alone or capture.bytes_total is None:
                options = replace(options, workers=1)
            tags = TagSurvey(passing, of_several=len(self.sources) > 1)
            if self._engine is None or is_alone or capture.bytes_total is None or not capture.is_named:
                yield Run(capture, through(capture, options, tags, keep), frame_filter, tags)
                return
            from tcpsight.clustered import Clustered

            at = {"frame_filter": frame_filter, "tags": tags, "link_offset": self._link_offset}
            yield Run(capture, Clustered(capture, options, self._engine, **at), frame_filter, tags)  # type: ignore[arg-type]

    def _refuse_of_a_lake(self, wants_frames: object) -> None:
        """Refuse what only a capture can tell."""
        if self._frame_filter is not None:
            raise UsageError(f"{self.lake}: a lake has no frames to filter: that is done by ingest")
        options, usual = self.options, Options()
        # The older tools leave out segments and pair requests in their own way.
        is_other = options.ports or options.pairs or (options.by, options.given_at) != (usual.by, usual.given_at)
        if wants_frames or is_other:
            raise UsageError(f"{self.lake}: a lake keeps no frames: read the captures that it was made from")
        if (options.timeouts, options.most_connections) != (usual.timeouts, usual.most_connections):
            raise UsageError(
                f"{self.lake}: when connections of a lake end was decided by ingest: give it the time-outs"
            )

    @contextmanager
    def watch(
        self,
        interval_ns: int = SECOND_NS,
        lateness_ns: int | None = None,
        *,
        with_findings: bool = False,
        **how: Any,
    ) -> Iterator[tuple[Run, Watch]]:
        """Watch the capture slice by slice, as time goes on in it; give the run, and the slices to iterate.

        Parameters
        ----------
        interval_ns, lateness_ns : int
            Length of a slice, and how long after its end it waits for answers, as long again by default.
        with_findings : bool
            Whether slices carry what was found meanwhile.
        **how
            More of `tcpsight.watching.Watched`.

        Raises
        ------
        UsageError
            Response time shall end with the response: while time goes on a request counts as soon as it is answered.

        Examples
        --------
        >>> with tcpsight.open("examples/mariadb-lock.pcap").watch() as (run, slices):
        ...     [int(each.total.arrivals[0]) for each in slices][:4]
        [152, 378, 302, 314]
        """
        from tcpsight.capture.silence import Silence
        from tcpsight.watching import Watch, Watched

        if self.options.end != "response_first":
            raise UsageError("a watch counts requests when they are answered: response time ends at response_first")
        lateness_ns = interval_ns if lateness_ns is None else lateness_ns
        carried = Findings if with_findings else None
        with self.run(carried, given_at="answer") as run, ExitStack() as stack:
            capture: Any = run.capture
            if self.following is not None or (capture.bytes_total is None and isinstance(capture, Capture)):
                capture = stack.enter_context(Silence(capture))
            tags = run.tags if with_findings else None
            yield run, Watch(capture, run.pipeline, Watched(interval_ns, lateness_ns, **how), tags=tags)

    def _opened(self) -> Capture:
        """Open the files for one pass, open ones from where they stood."""
        for source, position in zip(self.sources, self._positions, strict=True):
            if position is not None:
                source.seek(position)  # type: ignore[union-attr]
        return open_capture(
            self.sources,
            input_timezone=self._input_timezone,
            following=self.following,
            mapped_bytes=MAPPED_BYTES,
            skips_bad=self._skips_bad,
        )

    def _rows(self, table_type: type[Table], part: Callable[[Batch], Table]) -> Rows:
        def read(on_break: OnBreak) -> Iterator[Table]:
            with self.run(table_type, alone=True) as run:
                for batch in run:
                    table = part(batch)
                    if len(table):
                        yield table
                conclude(run, on_break)

        return Rows(table_type, read, is_strict=self.is_strict)
