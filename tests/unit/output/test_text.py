from __future__ import annotations

import io

import numpy as np
import pytest

from tcpsight.output.text import TextLayout
from tcpsight.output.units import NARROW_SPACE
from tcpsight.output.writers import open_writer
from tcpsight.tables import INT64_MIN, Connections, Intervals, Requests, Segments, Table, Unseen, column
from tests.reference.output import Everything, fill

COLUMNS = ["connection_id", "client_address", "arrival_ns", "response_bytes", "response_time_ns", "is_overlapped"]


def text(table, columns=None, **options):
    out = io.BytesIO()
    with open_writer(out, type(table), "table", columns=columns, **options) as writer:
        writer.write(table)
    return out.getvalue().decode()


def requests():
    table = Requests.allocate(3)
    table.connection_id[:] = [7, 12345, 8]
    table.client_address[:, 12:] = [[10, 0, 0, 1], [192, 168, 100, 200], [10, 0, 0, 2]]
    table.ip_version[:] = 4
    table.arrival_ns[:] = 1_704_067_200_000_001_000
    table.response_bytes[:] = [12, 2048, 5 << 20]
    table.response_time_ns[:] = [1_230_000, 450_000, -1]
    table.is_overlapped[:] = [0, 1, 0]
    return table


def test_columns_are_aligned_and_in_human_units():
    assert (
        text(requests(), COLUMNS)
        == """\
connection_id  client_address   arrival                      response_bytes  response_time  is_overlapped
            7  10.0.0.1         2024-01-01T00:00:00.000001Z            12 B        1.23 ms             no
        12345  192.168.100.200  2024-01-01T00:00:00.000001Z        2.00 KiB         450 µs            yes
            8  10.0.0.2         2024-01-01T00:00:00.000001Z        5.00 MiB              –             no
"""
    )


def test_times_are_shown_in_the_zone_asked_for():
    assert "2024-01-01T01:00:00.000001+01:00\n" in text(requests(), ["arrival_ns"], timezone="Europe/Vienna")


def test_rates_fractions_and_plain_numbers_have_their_units():
    table = Intervals.allocate(1)
    table.throughput_per_s[:] = 12_345
    table.utilization_fraction[:] = 0.5
    table.concurrency[:] = 1.2345
    columns = ["throughput_per_s", "utilization_fraction", "concurrency", "arrivals"]
    assert (
        text(table, columns)
        == """\
throughput  utilization_fraction  concurrency  arrivals
  12.3 k/s                  50 %         1.23         0
"""
    )


def test_widths_come_from_the_first_rows_and_later_ones_push_their_line_out():
    table = Unseen.allocate(1001)
    table.count[-1] = 10**12
    lines = text(table).splitlines()
    assert {len(line) for line in lines[:-1]} == {len(lines[0])}
    assert len(lines[-1]) > len(lines[0])


def test_columns_without_room_are_named():
    lines = text(requests(), COLUMNS, layout=TextLayout(width=60)).splitlines()
    assert lines[0] == "connection_id  client_address   arrival"
    assert max(map(len, lines[:-1])) <= 60
    assert lines[-1] == "no room for response_bytes, response_time, is_overlapped (--columns chooses)"


@pytest.mark.parametrize("width", [45, 60, 75, 90])
def test_which_connection_and_request_a_row_is_about_is_always_shown(width: int):
    columns = ["arrival_ns", "response_time_ns", "client_address", "client_port", "connection_id", "request_index"]
    lines = text(requests(), columns, layout=TextLayout(width=width)).splitlines()
    assert {"response_time", "connection_id", "request_index"} <= set(lines[0].split())
    assert max(map(len, lines[:-1])) <= width
    assert "connection_id" not in lines[-1]


def test_the_first_column_is_shown_however_narrow():
    assert text(requests(), COLUMNS, layout=TextLayout(width=1)).startswith("connection_id\n")


def test_rows_beyond_the_limit_are_counted():
    assert text(requests(), ["connection_id"], layout=TextLayout(limit=2)).splitlines()[2:] == [
        "        12345",
        "… 1 more row",
    ]
    many = Unseen.allocate(3002)
    assert text(many, layout=TextLayout(limit=1500)).splitlines()[-1] == "… 1\u202f502 more rows"
    assert len(text(many, layout=TextLayout(limit=1500)).splitlines()) == 1502
    assert "more" not in text(requests(), layout=TextLayout(limit=3))


def test_captured_text_cannot_command_a_terminal():
    class Named(Table):
        name = column("S100", "", "text from a capture")

    table = Named.allocate(3)
    table.name[:] = [b"\x1b]0;owned\x07", b"\xff", b"x" * 100]
    lines = text(table).splitlines()
    assert lines[1:3] == [r"\x1b]0;owned\x07", "\ufffd"]
    assert lines[3] == "x" * 79 + "…"


def test_no_value_of_any_kind_breaks_a_table():
    table = Everything.allocate(500)
    fill(table, 9)
    lines = text(table).splitlines()
    assert len(lines) == 501
    assert all(line.replace(NARROW_SPACE, " ").isprintable() for line in lines)


def test_enumerations_are_shown_by_name():
    table = Connections.allocate(2)
    table.state[:] = [3, 99]
    assert text(table, ["state"]).split() == ["state", "closed", "?"]


def test_unknown_addresses_and_enumerations_are_a_dash():
    table = Everything.allocate(2)
    table.known_state[:] = [1, 255]
    table.server_address[1, 15] = 1
    assert text(table, ["known_state", "server_address"]).splitlines()[1:] == [
        "closed       –",
        "–            ::1",
    ]


def test_flags_are_letters_in_text_and_numbers_elsewhere():
    class Flagged(Table):
        flags = column("uint16", "flags", "TCP flags")

    table = Flagged.allocate(9)
    table.flags[:] = [0x02, 0x12, 0x18, 0x11, 0x04, 0x1FF, 0, 0x10, 0x100]
    letters = ["S", "SA", "PA", "FA", "R", "FSRPAUEWe", "none", "A", "e"]
    assert text(table, ["flags"]).split() == ["flags", *letters]
    out = io.BytesIO()
    with open_writer(out, Flagged, "csv") as writer:
        writer.write(table)
    assert out.getvalue().split()[1:4] == [b"2", b"18", b"24"]


def test_offsets_are_places_and_not_amounts():
    table = Segments.allocate(3)
    table.offset[:] = [-1, 0, 123_456]
    table.acked_offset[:] = [INT64_MIN, 0, -1]
    assert text(table, ["offset", "acked_offset"]).split() == [
        "offset", "acked_offset", "-1", "–", "0", "0", "123456", "-1",
    ]  # fmt: skip


def test_several_numbers_in_a_column_are_separated_by_blanks():
    table = Everything.allocate(1)
    table.edges[:] = np.array([[1, 2, 3]])
    assert text(table, ["edges"]).splitlines()[1] == "1 2 3"


def test_of_many_columns_without_room_some_are_named_and_the_others_counted(tmp_path):
    path = tmp_path / "connections.txt"
    with open_writer(path, Connections, "table", layout=TextLayout(width=60)) as writer:
        writer.write(Connections.allocate(1))
    last = path.read_text(encoding="utf-8").splitlines()[-1]
    assert last.count(",") == 11
    assert " more (--columns chooses)" in last
