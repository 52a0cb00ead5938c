"""What is said of a command line that cannot be understood: what is meant perhaps, and how it is written."""

from __future__ import annotations

from collections.abc import Iterator

import click

CLOSE = 0.6
"""Likeness (of `difflib`) from which on a name may be what was meant."""


def said_of(error: click.UsageError, arguments: list[str]) -> str:
    """Say what is wrong, in one line.

    Parameters
    ----------
    error : click.UsageError
        What click found, or a command.
    arguments : list of str
        Without the program's name.
    """
    context = error.ctx
    command = context.command if context is not None else None
    text = error.format_message().rstrip(".")
    if isinstance(error, click.NoSuchOption) and command is not None:
        near = _nearest(error.option_name, command)
        text = f"no such option {error.option_name!r}" + (f"; did you mean {' or '.join(near)}?" if near else "")
    elif isinstance(error, click.MissingParameter) or len(arguments) == 1:
        example = _example(
            _meant(context, arguments) if context is not None and isinstance(command, click.Group) else command
        )
        text += f"{' as' if text.endswith('?') else ', as'} in: {example}" if example else ""
    where = context.command_path if context is not None else " ".join(["tcpsight", *_command_named(arguments)])
    return f"{text} (see '{where} --help')"


def _command_named(arguments: list[str]) -> list[str]:
    """Give the command of a command line; nothing where there is none."""
    from tcpsight.cli.main import COMMANDS

    return [each for each in arguments[:1] if each in COMMANDS]


def _meant(context: click.Context, arguments: list[str]) -> click.Command | None:
    """Find the command that is named, but for a slip; nothing where none is like it."""
    from difflib import get_close_matches

    assert isinstance(context.command, click.Group)
    near = get_close_matches(arguments[-1], context.command.list_commands(context), 1)
    return context.command.get_command(context, near[0]) if near else None


def _nearest(typed: str, command: click.Command) -> list[str]:
    """Find options, and words that options take, that are like what was typed."""
    from difflib import SequenceMatcher

    plainly = typed.lstrip("-").lower()
    found = []
    for shown, name in _options(command):
        is_part = len(plainly) > 1 and (name.startswith(plainly) or plainly.startswith(f"{name}-"))
        likeness = 1.0 if is_part else SequenceMatcher(None, plainly, name).ratio()
        if likeness >= CLOSE:
            found.append((-likeness, shown))
    best = sorted(found)[:2]
    return [repr(shown) for likeness, shown in best if likeness <= best[0][0] + 0.1]


def _options(command: click.Command) -> Iterator[tuple[str, str]]:
    """Give each option as it is written, and its name; of those that take a word of a few, each of these."""
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or parameter.hidden:
            continue
        long = [each for each in (*parameter.opts, *parameter.secondary_opts) if each.startswith("--")]
        yield from ((each, each.lstrip("-")) for each in long)
        if isinstance(parameter.type, click.Choice) and long:
            yield from ((f"{long[0]} {word}", str(word).lower()) for word in parameter.type.choices)


def _example(command: click.Command | None) -> str:
    """Give the first example of a command's help."""
    if command is None:
        return ""
    lines = [line.strip() for line in (command.help or "").splitlines()]
    examples = [line for line in lines if line.startswith("tcpsight ") or " | tcpsight " in line]
    return examples[0].split("   ")[0] if examples else ""
