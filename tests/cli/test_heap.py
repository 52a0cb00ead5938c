"""What a long run does with memory that is free."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np
from tcpsight.cli import heap
def resident_mb():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 1e6
heap.KEPT_S = {kept_s}
ours = heap.Heap()
blocks = [np.ones(500_000 if i % 2 else 1000, np.uint8) for i in range(400)]  # each large one behind a small one
del blocks[1::2]
before = resident_mb()
ours.give_back()
print(before - resident_mb())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library can give memory back")
@pytest.mark.parametrize(
    ("kept_s", "least", "most"), [(0, 80, 110), (1000, -5, 5)], ids=["when it is time", "not before"]
)
def test_holes_between_blocks_that_are_kept_go_back_to_the_system(kept_s, least, most):
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(kept_s=kept_s)], capture_output=True, text=True, check=True
    )
    assert least < float(said.stdout) < most
