"""Says why a capture gives no row at all, and what can be done about it; for the commands and the library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcpsight.tables import REASONS

if TYPE_CHECKING:
    from tcpsight.run import Run


def no_frames(run: Run) -> str:
    """Say that there is no frame, and why, as far as the lines of a text tell."""
    named = sum(file.named_lines for file in run.capture.files)
    return "the capture holds no frames" + (f"; {names_of(named)}" if named else "")


def names_of(lines: int) -> str:
    """Say of lines of text that they have names in place of addresses or ports, and the way out."""
    have = f"{lines:,} lines have names" if lines > 1 else "1 line has names"
    return f"{have} in place of numbers: print the capture with 'tcpdump -nn'"


def no_tcp(run: Run, filtered_by: str) -> str:
    """Say that there is no TCP, and why, as far as the frames tell.

    Parameters
    ----------
    run : Run
        A pass that has ended.
    filtered_by : str
        What the user calls a capture filter.
    """
    frames = run.pipeline.frames
    if run.frame_filter is not None:
        nothing = f"no TCP in any of its frames that match {filtered_by}"
    else:
        nothing = f"no TCP in any of its {frames:,} frames" if frames > 1 else "no TCP in its only frame"
    return nothing + "".join(f"; {why}" for why in (_cut(run), _fragments(run), _link_types(run)) if why)


def _count(run: Run, reason: str) -> int:
    return int(run.pipeline.unseen.counts[REASONS.index(reason), 0])


def _cut(run: Run) -> str:
    cut = _count(run, "truncated_frame")
    are = f"{cut:,} are" if cut > 1 else "1 is"
    return f"{are} cut before the TCP header ends: capture more of each (tcpdump -s 128)" if cut else ""


def _fragments(run: Run) -> str:
    fragments = _count(run, "fragment")
    several = f"{fragments:,} are IP fragments of packets that are not whole"
    return several if fragments > 1 else "1 is an IP fragment of a packet that is not whole" if fragments else ""


def _link_types(run: Run) -> str:
    """Name the link types that are not decoded, with the way out."""
    if not _count(run, "unknown_link_type"):
        return ""
    from tcpsight.output.link_types import DECODED, HOLDS_NO_TCP, NAMES, advice

    numbers = sorted({each.link_type for each in run.capture.interfaces} - DECODED - HOLDS_NO_TCP)
    if not numbers:
        return ""
    named = [f"{number} ({NAMES[number]})" if number in NAMES else str(number) for number in numbers]
    ways = dict.fromkeys(map(advice, numbers))
    return f"link type {', '.join(named)} is not decoded: {'; '.join(ways)}"
