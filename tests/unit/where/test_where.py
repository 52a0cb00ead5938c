"""Conditions: what holds for which row, what nobody can tell, and what is refused where."""

from __future__ import annotations

import ipaddress
import math
import re

import numpy as np
import pytest

from tcpsight.endpoints import packed_address
from tcpsight.errors import UsageError
from tcpsight.tables import STATES, TIME_PARTS, Connections, Intervals, KeyedIntervals, SegmentDetails
from tcpsight.where import Where


def connections(**columns: list[object]) -> Connections:
    """Make connections of which only some columns matter."""
    table = Connections.allocate(len(next(iter(columns.values()))))
    table.ip_version[:] = 4
    for name, values in columns.items():
        if name.endswith("_address"):
            found = [ipaddress.ip_address(str(value)) for value in values]
            table.ip_version[:] = [address.version for address in found]
            values = [np.frombuffer(packed_address(address), np.uint8) for address in found]
        table.rows[name] = values
    return table


def chosen(text: str, table: Connections) -> list[int]:
    """Give the rows for which a condition holds."""
    return np.flatnonzero(Where(text, type(table)).mask(table)).tolist()


@pytest.mark.parametrize(
    ("sign", "rows"),
    [("<", [0]), ("<=", [0, 1]), (">", [2]), (">=", [1, 2]), ("=", [1]), ("==", [1]), ("!=", [0, 2]), ("<>", [0, 2])],
)
def test_a_number_is_compared_with_a_column(sign, rows):
    assert chosen(f"server_bytes {sign} 8000", connections(server_bytes=[7999, 8000, 8001])) == rows


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("400ms", 400_000_000),
        ("400 ms", 400_000_000),
        ("0.1s", 100_000_000),
        (".5s", 500_000_000),
        ("1.5us", 1500),
        ("2\u00b5s", 2000),
        ("2\u03bcs", 2000),
        ("7ns", 7),
        ("3m", 180 * 10**9),
        ("1min30s", 90 * 10**9),
        ("2h10min", 7800 * 10**9),
        ("1d", 86400 * 10**9),
    ],
)
def test_a_duration_is_a_number_of_nanoseconds(literal, value):
    assert chosen(f"duration = {literal}", connections(duration_ns=[value - 1, value, value + 1])) == [1]
    assert chosen(f"duration_ns = {literal}", connections(duration_ns=[value - 1, value, value + 1])) == [1]


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("8000", 8000),
        ("8_000", 8000),
        ("8e3", 8000),
        ("0x1f40", 8000),
        ("8kB", 8000),
        ("8KiB", 8192),
        ("1.5kB", 1500),
        ("2MB", 2_000_000),
        ("1GiB", 2**30),
        ("9B", 9),
    ],
)
def test_a_size_counts_thousands_or_powers_of_1024(literal, value):
    assert chosen(f"server_bytes = {literal}", connections(server_bytes=[value - 1, value, value + 1])) == [1]


def test_a_column_without_its_unit_needs_a_value_with_one():
    with pytest.raises(UsageError, match=re.escape("--where, character 12: '400' of what? write 400ms")):
        Where("duration < 400", Connections)
    assert chosen("duration_ns < 400", connections(duration_ns=[399, 400])) == [0]


def test_a_bound_between_two_integers_loses_nothing_to_floating_point():
    large = 2**60
    table = connections(server_bytes=[large, large + 1, large + 2])
    assert chosen(f"server_bytes > {large}.5", table) == [1, 2]
    assert chosen(f"server_bytes < {large}.5", table) == [0]
    assert chosen(f"server_bytes >= {large + 1}.000", table) == [1, 2]
    assert chosen(f"server_bytes = {large}.5", table) == []
    assert chosen(f"server_bytes != {large}.5", table) == [0, 1, 2]


@pytest.mark.parametrize("bound", ["1e30", "9223372036854775808", "-1e30", "1e999", "-9223372036854775809"])
def test_a_bound_beyond_all_integers_is_beyond_all_rows(bound):
    table = connections(connection_id=[-(2**63), 0, 2**63 - 1])
    is_above = not bound.startswith("-")
    everything = [0, 1, 2]
    assert chosen(f"connection_id < {bound}", table) == (everything if is_above else [])
    assert chosen(f"connection_id <= {bound}", table) == (everything if is_above else [])
    assert chosen(f"connection_id > {bound}", table) == ([] if is_above else everything)
    assert chosen(f"connection_id >= {bound}", table) == ([] if is_above else everything)
    assert chosen(f"connection_id = {bound}", table) == []
    assert chosen(f"connection_id != {bound}", table) == everything


def test_what_is_unknown_is_chosen_neither_by_a_comparison_nor_by_its_opposite():
    table = connections(connect_ns=[1, -1, 10])
    assert chosen("connect < 5ns", table) == [0]
    assert chosen("not connect < 5ns", table) == [2]
    assert chosen("connect != 1ns", table) == [2]
    assert chosen("connect is null", table) == [1]
    assert chosen("connect is not null", table) == [0, 2]
    assert chosen("connect not in (1ns, 2ns)", table) == [2]


def test_unknown_or_true_is_true_and_unknown_and_false_is_false():
    table = connections(connect_ns=[-1, -1], server_port=[80, 443])
    assert chosen("connect < 5ns or server_port = 80", table) == [0]
    assert chosen("not (connect < 5ns and server_port = 80)", table) == [1]
    assert chosen("connect < 5ns and server_port = 80", table) == []


def test_nan_is_unknown():
    table = Intervals.allocate(3)
    table.concurrency[:] = [0.5, math.nan, 2.0]
    assert Where("concurrency > 1", Intervals).mask(table).tolist() == [False, False, True]
    assert Where("not concurrency > 1", Intervals).mask(table).tolist() == [True, False, False]
    assert Where("concurrency is null", Intervals).mask(table).tolist() == [False, True, False]


def test_and_binds_more_than_or_and_not_more_than_and():
    table = connections(server_port=[1, 2, 3, 4])
    assert chosen("server_port = 1 or server_port = 2 and server_port = 3", table) == [0]
    assert chosen("(server_port = 1 or server_port = 2) and server_port < 2", table) == [0]
    assert chosen("not server_port = 1 and server_port < 3", table) == [1]
    assert chosen("NOT (server_port = 1 OR server_port IN (2, 3))", table) == [3]


def test_addresses_are_compared_with_addresses_and_networks():
    table = connections(client_address=["10.0.0.1", "10.1.0.1", "192.168.0.1", "2001:db8::1", "::ffff:10.0.0.1"])
    table.ip_version[4] = 6
    assert chosen("client_address = 10.0.0.1", table) == [0]
    assert chosen("client_address in 10.0.0.0/15", table) == [0, 1]
    assert chosen("client_address in 10.0.0.77/8", table) == [0, 1]
    assert chosen("client_address in (10.0.0.1, 2001:db8::/32)", table) == [0, 3]
    assert chosen("client_address in '0.0.0.0/0'", table) == [0, 1, 2]
    assert chosen("client_address in ::/0", table) == [3, 4]
    assert chosen("client_address != 10.0.0.0/8", table) == [2, 3, 4]
    assert chosen("client_address not in 10.0.0.0/8", table) == [2, 3, 4]


def test_an_address_that_is_no_part_of_the_key_is_unknown():
    table = KeyedIntervals.allocate(2)
    table.server_address[0] = np.frombuffer(packed_address(ipaddress.ip_address("10.0.0.1")), np.uint8)
    assert Where("server_address in 0.0.0.0/0", KeyedIntervals).mask(table).tolist() == [True, False]
    assert Where("server_address not in 0.0.0.0/0", KeyedIntervals).mask(table).tolist() == [False, False]
    assert Where("server_address in ::/0", KeyedIntervals).mask(table).tolist() == [False, False]
    assert Where("server_address is null", KeyedIntervals).mask(table).tolist() == [False, True]


def test_words_of_an_enumeration_are_written_with_or_without_quotes():
    table = connections(state=[STATES.index("closed"), STATES.index("open"), STATES.index("refused")])
    assert chosen("state = closed", table) == [0]
    assert chosen("state != 'closed'", table) == [1, 2]
    assert chosen('state in ("open", refused)', table) == [1, 2]


@pytest.mark.parametrize(
    "text",
    ["limited_by = server", "limited_by in (server)", "limited_by != think",
     "limited_by = server and server >= 5ms"],
)  # fmt: skip
def test_a_word_that_is_also_a_column_without_its_unit_is_the_word_beside_a_column_that_knows_it(text):
    parts: list[object] = [TIME_PARTS.index("server"), TIME_PARTS.index("think")]
    assert chosen(text, connections(limited_by=parts, server_ns=[5_000_000, 0])) == [0]


def test_a_word_that_has_a_second_meaning_is_the_column_elsewhere():
    assert chosen("server > think", connections(server_ns=[5, 1], think_ns=[1, 5])) == [0]


def test_truth_values_stand_alone_or_are_compared():
    table = connections(is_farewell=[1, 0])
    for text in ("is_farewell", "is_farewell = true", "is_farewell != false", "not not is_farewell"):
        assert chosen(text, table) == [0]
    assert chosen("not is_farewell", table) == [1]


def test_texts_are_compared_as_they_are():
    table = connections(community_id=[b"1:abc=", b"1:xyz="])
    assert chosen("community_id = '1:abc='", table) == [0]
    assert chosen("community_id not in ('1:abc=')", table) == [1]


def test_columns_of_the_same_unit_are_compared_with_each_other():
    table = connections(client_bytes=[1, 5, -1], server_bytes=[2, 4, 7], client_address=["10.0.0.1"] * 3)
    table.server_address[:] = table.client_address
    table.server_address[0, 15] = 9
    assert chosen("client_bytes > server_bytes", table) == [1]
    assert chosen("client_address = server_address", table) == [1, 2]
    assert chosen("server_bytes < client_bytes", table) == [1]


def test_a_value_may_stand_before_its_column():
    assert chosen("8000 < server_bytes", connections(server_bytes=[8000, 8001])) == [1]


def test_instants_are_written_as_iso_8601_or_nanoseconds():
    table = connections(start_ns=[1_700_000_000 * 10**9, 1_700_000_000 * 10**9 + 500_000_001])
    assert chosen("start > '2023-11-14T22:13:20.5Z'", table) == [1]
    assert chosen("start >= '2023-11-14T23:13:20+01:00'", table) == [0, 1]
    assert chosen("start_ns = 1700000000500000001", table) == [1]
    assert chosen("start < '2023-11-14 22:13:20.000000001'", table) == [0]


def test_the_table_itself_is_given_where_all_rows_are_chosen():
    table = connections(server_port=[1, 2])
    assert Where("server_port < 9", Connections).apply(table) is table
    assert len(Where("server_port < 2", Connections).apply(table)) == 1


REFUSED = [
    ("", 1, "a column or a value was expected, not the end"),
    ("server_byte > 3", 1, "no column 'server_byte'; the nearest is 'server_bytes'"),
    ("server_bytes > ", 16, "a column or a value was expected, not the end"),
    ("server_bytes", 13, "a comparison was expected after 'server_bytes', not the end"),
    ("server_bytes > > 3", 16, "a column or a value was expected, not '>'"),
    ("server_bytes > 3 xor state = open", 18, "'and', 'or' or the end was expected, not 'xor'"),
    ("server_bytes > clientbytes", 16, "no column 'clientbytes'; the nearest is 'client_bytes'"),
    ("server_bytes > 3s", 16, "'server_bytes' is a number, not '3s'; write 8000, 8kB or 64KiB"),
    ("duration > 3kB", 12, "'duration_ns' is a number, not '3kB'; write 400ms"),
    ("server_port = 80x", 15, "is a number, not '80x'"),
    ("server_port = '80", 15, "the quote is not closed"),
    ("server_port ! 80", 13, "'!' means nothing here"),
    ("server_port in (80, 443", 24, "')' was expected for the '(' at character 16"),
    ("server_port in ()", 17, "a column or a value was expected, not ')'"),
    ("server_port not 80", 17, "'in' was expected after 'not', not '80'"),
    ("(server_port = 80", 18, "')' was expected for the '(' at character 1"),
    ("server_port = 80)", 17, "'and', 'or' or the end was expected, not ')'"),
    ("server_port is 80", 16, "'null' was expected, not '80'"),
    ("bytes > 3", 1, "no column 'bytes'; the nearest are 'client_bytes', 'server_bytes', "),
    ("state = clsed", 9, "'state' is never 'clsed'; the nearest is 'closed'"),
    ("state < closed", 1, "'state' has no order; use =, != or in"),
    ("client_address < 10.0.0.1", 1, "'client_address' has no order"),
    ("client_address = 10.0.0.300", 18, "'10.0.0.300' is no address"),
    ("client_address = fe80::1%eth0", 18, "is no address"),
    ("client_address = example.com", 18, "names are not looked up"),
    ("client_bytes > duration", 16, "'client_bytes' and 'duration' are not the same kind of thing"),
    ("server_port in (80, server_port)", 21, "a value was expected, not the column 'server_port'"),
    ("3 < 4", 1, "a column was expected, not '3'"),
    ("is_farewell = maybe", 15, "'is_farewell' is true or false, not 'maybe'"),
    ("start > 'yesterday'", 9, "'yesterday' is no instant; write '2024-05-01T12:00:00Z'"),
    ("server_bytes > " + "9" * 41, 16, "has too many digits"),
    ("and", 1, "a column or a value was expected, not 'and'"),
    ("not " * 101 + "is_farewell", 401, "more than 100 parentheses or negations inside each other"),
    ("(" * 101, 101, "more than 100 parentheses"),
    ("__import__('os')", 1, "no column '__import__'"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "character", "message"), REFUSED)
def test_what_makes_no_sense_is_refused_with_its_place(text, character, message):
    with pytest.raises(UsageError) as caught:
        Where(text, Connections)
    assert str(caught.value).startswith(f"--where, character {character}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_condition_longer_than_anyone_writes_is_refused():
    with pytest.raises(UsageError, match="10,001 characters; 10,000 is the most"):
        Where("(" * 10_001, Connections)


def test_columns_that_only_rooms_use_are_not_known():
    with pytest.raises(UsageError, match="no column 'slot'"):
        Where("slot = 3", SegmentDetails)


def test_bytes_of_a_command_line_that_are_no_text_are_refused_with_their_place():
    with pytest.raises(UsageError, match="--where, character 17: the condition is not UTF-8"):
        Where("community_id = '\udcad'", Connections)
