"""Findings as lines of the report's page."""

from __future__ import annotations

import textwrap
from typing import Any

from tcpsight.output import units
from tcpsight.output.drawing import Screen, plain
from tcpsight.tables import FINDINGS, MOMENTARY_FINDINGS

MOST_FINDINGS = 8
INDENT = "  "
WAITS = ("stall", "pile_up")
COLORS = {"critical": "red", "warning": "yellow"}


def findings_page(found: list[dict[str, Any]], screen: Screen, start_ns: int | None = None) -> str:
    """Draw all findings as a page of their own; where there are none, what was looked for.

    Parameters
    ----------
    found, screen, start_ns
        As of `finding_lines`.
    """
    if found:
        lines = _each(found, screen, start_ns, indent="")
    else:
        kinds = ", ".join(kind.replace("_", " ") for kind in FINDINGS)
        lines = textwrap.wrap(f"Nothing found. Looked for: {kinds}.", screen.width, break_on_hyphens=False)
    text = "".join(f"{line.rstrip()}\n" for line in lines)
    return text if screen.has_unicode else plain(text)


def finding_lines(found: list[dict[str, Any]], screen: Screen, start_ns: int | None = None) -> list[str]:
    """Draw the worst findings, the worst first, or say that there are none.

    Parameters
    ----------
    found : list of dict
        As in the facts of a report.
    screen : Screen
        What they are shown on.
    start_ns : int, optional
        When the capture begins.
    """
    if not found:
        text = f"No findings: none of the {len(FINDINGS)} conditions that 'tcpsight findings' looks for."
        return ["", *textwrap.wrap(text, screen.width, break_on_hyphens=False)]
    lines = ["", screen.paint("Findings", "bold"), *_each(found[:MOST_FINDINGS], screen, start_ns, indent=INDENT)]
    if (others := len(found) - MOST_FINDINGS) > 0:
        lines.append(f"{INDENT}and {units.count(others)} more: tcpsight findings")
    if _are_several_at_once(found):
        text = "Several services stood still at once: begin with the one that has no other behind it"
        lines += textwrap.wrap(
            f"{text} (tcpsight help stall).", screen.width, initial_indent=INDENT, subsequent_indent=INDENT * 2,
            break_on_hyphens=False,
        )  # fmt: skip
    return lines


def _are_several_at_once(found: list[dict[str, Any]]) -> bool:
    """Tell whether requests of two services waited together at an instant."""
    waits = sorted((f["start_ns"], f["end_ns"], f["subject"]) for f in found if f["kind"] in WAITS)
    latest: dict[str, int] = {}
    for start_ns, end_ns, subject in waits:
        if any(end > start_ns for other, end in latest.items() if other != subject):
            return True
        latest[subject] = max(end_ns, latest.get(subject, end_ns))
    return False


def _each(found: list[dict[str, Any]], screen: Screen, start_ns: int | None, *, indent: str) -> list[str]:
    lines: list[str] = []
    width = max(len(f["severity"]) for f in found)
    blank = indent + " " * (width + 2)
    for f in found:
        kind = f["kind"].replace("_", " ")
        text = f"{kind} at {units.printable(f['subject'])}{_when(f, start_ns)}: {units.printable(f['summary'])}"
        first, *more = textwrap.wrap(
            text, screen.width, initial_indent=blank, subsequent_indent=blank + INDENT, break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        severity = screen.paint(f["severity"].ljust(width), COLORS.get(f["severity"], "dim"))
        lines += [indent + severity + INDENT + first.lstrip(), *more]
        if blocker := f["evidence"].get("spoke_again") or f["evidence"].get("blocker"):
            lines.append(blank + INDENT + units.printable(blocker["filter"]))
    return lines


def _when(finding: dict[str, Any], start_ns: int | None) -> str:
    """Tell since when, where each time is a finding of its own, or it began at an instant."""
    if start_ns is None or finding["kind"] not in (*MOMENTARY_FINDINGS, "lasting_slowdown"):
        return ""
    return f", {units.duration(finding['start_ns'] - start_ns)} into the capture"
