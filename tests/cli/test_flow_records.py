"""``tcpsight network --record flow``: a JSON line per connection, as it ends, and what is wrong with a command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

import tcpsight
from tcpsight.cli.network import SCHEMAS as OFFERED
from tcpsight.flows import SCHEMAS
from tests.cli.conftest import TALKS
from tests.cli.running import COMMAND, assert_one_line
from tests.support.live_network import until
from tests.support.mmdb import mmdb_bytes
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.traffic import MS, START_NS, Talk, answered, capture

FLOW = ("network", "--format", "jsonl", "--record", "flow")
PINNED = [
    "start_timestamp",
    "end_timestamp",
    "client_country",
    "server_zone",
    "blackholed",
    "bufferbloat",
    "non_idle_throughput_mbps",
    "direction",
]
"""What scripts rely on."""


def objects(done):
    assert done.status == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


@pytest.fixture
def places(tmp_path: Path) -> tuple[str, ...]:
    country_file, zone_file = tmp_path / "country.mmdb", tmp_path / "zones.txt"
    country_file.write_bytes(mmdb_bytes({"10.0.0.1/32": {"country": {"iso_code": "DE"}}}))
    zone_file.write_text("10.0.0.8/29 rack-7\n10.0.0.0/8 hall\n")
    return "--country-file", str(country_file), "--zone-file", str(zone_file)


def test_each_connection_is_a_line_with_what_scripts_rely_on(here, pcap, places):
    found = objects(here(*FLOW, pcap, *places))
    assert len(found) == len(TALKS)
    assert all(list(each)[:2] == PINNED[:2] and set(PINNED) <= set(each) for each in found)
    first = min(found, key=lambda each: each["start_timestamp"])
    assert {name: first[name] for name in PINNED if name != "non_idle_throughput_mbps"} == {
        "start_timestamp": "2023-11-14 22:13:20.000000Z",
        "end_timestamp": "2023-11-14 22:13:20.044000Z",
        "client_country": "DE",
        "server_zone": "rack-7",
        "blackholed": False,
        "bufferbloat": False,
        "direction": "server",
    }
    assert isinstance(first["non_idle_throughput_mbps"], float)
    assert sorted(each["client_country"] or "" for each in found) == ["", "", "DE", "DE"]


def test_the_library_gives_the_same_records(here, pcap):
    for schema in ("tcpsight", "zeek", "ecs", "ipfix"):
        assert list(tcpsight.open(pcap).flow_records(schema)) == objects(here(*FLOW, pcap, "--schema", schema))


def test_every_schema_is_offered():
    assert tuple(SCHEMAS) == OFFERED


def test_records_of_real_traffic_agree_with_the_tables(here, examples_dir):
    for path in sorted(examples_dir.glob("*.pcap")):
        found = objects(here(*FLOW, path))
        connections = here("connections", path, "--format", "csv").rows()
        network = here("network", path, "--format", "csv").rows()
        for each, connection, sides in zip(
            found, connections, zip(network[::2], network[1::2], strict=True), strict=True
        ):
            own = sides[each["direction"] == "server"]
            assert (each["connection_id"], each["state"]) == (int(connection["connection_id"]), connection["state"])
            assert each["rtt_p50_ns"] == (int(own["rtt_p50_ns"]) if own["rtt_p50_ns"] else None)
            assert each["retransmissions"] == int(own["retransmissions"])
            other = "client" if each["direction"] == "server" else "server"
            assert each["bytes"] >= int(connection[f"{other}_bytes"])


def test_a_record_tells_where_it_was_captured_and_what_its_time_went_to(here, examples_dir):
    found = objects(here(*FLOW, examples_dir / "mariadb-lock.pcap"))
    connections = here("connections", examples_dir / "mariadb-lock.pcap", "--format", "csv").rows()
    for each, connection in zip(found, connections, strict=True):
        assert (each["vantage"], each["limited_by"]) == (connection["vantage"], connection["limited_by"] or None)
        assert each["vantage"] in ("server", "client", "between", "unknown")
        # At the receiver of the data nobody knows how long they were outstanding.
        is_at_receiver = each["vantage"] == ("client" if each["direction"] == "server" else "server")
        if each["vantage"] != "unknown":
            assert (each["non_idle_throughput_mbps"] is None) == (is_at_receiver or each["bytes"] == 0)


def test_selections_choose_records(here, pcap):
    assert len(objects(here(*FLOW, pcap, "--server", ":80"))) == 1
    assert len(objects(here(*FLOW, pcap, "--filter", "host 10.0.0.2"))) == 1
    assert len(objects(here(*FLOW, pcap, "--since", "2023-11-14T22:13:20.060"))) == 1
    assert len(objects(here(*FLOW, pcap, "--where", "state = open or client_address = 10.0.0.2"))) == 2


def test_a_condition_that_holds_for_none_is_told(here, pcap):
    done = here(*FLOW, pcap, "--where", "blackholed")
    assert (done.status, done.out) == (0, b"")
    assert "holds for none of 4 rows" in done.err


def test_the_suffix_of_the_output_is_enough(here, pcap, tmp_path):
    done = here("network", pcap, "--record", "flow", "-o", tmp_path / "flows.jsonl")
    assert (done.status, done.out) == (0, b"")
    assert len((tmp_path / "flows.jsonl").read_text().splitlines()) == len(TALKS)


def test_records_are_json_lines_unless_something_else_is_asked_for(here, pcap):
    assert here("network", pcap, "--record", "flow").out == here(*FLOW, pcap).out != b""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--record", "flow", "--format", "table"), "written as JSON lines, not as table: add --format jsonl"),
        (("--record", "flow", "--format", "csv"), "not as csv"),
        (("--record", "flow", "-o", "flows.parquet"), "not as parquet"),
        ((*FLOW[1:], "--sort", "start_ns"), "leave --sort out"),
        ((*FLOW[1:], "--columns", "direction"), "leave --columns out"),
        ((*FLOW[1:], "--schema", "netflow"), "netflow"),
        ((*FLOW[1:], "--where", "colour = red"), "no column 'colour'"),
        (("--schema", "zeek"), "--schema is about flow records: add --record flow"),
        (("--zone-file", "zones"), "--zone-file is about flow records"),
        (("--country-file", "x.mmdb", "--format", "jsonl"), "--country-file is about flow records"),
        ((*FLOW[1:], "--zone-file", "no-such-file"), "no-such-file: No such file"),
        ((*FLOW[1:], "--country-file", "no-such-file"), "no-such-file: No such file"),
        ((*FLOW[1:], "--country-file", ""), "Is a directory"),
    ],
)
def test_what_does_not_go_together_is_one_line(here, pcap, options, words):
    done = here("network", pcap, *options)
    assert (done.status, done.out) == (2, b"")
    assert_one_line(done.err, words)


def test_a_file_of_places_that_is_none_is_one_line(here, pcap, tmp_path):
    (tmp_path / "zones").write_text("10.0.0.0/8 a\nnot a line\n")
    done = here(*FLOW, pcap, "--zone-file", tmp_path / "zones")
    assert (done.status, done.out) == (2, b"")
    assert_one_line(done.err, "zones, line 2: not a network and its zone")
    done = here(*FLOW, pcap, "--country-file", tmp_path / "zones")
    assert (done.status, done.out) == (2, b"")
    assert_one_line(done.err, "no database in MaxMind's format")


def test_hostile_names_are_escaped(here, pcap, tmp_path):
    (tmp_path / "zones").write_text('0.0.0.0/0,"""\\ </script>é"\n')
    done = here(*FLOW, pcap, "--zone-file", tmp_path / "zones")
    assert done.out.isascii()
    assert {each["server_zone"] for each in objects(done)} == {'"\\ </script>é'}


def test_an_ipv6_connection_has_its_places(here, tmp_path):
    path = tmp_path / "six.pcap"
    ends = ("2001:db8::1", "2001:db8:1::9", 40_000, 80)
    path.write_bytes(pcap_bytes([Frame(START_NS, tcp_frame(*ends, 1, 0, "S"))]))
    (tmp_path / "zones").write_text("2001:db8::/32 six\n2001:db8:1::/48 sixer\n")
    (tmp_path / "country").write_bytes(mmdb_bytes({"2001:db8::/48": {"country": {"iso_code": "AT"}}}))
    places = ("--zone-file", tmp_path / "zones", "--country-file", tmp_path / "country")
    (found,) = objects(here(*FLOW, path, *places))
    assert (found["ip_version"], found["client_country"], found["server_zone"]) == (6, "AT", "sixer")
    (found,) = objects(here(*FLOW, path, *places, "--schema", "ecs"))
    assert found["network"]["type"] == "ipv6"


def test_a_capture_that_is_cut_short_gives_its_records_and_the_reason(here, pcap, tmp_path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap.read_bytes()[:-20])
    done = here(*FLOW, path)
    assert done.status == 2
    assert len(done.out.splitlines()) == len(TALKS)
    assert_one_line(done.err, "cut.pcap")
    records = tcpsight.open(path).flow_records()
    with pytest.raises(tcpsight.CaptureError):
        list(records)


def test_a_capture_without_tcp_leaves_an_old_file_as_it_was(here, tmp_path):
    (tmp_path / "empty.pcap").write_bytes(pcap_bytes([]))
    (tmp_path / "old.jsonl").write_text("old\n")
    assert here(*FLOW, tmp_path / "empty.pcap", "-o", tmp_path / "old.jsonl").status == 2
    assert (tmp_path / "old.jsonl").read_text() == "old\n"


def test_records_come_through_a_pipe_as_connections_end():
    ended = capture([Talk(answered(5)), Talk(answered(5), client_port=40_001, start_ns=START_NS + 100_000 * MS)])
    command = [*COMMAND, *FLOW, "-", "--schema", "zeek"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        assert running.stdin is not None
        assert running.stdout is not None
        # The first is final a minute after its end; the pipe stays open.
        running.stdin.write(pcap_bytes(ended))
        running.stdin.flush()
        first = json.loads(running.stdout.readline())
        running.stdin.close()
        rest = running.stdout.read()
        assert running.wait(timeout=30) == 0
    assert (first["id.orig_p"], first["conn_state"]) == (40_000, "SF")
    assert [json.loads(line)["id.orig_p"] for line in rest.splitlines()] == [40_001]


def has_open(pid: int, path: Path) -> bool:
    """Tell whether a process has a file open."""
    with suppress(OSError):  # one is closed meanwhile
        return any(each.readlink() == path for each in Path(f"/proc/{pid}/fd").iterdir())
    return False


def test_a_followed_file_gives_its_records(pcap):
    command = [*COMMAND, *FLOW, str(pcap), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        until(lambda: has_open(running.pid, pcap), "the file to be opened")
        with pytest.raises(subprocess.TimeoutExpired):
            running.wait(timeout=1)
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=30)
    assert running.returncode == 0, err
    assert len(out.splitlines()) == len(TALKS)


def test_a_closed_pipe_ends_it_quietly(pcap):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*COMMAND, *FLOW, str(pcap)], stdout=write, stderr=subprocess.PIPE, check=False, timeout=60)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, b"")
