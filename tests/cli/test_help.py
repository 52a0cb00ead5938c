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
from tcpsight.tables import FINDINGS
from tests.cli.running import TABLES, assert_one_line, process

HEAVY = ("numpy", "pyarrow", "pandas", "polars", "scipy", "rich")
FINDINGS_PAGE = Path(__file__).resolve().parents[2] / "docs" / "methods" / "findings.md"
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


@pytest.mark.parametrize(
    ("topic", "near"),
    [
        ("reprot", "report"),
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
    assert_one_line(done.err, lacking, f"tcpsight {name} --help")
