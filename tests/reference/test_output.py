"""The output kernels and their twins agree."""

from __future__ import annotations

import io
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tcpsight.output._kernel import AddressTexts, gather
from tcpsight.output.arrow import to_arrow
from tcpsight.output.writers import open_writer
from tcpsight.tables import Table
from tests.reference.output import Everything, Lone, address_text, csv_text, json_lines, records, tables

SEED = (0x0123456789ABCDEF, 0xFEDCBA9876543210)


def written(table: Table, format: str) -> str:
    out = io.BytesIO()
    with open_writer(out, type(table), format) as writer:
        writer.write(table)
    return out.getvalue().decode()


def texts_of(found: AddressTexts) -> list[str]:
    text, ends = bytes(found.texts).decode(), list(found.ends)
    distinct = [text[begin:end] for begin, end in pairwise(ends)]
    return [distinct[index] for index in found.indices]


@settings(deadline=None)
@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.sampled_from([4, 6]))))
def test_addresses_are_written_like_the_standard_library_does(rows):
    addresses, versions = b"".join(address for address, _ in rows), bytes(version for _, version in rows)
    found = AddressTexts(SEED)
    found.find(addresses, versions)
    assert texts_of(found) == [address_text(address, version) for address, version in rows]


# Groups that are often zero, so that every place and length of the run of zeros occurs.
SPARSE = st.lists(st.sampled_from([0, 0, 0, 1, 0x20, 0x300, 0xFFFF]), min_size=8, max_size=8)


@settings(deadline=None)
@given(st.lists(SPARSE, min_size=1))
def test_runs_of_zeros_are_cut_like_the_standard_library_does(groups):
    addresses = b"".join(group.to_bytes(2, "big") for address in groups for group in address)
    found = AddressTexts(SEED)
    found.find(addresses, None)
    expected = [address_text(addresses[i : i + 16], None) for i in range(0, len(addresses), 16)]
    assert texts_of(found) == expected


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), max_size=200), st.lists(st.integers(0, 5), max_size=20))
def test_addresses_are_numbered_in_the_order_of_their_first_rows(first, second):
    found = AddressTexts(SEED)
    for numbers in (first, second):
        found.find(b"".join(bytes(15) + bytes([number]) for number in numbers), bytes([6] * len(numbers)))
        order = list(dict.fromkeys(numbers))
        assert list(found.indices) == [order.index(number) for number in numbers]


@settings(deadline=None)
@given(tables(most=600), st.data())
def test_gathered_columns_equal_the_fields_of_the_rows(table, data):
    names = data.draw(st.lists(st.sampled_from(table.dtype.names), unique=True))
    fields, size = [], 0
    for name in names:
        dtype, offset = table.dtype.fields[name][:2]
        fields.append((offset, dtype.itemsize, size))
        size += dtype.itemsize * len(table)
    out = np.zeros(size, np.uint8)
    gather(table.rows.view(np.uint8), table.dtype.itemsize, np.array(fields, np.int64).reshape(-1, 3), out)
    assert out.tobytes() == b"".join(table.rows[name].tobytes() for name in names)


@settings(deadline=None)
@given(tables())
def test_json_lines_equal_the_twin(table):
    assert written(table, "jsonl") == json_lines(table)


@settings(deadline=None)
@given(tables())
def test_csv_equals_the_twin(table):
    assert written(table, "csv") == csv_text(table)


@settings(deadline=None)
@given(tables())
def test_arrow_equals_the_twin(table):
    assert to_arrow(table).to_pylist() == records(table)


@settings(deadline=None)
@given(tables(Lone))
def test_addresses_without_a_version_equal_the_twin(table):
    assert written(table, "jsonl") == json_lines(table)
    assert to_arrow(table).to_pylist() == records(table)


def test_every_table_of_the_twin_has_all_kinds_of_columns():
    kinds = {np.dtype(c.dtype).kind for c in Everything.columns}
    assert kinds == {"S", "i", "u", "f"}
