"""``tcpsight streams``: bytes to files, programs and terminals, and to no place else."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import pytest

import tcpsight
from tcpsight.conversations import programs
from tests.cli.running import assert_one_line, on_a_terminal, process
from tests.support.pcap import pcap_bytes
from tests.support.said import MS, START_NS, in_pieces, talk, two_talks


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return two_talks(tmp_path / "talk.pcap")


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


def test_the_list_of_holes_tells_of_all_files_that_are_in_the_folder(here, tmp_path):
    paths = {}
    for name, snaplen in (("cut", 54 + 10), ("whole", 65_535)):
        frames = [
            *talk(40_000, [(">", b"x" * 30)], snaplen=snaplen),
            *talk(40_001, [(">", b"y" * 20)], START_NS + 100 * MS, snaplen),
        ]
        paths[name] = tmp_path / f"{name}.pcap"
        paths[name].write_bytes(pcap_bytes(frames))
    folder, holes = tmp_path / "out", tmp_path / "out" / "holes.jsonl"

    def told():
        return sorted((row["file"].split("-")[0], row["missing_bytes"]) for row in map(json.loads, holes.open()))

    assert here("streams", paths["cut"], "-c", f"dump {folder}").status == 0
    assert told() == [("1", 20), ("8", 10)]
    assert here("streams", paths["cut"], "-c", f"dump {folder} 8 --overwrite").status == 0
    assert told() == [("1", 20), ("8", 10)]
    assert here("streams", paths["whole"], "-c", f"dump {folder} 1 --overwrite").status == 0
    assert told() == [("8", 10)]
    assert here("streams", paths["whole"], "-c", f"dump {folder} --overwrite").status == 0
    assert not holes.exists()


def test_a_program_that_says_nothing_more_gets_the_rest_of_the_bytes(here, tmp_path):
    path = tmp_path / "large.pcap"
    sent = [bytes([65 + turn % 26]) * 1400 for turn in range(400)]
    path.write_bytes(pcap_bytes(talk(40_000, [(">", each) for each in sent])))
    outcome = here("streams", path, "-c", f"pipe 1 sh -c 'exec cat > {tmp_path}/kept 2>&1'")
    assert outcome == (0, b"", "")
    assert (tmp_path / "kept").read_bytes() == b"".join(sent)


def test_pipe_gives_bytes_to_a_program_and_shows_what_it_says(here, path):
    assert here("streams", path, "-c", "pipe 9 --side server tr a-z A-Z").out == b"NEEDLE IN A HAYSTACK"
    assert_one_line(here("streams", path, "-c", "pipe 9 no-such-program-here").err, "no-such-program-here")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("false", "false ended with status 1"),
        ("sh -c 'exit 3'", "sh ended with status 3"),
        ("sh -c 'kill -TERM $$'", "sh was killed by SIGTERM"),
        ("sh -c 'cat > /dev/null; exit 9'", "sh ended with status 9"),
    ],
)
def test_a_program_that_fails_is_told_and_fails_the_command(here, path, program, said):
    outcome = here("streams", path, "-c", f"pipe 9 {program}; stats")
    assert outcome.status == 1
    assert outcome.err == f"tcpsight: note: {said}\n"
    assert "connections shown" in outcome.text
    assert here("streams", path, "-c", "pipe 9 true").status == 0


def test_it_is_the_program_that_is_waited_for_and_not_what_it_leaves_behind(here, path):
    begin = time.monotonic()
    outcome = here("streams", path, "-c", "pipe 9 sh -c 'setsid sleep 20 & echo said; exit 0'")
    assert time.monotonic() - begin < programs.IDLE_S
    assert outcome == (0, b"said\n", "tcpsight: note: sh left something behind that still holds its output\n")


def test_what_a_program_says_reaches_a_pipe_written_out_and_a_file_or_whoever_asks_as_it_is(here, path, tmp_path):
    commands = r"pipe 9 printf 'a\r\n\033[2J\302\233\303\244\233'"
    assert process("streams", path, "-c", commands).text == "a\n\\x1b[2J\\u009b\u00e4\\x9b"
    raw = b"a\r\n\x1b[2J\xc2\x9b\xc3\xa4\x9b"
    assert process("streams", path, "-c", commands.replace("9 ", "9 --raw ", 1)).out == raw
    assert here("streams", path, "-c", commands, "-o", tmp_path / "said").status == 0
    assert (tmp_path / "said").read_bytes() == raw
    assert b"nothing to show on a terminal" in on_a_terminal("streams", str(path), "-c", "pipe 9 --raw cat")


@pytest.mark.parametrize("name", ["talk.pcap", "link", "hard", "sub/../talk.pcap"])
def test_no_command_writes_over_the_capture_it_reads(here, path, tmp_path, name):
    (tmp_path / "link").symlink_to(path)
    (tmp_path / "hard").hardlink_to(path)
    (tmp_path / "sub").mkdir()
    before = path.read_bytes()
    for overwrite in ("", " --overwrite"):
        outcome = here("streams", path, "-c", f"export {tmp_path / name}{overwrite}")
        assert outcome.status == 2
        assert_one_line(outcome.err, "the capture would be lost")
    assert path.read_bytes() == before
    target = tmp_path / "out" / "9-10.0.0.1.40001-10.0.0.9.80.server"
    target.parent.mkdir()
    path.rename(target)
    assert_one_line(here("streams", target, "-c", f"dump {target.parent} --overwrite").err, "the capture would be lost")
    assert target.read_bytes() == before


def test_export_replaces_a_file_only_if_asked_and_never_the_answers(here, path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    assert_one_line(here("streams", path, "-c", f"export {victim} 9").err, "is there already", "--overwrite")
    assert victim.read_text() == "mine"
    assert here("streams", path, "-c", f"export {victim} 9 --overwrite").status == 0
    assert victim.read_bytes()[:4] == b"\x0a\x0d\x0d\x0a"
    answers = tmp_path / "answers"
    assert_one_line(here("streams", path, "-c", f"export {answers}", "-o", answers).err, "takes the answers")
    assert b"is a terminal" in on_a_terminal("streams", str(path), "-c", "export /dev/stdout")


def fragmented(path: Path) -> Path:
    """Write a capture of two connections, 1 and 7: what the server says comes in IP fragments."""
    one = talk(40_000, [(">", b"q" * 100), ("<", b"r" * 200), ("<", b"s" * 10)])
    two = talk(40_001, [(">", b"Q" * 100), ("<", b"R" * 200)], START_NS + 100)
    first, second = in_pieces(one[4], 48, 96, number=7), in_pieces(two[4], 104, number=8)
    lost = in_pieces(two[4]._replace(time_ns=two[4].time_ns + 50), 104, number=9)[:1]
    frames = [*one[:4], *one[5:], *two[:4], *two[5:], *first, *second, *lost]
    frames.sort(key=lambda frame: frame.time_ns)
    path.write_bytes(pcap_bytes(frames))
    return path


def test_export_has_all_fragments_of_what_it_has_and_tshark_reads_them_as_before(here, tmp_path, require_program):
    tshark = require_program("tshark")
    path = fragmented(tmp_path / "fragments.pcap")
    listed = here("connections", path, "--format", "jsonl", "--columns", "connection_id,client_port").text
    for row in map(json.loads, listed.splitlines()):
        chosen = tmp_path / f"{row['client_port']}.pcapng"
        assert here("streams", path, "-c", f"export {chosen} {row['connection_id']}").status == 0
        fields = ("frame.time_epoch", "ip.id", "ip.frag_offset", "ip.flags.mf", "tcp.seq", "tcp.len", "tcp.payload")
        command = [tshark, "-n", "-T", "fields", *(w for f in fields for w in ("-e", f)), "-r"]

        def told(source: Path, keep: str, command: list[str] = command) -> list[str]:
            return subprocess.run(
                [*command, source, "-Y", keep], capture_output=True, text=True, check=True
            ).stdout.split("\n")

        number = 7 if row["client_port"] == 40_000 else 8
        of_it = f"tcp.port == {row['client_port']} || ip.id == {number}"
        assert told(chosen, "frame") == told(path, of_it)
        assert len(told(chosen, f"ip.id == {number}")) == 4 - (number == 8)  # the last line is empty


def test_what_lacks_is_told_with_the_reason_of_its_segments(here, tmp_path):
    path = fragmented(tmp_path / "fragments.pcap")
    told = json.loads(here("follow", path, "1", "--format", "json").text)["server"]
    assert {name: told[name] for name in ("bytes", "missing_bytes", "cut_bytes", "fragment_bytes", "text_bytes")} == {
        "bytes": 210, "missing_bytes": 200, "cut_bytes": 0, "fragment_bytes": 200, "text_bytes": 0
    }  # fmt: skip
    ladder = here("streams", path, "-c", "show 1; stats").text
    assert "200 B in IP fragments" in ladder
    assert "cut off" not in ladder
    assert "400 bytes of payload not captured: 400 in IP fragments\n" in ladder
    text = tmp_path / "talk.txt"
    ends = ("10.0.0.1.40000 > 10.0.0.9.80", "10.0.0.9.80 > 10.0.0.1.40000")
    lines = (f"17000000{i:02}.000000 IP {ends[i % 2]}: Flags [P.], seq 1:11, ack 1, win 9, length 10" for i in range(2))
    text.write_text("".join(f"{line}\n" for line in lines))
    said = here("streams", text, "-c", "follow 1; show 1; stats").text
    assert "10 bytes, 10 not captured; of segments that were seen: 10 not in the text" in said
    assert "20 bytes of payload not captured: 20 not in the text\n" in said
    assert "cut off" not in said
    assert_one_line(here("streams", text, "-c", f"export {tmp_path}/text.pcapng").err, "is text")


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
