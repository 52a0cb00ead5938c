"""Holds the rates and buckets that findings tell against those the path was set to.

The path counts packets of IP; findings count payload: of full segments, which nearly all are, each carries the same
share.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

Record = dict[str, Any]

GOOD = 0.05
"""A rate or a bucket is good if it is off by so much at most."""
PLACES = "the sender", "between", "the receiver"


class Told(NamedTuple):
    """A number of a finding, of captures at one place; `relative` and `unit` as of other quantities."""

    name: str
    relative: float = GOOD
    unit: str = ""


RATES = tuple(
    Told(f"{number}, at {place}" if place != "between" else f"{number}, between")
    for number in ("policing: rate", "policing: rate, or its nearer bound", "policing: bucket", "shaping: rate")
    for place in PLACES
)
"""In the order of the table."""


def compare(truth: Record, findings: list[Record], vantage: str) -> Iterator[tuple[str, float, float]]:
    """Give the name of each number that is told, what is true of it, and what was measured."""
    for expected in truth["expected"]:
        kind = expected["kind"]
        if kind not in ("policing", "shaping"):
            continue
        told = [f for f in findings if f["kind"] == kind and f["direction"] == expected["direction"]]
        if not told:
            continue
        share = payload_share(truth, expected["direction"])
        numbers = numbers_of(told[0])
        rate, burst = truth["parameters"]["rate"] * share, truth["parameters"]["burst"] * share
        place = place_of(vantage, expected["direction"])
        at = "between" if place == "between" else f"at {place}"
        yield f"{kind}: rate, {at}", rate, numbers["rate_bits_per_s"]
        if kind == "policing":
            nearest = min(max(rate, numbers["rate_low_bits_per_s"]), numbers["rate_high_bits_per_s"])
            yield f"{kind}: rate, or its nearer bound, {at}", rate, nearest
            yield f"{kind}: bucket, {at}", burst, numbers["bucket_bytes"]


def numbers_of(finding: Record) -> Record:
    """Give the evidence of a finding."""
    evidence = finding["evidence"]
    found: Record = json.loads(evidence) if isinstance(evidence, str) else evidence
    return found


def place_of(vantage: str, sender: str) -> str:
    """Say at which end of the data's way a capture was taken."""
    return "between" if vantage == "middle" else "the sender" if vantage == sender else "the receiver"


def payload_share(truth: Record, direction: str) -> float:
    """Give the share of a full packet that is payload."""
    hosts = truth["hosts"]
    payload = max(c[direction]["largest_payload"] for c in truth["connections"])
    headers = (40 if hosts["is_ipv6"] else 20) + 20 + 12 * hosts["has_timestamps"]
    return float(payload / (payload + headers))
