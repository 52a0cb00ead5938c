"""``tcpsight help``: of commands, of topics, and of columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tcpsight.cli.topics import ROWS, TOPICS, columns_of, short

if TYPE_CHECKING:
    from tcpsight.tables import Column


@click.command("help")
@click.argument("topic", metavar="[TOPIC]", required=False)
@click.pass_context
def command(context: click.Context, topic: str | None) -> None:
    """Tell of a command, of how something is written, or of a column.

    \b
    tcpsight help report
    tcpsight help conditions
    tcpsight help response_time

    Without TOPIC the topics are listed.
    """
    from tcpsight.cli.main import COMMANDS, HELP, tcpsight_command

    if topic is None:
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
        click.echo(_of_column(topic))


def _listed() -> str:
    """List what can be asked for."""
    width = max(map(len, TOPICS))
    lines = [f"  {name:<{width}}  {title}" for name, (title, _) in TOPICS.items()]
    return "\n".join(
        [
            "tcpsight help COMMAND   what a command does, and its options",
            "tcpsight help COLUMN    what a column of a table means, such as response_time",
            "tcpsight help TOPIC     how things are written that many commands take:",
            "",
            *lines,
        ]
    )


def _of_column(name: str) -> str:
    """Tell what a column means, in each table that has it."""
    from tcpsight.cli.main import COMMANDS

    found: dict[tuple[str, str, str], list[str]] = {}
    names: list[str] = []
    for of in ROWS:
        for column in columns_of(of):
            names += [short(column), column.name]
            if name in (column.name, short(column)):
                found.setdefault((column.name, column.meaning, _kind(column)), []).append(of)
    if not found:
        from difflib import get_close_matches

        # The likely ones first: who asks for help means a command or a topic.
        near = get_close_matches(name, [*COMMANDS, *TOPICS], 2) or get_close_matches(name, dict.fromkeys(names), 3)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "'tcpsight help' lists what there is"
        raise click.UsageError(f"no command, topic or column {name!r}; {hint}")
    parts = []
    for (full, meaning, kind), commands in found.items():
        parts.append(f"{full}\n  {meaning}\n  {kind}in tcpsight {', '.join(commands)}")
    return "\n\n".join(parts)


def _kind(column: Column) -> str:
    """Say in which unit a column is, or which words it has."""
    if column.names:
        return f"one of {', '.join(name for name in column.names if name)}; "
    return f"in {column.unit}; " if column.unit and column.unit != "ns" else ""
