"""Takes Requests and Connections, gives Intervals, Fit and Findings."""

from tcpsight.model.auto_interval import ChosenInterval, choose_interval
from tcpsight.model.distribution import Distribution, HistogramStep
from tcpsight.model.intervals import IntervalSeries
from tcpsight.model.keys import IntervalKey, KeyCounter, KeyedIntervalSeries

__all__ = [
    "ChosenInterval",
    "Distribution",
    "HistogramStep",
    "IntervalKey",
    "IntervalSeries",
    "KeyCounter",
    "KeyedIntervalSeries",
    "choose_interval",
]
