"""``tcpsight buckets``: widths in human units, drill-down, and the filter that shows what it counted."""

from __future__ import annotations

import subprocess

import pytest

from tests.cli.running import assert_one_line


@pytest.fixture
def connections(fixtures_dir):
    return fixtures_dir / "synthetic" / "connections-80.pcap"


def counts(done):
    return {row["bucket"]: int(row["connections"]) for row in done.rows() if row["connections"] != "0"}


@pytest.mark.parametrize(
    ("by", "width", "edge"),
    [
        ("duration", "50ms", 50_000_000),
        ("duration", "50 ms", 50_000_000),
        ("connect", "1.5s", 1_500_000_000),
        ("client_bytes", "1KiB", 1024),
        ("server_bytes", "8000", 8000),
        ("throughput", "1Mbit/s", 1_000_000),
        ("requests", "2", 2),
    ],
)
def test_a_width_is_in_the_unit_of_what_buckets_are_made_by(here, connections, by, width, edge):
    done = here("buckets", connections, "--by", by, "--width", width, "--format", "csv")
    assert done.status == 0
    assert done.rows()[0]["high"] == str(edge)


@pytest.mark.parametrize(
    ("by", "width"),
    [("duration", "50"), ("duration", "5kB"), ("client_bytes", "1.5"), ("requests", "0"), ("requests", "-1")],
)
def test_a_width_that_is_none_is_one_line(here, connections, by, width):
    done = here("buckets", connections, "--by", by, "--width", width)
    assert (done.status, done.text) == (2, "")
    assert_one_line(done.err, "--width", f"is no width of buckets by {by}")


@pytest.mark.parametrize("bucket", ["-1", "x", "1e3", ""])
def test_a_bucket_that_is_none_is_one_line(here, connections, bucket):
    done = here("buckets", connections, "--bucket", bucket)
    assert (done.status, done.text) == (2, "")
    assert_one_line(done.err, "is no bucket")


def test_the_sums_of_all_buckets_are_all_connections(here, connections):
    every = len(here("connections", connections, "--format", "csv").rows())
    for by in ("duration", "connect", "client_bytes", "server_bytes", "throughput", "requests", "attempts"):
        for scale in ("logarithmic", "linear", "quantile"):
            done = here("buckets", connections, "--by", by, "--scale", scale, "--format", "csv")
            assert done.status == 0, done.err
            assert sum(counts(done).values()) == every
            assert float(done.rows()[-1]["cumulative_fraction"]) == 1


def test_the_connections_of_a_bucket_are_as_many_as_it_counts(here, connections):
    found = counts(here("buckets", connections, "--by", "connect", "--format", "csv"))
    for bucket, count in found.items():
        done = here("buckets", connections, "--by", "connect", "--bucket", bucket or "unknown", "--format", "csv")
        assert done.column("bucket") == [bucket] * count
    done = here("buckets", connections, "--by", "connect", "--bucket", "all", "--format", "csv")
    assert len(done.rows()) == sum(found.values())


def test_the_filter_of_a_connection_shows_its_frames_and_no_others(here, connections, require_program):
    tcpdump = require_program("tcpdump")
    done = here("buckets", connections, "--bucket", "all", "--format", "csv")
    row = next(row for row in done.rows() if row["client_port"] == "40004")
    shown = subprocess.run(
        [tcpdump, "-nn", "-r", connections, row["capture_filter"]], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(shown) == int(row["client_segments"]) + int(row["server_segments"])
    again = here("connections", connections, "--filter", row["capture_filter"], "--format", "csv")
    assert again.column("client_port") == ["40004"]


def test_where_chooses_connections(here, connections):
    done = here("buckets", connections, "--where", "server_bytes > 8000 and duration < 400ms", "--format", "csv")
    rows = here(
        "connections", connections, "--where", "server_bytes > 8000 and duration < 400ms", "--format", "csv"
    ).rows()
    assert sum(counts(done).values()) == len(rows) == 3


def test_bounds_are_shown_in_human_units(here, connections):
    assert "50.0 ms   100 ms" in here("buckets", connections, "--width", "50ms", "--count", "2").text
    assert "1.00 KiB  2.00 KiB" in here("buckets", connections, "--by", "client_bytes", "--width", "1KiB").text


def test_attempts_are_the_distribution_of_syns(here, connections):
    done = here("buckets", connections, "--by", "attempts", "--format", "csv")
    known = here("connections", connections, "--format", "csv").column("connect_attempts")
    assert counts(done) == {attempts: known.count(attempts) for attempts in sorted(set(known))}


def test_a_filter_is_shown_whole_in_text_even_where_addresses_are_long(here, tmp_path):
    from tests.support.pcap import pcap_bytes
    from tests.support.traffic import Talk, answered, capture

    long = "2001:db8:1111:2222:3333:4444:5555:%d"
    path = tmp_path / "long.pcap"
    path.write_bytes(pcap_bytes(capture([Talk(answered(1), client=long % 1, server=long % 2)])))
    text = here("buckets", path, "--bucket", "0", "--columns", "capture_filter").text.splitlines()[1]
    assert text == f"tcp and host {long % 1} and host {long % 2} and port 40000 and port 3306"


def test_a_bucket_beyond_the_last_is_one_line_with_the_range(here, connections):
    for scale, last in (("logarithmic", 8), ("quantile", 9), ("linear", 20)):
        done = here("buckets", connections, "--scale", scale, "--bucket", "700")
        assert (done.status, done.text) == (2, "")
        assert_one_line(done.err, "there is no bucket 700", f"buckets are 0 to {last}")
        assert here("buckets", connections, "--scale", scale, "--bucket", str(last)).status == 0


@pytest.mark.parametrize("more", [(), ("--bucket", "0"), ("--bucket", "700")])
def test_a_condition_that_holds_for_none_is_told(here, connections, more):
    done = here("buckets", connections, "--where", "duration > 400s", *more)
    assert done.status == 0
    assert done.err == "tcpsight: note: --where duration > 400s: holds for none of 16 rows\n"


def test_a_width_for_quantiles_is_one_line_that_says_what_to_do(here, connections):
    done = here("buckets", connections, "--scale", "quantile", "--width", "5ms")
    assert (done.status, done.text) == (2, "")
    assert_one_line(done.err, "--width 5ms is for linear buckets", "leave --scale quantile out, or use --count N")
