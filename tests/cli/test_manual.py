"""Manual pages and what Tab completes are made of the commands as they are, and tell all of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from tcpsight.cli.main import COMMANDS, tcpsight_command
from tcpsight.cli.topics import ROWS, TOPICS
from tests.cli.running import COMMAND

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("manual")
    done = subprocess.run([sys.executable, ROOT / "tools" / "manual.py", folder], check=True, capture_output=True)
    assert len(done.stdout.splitlines()) == len(COMMANDS) + 4
    return folder / "share"


def test_every_command_has_a_page_with_all_its_options(share):
    top = click.Context(tcpsight_command, info_name="tcpsight")
    for name in COMMANDS:
        page = re.sub(r"\\f[BR]", " ", (share / "man" / "man1" / f"tcpsight-{name}.1").read_text().replace("\\-", "-"))
        command = tcpsight_command.get_command(top, name)
        assert command is not None
        for parameter in command.params:
            if isinstance(parameter, click.Option) and not parameter.hidden:
                assert all(re.search(rf"(?<![\w-]){re.escape(each)}(?![\w-])", page) for each in parameter.opts), name
        assert f"tcpsight {name} " in page
    main = (share / "man" / "man1" / "tcpsight.1").read_text().replace("\\-", "-")
    assert all(f".BR tcpsight-{name} (1)" in main for name in COMMANDS)
    assert all(f".SH {name.upper()}" in main for name in TOPICS)


def test_pages_are_what_troff_takes_without_a_warning(share, require_program):
    require_program("groff")
    for page in sorted((share / "man" / "man1").iterdir()):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", page], capture_output=True, text=True, check=True)
        assert done.stderr == "", page.name
        assert page.read_text().isascii()


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["rep"], ["plain,report"]),
        (["report", "--forma"], ["plain,--format"]),
        (["report", "--format", "j"], ["plain,json"]),
        (["report", "x"], ["file,x"]),
        (["report", "-o", ""], ["file,"]),
        (["split", "a", ""], ["file,"]),
        (["requests", "--sort", "response_t"], ["plain,response_time"]),
        (["requests", "--columns", "arrival,response_t"], ["plain,arrival,response_time"]),
        (["connections", "--where", "requests > 1 and unans"], ["plain,requests > 1 and unanswered"]),
        (["watch", "-i", "an"], ["plain,any"]),
        (["report", "--timezone", "Europe/Berli"], ["plain,Europe/Berlin"]),
        (["compat", "yc"], ["plain,yconalyzer"]),
        (["help", "condi"], ["plain,conditions"]),
    ],
)
def test_tab_completes_commands_options_files_and_what_else_is_known(words, completed):
    asked = {"_TCPSIGHT_COMPLETE": "bash_complete", "COMP_WORDS": " ".join(["tcpsight", *map(quoted, words)])}
    asked["COMP_CWORD"] = str(len(words))
    done = subprocess.run(COMMAND, env=os.environ | asked, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout.splitlines() == completed


def quoted(word: str) -> str:
    return f'"{word}"' if " " in word else word


def test_bash_completes_by_the_script(share, tmp_path):
    program = tmp_path / "tcpsight"
    program.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in COMMAND) + ' "$@"\n')
    program.chmod(0o755)
    script = (
        f"source {share}/bash-completion/completions/tcpsight; complete -p tcpsight > /dev/null || exit 3;"
        f"COMP_WORDS=(tcpsight sock); COMP_CWORD=1; _tcpsight_completion {program}; echo ${{COMPREPLY[@]}}"
    )
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (0, "sockets\n")


def test_tables_of_which_columns_are_completed_are_those_of_commands():
    assert set(ROWS) <= set(COMMANDS)
