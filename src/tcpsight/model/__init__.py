"""Takes Requests and Connections, gives Intervals, Fit and Findings.

Its parts are imported when they are used: a pass over a capture needs one of them, and should not wait for all.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "ChosenInterval": "auto_interval",
    "Distribution": "distribution",
    "HistogramStep": "distribution",
    "IntervalKey": "keys",
    "IntervalSeries": "intervals",
    "KeyCounter": "keys",
    "KeyedIntervalSeries": "keys",
    "choose_interval": "auto_interval",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"tcpsight.model.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'tcpsight.model' has no attribute {name!r}")
