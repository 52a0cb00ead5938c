"""``tcpsight help``: of commands, of topics, of columns, and of words."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import click

from tcpsight.cli.kinds import KINDS, told
from tcpsight.cli.topics import FURTHER, ROWS, TOPICS, columns_of, short
from tcpsight.cli.words import meanings, plain

if TYPE_CHECKING:
    from tcpsight.tables import Column

UNITS = ("_ns", "_bytes", "_per_s", "_bits_per_s", "_fraction")
"""What headings of tables leave out of a column's name."""


@click.command("help")
@click.argument("words", metavar="[TOPIC]", nargs=-1)
@click.pass_context
def command(context: click.Context, words: tuple[str, ...]) -> None:
    """Tell of a command, a topic, a column, a kind of finding, or a word of a page.

    \b
    tcpsight help
    tcpsight help report
    tcpsight help conditions
    tcpsight help response_time
    tcpsight help pile up
    tcpsight help headroom

    Without TOPIC the topics are listed.
    """
    from tcpsight.cli.main import COMMANDS, HELP, tcpsight_command

    topic = (words[0] if len(words) == 1 else "_".join(words)).lower()
    if not words:
        click.echo(_listed())
    elif topic in TOPICS:
        click.echo(f"{topic}: {TOPICS[topic][0]}\n\n{TOPICS[topic][1]}", nl=False)
    elif topic in COMMANDS:
        about = tcpsight_command.get_command(context, topic)
        assert about is not None
        parent = click.Context(tcpsight_command, info_name="tcpsight")
        click.echo(about.get_help(click.Context(about, info_name=topic, parent=parent)))
    elif topic == "tcpsight":
        click.echo(HELP)
    else:
        click.echo(_of_word(topic))


def _listed() -> str:
    """List what can be asked for."""
    width = max(map(len, TOPICS))
    lines = [f"  {name:<{width}}  {title}" for name, (title, _) in TOPICS.items()]
    return "\n".join(
        [
            "tcpsight help COMMAND   what a command does, and its options",
            "tcpsight help COLUMN    what a column of a table means, such as response_time",
            "tcpsight help KIND      what a kind of finding means, and what helps (pile_up)",
            "tcpsight help WORD      what a word of a page means, such as headroom or p99",
            "tcpsight help TOPIC     how things are written that many commands take:",
            "",
            *lines,
        ]
    )


def _of_word(name: str) -> str:
    """Tell of a kind of finding, of a column in each table that has it, of a word of a page."""
    from tcpsight.output.meanings import MEANINGS

    headings = {plain(heading): f"{heading} (a heading)\n  {text}" for heading, text in MEANINGS.items()}
    parts = [told(name)] if name in KINDS else []
    parts += _of_column(name)
    words, word = meanings(), plain(name).removesuffix("_ns")
    if word in words:
        parts.append(words[word])
    if not parts and plain(name) in headings:
        parts.append(headings[plain(name)])
    if not parts:
        raise click.UsageError(f"no command, topic, column or kind of finding {name!r}; {_nearest(name, headings)}")
    return "\n\n".join(parts)


def _of_column(name: str) -> list[str]:
    """Tell what a column means, in each table that has it; it is found without the unit at its end, too."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for of in (*ROWS, *FURTHER):
        if of in FURTHER and found:
            continue
        for column in columns_of(of):
            if name == column.name or any(name + unit == column.name for unit in UNITS):
                found.setdefault((column.name, column.meaning, _kind(column)), []).append(of)
    return [f"{full}\n  {text}\n  {kind}in tcpsight {', '.join(of)}" for (full, text, kind), of in found.items()]


def _nearest(name: str, headings: Iterable[str]) -> str:
    """Suggest what else may be meant: who asks for help means a command or a topic, rather than a column."""
    from difflib import get_close_matches

    from tcpsight.cli.main import COMMANDS

    likely = [*COMMANDS, *TOPICS, *KINDS]
    columns = dict.fromkeys(each for of in (*ROWS, *FURTHER) for c in columns_of(of) for each in (short(c), c.name))
    begin = [each for each in likely if each.startswith(name)][:2]
    near = begin or get_close_matches(name, likely, 2) or get_close_matches(name, columns, 3)
    near = near or get_close_matches(plain(name), [*meanings(), *headings], 2)
    return f"did you mean {' or '.join(map(repr, near))}?" if near else "'tcpsight help' lists what there is"


def _kind(column: Column) -> str:
    """Say in which unit a column is, or which words it has."""
    if column.names:
        return f"one of {', '.join(name for name in column.names if name)}; "
    return f"in {column.unit}; " if column.unit and column.unit != "ns" else ""
