"""Requests over TLS as a server counted them: what servers and clients that people use say, recorded on loopback.

Handshakes, session tickets and alerts are no requests; answers take at least as long as the server took over them.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import tcpsight
from tests.conftest import require_program
from tests.support.live_network import is_listening, recorded, until

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("network")]

VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
WORK_S = 0.03
PORT = 8443
Certificate = tuple[str, str]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("certificate")
    key, own = str(folder / "key.pem"), str(folder / "certificate.pem")
    names = ["-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", own, "-days", "2", "-subj", "/CN=localhost"]
    subprocess.run([require_program("openssl"), "req", "-x509", *names], check=True, capture_output=True)
    return own, key


class Server:
    """Answers lines over TLS, one connection after the other or several, and counts them.

    Parameters
    ----------
    tickets : int
        How many session tickets it gives in TLS 1.3.
    """

    def __init__(self, certificate: Certificate, version: str, tickets: int) -> None:
        self.requests = 0
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificate)
        self._context.minimum_version = self._context.maximum_version = VERSIONS[version]
        self._context.num_tickets = tickets
        self._listener = socket.create_server(("127.0.0.1", PORT))
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with self._context.wrap_socket(connection, server_side=True) as talk:
                while talk.recv(4096):
                    self.requests += 1
                    time.sleep(WORK_S)
                    talk.sendall(b"answer " * 20)
                talk.unwrap()
        except (OSError, ValueError):
            return

    def close(self) -> None:
        self._listener.close()


def ask(version: str, ending: str, session: Any = None) -> Any:
    """Ask a few times over one connection, and end it in one of the ways that clients do; give the session."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = VERSIONS[version]
    context = session[0] if session is not None else context
    connection = socket.create_connection(("127.0.0.1", PORT), timeout=5)
    talk = context.wrap_socket(connection, session=session[1] if session is not None else None)
    for _ in range(3):
        talk.sendall(b"question\n")
        talk.recv(4096)
    resumable = (context, talk.session)
    if ending == "both close":
        talk.unwrap()
    elif ending == "alert":
        # What was received and not read makes the kernel reset the connection: both ways to end are seen.
        talk.setblocking(False)
        with suppress(ssl.SSLError, OSError):
            talk.unwrap()
    talk.close()
    return resumable


def check(path: Path, count: int, work_s: float) -> None:
    """Check that the requests that are no handshakes are those that the server counted, each answered by its answer."""
    everything = tcpsight.open(path, servers=f":{PORT}").requests.to_numpy()
    found = tcpsight.open(path, servers=f":{PORT}", leave_out=["handshake"]).requests.to_numpy()
    unanswered = tcpsight.open(path, servers=f":{PORT}").unanswered.to_numpy()
    assert len(found) == count
    assert len(unanswered) == 0
    assert found["response_time_ns"].min() >= 0.9e9 * work_s
    assert len(everything) - len(found) >= 1
    assert everything["is_handshake"].sum() == len(everything) - len(found)


@pytest.mark.parametrize("ending", ["both close", "alert", "no alert"])
@pytest.mark.parametrize(("version", "tickets"), [("1.2", 0), ("1.3", 0), ("1.3", 1), ("1.3", 2), ("1.3", 4)])
def test_requests_of_openssl_are_those_that_the_server_counted(
    tmp_path: Path, certificate: Certificate, version: str, tickets: int, ending: str
):
    server = Server(certificate, version, tickets)
    with recorded(tmp_path / "tls.pcap"):
        session = ask(version, ending)
        ask(version, ending, session)
        ask(version, ending)
    server.close()
    assert server.requests == 9
    check(tmp_path / "tls.pcap", 9, WORK_S)


NGINX = """
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log; user root;
events {{}}
http {{
  access_log {folder}/access.log;
  keepalive_timeout 1s;
  upstream slow {{ server 127.0.0.1:8081; }}
  server {{
    listen 127.0.0.1:8443 ssl;
    ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;
    location / {{ proxy_pass http://slow; }}
  }}
}}
"""


def slow_upstream() -> Callable[[], None]:
    """Answer HTTP after a while."""
    listener = socket.create_server(("127.0.0.1", 8081))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                time.sleep(WORK_S)
                connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 300\r\n\r\n" + b"x" * 300)

    threading.Thread(target=serve, daemon=True).start()
    return listener.close


@pytest.fixture
def nginx(tmp_path: Path, certificate: Certificate) -> Iterator[Path]:
    """Run nginx over TLS in front of a slow server; give its log of accesses."""
    text = NGINX.format(folder=tmp_path, certificate=certificate[0], key=certificate[1])
    (tmp_path / "nginx.conf").write_text(text)
    close = slow_upstream()
    command = [require_program("nginx"), "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")]
    with subprocess.Popen(command) as process:
        until(lambda: is_listening(PORT), "nginx")
        try:
            yield tmp_path / "access.log"
        finally:
            process.terminate()
            process.wait(timeout=10)
            close()


@pytest.mark.parametrize("version", VERSIONS)
def test_requests_of_nginx_are_those_of_its_log(tmp_path: Path, nginx: Path, version: str):
    curl = [require_program("curl"), "-sk", "--http1.1", f"--tlsv{version}", "--tls-max", version, "-o", "/dev/null"]
    client = [
        require_program("openssl"),
        "s_client",
        "-connect",
        f"127.0.0.1:{PORT}",
        "-quiet",
        "-tls" + version.replace(".", "_"),
    ]
    urls = [f"https://127.0.0.1:{PORT}/{i}" for i in range(4)]
    asked = "GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "GET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    with recorded(tmp_path / "tls.pcap"):
        for one in urls[:2]:
            subprocess.run([*curl, one], check=True)
        subprocess.run([*curl, *[word for one in urls for word in ("-o", "/dev/null", one)]], check=True)
        subprocess.run([*curl, "-d", "x" * 100_000, urls[0]], check=True)
        with subprocess.Popen(
            client, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True
        ) as talk:
            assert talk.stdin is not None
            for each in asked:
                time.sleep(0.3)  # so that one answer has ended before the next is asked for
                talk.stdin.write(each)
                talk.stdin.flush()
            talk.wait(timeout=10)
        # Kept alive until nginx closes.
        with socket.create_connection(("127.0.0.1", PORT), timeout=5) as raw:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.minimum_version = context.maximum_version = VERSIONS[version]
            with context.wrap_socket(raw) as idle:
                idle.sendall(asked[0].encode())
                while idle.recv(4096):
                    pass
    lines = nginx.read_text().splitlines()
    assert len(lines) == 10
    check(tmp_path / "tls.pcap", len(lines), WORK_S)
    ends = tcpsight.open(tmp_path / "tls.pcap", servers=f":{PORT}", leave_out=["handshake"]).requests.to_numpy()
    # The server's alert after a second of silence belongs to no answer.
    assert (ends["response_last_ns"] - ends["response_first_ns"]).max() < 0.5e9
