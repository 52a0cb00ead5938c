"""``tcpsight watch`` with feeds: what receivers get, and what the command says of those that took nothing."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import urllib.request
from contextlib import closing
from pathlib import Path

from tests.cli.running import COMMAND, process
from tests.support.updates import wait_until


def free_port() -> int:
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_file_gets_the_lines_of_json_however_fast_a_capture_is_read(tmp_path: Path, examples_dir: Path):
    path = tmp_path / "out.jsonl"
    capture = examples_dir / "mariadb-lock.pcap"
    done = process("watch", capture, "--interval", "10ms", "--json", "--no-findings", "--feed", path)
    assert done.status == 0, done.err
    assert path.read_bytes() == done.out
    assert len(done.out.splitlines()) > 1_000
    assert "feed" not in done.err


def test_findings_follow_their_slice_where_they_are_wanted(tmp_path: Path, examples_dir: Path):
    path = tmp_path / "out.jsonl"
    done = process("watch", examples_dir / "mariadb-lock.pcap", "--json", "--findings", "--feed", path)
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert "stall" in [line["finding"]["kind"] for line in told if "finding" in line]
    assert [line for line in told if "finding" not in line] == [json.loads(line) for line in done.out.splitlines()]


def test_a_receiver_that_is_not_there_changes_nothing_but_the_last_words(pcap: Path):
    port = free_port()
    plain = process("watch", pcap, "--interval", "10ms", "--json")
    done = process("watch", pcap, "--interval", "10ms", "--json", "--feed", f"tcp://127.0.0.1:{port}")
    assert (done.status, done.out) == (plain.status, plain.out)
    assert re.search(rf"feed tcp://127\.0\.0\.1:{port}: 0 slices sent, \d+ slices dropped; .*refused", done.err)


def test_a_target_that_is_none_is_told_before_anything_is_read(pcap: Path):
    done = process("watch", pcap, "--feed", "udp://nowhere")
    assert (done.status, done.out) == (2, b"")
    assert "tcp://HOST:PORT" in done.err
    assert "Traceback" not in done.err


def test_prometheus_can_ask_while_a_pipe_goes_on(pcap: Path):
    port = free_port()
    arguments = ["watch", "-", "--interval", "10ms", "--json", "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(
        [*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as watching:
        assert watching.stdin is not None

        def scraped() -> str:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                    return str(answer.read().decode())
            except OSError:
                return ""

        watching.stdin.write(pcap.read_bytes())
        watching.stdin.flush()
        wait_until(lambda: 'tcpsight_requests_total{service="10.0.0.9:3306"} 5.0' in scraped(), 60)
        text = scraped()
        assert 'tcpsight_unanswered_backlog_requests{service="10.0.0.9:3306"} 1.0' in text
        assert 'tcpsight_findings_total{kind="stall",severity="critical"}' in text
        out, err = watching.communicate(timeout=60)
    assert watching.returncode == 0, err
    assert out
