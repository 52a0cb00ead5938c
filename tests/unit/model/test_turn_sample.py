"""Who takes turns is told by the first requests of a run, whatever columns they have and however they come."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.model.turn_sample import BLOCK_ROWS, MOST_REQUESTS, TurnSample
from tcpsight.tables import AccountedRequests, Requests


def overlapping(count: int, kind: type[Requests] = Requests) -> Requests:
    """Requests of two services: those at the first one overlap, every other one."""
    requests = kind.allocate(count)
    requests.rows["server_port"] = np.where(np.arange(count) % 2, 81, 80)
    requests.rows["ip_version"] = 4
    requests.rows["connection_id"] = np.arange(count)
    requests.rows["is_overlapped"] = (np.arange(count) % 4) == 0
    return requests


@pytest.mark.parametrize("kind", [Requests, AccountedRequests])
@pytest.mark.parametrize("size", [1, 19, 1000, BLOCK_ROWS, 2 * BLOCK_ROWS])
def test_the_service_that_takes_no_turns_is_told_however_requests_are_cut(kind: type[Requests], size: int):
    requests, sample = overlapping(4096, kind), TurnSample()
    for at in range(0, len(requests), size):
        sample.feed(requests[at : at + size])
    for _ in range(2):
        ((server, reason),) = sample.reasons()
        assert server[1] == 80
        assert "50 % of the requests were sent while an answer was going on" in reason


def test_what_comes_after_the_first_ones_is_not_looked_at():
    quiet, sample = overlapping(MOST_REQUESTS), TurnSample()
    quiet.rows["is_overlapped"] = 0
    sample.feed(quiet)
    sample.feed(overlapping(MOST_REQUESTS))
    assert sample.reasons() == []
