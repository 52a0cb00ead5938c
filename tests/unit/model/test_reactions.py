"""Times before and after requests are alike where a server speaks as if nobody had asked."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.model import reactions
from tcpsight.model.reactions import LEAST_PAIRS, Reactions
from tcpsight.tables import Requests


def talk(think_ns: list[int], work_ns: list[int], connection_id: int = 1, first_ns: int = 0) -> Requests:
    """Let one connection take turns: before each request the client thinks, after it the server works."""
    table = Requests.allocate(len(think_ns))
    table.connection_id[:] = connection_id
    table.request_index[:] = np.arange(len(think_ns))
    now = first_ns
    for row, (think, work) in enumerate(zip(think_ns, work_ns, strict=True)):
        table.request_first_ns[row] = table.request_last_ns[row] = now + think
        now += think + work
        table.response_first_ns[row] = table.response_last_ns[row] = now
    return table


def test_the_first_request_of_a_connection_has_nothing_before_it():
    found = Reactions()
    found.add(talk([5] * 10, [7] * 10))
    assert found.pairs == 9


def test_few_requests_tell_nothing():
    found = Reactions()
    found.add(talk([5] * LEAST_PAIRS, [7] * LEAST_PAIRS))
    assert found.distance is None
    assert not found.are_accidents


@pytest.mark.parametrize(("work", "is_accident"), [(1000, True), (1080, True), (4000, False)])
def test_only_times_that_are_alike_are_accidents(work, is_accident):
    random = np.random.default_rng(3)
    think, works = random.exponential(1000, 400), random.exponential(work, 400)
    found = Reactions()
    found.add(talk(think.astype(int).tolist(), works.astype(int).tolist()))
    assert found.are_accidents is is_accident


def test_the_distance_is_the_share_of_answers_that_are_caused():
    think = [1000, 2000] * 200
    found = Reactions()
    found.add(talk(think, [10 if i % 10 < 3 else each for i, each in enumerate(think)]))
    assert found.distance == pytest.approx(0.3, abs=0.01)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 300), max_size=6), st.integers(1, 400), st.integers(1, 400))
def test_how_rows_are_cut_changes_nothing(places, most, looked):
    random = np.random.default_rng(5)
    talks = [talk(random.integers(1, 1000, 60).tolist(), random.integers(1, 1000, 60).tolist(), n) for n in range(5)]
    together = Requests.concatenate(talks)
    rows = together[np.argsort(together.request_first_ns, kind="stable")]
    whole, parts = Reactions(), Reactions()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reactions, "MOST_PAIRS", most)
        patch.setattr(reactions, "MOST_CONNECTIONS", 3)
        patch.setattr(reactions, "MOST_LOOKED", looked)
        whole.add(rows)
        for begin, end in zip([0, *sorted(places)], [*sorted(places), len(rows)], strict=True):
            parts.add(rows[begin:end])
    assert whole.pairs == parts.pairs <= most
    if looked >= len(rows):
        assert whole.pairs == min(most, 3 * 59)
    assert whole.distance == parts.distance
