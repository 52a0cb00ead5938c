"""Runs that lie scattered over a file are read behind each other; nothing outside of the buffer is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tcpsight.capture._scattered import read_runs

DATA = bytes(range(256)) * 4


def numbers(*values: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.array(values, np.int64)


@pytest.fixture
def descriptor(tmp_path: Path) -> Iterator[int]:
    path = tmp_path / "data"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        yield file.fileno()


def test_runs_stand_behind_each_other_in_the_order_in_which_they_are_named(descriptor):
    out = bytearray(b"." * 12)
    assert read_runs(descriptor, numbers(1000, 3, 500, 7), numbers(4, 0, 3, 4), out) == 11
    assert out == DATA[1000:1004] + DATA[500:503] + DATA[7:11] + b"."
    assert read_runs(descriptor, numbers(), numbers(), bytearray()) == 0


@pytest.mark.parametrize(("position", "there"), [(1020, 4), (1024, 0), (1 << 40, 0)])
def test_where_the_file_ends_reading_ends(descriptor, position, there):
    assert read_runs(descriptor, numbers(0, position, 5), numbers(2, 10, 1), bytearray(13)) == 2 + there


@pytest.mark.parametrize(
    ("positions", "lengths", "room"),
    [((0,), (1, 1), 9), ((0,), (-1,), 9), ((-1,), (1,), 9), ((0, 1), (5, 5), 9), ((0,), (2**62,), 9)],
)
def test_what_does_not_fit_is_refused_before_anything_is_read(descriptor, positions, lengths, room):
    out = bytearray(room)
    with pytest.raises(ValueError, match=r"run|differ"):
        read_runs(descriptor, numbers(*positions), numbers(*lengths), out)
    assert out == bytes(room)


def test_what_cannot_be_read_is_the_system_s_error(tmp_path):
    with (tmp_path / "new").open("wb") as file, pytest.raises(OSError, match="Bad file descriptor"):
        read_runs(file.fileno(), numbers(0), numbers(1), bytearray(1))
    with pytest.raises(OSError, match="Bad file descriptor"):
        read_runs(10_000, numbers(0), numbers(1), bytearray(1))
