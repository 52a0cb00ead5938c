"""Every option shown to work by values."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from tests.cli.running import TABLES, assert_one_line
from tests.support.pcap import pcap_bytes
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered, capture


def times_ms(done):
    return sorted(int(value) // MS for value in done.column("response_time_ns"))


def test_server_keeps_one_service(here, pcap):
    assert times_ms(here("requests", pcap, "--format", "csv")) == [1, 2, 3, 4, 5, 50]
    assert times_ms(here("requests", pcap, "--format", "csv", "--server", ":80")) == [50]
    assert times_ms(here("requests", pcap, "--format", "csv", "--server", "10.0.0.9:3306")) == [1, 2, 3, 4, 5]
    both = here("requests", pcap, "--format", "csv", "--server", ":80", "--server", "3306")
    assert times_ms(both) == [1, 2, 3, 4, 5, 50]
    for command in ("connections", "segments"):
        everything = here(command, pcap, "--format", "csv").column("connection_id")
        some = here(command, pcap, "--format", "csv", "--server", ":80").column("connection_id")
        assert 0 < len(some) < len(everything)
        assert [connection for connection in everything if connection in some] == some
        assert len(set(some)) == 1


def test_server_decides_who_is_the_server(here, tmp_path):
    path = tmp_path / "middle.pcap"
    path.write_bytes(pcap_bytes(Talk(answered(7)).frames()[3:]))
    rows = here("connections", path, "--format", "csv", "--server", ":40000").rows()
    assert [(row["server_port"], row["role_source"]) for row in rows] == [("40000", "option")]


def test_since_and_until_choose_requests_by_arrival_and_connections_by_overlap(here, pcap):
    arrivals = sorted(int(value) for value in here("requests", pcap, "--format", "csv").column("arrival_ns"))
    since, until = arrivals[1], arrivals[4]
    texts = [datetime.fromtimestamp(ns // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S") for ns in (since, until)]
    iso = [f"{text}.{ns % 10**9:09d}Z" for text, ns in zip(texts, (since, until), strict=True)]
    epoch = [f"{ns // 10**9}.{ns % 10**9:09d}" for ns in (since, until)]
    for start, end in (iso, epoch):
        done = here("requests", pcap, "--format", "csv", "--since", start, "--until", end)
        assert sorted(int(value) for value in done.column("arrival_ns")) == arrivals[1:4]
    connections = here("connections", pcap, "--format", "csv", "--since", epoch[0], "--until", epoch[1]).rows()
    assert all(int(row["end_ns"]) >= since and int(row["start_ns"]) < until for row in connections)
    segments = here("segments", pcap, "--format", "csv", "--since", epoch[0], "--until", epoch[1])
    assert {since <= int(value) < until for value in segments.column("time_ns")} == {True}
    intervals = here("intervals", pcap, "--format", "csv", "--since", epoch[0], "--until", epoch[1]).rows()
    assert int(intervals[0]["start_ns"]) == since
    assert int(intervals[-1]["start_ns"]) + int(intervals[-1]["length_ns"]) == until


def test_instants_without_an_offset_are_in_the_chosen_zone(here, pcap):
    # The capture begins at 2023-11-14T22:13:20Z, which is 23:13:20 in Berlin.
    berlin = ["--timezone", "Europe/Berlin"]
    assert here("requests", pcap, "--format", "csv", "--since", "2023-11-14T23:13", *berlin).rows()
    assert not here("requests", pcap, "--format", "csv", "--since", "2023-11-14T23:14", *berlin).rows()
    assert not here("requests", pcap, "--format", "csv", "--since", "2023-11-14T23:13").rows()
    assert here("requests", pcap, "--format", "csv", "--since", "2023-11-14T23:13+01:00").rows()


def test_timezone_is_that_of_text(here, pcap):
    assert "2023-11-14T22:13:20.012000Z" in here("requests", pcap).text
    assert "2023-11-14T23:13:20.012000+01:00" in here("requests", pcap, "--timezone", "Europe/Berlin").text
    assert "2023-11-14T23:13:20.012+01:00" in here("report", pcap, "--timezone", "Europe/Berlin").text
    csv = here("requests", pcap, "--format", "csv")
    assert here("requests", pcap, "--format", "csv", "--timezone", "Europe/Berlin").out == csv.out


def test_filter_keeps_frames(here, pcap):
    done = here("segments", pcap, "--format", "csv", "--filter", "host 10.0.0.2")
    assert len(done.rows()) == len(Talk(answered(2, 4)).frames())
    assert times_ms(here("requests", pcap, "--format", "csv", "--filter", "host 10.0.0.2 and port 3306")) == [2, 4]
    assert "Only frames that match 'host 10.0.0.2'" in here("report", pcap, "--filter", "host 10.0.0.2").text


@pytest.mark.parametrize(
    ("pair", "expected"),
    [
        ("request_last,response_first", 30),
        ("ts,end", 30),
        ("ts0,end", 40),
        ("request_first,response_last", 45),
        ("ts,end1", 35),
    ],
)
def test_start_end_chooses_the_instants(here, tmp_path, pair, expected):
    frames = Talk([Exchange(10 * MS, 40 * MS)]).frames()
    # The request's second segment 10 ms after its first, the response's 5 ms after its.
    from tests.support.pcap import Frame, tcp_frame

    client, server = ("10.0.0.1", "10.0.0.9", 40_000, 3306), ("10.0.0.9", "10.0.0.1", 3306, 40_000)
    request, response = frames[3], frames[4]
    later = [
        Frame(request.time_ns + 10 * MS, tcp_frame(*client, 1021, 9001, "PA", bytes(5))),
        Frame(response.time_ns, tcp_frame(*server, 9001, 1026, "PA", bytes(100))),
        Frame(response.time_ns + 5 * MS, tcp_frame(*server, 9101, 1026, "PA", bytes(50))),
    ]
    path = tmp_path / "parts.pcap"
    path.write_bytes(pcap_bytes([*frames[:4], *later]))
    assert times_ms(here("requests", path, "--format", "csv", "--start-end", pair)) == [expected]


def test_interval_cuts_time_into_slices_of_that_length(here, pcap):
    rows = here("intervals", pcap, "--format", "csv", "--interval", "10ms").rows()
    assert {row["length_ns"] for row in rows[1:-1]} == {"10000000"}
    assert sum(int(row["arrivals"]) for row in rows) == sum(int(row["completions"]) for row in rows) == 6
    assert sum(int(row["unanswered"]) for row in rows) == 1
    whole = here("intervals", pcap, "--format", "csv", "--interval", "1h").rows()
    assert len(whole) == 1
    assert int(whole[0]["response_time_max_ns"]) == 50 * MS


def test_interval_auto_says_what_it_chose_and_max_stall_limits_it(here, pcap):
    auto = here("intervals", pcap, "--format", "csv")
    assert "interval 200 ms, because the 99th-percentile response time is 50 ms" in auto.err
    limited = here("intervals", pcap, "--format", "csv", "--max-stall", "20ms")
    assert "stalls longer than 20 ms must show" in limited.err
    assert {row["length_ns"] for row in limited.rows()[1:-1]} == {"20000000"}
    assert "interval" not in here("intervals", pcap, "--format", "csv", "--interval", "auto").out.decode()


def test_by_gives_a_series_for_each_key(here, pcap):
    options = ["--format", "csv", "--interval", "1h", "--by"]
    services = here("intervals", pcap, *options, "service").rows()
    found = {(row["server_address"], row["server_port"]): row["arrivals"] for row in services if row["arrivals"] != "0"}
    assert found == {("10.0.0.9", "3306"): "5", ("10.0.0.9", "80"): "1"}
    clients = here("intervals", pcap, *options, "client").rows()
    by_client = {row["client_address"]: row["arrivals"] for row in clients if row["arrivals"] != "0"}
    assert by_client == {"10.0.0.1": "4", "10.0.0.2": "2"}
    assert len(here("intervals", pcap, *options, "server").rows()) == 2


@pytest.mark.parametrize(
    ("command", "column"),
    [
        ("requests", "response_time_ns"),
        ("connections", "duration_ns"),
        ("segments", "payload_bytes"),
        ("intervals", "arrivals"),
    ],
)
def test_sort_orders_rows(here, pcap, command, column):
    options = ["--interval", "10ms"] if command == "intervals" else []
    usual = here(command, pcap, "--format", "csv", *options)
    rising = here(command, pcap, "--format", "csv", "--sort", column, *options)
    falling = here(command, pcap, "--format", "csv", "--sort", f"-{column}", *options)
    values = [int(value) for value in usual.column(column)]
    assert [int(value) for value in rising.column(column)] == sorted(values)
    assert [int(value) for value in falling.column(column)] == sorted(values, reverse=True)
    assert sorted(rising.text.splitlines()) == sorted(usual.text.splitlines())


def test_text_is_sorted_by_time(here, pcap):
    lines = here("connections", pcap).text.splitlines()
    starts = [word for line in lines[1:] for word in line.split() if word.startswith("2023-")][::2]
    assert starts == sorted(starts)
    final = here("connections", pcap, "--format", "csv").column("start_ns")
    assert sorted(final) != final or len(final) == len(starts)


@pytest.mark.parametrize("command", TABLES)
def test_columns_chooses_columns_and_their_order(here, pcap, command):
    header = here(command, pcap, "--format", "csv").text.splitlines()[0].split(",")
    chosen = [header[3], header[0]]
    done = here(command, pcap, "--format", "csv", "--columns", ", ".join(chosen))
    assert done.text.splitlines()[0] == ",".join(chosen)
    assert done.column(header[0]) == here(command, pcap, "--format", "csv").column(header[0])


@pytest.mark.parametrize("command", TABLES)
def test_columns_and_sort_take_the_names_of_the_headings(here, pcap, command):
    names = here(command, pcap, "--format", "csv").text.splitlines()[0].split(",")
    headings = here(command, pcap).text.splitlines()[0].split()
    assert len(headings) == len(names)
    assert headings != names
    done = here(command, pcap, "--format", "csv", "--columns", ",".join(headings))
    assert done.text.splitlines()[0].split(",") == names
    timed = next(heading for heading, name in zip(headings, names, strict=True) if heading != name)
    for order in (timed, f"-{timed}"):
        assert here(command, pcap, "--sort", order).status == 0


def test_a_name_without_its_unit_is_the_column_with_it(here, pcap):
    options = ["--format", "csv", "--columns"]
    assert here("segments", pcap, *options, "time,kind").text.startswith("time_ns,kind\n")
    assert here("requests", pcap, *options, "request,response,").text.startswith("request_bytes,response_bytes\n")
    twice = here("connections", pcap, *options, "connect,connect_ns")
    assert (twice.status, "'connect_ns' is named twice" in twice.err) == (2, True)


@pytest.mark.parametrize("option", ["--columns", "--sort"])
def test_a_column_that_is_not_there_is_answered_with_the_nearest(here, pcap, option):
    done = here("requests", pcap, option, "respons_time")
    assert done.status == 2
    assert_one_line(done.err, "no column 'respons_time'; the nearest is 'response_time_ns'")
    assert len(done.err) < 120


@pytest.mark.parametrize("command", TABLES)
def test_all_columns_are_those_of_the_machine_formats(here, pcap, command):
    header = here(command, pcap, "--format", "csv").text.splitlines()[0]
    assert here(command, pcap, "--format", "csv", "--columns", "all").text.splitlines()[0] == header


def test_a_narrow_terminal_shows_of_the_network_what_was_lost_and_how_long_round_trips_took():
    from tcpsight.cli.running import FIRST_COLUMNS

    first = FIRST_COLUMNS["Network"].split()
    assert first[:6] == ["connection_id", "direction", "server_address", "server_port", "retransmissions", "rtt_p50_ns"]
    headings = [name.removesuffix("_ns") for name in first[:6]]
    widths = [max(len(name), 15 if "address" in name else 0) for name in headings]
    assert sum(widths) + 2 * 5 <= 80


@pytest.mark.parametrize("columns", ["", " ", ","])
def test_no_column_at_all_is_refused(here, pcap, columns):
    done = here("requests", pcap, "--columns", columns)
    assert (done.status, done.text) == (2, "")
    assert_one_line(done.err, "no column chosen")


def test_timeouts_end_connections(here, tmp_path):
    silent = [*Talk(answered(1), is_closed=False).frames()]
    late = Talk(answered(1), client_port=50_000, start_ns=START_NS + 10 * 10**9).frames()
    path = tmp_path / "silent.pcap"
    path.write_bytes(pcap_bytes([*silent, *late]))
    usual = here("connections", path, "--format", "csv").column("connection_id")
    expired = here("connections", path, "--format", "csv", "--timeout-established", "5s").column("connection_id")
    assert usual == expired == ["1", "6"]
    # Final earlier: before the second connection's, not at the end of the capture.
    more = tmp_path / "more.pcap"
    more.write_bytes(pcap_bytes(capture([Talk(answered(1), is_closed=False), Talk(answered(1), client_port=41_000)])))
    assert here("connections", more, "--format", "csv", "--timeout-established", "1ms").status == 0


def test_quantiles_are_those_asked_for(here, pcap):
    import json

    facts = json.loads(here("report", pcap, "--format", "json", "--quantile", "0.5", "--quantile", ".999").out)
    times = facts["services"][0]["response_time"]
    assert [name for name in times if name.startswith("p")] == ["p50_ns", "p99.9_ns"]
    assert (times["p50_ns"], times["p99.9_ns"]) == (3 * MS, 5 * MS)
    assert (
        "p50 3.00 ms   p99.9 5.00 ms   max 5.00 ms"
        in here("report", pcap, "--quantile", "0.5", "--quantile", ".999").text
    )


def test_top_limits_services_and_the_rest_is_added_up(here, pcap):
    lines = here("report", pcap, "--top", "1").text.splitlines()
    page = " ".join(lines)
    assert "Service 10.0.0.9:3306" in page
    assert "Service 10.0.0.9:80" not in page
    assert "1 smaller service is not shown (--top N): 1 request, 0 never answered, 1 connection" in page
    assert "4 connections" in page.partition("Service")[0]


def test_workers_and_engine_change_nothing(here, pcap):
    expected = here("requests", pcap, "--format", "csv").out
    assert here("requests", pcap, "--format", "csv", "--workers", "4", "--engine", "local").out == expected


@pytest.mark.parametrize("command", ["report", *TABLES])
@pytest.mark.parametrize("instant", ["0001-01-01", "9999-12-31T23:59:59-14:00", "9999999999999999999"])
def test_instants_beyond_every_capture_select_all_or_nothing(here, pcap, command, instant):
    # The zone moves the instant out of the calendar.
    everything = here(command, pcap)
    for option in ("--since", "--until"):
        done = here(command, pcap, option, instant, "--timezone", "Asia/Tokyo")
        assert done.status == 0
        is_all = (option == "--since") == instant.startswith("0001")
        assert ("nothing in the capture matches" in done.err) != is_all
        if is_all and command == "connections":
            assert len(done.out.splitlines()) == len(everything.out.splitlines())


def test_on_a_terminal_the_columns_that_matter_come_first(pcap):
    from tcpsight import tables
    from tcpsight.cli.running import FIRST_COLUMNS

    for name, first in FIRST_COLUMNS.items():
        known = {c.name for c in getattr(tables, name).columns}
        assert set(first.split()) <= known, name


@pytest.mark.parametrize("command", TABLES)
def test_a_selection_of_nothing_names_only_what_was_given_and_what_there_is(here, pcap, command):
    note = "tcpsight: note: nothing in the capture matches"
    services = "its services are 10.0.0.9:3306, 10.0.0.9:80\n"
    time = r"it runs from 2023-11-14T22:13:20.\d{6}Z to 2023-11-14T22:13:20.\d{6}Z\n"
    server = here(command, pcap, "--server", ":81", "--format", "csv").err
    assert f"{note} --server; {services}" in server
    late = here(command, pcap, "--since", "2027-01-01", "--format", "csv").err
    assert re.search(f"{note} --since; {time}", late)
    both = here(command, pcap, "--server", ":80", "--until", "2001-01-01", "--format", "csv").err
    assert re.search(f"{note} --server and --until; {services[:-1]}; {time}", both)


def test_an_instant_that_looks_like_a_date_is_refused_with_what_was_meant(here, pcap):
    done = here("requests", pcap, "--since", "2027")
    assert done.status == 2
    assert_one_line(done.err, "2027 would be 1970-01-01T00:33:47Z; write 2027-01-01")
    assert_one_line(here("requests", pcap, "--until", "20270315").err, "write 2027-03-15")
    assert here("requests", pcap, "--since", "2027.0").status == 0
    assert_one_line(here("requests", pcap, "--since", "17000000000000").err, "is no instant")
    assert_one_line(here("requests", pcap, "--since", "").err, "is no instant")


@pytest.mark.parametrize(("unit", "digits"), [(1, 19), (10**3, 16), (10**6, 13)])
def test_instants_copied_from_an_output_are_of_the_unit_that_their_digits_tell(here, pcap, unit, digits):
    arrivals = here("requests", pcap, "--format", "csv", "--sort", "arrival").column("arrival_ns")
    since = int(arrivals[2]) // unit
    assert len(str(since)) == digits
    kept = here("requests", pcap, "--format", "csv", "--since", str(since), "--sort", "arrival").column("arrival_ns")
    assert kept == [arrival for arrival in arrivals if int(arrival) >= since * unit]
    assert 0 < len(kept) < len(arrivals)
