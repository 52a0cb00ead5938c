"""The conversations of a capture, and which of them are shown.

Theory of operation
-------------------
One pass makes the index of all streams and the table of connections (`tcpsight.streams`), or both come from an index
that was saved. A condition on columns of connections chooses among them at once. A BPF expression is asked of frames,
in another pass: a connection is chosen if one of its frames matches. A pattern is looked for in payload. All three hold
together; none of them changes a number, for a connection is called by the frame that opened it.

Segments and requests of one connection are read when they are asked for, past its two endpoints only.

What it cannot see: with other endpoints left out, a connection that ended by time may end elsewhere; its segments are
those that carry its number.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.errors import UsageError
from tcpsight.pipeline import Pipeline
from tcpsight.streams import CapturedStreams, Conversation
from tcpsight.tables import Connections, Headers, Requests, SegmentDetails

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis
    from tcpsight.conversations.dumping import Folder
    from tcpsight.conversations.patterns import Pattern
    from tcpsight.output.ladders import Rung
    from tcpsight.pipeline import Batch
    from tcpsight.run import Run
    from tcpsight.tables import Frames

Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Catalog:
    """Conversations by number, and which of them are shown.

    Parameters
    ----------
    analysis : Analysis
        The capture; it is read again for segments and requests, so no pipe.
    streams : CapturedStreams
        Its streams.

    Attributes
    ----------
    condition, expression : str or None
        What connections, or their frames, must be like to be shown.
    pattern : Pattern or None
        What their payload must hold.
    progress : callable
        Is told now and then, while something is read, which share of it has been.
    """

    def __init__(self, analysis: Analysis, streams: CapturedStreams) -> None:
        self.streams = streams
        self.condition: str | None = None
        self.expression: str | None = None
        self.pattern: Pattern | None = None
        self.progress: Callable[[float], object] = lambda share: None
        self._analysis = analysis
        everything = np.ones(len(streams.connections), np.bool_)
        self._chosen: Mask = everything
        self._of_frames: Mask = everything
        self._matched: Mask = everything

    @property
    def all(self) -> Connections:
        """Every connection, by number."""
        return self.streams.connections

    @property
    def shown(self) -> Connections:
        """Those that the filters let through, by number."""
        return self.all[self.is_shown]

    @property
    def is_shown(self) -> Mask:
        """Whether the filters let each of all through."""
        return self._chosen & self._of_frames & self._matched

    @property
    def first_ns(self) -> int:
        """When the first connection began; 0 without one."""
        return int(self.all.start_ns.min()) if len(self.all) else 0

    def __getitem__(self, connection_id: int) -> Conversation:
        try:
            return self.streams[connection_id]
        except KeyError:
            raise UsageError(
                f"there is no connection {connection_id}; 'list' and 'tcpsight connections' tell their numbers"
            ) from None

    # ------------------------------------------------------------------------------------------------ choosing

    def choose(self, condition: str | None) -> None:
        """Show only connections for which a condition holds; None for all."""
        everything = np.ones(len(self.all), np.bool_)
        self._chosen = everything if condition is None else self.meeting(condition, "filter")
        self.condition = condition

    def meeting(self, condition: str, command: str) -> Mask:
        """Tell for which connections a condition holds, of all; `command` is what it was written behind."""
        # Imported where it is wanted, as all here that a list can do without: so that it is there sooner.
        from tcpsight.where import Where

        try:
            return Where(condition, Connections, is_accounted=False).mask(self.all)
        except UsageError as error:
            # It was not an option that it was written with.
            raise UsageError(str(error).replace("--where", command, 1)) from None

    def choose_frames(self, expression: str | None) -> None:
        """Show only connections of which a frame matches a BPF expression; None for all."""
        everything = np.ones(len(self.all), np.bool_)
        try:
            self._of_frames = everything if expression is None else self._with_frames(expression)
        except UsageError as error:
            raise UsageError(str(error).replace("--filter", "filter bpf", 1)) from None
        self.expression = expression

    def match(self, pattern: Pattern | None) -> None:
        """Show only connections whose payload holds a pattern; None for all."""
        everything = np.ones(len(self.all), np.bool_)
        self._matched = everything if pattern is None else self.holding(pattern)
        self.pattern = pattern

    def holding(self, pattern: Pattern) -> Mask:
        """Tell which connections hold a pattern, of all."""
        if pattern.plain is not None:
            return self.streams.holding(pattern.plain, self.progress)
        holds = np.zeros(len(self.all), np.bool_)
        for i, conversation in enumerate(self.streams):
            both = (conversation.client, conversation.server)
            holds[i] = any(next(pattern.find(stream), None) is not None for stream in both)
            self.progress(i / len(holds))
        return holds

    def _with_frames(self, expression: str) -> Mask:
        from tcpsight.capture.filter import FrameFilter

        frame_filter = FrameFilter(expression)

        class Noting(Pipeline):
            """Lets all frames through, and notes which of them match."""

            needs_one_worker = True

            def feed(self, captured: Frames) -> Iterator[Any]:
                self.matched = np.sort(frame_filter.apply(captured).frame_number)
                yield from super().feed(captured)

        found = np.zeros(len(self.all), np.bool_)
        with self._analysis.run(SegmentDetails, through=Noting) as run:
            for batch in self._watched(run):
                if len(batch.segments):
                    is_matched = np.isin(batch.segments.frame_number, run.pipeline.matched)  # type: ignore[attr-defined]
                    found |= np.isin(self.all.connection_id, batch.segments.connection_id[is_matched])
        return found

    # ---------------------------------------------------------------------------------------- one conversation

    def segments(self, connection_id: int) -> Generator[tuple[SegmentDetails, Headers]]:
        """Give a connection's segments, in capture order, with their headers, shape (n,) each."""
        with closing(self._batches(connection_id, SegmentDetails)) as batches:
            for batch in batches:
                segments = batch.segments[batch.segments.connection_id == connection_id]
                if len(segments):
                    # A selection leaves no header out.
                    yield segments, batch.headers[np.isin(batch.headers.frame_number, segments.frame_number)]

    def rungs(self, connection_id: int, *, is_relative: bool = True) -> Generator[Rung]:
        """Give a connection's ladder, its numbers relative or as they were sent."""
        from tcpsight.conversations.ladder import LadderMaking
        from tcpsight.output.ladders import rungs

        making = LadderMaking()
        conversation = self[connection_id]
        start_ns = int(conversation.connection["start_ns"])
        tables = (making.feed(*each) for each in self.segments(connection_id))
        return rungs(tables, start_ns, is_relative=is_relative, is_text=conversation.is_text)

    def export(self, connection_ids: np.ndarray[Any, Any], path: str) -> int:
        """Write the frames of connections to a pcapng file; give how many."""
        from tcpsight.conversations.dumping import export

        return export(self._analysis, connection_ids, path)

    def dump(self, connection_ids: np.ndarray[Any, Any], folder: Folder) -> None:
        """Write the streams of connections to files of a folder."""
        folder.add_all(self.streams, np.flatnonzero(np.isin(self.all.connection_id, connection_ids)))

    def requests(self, connection_id: int) -> Requests:
        """Give a connection's answered requests, by index."""
        with closing(self._batches(connection_id, Requests)) as batches:
            tables = [batch.requests[batch.requests.connection_id == connection_id] for batch in batches]
        found = Requests.concatenate([table.copy() for table in tables if len(table)])
        return found[np.argsort(found.request_index, kind="stable")]

    def _batches(self, connection_id: int, carrying: type[Any]) -> Generator[Any]:
        row = self[connection_id].connection
        ends = tuple((row[f"{side}_address"].tobytes(), int(row[f"{side}_port"])) for side in ("client", "server"))
        with self._analysis.run(carrying, pairs=(ends,)) as run:  # type: ignore[arg-type]
            yield from self._watched(run)

    def _watched(self, run: Run) -> Iterator[Batch]:
        """Give the batches of a run, and tell how far they are."""
        total = run.capture.bytes_total
        for batch in run:
            if total:
                self.progress(min(run.capture.bytes_read / total, 1.0))
            yield batch
