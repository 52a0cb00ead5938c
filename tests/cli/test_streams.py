"""``tcpsight streams``: commands without a screen, and what they print of a capture that means harm."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import pty
import stat
import subprocess
from datetime import UTC
from pathlib import Path

import numpy as np
import pytest

import tcpsight
from tcpsight.cli.streams_console import Console
from tcpsight.cli.streams_prompt import split
from tcpsight.cli.streams_shell import COMMANDS, Shell
from tcpsight.cli.streams_words import parted
from tcpsight.conversations.catalog import Catalog
from tests.cli.running import COMMAND, assert_one_line, process
from tests.support.pcap import pcap_bytes
from tests.support.said import ESCAPES, MS, START_NS, talk


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "talk.pcap"
    frames = [
        *talk(40_000, [(">", b"GET /a HTTP/1.1\r\n\r\n"), ("<", b"HTTP/1.1 200 OK\r\n\r\nhello")]),
        *talk(40_001, [(">", b"GET /b" + ESCAPES), ("<", b"needle in a hay"), ("<", b"stack")], START_NS + 100 * MS),
    ]
    path.write_bytes(pcap_bytes(frames))
    return path


FIRST, SECOND = 1, 9


def test_a_filter_changes_what_is_shown_and_never_a_number(here, path):
    outcome = here("streams", path, "-c", "filter client_port = 40001; list --format csv; follow 9; follow 1")
    assert outcome.status == 0
    rows = outcome.text.splitlines()
    assert rows[0] == "1 of 2 connections shown: filter client_port = 40001"
    assert [line.split(",")[0] for line in rows[1:3]] == ["connection_id", str(SECOND)]
    assert "GET /a" in outcome.text


def test_a_bpf_expression_chooses_connections_by_their_frames(here, path):
    assert "1 of 2 connections shown: bpf port 40001" in here("streams", path, "-c", "filter bpf port 40001").text
    assert "2 of 2" in here("streams", path, "-c", "filter bpf tcp[13] = 2").text
    assert_one_line(here("streams", path, "-c", "filter bpf por 1").err, "por")


@pytest.mark.parametrize(
    ("pattern", "numbers"),
    [
        ("needle", [SECOND]),
        ("text haystack", [SECOND]),  # across two segments
        ("hex 68656c6c6f", [FIRST]),
        ("regex '^GET /[ab]'", [FIRST, SECOND]),
        ("regex 'hay.*ck$'", [SECOND]),
        ("helloneedle", []),
    ],
)
def test_match_shows_the_connections_whose_payload_holds_a_pattern(here, path, pattern, numbers):
    outcome = here("streams", path, "-c", f"match {pattern}; list --format jsonl")
    assert [json.loads(line)["connection_id"] for line in outcome.text.splitlines()[1:]] == numbers


def test_filter_bpf_and_match_hold_together_until_they_are_taken_off(here, path):
    said = here("streams", path, "-c", "filter client_port = 40000; match GET; match off; filter off").text.splitlines()
    assert said == [
        "1 of 2 connections shown: filter client_port = 40000",
        "1 of 2 connections shown: filter client_port = 40000; match text GET",
        "1 of 2 connections shown: filter client_port = 40000",
        "2 of 2 connections shown",
    ]


def test_find_says_where(here, path):
    assert here("streams", path, "-c", "find stack").text == "9 server 15  needle in a haystack\n"
    assert here("streams", path, "-c", "find nothing-like-it").text == "nowhere\n"
    assert here("streams", path, "-c", "find --limit 1 regex [a-z]").text.splitlines()[1].startswith("more than 1")


def test_follow_as_json_has_the_promised_shape(here, path):
    told = json.loads(here("streams", path, "-c", "follow 9 --format json").text)
    assert told["connection_id"] == SECOND
    keys = {"direction", "time_ns", "offset", "data", "missing_bytes"}
    assert all(keys <= set(block) for block in told["blocks"])
    said = [(block["direction"], base64.b64decode(block["data"])) for block in told["blocks"]]
    assert said == [("client", b"GET /b" + ESCAPES), ("server", b"needle in a haystack")]
    assert told["blocks"][1]["time_ns"] == START_NS + 104 * MS


def test_follow_as_raw_gives_the_bytes_of_both_sides_or_of_one(here, path):
    assert here("streams", path, "-c", "follow 9 --format raw").out == b"GET /b" + ESCAPES + b"needle in a haystack"
    assert here("streams", path, "-c", "follow 9 --format raw --side server").out == b"needle in a haystack"


def test_follow_as_yaml_says_the_same_as_json(here, path):
    text = here("streams", path, "-c", "follow 1 --format yaml").text
    told = json.loads(here("streams", path, "-c", "follow 1 --format json").text)
    assert f"connection_id: {told['connection_id']}\n" in text
    assert text.count("- direction: ") == len(told["blocks"])
    for block in told["blocks"]:
        assert f'  data: !!binary "{block["data"]}"\n' in text
        assert f"  offset: {block['offset']}\n" in text


@pytest.mark.parametrize(
    "command", ["follow 9", "follow 9 --format hex", "show 9", "find GET", "list", "follow 9 --format json"]
)
def test_control_characters_of_payload_are_written_out(here, path, command):
    outcome = here("streams", path, "-c", command)
    assert outcome.status == 0
    assert not set(outcome.out) & (set(range(32)) - {10})
    assert b"\x9b" not in outcome.out


def on_a_terminal(*arguments: str) -> bytes:
    """Run the command with a terminal for its output."""
    ours, theirs = pty.openpty()
    done = subprocess.Popen(
        [*COMMAND, *arguments, "--no-progress"], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            part = os.read(ours, 65_536)
        except OSError:
            break
        if not part:
            break
        seen += part
    done.wait(60)
    os.close(ours)
    return seen


def test_a_terminal_gets_two_colours_and_nothing_else_to_obey(path):
    seen = on_a_terminal("streams", str(path), "-c", "follow 9; pipe 9 cat; pipe 9 printf '\\033[2J\\007'")
    for colour in (b"\x1b[36m", b"\x1b[35m", b"\x1b[0m"):
        assert colour in seen
        seen = seen.replace(colour, b"")
    assert b"\x1b" not in seen
    assert b"\x9b" not in seen
    assert b"\x07" not in seen
    assert b"\\x1b[2J" in seen
    assert b"nothing to show on a terminal" in on_a_terminal("streams", str(path), "-c", "follow 9 --format raw")


def test_dump_writes_each_stream_to_a_file_of_its_own(here, path, tmp_path):
    folder = tmp_path / "out"
    outcome = here("streams", path, "-c", f"dump {folder}")
    assert outcome.text.startswith("4 files, ")
    assert (folder / "9-10.0.0.1.40001-10.0.0.9.80.server").read_bytes() == b"needle in a haystack"
    assert len(list(folder.iterdir())) == 4


def test_dump_never_leaves_its_folder_nor_replaces_unasked(here, path, tmp_path):
    folder, victim = tmp_path / "out", tmp_path / "victim"
    folder.mkdir()
    victim.write_text("mine")
    name = "9-10.0.0.1.40001-10.0.0.9.80.server"
    (folder / name).symlink_to(victim)
    assert_one_line(here("streams", path, "-c", f"dump {folder} 9").err, "is there already")
    assert victim.read_text() == "mine"
    assert here("streams", path, "-c", f"dump {folder} 9 --overwrite").status == 0
    assert victim.read_text() == "mine"
    assert not (folder / name).is_symlink()
    assert (folder / name).read_bytes() == b"needle in a haystack"


@pytest.mark.parametrize("stretch_bytes", [64, 1 << 20])
def test_dump_writes_the_same_bytes_whether_streams_came_in_order_or_not(here, tmp_path, monkeypatch, stretch_bytes):
    monkeypatch.setattr("tcpsight.conversations.extracting.EXTRACTED_BYTES", stretch_bytes)
    monkeypatch.setattr("tcpsight.conversations.dumping.MOST_OPEN", 2)
    frames = []
    for i in range(5):
        said = [("><"[turn % 2], bytes([97 + turn, 65 + i]) * (30 + turn)) for turn in range(6)]
        frames.append(talk(40_000 + i, said, START_NS + i * 1000))
    frames[1][4], frames[1][5] = frames[1][5], frames[1][4]  # late
    frames[2].insert(6, frames[2][4]._replace(time_ns=frames[2][5].time_ns + 1))  # sent again
    del frames[3][5]  # never captured
    mixed = sorted((f for each in frames for f in each), key=lambda f: f.time_ns)
    path = tmp_path / "mixed.pcap"
    path.write_bytes(pcap_bytes(mixed))
    outcome = here("streams", path, "-c", f"dump {tmp_path}/out")
    told = {}
    with tcpsight.open(path).streams() as streams:
        for each in streams:
            for side in ("client", "server"):
                stream = getattr(each, side)
                told[f"{each.connection_id}", side] = b"".join(block.data for block in stream.blocks())
    written = {
        (name.name.split("-")[0], name.suffix[1:]): name.read_bytes()
        for name in (tmp_path / "out").iterdir()
        if name.name != "holes.jsonl"
    }
    assert written == told
    assert outcome.text.replace("\u202f", "").startswith(f"10 files, {sum(map(len, told.values()))} bytes")
    assert "not captured" in outcome.text


def test_what_was_not_captured_is_told_and_never_invented(here, tmp_path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap_bytes(talk(40_000, [(">", b"x" * 100), ("<", b"y" * 200)], snaplen=54 + 60)))
    told = json.loads(here("streams", path, "-c", "follow 1 --format json").text)
    assert [(b["direction"], b["missing_bytes"], base64.b64decode(b["data"])) for b in told["blocks"]] == [
        ("client", 0, b"x" * 60), ("client", 40, b""), ("server", 0, b"y" * 60), ("server", 140, b"")
    ]  # fmt: skip
    assert told["server"] == {"endpoint": "10.0.0.9:80", "bytes": 200, "missing_bytes": 140, "cut_bytes": 140}
    raw = here("streams", path, "-c", "follow 1 --format raw")
    assert raw.out == b"x" * 60 + b"y" * 60
    assert "140 not captured, 140 of them cut off at the snapshot length" in raw.err
    assert "180 bytes of payload cut off at the snapshot length" in here("streams", path, "-c", "stats").text
    here("streams", path, "-c", f"dump {tmp_path}/a; dump {tmp_path}/b --zeros")
    name = "1-10.0.0.1.40000-10.0.0.9.80.server"
    assert (tmp_path / "a" / name).read_bytes() == b"y" * 60
    assert (tmp_path / "b" / name).read_bytes() == b"y" * 60 + bytes(140)
    holes = [json.loads(line) for line in (tmp_path / "a" / "holes.jsonl").read_text().splitlines()]
    assert {"file": name, "offset": 60, "missing_bytes": 140} in holes


def test_pipe_gives_bytes_to_a_program_and_shows_what_it_says(here, path):
    assert here("streams", path, "-c", "pipe 9 --side server tr a-z A-Z").out == b"NEEDLE IN A HAYSTACK"
    assert here("streams", path, "-c", "pipe 9 sh -c 'exit 3'").status == 0
    assert_one_line(here("streams", path, "-c", "pipe 9 no-such-program-here").err, "no-such-program-here")


def test_export_is_read_by_tshark_as_the_same_frames(here, path, tmp_path, require_program):
    tshark = require_program("tshark")
    chosen = tmp_path / "one.pcapng"
    assert here("streams", path, "-c", f"export {chosen} 9").text.startswith("9 frames of 1 connection in ")

    def frames(source: Path, *options: str) -> list[str]:
        fields = ("frame.time_epoch", "frame.len", "frame.cap_len", "tcp.seq_raw", "tcp.payload", "tcp.checksum")
        command = [tshark, "-nr", str(source), *options, "-T", "fields", *(w for f in fields for w in ("-e", f))]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()

    assert frames(chosen) == frames(path, "-Y", "tcp.port == 40001")
    assert len(frames(chosen)) == 9


def test_show_is_the_ladder_of_one_connection(here, path):
    lines = here("streams", path, "-c", "show 9").text.splitlines()
    assert lines[0] == "connection 9: client 10.0.0.1:40001, server 10.0.0.9:80"
    assert lines[1].split() == ["time", "frame", "seq", "ack", "flags", "len", "win", "in", "flight", "marks"]
    assert lines[2].split() == ["0.000000", "9", ">", "0", "–", "SYN", "0", "65535", "0"]
    assert lines[6].split()[3:8] == ["1", "25", "ACK", "15", "65535"]
    assert lines[-1].split()[:6] == ["0.008000", "17", ">", "26", "22", "ACK"]
    assert " 5000 " in here("streams", path, "-c", "show 9 --absolute").text
    graph = here("streams", path, "-c", "show 9 --format graph").text
    assert "│─ SYN seq 0" in graph
    assert "ACK seq 1 ack 25 len 15" in graph
    assert here("streams", path, "-c", "show 9 --format svg").text.startswith("<svg ")


def test_requests_have_their_times(here, path):
    text = here("streams", path, "-c", "requests 9 --format csv").text
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["response_time_ns"] == str(MS)


def test_commands_come_from_standard_input_too(path):
    outcome = process(
        "streams", path, stdin=b"# a script\nfilter client_port = 40001\n\nfollow 9 --format raw; quit\nlist\n"
    )
    assert (
        outcome.out
        == b"1 of 2 connections shown: filter client_port = 40001\nGET /b" + ESCAPES + b"needle in a haystack"
    )


def test_a_capture_from_a_pipe_can_be_asked_everything(path):
    outcome = process("streams", "-", "-c", "list --format csv; show 9; requests 9", stdin=path.read_bytes())
    assert outcome.status == 0
    assert "SYN ACK" in outcome.text


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("follow 7", ["no connection 7"]),
        ("follow x", ["'x' is no whole number"]),
        ("follow", ["name one connection"]),
        ("follow 9 --format xml", ["--format 'xml'", "text, hex, raw, json, yaml"]),
        ("follow 9 --colour", ["no option --colour"]),
        ("folow 9", ["did you mean follow"]),
        ("f", ["did you mean filter or find or follow"]),
        ("match regex (", ["no regular expression"]),
        ("match hex 4", ["hexadecimal"]),
        ("match 'a", ["No closing quotation"]),
        ("filter nothing > 1", ["nothing"]),
        ("dump", ["name a folder"]),
        ("export", ["name a file"]),
    ],
)
def test_what_makes_no_sense_is_said_in_one_line_with_status_2(here, path, command, words):
    outcome = here("streams", path, "-c", command)
    assert outcome.status == 2
    assert_one_line(outcome.err, *words)


def test_a_capture_that_is_cut_short_is_obeyed_first_and_told_last(here, path, tmp_path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(path.read_bytes()[:-10])
    outcome = here("streams", cut, "-c", "follow 9 --format raw --side server")
    assert outcome.status == 2
    assert outcome.out == b"needle in a haystack"
    assert_one_line(outcome.err, "cut.pcap")


def test_answers_go_to_a_file(here, path, tmp_path):
    assert here("streams", path, "-c", "list --format csv; follow 9 --format raw", "-o", tmp_path / "a").out == b""
    assert (tmp_path / "a").read_bytes().endswith(b"haystack")
    assert here("streams", path, "-c", "list", "-o", path).status == 2


def test_an_index_is_kept_and_gives_the_same_answers_until_the_capture_changes(here, path, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tcpsight.saved_index.LEAST_CAPTURE_BYTES", 0)
    commands = "list --format csv; follow 9 --format raw; stats"
    first = here("streams", path, "-c", commands)
    (kept,) = (tmp_path / "cache").rglob("*.index")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    monkeypatch.setattr("tcpsight.streams.CapturedStreams._read", lambda *_: pytest.fail("the capture is read again"))
    assert here("streams", path, "-c", commands) == first
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path.write_bytes(pcap_bytes(talk(40_002, [(">", b"other")])))
    assert here("streams", path, "-c", "follow 1 --format raw").out == b"other"


@pytest.mark.parametrize("damage", [b"", b"tcpsight streams index 1\n", b"\xff" * 70_000])
def test_an_index_that_is_damaged_is_made_anew(here, path, tmp_path, monkeypatch, damage):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tcpsight.saved_index.LEAST_CAPTURE_BYTES", 0)
    here("streams", path, "-c", "list")
    (kept,) = (tmp_path / "cache").rglob("*.index")
    kept.write_bytes(damage or kept.read_bytes()[: 1 << 16])
    assert here("streams", path, "-c", "follow 9 --format raw --side server").out == b"needle in a haystack"


@pytest.mark.parametrize("at", [1 << 16, (1 << 16) + 100, -5000])
def test_an_index_with_damaged_rows_is_made_anew(here, path, tmp_path, monkeypatch, at):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tcpsight.saved_index.LEAST_CAPTURE_BYTES", 0)
    commands = "list --format csv; match GET; follow 9 --format raw"
    first = here("streams", path, "-c", commands)
    (kept,) = (tmp_path / "cache").rglob("*.index")
    data = bytearray(kept.read_bytes())
    data[at] ^= 0xA5
    kept.write_bytes(data)
    assert here("streams", path, "-c", commands) == first


def test_help_tells_every_command_and_completion_knows_commands_options_and_numbers(path):
    text = process("streams", path, "-c", "help").text
    assert all(f"{name} " in text or f"{name}\n" in text for name in COMMANDS)
    assert "\\n" not in text
    analysis = tcpsight.open(path)
    with analysis.streams() as streams:
        shell = Shell(Catalog(analysis, streams), Console("-", UTC))
        assert shell.complete("fo") == ["follow"]
        assert shell.complete("follow ") == ["1", "9"]
        assert shell.complete("follow 9 --f") == ["--format"]
        assert shell.complete("help sh") == ["show"]


def test_lines_are_cut_at_semicolons_outside_of_quotes():
    assert split("a; b 'x;y' ; ;c \"1;2\" \\; d") == ["a", "b 'x;y'", 'c "1;2" \\; d']
    assert parted("a = 'x --y' --format csv", {"--format": ("csv",)}) == ("a = 'x --y'", {"--format": "csv"})


def test_segments_relative_adds_the_numbers_that_tshark_tells(here, path):
    outcome = here("segments", path, "--relative", "--connection", "9", "--format", "csv")
    assert outcome.column("relative_sequence") == ["0", "0", "1", "1", "1", "16", "25", "21", "26"]
    assert outcome.column("relative_acknowledgment")[0] == ""
    assert np.all(np.array(outcome.column("missing_bytes"), int) == 0)
    assert "SYN seq 0" in here("segments", path, "--connection", "9", "--graph", "text").text
    assert_one_line(here("segments", path, "--graph", "text").err, "--connection N")
    assert_one_line(here("segments", path, "--graph", "text", "--connection", "7").err, "no connection 7")
