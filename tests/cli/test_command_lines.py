"""Every command line that README and docs show exists: its command, its options, and what these take."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from tcpsight.cli.main import tcpsight_command

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md"))
    if path.name not in ("commands.md", "library.md")  # generated, and tested as such
]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.DOTALL | re.MULTILINE)
LANGUAGES = ("", "console", "sh", "yaml")
INLINE = re.compile(r"(?<!`)`(tcpsight [a-z][^`]*)`(?!`)")
PLACEHOLDERS = re.compile(
    r"…|\.\.\.|\[[A-Z-]|<[a-z]|\b(?:SOURCE|FILE|IF|FOLDER|TOPIC|TOOL|QUERY|BEFORE|IN OUT|LAKE|DURATION|COMMAND)\b"
)
STARTERS = {"sudo", "nice", "podman", "kubectl", "pipx", "taskset", "xargs"}
ENDS = {"|", "||", "&&", ";", ">", ">>", "2>", "<", "&"}


def shown(path: Path) -> tuple[list[str], list[str]]:
    """Give the command lines of a page: those to type, and what its text mentions of some."""
    text = path.read_text(encoding="utf-8")
    blocks = [block for language, block in BLOCK.findall(text) if language in LANGUAGES]
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return lines, [" ".join(line.split()) for line in INLINE.findall(BLOCK.sub("", text))]


def commands(line: str) -> list[list[str]]:
    """Give the arguments of each `tcpsight` in a line of shell; none where it is something else."""
    if PLACEHOLDERS.search(line):
        return []
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # a quote of prose, or of what a command printed
        return []
    found: list[list[str]] = []
    command: list[str] = []
    for word in (*words, ";"):
        if word in ENDS:
            if any(is_tcpsight(command, i) for i in range(len(command))):
                start = next(i for i in range(len(command)) if is_tcpsight(command, i))
                found.append(command[start + 1 :] + (["FILE"] if command[0] == "xargs" else []))
            command = []
        else:
            command.append(word)
    return [arguments for arguments in found if arguments]


def is_tcpsight(command: list[str], place: int) -> bool:
    """Tell whether a word of a command is this program: the first one, or what another program starts."""
    if command[place] != "tcpsight":
        return False
    return place == 0 or command[0] in STARTERS or command[:place] == ["$"]


TYPED = {path: [words for line in shown(path)[0] for words in commands(line)] for path in PAGES}
MENTIONED = {path: [words for line in shown(path)[1] for words in commands(line)] for path in PAGES}
TOP = click.Context(tcpsight_command, info_name="tcpsight")


def names(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def named(words: list[str]) -> click.Command | None:
    """Give the command of a line; None where an option of tcpsight itself stands there."""
    if words[0].startswith("-"):
        assert words[0] in {name for each in tcpsight_command.get_params(TOP) for name in each.opts}
        return None
    command = tcpsight_command.get_command(TOP, words[0])
    assert command is not None, f"there is no command {words[0]}"
    return command


@pytest.mark.parametrize("path", [path for path in PAGES if TYPED[path]], ids=names)
def test_what_pages_tell_to_type_is_understood(path):
    for words in TYPED[path]:
        command = named(words)
        try:
            if command is not None:
                command.make_context(words[0], words[1:], parent=TOP)
        except click.exceptions.Exit:  # --help
            pass
        except click.ClickException as error:
            pytest.fail(f"tcpsight {shlex.join(words)}: {error.format_message()}")


@pytest.mark.parametrize("path", [path for path in PAGES if MENTIONED[path]], ids=names)
def test_options_that_pages_mention_exist(path):
    for words in MENTIONED[path]:
        command = named(words)
        if command is None or words[0] == "compat":
            continue
        known = {name for each in command.get_params(TOP) for name in (*each.opts, *each.secondary_opts)}
        pairs = zip(["", *words], words, strict=False)
        options = {word for before, word in pairs if re.match(r"--?[a-z]", word) and before != "--sort"}
        assert options <= known, f"tcpsight {shlex.join(words)}"


def test_command_lines_are_found():
    typed = [words for found in TYPED.values() for words in found]
    assert len(typed) > 100
    assert sum(map(len, MENTIONED.values())) > 50
    assert {"report", "watch", "capture", "split", "ingest", "kill"} <= {words[0] for words in typed}
    assert commands("ssh db1 tcpdump -w - tcp | tcpsight report - | head") == [["report", "-"]]
    assert commands("$ tcpsight sql 'select 1' a.pcap  > b") == [["sql", "select 1", "a.pcap"]]
    assert commands("tcpsight: note: tcpsight said this") == []
