"""Findings as lines of the report's page."""

from __future__ import annotations

import textwrap
from typing import Any

from tcpsight.output import units
from tcpsight.output.drawing import Screen

MOST_FINDINGS = 8
INDENT = "  "
COLORS = {"critical": "red", "warning": "yellow"}


def finding_lines(found: list[dict[str, Any]], screen: Screen) -> list[str]:
    """Draw findings, the worst first; nothing where there are none.

    Parameters
    ----------
    found : list of dict
        As in the facts of a report.
    screen : Screen
        What they are shown on.
    """
    if not found:
        return []
    lines = ["", screen.paint("Findings", "bold")]
    width = max(len(f["severity"]) for f in found)
    blank = INDENT + " " * (width + 2)
    for f in found[:MOST_FINDINGS]:
        kind = f["kind"].replace("_", " ")
        text = f"{kind} at {units.printable(f['subject'])}: {units.printable(f['summary'])}"
        first, *more = textwrap.wrap(
            text, screen.width, initial_indent=blank, subsequent_indent=blank + INDENT, break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        severity = screen.paint(f["severity"].ljust(width), COLORS.get(f["severity"], "dim"))
        lines += [INDENT + severity + INDENT + first.lstrip(), *more]
    if (others := len(found) - MOST_FINDINGS) > 0:
        lines.append(f"{INDENT}and {units.count(others)} more: tcpsight findings")
    return lines
