"""The page of a comparison in a real browser."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

import tcpsight
from tcpsight.output.comparison_html import comparison_html
from tests.conftest import ROOT
from tests.support.pcap import pcap_bytes
from tests.support.traffic import START_NS, Talk, answered, capture

PAIRS = ROOT / "tests" / "truth" / "compare_pairs"


def page_of(before: Path, after: Path, *, name: str | None = None) -> str:
    facts = tcpsight.compare(before, after)
    if name is not None:
        facts["before"]["files"] = [name]
    return comparison_html(facts)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_slow_down_is_shown_with_all_its_plots(show, tmp_path, scheme):
    seen = show(page_of(PAIRS / "mariadb-1.pcap.zst", PAIRS / "mariadb-3.pcap.zst"), scheme)
    assert "Worse" in seen.page.locator("#service-1 .finding .severity").first.inner_text()
    seen.scroll_through()
    assert seen.page.locator("figure.plot .plot-container").count() == 3
    seen.page.locator("#service-1-shift summary").click()
    table = seen.page.locator("#service-1-shift table").inner_text()
    assert "p50 (decides)" in table
    assert "+49.9 %" in table
    seen.page.screenshot(path=str(tmp_path / f"compare-{scheme}.png"), full_page=True)
    assert seen.lacking() == []


def test_captures_with_little_in_them_have_a_page_that_says_so(show):
    example = ROOT / "examples" / "two-points-client.pcap.zst"
    seen = show(page_of(example, example))
    seen.scroll_through()
    words = seen.page.locator("#main").inner_text()
    assert "Too little data" in words
    assert "Requests: 9 before, 9 after." in words
    assert "Not compared: too few" in seen.page.locator("#service-1-load").inner_text()


def test_one_level_of_concurrency_can_be_read_at_the_same_place_and_a_service_that_is_gone_is_told(show):
    def written(*services):
        talks = [
            Talk(answered(*[wait_ms + i * 37 % 101 / 200 for i in range(200)]), client_port=20_000 + port + c,
                 server_port=port, start_ns=START_NS + 977 * c)
            for port, wait_ms in services
            for c in range(5)
        ]  # fmt: skip
        return io.BytesIO(pcap_bytes(capture(talks), nanoseconds=True))

    seen = show(comparison_html(tcpsight.compare(written((3306, 5), (80, 5)), written((3306, 7)))))
    assert "It is gone" in seen.page.locator("#verdict .finding", has_text="10.0.0.9:80").inner_text()
    assert "throughput at equal concurrency −2" in seen.page.locator("#verdict .finding").first.inner_text()
    seen.bring("service-1-load")
    before, after = seen.page.evaluate(
        "() => document.querySelector('#service-1-load .canvas').data"
        ".filter(each => each.mode === 'lines').map(each => [each.x, each.y])"
    )
    assert before[0] == after[0]
    assert len(before[0]) == 3
    assert before[1][0] > after[1][0]


def test_names_from_outside_are_text(show):
    name = "<img src=x onerror=alert(1)>.pcap"
    seen = show(page_of(PAIRS / "redis-1.pcap.zst", PAIRS / "redis-2.pcap.zst", name=name))
    assert name in seen.page.locator("#top").inner_text()
    assert seen.page.locator("#top img").count() == 0


def test_findings_that_came_and_went_are_beside_the_verdict(show):
    facts = tcpsight.compare(PAIRS / "redis-1.pcap.zst", PAIRS / "redis-2.pcap.zst")
    row = {"severity": "warning", "direction": None, "connections": 1, "summary": "told"}
    facts["services"][0]["verdict"] = "no_difference"
    facts["services"][0]["findings"] = {
        "came": [row | {"kind": "stall"}, row | {"kind": "zero_window"}],
        "went": [row | {"kind": "policing"}],
        "stayed": [],
    }
    card = show(comparison_html(facts)).page.locator("#service-1 .finding").first.inner_text()
    assert "But 2 findings came: stall, zero window." in card
    assert "But a finding went: policing." in card
