"""usl: the printed coefficients, the conversions, the plots.

Longer than other files: the whole of one older tool.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tcpsight.compat.usl_conversions import replies
from tcpsight.model.scalability_curve import fit_deviation, fit_law
from tcpsight.output.units import number
from tests.cli.running import COMMAND, Here, environment
from tests.compat.running import compat
from tests.conftest import ROOT
from tests.support.thorough import some_of

POINTS = "1 100\n2 190\n4 340\n8 520\n16 640\n32 600\n"


@pytest.fixture
def here(capsysbinary) -> Here:
    return Here(capsysbinary)


@pytest.fixture(autouse=True)
def _somewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def points(tmp_path: Path) -> Path:
    path = tmp_path / "points.txt"
    path.write_text(POINTS)
    return path


@pytest.fixture
def known(fixtures_dir: Path) -> Path:
    return fixtures_dir / "pt-usl" / "in" / "N-vs-X-001.txt"


def coefficients(text: str) -> dict[str, str]:
    """Give the last number that stands behind each name."""
    rows = [line.split() for line in text.splitlines() if line.startswith("   ")]
    return {row[0]: row[1] for row in rows}


def test_both_steps_are_printed_as_the_old_tool_printed_them(here, known):
    done = here("compat", "usl", "-o", "none", known)
    lines = done.text.splitlines()
    assert (done.status, done.err) == (0, "")
    assert lines[0] == f"# Command-line: usl -o none {known}"
    assert lines[1].startswith("# Using tcpsight ")
    assert lines[2:] == [
        "# Parameters to the model:",
        "min(N)  1",
        "max(N)  32",
        "max(C)  12211.41",
        "C(1)    955.16 (pre-adjustment by 1)",
        "N=1 ??? 1",
        "# Fitting the transformed data against a 2nd-degree polynomial.",
        "   a       0.000882474 +/- 5.068e-05 (5.743%)",
        "   b       0.0210573 +/- 0.001236 (5.871%)",
        "   R^2     0.998399",
        "# Re-fitting against the USL with (a, b-a) as a starting point.",
        "# Treating (1, 955.16) as a point in original measurements.",
        "   sigma   0.0207164 +/- 0.001301 (6.279%)",
        "   kappa   0.000861218 +/- 5.324e-05 (6.182%)",
        "   C(1)    955.16     (not a regression parameter)",
        "   R^2     0.999624",
    ]


def test_x_fits_the_throughput_of_one_too(here, known):
    found = coefficients(here("compat", "usl", "-o", "none", "-X", known).text)
    assert (found["sigma"], found["kappa"], found["C(1)"]) == ("0.0265824", "0.000771156", "994.751")


def test_without_the_second_fit_the_parabola_tells(here, known):
    done = here("compat", "usl", "-o", "none", "-R", known)
    assert done.text.endswith("   R^2     0.998399\n   sigma   0.020175 +/- 0 (0%)\n   kappa   0.000882 +/- 0 (0%)\n")


def test_the_throughput_of_one_can_be_adjusted(here, known):
    done = here("compat", "usl", "-o", "none", "-x", "1.1", known)
    assert "C(1)    955.16 (pre-adjustment by 1.1)\n" in done.text
    assert "# Adjusting C(1) by 1.1\n" in done.text
    assert "# Treating (1, 1050.68) as a point in original measurements.\n" in done.text


def test_without_n_1_the_least_n_stands_for_it(here, tmp_path):
    path = tmp_path / "points"
    path.write_text("# N C\n2 190\n2 200\n4 340\n8 520\n16 640\n")
    text = here("compat", "usl", "-o", "none", path).text
    assert "min(N)  2\n" in text
    assert "C(1)    97.5 (pre-adjustment by 1)\nN=1 ??? no\n" in text


def test_lines_without_two_numbers_are_left_out_and_counted(here, tmp_path):
    path = tmp_path / "points"
    path.write_text("N C\n" + POINTS + "x y z\n9\nnan 3\n1e999 4\n")
    done = here("compat", "usl", "-o", "none", path)
    assert done.status == 0
    assert done.err == "usl: lines without two numbers, left out: 5\n"
    assert "max(N)  32\nmax(C)  640\n" in done.text


def test_points_come_from_standard_input_and_several_files(known, tmp_path):
    half = known.read_text().splitlines(keepends=True)
    (tmp_path / "a").write_text("".join(half[:9]).rstrip("\n"))
    (tmp_path / "b").write_text("".join(half[9:]))

    def run(*arguments: str, stdin: bytes = b"") -> str:
        command = [*COMMAND, "compat", "pt-usl", "-o", "none", *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, check=True, timeout=60).stdout.decode()

    expected = coefficients(run(str(known)))
    assert coefficients(run(stdin=known.read_bytes())) == expected
    assert coefficients(run("a", "b")) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no point has N > 0 and C > 0"),
        ("1 0\n2 0\n", "no point has N > 0 and C > 0"),
        ("-1 5\n", "no point has N > 0 and C > 0"),
        ("1 5\n", "the quadratic regression failed: "),
        ("1 5\n1 6\n1 7\n", "the quadratic regression failed: "),
    ],
)
def test_points_that_cannot_be_fitted_end_with_status_1(here, tmp_path, text, message):
    path = tmp_path / "points"
    path.write_text(text)
    done = here("compat", "usl", path)
    assert done.status == 1
    assert done.err.startswith(f"usl: {message}")
    assert len(done.err.splitlines()) == 1
    assert not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-z"], "Unknown option '-z'."),
        (["-c", "csv"], "Unknown -c value csv"),
        (["-t", "gif"], "Unknown -t value gif"),
        (["-m", "5", "-x"], "Option '-x' needs a number, not 'points'."),
        (["-l", "far"], "Option '-l' needs a number, not 'far'."),
        (["-P", "0"], "Option '-P' needs a port, not '0'."),
    ],
)
def test_a_wrong_command_line_ends_with_its_usage(here, arguments, message):
    done = here("compat", "usl", *arguments, "points")
    assert done.status == 1
    assert done.text.startswith(f"{message}\nUsage: usl [OPTIONS] FILE [FILE...]\n")


def test_a_file_that_is_not_there_is_one_line(here):
    done = here("compat", "usl", "nowhere")
    assert (done.status, done.err) == (2, "tcpsight: nowhere: No such file or directory\n")


# --- conversions


@pytest.mark.parametrize(("sample", "interval", "expected"), [("003", "0", "01"), ("002", "300", "02")])
def test_global_status_becomes_points(here, fixtures_dir, tmp_path, sample, interval, expected):
    folder = fixtures_dir / "pt-usl"
    keep = tmp_path / "kept"
    source = folder / "in" / f"N-vs-X-{sample}.txt"
    here("compat", "usl", "-c", "globalstatus", "-i", interval, "-n", "3", "-k", keep, "-o", "none", source)
    assert keep.read_bytes() == (folder / "upstream-expected" / f"convert_globalstatus-{expected}.txt").read_bytes()


def test_samples_with_too_many_threads_leave_their_threads_out(here, tmp_path):
    rows = [(100, 3, 10), (200, 50, 11), (400, 5, 12), (500, 2, 13)]
    text = "".join(f"Questions\t{q}\nThreads_running\t{t}\nUptime\t{u}\n" for q, t, u in rows)
    (tmp_path / "status").write_text(text)
    here("compat", "usl", "-c", "globalstatus", "-m", "10", "-k", "kept", "-o", "none", "status")
    # Of three samples the second has too many: (2 + 4) / 2 over two seconds. Then the last one's 4 and 1.
    assert (tmp_path / "kept").read_text().splitlines() == ["3.000000 150.000000", "2.500000 100.000000"]


def test_a_server_that_was_restarted_begins_anew(here, tmp_path):
    rows = [(100, 3, 1000), (200, 3, 1001), (5, 3, 1), (25, 5, 2)]
    text = "".join(f"Questions {q}\nThreads_running {t}\nUptime {u}\nUptime_since_flush 1\n" for q, t, u in rows)
    (tmp_path / "status").write_text(text)
    here("compat", "usl", "-c", "globalstatus", "-k", "kept", "-o", "none", "status")
    assert (tmp_path / "kept").read_text().splitlines() == ["2.000000 100.000000", "3.000000 20.000000"]


@pytest.mark.parametrize("number", ["001", "002"])
def test_answers_of_a_dump_are_those_of_the_old_tool(fixtures_dir, number):
    folder = fixtures_dir / "pt-usl"
    found = "".join(
        reply.line for reply in replies([str(folder / "in" / f"mysql-tcp-conversation-{number}.txt")], 5141)
    )
    assert found == (folder / "upstream-expected" / f"convert_tcpdump_tabulate-{number[1:]}.txt").read_text()


def test_seconds_of_a_real_dump_are_those_of_the_old_tool(here, fixtures_dir, tmp_path):
    source = fixtures_dir / "pt-tcp-model" / "in" / "mysql-tcp-conversation-003.txt.gz"
    keep = tmp_path / "kept"
    done = here("compat", "usl", "-c", "tcpdump", "-P", "3306", "-k", keep, "-o", "none", source)
    assert done.status == 0
    assert keep.read_bytes() == (fixtures_dir / "pt-usl" / "run-expected" / "conv003.1sec.txt").read_bytes()


def test_every_answer_of_a_real_dump_is_that_of_the_old_tool_but_at_equal_times(fixtures_dir):
    source = fixtures_dir / "pt-tcp-model" / "in" / "mysql-tcp-conversation-003.txt.gz"
    with gzip.open(fixtures_dir / "pt-usl" / "run-expected" / "conv003.tabulate.txt.gz", "rt") as file:
        expected = file.read().splitlines()
    found = [reply.line.rstrip("\n") for reply in replies([str(source)], 3306)]
    assert len(found) == len(expected) == 12_507
    differing = [(a.split(), b.split()) for a, b in zip(found, expected, strict=True) if a != b]
    # What happened at the same microsecond, and lines out of order, are counted in the order of time.
    assert len(differing) == 4
    for ours, theirs in differing:
        assert ours[:5] + ours[6:7] == theirs[:5] + theirs[6:7]
        assert abs(int(ours[5]) - int(theirs[5])) == 1
        assert float(ours[7]) == pytest.approx(float(theirs[7]), abs=3e-6)


def test_seconds_go_on_after_midnight(tmp_path):
    lines = []
    for second, clock in ((0, "2024-01-01 23:59:59"), (1, "2024-01-02 00:00:00"), (2, "2024-01-02 00:00:01")):
        for ms in range(0, 1000, 100):
            client = f"10.0.0.1.{40_000 + 10 * second + ms // 100}"
            lines.append(f"{clock}.{ms:03d}000 IP {client} > 10.0.0.9.3306: tcp 10")
            lines.append(f"{clock}.{ms + 50:03d}000 IP 10.0.0.9.3306 > {client}: tcp 20")
    path = tmp_path / "dump.txt"
    path.write_text("\n".join(lines) + "\n")
    found = list(replies([str(path)], 3306))
    assert [round(reply.at - found[0].at, 6) for reply in found] == [round(0.1 * i, 6) for i in range(30)]
    assert found[-1].busy == pytest.approx(1.5)


def test_a_capture_that_is_cut_short_gives_its_points_and_says_so(here, fixtures_dir, tmp_path):
    source = fixtures_dir / "pt-tcp-model" / "in" / "mysql-tcp-conversation-003.txt.gz"
    path = tmp_path / "cut.gz"
    path.write_bytes(source.read_bytes()[:-20_000])
    done = here("compat", "usl", "-c", "tcpdump", "-o", "none", path)
    assert done.status == 2
    assert "sigma" in coefficients(done.text)
    assert len(done.err.splitlines()) == 1


# --- plots

PLOTS = {"efficiency", "deviation", "quadratic-residuals", "quadratic-squared", "residuals-squared", "model-vs-actual"}
MAGICS = {"png": b"\x89PNG", "eps": b"%!PS-Adobe-3.0 EPSF", "pdf": b"%PDF-", "svg": b"<?xml"}


@pytest.mark.parametrize("image", some_of(list(MAGICS), 3))
def test_every_plot_is_drawn_in_every_format(here, points, tmp_path, image):
    done = here("compat", "usl", "-t", image, "-p", "x-", "-e", points)
    assert (done.status, done.err) == (0, "")
    found = {path.name: path.read_bytes() for path in tmp_path.glob("x-*")}
    assert set(found) == {f"x-usl-{name}.{image}" for name in PLOTS}
    assert all(content.startswith(MAGICS[image]) and len(content) > 2000 for content in found.values())


def test_the_model_tells_its_peak_and_coefficients(here, known, tmp_path):
    here("compat", "usl", "-t", "svg", "-o", "model-vs-actual", known)
    text = (tmp_path / "usl-model-vs-actual.svg").read_text()
    for words in ("Peak capacity is C=12253 at N=33", "σ = 0.020716", "κ = 0.000861", "R² = 0.999624"):
        assert words in text
    assert "N (concurrency)" in text
    assert [path.name for path in tmp_path.glob("usl-*")] == ["usl-model-vs-actual.svg"]


def test_points_without_a_peak_say_so(here, tmp_path):
    (tmp_path / "points").write_text("".join(f"{n} {n * 100 / (1 + 0.01 * (n - 1))}\n" for n in (1, 2, 4, 8, 16)))
    here("compat", "usl", "-R", "-a", "-t", "svg", "points")
    text = (tmp_path / "usl-model-vs-actual.svg").read_text()
    assert "No peak: throughput never falls" in text
    assert "N (node count)" in text
    assert not (tmp_path / "usl-residuals-squared.svg").exists()


def test_points_that_fall_from_the_first_say_so(here, tmp_path):
    points = "".join(f"{n} {n * 100 / (1 + 0.3 * (n - 1) + 0.9 * n * (n - 1))}\n" for n in (1, 2, 4, 8, 16))
    (tmp_path / "points").write_text(points)
    here("compat", "usl", "-t", "svg", "-o", "model-vs-actual", "points")
    assert "No peak: throughput falls from the first" in (tmp_path / "usl-model-vs-actual.svg").read_text()


def test_plots_of_eps_warn_of_nothing(points, tmp_path):
    # As a process: here nobody shows what Matplotlib logs.
    done = compat("usl", "-t", "eps", "-o", "model-vs-actual", points, cwd=tmp_path)
    assert (done.status, done.err) == (0, "")


def test_colors_are_used_where_they_were_asked_for(here, points, tmp_path):
    for arguments, colors in (([], set()), (["-r"], {"#0000ff", "#8b0000"}), (["-L", 'lt rgb "#00AA00"'], {"#00aa00"})):
        here("compat", "usl", "-t", "svg", "-o", "deviation", *arguments, points)
        text = (tmp_path / "usl-deviation.svg").read_text().lower()
        assert {color for color in ("#0000ff", "#8b0000", "#00aa00") if color in text} == colors


def test_without_matplotlib_the_coefficients_come_and_one_line_says_why_no_plot(points, tmp_path):
    (tmp_path / "matplotlib.py").write_text("raise ImportError('not here')\n")
    command = [*COMMAND, "compat", "usl", str(points)]
    shadowed = environment(PYTHONPATH=os.pathsep.join([str(tmp_path), *sys.path]))
    done = subprocess.run(command, capture_output=True, check=False, timeout=60, env=shadowed)
    assert done.returncode == 2
    assert b"   sigma   " in done.stdout
    assert done.stderr.decode().splitlines() == [
        "tcpsight: plots need Matplotlib: pip install 'tcpsight[plot]' (in a clone '.[plot]'); "
        "the coefficients alone come with -o none"
    ]


def test_published_data_gives_its_published_coefficients(here, fixtures_dir):
    expected = json.loads((fixtures_dir / "usl" / "expected.json").read_text())
    found = coefficients(here("compat", "usl", "-X", "-o", "none", fixtures_dir / "usl" / "linear2.txt").text)
    known = expected["scipy curve_fit (unconstrained, own run)"]["linear2.txt"]
    assert float(found["sigma"]) == pytest.approx(known["sigma"], rel=2e-3)
    assert float(found["kappa"]) == pytest.approx(known["kappa"], rel=2e-3)


# --- the chain of mk-tcp-model's manual


def loaded_server(sigma: float, kappa: float, one: float, levels: range, seconds: int) -> str:
    """Write the dump of a server that follows the law: at each level N clients ask again when they are answered."""
    lines = []
    for i, n in enumerate(levels):
        response_us = round((1 + sigma * (n - 1) + kappa * n * (n - 1)) / one * 1e6)
        begin, end = i * seconds * 10**6, (i + 1) * seconds * 10**6
        for client in range(n):
            at = begin + response_us * client // n
            while at + response_us < end:
                lines.append((at, f"10.0.0.1.{40_000 + client} > 10.0.0.9.3306: tcp 10"))
                lines.append((at + response_us - 1, f"10.0.0.9.3306 > 10.0.0.1.{40_000 + client}: tcp 20"))
                at += response_us
    clock = (datetime.fromtimestamp(1_700_000_000, UTC) + timedelta(microseconds=at) for at, _ in sorted(lines))
    return "".join(
        f"{time:%Y-%m-%d %H:%M:%S.%f} IP {text}\n" for time, (_, text) in zip(clock, sorted(lines), strict=True)
    )


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the chain of the manual in a folder: a dump becomes points."""
    folder = tmp_path_factory.mktemp("chain")
    (folder / "tcp-file.txt").write_text(loaded_server(*CHAIN_LAW, range(1, 25), 2))
    tool = " ".join([*COMMAND, "compat", "mk-tcp-model", "--config /dev/null"])
    script = f"""
        set -e
        {tool} tcp-file.txt > requests.txt
        sort -n -k1,1 requests.txt > sorted.txt
        {tool} --type=requests --run-time=2 sorted.txt > sliced.txt
        for f in sliced.txt; do
           tail -n +2 "$f" | head -n -1 | awk '{{print $2, $3, $7/$4}}'
        done > usl-input.txt
    """
    subprocess.run(["bash", "-c", script], cwd=folder, env=environment(TZ="UTC"), check=True, timeout=120)
    return folder / "usl-input.txt"


CHAIN_LAW = (0.05, 0.004, 100.0)


def test_the_chain_of_the_manual_finds_the_law_of_a_server_that_follows_it(here, chain):
    sigma, kappa, one = CHAIN_LAW
    points = [[float(word) for word in line.split()] for line in chain.read_text().splitlines()]
    assert len(points) == 22
    found = coefficients(here("compat", "usl", "-X", "-o", "none", chain).text)
    assert float(found["sigma"]) == pytest.approx(sigma, rel=0.1)
    assert float(found["kappa"]) == pytest.approx(kappa, rel=0.1)
    assert float(found["C(1)"]) == pytest.approx(one, rel=0.05)
    # It is what the fit gives on these points, with the least of them for N = 1.
    n, throughput = ([point[i] for point in points] for i in (0, 1))
    one = float(f"{throughput[0] / n[0]:.6g}")
    a, b = (float(f"{c.value:g}") for c in fit_deviation(n, throughput, one))
    fitted = fit_law([1, *n], [one, *throughput], (b - a, a, one), fits_throughput_of_one=True)
    assert [found["sigma"], found["kappa"], found["C(1)"]] == [f"{c.value:g}" for c in fitted]


def test_what_is_said_of_the_difference_to_tcpsight_usl_is_what_comes_out(here, chain):
    folder = chain.parent

    def old(*options: str) -> list[str]:
        found = coefficients(here("compat", "usl", "-o", "none", *options, chain).text)
        return [found[name] for name in ("sigma", "kappa", "C(1)")]

    def new(*arguments: str | Path) -> list[str]:
        found = json.loads(here("usl", "--format", "json", *arguments).text)
        values = [found[name] for name in ("sigma", "kappa", "lambda")]
        return [f"{number(v['value'])} ({number(v['low'])} to {number(v['high'])})" for v in values]

    dump = folder / "tcp-file.txt"
    rows = {
        "the truth": [f"{value:g}" for value in CHAIN_LAW],
        "the chain, `compat usl`": old(),
        "the chain, `compat usl -X`": old("-X"),
        "the chain's points in `tcpsight usl`": new(chain),
        "`tcpsight usl --interval 2s` on the dump": new(dump, "--interval", "2s"),
        "`tcpsight usl` on the dump": new(dump),
    }
    page = (ROOT / "docs" / "compat" / "usl.md").read_text()
    for name, cells in rows.items():
        assert f"| {name} | {' | '.join(cells)} |" in page
    found = json.loads(here("usl", "--format", "json", dump).text)
    assert found["interval_ns"] == 240_000_000
    assert f"are {found['points']['outliers']} of the {found['points']['used'] + found['points']['outliers']}:" in page
    for name, truth in zip(("sigma", "kappa", "lambda"), CHAIN_LAW, strict=True):
        assert found[name]["low"] <= truth <= found[name]["high"]
