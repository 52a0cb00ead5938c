"""streams: every recorded session gives the recorded transcript, and the rules behind it hold elsewhere."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from tcpsight.compat.streams_prompt import pattern_text, visible
from tcpsight.conversations import programs
from tests.compat.running import accepted, compat
from tests.conftest import BESIDE
from tests.support.pcap import Frame, pcap_bytes, tcp_frame

FOLDER = BESIDE / "fixtures" / "streams"
S = 10**9
START_NS = 1_700_000_000 * S
A, B = "10.0.0.1", "10.0.0.9"

Step = tuple[float, str, str, int, bytes]
"""Seconds, who sends (``>`` the client), flags, sequence number, payload."""


def recorded() -> list[str]:
    names = [path.stem for path in sorted(FOLDER.glob("*.commands"))] if FOLDER.is_dir() else []
    return [name for name in names if name not in accepted("streams")]


@pytest.fixture
def room(fixtures_dir, tmp_path):
    """A folder with the captures that the recorded sessions name."""
    for folder in ("streams", "synthetic"):
        for path in (fixtures_dir / folder).glob("*.pcap"):
            shutil.copy(path, tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", recorded())
def test_a_recorded_session_gives_its_transcript(room, name):
    done = compat("streams", stdin=(FOLDER / f"{name}.commands").read_bytes(), cwd=room)
    assert done.out == (FOLDER / f"{name}.transcript.txt").read_bytes()
    assert (done.status, done.err) == (0, "")


def test_the_recorded_sessions_are_there(fixtures_dir):
    assert len(recorded()) >= 5


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.bin")) if FOLDER.is_dir() else [], ids=lambda path: path.stem)
def test_a_recorded_dump_gives_its_bytes(room, path):
    capture, number = path.stem.split(".stream")
    done = session(room, f"analyze {capture}.pcap", "outfile dumped", f"dump {number}", "quit")
    assert (room / "dumped").read_bytes() == path.read_bytes()
    assert done.out.endswith(f"streams> dump {number}\nstreams> quit\n".encode())


def session(folder: Path, *commands: str | bytes):
    lines = [command if isinstance(command, bytes) else command.encode() for command in commands]
    return compat("streams", stdin=b"".join(line + b"\n" for line in lines), cwd=folder)


def frames(steps: Iterable[Step], port: int = 40_000, server: str = B, client: str = A) -> list[Frame]:
    made = []
    for seconds, sender, flags, seq, payload in steps:
        ends, ports = ((client, server), (port, 80)) if sender == ">" else ((server, client), (80, port))
        made.append(Frame(START_NS + round(seconds * S), tcp_frame(*ends, *ports, seq, 0, flags, payload)))
    return made


@pytest.fixture
def told(tmp_path):
    """Give the answers to some commands about a capture, without prompts and echoes."""

    def tell(made: list[Frame], *commands: str) -> list[str]:
        (tmp_path / "made.pcap").write_bytes(pcap_bytes(made))
        done = session(tmp_path, "analyze made.pcap", "filter", *commands, "quit")
        assert done.status == 0, done.err
        answers = re.split(r"streams> .*\n", done.out.decode("utf-8", "backslashreplace"))
        return answers[3:-1]

    return tell


def opened(at: float = 0, isn: int = 1000) -> list[Step]:
    return [(at, ">", "S", isn, b""), (at + 0.1, "<", "SA", 5000, b"")]


def test_every_syn_begins_a_stream_of_its_own_direction(told):
    (answer,) = told(frames([*opened(), (1, ">", "PA", 1001, b"abc"), (2, ">", "FA", 1004, b"")]), "list")
    assert answer.splitlines() == [
        "    0:       0.000000       2.000000  10.0.0.1:40000 > 10.0.0.9:80 (3 bytes)",
        "    1:       0.100000       0.100000  10.0.0.9:80 > 10.0.0.1:40000 (0 bytes) [empty/incomplete]",
    ]


def test_without_a_syn_there_is_no_stream(told):
    assert told(frames([(0, ">", "PA", 1001, b"abc"), (1, ">", "FA", 1004, b"")]), "list", "count") == [
        "",
        "number of streams: 0 (0 non-empty and complete)\n",
    ]


def test_a_fin_or_rst_ends_its_own_side_with_the_bytes_it_carries(told):
    steps = [*opened(), (1, ">", "RA", 1001, b"bye"), (2, ">", "A", 1004, b"late"), (3, "<", "A", 5001, b"on")]
    answer, output = told(frames(steps), "list", "ext cat\npipe 0")[0::2]
    lines = answer.splitlines()
    assert lines[0].endswith("(3 bytes)")
    assert "1.000000  10.0.0.1" in lines[0]
    assert lines[1].endswith("(2 bytes) [empty/incomplete]")
    assert output == "bye"


def test_a_pure_acknowledgment_makes_a_stream_last_longer(told):
    (answer,) = told(frames([*opened(), (7, ">", "A", 1001, b"")]), "list 0")
    assert "       7.000000  10.0.0.1:40000" in answer


def test_a_syn_after_the_timeout_is_another_connection_and_before_it_the_same(told):
    made = frames([*opened(), (1, ">", "A", 1001, b"old"), (40, ">", "S", 1100, b""), (41, ">", "A", 1101, b"new")])
    answers = told(made, "count", "timeout 50", "analyze made.pcap", "count", "ext cat", "pipe 0")
    assert answers[0] == "number of streams: 3 (0 non-empty and complete)\n"
    assert answers[3] == "number of streams: 2 (0 non-empty and complete)\n"
    # By its number the new byte lies 100 bytes behind the old SYN.
    assert answers[5] == "old" + "\0" * 97 + "new"


def test_after_an_end_the_next_syn_begins_anew_at_once(told):
    steps = [*opened(), (1, ">", "FA", 1001, b"one"), (1.5, ">", "S", 9000, b""), (2, ">", "FA", 9001, b"two")]
    assert [line.split()[-2:] for line in told(frames(steps), "list")[0].splitlines()] == [
        ["(3", "bytes)"],
        ["bytes)", "[empty/incomplete]"],
        ["(3", "bytes)"],
    ]


def test_a_syn_that_is_tried_again_with_another_number_counts(told):
    made = frames([(0, ">", "S", 1000, b""), (1, ">", "S", 777_000, b""), (2, ">", "FA", 777_001, b"abc")])
    assert told(made, "list 0")[0].endswith("(3 bytes)\n")


def test_where_segments_overlap_the_last_one_counts(told):
    steps = [*opened(), (1, ">", "A", 1001, b"aaaa"), (2, ">", "A", 1003, b"BB"), (3, ">", "FA", 1005, b"")]
    assert told(frames(steps), "ext cat", "pipe 0")[1] == "aaBB"


def test_a_stream_goes_on_where_sequence_numbers_wrap(told):
    isn = 2**32 - 3
    steps = [(0, ">", "S", isn, b""), (1, ">", "A", isn + 1, b"ab"), (2, ">", "A", 0, b"cd"), (3, ">", "FA", 2, b"ef")]
    assert told(frames(steps), "ext cat", "pipe 0")[1] == "abcdef"


def test_holes_are_zeros_in_their_places_match_nothing_and_are_told(told, tmp_path):
    steps = [*opened(), (1, ">", "A", 1001, b"ab"), (2, ">", "FA", 1006, b"cd")]
    answers = told(frames(steps), "match x 00", "list", "match cd", "list 0", "outfile out", "dump 0")
    assert answers[1] == ""
    assert answers[3].endswith("(7 bytes)\n")
    assert (tmp_path / "out").read_bytes() == b"ab\0\0\0cd"
    done = session(tmp_path, "analyze made.pcap", "outfile out", "dump 0")
    assert done.err == "streams: note: stream 0: 3 of 7 bytes were not captured; zeros stand in their places\n"


def test_bytes_beyond_a_snapshot_length_are_counted(tmp_path):
    made = frames([*opened(), (1, ">", "FA", 1001, b"x" * 100)])
    made[2] = made[2]._replace(data=made[2].data[:64], wire_bytes=len(made[2].data))
    (tmp_path / "made.pcap").write_bytes(pcap_bytes(made))
    done = session(tmp_path, "analyze made.pcap", "list", "outfile out", "dump 0")
    assert b"(100 bytes)" in done.out
    assert "90 of 100 bytes were not captured (90 of them because frames were cut short)" in done.err


def test_a_filter_numbers_anew_and_keeps_the_first_time(told):
    made = frames([*opened(), (1, ">", "FA", 1001, b"a")]) + frames([*opened(5), (6, ">", "FA", 1001, b"b")], 41_000)
    answers = told(made, "bpf port 41000", "list 0", "bpf", "list 2")
    assert answers[0] == "file processed, 2 streams (1 non-empty and complete).\napplying new filter...\n"
    assert answers[1].startswith("    0:       5.000000       6.000000  10.0.0.1:41000")
    assert answers[3] == answers[1].replace("    0:", "    2:")


def test_an_expression_that_makes_no_sense_is_told_and_leaves_no_streams(told):
    answers = told(frames(opened()), "bpf nonsense and", "list", "bpf", "count")
    assert answers[0].startswith("pcap_compile(): ")
    assert answers[0].endswith("\napplying new filter...\n")
    assert answers[1] == ""
    assert answers[3].startswith("number of streams: 2")


def test_ports_are_counted_over_all_streams_the_rarest_first(told):
    made = [*frames(opened(), 1000), *frames(opened(1), 1000, server="10.0.0.8"), *frames(opened(2), 9, client=B)]
    assert told(made, "ports") == ["     9: 1\n  1000: 2\n    80: 3\n"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [("ell", True), ("elo", False), ("x 656c6c", True), ("x 656c6c6", True), ("x 656c6f", False), ("x", False)],
)
def test_a_pattern_is_text_or_pairs_of_digits(told, pattern, found):
    answers = told(frames([*opened(), (1, ">", "FA", 1001, b"hello")]), f"match {pattern}", "list")
    assert answers[0] == "applying new match expression...\n"
    assert bool(answers[1]) == found


def test_a_pattern_that_is_none_is_dropped_and_leaves_what_was_found(told):
    made = frames([*opened(), (1, ">", "FA", 1001, b"hello")])
    answers = told(made, "match hello", "match x zz", "list", "match", "list")
    assert answers[1] == "pattern is not a valid hex string\n"
    assert len(answers[2].splitlines()) == 1
    assert answers[3] == "match expression removed\n"
    assert len(answers[4].splitlines()) == 2


def test_status_shows_binary_patterns_in_rows_of_sixteen():
    assert pattern_text(b"GET /") == "GET /\n"
    assert pattern_text(bytes(range(18))) == (
        "\n0x00000000  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  |................|\n"
        "0x00000010  10 11                                             |..|\n\n"
    )


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("list", "select a packet source first\n"),
        ("ports", "select a packet source first\n"),
        ("count", "number of streams: 0 (0 non-empty and complete)\n"),
        ("analyze", "need an argument.\n"),
        ("analyze nonesuch", "could not open trace file: nonesuch: No such file or directory\n"),
        ("dump 0", "no output file specified\n"),
        ("pipe 0", "no external program specified\n"),
        ("offset", "offset: need an argument\n"),
        ("nothing", "Command not implemented. Type 'help' for a list of supported commands.\n"),
        ("Status", "Command not implemented. Type 'help' for a list of supported commands.\n"),
        ("match abc", ""),
        ("bpf udp", ""),
        ("", "\r"),
        ("  count  ", "number of streams: 0 (0 non-empty and complete)\n"),
        ("c", "number of streams: 0 (0 non-empty and complete)\n"),
        ("timeo 0x10", "new tcp session timeout: 16 seconds\n"),
        ("timeout 010", "new tcp session timeout: 8 seconds\n"),
        ("t", "timestamps: absolute\n"),
        ("f", "stream filter: off (list all streams)\n"),
    ],
)
def test_commands_without_a_capture(tmp_path, command, answer):
    done = session(tmp_path, command, "quit")
    assert done.out.decode() == f"streams> {command}\n{answer}streams> quit\n"


@pytest.mark.parametrize("number", ["2", "99", "-1", "99999999999999999999"])
def test_a_stream_that_is_not_there_is_told(told, number):
    commands = (f"list {number}", "outfile out", f"dump {number}", "ext cat", f"pipe {number}")
    assert told(frames(opened()), *commands)[0::2] == ["no such stream\n"] * 3


def test_the_capture_may_be_named_on_the_command_line(room):
    done = compat("streams", "streams-mix.pcap", stdin=b"count\n", cwd=room)
    assert done.out == (
        b"file processed, 14 streams (7 non-empty and complete).\n"
        b"streams> count\nnumber of streams: 14 (7 non-empty and complete)\nstreams> \n"
    )


def test_bytes_in_front_of_ip_are_skipped(tmp_path):
    made = frames([*opened(), (1, ">", "FA", 1001, b"abc")])
    odd = [frame._replace(data=frame.data[:14] + b"\xde\xad\xbe\xef\x00\x00" + frame.data[14:]) for frame in made]
    (tmp_path / "odd.pcap").write_bytes(pcap_bytes(odd))
    for offset in ("6", "20"):
        done = session(tmp_path, f"offset {offset}", "analyze odd.pcap", "ext cat", "pipe 0", "offset 0")
        assert b"file processed, 2 streams (1 non-empty and complete).\n" in done.out
        assert b"streams> pipe 0\nabcstreams> offset 0\nfile processed, 0 streams" in done.out


def test_ipv6_is_read_and_written_in_brackets(told):
    made = frames([*opened(), (1, ">", "FA", 1001, b"a")], server="2001:db8::9", client="2001:db8::1")
    assert "[2001:db8::1]:40000 > [2001:db8::9]:80 (1 bytes)" in told(made, "list 0")[0]


def test_a_capture_that_breaks_off_gives_its_streams_and_says_so(tmp_path):
    (tmp_path / "cut.pcap").write_bytes(pcap_bytes(frames([*opened(), (1, ">", "FA", 1001, b"abc")]))[:-2])
    answer = session(tmp_path, "analyze cut.pcap", "quit").out.decode()
    assert "pcap_loop(): cut.pcap: the file ends inside frame 3" in answer
    assert "file processed, 2 streams (0 non-empty and complete).\n" in answer


def test_a_folder_that_is_not_there_is_told_and_the_prompt_goes_on(told):
    answers = told(frames([*opened(), (1, ">", "FA", 1001, b"a")]), "outfile nowhere/out", "dump 0", "count")
    assert answers[1] == "nowhere/out: No such file or directory\n"
    assert answers[2].startswith("number of streams: 2")


# --- programs


LARGE = [*opened(), *((1 + i / 1000, ">", "A", 1001 + 1000 * i, bytes(1000)) for i in range(300))]


def test_a_program_gets_the_bytes_and_what_it_says_is_shown(told):
    answers = told(frames(LARGE), "ext wc -c", "pipe 0", "ext nonesuch -x", "pipe 0", "ext ls /nonesuch", "pipe 0")
    assert answers[1] == "300000\n"
    assert answers[3] == "execvp(): No such file or directory\n"
    assert "/nonesuch" in answers[5]


def test_a_program_that_answers_while_it_reads_does_not_stop_anything(told):
    assert told(frames(LARGE), "ext cat", "pipe 0")[1] == "\0" * 300_000


def test_a_program_that_dies_early_is_no_error(told):
    answers = told(frames(LARGE), "ext true", "pipe 0", "ext head -c 2", "pipe 0", "count")
    assert answers[1] == ""
    assert answers[3] == "\0\0"


@pytest.mark.parametrize(
    ("words", "limit", "value", "why"),
    [
        (["sleep", "600"], "IDLE_S", 0.3, "took and said nothing for 0.3 s"),
        (["sh", "-c", "while :; do echo; sleep .01; done"], "LONGEST_S", 0.5, "ran longer than 0.5 s"),
        (["yes"], "MOST_BYTES", 5000, "wrote more than 5000 bytes"),
        (["sh", "-c", "exec >&- 2>&-; sleep 600"], "IDLE_S", 3, "did not end within 3 s"),
    ],
)
def test_a_program_that_hangs_or_floods_is_ended(monkeypatch, words, limit, value, why):
    monkeypatch.setattr(programs, limit, value)
    shown: list[bytes] = []
    assert programs.run_program(words, iter([bytes(10)]), shown.append).why == why
    assert len(b"".join(shown)) <= 5000


def test_what_a_program_has_started_ends_with_it(monkeypatch):
    monkeypatch.setattr(programs, "IDLE_S", 3)
    shown: list[bytes] = []
    programs.run_program(["sh", "-c", "sleep 600 & echo $!; wait"], iter([]), shown.append)
    stat = Path("/proc") / b"".join(shown).decode().strip() / "stat"
    end = time.monotonic() + 30
    with suppress(FileNotFoundError, ProcessLookupError):  # it is gone
        while stat.read_text().split(") ")[1][0] not in "ZX":
            assert time.monotonic() < end
            time.sleep(0.01)


# --- terminals


def test_nothing_that_a_terminal_would_act_on_is_shown():
    shown = visible(b"a\x1b[31m\x07\xff\xc2\x9b\r\nb\xe2\x80\xae\t\xc3\xa9")
    assert shown == "a\\x1b[31m\\x07\\xff\\x9b\nb\\u202e\t\u00e9".encode()


def test_at_a_terminal_payload_is_shown_without_its_escapes(tmp_path):
    (tmp_path / "made.pcap").write_bytes(pcap_bytes(frames([*opened(), (1, ">", "FA", 1001, b"\x1b]0;evil\x07done")])))
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(tmp_path)
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tcpsight", "compat", "streams", "made.pcap"],
            {**os.environ, "TERM": "dumb"},
        )
    os.write(terminal, b"ext cat\npipe 0\nquit\n")
    seen, end = b"", time.monotonic() + 30
    while time.monotonic() < end and select.select([terminal], [], [], 30)[0]:
        try:
            data = os.read(terminal, 4096)
        except OSError:
            break
        seen += data
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert b"\\x1b]0;evil\\x07done" in seen
    assert b"\x1b]0;evil" not in seen
