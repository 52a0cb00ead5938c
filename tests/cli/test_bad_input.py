"""Whatever is wrong with the input: one clear line, status 2, and every row before the damage."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.cli.conftest import TALKS
from tests.cli.running import FORMATS, TABLES, assert_one_line, process
from tests.support.pcap import (
    Frame,
    Interface,
    interface_statistics,
    pcap_bytes,
    pcap_header,
    pcap_record,
    pcapng_bytes,
)
from tests.support.traffic import capture, udp_frame

FRAMES = capture(TALKS)
EMPTY = b""
TEXT = b"The quick brown fox\njumps over the lazy dog\n" * 50
NOISE = bytes((i * 197 + 31) % 251 for i in range(5000))
CUT_HEADER = pcap_bytes(FRAMES)[:15]
NO_FRAMES = pcap_header()
UNKNOWN_LINK_TYPE = pcap_bytes(FRAMES, link_type=147)
ONLY_UDP = pcap_bytes([udp_frame()] * 3)

NOTHING = {
    "empty": (EMPTY, "empty"),
    "text": (TEXT, "not the text of tcpdump"),
    "noise": (NOISE, "not a capture"),
    "cut-in-the-file-header": (CUT_HEADER, ""),
    "no-frames": (NO_FRAMES, "no frames"),
    "unknown-link-type": (UNKNOWN_LINK_TYPE, "no TCP"),
    "only-udp": (ONLY_UDP, "no TCP"),
}

GOOD = 20
SOUND = pcap_bytes(FRAMES[:GOOD])
NEXT = pcap_record(FRAMES[GOOD])
DAMAGE = {
    "cut-in-a-record-header": NEXT[:9],
    "cut-in-a-record": NEXT[:-7],
    "absurd-record-length": struct.pack("<IIII", 1_700_000_000, 0, 0xFFFFFFF0, 0xFFFFFFF0) + bytes(100),
    "absurd-length-just-beyond": struct.pack("<IIII", 1_700_000_000, 0, 1 << 25, 60) + bytes(1000),
}


@pytest.mark.parametrize("command", ["report", *TABLES])
@pytest.mark.parametrize("name", NOTHING)
def test_a_capture_without_anything_in_it_is_one_line_and_status_2(here, tmp_path, command, name):
    content, words = NOTHING[name]
    path = tmp_path / "bad.pcap"
    path.write_bytes(content)
    done = here(command, path)
    assert done.status == 2
    assert_one_line(done.err, words, str(path))


@pytest.mark.parametrize("name", NOTHING)
def test_the_same_from_a_pipe(name):
    done = process("requests", "-", "--format", "csv", stdin=NOTHING[name][0])
    assert done.status == 2
    assert_one_line(done.err, NOTHING[name][1])


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("command", TABLES)
@pytest.mark.parametrize("name", DAMAGE)
def test_every_row_before_the_damage_is_delivered(here, tmp_path, command, name, format):
    sound, broken = tmp_path / "sound.pcap", tmp_path / "broken.pcap"
    sound.write_bytes(SOUND)
    broken.write_bytes(SOUND + DAMAGE[name])
    expected = here(command, sound, "--format", format)
    assert expected.status == 0
    done = here(command, broken, "--format", format)
    assert done.status == 2
    assert_one_line(done.err, str(broken), f"(at byte {len(SOUND)})")
    assert done.out == expected.out
    assert len(done.out) > 0


def test_a_broken_capture_still_writes_the_file_that_was_asked_for(here, tmp_path):
    broken, target = tmp_path / "broken.pcap", tmp_path / "out.csv"
    broken.write_bytes(SOUND + DAMAGE["cut-in-a-record"])
    assert here("requests", broken, "-o", target).status == 2
    assert target.read_text().count("\n") > 1


def test_a_report_on_a_broken_capture_says_so_on_the_page(here, tmp_path):
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(SOUND + DAMAGE["cut-in-a-record"])
    done = here("report", broken)
    assert done.status == 2
    assert "The capture breaks off" in done.text
    assert "10.0.0.9:3306" in done.text
    assert_one_line(done.err, str(broken))


def test_a_broken_pcapng_gives_what_came_before(here, tmp_path):
    path = tmp_path / "broken.pcapng"
    path.write_bytes(pcapng_bytes(FRAMES)[:-10])
    done = here("segments", path, "--format", "csv")
    assert done.status == 2
    assert len(done.rows()) == len(FRAMES) - 1
    assert_one_line(done.err, str(path))


@pytest.mark.parametrize("command", ["report", *TABLES])
def test_paths_that_cannot_be_read_are_one_line(here, tmp_path, command):
    missing = tmp_path / "missing.pcap"
    for path, words in ((missing, "No such file"), (tmp_path, "directory")):
        done = here(command, path)
        assert (done.status, done.out) == (2, b"")
        assert_one_line(done.err, str(path), words)


def test_a_file_that_may_not_be_read_is_one_line(here, pcap, monkeypatch):
    # Whoever runs the tests may be root, to whom nothing is forbidden.
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tcpsight.capture.source.io.FileIO", refuse)
    done = here("requests", pcap)
    assert (done.status, done.out) == (2, b"")
    assert_one_line(done.err, str(pcap), "Permission denied")


def test_control_characters_in_a_path_never_reach_the_terminal(here, tmp_path):
    path = tmp_path / "a\x1b]0;owned\x07\x9b31m\nb.pcap"
    done = here("requests", path)
    assert done.status == 2
    assert_one_line(done.err, "No such file")
    assert not set("\x1b\x07\x9b") & set(done.err)
    path.write_bytes(pcap_bytes(FRAMES))
    for format in ("text", "json"):
        done = here("report", path, "--format", format)
        assert done.status == 0
        assert not set("\x1b\x07\x9b") & set(done.text)


BAD_OPTIONS = {
    "unknown-option": (["--nonsense"], "--nonsense"),
    "unknown-format": (["--format", "xml"], "xml"),
    "server-name": (["--server", "localhost:80"], "names are not looked up"),
    "server-port": (["--server", ":99999"], "99999"),
    "server-empty": (["--server", ":"], "':'"),
    "server-garbage": (["--server", "[::1"], "[::1"),
    "server-after-bracket": (["--server", "[::1]80"], "[::1]80"),
    "since": (["--since", "yesterday"], "yesterday"),
    "until": (["--until", "2024-13-01"], "2024-13-01"),
    "until-before-since": (["--since", "2", "--until", "1"], "--since"),
    "start-end": (["--start-end", "ts,ts"], "ts,ts"),
    "start-end-one": (["--start-end", "ts"], "START,END"),
    "timezone": (["--timezone", "Mars/Olympus"], "Mars/Olympus"),
    "timezone-path": (["--timezone", "../../etc/passwd"], "../../etc/passwd"),
    "input-timezone": (["--input-timezone", "Mars/Olympus"], "Mars/Olympus"),
    "timeout": (["--timeout-ended", "soon"], "soon"),
    "timeout-negative": (["--timeout-ended", "-5s"], "-5s"),
    "filter": (["--filter", "port port"], "port port"),
    "workers": (["--workers", "0"], "--workers"),
    "engine": (["--engine", "spark"], "spark"),
}


@pytest.mark.parametrize("name", BAD_OPTIONS)
def test_a_wrong_option_is_one_line_that_names_it(here, pcap, name):
    options, words = BAD_OPTIONS[name]
    for command in ("requests", "report"):
        done = here(command, pcap, *options)
        assert (done.status, done.out) == (2, b""), done
        assert_one_line(done.err, words)
        assert done.err.count("\n") == 1


BAD_VALUES = {
    "sort": ("requests", ["--sort", "nonsense"], "'nonsense'"),
    "sort-internal": ("segments", ["--sort", "slot"], "'slot'"),
    "sort-intervals": ("intervals", ["--sort", "arrival_ns"], "'arrival_ns'"),
    "columns": ("requests", ["--columns", "arrival_ns,nonsense"], "'nonsense'"),
    "columns-twice": ("requests", ["--columns", "arrival_ns,arrival_ns"], "twice"),
    "columns-empty": ("requests", ["--columns", ","], "column"),
    "interval": ("intervals", ["--interval", "often"], "often"),
    "interval-zero": ("intervals", ["--interval", "0s"], "0s"),
    "interval-negative": ("intervals", ["--interval", "-1s"], "-1s"),
    "interval-endless": ("intervals", ["--interval", "999999999999d"], "longer than any capture"),
    "max-stall": ("intervals", ["--max-stall", "0"], "longer than 0"),
    "by": ("intervals", ["--by", "moon"], "moon"),
    "quantile": ("report", ["--quantile", "1.5"], "1.5"),
    "quantile-zero": ("report", ["--quantile", "0"], "quantile"),
    "quantile-nan": ("report", ["--quantile", "nan"], "nan"),
    "quantile-word": ("report", ["--quantile", "p99"], "p99"),
    "top": ("report", ["--top", "0"], "--top"),
    "report-format": ("report", ["--format", "csv"], "csv"),
}


@pytest.mark.parametrize("name", BAD_VALUES)
def test_a_wrong_value_is_one_line_that_names_it(here, pcap, name):
    command, options, words = BAD_VALUES[name]
    done = here(command, pcap, *options)
    assert done.status == 2
    assert done.out == b""
    assert_one_line(done.err, words)


def test_a_wrong_command_suggests_the_right_one(here):
    done = here("reqests", "x.pcap")
    assert done.status == 2
    assert_one_line(done.err, "'reqests'", "did you mean 'requests'?")
    assert_one_line(here("xyzzy").err, "report", "segments")


def test_a_wrong_command_shows_how_the_right_one_is_written_and_no_other(here):
    assert_one_line(here("helpme").err, "did you mean 'help'? as in: tcpsight help (")
    assert_one_line(here("segmens").err, "as in: tcpsight segments ")
    assert "as in" not in here("xyzzy").err


def test_many_frames_out_of_order_are_told_with_their_share_and_what_helps(here, tmp_path):
    path = tmp_path / "queues.pcap"
    swapped = [frame for pair in zip(FRAMES[1::2], FRAMES[::2], strict=False) for frame in pair]
    path.write_bytes(pcap_bytes(swapped, nanoseconds=True))
    told = here("network", path).err
    assert "time_backwards: " in told
    assert " % of all frames; " in told
    assert "reordercap" in told


def test_a_capture_must_be_named(here):
    done = here("requests")
    assert done.status == 2
    assert_one_line(done.err, "SOURCE")


@pytest.mark.parametrize("command", ["report", *TABLES])
def test_a_filter_that_matches_nothing_is_said(here, pcap, command):
    done = here(command, pcap, "--filter", "tcp port 9")
    assert done.status == 0
    assert "matched none" in done.err or "tcp port 9" in done.err
    assert done.err.startswith("tcpsight: note: ")


@pytest.mark.parametrize("command", ["report", *TABLES])
def test_a_filter_that_lets_only_udp_through_is_said(here, tmp_path, command):
    path = tmp_path / "mixed.pcap"
    path.write_bytes(pcap_bytes([*FRAMES, Frame(FRAMES[-1].time_ns + 1, udp_frame().data)]))
    done = here(command, path, "--filter", "udp")
    assert done.status == 2
    assert_one_line(done.err, "no TCP", "--filter")


@pytest.mark.parametrize("command", ["report", *TABLES])
@pytest.mark.parametrize(
    "options", [["--server", ":5432"], ["--server", "10.9.9.9"], ["--since", "2030-01-01"], ["--until", "1999-01-01"]]
)
def test_a_selection_that_matches_nothing_is_said(here, pcap, command, options):
    done = here(command, pcap, *options)
    assert done.status == 0
    assert "nothing in the capture matches" in done.err
    if command == "report":
        assert "No connection matches what was asked for." in done.text


def test_the_report_counts_what_is_not_tcp(here, tmp_path):
    path: Path = tmp_path / "udp.pcap"
    path.write_bytes(ONLY_UDP)
    done = here("report", path)
    assert "There is no TCP segment in it." in done.text
    assert "IP packets that are not TCP" in done.text


@pytest.mark.parametrize("command", ["report", *TABLES])
def test_a_filter_that_is_no_text_is_one_line(pcap, command):
    done = process(command, pcap, "--filter", "\udcff")
    assert done.status == 2
    assert_one_line(done.err, "--filter", "UTF-8")


def test_one_of_a_thing_is_told_in_the_singular(here, tmp_path):
    path = tmp_path / "notes.pcap"
    path.write_bytes(pcap_bytes([*FRAMES, Frame(FRAMES[-1].time_ns + 1, udp_frame().data)]))
    assert "not_tcp: 1, 46 bytes, first at frame 35: IP packet that is not TCP" in here("requests", path).err
    path.write_bytes(pcap_bytes([*FRAMES, *[Frame(FRAMES[-1].time_ns + 1, udp_frame().data)] * 2]))
    assert "not_tcp: 2, 92 bytes, first at frame 35: IP packets that are not TCP" in here("requests", path).err
    path.write_bytes(pcap_bytes([udp_frame()]))
    assert_one_line(here("requests", path).err, "no TCP in its only frame")


def test_text_with_names_is_answered_by_how_to_print_it(here, tmp_path):
    path = tmp_path / "names.txt"
    named = "2023-11-14 22:13:20.000001 IP a.example.com.5000 > b.example.com.80: Flags [S], seq 1, win 9, length 0\n"
    path.write_text(named * 2)
    assert "2 lines have names in place of numbers: print the capture with 'tcpdump -nn'" in here("requests", path).err
    assert here("requests", path).status == 2
    path.write_text(named + TEXT_LINE.format(2, 1, 6))
    done = here("requests", path)
    assert done.status == 0
    assert "note: " + str(path) + ": 1 line has names in place of numbers" in done.err


TEXT_LINE = (
    "2023-11-14 22:13:20.{:06d} IP 10.0.0.1.5000 > 10.0.0.2.80: Flags [P.], seq {}:{}, ack 1, win 100, length 5\n"
)


def test_text_that_is_cut_in_a_line_gives_the_lines_before_it(here, tmp_path):
    path = tmp_path / "cut.txt"
    path.write_text("".join(TEXT_LINE.format(n, n, n + 5) for n in range(1, 4))[:-20])
    done = here("segments", path, "--format", "csv")
    assert done.status == 2
    assert len(done.rows()) == 2
    assert_one_line(done.err, str(path), "ends inside line 3")


def test_the_first_line_that_was_not_understood_is_told(here, tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text(TEXT_LINE.format(1, 1, 6) + "what is this\n" + TEXT_LINE.format(2, 6, 11) + "and this\n")
    done = here("requests", path)
    assert done.status == 0
    assert "unreadable_text: 2, first at line 2: lines of tcpdump text" in done.err
    assert "first at line 2" in here("report", path).text
    other = tmp_path / "other.pcap"
    other.write_bytes(pcap_bytes(FRAMES))
    assert f"first at line 2 of {path}" in here("requests", other, path).err


def test_interfaces_that_lost_frames_are_named_and_their_names_escaped(here, tmp_path):
    path = tmp_path / "drops.pcapng"
    interfaces = [Interface(1, 9, name="eth0"), Interface(1, 9, name="a\x1b[31m\x07")]
    statistics = interface_statistics(0, kernel_drops=4) + interface_statistics(1, kernel_drops=1, interface_drops=2)
    path.write_bytes(pcapng_bytes(FRAMES, interfaces=interfaces) + statistics)
    done = here("requests", path)
    assert "kernel_drop: 5, on eth0 4, a\\x1b[31m\\x07 1: frames that the capturing machine" in done.err
    assert "interface_drop: 2, on a\\x1b[31m\\x07 2: " in done.err
    for command in (("report",), ("report", "--format", "json"), ("segments",)):
        done = here(*command, path)
        assert not set("\x1b\x07") & set(done.text + done.err)


def test_what_stands_in_the_way_of_tcp_is_said_with_the_way_out(here, tmp_path):
    path = tmp_path / "bad.pcap"
    path.write_bytes(UNKNOWN_LINK_TYPE)
    done = here("requests", path)
    assert_one_line(done.err, "link type 147 (private use, USER0) is not decoded", "editcap -T ether")
    fragment = bytearray(FRAMES[0].data)
    fragment[20:22] = b"\x20\x10"  # more fragments follow, and this is not the first
    path.write_bytes(pcap_bytes([Frame(frame.time_ns, bytes(fragment)) for frame in FRAMES[:3]]))
    assert_one_line(here("requests", path).err, "3 are IP fragments of packets that are not whole")
    path.write_bytes(pcap_bytes([Frame(FRAMES[0].time_ns, bytes(fragment))]))
    assert_one_line(here("requests", path).err, "1 is an IP fragment of a packet that is not whole")
