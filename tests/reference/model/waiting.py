"""Gaps between completions, member by member and gap by gap: the slow twin of `tcpsight.model.waiting`."""

from __future__ import annotations

from typing import NamedTuple


class Gap(NamedTuple):
    start_ns: int
    end_ns: int
    together_ns: int
    residents: int
    present: int


def gaps(members: list[tuple[int, int, bool]]) -> list[Gap]:
    """Give the gap before each completion.

    Parameters
    ----------
    members : list of (int, int, bool)
        When each joined and left, and whether it left because it was answered.
    """
    completions = sorted(left for _, left, is_answered in members if is_answered)
    found = []
    for number, end in enumerate(completions):
        previous = completions[number - 1] if number else None
        if previous is None:
            since = min(joined for joined, _, _ in members)
        elif any(joined <= previous < left for joined, left, _ in members):
            since = previous
        else:
            later = [joined for joined, _, _ in members if joined > previous]
            since = min(later) if later else end
        begin = since if previous is None else previous
        inside = [(max(joined, begin), min(left, end)) for joined, left, _ in members]
        found.append(
            Gap(
                min(since, end),
                end,
                sum(max(stop - start, 0) for start, stop in inside),
                sum(joined <= end <= left for joined, left, _ in members),
                sum(joined <= end and (previous is None or left > previous) for joined, left, _ in members),
            )
        )
    return found
