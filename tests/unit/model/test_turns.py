"""A service takes turns unless a good share of its requests was sent while an answer was going on."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.model.reactions import Reactions
from tcpsight.model.turns import Turns, wilson_low
from tcpsight.output.report import page
from tcpsight.tables import Requests
from tests.support.reports import report_facts
from tests.support.traffic import Talk, answered

SECOND = 10**9


def turns(requests: int, overlapped: int = 0) -> Turns:
    table = Requests.allocate(requests)
    table.is_overlapped[:overlapped] = True
    found = Turns()
    found.add(table)
    return found


def test_without_a_request_nothing_is_known():
    assert Turns().hold is None
    assert Turns().reason is None


@pytest.mark.parametrize(("requests", "overlapped"), [(1, 0), (1000, 0), (29, 2), (1000, 50), (2, 2)])
def test_turns_hold_where_few_overlap_or_too_few_to_tell(requests, overlapped):
    assert turns(requests, overlapped).hold


@pytest.mark.parametrize(("requests", "overlapped"), [(20, 4), (49, 19), (1000, 80), (3, 3)])
def test_turns_do_not_hold_where_many_overlap(requests, overlapped):
    found = turns(requests, overlapped)
    assert found.hold is False
    assert found.reason is not None
    assert "do not take turns" in found.reason


def test_the_interval_is_wilsons():
    # Newcombe 1998, table I: 81 of 263 is from .2553 on, 0 of 20 from 0, 15 of 148 from .0624.
    assert [round(wilson_low(*case), 4) for case in ((81, 263), (0, 20), (15, 148))] == [0.2553, 0.0, 0.0624]


def test_small_requests_in_several_segments_are_counted():
    table = Requests.allocate(3)
    table.request_bytes[:] = 100, 100, 5000
    table.request_last_ns[:] = 0, 5, 5
    found = Turns()
    found.add(table)
    assert found.in_parts == 1


def test_answers_that_trickle_are_counted():
    table = Requests.allocate(3)
    table.response_last_ns[:] = SECOND // 2, 10 * SECOND, 10 * SECOND
    table.response_bytes[:] = 1, 140_000, 150_000
    found = Turns()
    found.add(table)
    assert found.trickling == 1


def test_a_side_speaks_again_in_small_pieces_over_a_longer_time_than_answers_take_to_begin():
    table = Requests.allocate(5)
    table.request_last_ns[:] = 0, 20, 20, 5, 20
    table.response_first_ns[:] = table.request_last_ns + 10
    table.response_last_ns[:] = np.add(table.response_first_ns, [20, 0, 0, 0, 5])
    table.request_bytes[:] = 100, 100, 5000, 100, 100
    table.response_bytes[:] = 100
    found = Turns()
    found.add(table)
    assert (found.client_again, found.server_again) == (2, 1)


def test_most_answers_that_trickle_are_a_doubt():
    table = Requests.allocate(3)
    table.response_last_ns[:] = SECOND // 2, 10 * SECOND, 10 * SECOND
    found = Turns()
    found.add(table)
    assert found.hold
    assert found.reason is None
    assert found.doubt == "2 of 3 answers go on for long, in small pieces: the server may speak unasked"


def test_a_report_gives_no_response_times_where_turns_do_not_hold(monkeypatch):
    monkeypatch.setattr(Turns, "hold", False)
    facts = report_facts([Talk(answered(1, 2, 3))])
    (service,) = facts["services"]
    assert service["turns"]["hold"] is False
    assert service["requests"] == 3
    assert [service["response_time"][name] for name in ("mean_ns", "p50_ns", "max_ns")] == [None] * 3
    assert service["concurrency"] is service["utilization_fraction"] is None
    assert service["histogram"] == service["slowest_requests"] == []
    assert all(each["response_time_p99_ns"] is None for each in service["series"])
    assert all(each["response_time_sum_ns"] is None for each in service["clients"]["largest"])
    assert "none: the two sides do not take turns" in page(facts)


def test_turns_that_are_accidents_are_told_as_pipelining_or_push(monkeypatch):
    monkeypatch.setattr(Reactions, "are_accidents", True)
    both = Turns(requests=100, client_again=50, server_again=50)
    assert both.reason is not None
    assert both.reason.endswith("as with pipelining or push")
    one = Turns(requests=100, server_again=50)
    assert one.hold
    assert one.doubt is not None
    assert one.doubt.endswith("pipelining or push")
