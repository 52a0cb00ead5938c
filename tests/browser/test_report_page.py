"""The page of a report in a browser, on a real stall: drawn, linked, and usable with and without a mouse.

Longer than other files: one page; its fixtures start a browser, which is shared.
"""

from __future__ import annotations

import itertools
import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tcpsight
from tcpsight.facts import capture_filter
from tcpsight.pipeline import Options
from tcpsight.selection import Selection
from tests.support import closed_system
from tests.support.accessible import lacking
from tests.support.closed_system import Law, simulate
from tests.support.pages import report_html
from tests.support.pcap import pcap_bytes
from tests.support.thorough import some_of

WEB = Path(tcpsight.__file__).parent / "output" / "web"

STALL_S = 7.63
"""When the lock of the example is let go."""

TIME_FIGURES = ("completions", "arrivals", "concurrency", "throughput", "percentiles", "dispersion", "arrival-map")

SCRIPTS = "".join((WEB / name).read_text() for name in ("elements.js", "report_requests.js"))
"""Those with which commands are written: a page keeps its functions to itself."""


@pytest.fixture(scope="module")
def html(request: pytest.FixtureRequest) -> str:
    examples: Path = request.getfixturevalue("examples_dir")
    return report_html(examples / "mariadb-lock.pcap")


@pytest.fixture
def fresh_stall(show, html):
    """Show the page as whoever opens it finds it."""
    return show(html)


@pytest.fixture(scope="module")
def same_stall(show_to_all, html):
    return show_to_all(html)


@pytest.fixture
def stall(same_stall):
    """Show the page, loaded once for all, at its top, with the whole capture, nothing filtered and nothing unfolded."""
    page = same_stall.page
    page.bring_to_front()
    whole = page.get_by_role("button", name="Whole capture")
    if whole.is_enabled():
        whole.click()
    page.wait_for_function("() => document.querySelector('.range').textContent.startsWith('whole')")
    page.locator("#connection-table").get_by_label("Filter").first.fill("")
    page.evaluate("document.querySelectorAll('details[open]').forEach(each => { each.open = false; }); scrollTo(0, 0)")
    page.mouse.move(0, 0)
    return same_stall


def facts_in(html: str) -> Any:
    return json.loads(re.findall(r'id="data-facts">(.*?)</script>', html, re.DOTALL)[0])


def completed_between(path: Path, low_s: float, high_s: float) -> int:
    capture = tcpsight.open(path)
    first_ns = int(capture.segments.to_arrow()["time_ns"][0].as_py())
    at = capture.requests.to_arrow()["completion_ns"].to_numpy() - first_ns
    return int(((at >= low_s * 1e9) & (at <= high_s * 1e9)).sum())


def test_every_plot_is_drawn(fresh_stall):
    fresh_stall.scroll_through()
    drawn = fresh_stall.page.locator("figure.plot .plot-container").count()
    assert drawn == fresh_stall.page.locator("figure.plot").count() == 11
    assert fresh_stall.page.locator("figure.plot .empty:visible").count() == 0


def test_the_numbers_on_the_page_are_those_of_the_facts(stall, html):
    service = facts_in(html)["services"][0]
    text = stall.page.locator("#service").inner_text()
    assert "4\u202f706" in text
    assert service["requests"] == 4706
    assert "104 µs" in text
    assert "1.50 s" in text


def test_dragging_in_one_plot_zooms_all(stall):
    x, y = stall.at("concurrency", 6)
    to, _ = stall.at("concurrency", 8)
    stall.page.mouse.move(x, y)
    stall.page.mouse.down()
    stall.page.mouse.move((x + to) / 2, y, steps=4)
    stall.page.mouse.move(to, y, steps=4)
    stall.page.mouse.up()
    for figure in TIME_FIGURES:
        stall.bring(figure)
        low, high = stall.range_of(figure)
        assert low == pytest.approx(6, abs=0.05), figure
        assert high == pytest.approx(8, abs=0.05), figure


def test_double_clicking_shows_the_whole_again(stall):
    stall.bring("concurrency")
    stall.page.get_by_role("button", name="Zoom in").click()
    stall.bring("completions")
    assert stall.range_of("completions")[0] > 0
    x, y = stall.at("completions", 6.5, 0.9)
    stall.page.mouse.dblclick(x, y)
    stall.page.wait_for_function("() => document.querySelector('.range').textContent.startsWith('whole')")


@pytest.mark.parametrize(("figure", "height"), [("completions", 0.3), ("arrivals", 0.95), ("throughput", 0.05)])
def test_double_clicking_inside_the_band_of_a_stall_shows_the_whole_and_stays_there(stall, figure, height):
    stall.page.get_by_role("link", name="Show in the plots").first.click()
    stall.bring(figure)
    assert stall.range_of(figure)[0] > 0
    x, y = stall.at(figure, STALL_S - 0.4, height)
    stall.page.mouse.dblclick(x, y, delay=30)
    stall.page.wait_for_timeout(800)  # a click too many would have zoomed by now
    assert stall.page.locator(".range").inner_text().startswith("whole")


@pytest.mark.parametrize("figure", ["concurrency"])
def test_a_click_inside_the_band_of_a_stall_zooms_to_it(stall, figure):
    stall.bring(figure)
    x, y = stall.at(figure, STALL_S - 0.6, 0.55)
    stall.page.mouse.click(x, y)
    # The bar tells first; the plots follow.
    stall.page.wait_for_function(
        f"() => document.querySelector('#{figure} .canvas')._fullLayout.xaxis.range[1] < {STALL_S + 4}"
    )
    low, high = stall.range_of(figure)
    assert low < STALL_S - 1.4 < STALL_S < high < low + 4


@pytest.mark.parametrize(("figure", "at", "height"), [("concurrency", 7.2, 0.03), ("completions", STALL_S, 0.07)])
def test_from_a_spike_to_the_filter_that_isolates_it_in_three_clicks(fresh_stall, figure, at, height):
    x, y = fresh_stall.at(figure, at, height)
    fresh_stall.page.mouse.click(x, y)  # one; the plots wait for a second one before they zoom
    fresh_stall.page.wait_for_function("() => !document.querySelector('.range').textContent.startsWith('whole')")
    first = fresh_stall.page.locator("#requests-in-view tbody tr").first
    assert "1.50 s" in first.inner_text()
    assert "10.1.1.12:60804" in first.inner_text()
    first.get_by_role("button", name="Isolate").click()  # two
    fresh_stall.page.get_by_role("button", name="Copy filter").first.click()  # three
    copied = fresh_stall.page.evaluate("navigator.clipboard.readText()")
    client, server = (bytes(10) + b"\xff\xff" + bytes(each) for each in ((10, 1, 1, 12), (10, 1, 1, 1)))
    assert copied == capture_filter((client, 60804, 4), (server, 3306, 4))


def test_points_replace_the_density_when_few_requests_are_in_sight(stall):
    stall.bring("completions")
    kinds = "() => document.querySelector('#completions .canvas').data.map(trace => trace.type)"
    assert stall.page.evaluate(kinds) == ["heatmap", "scatter"]
    stall.page.evaluate("location.hash")
    for _ in range(4):
        stall.page.get_by_role("button", name="Zoom in").click()
    stall.bring("completions")
    assert stall.page.evaluate(kinds) == ["scatter"]


def test_what_is_counted_in_the_shown_time_is_the_shown_time_alone(fresh_stall, html, examples_dir):
    # From the middle on: no stretch of this length begins at a multiple of it.
    fresh_stall.page.evaluate("location.hash = 'from=5&to=8'")
    fresh_stall.page.reload()
    fresh_stall.page.wait_for_selector("#requests-in-view table")
    told = fresh_stall.page.locator("#requests-in-view p").first.inner_text()
    shown = int(re.findall(r"^[\d\u202f]+", told)[0].replace("\u202f", ""))
    grid = json.loads(re.findall(r'id="data-plots">(.*?)</script>', html, re.DOTALL)[0])["services"][0]["grid"]
    slice_s = grid["interval_ns"] / 1e9
    path = examples_dir / "mariadb-lock.pcap"
    with_edges = completed_between(path, 5 - slice_s, 8 + slice_s)
    assert completed_between(path, 5, 8) <= shown <= with_edges


def test_connections_are_sorted_and_filtered(fresh_stall):
    table = fresh_stall.page.locator("#connection-table")
    table.get_by_role("button", name="requests", exact=True).click()
    column = table.locator("tbody tr td:nth-child(7)")
    counts = [int(text.replace("\u202f", "")) for text in column.all_inner_texts()]
    assert counts == sorted(counts, reverse=True)
    assert len(counts) == 9
    assert table.locator("th[aria-sort=descending]").inner_text() == "requests"
    table.get_by_label("Filter").first.fill("10.1.1.11 and requests > 600")
    assert sorted(int(text) for text in column.all_inner_texts()) == [614, 628]
    assert "2 that pass, of 9" in table.get_by_role("status").inner_text()
    table.get_by_label("Filter").first.fill("nobody")
    assert "None of 9" in table.get_by_role("status").inner_text()


@pytest.mark.parametrize(
    ("words", "said"),
    some_of(
        [
            ("limited_by = nothing", "None of 9 passes"),
            ("recuests > 600", "No column is called recuests; there are connection_id, client"),
            ("requests > many", "many is no number."),
            ("lasted > many", "many is no number; units are ns"),
            ("requests > 10 s", "requests is a count: it has no unit such as s"),
            ("requests > 10kb", "requests is a count: it has no unit such as kb"),
            ("began > 5", "start is a time: 5 needs a unit, one of ns, us"),
            ("lasted > 1 000", "duration is a time: 1 000 needs a unit"),
            ("lasted > 5 kb", "kb is no unit of duration; units are ns"),
            ("bytes > 5 ms", "ms is no unit of bytes; units are b"),
            ("requests > 5 requests <", "Something must stand on both sides of <"),
            ("> 5", "A column must stand before the sign"),
            ("client > 5", "client is no number"),
            ("requests > 3furlongs", "3furlongs is no number"),
            ("(requests > 5)", "Parentheses are not understood"),
            ("not state = closed", "not is not understood: != is"),
            ("requests > 5 and", "Something must stand on both sides of and"),
            ("or requests > 5", "Something must stand on both sides of or"),
            ("requests > 5 and or requests < 3", "Something must stand on both sides of and"),
        ],
        4,
    ),
)
def test_a_filter_that_cannot_be_read_says_what_is_wrong_with_it(stall, words, said):
    table = stall.page.locator("#connection-table")
    table.get_by_label("Filter").first.fill("requests > 600")
    before = table.locator("tbody").inner_text()
    table.get_by_label("Filter").first.fill(words)
    status = table.get_by_role("status").inner_text()
    assert said in status
    if said.startswith("None of"):
        assert table.locator("tbody tr").count() == 0
    else:
        assert "Shown as before:" in status
        assert table.locator("tbody").inner_text() == before


def test_a_filter_knows_headings_units_and_words(stall):
    table = stall.page.locator("#connection-table")

    def shown(words: str) -> list[int]:
        table.get_by_label("Filter").first.fill(words)
        texts = table.locator("tbody tr td:nth-child(7)").all_inner_texts()
        return sorted(int(text.replace("\u202f", "")) for text in texts)

    everything = shown("")
    assert len(everything) == 9
    assert shown("Sent again >= 0 and requests > 600") == [each for each in everything if each > 600]
    assert shown("requests != 614 lasted > 1 ms") == [each for each in everything if each != 614]
    assert shown("lasted > 1h") == []
    assert shown("state != nothing") == everything
    assert shown('client = "10.1.1.11"') == shown("10.1.1.11") != everything
    assert shown("client = 10.1.1.1") == shown("limited_by = serve") == []
    assert shown("client != 10.1.1.1") == shown("server = 10.1.1.12:3306") + shown("server != 10.1.1.12:3306")
    assert shown("began >= 0") == shown("lasted > 0") == everything
    assert shown("requests < 1 000") == shown("requests < 1\u202f000") == shown("requests < 1000") == everything
    assert shown("requests > 1 000") == shown("lasted > 1 000 000ms") == []
    assert shown("bytes > 1 000 and lasted < 10 000 000 ms") == shown("bytes > 1kb")


FEW_ROWS = """
  const made = (name, kind, text = String) => ({ name, title: name, kind, value: (row) => row[name], text });
  const table = new BigTable({ id: "a-table", caption: "", rows: [
    { client: "10.1.1.1:40000", state: "closed" }, { client: "10.1.1.11:40000", state: "half_closed" },
    { client: "[2001:db8::1]:40000", state: "open" }, { client: "[2001:db8::11]:40001", state: "open" },
  ], columns: [made("client", "endpoint"), made("state", "word", (value) => value.replace("_", " "))] });
  table.filter(WORDS);
  return [table.problem, ...table.chosen().map((row) => table.rows.indexOf(row))];
"""


@pytest.mark.parametrize(
    ("words", "rows"),
    [
        ("state = closed", [0]),
        ("state != closed", [1, 2, 3]),
        ('state = "half closed"', [1]),
        ("state = half_closed", [1]),
        ("closed", [0, 1]),
        ("client = 10.1.1.1", [0]),
        ("client = 10.1.1.11:40000", [1]),
        ("client = 2001:db8::1", [2]),
        ("client = [2001:db8::1]", [2]),
        ("client = [2001:db8::11]:40001", [3]),
        ("client != 2001:DB8::1", [0, 1, 3]),
        ("10.1.1.1", [0, 1]),
        ("state = open or client = 10.1.1.1", [0, 2, 3]),
        ('state = "half closed" OR 2001:db8::11', [1, 3]),
        ('client = "a or b"', []),
    ],
)
def test_equal_means_the_whole_text_and_endpoints_go_without_their_port(stall, words, rows):
    web = Path(tcpsight.__file__).parent / "output" / "web"
    scripts = [(web / name).read_text() for name in ("elements.js", "numbers.js", "meanings.js", "tables.js")]
    script = "\n".join(["const MEANINGS = {};", *scripts, FEW_ROWS.replace("WORDS", json.dumps(words))])
    assert stall.page.evaluate(f"() => {{ {script} }}") == [None, *rows]


def test_keys_move_and_zoom_the_plots(stall):
    stall.bring("concurrency")
    stall.page.locator("#concurrency .canvas").focus()
    stall.page.keyboard.press("+")
    stall.page.keyboard.press("ArrowRight")
    stall.bring("throughput")
    low, high = stall.range_of("throughput")
    assert high - low == pytest.approx(6.5, abs=0.1)
    assert low == pytest.approx(3.25 + 1.625, abs=0.1)
    stall.page.keyboard.press("0")
    stall.page.wait_for_function("() => document.querySelector('.range').textContent.startsWith('whole')")


def test_everything_has_a_name_for_who_does_not_see_it(stall):
    stall.scroll_through()
    nameless = stall.page.evaluate("""() => [...document.querySelectorAll('button, select, input, a')]
        .filter(each => each.closest('.modebar') === null && each.offsetParent !== null)
        .filter(each => !(each.textContent.trim() || each.getAttribute('aria-label') || each.labels?.length))
        .map(each => each.outerHTML)""")
    assert nameless == []
    for canvas in stall.page.locator("figure.plot .canvas").all():
        assert canvas.get_attribute("role") == "img"
        assert len(canvas.get_attribute("aria-label") or "") > 30
    assert stall.page.locator("h1").count() == 1
    levels = stall.page.evaluate("() => [...document.querySelectorAll('h1,h2,h3')].map(h => +h.tagName[1])")
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    ids = stall.page.evaluate("() => [...document.querySelectorAll('[id]')].map(e => e.id)")
    labelled = stall.page.evaluate(
        "() => [...document.querySelectorAll('[aria-labelledby]')].map(e => e.getAttribute('aria-labelledby'))"
    )
    assert set(labelled) <= set(ids)


def test_nothing_is_lacking_in_the_dark_for_who_does_not_see_the_page_or_not_well(show, html):
    assert show(html, "dark").lacking() == []


NAMELESS = (
    "for (const e of document.querySelectorAll('#main button')) { e.removeAttribute('aria-label'); e.title = ''; }"
)


SPOILED = {
    "3.1.1": "document.documentElement.lang = ''",
    "1.3.1 heading 4": "document.querySelector('h2').outerHTML = '<h4>Sums</h4>'",
    "1.3.1 heading of a table": "document.querySelector('th[scope=col]').removeAttribute('scope')",
    "column without its meaning": "document.querySelector('th[scope=col][title]').removeAttribute('title')",
    "1.4.3 contrast": "document.querySelector('#main p').style.color = '#888'",
    "1.1.1": "document.querySelector('#main').append(document.createElement('canvas'))",
    "4.1.2": "document.querySelector('#main button').textContent = ''",
}


def test_nothing_is_lacking_for_who_does_not_see_the_page_or_not_well_and_what_is_would_be_noticed(fresh_stall):
    assert fresh_stall.lacking() == []
    for script in (NAMELESS, *SPOILED.values()):
        fresh_stall.page.evaluate(f"{{ {script} }}")
    told = lacking(fresh_stall.page)
    assert [each for each in SPOILED if not any(line.startswith(each) for line in told)] == []


def test_the_first_key_leads_past_the_head(fresh_stall):
    fresh_stall.page.keyboard.press("Tab")
    assert fresh_stall.page.evaluate("document.activeElement.textContent") == "Skip to the content"


def test_every_plot_has_its_numbers_as_a_table(fresh_stall):
    fresh_stall.scroll_through()
    for figure in fresh_stall.page.locator("figure.plot").all():
        figure.locator("summary").first.click()
        figure.locator("table tbody").wait_for(state="attached")
    slowest = fresh_stall.page.locator("#percentiles td:nth-child(5)").all_inner_texts()
    assert "1.50 s" in slowest
    fresh_stall.page.locator("#percentiles").get_by_role("button", name="Zoom here").nth(3).click()
    assert "whole" not in fresh_stall.page.locator(".range").inner_text()


def test_the_theme_follows_the_system_and_the_switch(show, html):
    dark = show(html, "dark")
    back = "() => getComputedStyle(document.body).backgroundColor"
    text = "() => document.querySelector('#completions .canvas')._fullLayout.font.color"
    dark.bring("completions")
    before, ink = dark.page.evaluate(back), dark.page.evaluate(text)
    dark.page.get_by_role("button", name="Show this page light").click()
    dark.bring("completions")
    assert dark.page.evaluate(back) != before
    assert dark.page.evaluate(text) != ink
    assert dark.page.get_by_role("button", name="Show this page dark").is_visible()


def contrast(one: list[float], other: list[float]) -> float:
    """WCAG 2.1, contrast ratio."""

    def luminance(rgb: list[float]) -> float:
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (each / 255 for each in rgb)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_can_be_told_from_what_is_behind_them(show, scheme):
    style = (WEB / "page.css").read_text()
    seen = show(f"<html data-theme={scheme}><style>{style}</style><main id=main><h2>Colours</h2></main></html>")
    names = ["text", "faint", "accent", "bad", "warn", *(f"series-{i}" for i in range(1, 7))]
    rgb = """name => { const probe = document.createElement('i'); probe.style.color = `var(--${name})`;
        document.body.append(probe); const c = getComputedStyle(probe).color; probe.remove();
        return c.match(/[0-9.]+/g).slice(0, 3).map(Number); }"""
    surface = seen.page.evaluate(rgb, "surface")
    for name in names:
        needed = 3 if name.startswith("series") else 4.5
        assert contrast(seen.page.evaluate(rgb, name), surface) >= needed, name


def test_no_button_sends_anything_away(stall):
    stall.scroll_through()
    titles = stall.page.evaluate("() => [...document.querySelectorAll('.modebar-btn')].map(b => b.dataset.title)")
    assert set(titles) == {"Download plot as a PNG", "Zoom", "Pan"}


def test_a_finding_leads_to_its_place_in_the_plots(stall):
    finding = stall.page.locator(".finding").first
    assert "Stall" in finding.inner_text()
    finding.get_by_role("link", name="Show in the plots").click()
    stall.bring("concurrency")
    low, high = stall.range_of("concurrency")
    assert 5.4 < low < 6.13
    assert 7.63 < high < 8.3
    assert stall.page.evaluate("document.querySelector('#concurrency .canvas')._fullLayout.shapes.length") == 1
    assert stall.page.locator("#concurrency .annotation-text").text_content() == "stall"
    finding.get_by_role("link", name="Connection 5648").click()
    assert "1–1 of 1 that pass, of 9" in stall.page.locator("#connection-table .status").inner_text()
    assert stall.page.locator("#sequence-choice").input_value() == "0"


def test_a_point_of_the_law_leads_to_its_slice_and_the_words_are_those_of_usl(show, tmp_path):
    path = tmp_path / "law.pcap"
    frames = closed_system.frames(simulate(Law(0.02, 0.005, 500.0), 2, requests=6000))
    path.write_bytes(pcap_bytes(frames, nanoseconds=True))
    html = report_html(path)
    seen = show(html)
    words = " ".join(seen.page.locator("#capacity").inner_text().split())
    model = json.loads(re.findall(r'id="data-plots">(.*?)</script>', html, re.DOTALL)[0])["services"][0]["scalability"]
    for rows in (model["words"]["data"], model["words"]["answer"]):
        for label, pieces in rows:
            assert label in words
            assert all(" ".join(text.split()) in words for text, _ in pieces)
    assert "Forecast by the law" in words
    assert "not seen yet" in words
    seen.bring("scalability")
    i = model["data"]["concurrency"].index(max(model["data"]["concurrency"]))
    click = """i => {
        const canvas = document.querySelector('#scalability .canvas');
        const data = canvas.data.find(each => each.name.startsWith('slice'));
        canvas.emit('plotly_click', { points: [{ data, customdata: i }] });
    }"""
    seen.page.evaluate(click, i)
    seen.bring("completions")
    low, high = seen.range_of("completions")
    begin_s = model["data"]["start_ns"][i] / 1e9
    assert 0 < low <= begin_s < begin_s + model["interval_ns"] / 1e9 <= high


def test_the_evidence_tells_what_the_findings_tell(stall, html, examples_dir):
    path = examples_dir / "mariadb-lock.pcap"
    (row,) = tcpsight.open(path).findings.to_arrow().to_pylist()
    blocker = json.loads(row["evidence"])["blocker"]
    stall.page.locator(".finding summary").first.click()
    text = stall.page.locator(".finding details").first.inner_text()
    arrived = facts_in(html)["findings"][0]["evidence"]["blocker"]["arrival"]
    assert arrived in text
    assert np.datetime64(arrived.removesuffix("Z"), "ns").astype(int) == blocker["arrival_ns"]
    assert blocker["filter"] in text
    assert "null" not in text


def test_it_prints_with_all_plots_on_white(show, html):
    dark = show(html, "dark")
    dark.bring("completions")
    pdf = dark.page.pdf(format="A4", print_background=True)
    assert pdf.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 3
    dark.page.emulate_media(media="print")
    dark.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert dark.page.locator("figure.plot .plot-container").count() == 11
    assert dark.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert not dark.page.locator(".bar").is_visible()
    buttons = dark.page.locator("button:visible").all_inner_texts()
    heads = dark.page.locator("th button:visible").all_inner_texts()
    assert buttons == heads
    dark.page.evaluate("dispatchEvent(new Event('afterprint'))")


def test_a_link_can_say_what_to_show(show, html, tmp_path):
    seen = show(html)
    seen.page.goto(seen.page.url + "#from=7&to=8")
    seen.page.reload()
    seen.bring("completions")
    assert seen.range_of("completions") == [7, 8]


def test_what_is_shown_is_in_the_address(fresh_stall):
    fresh_stall.page.get_by_role("button", name="Zoom in").click()
    fresh_stall.page.wait_for_function("() => location.hash.includes('from=')")
    low, high = fresh_stall.page.evaluate(
        "() => { const a = new URLSearchParams(location.hash.slice(1)); return [+a.get('from'), +a.get('to')]; }"
    )
    fresh_stall.page.reload()
    fresh_stall.bring("completions")
    assert fresh_stall.range_of("completions") == pytest.approx([low, high])
    fresh_stall.page.get_by_role("button", name="Whole capture").click()
    fresh_stall.page.wait_for_function("() => location.hash === ''")
    fresh_stall.page.evaluate("location.hash = '#from=7&to=8'")
    fresh_stall.page.wait_for_function("() => document.querySelector('.range').textContent.startsWith('7.0')")


def test_nothing_is_announced_before_something_changes(show, html):
    seen = show(html)
    seen.bring("completions")
    assert seen.page.locator("#announcements").inner_text() == ""
    seen.page.get_by_role("button", name="Zoom in").click()
    assert seen.page.locator("#announcements").inner_text().startswith("Showing ")


def test_the_plot_of_arrivals_shows_who_waits_in_a_stall(stall):
    stall.page.evaluate("location.hash = '#from=6.2&to=7.6'")
    stall.bring("arrivals")
    traces = stall.page.evaluate("document.querySelector('#arrivals .canvas').data.map(t => [t.name, t.y])")
    shown = dict(traces)
    assert max(shown["waiting"]) >= 8
    assert min(shown["waiting"][len(shown["waiting"]) // 2 : -2]) >= 7


def test_evidence_is_told_in_words_with_units(stall):
    stall.page.locator(".finding summary").first.click()
    rows = stall.page.locator(".finding details table tr").first.locator("xpath=..").locator("tr").all()
    told = {row.locator("th").inner_text(): row.locator("td").inner_text() for row in rows}
    assert told["how long"].startswith("1.50 s")
    assert told["share of the time"].endswith(" %")
    assert told["over when the capture ended"] == "yes"
    assert told["false alarms expected"] == "one in 1\u202f000\u202f000 requests"
    assert told["chance that it is an accident"].startswith("10⁻")
    assert not any("_" in name for name in told)


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ([("a.pcap", None)], "tcpdump -r a.pcap 'F'"),
        ([("it's mine.pcap", None)], "tcpdump -r 'it'\\''s mine.pcap' 'F'"),
        ([("$(rm -rf x).pcap", None)], "tcpdump -r '$(rm -rf x).pcap' 'F'"),
        ([("-w.pcap", None)], "tcpdump -r ./-w.pcap 'F'"),
        ([("-", None)], None),
        ([("a b.pcap.gz", "gzip")], "gzip -dc 'a b.pcap.gz' | tcpdump -r - 'F'"),
        ([("a.pcap", None), ("b.pcap.zst", "zstd")], "tcpdump -r a.pcap 'F'; zstd -dc b.pcap.zst | tcpdump -r - 'F'"),
        ([("https://x/a.pcap?y=1&z=2", None)], "curl -sL 'https://x/a.pcap?y=1&z=2' | tcpdump -r - 'F'"),
        ([("a\nb.pcap", None)], None),
    ],
)
def test_the_command_has_the_name_of_the_capture_quoted_for_a_shell(stall, files, command):
    asked = [{"path": path, "format": "pcap", "compression": compression} for path, compression in files]
    assert stall.page.evaluate(f"files => {{ {SCRIPTS} return filterCommand('F', files); }}", asked) == command
    if command and len(files) == 1 and not files[0][0].startswith(("-", "https")):
        assert shlex.split(command.replace("gzip -dc", "tcpdump -r"))[2] == files[0][0]


@pytest.mark.parametrize(
    ("format", "has_command"),
    [("pcap", True), ("pcapng", True), ("tcpdump text", False), ("ERF", False), ("snoop", False)],
)
def test_there_is_a_command_for_captures_that_its_tool_reads_only(stall, format, has_command):
    asked = [
        {"path": "a.pcap", "format": "pcap", "compression": None},
        {"path": "b", "format": format, "compression": None},
    ]
    command = stall.page.evaluate(f"files => {{ {SCRIPTS} return filterCommand('F', files); }}", asked)
    assert (command is not None) is has_command


def test_a_command_for_what_only_a_display_filter_finds_names_the_capture_too(stall):
    files = [{"path": "a b.pcap", "format": "pcapng", "compression": None}]
    display = "tshark -Y 'tcp.port == 80'"
    written = stall.page.evaluate(
        f"files => {{ {SCRIPTS} return filterCommand({json.dumps(display)}, files); }}", files
    )
    assert written == "tshark -r 'a b.pcap' -Y 'tcp.port == 80'"


def test_the_command_beside_a_filter_names_the_capture(fresh_stall, examples_dir):
    fresh_stall.page.get_by_role("button", name="Isolate").first.click()
    label = fresh_stall.page.get_by_role("button", name="Copy command").first.get_attribute("aria-label")
    assert label.startswith(
        f"Copy command: tcpdump -r {shlex.quote(str(examples_dir / 'mariadb-lock.pcap'))} 'tcp and host"
    )


def test_a_narrow_screen_needs_no_scrolling_to_the_side(show, html):
    seen = show(html)
    seen.page.set_viewport_size({"width": 390, "height": 800})
    seen.scroll_through()
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_part_that_lies_in_a_stall_has_a_page_that_says_so(show, examples_dir):
    path = examples_dir / "mariadb-lock.pcap"
    first_ns = int(tcpsight.open(path).segments.to_arrow()["time_ns"][0].as_py())
    part = Selection(since_ns=first_ns + 6_500_000_000, until_ns=first_ns + 7_500_000_000)
    seen = show(report_html(path, options=Options(selection=part, with_network=True)))
    seen.scroll_through()
    top = seen.page.locator("#top").inner_text()
    assert "13.0 s from 2026-11-21T22:50:20.81" in top
    assert "Only from 2026-11-21T22:50:27.31" in top
    assert "before 2026-11-21T22:50:28.31" in top
    assert "9 requests waited for up to 1.50 s" in seen.page.locator(".finding").first.inner_text()
    assert "9 connections reach beyond the time asked for" in seen.page.locator("#service").inner_text()
    assert "who waited came before it" in seen.page.locator("#service").inner_text()
    assert "who waited came before it" in seen.page.locator("#completions .empty").inner_text()
    seen.page.get_by_text("Show in the plots").first.click()
    assert seen.page.locator(".range").inner_text().startswith("whole capture")
