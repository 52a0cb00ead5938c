from __future__ import annotations

import numpy as np
import pytest

from tcpsight.output._kernel import AddressTexts, RecordWriter, gather, is_plain

SIGNED, UNSIGNED, BOOLEAN, CODE, INDEX, TEXT = range(6)
ENDS = np.array([0, 1], np.int32)


def fields(*rows):
    return np.array(rows, np.int64).reshape(-1, 3)


@pytest.mark.parametrize(
    ("rows", "row_bytes", "where", "out_bytes"),
    [
        (bytes(15), 8, fields((0, 8, 0)), 100),
        (bytes(16), 0, fields((0, 8, 0)), 100),
        (bytes(16), 8, fields((1, 8, 0)), 100),
        (bytes(16), 8, fields((-1, 8, 0)), 100),
        (bytes(16), 8, fields((0, 0, 0)), 100),
        (bytes(16), 8, fields((0, 8, 0)), 15),
        (bytes(16), 8, fields((0, 8, -1)), 100),
        (bytes(16), 8, np.zeros((1, 2), np.int64), 100),
    ],
)
def test_gather_reads_and_writes_only_what_is_there(rows, row_bytes, where, out_bytes):
    with pytest.raises(ValueError):
        gather(rows, row_bytes, where, np.zeros(out_bytes, np.uint8))


@pytest.mark.parametrize(("addresses", "versions"), [(bytes(17), None), (bytes(32), bytes(1)), (bytes(16), bytes(2))])
def test_addresses_come_whole_and_with_a_version_each(addresses, versions):
    with pytest.raises(ValueError):
        AddressTexts((1, 2)).find(addresses, versions)


@pytest.mark.parametrize(
    ("cell", "source"),
    [
        ((SIGNED, 1, 8, None, b"", False), None),
        ((INDEX, 0, 8, None, b"", False), (b"a", ENDS, np.array([1], np.int32))),
        ((INDEX, 0, 8, None, b"", False), (b"a", ENDS, np.array([0, 0], np.int32))),
        ((INDEX, 0, 8, None, b"", False), (b"a", ENDS, None)),
        ((INDEX, 0, 8, None, b"", False), (b"", ENDS, np.array([0], np.int32))),
        ((INDEX, 0, 8, None, b"", False), (b"a", ENDS[::-1].copy(), np.array([0], np.int32))),
        ((CODE, 0, 1, None, b"", False), (b"", ENDS[:1], None)),
        ((TEXT, 0, 9, None, b"", False), None),
    ],
)
def test_lines_are_made_only_of_what_is_there(cell, source):
    with pytest.raises(ValueError):
        RecordWriter([cell], b"", b"\n").write(bytes(8), 8, [source])


@pytest.mark.parametrize(
    "cell", [(9, 0, 8, None, b"", False), (SIGNED, 0, 3, None, b"", False), (SIGNED, -1, 8, None, b"", False)]
)
def test_cells_that_do_not_exist_are_refused(cell):
    with pytest.raises(ValueError):
        RecordWriter([cell], b"", b"\n")


def test_every_cell_has_a_source():
    with pytest.raises(ValueError):
        RecordWriter([(SIGNED, 0, 8, None, b"", False)], b"", b"\n").write(bytes(8), 8, [])


def test_integers_of_every_length_are_written_right():
    numbers = [0, *(10**i for i in range(19)), *(10**i - 1 for i in range(1, 19)), 2**63 - 1, -(2**63), -1, -10, -99]
    writer = RecordWriter([(SIGNED, 0, 8, None, b"", False)], b"", b"\n")
    lines = bytes(writer.write(np.array(numbers, np.int64).view(np.uint8), 8, [None])).decode()
    assert lines.split() == [str(number) for number in numbers]


def test_text_is_plain_up_to_its_padding_only():
    special = bytes([0] * 44 + [1] + [0] * 211)
    assert is_plain(b"ab\0\0cdef", 4, special)
    assert not is_plain(b"ab\0\0cd,f", 4, special)
    with pytest.raises(ValueError):
        is_plain(b"abcd", 4, b"short")
