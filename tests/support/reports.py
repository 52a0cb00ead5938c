"""Facts of a report on a capture made of talks, without a file."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from typing import Any

from tcpsight.analysis import Analysis
from tcpsight.facts import facts
from tcpsight.pipeline import Options
from tcpsight.reporting import ReportCollection
from tests.support.pcap import Frame, pcap_bytes
from tests.support.traffic import Talk, capture


def report_facts(
    talks: Iterable[Talk],
    *,
    more: Sequence[Frame] = (),
    top: int = 10,
    options: Options | None = None,
    frame_filter: str | None = None,
    cut: int = 0,
) -> dict[str, Any]:
    """Give the facts; `more` frames follow the talks, the last `cut` bytes are missing."""
    content = pcap_bytes([*capture(talks), *more], nanoseconds=True)
    return facts_of(content[: len(content) - cut], top=top, options=options, frame_filter=frame_filter)


def facts_of(
    content: bytes, *, top: int = 10, options: Options | None = None, frame_filter: str | None = None
) -> dict[str, Any]:
    """Give the facts of a capture's bytes."""
    stream = io.BytesIO(content)
    stream.name = "talks.pcap"
    with Analysis([stream], options, frame_filter=frame_filter).run(account="connections") as run:
        collection = ReportCollection(top)
        for batch in run:
            collection.feed(batch)
        return facts(collection.report(run))
