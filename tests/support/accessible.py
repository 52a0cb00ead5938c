"""What a page lacks for who cannot see it, or not well: names, order of headings, headings of tables, contrast.

The rules are of WCAG 2.1, in its numbers: 1.1.1 (names of pictures), 1.3.1 (headings, tables), 1.4.3 (contrast), 2.4.2
(title), 3.1.1 (language), 4.1.1 (identifiers), 4.1.2 (names of controls).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

LEAST_CONTRAST = 4.5
"""WCAG 2.1, 1.4.3, of text of usual size."""

_AUDIT = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")


def lacking(page: Any) -> list[str]:
    """Tell what a page that a browser shows lacks, in sentences."""
    found: list[str] = page.evaluate(_AUDIT, LEAST_CONTRAST)
    return found
