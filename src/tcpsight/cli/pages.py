"""Pages: the options of commands that give them; written for the terminal they are shown on, or whole into a file."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli import values

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcpsight.output.drawing import Screen

NARROWEST = 60
"""Fewer characters per line than this only make lines wrap."""

MOST_SERVICES = 50
"""Services of a page for a browser at most: each has its plots, and takes its share of what a browser can open."""

top_option = click.option(
    "--top", type=click.IntRange(min=1), default=10, show_default=True, metavar="N", help="How many services."
)
facts_options = click.option(
    "--format",
    "format",
    type=click.Choice(["text", "json"]),
    help="A page, or the same facts for a program.  [default: json if -o ends in .json, else text]",
)
html_option = click.option(
    "--html",
    metavar="FILE",
    help=f"Instead, write a page with plots for a browser: one file that needs no network, of {MOST_SERVICES} services "
    "at most. Needs Plotly.",
)
output_option = click.option("-o", "--output", default="-", metavar="FILE", help="Where to; '-' is standard output.")


def check_html(path: str, sources: Sequence[str], most_services: int) -> None:
    """Refuse a page that cannot be made, before anything is read.

    Raises
    ------
    click.UsageError
        It would be written over an input, or would hold too many services.
    UsageError
        Plotly is not installed.
    """
    from tcpsight.output.page import require_plotly

    if most_services > MOST_SERVICES:
        raise click.UsageError(
            f"--html shows {MOST_SERVICES} services at most, that a browser can still open it: "
            f"--top {MOST_SERVICES}, or pick others with --server"
        )
    values.refuse_output_over_input(path, list(sources))
    require_plotly()


def write_facts(facts: dict[str, Any], output: str, format: str | None, draw: Callable[[Screen], str]) -> None:
    """Write facts as JSON or as the page that is drawn of them, as asked, else by the file's suffix."""
    from tcpsight.output.json_lines import json_text

    if (format or ("json" if output.lower().endswith(".json") else "text")) == "json":
        write_text(output, lambda screen: json_text(facts), is_ascii=True)
    else:
        write_text(output, draw)


def write_text(output: str, draw: Callable[[Screen], str], *, is_ascii: bool = False) -> None:
    """Draw a page for what it will be shown on, and write it.

    Parameters
    ----------
    output : str
        A file, or ``-``.
    draw : callable
        Gives the text.
    is_ascii : bool
        Whether it is the same in every encoding.
    """
    from tcpsight.output.destination import Destination

    text = draw(screen_of(output))
    encoding = "utf-8" if is_ascii or output != "-" else (sys.stdout.encoding or "utf-8")
    destination = Destination(output)
    try:
        destination.write(text.encode(encoding, "replace"))
        destination.close()
    except BaseException:
        destination.abort()
        raise


def screen_of(output: str) -> Screen:
    """Find out what the page will be shown on."""
    from tcpsight.cli.notes import is_unicode
    from tcpsight.output.drawing import Screen

    if output != "-":
        return Screen()
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((100, 24)).columns
    return Screen(
        width=max(width, NARROWEST),
        has_color=is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb",
        has_unicode=is_unicode(sys.stdout),
    )
