"""Captures of which little or nothing can be said: each gives a page that says so, without an error in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.pages import report_html
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.thorough import some_of
from tests.support.traffic import MS, START_NS, Exchange, Talk, answered, capture, udp_frame


def talks(*made: Talk) -> bytes:
    return pcap_bytes(capture(made), nanoseconds=True)


def superlinear() -> bytes:
    """Give two kinds of time: one client that is served slowly, eight that are served fast."""
    made = [Talk([Exchange(MS, 9 * MS) for _ in range(150)])]
    made += [
        Talk(
            [Exchange(MS, 2 * MS) for _ in range(300)],
            client_port=41_000 + i,
            start_ns=START_NS + 2 * 10**9 + i * 100_000,
        )
        for i in range(8)
    ]
    return talks(*made)


def steady(response_time_ns: int) -> bytes:
    made = [
        Talk([Exchange(3 * MS, response_time_ns)] * 100, client_port=40_000 + i, start_ns=START_NS + i * 50_000)
        for i in range(3)
    ]
    return talks(*made)


def clock_steps() -> bytes:
    """Give a talk whose clock is set back by ten seconds, and then ahead by an hour and a half."""
    frames = capture([Talk(answered(*range(1, 40)))])
    third = len(frames) // 3
    moved = [
        frame._replace(time_ns=frame.time_ns + (0 if i < third else -(10**10) if i < 2 * third else 5_400 * 10**9))
        for i, frame in enumerate(frames)
    ]
    return pcap_bytes(moved, nanoseconds=True)


def overlapping() -> bytes:
    """Give two sides that send whenever they like."""
    frames: list[Frame] = []
    for i in range(4):
        port, now, sent, answered_bytes = 40_000 + i, START_NS + i * MS, 1001, 9001
        there, back = ("10.0.0.1", "10.0.0.9", port, 3306), ("10.0.0.9", "10.0.0.1", 3306, port)
        frames.append(Frame(now, tcp_frame(*there, 1000, 0, "S")))
        frames.append(Frame(now + MS, tcp_frame(*back, 9000, 1001, "SA")))
        frames.append(Frame(now + 2 * MS, tcp_frame(*there, 1001, 9001, "A")))
        for k in range(80):
            at = now + (3 + 5 * k) * MS
            # Both before either has heard of the other.
            frames.append(Frame(at, tcp_frame(*there, sent, answered_bytes, "PA", bytes(50))))
            frames.append(Frame(at + 100, tcp_frame(*back, answered_bytes, sent, "PA", bytes(500))))
            frames.append(Frame(at + MS, tcp_frame(*there, sent + 50, answered_bytes, "PA", bytes(50))))
            frames.append(Frame(at + MS + 100, tcp_frame(*back, answered_bytes + 500, sent + 50, "PA", bytes(500))))
            sent, answered_bytes = sent + 100, answered_bytes + 1000
    frames.sort(key=lambda frame: frame.time_ns)
    return pcap_bytes(frames, nanoseconds=True)


def thirteen_services() -> bytes:
    return talks(*[Talk(answered(*[i + 1] * (13 - i)), server_port=80 + i) for i in range(13)])


ONE_INSTANT = [frame._replace(time_ns=START_NS) for frame in capture([Talk(answered(1, 2))])]

CASES = {
    "one request": (lambda: talks(Talk(answered(5))), "one request only"),
    "no request": (lambda: talks(Talk([]), Talk([], client_port=40_001)), "No request of this service was answered"),
    "never answered": (
        lambda: talks(*[Talk([Exchange(MS, None)], client_port=40_000 + i, is_closed=False) for i in range(8)]),
        "never answered",
    ),
    "constant response times": (lambda: steady(2 * MS), "equally long"),
    "response times of 0": (lambda: steady(0), "median"),
    "a single level of concurrency": (lambda: talks(Talk([Exchange(0, MS)] * 200)), "refused"),
    "superlinear": (superlinear, "Scalability"),
    "clock steps": (clock_steps, "stamped"),
    "shorter than an interval": (lambda: talks(Talk([Exchange(100, 50)])), "median"),
    "one instant": (lambda: pcap_bytes(ONE_INSTANT, nanoseconds=True), "median"),
    "overlapping turns": (overlapping, "No response times are told: the two sides do not take turns"),
    "no TCP": (lambda: pcap_bytes([udp_frame()], nanoseconds=True), "nothing to plot"),
    "no frame": (lambda: pcap_bytes([], nanoseconds=True), "The capture holds no frames"),
    "cut short": (lambda: talks(Talk(answered(1, 2, 3)))[:-9], "The capture breaks off"),
    "text": (
        lambda: b"2024-05-01 12:00:00.000000 IP 10.0.0.1.40000 > 10.0.0.9.3306: tcp 20\n"
        b"2024-05-01 12:00:00.250000 IP 10.0.0.9.3306 > 10.0.0.1.40000: tcp 100\n",
        "Sequence numbers are not known",
    ),
    "IPv6": (lambda: talks(Talk(answered(3, 4), client="2001:db8::1", server="2001:db8::9")), "[2001:db8::9]:3306"),
    "many services": (thirteen_services, "3 smaller services"),
}  # fmt: skip


@pytest.mark.parametrize("case", some_of(list(CASES), 6))
def test_a_page_is_made_and_drawn_without_an_error(show, tmp_path, case):
    make, said = CASES[case]
    path = tmp_path / "capture.pcap"
    path.write_bytes(make())
    seen = show(report_html(path))
    seen.scroll_through()
    assert said in seen.page.locator("body").inner_text()
    for name in ("NaN", "undefined", "Infinity", "null"):
        assert name not in seen.page.locator("body").inner_text(), name
    # Zooming in and out changes nothing about that.
    zoom = seen.page.get_by_role("button", name="Zoom in")
    if zoom.count():
        zoom.click()
        seen.scroll_through()
        whole = seen.page.get_by_role("button", name="Whole capture")
        if whole.is_enabled():
            whole.click()


def test_where_all_take_equally_long_the_distribution_is_a_step(show, tmp_path):
    path = tmp_path / "capture.pcap"
    path.write_bytes(steady(5 * MS))
    seen = show(report_html(path))
    seen.bring("cumulative")
    (line,) = seen.page.evaluate("document.querySelector('#cumulative .js-plotly-plot').data.map((each) => each.x)")
    assert {round(each, 6) for each in line} == {6.69897}


def test_where_nothing_completed_nothing_is_said_to_have_taken_longest(show, tmp_path):
    path = tmp_path / "capture.pcap"
    path.write_bytes(talks(Talk([])))
    seen = show(report_html(path))
    assert "No request completed in the shown time, and none" in seen.page.locator("#requests-in-view").inner_text()
    seen.bring("arrivals")
    assert seen.page.locator("#arrivals .y2tick text").all_text_contents() == ["0", "1"]


def test_ticks_of_long_times_are_those_that_people_count_in(show, tmp_path):
    path = tmp_path / "capture.pcap"
    path.write_bytes(talks(Talk([Exchange(MS, 5 * MS)] * 20 + [Exchange(MS, 3600 * 1000 * MS)])))
    seen = show(report_html(path))
    for figure, texts in (
        ("completions", ["10 ms", "100 ms", "1 s", "10 s", "1 min", "10 min", "1 h"]),
        ("dispersion", ["0", "15 min", "30 min", "45 min"]),
    ):
        seen.bring(figure)
        assert seen.page.locator(f"#{figure} .ytick text").all_text_contents() == texts


def test_every_service_can_be_chosen(show, tmp_path):
    path = tmp_path / "capture.pcap"
    path.write_bytes(thirteen_services())
    seen = show(report_html(path))
    for i in range(10):
        seen.page.locator("#service-choice").select_option(str(i))
        assert f":{80 + i}" in seen.page.locator("#service h2").inner_text()
        seen.bring("completions")


def test_a_pipe_has_no_graphs_of_segments_and_says_why(show, tmp_path):
    path = tmp_path / "capture.pcap"
    path.write_bytes(talks(Talk(answered(3, 4))))
    seen = show(report_html(path, is_read_again=False))
    assert "a pipe" in seen.page.locator("#segments").inner_text()


HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script><b>&amp;{{title}}"


def pcapng_of(name: str, frames: list[Frame]) -> bytes:
    """Write a capture whose interface has a name."""

    def block(kind: int, body: bytes) -> bytes:
        body += bytes(-len(body) % 4)
        length = (len(body) + 12).to_bytes(4, "little")
        return kind.to_bytes(4, "little") + length + body + length

    def option(code: int, value: bytes) -> bytes:
        return code.to_bytes(2, "little") + len(value).to_bytes(2, "little") + value + bytes(-len(value) % 4)

    named = option(2, name.encode()) + option(3, name.encode()) + option(9, b"\x09") + option(0, b"")
    parts = [
        block(0x0A0D0D0A, bytes.fromhex("4d3c2b1a 01000000 ffffffffffffffff")),
        block(1, bytes.fromhex("01000000 00000000") + named),
    ]
    for frame in frames:
        head = (0).to_bytes(4, "little") + (frame.time_ns >> 32).to_bytes(4, "little")
        head += (frame.time_ns & 0xFFFFFFFF).to_bytes(4, "little") + 2 * len(frame.data).to_bytes(4, "little")
        parts.append(
            block(6, head + frame.data + bytes(-len(frame.data) % 4) + option(1, name.encode()) + option(0, b""))
        )
    return b"".join(parts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_from_a_capture_are_text_wherever_they_are_shown(show, tmp_path, scheme):
    folder = tmp_path / "<img src=x onerror=alert(3)>"
    folder.mkdir()
    path = folder / "a&amp;b<script>alert(4)<!--.pcapng"
    path.write_bytes(pcapng_of(HOSTILE, capture([Talk(answered(3, 4, 500))])))
    seen = show(report_html(Path(path)), scheme)
    seen.scroll_through()
    assert HOSTILE in seen.page.locator("#top").inner_text()
    assert "a&amp;b<script>alert(4)<!--.pcapng" in seen.page.locator("h1").inner_text()
    assert seen.page.locator("#main img, #top img, #main script").count() == 0
    assert seen.page.title().startswith("/")


def test_a_script_that_got_into_the_page_would_not_run(show, tmp_path):
    path = tmp_path / "capture.pcap"
    path.write_bytes(talks(Talk(answered(3))))
    seen = show(report_html(path).replace("<footer", "<script>document.title = 'owned'</script><footer", 1))
    assert seen.page.title() != "owned"
    assert any("Content Security Policy" in each for each in seen.errors)
    seen.errors.clear()


def test_an_unknown_browser_without_scripts_is_told(chromium, tmp_path):
    path = tmp_path / "capture.pcap"
    path.write_bytes(talks(Talk(answered(3))))
    page = tmp_path / "page.html"
    page.write_text(report_html(path), encoding="utf-8")
    context = chromium.new_context(java_script_enabled=False)
    shown = context.new_page()
    shown.goto(page.as_uri())
    assert "JavaScript" in shown.locator("body").inner_text()
    context.close()


def test_a_request_that_the_end_of_the_capture_cut_off_stretches_no_axis(show, tmp_path):
    path = tmp_path / "capture.pcap"
    last = Talk([Exchange(300 * MS, None)], client_port=40_001, is_closed=False)
    path.write_bytes(talks(Talk(answered(3, 4, 5), is_closed=False), last))
    seen = show(report_html(path))
    seen.bring("completions")
    low, high = seen.page.evaluate("document.querySelector('#completions .js-plotly-plot').layout.yaxis.range")
    assert low > 5.5
    assert high < 8
    # It waited for less than others took: nobody can say that it was never answered.
    names = seen.page.evaluate("document.querySelector('#completions .js-plotly-plot').data.map((each) => each.name)")
    assert "in flight at the end of the capture" in names
    body = seen.page.locator("body").inner_text().lower()
    assert "in flight at the end" in body
    assert "never answered" not in body
