"""The library: two captures of the same services at different times, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tcpsight.comparison import CollectedCapture, Comparison, compared
from tcpsight.comparison_facts import Facts, Tolerance, comparison_facts
from tcpsight.ending import conclude
from tcpsight.endpoints import parse_server
from tcpsight.errors import UsageError
from tcpsight.opening import open as open_capture
from tcpsight.rows import on_break
from tcpsight.tables import Findings
from tcpsight.worsening import WORSE_KINDS, vanished

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis
    from tcpsight.arguments import Source
    from tcpsight.connections import Server

__all__ = ["compare"]


def compare(  # noqa: PLR0913 - each is a question of its own, asked by name
    before: Source | Sequence[Source],
    after: Source | Sequence[Source],
    *,
    tolerance: float = 0.05,
    failure_tolerance: float = 0.01,
    most_services: int = 10,
    fail_on: Sequence[str] = WORSE_KINDS,
    same: Sequence[str] = (),
    **options: Any,
) -> Facts:
    """Tell what changed between two captures of the same services; read now.

    Parameters
    ----------
    before, after : path, ``-`` or binary file, or a list of them
        The captures.
    tolerance : float
        By which share response times may be longer, and throughput at equal concurrency lower.
    failure_tolerance : float
        By how much the shares of unanswered requests, of failed connections and of segments sent again may be larger.
    most_services : int
        How many services are compared.
    fail_on : sequence of str
        What of ``worse`` counts for ``is_worse``: ``response_time``, ``failures``, ``throughput``, ``retransmissions``,
        ``vanished``, ``findings``.
    same : sequence of str
        Services that moved, as ``":3306=:3307"``: what each was before, and after.
    **options
        Those of `tcpsight.open`, for both captures.

    Returns
    -------
    dict
        What ``tcpsight compare --format json`` prints: ``verdict``, ``is_worse``, ``worse`` (what is, and
        where), and under ``services`` of each the quantiles of response time before and after with the intervals of
        their ratio, and more.

    Raises
    ------
    UsageError
        If an argument makes no sense, or the captures have no service in common and none is gone.

    Examples
    --------
    >>> told = tcpsight.compare("examples/mariadb-lock.pcap", "examples/mariadb-lock.pcap")
    >>> told["verdict"], told["services"][0]["response_time"][2]["ratio"]
    ('too_little_data', 1.0)
    """
    if tolerance < 0 or failure_tolerance < 0:
        raise UsageError("a tolerance is 0 or more")
    if unknown := set(fail_on) - set(WORSE_KINDS):
        raise UsageError(f"fail_on has {sorted(unknown)[0]!r}; known are {', '.join(WORSE_KINDS)}")
    both = [collected(open_capture(each, **options)) for each in (before, after)]
    comparison = compared(both[0], both[1], most_services=most_services, same=[parse_same(each) for each in same])
    check_common(comparison)
    return comparison_facts(comparison, Tolerance(tolerance, failure_tolerance, tuple(fail_on)))


def parse_same(text: str) -> tuple[Server, Server]:
    """Read ``BEFORE=AFTER``: a service that moved, by address, port or both.

    Raises
    ------
    UsageError
        If it is not that.
    """
    ours, is_there, theirs = text.partition("=")
    if not is_there:
        raise UsageError(f"{text!r} tells of no move: write BEFORE=AFTER, such as :3306=:3307")
    return parse_server(ours), parse_server(theirs)


def collected(analysis: Analysis) -> CollectedCapture:
    """Read a capture, and keep what a comparison needs of it."""
    selection = analysis.options.selection
    collection = CollectedCapture(selection)
    with analysis.run(Findings, with_segments=selection.is_part) as run:
        for batch in run:
            collection.feed(batch)
        collection.finish(run)
        conclude(run, on_break(is_strict=analysis.is_strict))
    return collection


def check_common(comparison: Comparison) -> None:
    """See whether there is anything to tell of two captures: a service that both have, or one that is gone.

    Raises
    ------
    UsageError
        If there is not.
    """
    if not comparison.pairs and not vanished(comparison):
        raise UsageError(_nothing_in_common(comparison.before, comparison.after))


def _nothing_in_common(before: CollectedCapture, after: CollectedCapture) -> str:
    """Say why two captures cannot be compared."""
    for when, each in (("before", before), ("after", after)):
        if not each.summary.services:
            return f"nothing to compare: the capture {when} has no connection that was asked for"
    ports = [sorted({endpoint[1] for endpoint in each.summary.services}) for each in (before, after)]
    told = [", ".join(f":{port}" for port in each[:5]) + (", …" if len(each) > 5 else "") for each in ports]
    return (
        f"nothing to compare: no service is in both captures; before {told[0]}, after {told[1]}; "
        "--same BEFORE=AFTER tells which moved"
    )
