"""One pass over a capture, under way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcpsight.capture import Capture
    from tcpsight.capture.filter import FrameFilter
    from tcpsight.capture.tags import TagSurvey
    from tcpsight.pipeline import Batch, Pipeline


class Run:
    """One pass over the capture, under way: iterate it once.

    Attributes
    ----------
    capture : Capture
        Files, interfaces and bytes read so far.
    pipeline : Pipeline
        What is known so far.
    frame_filter : FrameFilter or None
        How many frames it matched so far.
    tags : TagSurvey
        What was seen between link headers and IP so far.
    """

    def __init__(self, capture: Capture, pipeline: Pipeline, frame_filter: FrameFilter | None, tags: TagSurvey) -> None:
        self.capture = capture
        self.pipeline = pipeline
        self.frame_filter = frame_filter
        self.tags = tags

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.pipeline)
