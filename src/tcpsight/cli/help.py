"""``tcpsight help``: of commands, of topics, and of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tcpsight.cli.kinds import KINDS, told
from tcpsight.cli.topics import ROWS, TOPICS, columns_of, short

if TYPE_CHECKING:
    from tcpsight.tables import Column


@click.command("help")
@click.argument("words", metavar="[TOPIC]", nargs=-1)
@click.pass_context
def command(context: click.Context, words: tuple[str, ...]) -> None:
    """Tell of a command, a topic, a column, or a kind of finding.

    \b
    tcpsight help report
    tcpsight help conditions
    tcpsight help response_time
    tcpsight help pile up

    Without TOPIC the topics are listed.
    """
    from tcpsight.cli.main import COMMANDS, HELP, tcpsight_command

    topic = words[0] if len(words) == 1 else "_".join(words)
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
        click.echo(_of_column_or_kind(topic))


def _listed() -> str:
    """List what can be asked for."""
    width = max(map(len, TOPICS))
    lines = [f"  {name:<{width}}  {title}" for name, (title, _) in TOPICS.items()]
    return "\n".join(
        [
            "tcpsight help COMMAND   what a command does, and its options",
            "tcpsight help COLUMN    what a column of a table means, such as response_time",
            "tcpsight help KIND      what a kind of finding means, and what helps (pile_up)",
            "tcpsight help TOPIC     how things are written that many commands take:",
            "",
            *lines,
        ]
    )


def _of_column_or_kind(name: str) -> str:
    """Tell what a column means, in each table that has it, or a kind of finding; or both."""
    from tcpsight.cli.main import COMMANDS

    found: dict[tuple[str, str, str], list[str]] = {}
    names: list[str] = []
    for of in ROWS:
        for column in columns_of(of):
            names += [short(column), column.name]
            if name in (column.name, short(column)):
                found.setdefault((column.name, column.meaning, _kind(column)), []).append(of)
    if not found and name not in KINDS:
        from difflib import get_close_matches

        # The likely ones first: who asks for help means a command or a topic.
        likely = [*COMMANDS, *TOPICS, *KINDS]
        begin = [each for each in likely if each.startswith(name)][:2]
        near = begin or get_close_matches(name, likely, 2) or get_close_matches(name, dict.fromkeys(names), 3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "'tcpsight help' lists what there is"
        raise click.UsageError(f"no command, topic, column or kind of finding {name!r}; {hint}")
    parts = [told(name)] if name in KINDS else []
    for (full, meaning, kind), commands in found.items():
        parts.append(f"{full}\n  {meaning}\n  {kind}in tcpsight {', '.join(commands)}")
    return "\n\n".join(parts)


def _kind(column: Column) -> str:
    """Say in which unit a column is, or which words it has."""
    if column.names:
        return f"one of {', '.join(name for name in column.names if name)}; "
    return f"in {column.unit}; " if column.unit and column.unit != "ns" else ""
