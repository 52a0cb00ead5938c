"""Readings as families of Prometheus' own library, which writes them in the format that is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from tcpsight.output.feeds.readings import BOUNDS_S, Buckets, Reader, Reading, full_labels
from tcpsight.output.feeds.update import Update

_UNITS = ("seconds", "bytes", "ratio")
_BOUND_TEXTS = (*(f"{bound:.10g}" for bound in BOUNDS_S), "+Inf")


class UpdateCollector(Collector):
    """Gives the metrics of the last update.

    Parameters
    ----------
    version : str
        Of the program.

    Attributes
    ----------
    update : Update or None
        The last one; None before the first.
    """

    def __init__(self, version: str) -> None:
        self.update: Update | None = None
        self._version = version

    def collect(self) -> Iterator[Metric]:
        """Give each metric with its samples."""
        for reading in Reader(self._version).read(self.update):
            yield _family(reading)


def own_registry(collector: Collector) -> CollectorRegistry:
    """Make a registry of this collector alone: nothing of the process is told by the way."""
    registry = CollectorRegistry()
    registry.register(collector)
    return registry


def _family(reading: Reading) -> Metric:
    metric = reading.metric
    ending = {"counter": "_total", "info": "_info"}.get(metric.kind, "")
    name = metric.name.removesuffix(ending)
    unit = next((unit for unit in _UNITS if name.endswith(f"_{unit}")), "")
    family = Metric(name, metric.help, metric.kind, unit)
    for point in reading.points:
        labels = full_labels(metric, point)
        if isinstance(point.value, Buckets):
            for bound, count in zip(_BOUND_TEXTS, accumulate(point.value.counts), strict=True):
                family.add_sample(f"{name}_bucket", {**labels, "le": bound}, count)
            family.add_sample(f"{name}_count", labels, point.value.number)
            family.add_sample(f"{name}_sum", labels, point.value.sum)
        else:
            family.add_sample(metric.name, labels, point.value)
    return family
