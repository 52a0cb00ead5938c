"""Write manual pages and completions of shells from the commands: ``python tools/manual.py FOLDER``.

They lie in FOLDER as they are installed below a prefix (``share/man/man1`` and so on). ``setup.py`` calls `write` for
wheels and other installations; nothing but click and the commands' own modules is needed, none of them compiled.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from inspect import cleandoc
from pathlib import Path

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

import tcpsight
from tcpsight.cli.main import COMMANDS, COMPLETING, tcpsight_command
from tcpsight.cli.topics import FIRST, TOPICS

SHELLS: dict[str, tuple[type[ShellComplete], str]] = {
    "bash": (BashComplete, "share/bash-completion/completions/tcpsight"),
    "zsh": (ZshComplete, "share/zsh/site-functions/_tcpsight"),
    "fish": (FishComplete, "share/fish/vendor_completions.d/tcpsight.fish"),
}
PAGES = "share/man/man1"


def write(folder: Path) -> list[Path]:
    """Write all of them below a folder; give the files, as they lie below it."""
    found = []
    for path, text in files():
        found.append(Path(path))
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return found


def files() -> Iterator[tuple[str, str]]:
    """Give each file's path and text."""
    top = click.Context(tcpsight_command, info_name="tcpsight")
    yield f"{PAGES}/tcpsight.1", main_page(top)
    for name in COMMANDS:
        command = tcpsight_command.get_command(top, name)
        assert command is not None
        yield f"{PAGES}/tcpsight-{name}.1", command_page(click.Context(command, info_name=name, parent=top))
    for cls, path in SHELLS.values():
        # Not its own `source`, which asks for the version of the bash that is here.
        yield path, ShellComplete.source(cls(tcpsight_command, {}, "tcpsight", COMPLETING)) + "\n"


def main_page(context: click.Context) -> str:
    """Make the page of the program itself."""
    lines = [*head("tcpsight", "how any TCP service performs, from packet headers alone"), ".SH SYNOPSIS"]
    lines += [".B tcpsight", "COMMAND [OPTIONS] [SOURCE...]", ".SH DESCRIPTION", *verbatim(FIRST), ".SH COMMANDS"]
    for name, meaning in COMMANDS.items():
        lines += [".TP", f".BR tcpsight\\-{name} (1)", escaped(meaning)]
    for name, (title, text) in TOPICS.items():
        lines += [f".SH {escaped(name.upper())}", escaped(f"({title})"), *verbatim(text)]
    lines += [".SH SEE ALSO", ".BR tcpdump (8),", ".BR pcap\\-filter (7)"]
    return "\n".join(lines) + "\n"


def command_page(context: click.Context) -> str:
    """Make the page of a command."""
    name, command = str(context.info_name), context.command
    lines = [*head(f"tcpsight-{name}", COMMANDS[name].rstrip(".")), ".SH SYNOPSIS", f".B tcpsight {escaped(name)}"]
    lines += [escaped(" ".join(command.collect_usage_pieces(context))), *described(command.help or "")]
    records = [record for each in command.get_params(context) if (record := each.get_help_record(context))]
    if records:
        lines.append(".SH OPTIONS")
    for names, meaning in records:
        lines += [".TP", f"\\fB{escaped(names)}\\fR", escaped(meaning) or "\\&"]
    epilog = context.make_formatter()
    command.format_epilog(context, epilog)
    lines += verbatim(epilog.getvalue())
    lines += [".SH EXIT STATUS", *verbatim(TOPICS["status"][1])]
    lines += [".SH SEE ALSO", ".BR tcpsight (1)"]
    return "\n".join(lines) + "\n"


def head(name: str, meaning: str) -> list[str]:
    """Begin a page."""
    title = f'.TH {escaped(name.upper())} 1 "" "tcpsight {tcpsight.__version__}" "tcpsight"'
    return [title, ".SH NAME", f"{escaped(name)} \\- {escaped(meaning)}"]


def described(text: str) -> list[str]:
    """Give a help text as paragraphs; what click leaves as it stands are examples."""
    lines = [".SH DESCRIPTION"]
    paragraphs = re.split(r"\n\s*\n", cleandoc(text))
    for paragraph in paragraphs:
        if paragraph.startswith("\b"):
            lines += [".PP", *verbatim(paragraph.removeprefix("\b\n"))]
        elif paragraph.strip():
            lines += [".PP", escaped(" ".join(paragraph.split()))]
    return lines


def verbatim(text: str) -> list[str]:
    """Give lines as they stand."""
    rows = text.strip("\n").split("\n")
    return [".RS 4", ".nf", *(escaped(row) or "\\&" for row in rows), ".fi", ".RE"] if text.strip() else []


def escaped(text: str) -> str:
    """Write text so that troff takes it as it is."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga")
    text = text.replace("^", "\\(ha").replace("~", "\\(ti")
    text = "".join(letter if letter < "\x7f" else f"\\[u{ord(letter):04X}]" for letter in text)
    return f"\\&{text}" if text.startswith((".", "\\(aq")) else text


if __name__ == "__main__":
    for each in write(Path(sys.argv[1])):
        print(each)
