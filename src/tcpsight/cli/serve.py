"""``tcpsight serve``."""

from __future__ import annotations

import secrets
import socket
import stat
from collections.abc import Callable
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli.options import Input
from tcpsight.cli.watch_options import Slicing, source_options
from tcpsight.errors import UsageError, installing

if TYPE_CHECKING:
    from tcpsight.run import Run
    from tcpsight.ui.board import Board
    from tcpsight.ui.web_server import PageServer
    from tcpsight.watching import Watch

SHORTEST_TOKEN = 16

_OWN: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
    click.option("--listen", default="127.0.0.1:9471", show_default=True, metavar="HOST:PORT",
                 help="Serve the page there. Any address but those of this machine itself needs a token."),
    click.option("--token-file", metavar="FILE",
                 help="Who looks must know the first line of this file.  [default: a new one is made and printed where "
                 "one is needed]"),
    click.option("--name", "names", multiple=True, metavar="NAME",
                 help="What the page is called besides addresses and localhost: its host as in a browser. Repeatable."),
]  # fmt: skip


def _serve_options(function: Callable[..., Any]) -> Callable[..., Any]:
    return source_options(function, _OWN)


@click.command("serve")
@_serve_options
def command(
    *,
    asked: Input,
    interfaces: tuple[str, ...],
    slicing: Slicing,
    listen: str,
    token_file: str | None,
    names: tuple[str, ...],
    user: str | None,
    is_fenced: bool,
) -> int:
    """How services do while it happens, on a page for browsers.

    \b
    tcpsight serve -i eth0
    tcpsight serve -i eth0 --listen 10.0.0.5:9471 --token-file /etc/tcpsight/token tcp port 3306
    ssh db1 tcpdump -U -s 128 -w - tcp | tcpsight serve -
    """
    from tcpsight.cli.endings import until_hung_up
    from tcpsight.cli.watch import opened

    _require()
    listener, is_local = _listening(listen)
    with listener:
        token = _token(token_file, is_local=is_local)
        with (
            opened(asked, interfaces, slicing) as analysis,
            analysis.watch(
                slicing.interval_ns,
                slicing.lateness_ns,
                most_services=slicing.most_services,
                with_findings=True,
                with_totals=True,
            ) as (run, watch),
        ):
            from tcpsight.cli.watch_screen import noticing, source_name
            from tcpsight.ui.board import Board
            from tcpsight.ui.web_server import PageServer

            board = Board(source_name(run))
            server = PageServer(board, listener, token, names)
            watch.on_look = noticing(board, run, interfaces)
            with until_hung_up(server.stop):
                if interfaces and is_fenced:
                    from tcpsight.capture.privileges import drop_privileges

                    # Connections are accepted, and the loop wakes itself by a socket.
                    drop_privileges(user=user, may_connect=True)
                shown = token if token_file is None else None
                return _served(run, watch, slicing, (board, server), lambda: _say_where(listener, shown))


def _served(run: Run, watch: Watch, slicing: Slicing, page: tuple[Board, PageServer], begun: Callable[[], None]) -> int:
    """Serve the page of a watch until somebody asks to end."""
    from tcpsight.cli.notes import conclude
    from tcpsight.cli.watch import conclude_live
    from tcpsight.ui.capturing import Capturing

    board, server = page
    with Capturing(board, run, watch, slicing.until_enough) as capturing:
        server.run(begun)
    if capturing.failure is not None:
        raise capturing.failure
    return conclude_live(run) if hasattr(run.capture, "received") else conclude(run)


def _require() -> None:
    """Make sure that everything is there, before anybody waits for it."""
    from tcpsight.output.page import require_plotly

    if find_spec("starlette") is None or find_spec("uvicorn") is None:
        raise UsageError(f"tcpsight serve needs Starlette and uvicorn: {installing('serve')}")
    require_plotly()


def _listening(listen: str) -> tuple[socket.socket, bool]:
    """Bind the address; tell whether only this machine reaches it."""
    from tcpsight.output.feeds.targets import host_port

    try:
        host, port = host_port(listen)
    except ValueError:
        raise click.UsageError(f"--listen {listen}: write HOST:PORT, or [ADDRESS]:PORT") from None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.create_server(address[:2], family=family)
    except OSError as error:
        raise UsageError(f"--listen {listen}: {error.strerror or error}") from None
    return listener, ip_address(str(address[0]).partition("%")[0]).is_loopback


def _token(token_file: str | None, *, is_local: bool) -> str | None:
    """Read the token, or make one where one is needed."""
    from tcpsight.cli.notes import warn

    if token_file is None:
        return None if is_local else secrets.token_urlsafe(24)
    path = Path(token_file)
    try:
        with path.open(encoding="utf-8") as file:
            token = file.readline(1000).strip()
            mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text"
        raise UsageError(f"--token-file {token_file}: {reason}") from None
    if len(token) < SHORTEST_TOKEN or not token.isascii() or not token.isprintable():
        raise UsageError(f"--token-file {token_file}: a token has {SHORTEST_TOKEN} characters of ASCII or more")
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        warn(f"{token_file}: others can read the token (chmod 600)")
    return token


def _say_where(listener: socket.socket, token: str | None) -> None:
    """Say where the page is, and the token that was made for it: here and nowhere else."""
    from urllib.parse import quote

    from tcpsight.output.units import endpoint

    address, port = listener.getsockname()[:2]
    query = f"?token={quote(token, safe='')}" if token is not None else ""
    click.echo(f"tcpsight: serving at http://{endpoint(address, port)}/{query}", err=True)
