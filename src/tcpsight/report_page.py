"""A report as a page for a browser: its facts, what its plots are drawn from, and the pass that fetches segments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcpsight.facts import facts
from tcpsight.model.worst import WorstConnections
from tcpsight.output.page import html_page
from tcpsight.output.units import instant, printable
from tcpsight.report_plots import Ends, ServicePlots, connection_facts, connections_of, grid_facts
from tcpsight.reporting import ReportCollection
from tcpsight.sequences import chosen, read_sequences
from tcpsight.tables import FINDINGS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import tzinfo

    from tcpsight.analysis import Run
    from tcpsight.model.grouping import Endpoint
    from tcpsight.model.services import Service
    from tcpsight.passes import Passes
    from tcpsight.pipeline import Batch
    from tcpsight.reporting import Report
    from tcpsight.selection import Selection

Facts = dict[str, Any]

MOST_CONNECTIONS = 1500

SCRIPTS = (
    "report_data.js",
    "report_requests.js",
    "report_time.js",
    "report_models.js",
    "report_connections.js",
    "report_sequence.js",
    "report_words.js",
    "report_evidence.js",
    "report.js",
)

INSTANTS = ("start_ns", "end_ns", "arrival_ns", "since_ns", "until_ns")


class PageCollection:
    """Collect what a report and its page need, batch by batch, of a run that carries `Findings`.

    Parameters
    ----------
    most_services : int
        How many services the report tells of.
    selection : Selection, optional
        What of the capture is wanted.
    """

    def __init__(self, most_services: int = 10, selection: Selection | None = None) -> None:
        self.report_collection = ReportCollection(most_services, selection, self._begin)
        self._connections = WorstConnections(MOST_CONNECTIONS)
        self._plots: ServicePlots | None = None

    def feed(self, batch: Batch) -> None:
        """Take what became final."""
        self.report_collection.feed(batch)
        self._connections.feed(batch.connections, batch.network)

    def report(self, run: Run) -> Report:
        """Give the report, when the run has ended."""
        return self.report_collection.report(run)

    def _begin(self, services: list[tuple[Endpoint, Service]], run: Run) -> ServicePlots:
        pipeline = run.pipeline
        self._plots = ServicePlots(services, pipeline.span or (0, 0), pipeline.elapsed_ns)
        return self._plots

    def page(
        self, report: Report, passes: Passes | None, quantiles: Sequence[float], timezone: tzinfo | None = None
    ) -> str:
        """Make the page.

        Parameters
        ----------
        report : Report
            What `report` gave.
        passes : Passes or None
            The capture once more; None where it cannot be read twice.
        quantiles : sequence of float
            Which quantiles of the response time to tell.
        timezone : tzinfo, optional
            Of instants; UTC by default.
        """
        span, part = report.run.pipeline.span, report.run.pipeline.options.selection
        first_ns = span[0] if span is not None else 0
        ends = Ends(report.run.tags)
        rows = self._connections.rows()
        wanted = chosen(report, connections_of(rows))
        told = facts(report, quantiles)
        data = {
            "facts": relative(told, first_ns, timezone),
            "plots": {
                "span_ns": span[1] - span[0] if span is not None else None,
                "start": instant(first_ns, timezone) if span is not None else None,
                "begin": instant(first, timezone) if (first := report.run.pipeline.first_ns) is not None else None,
                # As text, where a part of the time was asked for.
                "part": [None if each is None else instant(each, timezone) for each in (part.since_ns, part.until_ns)],
                **grid_facts(),
                "services": self._plots.facts(ends) if self._plots is not None else [],
                "connections": connection_facts(rows, self._connections.seen, ends, first_ns),
                "sequences": read_sequences(passes, wanted, first_ns) if passes is not None else None,
                "ends": ends.rows,
                "looked_for": [kind.replace("_", " ") for kind in FINDINGS],
            },
        }
        names = [each["path"] for each in told["capture"]["files"]]
        title = printable(names[0]) if len(names) == 1 else f"{len(names)} files"
        return html_page(f"{title} – tcpsight", SCRIPTS, data)


def relative(value: Any, first_ns: int, timezone: tzinfo | None = None) -> Any:
    """Give facts with instants in ns after the first one: a browser's numbers hold 53 bits.

    Those of evidence, which is shown as it is, become text: as numbers they would be others than in the findings.
    """
    if isinstance(value, dict):
        return {
            key: as_text(each, timezone)
            if key == "evidence"
            else each - first_ns
            if key in INSTANTS and isinstance(each, int)
            else relative(each, first_ns, timezone)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [relative(each, first_ns, timezone) for each in value]
    return value


def as_text(value: Any, timezone: tzinfo | None) -> Any:
    """Give values with instants as text."""
    if isinstance(value, dict):
        return {
            key.removesuffix("_ns") if _is_instant(key, each) else key: instant(each, timezone, digits=9)
            if _is_instant(key, each)
            else as_text(each, timezone)
            for key, each in value.items()
        }
    if isinstance(value, list):
        return [as_text(each, timezone) for each in value]
    return value


def _is_instant(key: str, value: Any) -> bool:
    return key in INSTANTS and isinstance(value, int)
