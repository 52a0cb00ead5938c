"""Open feeds by what people write: one, or all those of a watch."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING

from tcpsight.errors import UsageError
from tcpsight.output.feeds.feed import MOST_WAITING, Feed, Receiver
from tcpsight.output.feeds.targets import Target, parse_target
from tcpsight.output.feeds.update import FeedCounts, Update
from tcpsight.tables import FINDINGS, SEVERITIES

if TYPE_CHECKING:
    from tcpsight.output.feeds.endpoint import MetricsEndpoint

CLOSE_S = 3.0
"""How long feeds may take to send what is left when a watch ends."""


def open_feed(
    target: str,
    *,
    version: str = "",
    with_findings: bool = False,
    patience_s: float = 0,
    most_waiting: int = MOST_WAITING,
) -> Feed:
    """Open a feed. Receivers on the network may be away for now; files must be there, or be possible.

    Parameters
    ----------
    target : str
        Where to: see `FORMS` of `targets`.
    version : str
        Of the program.
    with_findings : bool
        Whether feeds of lines tell findings too.
    patience_s : float
        How long an update may wait for room in the queue while the receiver takes others; 0 where a capture goes on.
    most_waiting : int
        How many updates may wait for the receiver.

    Raises
    ------
    UsageError
        If the target is none, or needs a library that is not installed.
    TcpsightError
        If a file cannot be opened.
    """
    receiver = _receiver(parse_target(target), version, with_findings=with_findings)
    return Feed(receiver, most_waiting=most_waiting, patience_s=patience_s)


def _receiver(target: Target, version: str, *, with_findings: bool) -> Receiver:
    """Make who gets the updates; libraries are imported where they are wanted."""
    if target.scheme == "jsonl":
        from tcpsight.output.feeds.files import FileLines

        return FileLines(target, with_findings=with_findings)
    if target.scheme in ("tcp", "unix"):
        from tcpsight.output.feeds.sockets import SocketLines

        return SocketLines(target, with_findings=with_findings)
    if target.scheme in ("statsd", "dogstatsd"):
        from tcpsight.output.feeds.statsd import StatsD

        return StatsD(target, version=version)
    if target.scheme == "kafka":
        from tcpsight.output.feeds.kafka import Kafka

        return Kafka(target, with_findings=with_findings)
    from tcpsight.output.feeds.otlp import Otlp

    return Otlp(target, version=version)


class Feeds:
    """All feeds of a watch, and its endpoint for Prometheus: each is told what became of the others.

    Parameters
    ----------
    feeds : sequence of Feed
        Those that are sent to.
    endpoint : MetricsEndpoint, optional
        The one that is asked.

    Attributes
    ----------
    needs_totals : bool
        Whether updates need `totals` and `histogram`; they may be empty otherwise.
    """

    def __init__(self, feeds: Sequence[Feed], endpoint: MetricsEndpoint | None = None) -> None:
        self.feeds = tuple(feeds)
        self.endpoint = endpoint
        self.needs_totals = endpoint is not None or any(feed.needs_totals for feed in feeds)
        self._findings: dict[tuple[str, str], int] = {}

    def __bool__(self) -> bool:
        return bool(self.feeds) or self.endpoint is not None

    def send(self, update: Update) -> None:
        """Give an update to all; without patience this waits for none of them."""
        if update.findings is not None and len(update.findings):
            # Anew, as earlier updates that still wait hold the counts of their time.
            self._findings = dict(self._findings)
            kinds, severities = update.findings.kind.tolist(), update.findings.severity.tolist()
            for kind, severity in zip(kinds, severities, strict=True):
                label = (FINDINGS[kind], SEVERITIES[severity])
                self._findings[label] = self._findings.get(label, 0) + 1
        told = update._replace(findings_so_far=self._findings, feeds=self.counts())
        for feed in self.feeds:
            feed.send(told)
        if self.endpoint is not None:
            self.endpoint.send(told)

    def begin(self, update: Update, *, is_pushed: bool) -> None:
        """Tell an update without a slice: those who ask, and, if they are to know, those that are sent metrics."""
        told = update._replace(feeds=self.counts())
        for feed in self.feeds if is_pushed else ():
            if feed.needs_totals:
                feed.send(told)
        if self.endpoint is not None:
            self.endpoint.send(told)

    def counts(self) -> dict[str, FeedCounts]:
        """Tell what became of updates so far, by the name of the feed."""
        return {feed.name: feed.counts for feed in self.feeds}

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """End all, within `timeout_s` together and a moment; what could not be sent is dropped and counted."""
        until = monotonic() + timeout_s
        for feed in self.feeds:
            feed.stop()
        for feed in self.feeds:
            feed.close(until - monotonic())
        if self.endpoint is not None:
            self.endpoint.close(max(until - monotonic(), 0))

    def last_words(self) -> list[str]:
        """Tell, a line for each feed that lost something or met a failure, what it was."""
        lines = []
        for feed in self.feeds:
            sent, dropped, failures = feed.counts
            if dropped or failures:
                why = f" (last: {feed.last_failure})" if feed.last_failure else ""
                times = "once" if failures == 1 else f"{failures} times"
                failed = f"; its receiver failed {times}{why}" if failures else ""
                lines.append(f"feed {feed.name}: {_slices(sent)} sent, {_slices(dropped)} dropped{failed}")
        return lines


def open_feeds(
    targets: Sequence[str],
    *,
    listen: str | None = None,
    version: str = "",
    with_findings: bool = False,
    patience_s: float = 0,
) -> Feeds:
    """Open all feeds of a watch.

    Parameters
    ----------
    targets : sequence of str
        Where to: see `open_feed`.
    listen : str, optional
        ``HOST:PORT`` at which Prometheus asks for `/metrics`.
    version : str
        Of the program.
    with_findings : bool
        Whether feeds of lines tell findings too.
    patience_s : float
        How long an update may wait for room in a queue while the receiver takes others; 0 where a capture goes on.

    Raises
    ------
    UsageError
        If a target is none, or comes twice, or needs a library that is not installed.
    TcpsightError
        If a file cannot be opened, or the address not be listened at.
    """
    opened: list[Feed] = []
    try:
        for target in targets:
            name = parse_target(target).name
            if name in [feed.name for feed in opened]:
                raise UsageError(f"feed {name} is named twice")
            opened.append(open_feed(target, version=version, with_findings=with_findings, patience_s=patience_s))
        endpoint = _endpoint(listen, version) if listen is not None else None
    except BaseException:
        for feed in opened:
            feed.close(0)
        raise
    return Feeds(opened, endpoint)


def _endpoint(listen: str, version: str) -> MetricsEndpoint:
    """Listen; what that needs costs more to import than all else here."""
    from tcpsight.output.feeds.endpoint import MetricsEndpoint

    return MetricsEndpoint(listen, version=version)


def _slices(number: int) -> str:
    return f"{number} slice{'' if number == 1 else 's'}"
