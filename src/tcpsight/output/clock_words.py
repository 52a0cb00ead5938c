"""What stamps say of the clock, and so of all rates: in words, the same in every face of a report and in notes."""

from __future__ import annotations

from typing import Any

from tcpsight.output import units

Facts = dict[str, Any]

NOTABLE = 0.1
"""Of the time of the capture: rates are wrong by as much if a clock was set meanwhile."""


def clock_notes(clock: Facts) -> list[str]:
    """Tell where rates mean something else than they seem to.

    Parameters
    ----------
    clock : dict
        What `tcpsight.facts.clock_facts` gives.
    """
    notes = []
    if clock["is_instant"]:
        notes.append("every segment has the same time stamp: no rate can be told, and no response time means anything")
    if clock["steps_back"]:
        times = "once" if clock["steps_back"] == 1 else f"{units.count(clock['steps_back'])} times"
        again = clock["stepped_back_ns"] >= NOTABLE * clock["elapsed_ns"]
        less = " (less, if it was set forward again later)" if again else ""
        notes.append(
            f"the clock was set back {times}, by {units.duration(clock['stepped_back_ns'])}: "
            "the capture overlaps itself; "
            f"rates of the whole are over the {units.duration(clock['elapsed_ns'])} that passed{less}, "
            "those of slices of time add up what happened in both, "
            "those of connections that it changes much are not told"
        )
    if clock["stepped_forward_ns"]:
        notes.append(
            f"the clock was set forward, by {units.duration(clock['stepped_forward_ns'])}: the stamps of hosts did not "
            f"go on meanwhile; rates of the whole are over the {units.duration(clock['elapsed_ns'])} that passed, and "
            "requests that were under way then seem to have taken longer by that"
        )
    if clock["silent_ns"] >= NOTABLE * max(clock["span_ns"], 1):
        notes.append(
            f"nothing at all was captured for {units.duration(clock['silent_ns'])}: "
            "if a clock was set forward, or capturing stood still, rates of the whole are too low by that time"
        )
    return notes
