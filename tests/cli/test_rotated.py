"""A capture that was rotated into 200 files: neither order, workers nor a bad file among them change what is right."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from tests.cli.running import Here
from tests.support.thorough import some_of

EXAMPLE = Path("examples/postgresql-pgbench.pcap")
FILES = 200
HEADER_BYTES = 24
RECORD_BYTES = 16


def records(data: bytes) -> list[bytes]:
    """Cut a little-endian pcap into its records."""
    found, at = [], HEADER_BYTES
    while at < len(data):
        end = at + RECORD_BYTES + int.from_bytes(data[at + 8 : at + 12], "little")
        found.append(data[at:end])
        at = end
    return found


@pytest.fixture(scope="module")
def rotated(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write the example as 200 files, cut anywhere: most of its connections span many."""
    data = EXAMPLE.read_bytes()
    frames = records(data)
    cuts = sorted(random.Random(9).sample(range(1, len(frames)), FILES - 1))
    folder = tmp_path_factory.mktemp("rotated")
    paths = []
    for number, (begin, end) in enumerate(zip([0, *cuts], [*cuts, len(frames)], strict=True)):
        paths.append(folder / f"capture_{number:05}.pcap")
        paths[-1].write_bytes(data[:HEADER_BYTES] + b"".join(frames[begin:end]))
    return paths


@pytest.mark.parametrize(
    ("command", "options"),
    some_of(
        [
            ("requests", ["--format", "csv", "--account"]),
            ("connections", ["--format", "parquet"]),
            ("network", ["--format", "arrow"]),
            ("findings", ["--format", "csv"]),
            ("intervals", ["--format", "csv"]),
            ("buckets", ["--format", "csv"]),
        ],
        2,
    ),
)
def test_neither_order_nor_workers_change_a_byte(here: Here, rotated: list[Path], command: str, options: list[str]):
    whole = here(command, EXAMPLE, *options)
    assert whole.status == 0
    assert len(whole.out) > 100
    for seed, workers in enumerate(("1", "2", "5")):
        mixed = random.Random(seed).sample(rotated, FILES)
        told = here(command, *mixed, *options, "--workers", workers)
        assert told.status == 0
        assert told.out == whole.out


def test_a_pattern_names_them_all(here: Here, rotated: list[Path]):
    told = [here("requests", name, "--format", "csv").out for name in (rotated[0].parent / "*.pcap", EXAMPLE)]
    assert told[0] == told[1]


@pytest.fixture
def with_bad(rotated: list[Path], tmp_path: Path) -> list[Path]:
    """Of the files, in the middle, damage one, replace one, and let one be missing."""
    paths = [*rotated]
    paths[50], paths[100], paths[150] = tmp_path / "cut.pcap", tmp_path / "text.pcap", tmp_path / "missing.pcap"
    paths[50].write_bytes(rotated[50].read_bytes()[:-7])
    paths[100].write_text("not a capture")
    return paths


def test_a_missing_file_ends_it_before_anything_is_read(here: Here, with_bad: list[Path]):
    done = here("requests", *with_bad[:100], *with_bad[101:])
    assert done.status == 2
    assert "missing.pcap: cannot be opened: No such file" in done.err
    assert not done.out


def test_bad_files_are_left_out_if_asked_for_named_and_counted(here: Here, with_bad: list[Path], rotated: list[Path]):
    done = here("connections", *with_bad, "--skip-bad", "--format", "csv")
    assert done.status == 0
    assert "bad_file: 3:" in done.err
    for name, said in (("cut", "left out after"), ("text", "left out: "), ("missing", "No such file")):
        (line,) = (each for each in done.err.splitlines() if f"{name}.pcap" in each)
        assert said in line
    # What is left is what there would be without them, up to the damage.
    frames = records(rotated[50].read_bytes())
    with_bad[50].write_bytes(rotated[50].read_bytes()[: -len(frames[-1])])
    left = [path for path in with_bad if path.stem not in ("text", "missing")]
    assert here("connections", *left, "--format", "csv").out == done.out


@pytest.mark.parametrize("size", [0, 10, 24 + 30], ids=["empty", "in the header", "in the first frame"])
def test_a_file_that_ends_in_front_of_its_first_frame_is_named_too(
    here: Here, rotated: list[Path], tmp_path: Path, size: int
):
    short = tmp_path / "short.pcap"
    short.write_bytes(rotated[9].read_bytes()[:size])
    done = here("connections", *rotated[:5], short, "--skip-bad", "--format", "csv")
    assert done.status == 0
    assert "bad_file: 1:" in done.err
    assert "short.pcap: left out: " in done.err
    assert done.out == here("connections", *rotated[:5], "--format", "csv").out


def test_the_report_counts_and_names_them(here: Here, with_bad: list[Path]):
    facts = json.loads(here("report", *with_bad, "--skip-bad", "--format", "json").out)
    (unseen,) = (each for each in facts["unseen"] if each["reason"] == "bad_file")
    assert unseen["count"] == 3
    named = {Path(each["path"]).stem: each["problem"] for each in facts["capture"]["files"] if "problem" in each}
    assert named.keys() == {"cut", "text", "missing"}
    assert "No such file" in named["missing"]


def test_if_every_file_is_bad_nothing_can_be_told(here: Here, with_bad: list[Path]):
    done = here("requests", with_bad[100], with_bad[150], "--skip-bad")
    assert done.status == 2
    assert "text.pcap" in done.err
