"""A lake in an object store is written whole or not at all, and read as one in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tcpsight.errors import TcpsightError
from tcpsight.lake import is_lake
from tcpsight.lake.ingesting import Ingest
from tcpsight.lake.places import Elsewhere
from tests.cli.running import Here, assert_one_line
from tests.cli.test_carried_lakes import rotated
from tests.support.object_store import BUCKET, client_of, object_store

FIRST, SECOND = Path("examples/redis-benchmark.pcap"), Path("examples/mariadb-lock.pcap")


@pytest.fixture(scope="module")
def stored() -> Iterator[dict[str, str]]:
    with object_store() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield environment


@pytest.fixture
def lake(stored: dict[str, str], request: pytest.FixtureRequest) -> str:
    return f"s3://{BUCKET}/lakes/{request.node.name.partition('[')[0]}"


def keys(stored: dict[str, str], lake: str) -> list[str]:
    prefix = lake.removeprefix(f"s3://{BUCKET}/") + "/"
    found = client_of(stored).list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
    return [each["Key"].removeprefix(prefix) for each in found]


def test_it_answers_as_a_lake_in_a_folder_does(here: Here, stored: dict[str, str], lake: str, tmp_path: Path):
    local = tmp_path / "lake"
    for path in (FIRST, SECOND):
        for where in (str(local), lake):
            done = here("ingest", path, "-o", where)
            assert done.status == 0, done.err
    assert sorted(keys(stored, lake)) == sorted(
        each.relative_to(local).as_posix() for each in local.rglob("*") if each.is_file() and each.name != ".lock"
    )
    for command in (
        ("report", "--format", "json"),
        ("requests", "--format", "csv"),
        ("connections", "--format", "csv", "--server", ":3306"),
        ("usl", "--format", "json"),
    ):
        given = [here(command[0], where, *command[1:]) for where in (str(local), lake)]
        assert given[0].out == given[1].out
        assert given[0].err == given[1].err
    sql = [
        here("sql", "select count(*), sum(requests) from sketches", each, "--format", "csv") for each in (local, lake)
    ]
    assert sql[0].out == sql[1].out
    compared = [here("compare", lake, each, "--format", "json") for each in (local, lake)]
    assert compared[0].status == compared[1].status
    again = here("ingest", FIRST, SECOND, "-o", lake)
    assert again.text == "nothing new: 2 files in the lake already\n"


def test_connections_go_on_from_one_ingest_to_the_next(here: Here, stored: dict[str, str], lake: str, tmp_path: Path):
    parts = rotated(SECOND, tmp_path / "parts", 3)
    assert here("ingest", *parts, "-o", tmp_path / "once").status == 0
    for count, part in enumerate(parts):
        done = here("ingest", part, "-o", lake)
        assert ("connections went on from before" in done.text) == (count > 0), done.err
    for command in ("report", "requests", "connections", "network"):
        options = ["--format", "json" if command == "report" else "csv"]
        given = [here(command, each, *options) for each in (tmp_path / "once", lake)]
        assert given[0].out == given[1].out
    with Ingest(lake) as after:
        there = {key for key in keys(stored, lake) if not key.startswith(".superseded/")}
        assert there == after.manifest.parts | {"manifest.json"}


def test_it_may_be_made_by_a_cluster_of_objects(here: Here, stored: dict[str, str], lake: str):
    client_of(stored).upload_file(str(FIRST), BUCKET, FIRST.name)
    done = here("ingest", f"s3://{BUCKET}/{FIRST.name}", "-o", lake, "--engine", "local", "--workers", "2")
    assert done.status == 0, done.err
    given = here("requests", lake + "/", "--format", "csv")
    assert given.out == here("requests", FIRST, "--format", "csv").out


def test_what_breaks_off_leaves_nothing(
    here: Here, stored: dict[str, str], lake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(SECOND.read_bytes()[:-9])
    assert here("ingest", cut, "-o", lake).status == 2
    assert keys(stored, lake) == []
    monkeypatch.setattr(Elsewhere, "write", fail)
    done = here("ingest", SECOND, "-o", lake)
    assert done.status == 2
    assert_one_line(done.err, "cannot be written: no more")
    assert keys(stored, lake) == []


def fail(self: Elsewhere, name: str, data: bytes) -> None:
    raise OSError("no more")


def test_what_somebody_left_who_was_killed_is_no_harm(
    here: Here, stored: dict[str, str], lake: str, monkeypatch: pytest.MonkeyPatch
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Elsewhere, "write", fail)
        patch.setattr(Elsewhere, "remove", lambda *_: None)
        assert here("ingest", SECOND, "-o", lake).status == 2
    left = keys(stored, lake)
    assert len(left) > 3
    assert not is_lake(lake)
    assert here("ingest", SECOND, "-o", lake).status == 0
    assert sorted(keys(stored, lake)) == sorted([*left, "manifest.json"])


def test_who_adds_at_the_same_time_is_told(stored: dict[str, str], here: Here, lake: str):
    assert here("ingest", FIRST, "-o", lake).status == 0
    with Ingest(lake) as one:
        before = one._known
        assert here("ingest", SECOND, "-o", lake).status == 0
        assert one._stored_manifest() != before
        one._known = before
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Ingest, "_stored_manifest", lambda self: os.urandom(8))
        done = here("ingest", Path("examples/postgresql-pgbench.pcap"), "-o", lake)
    assert done.status == 2
    assert_one_line(done.err, "somebody else has added to this lake meanwhile")
    with Ingest(lake) as after:
        parts = after.manifest.parts
    assert sorted(keys(stored, lake)) == sorted([*parts, "manifest.json"])


def test_a_place_that_holds_something_else_or_cannot_be_asked_is_refused(here: Here, stored: dict[str, str], lake: str):
    client_of(stored).put_object(Bucket=BUCKET, Key=lake.removeprefix(f"s3://{BUCKET}/") + "/note.txt", Body=b"mine")
    done = here("ingest", FIRST, "-o", lake)
    assert done.status == 2
    assert_one_line(done.err, "is not empty, and no lake")
    done = here("ingest", FIRST, "-o", "s3://nobody/lake")
    assert done.status == 2
    assert_one_line(done.err, "s3://nobody/lake")
    with pytest.raises(TcpsightError):
        Ingest("no-such-scheme://a/b")


def test_an_object_that_is_missing_is_named(here: Here, stored: dict[str, str], lake: str):
    assert here("ingest", FIRST, "-o", lake).status == 0
    gone = max(key for key in keys(stored, lake) if key.startswith("requests/"))
    client_of(stored).delete_object(Bucket=BUCKET, Key=f"{lake.removeprefix(f's3://{BUCKET}/')}/{gone}")
    done = here("requests", lake)
    assert done.status == 2
    assert_one_line(done.err, f"{lake}/{gone}: cannot be read")
