"""Requests that wait when the capture ends: what of them is kept."""

from __future__ import annotations

from tcpsight.model.health import HealthSummary
from tcpsight.tables import Unanswered


def test_blocks_without_an_open_request_leave_nothing_behind():
    summary, block = HealthSummary(), Unanswered.allocate(10)
    for _ in range(100):
        summary.feed_unanswered(block)
    (health,) = summary.services.values()
    assert not health.open_requests._kept
    block.rows["is_open"][3] = 1
    summary.feed_unanswered(block)
    count, unanswered = health.open_requests.split(10**9)
    assert (count, len(unanswered)) == (1, 0)
