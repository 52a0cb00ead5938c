"""Write src/tcpsight/tables.pxd, the C layout of every table that kernels touch, from tables.py.

``python tools/layout.py`` writes the file; with ``--check`` it fails if the file is stale.
"""

import sys
from pathlib import Path

import numpy as np

from tcpsight import tables

TARGET = Path(__file__).parents[1] / "src" / "tcpsight" / "tables.pxd"

STRUCTS: dict[str, type[tables.Table]] = {
    "Frame": tables.Frames,
    "Header": tables.Headers,
    "Segment": tables.Segments,
    "Boundary": tables.Boundaries,
    "Piece": tables.Pieces,
    "Stream": tables.Streams,
    "Connection": tables.Connections,
    "Request": tables.Requests,
    "UnansweredRequest": tables.Unanswered,
    "RequestCount": tables.RequestCounts,
    "ConnectionAccount": tables.ConnectionAccounts,
    "RequestAccount": tables.RequestAccounts,
    "Interval": tables.Intervals,
    "NetworkRow": tables.Network,
    "PolicedRow": tables.Policed,
}

ENUMERATIONS = {
    "DIRECTION": tables.DIRECTIONS,
    "KIND": tables.KINDS,
    "STATE": tables.STATES,
    "ROLE": tables.ROLE_SOURCES,
    "PART": tables.TIME_PARTS,
    "VANTAGE": tables.VANTAGES,
    "BOUNDARY": tables.BOUNDARIES,
    "REASON": tables.REASONS,
    "ENCAPSULATION": tables.ENCAPSULATIONS,
    "TLS": tables.TLS_RECORDS,
}


def c_type(dtype: np.dtype[np.generic]) -> str:
    """Name the C type of one element."""
    if dtype.kind == "S":
        return "char"
    if dtype.kind == "f":
        return {4: "float", 8: "double"}[dtype.itemsize]
    return f"{dtype.name}_t"


def struct_lines(name: str, table: type[tables.Table]) -> list[str]:
    """Give the Cython declaration of one struct."""
    lines = ["", f"cdef struct {name}:"]
    for column in table.columns:
        element = np.dtype(column.dtype)
        width = element.itemsize if element.kind == "S" else column.width
        lines.append(f"    {c_type(element)} {column.name}" + (f"[{width}]" if width > 1 else ""))
    return lines


def enumeration_lines(values: dict[str, int]) -> list[str]:
    """Give an anonymous C enumeration."""
    return ["", "cdef enum:"] + [f"    {name} = {value}" for name, value in values.items()]


def layout() -> str:
    """Give the whole text of tables.pxd."""
    lines = [
        "# Generated from tables.py by tools/layout.py (make layout). Do not edit.",
        "from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t",
    ]
    constants = {n: v for n, v in vars(tables).items() if n.startswith(("OPTION_", "FLAG_", "LINK_TYPE_"))}
    lines += enumeration_lines({**constants, "MAX_SACK_BLOCKS": tables.MAX_SACK_BLOCKS, "REASONS": len(tables.REASONS)})
    for prefix, names in ENUMERATIONS.items():
        lines += enumeration_lines({f"{prefix}_{n.upper()}": i for i, n in enumerate(names)})
    for name, table in STRUCTS.items():
        lines += struct_lines(name, table)
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the file, or check it."""
    if sys.argv[1:] == ["--check"]:
        fresh = TARGET.exists() and TARGET.read_text() == layout()
        if not fresh:
            print(f"{TARGET} is stale: run make layout", file=sys.stderr)
        return 0 if fresh else 1
    TARGET.write_text(layout())
    return 0


if __name__ == "__main__":
    sys.exit(main())
