from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.errors import TcpsightError, UsageError
from tcpsight.output.spill import SortedSpill, sorting_order
from tcpsight.tables import Connections, Headers, Intervals, Requests
from tests.reference.output import Everything, Lone, fill, records


def requests(times, connections=None):
    table = Requests.allocate(len(times))
    table.response_time_ns[:] = times
    table.connection_id[:] = np.arange(len(times)) if connections is None else connections
    table.request_index[:] = np.arange(len(times))
    return table


def sorted_times(table, **options):
    spill = SortedSpill(Requests, ["response_time_ns"], **options)
    spill.add(table)
    return [int(time) for part in spill.sorted() for time in part.response_time_ns]


@pytest.mark.parametrize("memory_rows", [1, 2, 3, 100])
def test_unknown_comes_last_in_either_direction(memory_rows):
    table = requests([5, -1, 3, 0, -1, 9])
    assert sorted_times(table, memory_rows=memory_rows) == [0, 3, 5, 9, -1, -1]
    assert sorted_times(table, memory_rows=memory_rows, descending=True) == [9, 5, 3, 0, -1, -1]


@pytest.mark.parametrize("memory_rows", [1, 2, 3, 100])
def test_ties_are_in_the_order_of_connection_and_request(memory_rows):
    spill = SortedSpill(Requests, ["response_time_ns"], memory_rows=memory_rows)
    spill.add(requests([7, 7, 7, 7], connections=[2, 1, 2, 1]))
    got = [(int(r["connection_id"]), int(r["request_index"])) for part in spill.sorted() for r in part]
    assert got == [(1, 1), (1, 3), (2, 0), (2, 2)]


@pytest.mark.parametrize("memory_rows", [1, 3, 100])
def test_equal_rows_keep_the_order_in_which_they_came(memory_rows):
    table = Intervals.allocate(50)
    table.start_ns[:] = np.arange(50) // 20
    table.late[:] = np.arange(50)
    spill = SortedSpill(Intervals, ["start_ns"], memory_rows=memory_rows)
    for begin in range(0, 50, 7):
        spill.add(table[begin : begin + 7])
    assert [int(late) for part in spill.sorted() for late in part.late] == list(range(50))


@given(rows=st.lists(st.tuples(*[st.integers(0, 3)] * 3), max_size=40))
def test_the_order_of_rows_is_that_of_all_their_keys_the_first_first(rows):
    keys = [np.array(key, np.int64) for key in zip(*rows, strict=True)] or [np.zeros(0, np.int64)] * 3
    assert sorting_order(keys).tolist() == sorted(range(len(rows)), key=lambda i: (rows[i], i))


def test_enumerations_are_sorted_by_name():
    table = Connections.allocate(3)
    table.state[:] = [0, 3, 7]
    spill = SortedSpill(Connections, ["state"])
    spill.add(table)
    assert [int(state) for part in spill.sorted() for state in part.state] == [3, 7, 0]


def test_addresses_are_sorted_by_number_and_ipv4_comes_first():
    table = Headers.allocate(4)
    table.source_address[:, 12:] = [[10, 0, 0, 9], [10, 0, 0, 10], [9, 255, 0, 0], [0, 0, 0, 1]]
    # What stands before the four bytes of IPv4 has no meaning.
    table.source_address[0, :12] = 0xFF
    table.ip_version[:] = [4, 4, 4, 6]
    spill = SortedSpill(Headers, ["source_address"])
    spill.add(table)
    assert [part.source_address[:, 12:].tolist() for part in spill.sorted()] == [
        [[9, 255, 0, 0], [10, 0, 0, 9], [10, 0, 0, 10], [0, 0, 0, 1]]
    ]


@pytest.mark.parametrize("memory_rows", [7, 64, 10_000])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", [c.name for c in Everything.columns if not c.internal])
def test_every_kind_of_column_can_be_sorted_by(name, descending, memory_rows):
    table = Everything.allocate(300)
    fill(table, 4)
    spill = SortedSpill(Everything, [name], descending=descending, memory_rows=memory_rows)
    spill.add(table)
    got = [record[name] for part in spill.sorted() for record in records(part)]
    known = [value for value in got if value is not None]
    assert got == known + [None] * (len(got) - len(known))
    if "address" not in name:
        assert known == sorted(known, reverse=descending, key=lambda value: _shown_order(name, value))
    assert sorted(map(repr, got)) == sorted(repr(record[name]) for record in records(table))


def _shown_order(name, value):
    if name == "name":
        return value.encode().replace("\ufffd".encode(), b"\xff")
    # Codes without a name come after the named ones.
    return (value == "?", value) if name.endswith("state") else value


def test_addresses_without_a_version_are_sorted():
    table = Lone.allocate(3)
    table.address[0] = 0xFF
    table.address[2, 10:12] = 0xFF
    spill = SortedSpill(Lone, ["address"])
    spill.add(table)
    assert [part.address[:, 0].tolist() for part in spill.sorted()] == [[0, 0, 255]]
    assert [part.address[:, 10].tolist() for part in spill.sorted()] == []


@pytest.mark.parametrize("memory_rows", [1, 10])
def test_nothing_sorted_is_nothing(memory_rows):
    assert list(SortedSpill(Requests, ["arrival_ns"], memory_rows=memory_rows).sorted()) == []


def test_a_spill_is_empty_after_reading_and_can_be_used_again():
    spill = SortedSpill(Requests, ["response_time_ns"], memory_rows=2)
    for _ in range(2):
        spill.add(requests([3, 1, 2]))
        assert sum(len(part) for part in spill.sorted()) == 3
    assert list(spill.sorted()) == []


def test_nothing_is_left_on_disk(tmp_path):
    spill = SortedSpill(Requests, ["response_time_ns"], memory_rows=2, directory=tmp_path)
    spill.add(requests([3, 1, 2, 4, 5]))
    assert list(tmp_path.iterdir()) == []
    assert [int(time) for part in spill.sorted() for time in part.response_time_ns] == [1, 2, 3, 4, 5]
    assert list(tmp_path.iterdir()) == []


def test_without_room_to_spill_there_is_one_clear_line(tmp_path):
    spill = SortedSpill(Requests, ["response_time_ns"], memory_rows=2, directory=tmp_path / "missing")
    with pytest.raises(TcpsightError, match=r"^cannot spill rows to .*/missing: No such file or directory$"):
        spill.add(requests([3, 1, 2]))


def test_a_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: open("/dev/full", "wb", 0))  # noqa: SIM115
    spill = SortedSpill(Requests, ["response_time_ns"], memory_rows=2, directory=tmp_path)
    with pytest.raises(TcpsightError, match=r"^cannot spill rows to .*: No space left on device$"):
        spill.add(requests([3, 1, 2]))


def test_an_unknown_column_is_refused():
    with pytest.raises(UsageError, match="no column 'size'"):
        SortedSpill(Requests, ["size"])


def test_rows_are_copied():
    table = requests([2, 1])
    spill = SortedSpill(Requests, ["response_time_ns"])
    spill.add(table)
    table.response_time_ns[:] = 0
    assert [int(time) for part in spill.sorted() for time in part.response_time_ns] == [1, 2]
