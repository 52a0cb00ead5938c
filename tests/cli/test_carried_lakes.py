"""A lake that files were ingested into one after the other tells what it tells of all of them at once."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest

from tcpsight.batches import Options
from tcpsight.lake.ingesting import Ingest
from tcpsight.lake.manifest import Manifest
from tcpsight.lake.places import Folder
from tcpsight.lake.replaying import Replay, StoredCaptures
from tests.cli.running import Here, assert_one_line, process
from tests.cli.test_clocks import set_forward
from tests.support.thorough import some_of

EXAMPLES = Path("examples")
LOCK = EXAMPLES / "mariadb-lock.pcap"
ANSWERS = [
    ("report", []),
    ("report", ["--format", "json"]),
    ("report", ["--since", "2026-11-21T22:50:24Z", "--until", "2026-11-21T22:50:29Z"]),
    ("requests", ["--format", "csv", "--account"]),
    ("connections", ["--format", "csv"]),
    ("network", ["--format", "csv"]),
    ("findings", ["--format", "csv"]),
    ("intervals", ["--format", "csv", "--by", "client"]),
    ("usl", ["--format", "json"]),
]


def rotated(path: Path, folder: Path, files: int, seed: int = 1) -> list[Path]:
    """Write a capture as files that are cut anywhere."""
    data = path.read_bytes()
    places = [24]
    while places[-1] < len(data):
        places.append(places[-1] + 16 + int.from_bytes(data[places[-1] + 8 : places[-1] + 12], "little"))
    cuts = [24, *sorted(random.Random(seed).sample(places[1:-1], files - 1)), len(data)]
    folder.mkdir(exist_ok=True)
    made = []
    for number, (begin, end) in enumerate(pairwise(cuts)):
        made.append(folder / f"{number}.pcap")
        made[-1].write_bytes(data[:24] + data[begin:end])
    return made


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Give an example as four files; all of its connections span several."""
    return rotated(LOCK, tmp_path_factory.mktemp("parts"), 4)


@pytest.fixture(scope="module")
def once(parts: list[Path]) -> Path:
    """Give the lake of all files at once."""
    lake = parts[0].parent / "once"
    assert process("ingest", *parts, "-o", lake).status == 0
    return lake


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


def ingested(here: Here, lake: Path | str, files: Sequence[Path], *options: str) -> list[str]:
    """Ingest one after the other; give what is said of each on standard error."""
    said = []
    for each in files:
        done = here("ingest", each, "-o", lake, *options)
        assert done.status == 0, done.err
        said.append(done.err)
    return said


def assert_same(here: Here, lake: Path | str, once: Path, answers: Sequence[tuple[str, list[str]]] = ANSWERS) -> None:
    for command, options in answers:
        told = [here(command, each, *options) for each in (lake, once)]
        assert told[0].status == told[1].status == 0, told[0].err
        assert len(told[1].out) > 100
        assert told[0].out == told[1].out, command
        assert told[0].err == told[1].err


@pytest.mark.parametrize("workers", some_of(["1", "2", "5"], 2))
def test_ingested_one_by_one_files_tell_what_they_tell_at_once(
    here: Here, lake: Path, parts: list[Path], once: Path, workers: str
):
    first = here("ingest", parts[0], "-o", lake, "--workers", workers)
    assert first.text.endswith(" of them open at the end\n")
    second = here("ingest", parts[1], "-o", lake, "--workers", workers)
    assert "connections went on from before" in second.text
    ingested(here, lake, parts[2:], "--workers", workers)
    assert_same(here, lake, once)
    # What was superseded is there no more, for other tools count whatever is there.
    with Ingest(lake) as adding:
        assert {each.relative_to(lake).as_posix() for each in lake.glob("[!.]*/**/*.parquet")} == {
            each for each in adding.manifest.parts if each.endswith("parquet")
        }
        assert [each.name for each in (lake / "carried").iterdir()] == [f"{adding.manifest.captures[-1].id}.zst"]


@pytest.mark.parametrize("example", some_of(sorted(EXAMPLES.glob("*.pcap")), 3), ids=lambda each: each.name)
def test_so_does_every_example_cut_anywhere(here: Here, lake: Path, tmp_path: Path, example: Path):
    seed = random.randrange(1 << 30)
    files = rotated(example, tmp_path / "parts", random.Random(seed).randint(2, 5), seed)
    assert here("ingest", *files, "-o", tmp_path / "once").status == 0
    ingested(here, lake, files)
    answers = [
        ("requests", ["--format", "csv"]),
        ("connections", ["--format", "csv"]),
        ("network", ["--format", "csv"]),
    ]
    assert_same(here, lake, tmp_path / "once", answers)
    sums = "select server_port, start_ns, low_ns, sum(requests) from sketches group by all order by all"
    told = [here("sql", sums, each, "--format", "csv").out for each in (lake, tmp_path / "once")]
    assert told[0] == told[1], seed


def test_a_lake_is_whole_after_every_ingest(here: Here, lake: Path, parts: list[Path]):
    for count, each in enumerate(parts, 1):
        ingested(here, lake, [each])
        for command in ("requests", "connections", "network"):
            whole = here(command, *parts[:count], "--format", "csv")
            assert here(command, lake, "--format", "csv").out == whole.out, (count, command)


def test_killed_before_the_manifest_it_is_done_again(
    here: Here, lake: Path, parts: list[Path], once: Path, monkeypatch: pytest.MonkeyPatch
):
    ingested(here, lake, parts[:2])
    before = here("report", lake).out
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Manifest, "write", killed)
        patch.setattr(Ingest, "_remove", lambda *_: None)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            here("ingest", parts[2], "-o", lake)
    assert len(list(lake.glob("carried/*.zst"))) == 2
    assert here("report", lake).out == before
    ingested(here, lake, parts[2:])
    assert_same(here, lake, once)
    assert len(list(lake.glob("carried/*.zst"))) == 1


def test_killed_behind_the_manifest_it_is_done(here: Here, lake: Path, parts: list[Path], once: Path):
    ingested(here, lake, parts[:2])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ingest, "_set_aside", killed)
        with pytest.raises(Killed):
            here("ingest", parts[2], "-o", lake)
    assert here("requests", lake).out == here("requests", *parts[:3]).out
    assert len(list(lake.glob("carried/*.zst"))) == 2
    ingested(here, lake, parts[3:])
    assert_same(here, lake, once)
    assert len(list(lake.glob("carried/*.zst"))) == 1


class Killed(BaseException):
    """The process was killed: nothing is tidied up."""


def killed(*_: object) -> None:
    raise Killed


def test_a_full_disk_while_open_connections_are_written_adds_nothing(
    here: Here, lake: Path, parts: list[Path], once: Path
):
    import resource

    ingested(here, lake, parts[:1])
    before = {each: each.read_bytes() for each in lake.rglob("*") if each.is_file()}
    size = (lake / "carried").stat().st_size
    assert size
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # noqa: E731
    done = process("ingest", parts[1], "-o", lake, preexec_fn=limit)
    assert done.status != 0
    assert_one_line(done.err, "cannot be written")
    assert {each: each.read_bytes() for each in lake.rglob("*") if each.is_file()} == before
    ingested(here, lake, parts[1:])
    assert_same(here, lake, once, ANSWERS[3:6])


def test_files_between_which_much_time_lies_are_one_capture_all_the_same(here: Here, lake: Path, parts: list[Path]):
    """What was not captured between is a gap, and connections time out, as if both were read at once."""
    later = parts[0].parent / "later.pcap"
    data = bytearray(parts[3].read_bytes())
    at = 24
    while at < len(data):
        seconds = int.from_bytes(data[at : at + 4], "little") + 3 * 86_400
        data[at : at + 4] = seconds.to_bytes(4, "little")
        at += 16 + int.from_bytes(data[at + 8 : at + 12], "little")
    later.write_bytes(data)
    ingested(here, lake, [parts[0], later])
    for command in ("requests", "connections", "network", "report"):
        options = ["--format", "json" if command == "report" else "csv"]
        whole, told = here(command, parts[0], later, *options), here(command, lake, *options)
        if command == "report":
            facts = [json.loads(each.out)["services"] for each in (whole, told)]
            assert facts[0] == facts[1]
        else:
            assert told.out == whole.out


def test_what_begins_before_the_end_begins_anew(here: Here, lake: Path, parts: list[Path], once: Path):
    """Whether it lies before all that is there, or overlaps it; and it changes nothing of what goes on later."""
    ingested(here, lake, [parts[1]])
    said = ingested(here, lake, [parts[0]])[0]
    assert "connections that were open begin anew: these files begin " in said
    assert "before the end of those that were ingested" in said
    assert "what is open at the end of these files ends with them" in said
    done = here("ingest", parts[2], "-o", lake)
    assert "connections went on from before" in done.text
    assert "begin anew" not in done.err
    whole = [here("requests", *each, "--format", "csv").rows() for each in ([parts[0]], parts[1:3])]
    told = here("requests", lake, "--format", "csv").rows()
    kept = ("client_port", "request_index", "request_first_ns", "response_last_ns", "request_bytes", "response_bytes")
    assert sorted(tuple(row[name] for name in kept) for row in told) == sorted(
        tuple(row[name] for name in kept) for rows in whole for row in rows
    )
    ids = here("connections", lake, "--format", "csv").column("connection_id")
    assert len(set(ids)) == len(ids)


def test_a_capture_that_overlaps_and_ends_later_is_what_the_next_goes_on_from(
    here: Here, lake: Path, parts: list[Path], tmp_path: Path
):
    wide, first = tmp_path / "wide.pcap", parts[1].read_bytes()
    behind = 24 + 16 + int.from_bytes(first[32:36], "little")
    wide.write_bytes(first[:24] + first[behind:] + parts[2].read_bytes()[24:])
    ingested(here, lake, [parts[1]])
    assert "begin anew" in ingested(here, lake, [wide])[0]
    done = here("ingest", parts[3], "-o", lake)
    assert "connections went on from before" in done.text
    whole = here("requests", wide, parts[3], "--format", "csv").rows()
    told = here("requests", lake, "--format", "csv").rows()
    assert len(told) == len(whole) + len(here("requests", parts[1], "--format", "csv").rows())


def test_who_reads_while_a_lake_is_added_to_is_told_what_it_was(here: Here, lake: Path, parts: list[Path]):
    """Files that do not count any more are there until the next but one."""
    ingested(here, lake, parts[:1])
    stored = StoredCaptures(lake)
    rows = Replay(stored, Options(with_network=True, account="requests"))
    assert here("ingest", parts[1], "-o", lake).status == 0
    assert sum(len(batch.requests) for batch in rows) == len(here("requests", parts[0], "--format", "csv").rows())
    assert rows.broken is None
    ingested(here, lake, parts[2:])
    assert {each.name[:16] for each in lake.glob(".superseded/**/*.parquet")} == {
        Manifest.read(Folder(str(lake))).captures[2].id
    }


def test_what_was_ingested_between_is_not_skipped(here: Here, lake: Path, parts: list[Path]):
    """Connections do not go on from the capture before the last one, which carried none."""
    ingested(here, lake, parts[:1])
    ingested(here, lake, parts[1:2], "--no-carry")
    done = here("ingest", parts[2], "-o", lake)
    assert "went on" not in done.text
    apart = [here("requests", each, "--format", "csv").rows() for each in parts[:3]]
    assert len(here("requests", lake, "--format", "csv").rows()) == sum(map(len, apart))
    assert "went on" in here("ingest", parts[3], "-o", lake).text


def test_a_bad_file_between_them_is_left_out(here: Here, lake: Path, parts: list[Path], tmp_path: Path):
    bad = tmp_path / "bad.pcap"
    bad.write_bytes(parts[1].read_bytes()[:-20])
    assert here("ingest", parts[0], "-o", lake).status == 0
    broken = here("ingest", bad, "-o", lake)
    assert broken.status == 2
    done = here("ingest", bad, parts[2], "-o", lake, "--skip-bad")
    assert done.status == 0, done.err
    assert "went on from before" in done.text
    for command in ("requests", "connections", "network"):
        whole = here(command, parts[0], bad, parts[2], "--skip-bad", "--format", "csv")
        assert here(command, lake, "--format", "csv").out == whole.out


def test_a_file_without_frames_changes_nothing(here: Here, lake: Path, parts: list[Path], once: Path, tmp_path: Path):
    nothing = tmp_path / "nothing.pcap"
    nothing.write_bytes(parts[0].read_bytes()[:24])
    ingested(here, lake, parts[:2])
    here("ingest", nothing, "-o", lake)
    ingested(here, lake, parts[2:])
    assert_same(here, lake, once, ANSWERS[3:6])


def damage(lake: Path) -> None:
    (state,) = (lake / "carried").iterdir()
    data = bytearray(state.read_bytes())
    data[len(data) // 2] ^= 1
    state.write_bytes(data)


def lose(lake: Path) -> None:
    shutil.rmtree(lake / "carried")


def age(lake: Path) -> None:
    told = json.loads((lake / "manifest.json").read_text())
    told["state"]["fingerprint"] = "0" * 32
    (lake / "manifest.json").write_text(json.dumps(told))


def believe(lake: Path) -> None:
    """Damage the file, and tell its checksum: somebody else wrote it."""
    import hashlib

    (state,) = (lake / "carried").iterdir()
    state.write_bytes(b"\x00" * 100)
    told = json.loads((lake / "manifest.json").read_text())
    told["state"] |= {"bytes": 100, "digest": hashlib.blake2b(state.read_bytes(), digest_size=32).hexdigest()}
    (lake / "manifest.json").write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (damage, [], "it is damaged"),
        (lose, [], "cannot be read"),
        (believe, [], "cannot be read"),
        (age, [], "another version of tcpsight"),
        (None, ["--timeout-ended", "5s"], "with other options"),
        (None, ["--no-carry"], "takes none over"),
    ],
)
def test_what_cannot_be_carried_begins_anew_and_says_so(
    here: Here, lake: Path, parts: list[Path], change, options: list[str], said: str
):
    ingested(here, lake, parts[:1])
    if change is not None:
        change(lake)
    done = here("ingest", parts[1], "-o", lake, *options)
    assert done.status == 0
    assert "went on" not in done.text
    assert "tcpsight: note: connections that were open begin anew: " in done.err
    assert said in done.err
    apart = [here("connections", each, "--format", "csv").rows() for each in parts[:2]]
    assert len(here("connections", lake, "--format", "csv").rows()) == sum(map(len, apart))
    # The next one goes on again.
    done = here("ingest", parts[2], "-o", lake, *options)
    assert ("went on" in done.text) == (options != ["--no-carry"])


def test_an_engine_takes_none_over(here: Here, lake: Path, parts: list[Path]):
    ingested(here, lake, parts[:1])
    done = here("ingest", parts[1], "-o", lake, "--engine", "local", "--workers", "1")
    assert "begin anew: an engine, or --no-carry, takes none over" in done.err


def test_a_lake_of_the_first_version_is_read_and_added_to(here: Here, lake: Path, parts: list[Path]):
    ingested(here, lake, parts[:1], "--no-carry")
    told = json.loads((lake / "manifest.json").read_text())
    del told["state"], told["superseded"]
    for each in told["captures"]:
        del each["after"], each["ending"]
    (lake / "manifest.json").write_text(json.dumps(told | {"version": 1}))
    assert here("requests", lake, "--format", "csv").out == here("requests", parts[0], "--format", "csv").out
    assert ingested(here, lake, parts[1:2]) == [here("requests", parts[1]).err]
    assert "went on" in here("ingest", parts[2], "-o", lake).text


def test_clocks_that_stood_still_are_told_once(here: Here, lake: Path, tmp_path: Path):
    """Three numbers each, in the manifest; one that the next capture may deny is not certain."""
    path = tmp_path / "set.pcap"
    path.write_bytes(set_forward(LOCK.read_bytes(), 3, 5))
    files = rotated(path, tmp_path / "parts", 9)
    assert here("ingest", *files, "-o", tmp_path / "once").status == 0
    ingested(here, lake, files)
    for options in (["--format", "json"], []):
        told = [here("report", each, *options) for each in (lake, tmp_path / "once")]
        assert b"set forward" in told[0].out or options
        assert told[0].out == told[1].out


def test_nothing_is_left_open_where_nothing_is_kept(here: Here, lake: Path, parts: list[Path]):
    ingested(here, lake, parts[:1], "--no-carry")
    told = json.loads((lake / "manifest.json").read_text())
    assert told["state"] is None
    assert told["captures"][0]["ending"] is None
    assert not (lake / "carried").exists()
