"""Writes pages of text: for the terminal they are shown on, or whole into a file."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcpsight.output.drawing import Screen

NARROWEST = 60
"""Fewer characters per line than this only make lines wrap."""


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

    text = draw(_screen(output))
    encoding = "utf-8" if is_ascii or output != "-" else (sys.stdout.encoding or "utf-8")
    destination = Destination(output)
    try:
        destination.write(text.encode(encoding, "replace"))
        destination.close()
    except BaseException:
        destination.abort()
        raise


def _screen(output: str) -> Screen:
    """Find out what the page will be shown on."""
    from tcpsight.cli.notes import is_unicode
    from tcpsight.output.drawing import Screen

    if output != "-":
        return Screen()
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size((100, 24)).columns
    return Screen(
        width=max(width, NARROWEST),
        has_color=is_terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb",
        has_unicode=is_unicode(sys.stdout),
    )
