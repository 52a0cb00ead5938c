from __future__ import annotations

import numpy as np
import pytest

from tcpsight.output.blocks import BlockWriter
from tcpsight.tables import RequestCounts, Requests


def rows(first, n):
    table = RequestCounts.allocate(n)
    table.connection_id[:] = np.arange(first, first + n)
    return table


@pytest.fixture
def blocks():
    return []


@pytest.fixture
def writer(blocks):
    return BlockWriter(RequestCounts, 10, lambda table: blocks.append(table.connection_id.tolist()))


def test_blocks_are_full_and_the_rest_comes_with_flush(writer, blocks):
    for first in range(0, 24, 3):
        writer.write(rows(first, 3))
    assert blocks == [list(range(10)), list(range(10, 20))]
    writer.flush()
    assert blocks[2:] == [list(range(20, 24))]


def test_a_large_table_is_cut(writer, blocks):
    writer.write(rows(0, 4))
    writer.write(rows(4, 31))
    writer.flush()
    assert blocks == [list(range(10)), list(range(10, 20)), list(range(20, 30)), list(range(30, 35))]


def test_nothing_is_handed_over_for_nothing(writer, blocks):
    writer.write(rows(0, 0))
    writer.flush()
    writer.flush()
    assert blocks == []


def test_rows_are_copied(writer, blocks):
    table = rows(0, 5)
    writer.write(table)
    table.connection_id[:] = -1
    writer.flush()
    assert blocks == [[0, 1, 2, 3, 4]]


def test_rows_that_are_not_contiguous_are_taken(writer, blocks):
    writer.write(rows(0, 9)[::2])
    writer.flush()
    assert blocks == [[0, 2, 4, 6, 8]]


def test_rows_of_another_table_are_refused(writer):
    with pytest.raises(TypeError):
        writer.write(Requests.allocate(1))
