"""Help: examples first, and nothing heavy is imported to show it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

import tcpsight
from tcpsight.cli.main import COMMANDS
from tests.cli.running import TABLES, assert_one_line, process

HEAVY = ("numpy", "pyarrow", "pandas", "polars", "scipy", "rich")
NEVER = {"duckdb", "pandas", "polars", "scipy", "matplotlib", "textual"}


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


READERS = [name for name in COMMANDS if name != "compat"]
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


def test_version(here):
    assert here("--version").text == f"tcpsight, version {tcpsight.__version__}\n"


def test_the_module_is_the_command():
    assert process("--version").text.startswith("tcpsight, version")


def test_without_a_command_it_is_the_help(here):
    done = here()
    assert (done.status, done.err) == (0, "")
    assert done.text == here("--help").text
    assert len(done.text.splitlines()) > 10


@pytest.mark.parametrize("name", [name for name in READERS if SOURCES.get(name) != "" or name in NEEDED])
def test_a_command_without_a_source_is_one_line(here, name):
    done = here(name)
    assert (done.status, done.text) == (2, "")
    lacking = NEEDED.get(name) or SOURCES.get(name, "SOURCE").split()[0]
    assert_one_line(done.err, lacking, f"tcpsight {name} --help")
