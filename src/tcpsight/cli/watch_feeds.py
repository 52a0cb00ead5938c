"""What ``tcpsight watch`` tells other systems: of every slice, and before the first one that there is none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcpsight.cli.watch_options import Wanted
    from tcpsight.output.feeds import Feeds, Update
    from tcpsight.run import Run
    from tcpsight.watching import Slice

PATIENCE_S = 10.0
"""How long a file that is read waits for the receiver of a feed that has not failed."""

BEAT_S = 1.0
"""How often it is told at most that there is no slice yet."""


@contextmanager
def feeding(wanted: Wanted) -> Iterator[Feeds | None]:
    """Open the feeds, for which a capture that is read from files may wait; say what they lost when all is over."""
    if not wanted.feeding.targets and wanted.feeding.listen is None:
        yield None
        return
    import tcpsight
    from tcpsight.cli.notes import warn
    from tcpsight.output.feeds import open_feeds

    is_read = not wanted.interfaces and wanted.asked.is_readable_again
    feeds = open_feeds(
        wanted.feeding.targets,
        listen=wanted.feeding.listen,
        version=tcpsight.__version__,
        with_findings=wanted.lines.with_findings,
        patience_s=PATIENCE_S if is_read else 0,
    )
    try:
        yield feeds
    finally:
        feeds.close()
        for words in feeds.last_words():
            warn(words)


class Beats:
    """Tell feeds again and again that a watch goes on of which there is no slice yet: what is silent has numbers, too.

    Parameters
    ----------
    feeds : Feeds
        Whom it is told.
    run : Run
        The pass under way.
    wanted : Wanted
        What the watch was asked for.
    """

    def __init__(self, feeds: Feeds, run: Run, wanted: Wanted) -> None:
        self._feeds = feeds
        self._run = run
        # The time of a file or a pipe is not known before its first frame.
        self._is_live = bool(wanted.interfaces)
        self._with_findings = wanted.lines.with_findings
        self._begun_ns = time.time_ns() if self._is_live else None
        self._rest_s = max(wanted.slicing.interval_ns / 1e9, BEAT_S)
        self._next_s = 0.0
        self._is_over = False
        self.look()

    def send(self, each: Slice) -> None:
        """Tell a slice, instead, from now on."""
        self._is_over = True
        self._feeds.send(update_of(each, self._run, with_findings=self._with_findings))

    def look(self) -> None:
        """Tell that there is no slice yet, if that was told some time ago."""
        if self._is_over or time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + self._rest_s
        told = update_of(None, self._run, with_findings=self._with_findings)
        if self._begun_ns is not None:
            told = told._replace(begun_ns=self._begun_ns, looked_ns=time.time_ns())
        self._feeds.begin(told, is_pushed=self._is_live)


def update_of(each: Slice | None, run: Run, *, with_findings: bool) -> Update:
    """Tell feeds what a slice tells; without one, what is known of the watch."""
    import numpy as np

    from tcpsight.output.feeds import Update
    from tcpsight.output.feeds.update import UNKNOWN
    from tcpsight.tables import RESPONSE_TIME_BOUNDS_NS, Findings, Intervals, KeyedIntervals, ServiceTotals

    pipeline, capture = run.pipeline, run.capture
    told: tuple[KeyedIntervals, Intervals, ServiceTotals, np.ndarray]
    if each is None:
        empty = np.zeros((0, len(RESPONSE_TIME_BOUNDS_NS) + 1), np.int64)
        told, findings = (KeyedIntervals(), Intervals(), ServiceTotals(), empty), Findings()
    else:
        told, findings = (each.services, each.total, each.totals, each.histogram), each.findings
    return Update(
        *told,
        pipeline.unseen,
        findings if with_findings else None,
        frames=pipeline.frames,
        segments=pipeline.segments,
        bytes=capture.bytes_read,
        drops=getattr(capture, "dropped", UNKNOWN),
        open_connections=pipeline.open_count,
        interfaces=getattr(capture, "up_by_interface", {}),
    )
