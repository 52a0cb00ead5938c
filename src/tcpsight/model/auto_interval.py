"""Choose how long a slice should be when nobody said so.

A slice that is shorter than the response times in it says little: most of its residents began or end outside
of it, and counts of a few requests jump about. A slice that is longer than the stalls one wants to find
averages them away. So: ten response times at least, and never longer than the longest stall that may pass unseen.
"""

from __future__ import annotations

from dataclasses import dataclass

SHORTEST_NS = 10_000_000
RESPONSE_TIMES = 10
MAX_STALL_NS = 200_000_000


@dataclass(frozen=True, slots=True)
class ChosenInterval:
    """The length of a slice, and why.

    Attributes
    ----------
    interval_ns : int
        Length of a slice.
    reason : str
        One sentence for people.
    """

    interval_ns: int
    reason: str


def choose_interval(p99_response_time_ns: int, *, max_stall_ns: int = MAX_STALL_NS) -> ChosenInterval:
    """Choose the shortest slice that still holds many response times.

    Parameters
    ----------
    p99_response_time_ns : int
        99th percentile of the response times; negative where there was no request.
    max_stall_ns : int
        The longest slice that is acceptable: a shorter stall could hide in it.

    Returns
    -------
    ChosenInterval
        The smallest step of 1, 2, 5, 10 … that is at least ten times the percentile and at least 10 ms, or
        `max_stall_ns` where that would be longer.

    Raises
    ------
    ValueError
        If `max_stall_ns` is not positive.
    """
    if max_stall_ns < 1:
        raise ValueError("max_stall_ns must be positive")
    wanted = step_at_least(max(SHORTEST_NS, RESPONSE_TIMES * p99_response_time_ns))
    text = duration_text(wanted)
    if p99_response_time_ns < 0:
        found = "there was no request to measure"
    else:
        # Three digits must not say less than the length of a slice was chosen by.
        shown_ns = int(float(f"{p99_response_time_ns:.3g}"))
        over = "just over " if step_at_least(max(SHORTEST_NS, RESPONSE_TIMES * shown_ns)) < wanted else ""
        found = f"the 99th-percentile response time is {over}{duration_text(p99_response_time_ns)}"
    if wanted > max_stall_ns:
        limit = duration_text(max_stall_ns)
        return ChosenInterval(
            max_stall_ns, f"{limit}, because {found}, which asks for {text}, but stalls longer than {limit} must show."
        )
    if wanted == SHORTEST_NS:
        return ChosenInterval(wanted, f"{text}, the shortest that is chosen, because {found}.")
    return ChosenInterval(wanted, f"{text}, because {found} and a slice should hold ten of those.")


def step_at_least(duration_ns: int) -> int:
    """Give the smallest of 1, 2, 5, 10, 20, 50 … ns that is not below `duration_ns`."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power >= duration_ns:
                return digit * power
        power *= 10


def duration_text(duration_ns: int) -> str:
    """Say a duration in a sentence, with three significant digits: ``1.25 ms``, ``200 ms``, ``3 s``."""
    for unit, size in (("s", 1_000_000_000), ("ms", 1_000_000), ("µs", 1_000)):
        if duration_ns >= size:
            value = duration_ns / size
            digits = f"{value:.3g}" if value < 999.5 else str(round(value))  # from there on .3g says 1e+03
            return f"{digits} {unit}"
    return f"{duration_ns} ns"
