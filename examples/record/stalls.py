#!/usr/bin/env python3
"""Record servers that scale badly, and servers that stall, with the truth of both sides.

Longer than other files: one scenario after another, each on its own.

    stalls.py [CASE...]      (needs root; writes into examples/stalls/)

    postgresql-hot-row      1 to 16 clients that all update the same row
    mariadb-hot-row         the same, in a stored procedure
    postgresql-for-update   a row locked by another client, twice: in a long statement, and by doing nothing
    mariadb-storage         a file system that takes no writes for a while
    redis-slow              commands that keep the only thread busy
    nginx-upstream          an application server behind nginx that is stopped twice

Each leaves CASE.pcap.zst (headers only), CASE.requests.csv.zst, one row per request as client and server logged it, and
CASE.truth.json: when it stalled, and the server's own counters. README.md beside them says what the columns mean.

Everything runs on the loopback of a network namespace of its own, and before other programs (SCHED_RR), so that what is
recorded is the servers' waiting and not the machine's.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from mysql_client import Answer, Connection
from response_times import captured, is_listening, running, wait_until, write_csv
from server_logs import mariadb_log, nginx_log, postgresql_log, redis_commandstats, redis_slowlog
from speaking import Client, Http, PostgreSQL, Redis

HERE = Path(__file__).resolve().parent
TARGET = HERE.parent / "stalls"
MARIADB, POSTGRESQL, REDIS, NGINX, UPSTREAM = 3306, 5432, 6379, 80, 8080

HOT_STEPS, STEP_SECONDS = (1, 2, 4, 8, 16), 3.2
ALONE_S, HELD_S = 0.012, 0.004
"""Mean time a request of the hot row waits for nobody, and holds the row; both exponential."""


class Request(NamedTuple):
    """One request as its client lived it."""

    request: int
    client_port: int
    what: str
    start_ns: int
    end_ns: int


class Load:
    """Clients, each a thread with a connection, and the log of what they lived."""

    def __init__(self, connect: Callable[[], Client], what: Callable[[int], str], pause_s: float) -> None:
        import random

        self._connect, self._what, self._pause_s = connect, what, pause_s
        self._random = random.Random(1)
        self._numbers = iter(range(1_000_000))
        self._lock = threading.Lock()
        self._is_over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.failures: list[BaseException] = []
        self.lived: list[Request] = []

    def more(self, clients: int) -> None:
        """Let so many clients take part, in all."""
        while len(self._threads) < clients:
            self._threads.append(threading.Thread(target=self._ask))
            self._threads[-1].start()

    def end(self) -> list[Request]:
        """Let nobody ask again; give the log, in the order of asking."""
        self._is_over.set()
        for each in self._threads:
            each.join(60)
        if self.failures:
            raise self.failures[0]
        return sorted(self.lived, key=lambda each: each.request)

    def _ask(self) -> None:
        try:
            client = self._connect()
            while not self._is_over.is_set():
                with self._lock:
                    number, pause = next(self._numbers), self._random.expovariate(1.0) * self._pause_s
                time.sleep(pause)
                what = self._what(number)
                answer = client.execute(what)
                self.lived.append(Request(number, client.port, what, answer.start_ns, answer.end_ns))
            client.close()
        except BaseException as failure:
            self.failures.append(failure)


class Stall(NamedTuple):
    """When something was held: certainly from the second to the third time, certainly not outside the others."""

    what: str
    began_after_ns: int
    began_before_ns: int
    ended_after_ns: int
    ended_before_ns: int
    blocker_port: int | None = None


def held(what: str, hold: Callable[[], object], release: Callable[[], object], seconds: float) -> Stall:
    """Hold something for a while."""
    before = time.time_ns()
    hold()
    began = time.time_ns()
    try:
        time.sleep(seconds)
    finally:
        ending = time.time_ns()
        release()
    return Stall(what, before, began, ending, time.time_ns())


def stalled(what: str, answer: Answer, port: int, took_ns: int) -> Stall:
    """Tell when a request kept its server busy for so long, of the time that it took in all."""
    ends = (answer.start_ns, answer.end_ns - took_ns, answer.start_ns + took_ns, answer.end_ns)
    return Stall(what, *ends, port)


class Recorded(NamedTuple):
    """What a case gives."""

    lived: list[Request]
    stalls: list[Stall]
    server_ns: dict[str, dict[str, int]]
    """Columns of the server's log, by the text of the request."""
    counters: dict[str, Any]
    """What the server counted over all requests."""


# --- servers


@contextmanager
def postgresql(lab: Path) -> Iterator[Path]:
    """Run PostgreSQL with a hot row; give its log."""
    data, log = lab / "data", lab / "postgresql.log"
    data.mkdir()
    shutil.chown(data, "postgres", "postgres")
    as_user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
    places = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")))
    os.environ["PATH"] += "".join(f":{each}" for each in places)
    subprocess.run([*as_user, "initdb", "-A", "trust", "-D", str(data)], check=True, stdout=subprocess.DEVNULL)
    options = {
        "synchronous_commit": "off",
        "log_min_duration_statement": "0",
        "log_line_prefix": "%m %r ",
        "shared_preload_libraries": "pg_stat_statements",
        "autovacuum": "off",
        "jit": "off",
    }
    settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
    where = ("-D", str(data), "-h", "127.0.0.1", "-p", str(POSTGRESQL), "-k", str(data))
    with running(*as_user, "postgres", *where, *settings, log=log):
        wait_until(lambda: "ready to accept" in log.read_text(), "postgres")
        setup = PostgreSQL(POSTGRESQL)
        for statement in (
            "CREATE EXTENSION pg_stat_statements",
            "CREATE TABLE hot (id int PRIMARY KEY, n bigint) WITH (fillfactor = 10)",
            "INSERT INTO hot VALUES (1, 0)",
            "CREATE FUNCTION work() RETURNS int LANGUAGE plpgsql AS $$ BEGIN "
            f"PERFORM pg_sleep(-ln(1 - random()) * {ALONE_S}); UPDATE hot SET n = n + 1 WHERE id = 1; "
            f"PERFORM pg_sleep(-ln(1 - random()) * {HELD_S}); RETURN 1; END $$",
            "SELECT work()",
            "SELECT pg_stat_statements_reset()",
        ):
            setup.execute(statement)
        setup.close()
        yield log


def postgresql_counters() -> dict[str, Any]:
    """Give calls and times of the statements, from pg_stat_statements."""
    client = PostgreSQL(POSTGRESQL)
    answer = client.execute(
        "SELECT query, calls, round(mean_exec_time * 1e6), round(max_exec_time * 1e6) FROM pg_stat_statements "
        "WHERE query LIKE 'SELECT work%' OR query LIKE 'UPDATE hot%' OR query LIKE '%FOR UPDATE%' ORDER BY calls DESC"
    )
    client.close()
    names = ("statement", "calls", "mean_ns", "max_ns")
    rows = [dict(zip(names, (row[0], *map(int, row[1:])), strict=True)) for row in answer.rows]  # type: ignore[arg-type]
    return {"pg_stat_statements": rows}


MARIADB_OPTIONS = (
    "--user=mysql",
    "--bind-address=127.0.0.1",
    f"--port={MARIADB}",
    "--skip-name-resolve",
    "--slow-query-log=ON",
    "--long-query-time=0",
    "--performance-schema=ON",
    "--performance-schema-consumer-events-statements-current=ON",
)
MARIADB_SETUP = (
    "CREATE TABLE hot (id INT PRIMARY KEY, n BIGINT) ENGINE=InnoDB",
    "INSERT INTO hot SELECT seq, 0 FROM seq_1_to_64",
    f"CREATE PROCEDURE work() BEGIN DO SLEEP(-LN(1 - RAND()) * {ALONE_S}); START TRANSACTION; "
    f"UPDATE hot SET n = n + 1 WHERE id = 1; DO SLEEP(-LN(1 - RAND()) * {HELD_S}); COMMIT; END",
)


def mariadb_client() -> Connection:
    """Connect to MariaDB."""
    return Connection("127.0.0.1", MARIADB, "example", "example")


@contextmanager
def mariadb(lab: Path, flush: int) -> Iterator[Path]:
    """Run MariaDB with a hot row; give its slow query log."""
    data, log = lab / "data", lab / "mariadb.log"
    install = ("mariadb-install-db", "--no-defaults", "--user=mysql", f"--datadir={data}", "--skip-test-db")
    install += ("--auth-root-authentication-method=normal",)
    subprocess.run(install, check=True, stdout=log.open("ab"), stderr=subprocess.STDOUT)
    (lab / "init.sql").write_text(
        "CREATE DATABASE example;\nCREATE USER 'example'@'%' IDENTIFIED BY '';\n"
        "GRANT ALL ON example.* TO 'example'@'%';\nGRANT SELECT ON performance_schema.* TO 'example'@'%';\n"
    )
    files = (f"--datadir={data}", f"--init-file={lab / 'init.sql'}", f"--socket={data / 'socket'}")
    files += (f"--pid-file={data / 'pid'}", f"--slow-query-log-file={lab / 'slow.log'}")
    (lab / "slow.log").touch()
    shutil.chown(lab / "slow.log", "mysql")
    flushing = f"--innodb-flush-log-at-trx-commit={flush}"
    with running("mariadbd", "--no-defaults", *MARIADB_OPTIONS, *files, flushing, log=log):
        wait_until(lambda: is_listening(MARIADB), "mariadbd")
        setup = mariadb_client()
        for statement in MARIADB_SETUP:
            setup.execute(statement)
        setup.close()
        yield lab / "slow.log"


def mariadb_counters(like: str) -> dict[str, Any]:
    """Give calls and times of statements, from performance_schema (picoseconds there)."""
    client = mariadb_client()
    answer = client.execute(
        "SELECT DIGEST_TEXT, COUNT_STAR, AVG_TIMER_WAIT, MAX_TIMER_WAIT FROM "
        f"performance_schema.events_statements_summary_by_digest WHERE DIGEST_TEXT LIKE '{like}' ORDER BY 2 DESC"
    )
    client.close()
    rows = [
        {"statement": row[0], "calls": int(row[1] or 0), "mean_ns": int(row[2] or 0) // 1000}
        | {"max_ns": int(row[3] or 0) // 1000}
        for row in answer.rows
    ]
    return {"events_statements_summary_by_digest": rows}


# --- cases


def rise(load: Load) -> list[Request]:
    """Let more and more clients take part."""
    for clients in HOT_STEPS:
        load.more(clients)
        time.sleep(STEP_SECONDS)
    return load.end()


def postgresql_hot_row(lab: Path, pcap: Path) -> Recorded:
    """Let more and more clients change one row."""
    with postgresql(lab) as log:
        with captured(pcap, POSTGRESQL, lab):
            lived = rise(Load(lambda: PostgreSQL(POSTGRESQL), lambda i: f"SELECT work() /* {i} */", 0.0))
        counters = postgresql_counters()
    return Recorded(lived, [], {"log_ns": postgresql_log(log)}, counters)


def mariadb_hot_row(lab: Path, pcap: Path) -> Recorded:
    """Let more and more clients change one row."""
    with mariadb(lab, flush=2) as log:
        with captured(pcap, MARIADB, lab):
            lived = rise(Load(mariadb_client, lambda i: f"CALL work() /* {i} */", 0.0))
        counters = mariadb_counters("CALL%")
    return Recorded(lived, [], {"slow_log_ns": mariadb_log(log)}, counters)


def postgresql_for_update(lab: Path, pcap: Path) -> Recorded:
    """Lock a row in a statement that sleeps, and in a transaction that does nothing."""
    lock = "SELECT n FROM hot WHERE id = 1 FOR UPDATE"
    with postgresql(lab) as log:
        with captured(pcap, POSTGRESQL, lab):
            load = Load(
                lambda: PostgreSQL(POSTGRESQL), lambda i: f"UPDATE hot SET n = n + 1 WHERE id = 1 /* {i} */", 0.05
            )
            load.more(8)
            time.sleep(3)
            blocker = PostgreSQL(POSTGRESQL)
            sleeping = blocker.execute("SELECT pg_sleep(1.2) FROM (SELECT n FROM hot WHERE id = 1 FOR UPDATE) AS held")
            long = stalled("lock held by a long statement", sleeping, blocker.port, 1_200_000_000)
            time.sleep(2)
            idle = held("lock held by an idle transaction", lambda: (blocker.execute("BEGIN"), blocker.execute(lock)),
                        lambda: blocker.execute("COMMIT"), 0.8)._replace(blocker_port=blocker.port)  # fmt: skip
            time.sleep(2)
            lived = load.end()
            blocker.close()
        counters = postgresql_counters()
    return Recorded(lived, [long, idle], {"log_ns": postgresql_log(log)}, counters)


def mariadb_storage(lab: Path, pcap: Path) -> Recorded:
    """Commit to a file system that is frozen for a while."""
    disk, place = lab / "disk", lab / "mounted"
    with disk.open("wb") as file:
        file.truncate(600 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(disk)], check=True)
    place.mkdir()
    subprocess.run(["mount", "-o", "loop", str(disk), str(place)], check=True)
    place.chmod(0o755)
    try:
        with mariadb(place, flush=1) as log:
            update = "UPDATE hot SET n = n + 1 WHERE id = {} /* {} */"
            load = Load(mariadb_client, lambda i: update.format(1 + i % 64, i), 0.05)
            with captured(pcap, MARIADB, lab):
                load.more(8)
                time.sleep(3)
                freeze = ("fsfreeze", "--freeze", str(place)), ("fsfreeze", "--unfreeze", str(place))
                stall = held("file system frozen", lambda: subprocess.run(freeze[0], check=True),
                             lambda: subprocess.run(freeze[1], check=True), 1.0)  # fmt: skip
                time.sleep(3)
                lived = load.end()
            counters = mariadb_counters("UPDATE%")
            logged = mariadb_log(log)
    finally:
        subprocess.run(["umount", str(place)], check=True)
    return Recorded(lived, [stall], {"slow_log_ns": logged}, counters)


def redis_slow(lab: Path, pcap: Path) -> Recorded:
    """Send short commands behind commands that are not."""
    options = ("--bind", "127.0.0.1", "--save", "", "--dir", str(lab), "--slowlog-log-slower-than", "20000")
    with running("redis-server", *options, "--enable-debug-command", "yes", log=lab / "redis.log"):
        wait_until(lambda: is_listening(REDIS), "redis-server")
        setup = Redis(REDIS)
        setup.execute("DEBUG POPULATE 1500000 key 4")
        setup.execute("SLOWLOG RESET")
        setup.execute("CONFIG RESETSTAT")
        answers = []
        with captured(pcap, REDIS, lab):
            load = Load(lambda: Redis(REDIS), lambda i: f"GET key:{i}", 0.015)
            load.more(6)
            slow = Redis(REDIS)
            for pattern in ("nobody*", "no*body", "*nobody*"):
                time.sleep(1.2)
                answer = slow.execute(f"KEYS {pattern}")
                answers.append((pattern, answer, slow.port))
            time.sleep(1.2)
            lived = load.end()
            slow.close()
        slowlog, stats = (setup.execute(text).rows[0] for text in ("SLOWLOG GET 100", "INFO commandstats"))
        setup.close()
    log = redis_slowlog(slowlog)
    took_ns = {str(each["command"]): int(str(each["duration_ns"])) for each in log}
    stalls = [stalled(f"KEYS {pattern}", *rest, took_ns[f"KEYS {pattern}"]) for pattern, *rest in answers]
    return Recorded(lived, stalls, {}, {"slowlog": log, "commandstats": redis_commandstats(stats[0] or "")})


NGINX_CONF = """\
daemon off;
worker_processes 1;
pid {lab}/nginx.pid;
error_log {lab}/nginx-error.log;
events {{ worker_connections 128; }}
http {{
    log_format times '$request_uri $request_time $upstream_response_time';
    access_log {lab}/access.log times;
    keepalive_requests 100000;
    client_body_temp_path {lab}/body;
    proxy_temp_path {lab}/proxy;
    fastcgi_temp_path {lab}/fastcgi;
    uwsgi_temp_path {lab}/uwsgi;
    scgi_temp_path {lab}/scgi;
    upstream application {{ server 127.0.0.1:{upstream}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://application; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    }}
}}
"""


def nginx_upstream(lab: Path, pcap: Path) -> Recorded:
    """Get pages from an application server that is stopped, as by a collection of garbage."""
    (lab / "nginx.conf").write_text(NGINX_CONF.format(lab=lab, port=NGINX, upstream=UPSTREAM))
    application = (sys.executable, str(HERE / "application.py"), str(UPSTREAM))
    with (
        running(*application, log=lab / "application.log") as process,
        running("nginx", "-c", str(lab / "nginx.conf"), log=lab / "nginx.log"),
    ):
        wait_until(lambda: is_listening(NGINX) and is_listening(UPSTREAM), "nginx and the application")
        stalls = []
        with captured(pcap, f"{NGINX} or tcp port {UPSTREAM}", lab):
            load = Load(lambda: Http(NGINX), lambda i: f"/{i}", 0.06)
            load.more(8)
            for seconds in (0.8, 0.3):
                time.sleep(2)
                stalls.append(
                    held("application stopped", lambda: process.send_signal(signal.SIGSTOP),
                         lambda: process.send_signal(signal.SIGCONT), seconds)
                )  # fmt: skip
            time.sleep(2)
            lived = load.end()
    return Recorded(lived, stalls, nginx_log(lab / "access.log"), {})


CASES: dict[str, Callable[[Path, Path], Recorded]] = {
    "postgresql-hot-row": postgresql_hot_row,
    "mariadb-hot-row": mariadb_hot_row,
    "postgresql-for-update": postgresql_for_update,
    "mariadb-storage": mariadb_storage,
    "redis-slow": redis_slow,
    "nginx-upstream": nginx_upstream,
}


def store(name: str, lab: Path, recorded: Recorded) -> None:
    """Write capture, log and truth."""
    logs = recorded.server_ns
    rows: list[tuple[object, ...]] = [
        (each.request, each.client_port, each.start_ns, each.end_ns, *(log.get(each.what, "") for log in logs.values()))
        for each in recorded.lived
    ]
    write_csv(lab / "requests.csv", ("request", "client_port", "start_ns", "end_ns", *logs), rows)
    for suffix in ("pcap", "requests.csv"):
        target = TARGET / f"{name}.{suffix}.zst"
        source = lab / ("cut.pcap" if suffix == "pcap" else suffix)
        subprocess.run(["zstd", "-q", "-f", "--ultra", "-22", str(source), "-o", str(target)], check=True)
        print(f"{target.name}: {target.stat().st_size} bytes")
    truth = {"stalls": [each._asdict() for each in recorded.stalls], "server": recorded.counters}
    (TARGET / f"{name}.truth.json").write_text(json.dumps(truth, indent=1) + "\n")


def main() -> None:
    """Move into namespaces of our own, then record."""
    if os.environ.get("STALLS_NAMESPACE") != "own":
        os.environ["STALLS_NAMESPACE"] = "own"
        os.execvp("unshare", ["unshare", "--net", "--mount", sys.executable, *sys.argv])
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    TARGET.mkdir(exist_ok=True)
    for name in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as made:
            lab = Path(made)
            lab.chmod(0o755)
            store(name, lab, CASES[name](lab, lab / "cut.pcap"))


if __name__ == "__main__":
    main()
