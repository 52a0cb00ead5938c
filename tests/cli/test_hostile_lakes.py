"""Lakes that somebody else wrote: manifests and Parquet files that lie, are damaged or missing are told in a line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import Here, assert_one_line, process

LOCK = Path("examples/mariadb-lock.pcap")
WRONG: list[dict[str, object]] = [
    {"frames": "x"},
    {"segments": None},
    {"batches": 10**30},
    {"first_ns": "a"},
    {"last_ns": None},
    {"rows": []},
    {"parts": [1]},
    {"unseen": {"nothing such": [1, 2, 3]}},
    {"unseen": {"not_tcp": [1]}},
    {"silences": [["a", "b"]]},
    {"interfaces": [{"x": 1}]},
    {"vlan_tags": "x"},
    {"id": 5},
    {"after": 5},
    {"leaps": [[1, 2]]},
    {"ending": {"rows": []}},
    {"ending": {"batches": -1}},
    {"ending": {"leaps": [[1]]}},
]
WRONG_STATES: list[dict[str, object]] = [
    {"part": "carried/../../etc/passwd"},
    {"part": 5},
    {"bytes": -1},
    {"digest": None},
    {"end_ns": "x"},
    {"connections": 10**30},
]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a lake that is as it should be."""
    lake = tmp_path_factory.mktemp("lakes") / "sound"
    assert process("ingest", LOCK, "-o", lake).status == 0
    return lake


@pytest.fixture
def lake(sound: Path, tmp_path: Path) -> Path:
    """Give a copy of it."""
    return shutil.copytree(sound, tmp_path / "lake")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda told: told | {"version": 99}, "this tcpsight knows up to 2"),
        (lambda told: told | {"format": "other"}, "is not the manifest of a lake"),
        (lambda told: told | {"captures": [1]}, "is damaged"),
        *[
            (lambda told, wrong=wrong: told | {"captures": [told["captures"][0] | wrong]}, "is damaged: ValueError")
            for wrong in WRONG
        ],
        *[
            (lambda told, wrong=wrong: told | {"state": told["state"] | wrong}, "is damaged: ValueError")
            for wrong in WRONG_STATES
        ],
        (lambda told: told | {"state": {}}, "is damaged: TypeError"),
        (lambda told: told | {"state": []}, "is damaged: TypeError"),
        (lambda told: told | {"superseded": [5]}, "is damaged: ValueError"),
        (
            lambda told: told | {"captures": [told["captures"][0] | {"ending": {"parts": {"../a": 0}}}]},
            "outside of the lake",
        ),
        (
            lambda told: told | {"captures": [told["captures"][0] | {"parts": {"requests/../../a": 0}}]},
            "outside of the lake",
        ),
        (
            lambda told: told | {"captures": [told["captures"][0] | {"parts": {"requests/a.parquet": 0}}]},
            "cannot be read",
        ),
    ],
)
def test_a_manifest_that_lies_is_told(here: Here, lake: Path, change, said: str):
    told = json.loads((lake / "manifest.json").read_text())
    (lake / "manifest.json").write_text(json.dumps(change(told)))
    done = here("requests", lake)
    assert done.status == 2
    assert_one_line(done.err, said)


def test_a_damaged_part_is_told(here: Here, lake: Path):
    part = max(lake.glob("requests/*/*/*.parquet"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2 : -200] = bytes(len(data) - 200 - len(data) // 2)
    part.write_bytes(bytes(data))
    done = here("requests", lake)
    assert done.status == 2
    assert "Traceback" not in done.err
    assert "cannot be read" in done.err


def change_column(name: str, values: Any) -> Callable[[Path], None]:
    def change(part: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.ParquetFile(part).read()
        changed = pa.array([values] * len(table))
        pq.write_table(table.set_column(table.schema.get_field_index(name), name, changed), part)

    return change


def become_fifo(part: Path) -> None:
    part.unlink()
    os.mkfifo(part)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (change_column("row", {"a": 1}), "row is struct"),
        (change_column("request_bytes", "12"), "request_bytes is string"),
        (change_column("request_bytes", float("nan")), "cannot be read"),
        (change_column("server_port", 700_000), "cannot be read"),
        (change_column("server_address", 5), "server_address is int64"),
        (change_column("server_address", b"x"), "server_address is dictionary<values=binary"),
        (change_column("row", 2**62), "rows of requests"),
        (become_fifo, "is no regular file"),
        (Path.unlink, "no such file"),
    ],
)
def test_a_part_that_lies_is_told(here: Here, lake: Path, change, said: str):
    part = max(lake.glob("requests/*/*/*.parquet"))
    change(part)
    done = here("requests", lake)
    assert done.status == 2
    assert "Traceback" not in done.err
    assert "RuntimeWarning" not in done.err
    assert said in done.err
