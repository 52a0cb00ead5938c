#!/usr/bin/env python3
"""Time the same requests three times over: in the client, in the server, on the wire.

    response_times.py [DIRECTORY]      (needs root; default tests/support/response_time_logs)

Three cases, one after the other, on the loopback of a network namespace of their own:

    mariadb_sleep   SELECT SLEEP(0.01) to SELECT SLEEP(0.05)
    nginx_sleep     pages that echo_sleep delays by 20 to 50 ms
    mariadb_fast    SELECT 1 and small selects, well under a millisecond

Each leaves CASE.pcap (headers only), CASE.client.csv and CASE.server.csv; the README.md
beside them says what the columns mean. At the end the medians are compared, with the
response time on the wire taken the simplest way there is: from the last segment with
payload that the client sent to the first segment with payload that came back.
"""

from __future__ import annotations

import bisect
import csv
import http.client
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from cut_payload import cut, frames, open_capture, segment
from mysql_client import Connection

HERE = Path(__file__).resolve().parent
DEFAULT_DIRECTORY = HERE.parents[1] / "tests" / "support" / "response_time_logs"
MARIADB_PORT, NGINX_PORT = 3306, 80
CONNECTIONS = 3
SLOW_REQUESTS, FAST_REQUESTS = 150, 510
PAGES_MS = (20, 25, 30, 40, 50)
PAUSE_SECONDS = 0.002  # between fast statements: the server finishes its log before the next

MARIADB_OPTIONS = (
    "--user=mysql",
    "--bind-address=127.0.0.1",
    f"--port={MARIADB_PORT}",
    "--skip-name-resolve",
    "--slow-query-log=ON",
    "--long-query-time=0",
    "--log-slow-verbosity=",
    "--performance-schema=ON",
    "--performance-schema-consumer-events-statements-current=ON",
    "--performance-schema-consumer-events-statements-history-long=ON",
    "--performance-schema-events-statements-history-long-size=10000",
)
INIT_SQL = """\
CREATE DATABASE example;
CREATE USER 'example'@'%' IDENTIFIED BY '';
GRANT ALL ON example.* TO 'example'@'%';
GRANT SELECT ON performance_schema.* TO 'example'@'%';
"""
NGINX_CONF = """\
daemon off;
worker_processes 1;
load_module /usr/lib/nginx/modules/ngx_http_echo_module.so;
pid {lab}/nginx.pid;
error_log {lab}/nginx-error.log;
events {{ worker_connections 64; }}
http {{
    log_format times '$request_uri $request_time';
    access_log {lab}/access.log times;
    client_body_temp_path {lab}/body;
    proxy_temp_path {lab}/proxy;
    fastcgi_temp_path {lab}/fastcgi;
    uwsgi_temp_path {lab}/uwsgi;
    scgi_temp_path {lab}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location /20 {{ echo_sleep 0.02; echo done; }}
        location /25 {{ echo_sleep 0.025; echo done; }}
        location /30 {{ echo_sleep 0.03; echo done; }}
        location /40 {{ echo_sleep 0.04; echo done; }}
        location /50 {{ echo_sleep 0.05; echo done; }}
    }}
}}
"""


class Lived(NamedTuple):
    """One request as the client lived it."""

    request: int
    client_port: int
    what: str
    start_ns: int
    end_ns: int


class Figure(NamedTuple):
    """The same requests by all three: nanoseconds, in order of sending."""

    client: list[int]
    wire: list[int]
    server: dict[str, list[int]]


@contextmanager
def running(*command: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server for as long as the block lasts."""
    with log.open("ab") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def wait_until(is_ready: Callable[[], bool], what: str) -> None:
    """Wait up to 30 s."""
    for _ in range(300):
        if is_ready():
            return
        time.sleep(0.1)
    raise TimeoutError(what)


def is_listening(port: int) -> bool:
    """Tell whether a server accepts connections."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def captured(path: Path, port: int | str, lab: Path) -> Iterator[None]:
    """Capture one port while the block lasts; leave headers only."""
    raw, log = lab / "raw.pcap", lab / "tcpdump.log"
    log.unlink(missing_ok=True)
    command = (
        "tcpdump",
        "-i",
        "lo",
        "-n",
        "-s",
        "160",
        "-U",
        "--immediate-mode",
        "-Z",
        "root",
        "--time-stamp-precision=nano",
        "-w",
        str(raw),
        f"tcp port {port}",
    )
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stderr=stream)
    wait_until(lambda: "listening on" in log.read_text(), "tcpdump")
    yield
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    process.wait(10)
    if "\n0 packets dropped by kernel" not in log.read_text():
        raise RuntimeError("the kernel dropped frames; run again")
    with raw.open("rb") as source, path.open("wb") as target:
        cut(source, target)


def sleep_statement(request: int) -> str:
    """Give a statement that takes 10, 20, 30, 40 or 50 ms."""
    return f"SELECT SLEEP(0.0{1 + request % 5}) /* {request} */"


def fast_statement(request: int) -> str:
    """Give a statement that takes well under a millisecond."""
    kinds = (
        "SELECT 1",
        f"SELECT note FROM example WHERE id = {1 + request % 100}",
        "SELECT COUNT(*), MAX(id) FROM example",
    )
    return f"{kinds[request % 3]} /* {request} */"


def run_statements(count: int, statement: Callable[[int], str], pause: float) -> list[Lived]:
    """Send the statements one at a time, over a few connections in turn."""
    lived = []
    for first in range(0, count, count // CONNECTIONS):
        connection = Connection("127.0.0.1", MARIADB_PORT, "example", "example")
        for request in range(first, first + count // CONNECTIONS):
            time.sleep(pause)
            text = statement(request)
            answer = connection.execute(text)
            lived.append(Lived(request, connection.port, text, answer.start_ns, answer.end_ns))
        connection.close()
    return lived


def run_pages(count: int) -> list[Lived]:
    """Fetch the pages one at a time, over a few keep-alive connections in turn."""
    lived = []
    for first in range(0, count, count // CONNECTIONS):
        connection = http.client.HTTPConnection("127.0.0.1", NGINX_PORT)
        connection.connect()
        port = connection.sock.getsockname()[1]
        for request in range(first, first + count // CONNECTIONS):
            uri = f"/{PAGES_MS[request % 5]}?{request}"
            start, tick = time.time_ns(), time.perf_counter_ns()
            connection.request("GET", uri)
            connection.getresponse().read()
            end = start + time.perf_counter_ns() - tick
            lived.append(Lived(request, port, uri, start, end))
        connection.close()
    return lived


def slow_log(path: Path) -> dict[str, int]:
    """Give Query_time by statement, from MariaDB's slow query log (microseconds there)."""
    times: dict[str, int] = {}
    duration = 0
    for line in path.read_text(errors="replace").splitlines():
        if found := re.match(r"# Query_time: (\d+)\.(\d{6}) ", line):
            duration = int(found[1] + found[2]) * 1000
        elif line.startswith("SELECT "):
            times[line.rstrip(";")] = duration
    return times


def performance_schema() -> dict[str, int]:
    """Give the server's statement timer by statement (picoseconds there)."""
    connection = Connection("127.0.0.1", MARIADB_PORT, "example")
    answer = connection.execute(
        "SELECT SQL_TEXT, TIMER_WAIT FROM "
        "performance_schema.events_statements_history_long "
        "WHERE SQL_TEXT LIKE 'SELECT%'"
    )
    connection.close()
    return {str(text): round(int(wait or 0) / 1000) for text, wait in answer.rows}


def access_log(path: Path) -> dict[str, int]:
    """Give $request_time by URI, from nginx's access log (milliseconds there)."""
    times = {}
    for line in path.read_text().splitlines():
        uri, seconds = line.split()
        times[uri] = round(float(seconds) * 1000) * 1_000_000
    return times


def on_the_wire(path: Path, lived: list[Lived], server_port: int) -> list[int]:
    """Take each response time from the capture: last request segment to first response segment."""
    sent: dict[int, list[int]] = {}
    received: dict[int, list[int]] = {}
    with path.open("rb") as stream:
        capture = open_capture(stream)
        for frame in frames(capture):
            found = segment(capture.link_type, frame.data)
            if found is None or found.payload_bytes == 0:
                continue
            ports = frame.data[found.tcp : found.tcp + 4]
            source, destination = int.from_bytes(ports[:2], "big"), int.from_bytes(ports[2:], "big")
            if destination == server_port:
                sent.setdefault(source, []).append(frame.time_ns)
            else:
                received.setdefault(destination, []).append(frame.time_ns)
    times = []
    for one in lived:
        answers = received[one.client_port]
        answer = answers[bisect.bisect_left(answers, one.start_ns)]
        requests = sent[one.client_port]
        request = requests[bisect.bisect_left(requests, answer) - 1]
        if not one.start_ns <= request <= answer <= one.end_ns:
            raise RuntimeError(f"{path}: request {one.request} is not where the client lived it")
        times.append(answer - request)
    return times


def write_csv(path: Path, header: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    """Write one table."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def store(stem: Path, lived: list[Lived], server: dict[str, dict[str, int]], port: int) -> Figure:
    """Write both logs and give the three figures."""
    write_csv(stem.with_suffix(".client.csv"), Lived._fields, [tuple(one) for one in lived])
    columns = {name: [times[one.what] for one in lived] for name, times in server.items()}
    rows = [(one.request, one.what, *values) for one, *values in zip(lived, *columns.values(), strict=True)]
    write_csv(stem.with_suffix(".server.csv"), ("request", "what", *columns), rows)
    client = [one.end_ns - one.start_ns for one in lived]
    return Figure(client, on_the_wire(stem.with_suffix(".pcap"), lived, port), columns)


def record_mariadb(lab: Path, directory: Path) -> Iterator[tuple[str, Figure]]:
    """Record both MariaDB cases."""
    data, log = lab / "data", lab / "mariadb.log"
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            "--user=mysql",
            f"--datadir={data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ],
        check=True,
        stdout=log.open("ab"),
        stderr=subprocess.STDOUT,
    )
    (lab / "init.sql").write_text(INIT_SQL)
    slow = data / "slow.log"
    with running(
        "mariadbd",
        "--no-defaults",
        *MARIADB_OPTIONS,
        f"--datadir={data}",
        f"--init-file={lab / 'init.sql'}",
        f"--socket={data / 'socket'}",
        f"--pid-file={data / 'pid'}",
        f"--slow-query-log-file={slow}",
        log=log,
    ):
        wait_until(lambda: is_listening(MARIADB_PORT), "mariadbd")
        setup = Connection("127.0.0.1", MARIADB_PORT, "example", "example")
        setup.execute("CREATE TABLE example (id INT PRIMARY KEY, note VARCHAR(80))")
        setup.execute("INSERT INTO example SELECT seq, REPEAT('x', 60) FROM seq_1_to_100")
        setup.close()
        run_statements(30, lambda request: fast_statement(request + 1_000_000), 0)  # warm up
        for name, count, statement, pause in (
            ("mariadb_sleep", SLOW_REQUESTS, sleep_statement, 0.0),
            ("mariadb_fast", FAST_REQUESTS, fast_statement, PAUSE_SECONDS),
        ):
            with captured(directory / f"{name}.pcap", MARIADB_PORT, lab):
                lived = run_statements(count, statement, pause)
            server = {"slow_log_ns": slow_log(slow), "performance_schema_ns": performance_schema()}
            yield name, store(directory / name, lived, server, MARIADB_PORT)


def record_nginx(lab: Path, directory: Path) -> Iterator[tuple[str, Figure]]:
    """Record the nginx case."""
    (lab / "nginx.conf").write_text(NGINX_CONF.format(lab=lab, port=NGINX_PORT))
    with running("nginx", "-c", str(lab / "nginx.conf"), log=lab / "nginx.log"):
        wait_until(lambda: is_listening(NGINX_PORT), "nginx")
        with captured(directory / "nginx_sleep.pcap", NGINX_PORT, lab):
            lived = run_pages(SLOW_REQUESTS)
    server = {"access_log_ns": access_log(lab / "access.log")}
    yield "nginx_sleep", store(directory / "nginx_sleep", lived, server, NGINX_PORT)


def report(name: str, figure: Figure) -> None:
    """Print the medians of one case side by side."""
    wire = statistics.median(figure.wire)
    print(f"{name}: {len(figure.wire)} requests; median on the wire {wire / 1e3:.1f} µs")
    for who, times in (("client", figure.client), *figure.server.items()):
        other = statistics.median(times)
        print(f"    {who:24s} {other / 1e3:10.1f} µs   wire is {100 * (wire / other - 1):+.2f} %")


def main() -> None:
    """Move into a namespace of our own, then record."""
    if os.environ.get("RESPONSE_TIMES_NAMESPACE") != "own":
        os.environ["RESPONSE_TIMES_NAMESPACE"] = "own"
        os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_DIRECTORY
    with tempfile.TemporaryDirectory() as name:
        lab = Path(name)
        lab.chmod(0o755)
        for recorded in (record_mariadb, record_nginx):
            for case, figure in recorded(lab, directory):
                report(case, figure)


if __name__ == "__main__":
    main()
