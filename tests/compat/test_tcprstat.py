"""tcprstat: every genuine output of the old tool, its rules, and a real server under load.

Longer than other files: the whole of one older tool.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from math import floor, sqrt
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcpsight.compat import tcprstat_format
from tcpsight.compat.local_addresses import local_addresses
from tcpsight.compat.tcprstat_format import Samples, header, is_format, line
from tcpsight.compat.tcprstat_options import packed
from tests.cli.running import COMMAND, Here, Outcome
from tests.compat.running import lines_of
from tests.support.packet_sockets import wait_until_it_captures
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered, capture

SECOND = 1000 * MS
SERVER, CLIENT = "10.0.0.9", "10.0.0.1"
PLAIN = r"%T %n %s\n"


@pytest.fixture
def tcprstat(here: Here, tmp_path: Path) -> Callable[..., Outcome]:
    """Run it on frames; the server is 10.0.0.9 unless the words say otherwise."""

    def run(frames: list[Frame], *words: str) -> Outcome:
        path = tmp_path / "capture.pcap"
        path.write_bytes(pcap_bytes(frames, nanoseconds=True))
        local = [] if "-l" in words else ["-l", SERVER]
        return here("compat", "tcprstat", "-r", path, *local, *words)

    return run


def rows(done: Outcome) -> list[list[int]]:
    assert (done.status, done.err) == (0, "")
    return [list(map(int, text.split())) for text in done.text.splitlines()[1:]]


# ------------------------------------------------------------------------------------------ genuine output


def test_there_are_eight_commands(fixtures_dir: Path):
    assert len((fixtures_dir / "tcprstat" / "commands.tsv").read_text().splitlines()) == 8


@pytest.mark.parametrize("row", range(8))
def test_every_command_gives_the_genuine_output(
    here: Here, monkeypatch: pytest.MonkeyPatch, fixtures_dir: Path, row: int
):
    folder = fixtures_dir / "tcprstat"
    name, command, status = (folder / "commands.tsv").read_text().splitlines()[row].split("\t")
    monkeypatch.chdir(folder)
    done = here("compat", *shlex.split(command))
    assert done.text == (folder / f"{name}.txt").read_text()
    assert f"{done.err}exit={done.status}\n" == (folder / f"{name}.err").read_text()
    assert status == f"exit {done.status}"


def test_help_names_every_option_of_the_genuine_help(here: Here, fixtures_dir: Path):
    genuine = " ".join(lines_of(fixtures_dir / "tcprstat" / "help.txt")[5:])
    done = here("compat", "tcprstat", "--help")
    assert done.status == 0
    for word in genuine.replace(",", " ").replace("[", " ").replace("=", " ").split():
        if word.startswith("-") and word != "-":
            assert word in done.text.replace("=", " ")
    assert done.text.splitlines()[0].startswith("tcprstat 0.3.1")
    assert here("compat", "tcprstat", "-V").text == done.text.splitlines()[0] + "\n"


# ------------------------------------------------------------------------------------------------- rules


def test_a_sample_belongs_to_the_interval_in_which_its_answer_is_seen(tcprstat: Callable[..., Outcome]):
    frames = Talk([Exchange(900 * MS, 1500 * MS), Exchange(MS, MS)]).frames()
    assert rows(tcprstat(frames, "-t", "1", "-f", PLAIN)) == [[1_700_000_001, 0, 0], [1_700_000_002, 0, 0]]
    assert rows(tcprstat(frames, "-t", "1", "-f", PLAIN, "--tail"))[2] == [1_700_000_003, 2, 1_501_000]


def test_an_answer_at_the_end_of_an_interval_belongs_to_it(tcprstat: Callable[..., Outcome]):
    at_the_end = Talk([Exchange(0, SECOND - 2 * MS), Exchange(SECOND, MS)]).frames()
    assert rows(tcprstat(at_the_end, "-t", "1", "-f", PLAIN))[0] == [1_700_000_001, 1, 998_000]
    later = Talk([Exchange(0, SECOND - 2 * MS + 1000), Exchange(SECOND, MS)]).frames()
    assert rows(tcprstat(later, "-t", "1", "-f", PLAIN))[0] == [1_700_000_001, 0, 0]


def test_empty_intervals_are_rows_of_zeros(tcprstat: Callable[..., Outcome]):
    frames = Talk([*answered(1), Exchange(5 * SECOND, MS)]).frames()
    found = rows(tcprstat(frames, "-t", "1"))
    assert [row[:2] for row in found] == [[1_700_000_001 + i, int(i == 0)] for i in range(5)]
    assert not any(any(row[1:]) for row in found[1:])


def test_a_capture_that_is_shorter_than_the_interval_gives_a_header_unless_the_tail_is_wanted(
    tcprstat: Callable[..., Outcome],
):
    frames = Talk(answered(5, 1, 3)).frames()
    assert rows(tcprstat(frames)) == []
    assert rows(tcprstat(frames, "--tail", "-f", PLAIN)) == [[1_700_000_010, 3, 9000]]


def test_times_are_cut_to_microseconds_before_they_are_subtracted(tcprstat: Callable[..., Outcome]):
    frames = Talk([Exchange(999, 2), Exchange(0, 1998)]).frames()
    # From 0.999 to 1.001 and from 1.001 to 2.999 µs.
    assert rows(tcprstat(frames, "--tail", "-f", r"%m %M\n")) == [[1, 1]]


def test_a_request_that_is_sent_again_begins_anew_and_a_second_answer_is_nothing(tcprstat: Callable[..., Outcome]):
    there, back = (CLIENT, SERVER, 40_000, 3306), (SERVER, CLIENT, 3306, 40_000)
    frames = [
        Frame(START_NS, tcp_frame(*there, 100, 900, "PA", b"ask")),
        Frame(START_NS + 300 * MS, tcp_frame(*there, 100, 900, "PA", b"ask")),
        Frame(START_NS + 301 * MS, tcp_frame(*back, 900, 103, "PA", b"tell")),
        Frame(START_NS + 600 * MS, tcp_frame(*back, 900, 103, "PA", b"tell")),
    ]
    assert rows(tcprstat(frames, "--tail", "-f", r"%n %s\n")) == [[1, 1000]]


def test_where_the_client_is_local_it_is_the_time_between_its_requests(tcprstat: Callable[..., Outcome]):
    frames = Talk(answered(5, 1, 3, after_ms=10)).frames()
    # Of two pauses; before the first request nothing came in.
    assert rows(tcprstat(frames, "-l", CLIENT, "--tail", "-f", r"%n %m %M\n")) == [[2, 10_000, 10_000]]


def test_only_the_port_is_looked_at_by_either_side(tcprstat: Callable[..., Outcome]):
    frames = capture([Talk(answered(5)), Talk(answered(7), server_port=80, client_port=50_000)])
    for port, sum_us in (("80", 7000), ("3306", 5000), ("0x50", 7000), ("50000", 7000), ("40000", 5000)):
        assert rows(tcprstat(frames, "-p", port, "--tail", "-f", r"%n %s\n")) == [[1, sum_us]]
    assert rows(tcprstat(frames, "--tail", "-f", r"%n %s\n")) == [[2, 12_000]]


def test_the_first_interval_begins_with_the_first_segment_of_the_port(tcprstat: Callable[..., Outcome]):
    other = Talk(answered(7), server_port=80, client_port=50_000, start_ns=START_NS - 5 * SECOND)
    frames = capture([other, Talk([Exchange(MS, MS), Exchange(2 * SECOND, MS)])])
    assert [row[0] for row in rows(tcprstat(frames, "-p", "3306", "-t", "1"))] == [1_700_000_001, 1_700_000_002]


def test_addresses_of_both_families_may_be_local_and_written_short(tcprstat: Callable[..., Outcome]):
    talks = [Talk(answered(5)), Talk(answered(2), client="2001:db8::2", server="2001:db8::9")]
    for local, count in (("10.9", 1), ("2001:db8::9", 1), ("10.0.0.9,2001:db8::9", 2), ("10.0.0.8", 0)):
        assert rows(tcprstat(capture(talks), "-l", local, "--tail", "-f", r"%n\n")) == [[count]]


def test_where_both_ends_are_local_the_one_that_was_connected_to_is_the_server(tcprstat: Callable[..., Outcome]):
    frames = Talk(answered(5, 1), client="127.0.0.1", server="127.0.0.1").frames()
    assert rows(tcprstat(frames, "-l", "127.0.0.1", "--tail", "-f", r"%n %s\n")) == [[2, 6000]]
    # Without the handshake the port tells.
    assert rows(tcprstat(frames[3:], "-l", "127.0.0.1", "--tail", "-f", r"%n %s\n")) == [[2, 6000]]


def test_a_capture_that_is_cut_short_gives_the_lines_before_the_cut(here: Here, tmp_path: Path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap_bytes(Talk([Exchange(MS, MS), Exchange(3 * SECOND, MS)]).frames())[:-5])
    done = here("compat", "tcprstat", "-r", path, "-l", SERVER, "-t", "1", "-f", r"%n\n")
    assert (done.status, done.text.split()) == (1, ["count", "1", "0", "0"])
    assert done.err.startswith("pcap: ")


def test_what_is_no_capture_is_one_line(here: Here, tmp_path: Path):
    path = tmp_path / "notes"
    path.write_text("nothing\n")
    done = here("compat", "tcprstat", "-r", path, "-l", SERVER)
    assert done.status == 1
    assert done.err.startswith(f"pcap: {path}: ")
    assert len(done.err.splitlines()) == 1


def test_lines_are_written_while_a_pipe_is_still_open():
    content = pcap_bytes(Talk([Exchange(MS, MS), Exchange(3 * SECOND, MS)]).frames())
    command = [*COMMAND, "compat", "tcprstat", "-r", "-", "-l", SERVER, "-t", "1", "-f", r"%n\n"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tool:
        assert tool.stdin is not None
        assert tool.stdout is not None
        tool.stdin.write(content)
        tool.stdin.flush()
        assert [tool.stdout.readline() for _ in range(4)] == [b"count\n", b"1\n", b"0\n", b"0\n"]
        tool.stdin.close()
        assert tool.wait(30) == 0


# ------------------------------------------------------------------------------------------ command line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-p", "0"], "Invalid port"),
        (["-p", "65536"], "Invalid port"),
        (["-p", "http"], "Invalid port"),
        (["-l", "10.0.0.9,"], "Error parsing local addresses"),
        (["-l", "here"], "Error parsing local addresses"),
        (["-f", "%q"], "Bad format provided: `%q'"),
        (["-f", "%0n"], "Bad format provided: `%0n'"),
        (["-t", "0"], "Bad interval provided"),
        (["-t", "soon"], "Bad interval provided"),
        (["-r", "/no/such/file"], "Cannot open file `/no/such/file': No such file or directory"),
    ],
)
def test_a_wrong_value_is_one_line(here: Here, words: list[str], message: str):
    assert here("compat", "tcprstat", *words) == (1, b"", f"{message}\n")


@pytest.mark.parametrize("words", [["--nonsense"], ["-x"], ["-p"], ["--port"], ["--h"], ["--version=1"]])
def test_a_wrong_option_is_told_with_the_usage(here: Here, words: list[str]):
    done = here("compat", "tcprstat", *words)
    assert (done.status, done.text) == (1, "")
    assert done.err.startswith("tcprstat: ")
    assert done.err.splitlines()[1].startswith("Usage: tcprstat ")


def test_the_first_mistake_is_told(here: Here):
    assert here("compat", "tcprstat", "-p", "0", "-f", "%q", "--nonsense").err == "Invalid port\n"
    assert here("compat", "tcprstat", "-V", "-p", "0").status == 0


def test_options_may_be_joined_cut_short_and_written_in_any_way(tcprstat: Callable[..., Outcome]):
    frames = Talk([*answered(5), Exchange(3 * SECOND, MS)]).frames()
    expected = rows(tcprstat(frames, "-p", "3306", "-t", "2", "-f", PLAIN))
    assert expected
    assert rows(tcprstat(frames, "-p3306", "-t2", f"-f{PLAIN}", "word")) == expected
    assert rows(tcprstat(frames, "--po=3306", "--inter", "2", f"--fo={PLAIN}", "--", "-p", "1")) == expected
    # Offline the number of lines is not limited.
    assert rows(tcprstat(frames, "-p", "3306", "-t", "1", "-n", "1", "-f", PLAIN))[2:]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        (["--no-header"], ""),
        (["--header=own %n"], "own count"),
        (["--no-header", "--header"], "timestampcountavg\n"),
        (["--header=x", "--no-header"], ""),
    ],
)
def test_headers_are_made_given_or_left_out(tcprstat: Callable[..., Outcome], words: list[str], first: str):
    frames = Talk(answered(1)).frames()
    assert tcprstat(frames, "-f", r"%T %n %a\n", *words).text == first


# ------------------------------------------------------------------------------------- formats, statistics


@pytest.mark.parametrize(
    ("format", "is_good"),
    [
        ("%n", True), ("%95M", True), ("%1n", True), ("%100n", True), ("%95z", True), ("%95", True), ("%r", True),
        ("%%", True), ("words", True), ("", True), ("%", False), ("%0n", False), ("%101n", False), ("%q", False),
        ("%n%", False), ("%999999999999999999999n", False),
    ],
)  # fmt: skip
def test_a_format_is_codes_and_numbers_from_1_to_100(format: str, is_good: bool):
    assert is_format(format) == is_good


def text_of(format: str, *microseconds: int) -> str:
    return line(format, Samples(list(microseconds)), iteration=3, end_s=1_700_000_010, elapsed_s=40)


@pytest.mark.parametrize(
    ("format", "text"),
    [
        ("%I %t %T", "3 40 1700000010"),
        (r"a\tb\nc\rd\\e\fg", "a\tb\nc\rd\\e\\fg"),
        ("%%|%r|%95z|%95%|%95I", "%|||%|3"),
        ("%n %50n %49n %1n", "4 2 1 0"),
        ("%m %50m %1m %M %50M %1M", "10 10 10 40 20 0"),
        ("%h %75h %50h", "30 20 20"),
        ("%s %x %a %75a", "100 3000 25 20"),
        ("%v %S", "125 11"),
    ],
)
def test_lines_are_made_of_codes_escapes_and_words(format: str, text: str):
    assert text_of(format, 40, 10, 30, 20) == text


def test_of_no_samples_every_statistic_is_0():
    assert text_of("%n%a%s%x%m%M%h%S%v%95M") == "0" * 10


@pytest.mark.parametrize(
    ("text", "is_verbatim", "expected"),
    [
        (r"%T\t%n %a|%%|\n", False, "timestamp\tcountavg\n"),
        (
            "%95n %95a %95S %95s %95x %95m %95M %95h %95v",
            False,
            "95_cnt95_avg95_std95_sum95_sqs95_min95_max95_med95_var",
        ),
        ("%100n %5I %5T %5t", False, "countiter#timestampelapsed"),
        (r"time %T\\n\r%n%r\q", True, "time timestamp\\n\rcount\\q"),
        # Made from a format, the second backslash begins an escape of its own.
        (r"%n\\n\r", False, "count\n"),
    ],
)
def test_headers_are_made_of_names(text: str, is_verbatim: bool, expected: str):
    assert header(text, is_verbatim=is_verbatim) == expected


def slow_statistic(code: str, percentage: int, microseconds: list[int]) -> int:
    """Say what a statistic is, by its definition."""
    everything = sorted(microseconds)
    kept = everything[: floor(len(everything) * percentage / 100)]
    if code == "n":
        return len(kept)
    if code == "m":
        return everything[0] if everything else 0
    if not kept:
        return 0
    total, squares, n = sum(kept), sum(value**2 for value in kept), len(kept)
    variance = squares // n - (total // n) ** 2
    root = next(r for r in range(max(0, int(sqrt(variance)) - 2), variance + 2) if (r + 1) ** 2 > variance)
    return {
        "a": total // n, "s": total, "x": squares, "M": kept[-1], "h": kept[n // 2], "v": variance, "S": root,
    }[code]  # fmt: skip


@given(st.sampled_from("nasxmMhSv"), st.integers(1, 100), st.lists(st.integers(0, 10**13), max_size=30))
def test_statistics_are_what_they_are_defined_to_be(code: str, percentage: int, microseconds: list[int]):
    assert Samples(microseconds).statistic(code, percentage) == slow_statistic(code, percentage, microseconds)


@given(st.text(alphabet="%0159nazr\\tT |", max_size=20))
def test_every_format_that_is_accepted_can_be_written(format: str):
    if is_format(format):
        assert isinstance(text_of(format, 1, 2), str)
        for is_verbatim in (True, False):
            assert isinstance(header(format, is_verbatim=is_verbatim), str)


def test_the_default_format_is_the_genuine_one(fixtures_dir: Path):
    assert f'"{tcprstat_format.DEFAULT_FORMAT}"' in (fixtures_dir / "tcprstat" / "help.txt").read_text()


# -------------------------------------------------------------------------------------------------- live


def test_addresses_of_this_machine_are_local_but_not_those_of_loopback():
    found = local_addresses()
    assert packed("127.0.0.1") not in found
    assert packed("::1") not in found
    assert all(len(address) == 16 for address in found)


@pytest.fixture
def redis(require_program: Callable[[str], str], tmp_path: Path) -> Iterator[int]:
    """Give the port of a Redis server on loopback."""
    if os.geteuid() != 0:
        pytest.skip("needs root to capture")
    require_program("redis-benchmark")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [require_program("redis-server"), "--port", str(port), "--save", "", "--bind", "127.0.0.1"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL) as server:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        yield port
        server.terminate()


@pytest.mark.live
def test_live_every_answer_of_a_real_server_under_load_is_counted_once(redis: int):
    words = ["-l", "127.0.0.1", "-p", str(redis), "-t", "1", "-n", "0", "--tail", "-f", r"%I %n %m %M\n", "--no-header"]
    command = [*COMMAND, "compat", "tcprstat", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as tool:
        wait_until_it_captures(tool)
        time.sleep(1)  # the filter is attached after the socket is bound
        benchmark = ["redis-benchmark", "-p", str(redis), "-c", "4", "-n", "20000", "-t", "get", "-q"]
        subprocess.run(benchmark, check=True, stdout=subprocess.DEVNULL)
        time.sleep(3)  # until its lines, one a second, have told all
        tool.send_signal(signal.SIGINT)
        out, err = tool.communicate(timeout=30)
        assert tool.returncode == 0
    found = [list(map(int, text.split())) for text in out.decode().splitlines()]
    assert [row[0] for row in found] == list(range(len(found)))
    # 20,000 GETs and what the benchmark asks the server of itself, less what a busy machine did not capture.
    dropped = int(err.split()[0]) if err else 0
    assert 20_000 - dropped <= sum(row[1] for row in found) <= 20_010
    assert all(0 < row[2] <= row[3] < 5_000_000 for row in found if row[1])


@pytest.mark.live
def test_live_so_many_lines_are_written_as_are_asked_for(redis: int):
    words = ["-l", "127.0.0.1", "-p", str(redis), "-t", "1", "-n", "2", "-f", r"%T %t %n\n"]
    begin = time.time()
    done = subprocess.run([*COMMAND, "compat", "tcprstat", *words], capture_output=True, check=False, timeout=60)
    first, *found = done.stdout.decode().splitlines()
    assert (done.returncode, first) == (0, "timestampelapsedcount")
    assert [text.split()[1:] for text in found] == [["1", "0"], ["2", "0"]]
    ends = [int(text.split()[0]) for text in found]
    assert ends[1] - ends[0] == 1
    assert begin < ends[0] + 1


@pytest.mark.live
def test_live_without_privilege_is_one_line(require_program: Callable[[str], str]):
    without = [require_program("setpriv"), "--bounding-set=-net_raw,-net_admin"] if os.geteuid() == 0 else []
    command = [*without, *COMMAND, "compat", "tcprstat", "-l", "127.0.0.1", "-p", "1", "-t", "1"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"pcap: any: ")
    assert len(done.stderr.splitlines()) == 1
