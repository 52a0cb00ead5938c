"""Laws of the output room: cutting changes no byte, and a spill sorts as memory would."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.output.blocks import BlockWriter
from tcpsight.output.spill import SortedSpill
from tcpsight.output.writers import FORMATS, open_writer
from tcpsight.tables import Requests
from tests.reference.output import Everything, tables
from tests.support.thorough import up_to

CUTS = st.lists(st.integers(0, 40), max_size=8)


def cut(table, cuts):
    edges = [0, *sorted(min(c, len(table)) for c in cuts), len(table)]
    return [table[begin:end] for begin, end in pairwise(edges)]


@settings(deadline=None, max_examples=up_to(60))
@given(tables(), CUTS, st.sampled_from(FORMATS))
def test_bytes_do_not_depend_on_the_cutting(table, cuts, format):
    outputs = []
    for parts in ([table], cut(table, cuts)):
        out = io.BytesIO()
        with open_writer(out, Everything, format) as writer:
            for part in parts:
                writer.write(part)
        outputs.append(out.getvalue())
    assert outputs[0] == outputs[1]


@given(tables(), CUTS, st.integers(1, 12))
def test_blocks_are_the_rows_in_their_order(table, cuts, block_rows):
    blocks = []
    writer = BlockWriter(Everything, block_rows, lambda block: blocks.append(block.rows.tobytes()))
    for part in cut(table, cuts):
        writer.write(part)
    writer.flush()
    size = block_rows * Everything.dtype.itemsize
    assert b"".join(blocks) == table.rows.tobytes()
    assert all(len(block) == size for block in blocks[:-1])


@settings(deadline=None)
@given(st.data(), CUTS, st.integers(1, 15), st.booleans())
def test_a_spill_sorts_as_memory_would(data, cuts, memory_rows, descending):
    n = data.draw(st.integers(0, 120))
    few = st.lists(st.integers(-1, 3), min_size=n, max_size=n)
    table = Requests.allocate(n)
    for name in ("response_time_ns", "completion_ns", "connection_id", "request_index"):
        table.rows[name][:] = data.draw(few)
    # What tells equal rows apart: the order in which they came.
    table.arrival_ns[:] = np.arange(n)
    spill = SortedSpill(Requests, ["response_time_ns", "completion_ns"], descending=descending, memory_rows=memory_rows)
    for part in cut(table, cuts):
        spill.add(part)
    got = [tuple(row) for part in spill.sorted() for row in part.copy().rows[_COMPARED].tolist()]
    assert got == sorted(table.rows[_COMPARED].tolist(), key=lambda row: _key(row, -1 if descending else 1))


_COMPARED = ["response_time_ns", "completion_ns", "connection_id", "request_index", "arrival_ns"]


def _key(row, sign):
    first, second, *ties = row
    return (first == -1, sign * first, second == -1, sign * second, *ties)
