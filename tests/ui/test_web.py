"""The page over HTTP: who gets it, what it tells, and that nobody who is slow is in the way."""

from __future__ import annotations

import http.cookies
import re
import socket
import threading

import pytest

import tcpsight
from tcpsight.ui import web_app, web_server
from tcpsight.ui.board import Board
from tests.ui.boards import finding, watched, with_findings
from tests.ui.serving import SECONDS, served

TOKEN = "a-token-of-more-than-sixteen-characters"


@pytest.fixture
def page(board):
    with served(board) as each:
        yield each


@pytest.fixture
def locked(board):
    with served(board, TOKEN) as each:
        yield each


# ------------------------------------------------------------------------------------------------------ who gets it


def test_the_page_comes_with_a_policy_that_lets_nothing_else_in(page):
    answer = page.ask("/")
    assert answer.status == 200
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert answer.headers["x-frame-options"] == "DENY"
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers
    assert "server" not in answer.headers
    # What it would fetch, if anything: nothing from anywhere.
    assert not re.search(rb"<(?:script|link|img|iframe)[^>]*(?:src|href)=[\"']?(?!data:)(?:https?:)?//", answer.body)


def test_the_page_comes_packed_to_whoever_unpacks_it(page):
    packed = page.ask("/", accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert len(packed.body) < len(page.ask("/").body) / 3


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "/../../etc/passwd", "//etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/live.js", "/events/",
     "/connections/..", "/\\..\\x", "/%00", "/favicon.ico"],
)  # fmt: skip
def test_addresses_are_those_of_a_table_and_no_paths(page, path):
    assert page.ask(path).status == 404


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil", "", "["]
)
def test_a_name_that_somebody_else_points_here_is_refused(page, host):
    assert page.ask("/", Host=host).status in (400, 421)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST:9471", "[::1]:9471", "10.1.2.3"])
def test_addresses_and_localhost_are_names_of_the_page(page, host):
    assert page.ask("/connections", Host=host).status == 200


def test_a_name_that_the_page_was_given_is_its_own(board):
    with served(board, names=("Monitor.example",)) as page:
        assert page.ask("/connections", Host="monitor.example:443").status == 200
        assert page.ask("/connections", Host="other.example").status == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
        {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"},
    ],
)
def test_other_origins_are_refused(page, headers):
    for path in ("/", "/events", "/connections", "/requests"):
        assert page.ask(path, **headers).status == 403


def test_the_page_itself_and_a_link_that_is_followed_are_not(page):
    own = {"Origin": page.url, "Sec_Fetch_Site": "same-origin"}
    assert page.ask("/connections", **own).status == 200
    followed = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert page.ask("/", **followed).status == 200
    assert page.ask("/connections", **followed).status == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_nothing_can_be_changed(page, method):
    assert page.ask("/", method).status == 405


def test_without_the_token_nothing_is_told(locked):
    for path in ("/", "/events", "/connections", "/requests", "/nothing"):
        answer = locked.ask(path)
        assert answer.status == 401
        assert b"10.0.0.9" not in answer.body
    for wrong in ("", "x", TOKEN[:-1], TOKEN + "x", "%00", "ä"):
        assert locked.ask(f"/?token={wrong.encode().hex() if wrong == 'ä' else wrong}").status == 401
    assert locked.ask(f"/connections?token={TOKEN}").status == 401


def test_the_token_is_answered_by_a_cookie_that_scripts_and_other_sites_do_not_have(locked):
    answer = locked.ask(f"/?token={TOKEN}")
    assert answer.status == 303
    assert answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    given = next(iter(http.cookies.SimpleCookie(cookie).values()))
    pair = f"{given.key}={given.value}"
    assert locked.ask("/connections?service=10.0.0.9:80", Cookie=pair).status == 200
    assert locked.ask("/connections", Cookie=pair[:-1]).status == 401
    assert locked.ask("/connections", Cookie=f"{given.key}={TOKEN}").status == 401
    assert locked.ask("/connections", Cookie="\x7f=;;=").status == 401


def test_nothing_of_a_request_is_written_down(locked, capfd):
    locked.ask(f"/?token={TOKEN}")
    locked.ask("/?token=wrong-token")
    written = capfd.readouterr()
    assert written.out == written.err == ""


def test_an_address_that_is_too_long_is_refused(page):
    assert page.ask("/requests?service=" + "x" * 3000).status == 414


# ------------------------------------------------------------------------------------------------------ what it tells


def test_news_begin_with_everything_and_go_on_with_what_is_new(capture_path):
    board = Board(capture_path.name)
    with tcpsight.open(capture_path).watch(with_totals=True) as (run, watch):
        watch.on_batch = board.note
        slices = iter(watch)
        board.take(next(slices), run)
        board.take(next(slices), run)
        with served(board) as page:
            visitor = page.visit()
            first = visitor.next()
            assert [each["number"] for each in first["slices"]] == [1, 2]
            assert first["findings"] == []
            assert first["source"] == capture_path.name
            board.take(next(slices), run)
            then = visitor.next()
            assert [each["number"] for each in then["slices"]] == [3]
            with_findings(board, finding())
            last = visitor.next()
            assert last["slices"] == []
            assert last["findings"][0]["summary"] == "answers stopped for 1.5 s"
            visitor.close()


def test_rows_are_those_of_the_board(page, board):
    visitor = page.visit()
    told = visitor.next()["slices"][0]
    visitor.close()
    row = board.snapshot().told[0].services[0]
    assert dict(zip(web_app.ROW, told["services"][0], strict=True)) == {
        name: getattr(row, name) for name in web_app.ROW
    }


def test_who_comes_back_is_told_what_was_missed_and_after_a_new_beginning_all(page):
    numbers = []
    for last in ("2", "99", "x", "-1", "9" * 40):
        visitor = page.visit(Last_Event_ID=last)
        numbers.append([each["number"] for each in visitor.next()["slices"]])
        visitor.close()
    assert numbers == [[3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]]


def test_what_is_behind_a_service(page):
    connections = page.ask("/connections?service=10.0.0.9:80").json
    assert connections["found"] == 2
    assert [row["client"] for row in connections["rows"]] == ["10.0.0.1:40000", "10.0.0.1:40001"]
    slowest = page.ask("/requests?service=10.0.0.9:5432").json["rows"]
    assert [row["response_time_ns"] for row in slowest] == [500_000_000, 300_000_000]
    latest = page.ask("/requests?service=10.0.0.9:5432&by=latest").json["rows"]
    assert [row["request_index"] for row in latest] == [1, 0]
    number = connections["rows"][1]["connection_id"]
    assert len(page.ask(f"/requests?connection={number}").json["rows"]) == 25


@pytest.mark.parametrize("query", ["connection=x", "connection=-1", "connection=", "connection=" + "9" * 30])
def test_a_connection_that_is_no_number_is_none(page, query):
    assert page.ask(f"/requests?{query}").status == 404


@pytest.mark.parametrize("service", ["", "x", "%00", "..%2f..", "10.0.0.9:0", "%3Cscript%3E"])
def test_a_service_that_is_none_has_nothing(page, service):
    assert page.ask(f"/connections?service={service}").json == {"found": 0, "rows": []}
    assert page.ask(f"/requests?service={service}").json == {"rows": []}


def test_the_end_lets_visitors_go(board):
    with served(board) as page:
        visitor = page.visit()
        assert visitor.next()["is_over"]
        page.server.stop()
        assert visitor.next() is None


# ------------------------------------------------------------------------------------------------------ in nobody's way


def is_cut_off(connection: socket.socket) -> bool:
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_visitors_are_bounded(monkeypatch, board):
    monkeypatch.setattr(web_app, "MOST_VISITORS", 2)
    with served(board) as page:
        visitors = [page.visit(), page.visit()]
        for visitor in visitors:
            visitor.next()
        assert page.ask("/events").status == 503
        for visitor in visitors:
            visitor.close()


def test_connections_are_bounded(monkeypatch, board):
    monkeypatch.setattr(web_server, "MOST_CONNECTIONS", 3)
    with served(board) as page:
        held = [page.connect() for _ in range(3)]
        assert is_cut_off(page.connect())
        for each in held:
            each.close()


def test_who_asks_for_nothing_is_cut_off(monkeypatch, board):
    monkeypatch.setattr(web_server, "ASKING_S", 0.2)
    with served(board) as page:
        silent, slow = page.connect(), page.connect()
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: localh")
        assert is_cut_off(silent)
        assert is_cut_off(slow)


def test_who_takes_nothing_is_cut_off_and_the_board_waits_for_nobody(monkeypatch, board):
    monkeypatch.setattr(web_server, "TAKING_S", 0.2)
    monkeypatch.setattr(web_app, "REST_S", 0.0)
    over = threading.Event()
    with served(board) as page:
        reader = page.visit()
        reader.next()
        slow = page.connect()
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")

        def change() -> None:
            while not over.wait(0.002):
                board.end(None, "x" * 20_000)

        changing = threading.Thread(target=change)
        changing.start()
        try:
            # It never reads; the server gives up on it, and only on it.
            for _ in range(SECONDS * 100):
                if page.server.page._visitors == 1:
                    break
                assert reader.next() is not None
            assert page.server.page._visitors == 1
        finally:
            over.set()
            changing.join()
        reader.close()
        slow.close()


def test_a_board_that_changes_after_the_end_of_the_page_is_told_nobody(capture_path):
    board = watched(capture_path)
    with served(board):
        pass
    board.end(None, "more")


def test_what_is_no_number_is_null(page):
    snapshot = watched_nothing()
    assert "null" in web_app.message(snapshot, 0, has_found=True)


def watched_nothing():
    from dataclasses import replace

    from tcpsight.tables import Intervals
    from tcpsight.ui.board import Told, _row

    row = Intervals.allocate(1)
    row.rows["throughput_per_s"] = float("nan")
    row.rows["concurrency"] = float("inf")
    told = Told(1, 0, 0, _row("", row.rows[0], 0, 0), (), None)
    return replace(Board("x").snapshot(), told=(told,))
