"""Metrics by the OpenTelemetry protocol, OTLP over HTTP, as its own exporter sends them.

Counters and the histogram are cumulative, with the instant from which they count; times are those of the capture.
Headers (a token, say), certificates and compression are what the variables of OpenTelemetry's exporters say
(``OTEL_EXPORTER_OTLP_HEADERS`` and so on).
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from tcpsight.errors import UsageError, installing
from tcpsight.output.feeds.feed import DeliveryError
from tcpsight.output.feeds.readings import BOUNDS_S, Buckets, Point, Reader, Reading, full_labels
from tcpsight.output.feeds.targets import Target
from tcpsight.output.feeds.update import Update

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

SEND_S = 5.0
"""How long the exporter may try to hand over an update, its own repetitions included."""

DEFAULT_PATH = "/v1/metrics"

_LOGGER = "opentelemetry.exporter"

Series = tuple[str, tuple[str, ...]]


class Otlp:
    """Send metrics with OpenTelemetry's exporter.

    Parameters
    ----------
    target : Target
        Where to.
    version : str
        Of the program.

    Raises
    ------
    UsageError
        If the exporter is not installed.
    """

    needs_totals = True

    def __init__(self, target: Target, *, version: str) -> None:
        # Here and not in the thread: later the process may have given up the right to open files.
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        except ImportError:
            raise UsageError(f"feed {target.name}: OpenTelemetry is needed: {installing('otlp')}") from None
        self.name = target.name
        self._version = version
        self._reader = Reader(version)
        self._starts = SeriesStarts()
        self._reason = _Reason()
        logger = logging.getLogger(_LOGGER)
        # What it has to say is told by the feed, not printed across the lines of a watch.
        logger.propagate = False
        logger.addHandler(self._reason)
        address = target.name.removeprefix("otlp+").rstrip("/")
        endpoint = address if target.path not in ("", "/") else address + DEFAULT_PATH
        self._exporter = OTLPMetricExporter(endpoint=endpoint, timeout=SEND_S)

    def deliver(self, update: Update) -> None:
        """Send an update."""
        from opentelemetry.sdk.metrics.export import MetricExportResult

        self._reason.listen()
        data = self._data(self._reader.read(update), update)
        if self._exporter.export(data, timeout_millis=SEND_S * 1000) is not MetricExportResult.SUCCESS:
            raise DeliveryError(self._reason.last or "refused")

    def interrupt(self) -> None:
        """Let the exporter try no further."""
        self._exporter.shutdown()

    def close(self) -> None:
        """Let go of connections and of the log."""
        logging.getLogger(_LOGGER).removeHandler(self._reason)

    def _data(self, readings: list[Reading], update: Update) -> MetricsData:
        """Write readings as OpenTelemetry's metrics."""
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._starts.begin(update)
        metrics = [self._metric(reading, update.time_ns) for reading in readings]
        self._starts.end(update)
        resource = Resource.create({"service.name": "tcpsight", "service.version": self._version})
        scope = ScopeMetrics(InstrumentationScope("tcpsight", self._version), metrics, "")
        return MetricsData([ResourceMetrics(resource, [scope], "")])

    def _metric(self, reading: Reading, time_ns: int) -> Any:
        from opentelemetry.sdk.metrics.export import AggregationTemporality, Gauge, Histogram, Metric, Sum

        metric = reading.metric
        points = [self._point(reading, point, time_ns) for point in reading.points]
        data: Any
        if metric.kind == "histogram":
            data = Histogram(points, AggregationTemporality.CUMULATIVE)
        elif metric.kind == "counter":
            data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True)
        else:
            data = Gauge(points)
        return Metric(metric.name, metric.help, metric.unit, data)

    def _point(self, reading: Reading, point: Point, time_ns: int) -> Any:
        from opentelemetry.sdk.metrics.export import HistogramDataPoint, NumberDataPoint

        labels, value = full_labels(reading.metric, point), point.value
        series = (reading.metric.name, point.labels)
        if isinstance(value, Buckets):
            start_ns = self._starts.of(series, value.number)
            counts = value.counts
            # Without the least and the largest, which are not kept: the encoder leaves out what is None.
            none: Any = None
            return HistogramDataPoint(
                labels, start_ns, time_ns, value.number, value.sum, counts, BOUNDS_S, min=none, max=none
            )
        start_ns = self._starts.of(series, value) if reading.metric.kind == "counter" else 0
        return NumberDataPoint(labels, start_ns, time_ns, value)


class SeriesStarts:
    """Tells from when each series counts: when the watch began, or the update after which it was less than before."""

    def __init__(self) -> None:
        self._known: dict[Series, tuple[int, float]] = {}
        self._now: dict[Series, tuple[int, float]] = {}
        self._fresh_ns: int | None = None

    def begin(self, update: Update) -> None:
        """Look at the series of an update."""
        self._now = {}
        if self._fresh_ns is None:
            self._fresh_ns = update.start_ns

    def of(self, series: Series, value: float) -> int:
        """Give the instant from which a series counts, since the Unix epoch."""
        assert self._fresh_ns is not None
        start_ns, before = self._known.get(series, (self._fresh_ns, 0))
        if value < before:
            start_ns = self._fresh_ns
        self._now[series] = (start_ns, value)
        return start_ns

    def end(self, update: Update) -> None:
        """Forget series that are gone; those that are new from now on count from here."""
        self._known, self._now = self._now, {}
        self._fresh_ns = update.time_ns


class _Reason(logging.Handler):
    """Keeps the last that the exporter said in the thread that listens."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last = ""
        self._thread = 0

    def listen(self) -> None:
        """Begin anew, for this thread."""
        self.last, self._thread = "", threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what was said."""
        if record.thread == self._thread:
            self.last = " ".join(record.getMessage().split())[:300]
