"""What reading an input may cost: 10 times its size plus 200 MB of memory, a second per MB.

Inputs that are made here are small, so of time a floor applies: whatever is shorter than a megabyte may take a second,
like a megabyte. What a whole process takes for large files is measured by `attacks`.

Costs are always noted, and enforced in long runs only (`enforce`): tests that everybody runs assert no times.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

MEGABYTE = 1 << 20
MEMORY_FACTOR = 10
FREE_BYTES = 200 * MEGABYTE
SECONDS_PER_MB = 1.0
LEAST_MEGABYTES = 1.0

FACTORS = {"fast": 1.0, "checked": 4.0, "address": 8.0}
"""How much slower each build may be: checks and sanitizers cost what users do not pay."""

UNMEASURED = ("address",)
"""Builds whose memory is not that of users: shadows and quarantines."""


class BeyondLimit(AssertionError):
    """Reading an input took too much memory or time."""


@dataclass
class Costs:
    """The most that reading one input has taken since `reset`."""

    is_enforced: bool = False
    build: str = "fast"
    seconds: float = 0.0
    memory_bytes: int = 0

    def enforce(self, build: str) -> None:
        """Raise from now on where a limit is exceeded."""
        self.is_enforced, self.build = True, build

    def take(self) -> tuple[float, int]:
        """Give the most since the last call, and begin anew."""
        most = self.seconds, self.memory_bytes
        self.seconds, self.memory_bytes = 0.0, 0
        return most


COSTS = Costs()


@contextmanager
def measured(size: int) -> Iterator[None]:
    """Measure what reading an input of so many bytes, once and as it is, takes of memory and CPU time."""
    before = _begin()
    begin = time.process_time()
    yield
    seconds = time.process_time() - begin
    memory = max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before, 0) if before else 0
    COSTS.seconds, COSTS.memory_bytes = max(COSTS.seconds, seconds), max(COSTS.memory_bytes, memory)
    if not COSTS.is_enforced:
        return
    allowed = SECONDS_PER_MB * max(size / MEGABYTE, LEAST_MEGABYTES) * FACTORS.get(COSTS.build, 1.0)
    if seconds > allowed:
        raise BeyondLimit(f"{size} bytes took {seconds:.2f} s; {allowed:.2f} s are allowed")
    if memory > MEMORY_FACTOR * size + FREE_BYTES and COSTS.build not in UNMEASURED:
        raise BeyondLimit(f"{size} bytes took {memory / MEGABYTE:.0f} MB of memory")


def _begin() -> int:
    """Forget the peak so far; give the memory that is used now, 0 where the system cannot tell."""
    try:
        Path("/proc/self/clear_refs").write_bytes(b"5")
        return int(Path("/proc/self/statm").read_bytes().split()[1]) * resource.getpagesize()
    except OSError:
        return 0
