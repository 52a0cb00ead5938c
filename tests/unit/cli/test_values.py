"""What people write on a command line, and what it means."""

from __future__ import annotations

import click
import pytest

from tcpsight.cli import values


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("200ms", 200_000_000),
        ("1.5s", 1_500_000_000),
        ("2", 2_000_000_000),
        (".5", 500_000_000),
        ("5.", 5_000_000_000),
        ("10us", 10_000),
        ("10µs", 10_000),
        ("10 μs".replace("μ", "µ"), 10_000),
        ("17ns", 17),
        ("1.5ns", 1),
        ("10min", 600_000_000_000),
        ("2h10min", 7_800_000_000_000),
        ("2h 10m", 7_800_000_000_000),
        ("1d", 86_400_000_000_000),
        ("0", 0),
        (" 1S ", 1_000_000_000),
        ("0.000000001s", 1),
    ],
)
def test_a_duration_is_read_with_one_unit_or_several(text, nanoseconds):
    assert values.duration_ns(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "s", "ms5", "5 parsecs", "-5s", "1e3", "1..5s", "5s!", "nan", "inf", "1,5s", "10000d" * 9]
)
def test_what_is_no_duration_is_refused_by_name(text):
    with pytest.raises(click.BadParameter) as error:
        values.duration_ns(text)
    assert repr(text) in str(error.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("500kB", 500_000),
        ("64MiB", 64 * 2**20),
        (" 2 gb ", 2 * 10**9),
        ("1.5G", 1_500_000_000),
        ("1TiB", 2**40),
        (".5KiB", 512),
        ("12b", 12),
    ],
)
def test_a_size_may_have_a_decimal_or_a_binary_unit(text, size):
    assert values.size_bytes(text) == size


@pytest.mark.parametrize(
    "text", ["", "0", "MB", "-1MB", "1 2MB", "1MBit", "1e6", "0.0001", "9" * 30, "1000000TiB" + "0"]
)
def test_what_is_no_size_is_refused_by_name(text):
    with pytest.raises(click.BadParameter) as error:
        values.size_bytes(text)
    assert repr(text) in str(error.value)


def test_an_interval_is_auto_or_longer_than_nothing():
    assert values.interval_ns("auto") is None
    assert values.interval_ns("AUTO") is None
    assert values.interval_ns("1s") == 10**9
    for text in ("0", "0.1ns"):
        with pytest.raises(click.BadParameter):
            values.interval_ns(text)


@pytest.mark.parametrize(
    ("text", "zone", "nanoseconds"),
    [
        ("0", "UTC", 0),
        ("1700000000", "UTC", 1_700_000_000 * 10**9),
        ("1700000000.25", "Europe/Berlin", 1_700_000_000_250_000_000),
        ("1700000000.000000001", "UTC", 1_700_000_000_000_000_001),
        ("2023-11-14T22:13:20", "UTC", 1_700_000_000 * 10**9),
        ("2023-11-14 22:13:20", "UTC", 1_700_000_000 * 10**9),
        ("2023-11-14T22:13:20Z", "Europe/Berlin", 1_700_000_000 * 10**9),
        ("2023-11-14T23:13:20", "Europe/Berlin", 1_700_000_000 * 10**9),
        ("2023-11-14T23:13:20+01:00", "UTC", 1_700_000_000 * 10**9),
        ("2023-11-14T22:13:20.123456789Z", "UTC", 1_700_000_000_123_456_789),
        ("2023-11-14T22:13:20,5", "UTC", 1_700_000_000_500_000_000),
        ("2023-11-14", "UTC", 1_699_920_000 * 10**9),
    ],
)
def test_an_instant_is_seconds_since_the_epoch_or_a_date_and_time_in_its_zone(text, zone, nanoseconds):
    assert values.instant_ns(text, zone) == nanoseconds


@pytest.mark.parametrize("text", ["", "now", "yesterday", "2023-02-30", "12:00", "-5", "1e9", "2023-11-14T25:00"])
def test_what_is_no_instant_is_refused_by_name(text):
    with pytest.raises(click.BadParameter) as error:
        values.instant_ns(text, "UTC")
    assert repr(text) in str(error.value)


@pytest.mark.parametrize("text", ["9999999999999999999", "0001-01-01", "9999-12-31"])
def test_instants_beyond_every_capture_are_limits(text):
    for zone in ("UTC", "Europe/Berlin", "America/New_York"):
        assert abs(values.instant_ns(text, zone)) == 2**62


def test_start_and_end_have_short_names():
    assert values.start_end("ts0,end1") == ("request_first", "response_last")
    assert values.start_end(" ts , end ") == ("request_last", "response_first")
    assert values.start_end("request_first,response_first") == ("request_first", "response_first")
    for text in ("", "ts", "end,ts", "ts,end,end1", "ts0;end"):
        with pytest.raises(click.BadParameter):
            values.start_end(text)


def test_zones_are_names_of_the_time_zone_database():
    assert values.zone("Europe/Berlin").key == "Europe/Berlin"
    for name in ("", "Mars/Olympus", "/etc/passwd", "../UTC", "Europe"):
        with pytest.raises(click.BadParameter):
            values.zone(name)
