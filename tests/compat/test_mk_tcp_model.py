"""mk-tcp-model: every genuine output of the old tool, and what it is told to do beyond them.

Longer than other files: the whole of one older tool.
"""

from __future__ import annotations

import gzip
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.running import COMMAND, Here, environment
from tests.compat.old_requests import old_requests
from tests.compat.running import accepted, compat, lines_of
from tests.support.pcap import pcap_bytes
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered, capture

FAITHFUL = ("--config", "/dev/null")
NO_DATA = ' (lines ending "tcp 0" removed)'
SORTED = " sorted -n -k2,2 (stable)"


def ordered(lines: list[str]) -> list[str]:
    return sorted(lines, key=lambda line: int(line.split()[0]))


def content(folder: Path, name: str) -> bytes:
    """Give the input that a row of the commands names."""
    path = folder / name.removesuffix(NO_DATA).removesuffix(SORTED)
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = data.splitlines(keepends=True)
    if name.endswith(NO_DATA):
        lines = [line for line in lines if not line.rstrip().endswith(b"tcp 0")]
    if name.endswith(SORTED):
        lines.sort(key=lambda line: float(line.split()[1]))
    return b"".join(lines)


def rows(folder: Path) -> list[list[str]]:
    return [line.split("\t") for line in (folder / "commands.tsv").read_text().splitlines()]


@pytest.fixture(scope="module")
def folder(fixtures_dir: Path) -> Path:
    return fixtures_dir / "pt-tcp-model"


@pytest.fixture(scope="module")
def differing() -> dict[str, str]:
    return accepted("pt-tcp-model")


@pytest.mark.parametrize("row", range(22))
def test_every_command_gives_the_genuine_output(
    here: Here, tmp_path: Path, folder: Path, differing: dict[str, str], row: int
):
    commands = rows(folder)
    assert len(commands) == 22
    name, options, expected = commands[row]
    words = [] if options == "-" else options.split()
    path = tmp_path / "input"
    path.write_bytes(content(folder, name))
    done = here("compat", "pt-tcp-model", *FAITHFUL, *words, path)
    found, genuine = done.text.splitlines(), lines_of(folder / expected)
    if "requests" not in words:
        found, genuine = ordered(found), ordered(genuine)
    assert (done.status, done.err) == (0, "")
    assert (found == genuine) == (expected not in differing)


def test_what_the_authors_shipped_comes_out_in_their_time_zone(folder: Path):
    done = compat("mk-tcp-model", *FAITHFUL, folder / "in" / "simpletcp001.txt", zone="MST7MDT")
    assert done.text.splitlines() == lines_of(folder / "upstream-expected" / "simpletcp001.TZ=MST7MDT.txt")


@pytest.mark.parametrize("name", ["edge/ack.txt", "in/mysql-tcp-conversation-003.txt.gz"])
def test_acknowledgments_are_neither_requests_nor_responses(folder: Path, name: str):
    text = content(folder, name)
    done = compat("pt-tcp-model", *FAITHFUL, stdin=text)
    assert ordered(done.text.splitlines()) == old_requests(text.decode().splitlines(), "3306")


def test_text_with_and_without_acknowledgments_and_pcap_give_the_same(fixtures_dir: Path):
    folder = fixtures_dir / "synthetic"
    names = ("reqresp-3306.tcpdump-nonzero.txt", "reqresp-3306.tcpdump-all.txt", "reqresp-3306.pcap")
    found = [ordered(compat("mk-tcp-model", *FAITHFUL, folder / name).text.splitlines()) for name in names]
    assert found[0] == found[1] == found[2]
    assert len(found[0]) == 29


def test_two_servers_of_one_client_port_are_two_conversations(folder: Path):
    done = compat("pt-tcp-model", *FAITHFUL, folder / "edge" / "coll.txt")
    assert [line.split()[:4] for line in done.text.splitlines()] == [
        ["0", "1704067200.000001", "1704067200.000201", "0.000200"],
        ["1", "1704067200.000002", "1704067200.000101", "0.000099"],
    ]


def test_text_of_any_interface_and_of_ipv6_is_read(folder: Path):
    any_interface = compat("pt-tcp-model", *FAITHFUL, folder / "edge" / "mod.txt").text
    assert any_interface == "     0 1704067200.000001 1704067200.000101  0.000100 10.0.0.1:5000\n"
    ipv6 = compat("pt-tcp-model", *FAITHFUL, folder / "edge" / "v6.txt").text
    assert ipv6 == "     0 1704067200.000001 1704067200.000101  0.000100 [fe80::1]:5000\n"


def test_a_first_interval_without_a_completion_is_printed(folder: Path):
    done = compat("pt-tcp-model", *FAITHFUL, "--type", "requests", folder / "edge" / "cross.txt")
    assert done.text.splitlines() == [
        "10  1.00     0.222     1     0 4.500000 4.500000 5.000000 0.000000 5.000000 4.500000",
        "15  1.00     0.000     0     1 0.500000 0.500000 0.000000 0.000000 0.000000 0.500000",
    ]


@pytest.mark.parametrize("row", range(33))
def test_texts_of_the_field_give_the_genuine_requests_or_those_of_their_data(here: Here, fixtures_dir: Path, row: int):
    folder, differing = fixtures_dir / "tcpdump-text", accepted("tcpdump-text")
    commands = rows(folder)
    assert len(commands) == 33
    name, port, count = commands[row]
    done = here("compat", "pt-tcp-model", *FAITHFUL, "--watch-server", f"0.0.0.0:{port}", folder / "in" / name)
    found = ordered(done.text.splitlines())
    genuine = lines_of(folder / "run-expected" / f"{Path(name).stem}.requests.txt")
    assert len(genuine) == int(count)
    assert done.status == 0
    by_data = old_requests((folder / "in" / name).read_text("latin-1").splitlines(), port)
    if "SYN" in differing.get(name, ""):
        # A request of the connection before is not answered an hour later by that of another.
        by_data = [line for line in by_data if float(line.split()[3]) < 3000]
        found, by_data = ([line[6:] for line in lines] for lines in (found, by_data))
    assert found == by_data
    assert (found == ordered(genuine)) == (name not in differing)


# ------------------------------------------------------------------------------------------- requests


@pytest.fixture
def pcap(tmp_path: Path) -> Path:
    path = tmp_path / "capture.pcap"
    talks = [
        Talk(answered(5, 1, 3)),
        Talk([Exchange(5 * MS, None)], client="10.0.0.3", start_ns=START_NS + 4 * MS, is_closed=False),
        Talk(answered(2), client="2001:db8::2", server="2001:db8::9", start_ns=START_NS + 7 * MS),
        Talk(answered(50), server_port=80, client_port=50_000),
    ]
    path.write_bytes(pcap_bytes(capture(talks), nanoseconds=True))
    return path


def test_ids_count_requests_of_the_watched_port_as_they_begin_unanswered_ones_too(pcap: Path):
    found = [line.split() for line in ordered(compat("mk-tcp-model", *FAITHFUL, pcap).text.splitlines())]
    assert [(words[0], words[3], words[4]) for words in found] == [
        ("1", "0.005000", "10.0.0.1:40000"),
        ("2", "0.002000", "[2001:db8::2]:40000"),
        ("3", "0.001000", "10.0.0.1:40000"),
        ("4", "0.003000", "10.0.0.1:40000"),
    ]


def test_ids_go_on_from_file_to_file_and_conversations_do_not(tmp_path: Path, pcap: Path):
    later = tmp_path / "later.pcap"
    later.write_bytes(pcap_bytes(Talk(answered(7), start_ns=START_NS - 10**9).frames()))
    found = [line.split()[0] for line in compat("mk-tcp-model", *FAITHFUL, pcap, later).text.splitlines()]
    assert sorted(map(int, found)) == [1, 2, 3, 4, 5]
    assert found[-1] == "5"


@pytest.mark.parametrize(
    ("pair", "elapsed"),
    [("ts0,end1", "0.031000"), ("ts,end", "0.010000"), ("end,end1", "0.020000"), ("end1,ts0", "-0.031000")],
)
def test_any_two_instants_may_be_chosen(tmp_path: Path, pair: str, elapsed: str):
    path = tmp_path / "dump.txt"
    lines = [("00.000000", ">"), ("00.001000", ">"), ("00.011000", "<"), ("00.031000", "<")]
    client, server = "10.0.0.1.5000", "10.0.0.2.3306"
    path.write_text(
        "".join(
            f"2024-01-01 00:00:{at} IP {client if way == '>' else server} > {server if way == '>' else client}: tcp 9\n"
            for at, way in lines
        )
    )
    assert compat("pt-tcp-model", *FAITHFUL, "--start-end", pair, path).text.split()[3] == elapsed


@pytest.mark.parametrize("server", ["10.0.0.9:80", "anything:http", ":80", "[::1]:80", "10.9.9.9:80:81"])
def test_of_the_watched_server_only_the_port_counts(pcap: Path, server: str):
    done = compat("pt-tcp-model", *FAITHFUL, "--watch-server", server, pcap)
    assert [line.split()[4] for line in done.text.splitlines()] == ["10.0.0.1:50000"]


def test_a_watched_server_without_a_colon_is_watched_at_the_usual_port(pcap: Path):
    assert (
        compat("pt-tcp-model", *FAITHFUL, "--watch-server", "80", pcap).text
        == compat("pt-tcp-model", *FAITHFUL, pcap).text
    )


def test_rows_are_printed_while_a_pipe_is_still_open():
    command = [*COMMAND, "compat", "mk-tcp-model", *FAITHFUL]
    frames = Talk(answered(5, 1, 3), is_closed=False).frames()
    content = pcap_bytes(frames)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as tool:
        assert tool.stdin is not None
        assert tool.stdout is not None
        tool.stdin.write(content)
        tool.stdin.flush()
        # The third request has shown that the first two are over.
        assert [tool.stdout.readline().split()[3] for _ in range(2)] == [b"0.005000", b"0.001000"]
        tool.stdin.close()
        assert tool.stdout.readline().split()[3] == b"0.003000"


def test_the_first_interrupt_lets_the_pipe_end_and_the_second_ends_the_tool(pcap: Path):
    command = [*COMMAND, "compat", "mk-tcp-model", *FAITHFUL]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    for is_patient in (True, False):
        with subprocess.Popen(command, **options) as tool:  # type: ignore[call-overload]
            tool.stdin.write(pcap.read_bytes())
            tool.stdin.flush()
            assert tool.stdout.readline()
            tool.send_signal(signal.SIGINT)
            assert tool.stderr.readline() == b"# Caught SIGINT.\n"
            if is_patient:
                tool.stdin.close()
                assert len(tool.stdout.read().splitlines()) == 3
                assert tool.wait(30) == 0
            else:
                tool.send_signal(signal.SIGINT)
                assert tool.stderr.readline() == b"# Exiting on SIGINT.\n"
                assert tool.wait(30) == 1


# -------------------------------------------------------------------------------------- files and values


def test_files_that_cannot_be_read_are_warned_of_and_change_nothing(tmp_path: Path, pcap: Path):
    done = compat("pt-tcp-model", *FAITHFUL, tmp_path / "none", pcap)
    assert done.status == 0
    assert done.err.startswith(f"{tmp_path / 'none'} does not exist or is not readable")
    assert done.text == compat("pt-tcp-model", *FAITHFUL, pcap).text


def test_empty_files_give_nothing_and_are_no_error(tmp_path: Path):
    empty = tmp_path / "empty"
    empty.touch()
    for kind in ("tcpdump", "requests"):
        assert compat("pt-tcp-model", *FAITHFUL, "--type", kind, empty)[:2] == (0, b"")


@pytest.mark.parametrize("kind", ["tcpdump", "requests"])
def test_a_directory_is_warned_of_and_changes_nothing(here: Here, tmp_path: Path, kind: str):
    done = here("compat", "pt-tcp-model", *FAITHFUL, "--type", kind, tmp_path)
    assert (done.status, done.text, len(done.err.splitlines())) == (0, "", 1)
    assert done.err.startswith(str(tmp_path))


def test_a_capture_that_is_cut_short_gives_what_came_before_and_says_so(tmp_path: Path, pcap: Path):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(pcap.read_bytes()[:-5])
    done = compat("pt-tcp-model", *FAITHFUL, cut)
    assert (done.status, len(done.text.splitlines())) == (2, 4)
    assert str(cut) in done.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--type", "pcap"], "--type must be tcpdump or requests"),
        (["--progress", "time"], "--progress "),
        (["--progress", "minutes,3"], "--progress "),
        (["--progress", "time,x"], "--progress "),
        (["--start-end", "ts"], "--start-end "),
        (["--start-end", "ts,stop"], "--start-end "),
        (["--nonsense"], "Error parsing options"),
        (["--run-time", "soon"], "Error parsing options"),
        (["--quantile"], "Error parsing options"),
        (["-x"], "Error parsing options"),
        # Only the first option may be this one.
        (["--type", "tcpdump", "--config", "/dev/null"], "Error parsing options"),
    ],
)
def test_all_wrong_values_of_options_are_listed_below_the_usage(here: Here, words: list[str], message: str):
    done = here("compat", "pt-tcp-model", *([] if "--config" in words else FAITHFUL), *words)
    lines = done.text.splitlines()
    assert done.status == 1
    assert lines[:3] == ["Usage: pt-tcp-model [OPTION...] [FILE]", "", "Errors in command-line arguments:"]
    assert lines[3].startswith(f"  * {message}")
    assert lines[4] == ""


@pytest.mark.parametrize(
    "words",
    [["--run-time", "0"], ["--run-time", "1e-9"], ["--run-time", "1e400"], ["--quantile", "0"], ["/proc/version"]],
)
def test_what_made_the_old_tool_die_is_one_line_and_its_status(words: list[str]):
    done = compat("pt-tcp-model", *FAITHFUL, "--type", "requests", *words)
    assert (done.status, done.text) == (255, "")
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("quantile", "element"),
    [("0.5", "0.002000"), ("1", "0.003000"), (".1", "0.003000"), ("-.4", "0.002000"), ("1.2", "0.000000"),
     ("-9", "0.000000"), ("1e308", "0.000000"), ("1e400", "0.000000")],
)  # fmt: skip
def test_a_quantile_is_the_element_at_its_rank_and_0_beyond_them(
    here: Here, tmp_path: Path, quantile: str, element: str
):
    path = tmp_path / "requests"
    path.write_text("0 1.1 1.101 0.001 a\n1 1.2 1.203 0.003 a\n2 1.3 1.302 0.002 a\n")
    done = here("compat", "pt-tcp-model", *FAITHFUL, "--type", "requests", "--quantile", quantile, path)
    assert (done.status, done.text.split()[9]) == (0, element)


def test_a_negative_interval_is_taken_for_a_positive_one(folder: Path):
    genuine = lines_of(folder / "upstream-expected" / "sorted001.run-time-1.txt")
    path = folder / "in" / "sorted001.txt"
    assert compat("pt-tcp-model", *FAITHFUL, "--type=requests", "--run-time=-1", path).text.splitlines() == genuine


def test_options_may_be_cut_short_and_follow_the_files(folder: Path):
    path = folder / "in" / "sorted001.txt"
    words = (path, "--ty", "requests", "--run=1", "--quant", ".99")
    genuine = lines_of(folder / "upstream-expected" / "sorted001.run-time-1.txt")
    assert compat("pt-tcp-model", *FAITHFUL, *words).text.splitlines() == genuine


@pytest.mark.parametrize(("name", "text"), [("mk-tcp-model", "mk-tcp-model"), ("pt-tcp-model", "pt-tcp-model 2.1.10")])
def test_the_version_is_told_with_status_1(name: str, text: str):
    done = compat(name, "--version")
    assert done.status == 1
    assert done.text.startswith(text)


def test_help_ends_with_every_option_and_its_value(folder: Path):
    genuine = (folder / "help.txt").read_text().splitlines()
    values = genuine[genuine.index("Options and values after processing arguments:") :]
    done = compat("pt-tcp-model", "--config", "/dev/null", "--help")
    lines = done.text.splitlines()
    found = lines[lines.index(values[0]) :]
    assert done.status == 0
    assert [line.split() for line in found] == [line.split() for line in values]


def test_progress_is_reported_by_what_is_asked_for(folder: Path):
    path = folder / "in" / "sorted001.txt"
    size = len(lines_of(folder / "upstream-expected" / "sorted001.run-time-1.txt"))
    by_line = compat("pt-tcp-model", *FAITHFUL, "--type", "requests", "--progress", "iterations,1", path)
    assert len(by_line.err.splitlines()) == size
    assert by_line.err.splitlines()[-1] == f"{path}: 100% 00:00 remain"
    every_second = compat("pt-tcp-model", *FAITHFUL, "--type", "requests", "--progress", "iterations,2", path)
    assert len(every_second.err.splitlines()) == (size + 1) // 2
    at_once = compat("pt-tcp-model", *FAITHFUL, "--type", "requests", "--progress", "percentage,50", path)
    assert len(at_once.err.splitlines()) == 1
    from_pipe = compat(
        "pt-tcp-model", *FAITHFUL, "--type", "requests", "--progress", "iterations,1", stdin=path.read_bytes()
    )
    assert from_pipe.err == ""


# ------------------------------------------------------------------------------------- configuration files


def run_at_home(home: Path, name: str, *words: str | Path, **variables: str) -> tuple[int, str, str]:
    command = [*COMMAND, "compat", name, *map(str, words)]
    done = subprocess.run(
        command, capture_output=True, check=False, timeout=60, env=environment(TZ="UTC", HOME=str(home), **variables)
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.mark.parametrize(("name", "shared"), [("mk-tcp-model", "maatkit"), ("pt-tcp-model", "percona-toolkit")])
def test_files_at_home_are_read_the_tool_s_own_last_and_the_command_line_wins(tmp_path: Path, name: str, shared: str):
    (tmp_path / f".{shared}.conf").write_text("# for all tools\nquantile = .5 # a note\nrun-time=7\n; done\n\n")
    (tmp_path / f".{name}.conf").write_text("run-time=3\n")
    values = dict(line.split()[:2] for line in run_at_home(tmp_path, name, "--help")[1].splitlines()[-9:])
    assert (values["--quantile"], values["--run-time"]) == (".5", "3")
    values = dict(
        line.split()[:2] for line in run_at_home(tmp_path, name, "--run-time", "2", "--help")[1].splitlines()[-9:]
    )
    assert (values["--quantile"], values["--run-time"]) == (".5", "2")


def test_a_named_file_replaces_the_usual_ones_and_must_be_there(tmp_path: Path):
    (tmp_path / ".pt-tcp-model.conf").write_text("no-such-option\n")
    assert run_at_home(tmp_path, "pt-tcp-model", "--help")[0] == 0
    status, out, err = run_at_home(tmp_path, "pt-tcp-model", "/dev/null")
    assert (status, err) == (1, "Unknown option: no-such-option\n")
    assert "  * Error parsing options" in out
    assert run_at_home(tmp_path, "pt-tcp-model", "--config", "/dev/null", "/dev/null") == (0, "", "")
    missing = tmp_path / "none.conf"
    status, _, err = run_at_home(tmp_path, "pt-tcp-model", "--config", missing, "/dev/null")
    assert (status, err) == (2, f"Cannot open {missing}: No such file or directory\n")


def test_lines_behind_two_dashes_are_files(tmp_path: Path, folder: Path):
    config = tmp_path / "own.conf"
    config.write_text(f"type=requests\nrun-time=1\n--\n{folder / 'in' / 'sorted001.txt'}\n")
    genuine = lines_of(folder / "upstream-expected" / "sorted001.run-time-1.txt")
    assert compat("pt-tcp-model", "--config", config).text.splitlines() == genuine


@pytest.mark.parametrize(("name", "variable"), [("mk-tcp-model", "MKDEBUG"), ("pt-tcp-model", "PTDEBUG")])
def test_the_debug_variable_tells_on_standard_error_and_changes_no_output(
    tmp_path: Path, pcap: Path, name: str, variable: str
):
    quiet = run_at_home(tmp_path, name, pcap)
    talking = run_at_home(tmp_path, name, pcap, **{variable: "1"})
    assert talking[:2] == quiet[:2]
    assert quiet[2] == ""
    assert all(line.startswith(f"# {name}:") for line in talking[2].splitlines())
    assert str(pcap) in talking[2]


# --------------------------------------------------------------------------------------------- the chain


def test_the_chain_of_the_manual_runs_as_it_is_written(tmp_path: Path, folder: Path):
    tool = " ".join([*COMMAND, "compat", "pt-tcp-model", "--config /dev/null"])
    script = f"""
        set -e
        zcat {folder}/in/mysql-tcp-conversation-003.txt.gz > tcp-file.txt
        {tool} tcp-file.txt > requests.txt
        sort -n -k1,1 requests.txt > sorted.txt
        {tool} --type=requests --run-time=1 sorted.txt > sliced.txt
        for f in sliced.txt; do
           tail -n +2 "$f" | head -n -1 | awk '{{print $2, $3, $7/$4}}'
        done > usl-input.txt
        {" ".join(COMMAND)} compat usl -o none usl-input.txt > chained.txt
    """
    subprocess.run(["bash", "-c", script], cwd=tmp_path, env=environment(TZ="UTC"), check=True, timeout=120)
    genuine = lines_of(folder / "run-expected" / "conv003.nonzero.slices.sorted-by-id.run-time1.txt")
    assert (tmp_path / "sliced.txt").read_text().splitlines() == genuine
    points = [line.split() for line in (tmp_path / "usl-input.txt").read_text().splitlines()]
    assert [point[:2] for point in points] == [line.split()[1:3] for line in genuine[1:-1]]
    # What it ends with is what the fit says of the genuine points.
    by_hand = "".join(" ".join(line.split()[1:3]) + "\n" for line in genuine[1:-1])
    fitted = compat("usl", "-o", "none", stdin=by_hand.encode())
    assert fitted.status == 0
    # The first line repeats the command.
    assert (tmp_path / "chained.txt").read_text().splitlines()[1:] == fitted.text.splitlines()[1:]
    assert "sigma" in fitted.text
