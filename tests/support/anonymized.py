"""Compares what a capture and its anonymized copy tell, but for addresses."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np

import tcpsight
from tcpsight.anonymity.anonymizing import Anonymizing, Wanted
from tcpsight.anonymity.prefixes import Secrets
from tcpsight.anonymity.writing import FrameWriter
from tcpsight.capture import open_capture
from tcpsight.errors import CaptureError
from tcpsight.output.destination import Destination
from tests.support.columns import IN_BATCH

KEY = bytes(range(32))
ADDRESSES = ("client_address", "server_address")
# Made of addresses, or of tunnels.
OTHERS = ("community_id", "encapsulation", *IN_BATCH)
TABLES = ("connections", "requests", "unanswered", "network")


def anonymized(source: Path, wanted: Wanted | None = None, key: bytes = KEY) -> tuple[bytes, Anonymizing]:
    """Give the copy, and what was counted."""
    secrets = Secrets(key)
    made = Anonymizing(secrets, wanted or Wanted())
    out = io.BytesIO()
    destination = Destination(out)
    writer = FrameWriter(destination, "pcapng")
    with open_capture([source]) as capture:
        try:
            for frames in capture:
                writer.write(made.feed(frames))
        except CaptureError:
            pass
    destination.close()
    return out.getvalue(), made


def rows_of(source: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Give the rows of the tables of a capture, even of one that breaks off."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", tcpsight.CaptureWarning)
        capture = tcpsight.open(source)
        return {name: getattr(capture, name).to_numpy() for name in TABLES}


def differences(
    original: dict[str, Any], copy: dict[str, Any], secrets: Secrets, maps_ports: bool = False
) -> list[str]:
    """Name the columns that differ by more than the mapping, each with how many rows."""
    found = []
    for name, rows in original.items():
        others = copy[name]
        if len(rows) != len(others):
            found.append(f"{name}: {len(rows)} rows became {len(others)}")
            continue
        for column in rows.dtype.names or ():
            if column in OTHERS or (maps_ports and column.endswith("_port")):
                continue
            expected = secrets.addresses(rows[column]) if column in ADDRESSES else rows[column]
            is_same = expected == others[column]
            if expected.dtype.kind == "f":
                is_same |= np.isnan(expected) & np.isnan(others[column])
            wrong = len(rows) - int((is_same.all(axis=1) if is_same.ndim > 1 else is_same).sum())
            if wrong:
                found.append(f"{name}.{column}: {wrong} of {len(rows)}")
    return found
