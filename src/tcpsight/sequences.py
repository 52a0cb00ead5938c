"""Time–sequence graphs of a few connections: which are worth one, and a second pass that fetches their segments.

Theory of operation
-------------------
Which connections are worth a graph is known only at the end, and nobody could keep the segments of all. So the capture
is read once more, past the endpoints of the chosen ones only: that is little more than reading headers. A pipe cannot
be read twice, nor can a file that is still being written be trusted to be the same.

What it cannot see: with the others left out, connections end by time at other instants; one that is not found again
under its number is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.model.excerpts import SegmentExcerpt
from tcpsight.model.worst import trouble
from tcpsight.output.addresses import endpoint_text
from tcpsight.output.web_data import packed, steps
from tcpsight.tables import DIRECTIONS, FINDINGS, INT64_MIN, KINDS, SEVERITIES, Connections, Findings, SegmentDetails

if TYPE_CHECKING:
    from tcpsight.decode import Pair
    from tcpsight.passes import Passes
    from tcpsight.reporting import Report

Facts = dict[str, Any]

MOST = 6
"""Graphs in a page."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A connection that gets a graph.

    Attributes
    ----------
    connection_id : int
        Which.
    ends : Pair
        Address and port of the client and of the server.
    client, server : str
        Its endpoints.
    why : str
        What about it is worth a look.
    """

    connection_id: int
    ends: Pair
    client: str
    server: str
    why: str


def chosen(report: Report, connections: Connections, most: int = MOST) -> list[Chosen]:
    """Choose connections: those that findings name, those of the slowest requests, those with most trouble.

    Parameters
    ----------
    report : Report
        Findings and slowest requests.
    connections : Connections
        The worst, worst first.
    most : int
        How many.
    """
    found: dict[int, Chosen] = {}
    rows = {int(row["connection_id"]): row for row in connections.rows}
    is_notable = report.findings.severity != SEVERITIES.index("info")
    _add_findings(found, report.findings[is_notable], rows, most)
    slowest = [row for each in report.services for row in each.service.slowest.rows[:1]]
    for row in slowest[: max(most // 3, 1)]:
        _add(found, row, "slowest request of its service", most)
    for row, count in zip(connections.rows, trouble(connections).tolist(), strict=True):
        if count:
            _add(found, row, "most segments sent again, unanswered or failed", most)
    _add_findings(found, report.findings[~is_notable], rows, most)
    return list(found.values())


def _add_findings(found: dict[int, Chosen], findings: Findings, rows: dict[int, Any], most: int) -> None:
    for each in findings:
        name = FINDINGS[each["kind"]].replace("_", " ")
        _add(found, rows.get(int(each["connection_id"])), f"finding: {name}", most)


def _add(found: dict[int, Chosen], row: Any, why: str, most: int) -> None:
    if row is None or len(found) >= most or int(row["connection_id"]) in found:
        return
    number, version = int(row["connection_id"]), int(row["ip_version"])
    client, server = ((row[f"{side}_address"].tobytes(), int(row[f"{side}_port"])) for side in DIRECTIONS)
    found[number] = Chosen(
        number, (client, server), endpoint_text(*client, version), endpoint_text(*server, version), why
    )


def read_sequences(passes: Passes, wanted: Iterable[Chosen], first_ns: int) -> list[Facts]:
    """Read the capture again, and give the graph of each connection that is found.

    Parameters
    ----------
    passes : Passes
        The capture.
    wanted : iterable of Chosen
        Which connections.
    first_ns : int
        What instants are told after.
    """
    choice = {each.connection_id: each for each in wanted}
    if not choice:
        return []
    excerpts = {number: SegmentExcerpt() for number in choice}
    pairs = tuple({each.ends for each in choice.values()})
    with passes.run(SegmentDetails, pairs=pairs) as run:
        for batch in run:
            _feed(excerpts, batch.segments)
    return [_graph(choice[number], excerpt, first_ns) for number, excerpt in excerpts.items() if excerpt.seen]


def _feed(excerpts: dict[int, SegmentExcerpt], segments: SegmentDetails) -> None:
    if not len(segments):
        return
    # Some are of other connections with the same endpoints.
    numbers = np.ascontiguousarray(segments.connection_id)
    wanted = np.sort(np.fromiter(excerpts, np.int64, len(excerpts)))
    is_wanted = wanted[np.minimum(np.searchsorted(wanted, numbers), len(wanted) - 1)] == numbers
    if not is_wanted.any():
        return
    segments, numbers = segments[is_wanted], numbers[is_wanted]
    for number in set(numbers.tolist()):
        excerpts[number].feed(segments[numbers == number])


def _graph(choice: Chosen, excerpt: SegmentExcerpt, first_ns: int) -> Facts:
    segments = excerpt.segments()
    # Times of a capture may go backwards.
    begin = int(segments.time_ns.min())
    return {
        "connection_id": choice.connection_id,
        "client": choice.client,
        "server": choice.server,
        "why": choice.why,
        "seen": excerpt.seen,
        "begin_ns": begin - first_ns,
        "time_ns": packed(segments.time_ns - begin),
        "offset": _offsets(segments.offset),
        "acked": _offsets(segments.acked_offset),
        "frame_number": steps(segments.frame_number),
        "window": packed(np.maximum(segments.window_bytes, -1).astype(np.int64) + 1),
        "payload_bytes": packed(segments.payload_bytes),
        "new_bytes": packed(np.maximum(segments.new_bytes, 0)),
        "direction": packed(segments.direction),
        "kind": packed(segments.kind),
        "flags": packed(segments.flags),
        "kinds": list(KINDS),
    }


def _offsets(offsets: np.ndarray[Any, Any]) -> Facts:
    """Pack offsets after their least one; 0 is unknown."""
    is_known = offsets != INT64_MIN
    least = int(offsets[is_known].min()) if is_known.any() else 0
    return {"least": least, "above": packed(np.where(is_known, offsets - least + 1, 0))}
