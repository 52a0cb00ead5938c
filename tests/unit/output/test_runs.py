"""Runs of bytes go to several files from where they lie."""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import pytest

from tcpsight.output._runs import write_runs

DATA = random.Random(1).randbytes(1 << 20)


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def written(path: Path, shares: list[tuple[int, int, int]], positions: np.ndarray, lengths: np.ndarray) -> bytes:
    """Write (offset, first, last) to one file; give what it holds."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        rows = np.array([(descriptor, *share) for share in shares], np.int64)
        write_runs(rows.reshape(-1, 4), DATA, positions, lengths)
    finally:
        os.close(descriptor)
    return path.read_bytes()


@pytest.mark.parametrize("count", [0, 1, 1023, 1024, 1025, 5000])
def test_however_many_runs_follow_each_other_in_the_file(count, tmp_path):
    chosen = random.Random(count)
    positions = np.array([chosen.randrange(len(DATA) - 200) for _ in range(count)], np.int64)
    lengths = np.array([chosen.choice((0, 1, 50, 200)) for _ in range(count)], np.int64)
    expected = b"".join(DATA[at : at + n] for at, n in zip(positions.tolist(), lengths.tolist(), strict=True))
    assert written(tmp_path / "a", [(0, 0, count)], positions, lengths) == expected


def test_each_share_goes_where_it_belongs(tmp_path):
    positions, lengths = numbers(10, 0, 500), numbers(3, 2, 4)
    held = written(tmp_path / "a", [(7, 2, 3), (0, 0, 2), (5, 1, 1)], positions, lengths)
    assert held == DATA[10:13] + DATA[0:2] + b"\0\0" + DATA[500:504]


@pytest.mark.parametrize(
    ("share", "position", "length"),
    [((0, 0, 2), 0, 1), ((0, 1, 0), 0, 1), ((0, -1, 1), 0, 1), ((-1, 0, 1), 0, 1)]
    + [((0, 0, 1), at, n) for at, n in ((-1, 2), (0, -1), (len(DATA), 1), (2**62, 2**62), (0, len(DATA) + 1))],
)
def test_what_lies_outside_is_refused_before_anything_is_written(share, position, length, tmp_path):
    with pytest.raises(ValueError, match="outside"):
        written(tmp_path / "a", [(0, 0, 1), share], numbers(position), numbers(length))
    assert (tmp_path / "a").read_bytes() == b""


def test_tables_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="as many"):
        write_runs(np.zeros((1, 3), np.int64), DATA, numbers(0), numbers(1))
    with pytest.raises(ValueError, match="as many"):
        write_runs(np.zeros((1, 4), np.int64), DATA, numbers(0, 1), numbers(1))


def test_a_file_that_takes_no_more_is_told(tmp_path):
    with Path("/dev/full").open("wb", 0) as full, pytest.raises(OSError, match="space"):
        write_runs(np.array([(full.fileno(), 0, 0, 1)], np.int64), DATA, numbers(0), numbers(10))
    with pytest.raises(OSError, match="descriptor"):
        write_runs(np.array([(10_000, 0, 0, 1)], np.int64), DATA, numbers(0), numbers(10))
