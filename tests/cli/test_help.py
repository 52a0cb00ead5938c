"""Help: examples first, and nothing heavy is imported to show it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import tcpsight
from tcpsight.cli.main import COMMANDS
from tcpsight.cli.topics import TOPICS
from tcpsight.cli.words import WORDS
from tcpsight.output.live_lines import SHORT, USUAL
from tcpsight.output.meanings import MEANINGS
from tcpsight.tables import FINDINGS
from tests.cli.running import TABLES, assert_one_line, process

HEAVY = ("numpy", "pyarrow", "pandas", "polars", "scipy", "rich")
ROOT = Path(__file__).resolve().parents[2]
FINDINGS_PAGE = ROOT / "docs" / "methods" / "findings.md"
NEVER = {"dask", "distributed", "duckdb", "pandas", "polars", "scipy", "matplotlib", "textual"}


def modules_after(*arguments: str) -> set[str]:
    """Run the command in a fresh interpreter; give the top-level modules it imported."""
    script = (
        "import json, sys\n"
        "from tcpsight.cli.main import main\n"
        "status = main(sys.argv[1:])\n"
        "sys.stderr.write(chr(30) + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
        "sys.exit(status)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stderr.decode().rpartition("\x1e")[2]))


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([name, "--help"] for name in COMMANDS)])
def test_help_costs_no_heavy_import(arguments):
    assert not modules_after(*arguments) & set(HEAVY)


@pytest.mark.parametrize("format", ["table", "csv", "jsonl"])
def test_a_table_as_lines_is_written_without_arrow(pcap, format):
    for command in TABLES:
        assert not modules_after(command, str(pcap), "--format", format) & (NEVER | {"pyarrow", "rich"})


def test_no_command_imports_libraries_that_it_does_not_need(pcap):
    assert not modules_after("report", str(pcap)) & (NEVER | {"pyarrow"})
    for format in ("parquet", "arrow"):
        assert not modules_after("requests", str(pcap), "--format", format) & NEVER


READERS = [name for name in COMMANDS if name not in ("compat", "help")]
SOURCES = {
    "capture": "[FILTER]...",
    "split": "CLIENT_SIDE SERVER_SIDE",
    "compare": "BEFORE AFTER",
    "follow": "SOURCE... N",
    "sql": "QUERY SOURCE...",
    "watch": "[SOURCE] [FILTER]...",
    "serve": "[SOURCE] [FILTER]...",
    "sockets": "",
    "kill": "",
    "anonymize": "IN OUT",
    "ipc": "",
}
"""What commands read that do not read a capture in any number of files."""
NEEDED = {"capture": "--write", "kill": "--where", "watch": "-i", "serve": "-i"}
"""What those do not work without that need no source."""


@pytest.mark.parametrize("name", READERS)
def test_help_begins_with_a_sentence_and_examples(here, name):
    done = here(name, "--help")
    assert done.status == 0
    lines = [line.strip() for line in done.text.splitlines() if line.strip()]
    assert lines[0] == f"Usage: tcpsight {name} [OPTIONS] {SOURCES.get(name, 'SOURCE...')}".rstrip()
    assert lines[1].endswith(".")
    assert lines[2].startswith(f"tcpsight {name} ")
    options = lines.index("Options:")
    assert len([line for line in lines[2:options] if f"tcpsight {name} " in line]) >= 2


def test_the_command_itself_lists_its_commands_in_order(here):
    text = here("--help").text
    assert text.index("tcpsight report capture.pcap") < text.index("Options:")
    places = [text.index(f"  {name} ") for name in COMMANDS]
    assert places == sorted(places)
    assert here("-h").text == text


def test_every_listed_command_exists_and_says_the_same_of_itself(here):
    for name in COMMANDS:
        assert here(name, "--help").status == 0


def test_the_version_is_that_of_the_library(here):
    assert here("--version").text == f"tcpsight, version {tcpsight.__version__}\n"


def test_the_module_is_the_command():
    assert process("--version").text.startswith("tcpsight, version")


def test_without_a_command_it_says_what_most_people_want(here):
    done = here()
    assert (done.status, done.err) == (0, "")
    assert len(done.text.splitlines()) < 15
    for command in ("report capture.pcap", "watch -i eth0", "streams capture.pcap", "--help", "help report"):
        assert f"tcpsight {command}" in done.text


def test_help_tells_of_commands_topics_and_columns(here):
    assert here("help", "kill").text == here("kill", "--help").text
    listed = here("help").text
    for name, (title, text) in TOPICS.items():
        assert f"  {name} " in listed
        assert here("help", name).text == f"{name}: {title}\n\n{text}"
        assert max(map(len, text.splitlines())) <= 86
    told = here("help", "response_time").text
    assert told.startswith("response_time_ns\n  completion − arrival\n  in tcpsight requests\n")
    assert here("help", "response_time_ns").text == told
    assert "one of closed" in here("help", "state").text.replace("unanswered, handshaking, refused, ", "")


@pytest.mark.parametrize("kind", FINDINGS)
def test_help_tells_of_every_kind_of_finding_in_the_words_of_the_docs(here, kind):
    told = here("help", kind).text
    assert here("help", *kind.split("_")).text == told
    row = re.search(rf"^\| `{kind}` \| [^|]+ \| ([^|]+) \|", FINDINGS_PAGE.read_text(), re.MULTILINE)
    assert row, f"docs/methods/findings.md has no row of {kind}"
    assert " ".join(told.split()).startswith(f"{kind} (a finding): {row[1]}. ")


def names_of_columns() -> set[str]:
    """Give the names in the reference, and as headings of tables write them."""
    page = (ROOT / "docs" / "reference" / "tables.md").read_text()
    names = set(re.findall(r"^\| `(\w+)` \| (?:integer|real|text|address|enumeration|boolean)", page, re.MULTILINE))
    assert len(names) > 200
    return names | {name.removesuffix("_ns").removesuffix("_per_s") for name in names}


def words_of_pages() -> set[str]:
    """Give labels and headings of reports, models, watches and pages in a browser, and the glossary's terms."""
    output = ROOT / "src" / "tcpsight" / "output"
    sources = [(output / name).read_text() for name in ("report.py", "scalability_words.py", "request_lists.py")]
    words = {word for text in sources for word in re.findall(r'_rows?\(\s*"([^"]+)"', text)}
    words |= set(re.findall(r'\("([a-z ]+)", lambda', sources[0])) | set(
        re.findall(r'^ +"([a-z ]+)": (?:\[|lambda)', sources[0], re.M)
    )
    words |= set(re.findall(r'^ {8}"([a-z ]+)": \[', sources[2], re.MULTILINE)) | {
        "σ",
        "κ",
        "λ",
        "forecast",
        "efficiency",
        "95 % band",
    }
    words |= set(SHORT.values()) | set(USUAL) | set(MEANINGS)
    glossary = re.findall(r"^\| ([^|]+) \|", (ROOT / "docs" / "glossary.md").read_text(), re.MULTILINE)
    for terms in glossary[2:]:
        plainly = re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", terms)
        words |= set(plainly.split(", "))
    assert {"response time", "set-up time", "time went to", "headroom", "took", "connection", "share", "busy"} <= words
    return {re.sub(r" [RNXU]$", "", word) for word in words}


def test_help_tells_of_every_column_and_of_every_word_of_a_page(here):
    unknown = [word for word in sorted(names_of_columns() | words_of_pages()) if here("help", word).status]
    assert unknown == []
    for word in ("percentile", "p99", "sigma", "kappa", "concurrency", "throughput", "utilization", "headroom"):
        told = here("help", word).text
        assert here("help", word.upper()).text == told
        assert max(map(len, told.splitlines())) <= 120


def test_pages_that_words_name_exist():
    for _, page in WORDS.values():
        assert (ROOT / (page if page.endswith(".md") else f"docs/methods/{page}.md")).exists(), page


@pytest.mark.parametrize(
    ("topic", "near"),
    [
        ("reprot", "report"),
        ("headrom", "headroom"),
        ("condition", "conditions"),
        ("retransmision", "retransmissions"),
        ("nagle", "nagle_delayed_ack"),
        ("zzz", "lists"),
    ],
)
def test_help_of_what_is_not_there_names_the_nearest(here, topic, near):
    done = here("help", topic)
    assert done.status == 2
    assert_one_line(done.err, f"no command, topic, column or kind of finding '{topic}'", near)


def test_what_topics_show_is_obeyed(here, pcap):
    """Conditions, filters, servers and times as help writes them."""
    where = [line.strip() for line in TOPICS["conditions"][1].splitlines() if line.startswith("  ")]
    assert len(where) == 4
    for condition in where:
        command = "requests" if "response_time" in condition else "connections"
        assert here(command, pcap, "--where", condition).status == 0, condition
    for topic in ("services", "filters", "times"):
        shown = [line.strip() for line in TOPICS[topic][1].splitlines() if line.startswith("  --")]
        assert shown
        for line in shown:
            options = shlex.split(re.split(r"\s{3,}", line)[0])
            assert here("requests", pcap, *options).status in (0, 2)
            assert "usage" not in here("requests", pcap, *options).err.lower()
            assert "see 'tcpsight" not in here("requests", pcap, *options).err, line


@pytest.mark.parametrize("name", [name for name in READERS if SOURCES.get(name) != "" or name in NEEDED])
def test_a_command_without_a_source_is_one_line(here, name):
    done = here(name)
    assert (done.status, done.text) == (2, "")
    lacking = NEEDED.get(name) or SOURCES.get(name, "SOURCE").split()[0]
    assert_one_line(done.err, lacking, f"tcpsight {name} --help", f", as in: tcpsight {name} ")


def test_an_option_without_its_value_names_the_help_of_its_command(here):
    assert_one_line(here("report", "--html").err, "--html", "(see 'tcpsight report --help')")


@pytest.mark.parametrize(
    ("arguments", "near"),
    [
        (("report", "--jsn"), "'--format json'"),
        (("report", "--json"), "'--format json'"),
        (("watch", "--jsn"), "'--json'"),
        (("report", "--serv"), "'--server'"),
        (("requests", "--colums"), "'--columns'"),
        (("watch", "--intervall"), "'--interval'"),
        (("requests", "--qqq"), None),
        (("intervals", "-q"), None),
    ],
)
def test_an_option_that_is_none_names_the_nearest_or_nothing(here, pcap, arguments, near):
    done = here(*arguments, pcap)
    assert (done.status, done.text) == (2, "")
    assert_one_line(done.err, f"no such option {arguments[1]!r}", f"tcpsight {arguments[0]} --help")
    assert re.findall(r"did you mean (.*)\?", done.err) == ([] if near is None else [near])


@pytest.mark.parametrize(
    ("word", "told"), [("prometheus", "help metrics"), ("metrics", "--listen"), ("slow", "help stall")]
)
def test_words_that_people_come_with_lead_on(here, word, told):
    done = here("help", word)
    assert done.status == 0
    assert " ".join(told.split()) in " ".join(done.text.split())
