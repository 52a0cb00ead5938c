"""What stamps say of the clock that gave them, as plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tcpsight.run import Run

Facts = dict[str, Any]


def clock_facts(run: Run) -> Facts:
    """Tell what stamps say of the clock, in nanoseconds."""
    pipeline = run.pipeline
    first_ns, last_ns = pipeline.span or (0, 0)
    return {
        "is_instant": pipeline.segments > 1 and pipeline.first_ns == pipeline.last_ns,
        "steps_back": pipeline.clock_steps.steps,
        "stepped_back_ns": pipeline.clock_steps.back_ns,
        "silent_ns": pipeline.silences.within(first_ns, last_ns),
        "span_ns": last_ns - first_ns,
        "elapsed_ns": pipeline.elapsed_ns,
    }
