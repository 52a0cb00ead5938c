"""Passes over a capture: each opens its files anew, and carries what one table needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from tcpsight.arguments import Source, position_of
from tcpsight.capture import Capture, open_capture
from tcpsight.capture.tags import TagSurvey
from tcpsight.ending import conclude
from tcpsight.network import account_for
from tcpsight.pipeline import Batch, Keep, Options, Pipeline
from tcpsight.rows import OnBreak, Rows
from tcpsight.run import Run
from tcpsight.tables import Findings, Network, SegmentDetails, Table

if TYPE_CHECKING:
    from tcpsight.capture.following import Following
    from tcpsight.capture.link_offset import Passing


class Passes:
    """One capture, in any number of files, as often as it is asked; see `Analysis`."""

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
        self.is_strict = False
        self._positions = [position_of(source) for source in sources]
        self.options = options or Options()
        self._frame_filter = frame_filter
        self._input_timezone = input_timezone
        self._link_offset = link_offset

    @contextmanager
    def run(
        self,
        carrying: type[Table] | None = None,
        *,
        keep: Keep | None = None,
        through: type[Pipeline] = Pipeline,
        ports: tuple[int, ...] = (),
        with_segments: bool = False,
        given_at: str | None = None,
    ) -> Iterator[Run]:
        """Open the capture for one pass, whose batches carry that table, too, if it is one that costs extra.

        With `keep`, which takes care of payload, they index streams; `through` is the pipeline to go through; with
        `ports` only segments from or to these are looked at; `with_segments` carries these beside that table;
        `given_at` says when rows of requests come, if not as the options have it.

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
        options = replace(
            self.options,
            with_segments=self.options.with_segments or with_segments or carrying is SegmentDetails,
            with_network=self.options.with_network or carrying in (Network, Findings),
            with_policing=self.options.with_policing or carrying is Findings,
            ports=ports or self.options.ports,
            given_at=given_at or self.options.given_at,
            account=self.options.account if carrying is None else account_for(carrying),
        )
        with self._opened() as capture:
            tags = TagSurvey(passing)
            yield Run(capture, through(capture, options, tags, keep), frame_filter, tags)

    def _opened(self) -> Capture:
        """Open the files for one pass, open ones from where they stood."""
        for source, position in zip(self.sources, self._positions, strict=True):
            if position is not None:
                source.seek(position)  # type: ignore[union-attr]
        return open_capture(self.sources, input_timezone=self._input_timezone, following=self.following)

    def _rows(self, table_type: type[Table], part: Callable[[Batch], Table]) -> Rows:
        def read(on_break: OnBreak) -> Iterator[Table]:
            with self.run(table_type) as run:
                for batch in run:
                    table = part(batch)
                    if len(table):
                        yield table
                conclude(run, on_break)

        return Rows(table_type, read, is_strict=self.is_strict)
