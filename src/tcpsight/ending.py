"""How a pass over a capture ended: whole, broken off, or with nothing in it that could give a row."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from tcpsight.errors import CaptureError, CaptureWarning
from tcpsight.nothing import no_frames, no_tcp

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.rows import OnBreak


def conclude(run: Run, on_break: OnBreak) -> None:
    """Tell what is wrong with the capture after its last row, the same as the commands tell.

    Parameters
    ----------
    run : Run
        A pass that has ended.
    on_break : callable
        Takes the error of a capture that broke off, or has no frame or no TCP in it.
    """
    pipeline = run.pipeline
    paths = " ".join(file.path for file in run.capture.files)
    if pipeline.broken is not None:
        on_break(pipeline.broken)
    elif pipeline.frames == 0:
        on_break(CaptureError(paths, -1, no_frames(run)))
    elif run.frame_filter is not None and run.frame_filter.matched == 0:
        _warn(run.frame_filter.why_nothing_matched())
    elif pipeline.segments == 0:
        on_break(CaptureError(paths, -1, no_tcp(run, "frame_filter")))
    elif pipeline.selected == 0 and not pipeline.options.selection.is_everything:
        _warn("nothing in the capture matches servers, since_ns and until_ns")


def conclude_if_broken(run: Run, on_break: OnBreak) -> None:
    """Tell of a capture that broke off only: where the rows themselves tell what else is wrong with it."""
    if run.pipeline.broken is not None:
        on_break(run.pipeline.broken)


def _warn(text: str) -> None:
    warnings.warn(text, CaptureWarning, stacklevel=2)
