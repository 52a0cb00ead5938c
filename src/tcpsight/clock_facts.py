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
    leapt_ns = pipeline.clock_leaps.within(first_ns, last_ns)
    return {
        # A watch that was enough ends with connections open, whose segments are not in the span.
        "is_instant": pipeline.segments > 1
        and pipeline.first_ns is not None
        and pipeline.first_ns == pipeline.last_ns
        and not pipeline.open_count,
        "steps_back": pipeline.clock_steps.steps,
        "stepped_back_ns": pipeline.clock_steps.back_ns,
        "stepped_forward_ns": leapt_ns,
        "silent_ns": max(pipeline.silences.within(first_ns, last_ns) - leapt_ns, 0),
        "span_ns": last_ns - first_ns,
        "elapsed_ns": pipeline.elapsed_ns,
    }
