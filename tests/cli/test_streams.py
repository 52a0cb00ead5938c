"""``tcpsight streams``: commands without a screen, and what they print of a capture that means harm.

Longer than other files: one command with twelve of its own.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import stat
import sys
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
from tcpsight.conversations.patterns import pattern_from
from tests.cli.running import assert_one_line, process, typed_on_a_terminal
from tests.support.pcap import pcap_bytes
from tests.support.said import ESCAPES, MS, START_NS, talk, two_talks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return two_talks(tmp_path / "talk.pcap")


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


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        (r"regex (?i)get\s/\S+\s", 1),  # backslashes are the expression's
        (r"regex ^GET\s/[ab]", 2),
        ("regex 'hay.*;?stack'", 1),
        (r"regex hay.*\;?stack", 1),  # a semicolon that is part of it
        ('"needle in"', 1),
        ("it's", 0),
        (r"\x1b", 0),  # text is text
        ("in a", 1),
        ("'in a'", 1),
    ],
)
def test_a_pattern_is_the_rest_of_the_line_as_it_is_written(here, path, pattern, found):
    lines = here("streams", path, "-c", f"find {pattern}; stats").text.splitlines()
    assert lines[-7 - max(found, 1) :][: max(found, 1)] == lines[: max(found, 1)]
    assert (lines[0] == "nowhere") == (found == 0)
    assert lines[max(found, 1)] == "2 of 2 connections shown"


def test_quotes_of_text_itself_are_looked_for():
    assert pattern_from("""text '"a" and "b"'""").plain == b'"a" and "b"'
    assert pattern_from("""text "a" and "b\"""").plain == b'"a" and "b"'
    assert pattern_from("say 'so").plain == b"say 'so"
    assert pattern_from(r"C:\new;").plain == rb"C:\new;"
    assert pattern_from(r"C:\\;").plain == rb"C:\\;"


def test_lists_are_sorted_and_cut(here, path):
    def numbers(command: str) -> list[int]:
        lines = here("streams", path, "-c", f"{command} --format jsonl").text.splitlines()
        return [json.loads(line)["connection_id"] for line in lines]

    assert numbers("list --sort -client_port") == [SECOND, FIRST]
    assert numbers("list --sort client_port --limit 1") == [FIRST]
    assert numbers("list client_port > 1 --sort -client_port --limit 1") == [SECOND]
    assert numbers("requests 9 --sort -response_time_ns --limit 1") == [SECOND]
    assert numbers("requests 9 --limit 0") == []


def test_bytes_that_were_captured_with_different_content_are_told_everywhere(here, tmp_path):
    frames = talk(40_000, [(">", b"AAAAAAAAAA"), (">", b"CCCC")])
    other = talk(40_000, [(">", b"AAAAAAABBB")])[3]
    path = tmp_path / "twice.pcap"
    path.write_bytes(pcap_bytes([*frames[:4], other._replace(time_ns=frames[3].time_ns + 1), *frames[4:]]))
    told = json.loads(here("follow", path, "1", "--format", "json").text)
    assert told["conflicts"] == [
        {"direction": "client", "offset": 7, "frame_number": 5, "kept": "QUFB", "other": "QkJC"}
    ]
    assert json.loads(here("follow", path, "1", "--format", "json", "--side", "server").text)["conflicts"] == []
    assert '  kept: !!binary "QUFB"\n' in here("follow", path, "1", "--format", "yaml").text
    assert "! client offset 7, 3 bytes: 414141 above, but 424242 in frame 5" in here("follow", path, "1").text
    words = "3 bytes of 1 connection captured more than once with different content"
    assert words in here("streams", path, "-c", "stats").text
    assert words in here("streams", path, "-c", f"dump {tmp_path}/out").err
    assert words not in here("streams", path, "-c", "filter client_port = 1; stats").text


def test_follow_by_itself_is_follow_in_streams(here, path, tmp_path):
    for format in ("text", "hex", "raw", "json", "yaml"):
        assert here("follow", path, "9", "--format", format) == here(
            "streams", path, "-c", f"follow 9 --format {format}"
        )
    assert here("follow", path, "9", "-o", tmp_path / "said.json").status == 0
    assert json.loads((tmp_path / "said.json").read_text())["connection_id"] == SECOND
    assert_one_line(here("follow", path, "7").err, "no connection 7")
    assert_one_line(here("follow", path, "9", "-o", path).err, "the capture would be lost")
    assert process("follow", "-", "9", "--format", "raw", "--side", "server", stdin=path.read_bytes()).out == (
        b"needle in a haystack"
    )


def test_follow_shows_one_request_and_its_answer_of_many(here, tmp_path):
    path = tmp_path / "long.pcap"
    path.write_bytes(
        pcap_bytes(talk(40_000, [(">", b"one"), ("<", b"1"), (">", b"two"), ("<", b"2"), (">", b"three")]))
    )
    said = here("streams", path, "-c", "follow 1 --request 1").text
    assert [line for line in said.splitlines() if line[1:3] == "  "] == [">   two", "<   2"]
    assert here("follow", path, "1", "--request", "1").text == said
    assert here("follow", path, "1", "--request", "0", "--format", "raw").out == b"one1"
    assert_one_line(here("follow", path, "1", "--request", "2").err, "no answered request 2; there are 0 to 1")


def test_that_the_screen_cannot_open_is_told_before_the_capture_is_read(tmp_path):
    broken = tmp_path / "broken.pcap"
    broken.write_bytes(b"no capture at all")
    hidden = "import importlib.util as u; f = u.find_spec; u.find_spec = lambda n: None if n == 'textual' else f(n)"
    code = f"{hidden}; import sys; from tcpsight.cli.main import main; sys.exit(main(['streams', {str(broken)!r}]))"
    assert b"needs Textual" in typed_on_a_terminal([sys.executable, "-c", code])


def test_find_says_in_which_connection_direction_place_and_frame(here, path):
    assert here("streams", path, "-c", "find stack").text == "9 server 15  frame 14, 0.005000 s  needle in a haystack\n"
    assert here("streams", path, "-c", "find nothing-like-it").text == "nowhere\n"
    assert here("streams", path, "-c", "find --limit 1 regex [a-z]").text.splitlines()[1].startswith("more than 1")


def test_what_was_not_captured_is_told_where_nothing_is_found(here, path, tmp_path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(pcap_bytes(talk(40_000, [(">", b"x" * 100), ("<", b"y" * 200)], snaplen=54 + 60)))
    told = "180 bytes of payload were not captured: what stood there is not found"
    for command in ("find needle", "match needle", "match xx"):
        assert told in here("streams", cut, "-c", command).err
        assert here("streams", path, "-c", command).err == ""
    for command in ("find xx", "match off", "list"):
        assert told not in here("streams", cut, "-c", command).err


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


def test_a_condition_that_cannot_be_read_is_told_in_the_words_it_was_written_with(here, path):
    assert_one_line(here("streams", path, "-c", "filter client_port ~ 3").err, "filter, character 13: a comparison")


def test_a_capture_of_headers_says_how_to_record_what_is_said(here, examples_dir):
    said = "only headers were captured: 'tcpdump -s 0' or 'tcpsight capture --payload 65535' record what is said"
    assert said in here("follow", examples_dir / "mariadb-lock.pcap", "5648", "--request", "2").text.splitlines()
    assert said not in here("follow", examples_dir / "streams" / "redis-slow.pcap", "326").text


def test_what_was_not_captured_is_told_and_never_invented(here, tmp_path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap_bytes(talk(40_000, [(">", b"x" * 100), ("<", b"y" * 200)], snaplen=54 + 60)))
    told = json.loads(here("streams", path, "-c", "follow 1 --format json").text)
    assert [(b["direction"], b["missing_bytes"], base64.b64decode(b["data"])) for b in told["blocks"]] == [
        ("client", 0, b"x" * 60), ("client", 40, b""), ("server", 0, b"y" * 60), ("server", 140, b"")
    ]  # fmt: skip
    sums = {"bytes": 200, "missing_bytes": 140, "cut_bytes": 140, "fragment_bytes": 0, "text_bytes": 0}
    assert told["server"] == {"endpoint": "10.0.0.9:80"} | sums
    raw = here("streams", path, "-c", "follow 1 --format raw")
    assert raw.out == b"x" * 60 + b"y" * 60
    assert "140 not captured; of segments that were seen: 140 cut off at the snapshot length\n" in raw.err
    stats = here("streams", path, "-c", "stats").text
    assert "180 bytes of payload not captured: 180 cut off at the snapshot length\n" in stats
    here("streams", path, "-c", f"dump {tmp_path}/a; dump {tmp_path}/b --zeros")
    name = "1-10.0.0.1.40000-10.0.0.9.80.server"
    assert (tmp_path / "a" / name).read_bytes() == b"y" * 60
    assert (tmp_path / "b" / name).read_bytes() == b"y" * 60 + bytes(140)
    holes = [json.loads(line) for line in (tmp_path / "a" / "holes.jsonl").read_text().splitlines()]
    assert {"file": name, "offset": 60, "missing_bytes": 140} in holes


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
        ("list nothing = 1", ["list, character 1: no column 'nothing'"]),
        ("stats nothing", ["all that is shown"]),
        ("help folow", ["no command 'folow'", "did you mean follow?"]),
        ("filter bpf tcp port nowhere", ["filter bpf 'tcp port nowhere'", "unknown port"]),
        ("match regex (", ["no regular expression"]),
        ("match hex 4", ["hexadecimal"]),
        ("pipe 9 'a", ["No closing quotation"]),
        ("pipe 9 --side both cat", ["--side 'both'", "client, server"]),
        ("list --sort nothing", ["nothing"]),
        ("list --limit x", ["'x' is no whole number"]),
        ("filter nothing > 1", ["nothing"]),
        ("filter limited_by = server", ["'limited_by' is not known", "tcpsight connections"]),
        ("list server > 1s", ["'server' is not known", "no account of time"]),
        ("list --sort noting_near", ["no column 'noting_near'; the nearest are "]),
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
        assert shell.complete("filter server_po") == ["server_port"]
        assert shell.complete("filter (server_port = 1 or sta") == ["start_ns", "state"]
        assert shell.complete("list state = ha") == ["half_closed", "handshaking"]
        assert shell.complete("filter b") == ["bpf"]
        assert shell.complete("filter bpf server_po") == []
        assert shell.complete("match re") == ["regex"]
        assert shell.complete("find h") == ["hex"]
        assert shell.complete("list --sort -server_p") == ["-server_port"]
        assert shell.complete("follow 9 --format ra") == ["raw"]
        assert shell.complete("show 9 --format s") == ["svg"]
        assert shell.complete("pipe 9 --side c") == ["client"]
        assert shell.complete(f"export {path.parent}/tal") == [str(path)]
        assert shell.complete("dump folder ") == ["1", "9"]
        assert shell.complete("follow 9 ") == []


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
