"""The query in the docs that puts together what two ingests made of one connection."""

from __future__ import annotations

from pathlib import Path

from tests.cli.running import Here
from tests.cli.test_rotated import rotated

__all__ = ["rotated"]

DOCS = Path("docs/sql.md").read_text(encoding="utf-8")


def test_halves_of_connections_are_put_together(here: Here, rotated: list[Path], tmp_path: Path):
    (query,) = (part.partition("```")[0] for part in DOCS.split("```sql\n") if part.startswith("with pieces"))
    lake, whole = tmp_path / "lake", tmp_path / "whole"
    # The first capture ends among the requests of all connections.
    assert b"open at the end" in here("ingest", *rotated[:120], "-o", lake, "--no-carry").out
    for files, where in ((rotated[120:], lake), (rotated, whole)):
        assert here("ingest", *files, "-o", where, "--no-carry").status == 0
    halves, as_ever = (here("sql", query, each, "--format", "csv").rows() for each in (lake, whole))
    assert {row["pieces"] for row in as_ever} == {"1"}
    assert {row["pieces"] for row in halves} >= {"2"}
    kept = ("client_address", "client_port", "server_port", "start_ns", "end_ns", "state")
    assert [[row[name] for name in kept] for row in halves] == [[row[name] for name in kept] for row in as_ever]
    for name, most in (("client_bytes", 0), ("server_bytes", 0), ("requests", 1)):
        lost = [int(one[name]) - int(two[name]) for one, two in zip(as_ever, halves, strict=True)]
        assert all(abs(each) <= most for each in lost), (name, lost)
