"""A comparison of two captures as a page for a browser: drawn from its facts, and from nothing else."""

from __future__ import annotations

from datetime import tzinfo
from typing import Any

from tcpsight.output.page import html_page
from tcpsight.output.units import instant, printable

Facts = dict[str, Any]

SCRIPTS = ("compare.js",)


def comparison_html(facts: Facts, timezone: tzinfo | None = None) -> str:
    """Make the page.

    Parameters
    ----------
    facts : dict
        What `tcpsight.comparison_facts.comparison_facts` gives.
    timezone : tzinfo, optional
        Of instants; UTC by default.

    Raises
    ------
    UsageError
        Plotly is not installed.
    """
    told = dict(facts)
    for when in ("before", "after"):
        capture = dict(facts[when])
        # A browser's numbers hold 53 bits: instants go as text.
        capture["start"] = instant(capture.pop("start_ns"), timezone)
        del capture["end_ns"]
        told[when] = capture
    names = [_name(facts[when]["files"]) for when in ("before", "after")]
    return html_page(f"{names[0]} → {names[1]} – tcpsight", SCRIPTS, {"facts": told})


def _name(files: list[str]) -> str:
    return printable(files[0]) if len(files) == 1 else f"{len(files)} files"
