"""Captures in an object store and behind HTTP are read as local ones are; what is wrong is said in a line."""

from __future__ import annotations

import http.server
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.cli.running import COMMAND, Here, process
from tests.support.object_store import BUCKET, client_of, object_store
from tests.support.pcap import pcap_bytes, tcp_frame
from tests.support.thorough import some_of

EXAMPLES = Path("examples")
EXAMPLE = EXAMPLES / "mariadb-lock.pcap"


@pytest.fixture(scope="module")
def stored() -> Iterator[dict[str, str]]:
    with object_store() as environment:
        client = client_of(environment)
        for path in (EXAMPLE, EXAMPLES / "two-points-client.pcap.zst", EXAMPLES / "redis-benchmark.pcap"):
            client.upload_file(str(path), BUCKET, f"day/{path.name}")
        client.put_object(Bucket=BUCKET, Key="day/note.txt", Body=b"not a capture")
        yield environment


def named(name: str) -> str:
    return f"s3://{BUCKET}/day/{name}"


@pytest.mark.parametrize("name", ["mariadb-lock.pcap", "two-points-client.pcap.zst"])
@pytest.mark.parametrize("command", ["requests", "connections"])
def test_an_object_gives_what_the_file_gives(here: Here, stored: dict[str, str], name: str, command: str):
    told = process(command, named(name), "--format", "csv", env=os.environ | stored)
    assert told.status == 0, told.err
    assert told.out == here(command, EXAMPLES / name, "--format", "csv").out
    assert len(told.out) > 100


def test_a_pattern_names_objects(here: Here, stored: dict[str, str]):
    told = process("connections", named("*-lock.pc?p"), "--format", "csv", env=os.environ | stored)
    assert told.out == here("connections", EXAMPLE, "--format", "csv").out
    none = process("connections", named("none*"), env=os.environ | stored)
    assert none.status == 2
    assert "no file matches" in none.err


def test_several_are_one_capture_and_bad_ones_can_be_left_out(here: Here, stored: dict[str, str]):
    names = [named("mariadb-lock.pcap"), named("note.txt"), named("none.pcap"), named("redis-benchmark.pcap")]
    told = process("connections", *names, "--skip-bad", "--format", "csv", env=os.environ | stored)
    assert told.status == 0, told.err
    assert "bad_file: 2" in told.err
    assert told.out == here("connections", EXAMPLE, EXAMPLES / "redis-benchmark.pcap", "--format", "csv").out


def test_streams_are_read_from_a_copy(here: Here, stored: dict[str, str]):
    ask = ("-c", "list --format csv; follow 1 --format hex")
    told = process("streams", named("redis-benchmark.pcap"), *ask, env=os.environ | stored)
    assert told.status == 0, told.err
    assert told.out == here("streams", EXAMPLES / "redis-benchmark.pcap", *ask).out


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (named("none.pcap"), {}, "cannot be opened: no such file"),
        ("s3://elsewhere/a.pcap", {}, "bucket does not exist"),
        (named("mariadb-lock.pcap"), {"AWS_ACCESS_KEY_ID": None}, "credentials"),
        (named("mariadb-lock.pcap"), {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "Could not connect"),
        ("no-such-scheme://a/b", {}, "Protocol not known"),
        (named("note.txt"), {}, "is text, but not the text of tcpdump"),
    ],
)
def test_what_cannot_be_read_is_said_in_a_line(
    stored: dict[str, str], tmp_path: Path, name: str, change: dict[str, str | None], said: str
):
    # No other credentials than those given; one attempt.
    chosen = os.environ | stored | {"HOME": str(tmp_path), "AWS_MAX_ATTEMPTS": "1"} | change
    told = process("requests", name, env={key: value for key, value in chosen.items() if value is not None})
    assert told.status == 2
    assert said in told.err
    assert len(told.err.splitlines()) == 1
    assert not told.out


def test_the_same_object_twice_is_counted_once_or_not_at_all(stored: dict[str, str]):
    told = process("requests", *2 * [named("mariadb-lock.pcap")], env=os.environ | stored)
    assert told.status == 2
    assert "counted twice" in told.err


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def test_a_capture_behind_http(here: Here):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(EXAMPLES))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        told = process("requests", f"{url}/{EXAMPLE.name}", "--format", "csv")
        gone = process("requests", f"{url}/gone.pcap")
        server.shutdown()
    assert told.out == here("requests", EXAMPLE, "--format", "csv").out
    assert gone.status == 2
    assert "404" in gone.err


def write_large(path: Path, frames: int) -> None:
    """Write a capture of so many frames of a kilobyte."""
    made = [(n, tcp_frame("10.0.0.1", "10.0.0.2", 999, 80, n * 1000, payload=bytes(1000))) for n in range(frames)]
    path.write_bytes(pcap_bytes(made))


def test_a_server_without_ranges_is_read_in_one_go(here: Here, tmp_path: Path):
    """Python's own gives whole files; those of more than a block took a second request."""
    write_large(tmp_path / "large.pcap", 9000)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        told = process("connections", f"http://127.0.0.1:{server.server_port}/large.pcap", "--format", "csv")
        server.shutdown()
    assert told.status == 0, told.err
    assert told.out == here("connections", tmp_path / "large.pcap", "--format", "csv").out


class Stalling(Quiet):
    """Gives the first block, and of the second nothing."""

    def do_GET(self) -> None:
        begin = int(self.headers["Range"].removeprefix("bytes=").split("-")[0])
        data = Path(self.translate_path(self.path)).read_bytes()
        part = data[begin : begin + (8 << 20) + 10]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {begin}-{begin + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if begin:
            STALLED.set()
            time.sleep(30)  # longer than anybody waits
        else:
            self.wfile.write(part)


STALLED = threading.Event()


@pytest.mark.parametrize("workers", some_of(["1", "2", "5"], 2))
def test_a_command_whose_server_has_fallen_silent_can_be_ended(tmp_path: Path, workers: str):
    STALLED.clear()
    write_large(tmp_path / "large.pcap", 18_000)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Stalling, directory=str(tmp_path))) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/large.pcap"
        arguments = [*COMMAND, "connections", url, "--workers", workers]
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL) as asking:
            assert STALLED.wait(30)
            asking.terminate()
            assert asking.wait(15) != 0
        server.shutdown()
