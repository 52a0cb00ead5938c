"""Candidates of stalls that are the same wait, joined as a slow and obvious way would."""

from __future__ import annotations

import random
import time

import numpy as np

from tcpsight.model.joining import COVERED, Candidate, joined

Told = tuple[int, int, float, bool]


def candidate(start_ns: int, end_ns: int, surprise: float, *, is_halt: bool) -> Candidate:
    return Candidate(start_ns, end_ns, surprise, np.zeros(1, np.int64), is_halt=is_halt)


def slowly_joined(given: list[Told]) -> list[Told]:
    kept: list[Told] = []
    for start, end, surprise, _ in sorted((each for each in given if each[3]), key=lambda each: each[0]):
        if kept and start <= kept[-1][1]:
            kept[-1] = (kept[-1][0], max(kept[-1][1], end), max(kept[-1][2], surprise), True)
        else:
            kept.append((start, end, surprise, True))
    for release in sorted((each for each in given if not each[3]), key=lambda each: -each[2]):
        start, end, surprise, _ = release
        same = [each for each in kept if each[0] < end and start < each[1]]
        others = [each for each in kept if each not in same]
        covered = sum(min(each[1], end) - max(each[0], start) for each in same)
        if not all(each[3] for each in same):
            continue
        if same and covered >= COVERED * (end - start):
            whole = min(each[0] for each in same), max(each[1] for each in same), max(each[2] for each in same)
            kept = [*others, (*whole, True)]
        elif surprise > max((each[2] for each in same), default=0.0):
            kept = [*others, release]
    return sorted(kept)


def test_candidates_are_joined_as_the_obvious_way_joins_them():
    dice = random.Random(7)
    for _ in range(2000):
        given: list[Told] = []
        for _ in range(dice.randrange(1, 12)):
            start = dice.randrange(40)
            given.append((start, start + dice.randrange(1, 20), dice.uniform(1, 20), dice.random() < 0.4))
        found = joined([candidate(*each[:3], is_halt=each[3]) for each in given])
        assert [(each.start_ns, each.end_ns, each.surprise, each.is_halt) for each in found] == slowly_joined(given)


def test_ten_thousand_releases_at_many_ages_take_no_minutes():
    # Each is found again at every age and part: all but the first overlap what is kept.
    given = [candidate(10 * i, 10 * i + 5, 20.0 + i % 7, is_halt=False) for i in range(10_000) for _ in range(10)]
    begun = time.process_time()
    assert len(joined(given)) == 10_000
    assert time.process_time() - begun < 20  # half a second; with every pair looked at, minutes
