from __future__ import annotations

from datetime import UTC, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from tcpsight.output import units

N = units.NARROW_SPACE


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, "0 ns"),
        (17, "17 ns"),
        (999, "999 ns"),
        (0.25, "0.250 ns"),
        (1000, "1.00 µs"),
        (1_230_000, "1.23 ms"),
        (450_000, "450 µs"),
        (999_400, "999 µs"),
        (999_600, "1.00 ms"),
        (10**9, "1.00 s"),
        (59_940_000_000, "59.9 s"),
        (59_970_000_000, "1 min 0 s"),
        (90 * 10**9, "1 min 30 s"),
        (3_599_600_000_000, "1 h 0 min"),
        (7_800 * 10**9, "2 h 10 min"),
        (84_960 * 10**9, "23 h 36 min"),
        (86_399_800_000_000, "1 d 0 h"),
        (273_600 * 10**9, "3 d 4 h"),
        (2**63 - 1, "106752 d 0 h"),
        (-1_500_000, "−1.50 ms"),
        (float("inf"), "∞"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_durations_have_three_digits_or_two_units(nanoseconds, text):
    assert units.duration(nanoseconds) == text


@pytest.mark.parametrize(
    ("byte_count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (1536, "1.50 KiB"),
        (20 << 20, "20.0 MiB"),
        (1_022 << 10, "1022 KiB"),
        (1024 * 1024 - 1, "1.00 MiB"),
        (2**63 - 1, "8.00 EiB"),
        (10.5, "10.5 B"),
        (-2048, "−2.00 KiB"),
        (None, "–"),
    ],
)
def test_sizes_are_binary(byte_count, text):
    assert units.size(byte_count) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0/s"), (0.25, "0.250/s"), (12.345, "12.3/s"), (123, "123/s"), (12_345, "12.3 k/s"), (None, "–")],
)
def test_rates_are_per_second(value, text):
    assert units.rate(value) == text


def test_bit_rates_are_decimal():
    assert units.bit_rate(960) == "960 bit/s"
    assert units.bit_rate(12_300_000) == "12.3 Mbit/s"
    assert units.bit_rate(float("inf")) == "∞ bit/s"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1234567, f"1{N}234{N}567"),
        (-1234, f"−1{N}234"),
        (2**63 - 1, f"9{N}223{N}372{N}036{N}854{N}775{N}807"),
        (float("inf"), "∞"),
        (None, "–"),
    ],
)
def test_counts_are_grouped_by_narrow_spaces_and_exact(number, text):
    assert units.count(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.1234, "12.3 %"), (1, "100 %"), (0, "0 %"), (0.00001, "0.00100 %"), (None, "–")],
)
def test_fractions_are_percent(value, text):
    assert units.fraction(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.0, "3"),
        (12.345, "12.3"),
        (-12.5, "−12.5"),
        (0.000123, "0.000123"),
        (1234.5, f"1{N}234"),
        (-1e300, "−1.00e+300"),
    ],
)
def test_plain_numbers_have_three_digits(value, text):
    assert units.number(value) == text


@pytest.mark.parametrize(
    ("epoch_ns", "zone", "text"),
    [
        (1_704_067_200_000_001_000, None, "2024-01-01T00:00:00.000001Z"),
        (1_704_067_200_000_001_000, UTC, "2024-01-01T00:00:00.000001Z"),
        (1_704_067_200_000_001_000, ZoneInfo("UTC"), "2024-01-01T00:00:00.000001Z"),
        (1_704_067_200_000_001_000, ZoneInfo("Europe/Vienna"), "2024-01-01T01:00:00.000001+01:00"),
        (1_720_000_000_999_999_999, ZoneInfo("America/New_York"), "2024-07-03T05:46:40.999999-04:00"),
        (0, timezone(timedelta(hours=5, minutes=45)), "1970-01-01T05:45:00.000000+05:45"),
        (-1, None, "1969-12-31T23:59:59.999999Z"),
        (-(2**63), None, "1677-09-21T00:12:43.145224Z"),
        (2**63 - 1, None, "2262-04-11T23:47:16.854775Z"),
        (None, None, "–"),
    ],
)
def test_instants_name_their_zone(epoch_ns, zone, text):
    assert units.instant(epoch_ns, zone) == text


def test_instants_have_as_many_digits_as_asked():
    assert units.instant(5, digits=9) == "1970-01-01T00:00:00.000000005Z"
    assert units.instant(5, digits=0) == "1970-01-01T00:00:00Z"


def test_no_terminal_obeys_captured_text():
    assert units.printable("grüße") == "grüße"
    assert units.printable("a\x1b[31m\u202eb\x9b\n") == r"a\x1b[31m\u202eb\u009b\n"


@pytest.mark.parametrize(
    ("low_ns", "high_ns", "ticks"),
    [
        (1e6, 1e7, "1 ms|1.5 ms|2 ms|3 ms|4 ms|5 ms|7 ms|10 ms"),
        (9e9, 2e12, "10 s|20 s|50 s|1 min|2 min|5 min|10 min|20 min"),
        (0.5, 1e5, "1 ns|10 ns|100 ns|1 µs|10 µs|100 µs"),
        (1e9, 1e16, "1 s|10 s|1 min|10 min|1 h|10 h|10 d|100 d"),
    ],
)
def test_ticks_of_durations_are_those_that_people_count_in(low_ns: float, high_ns: float, ticks: str):
    assert [units.plain_ticks(each) for each in units.duration_ticks(low_ns, high_ns)] == ticks.split("|")
