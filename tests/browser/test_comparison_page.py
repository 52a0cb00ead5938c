"""The page of a comparison in a real browser."""

from __future__ import annotations

from pathlib import Path

import pytest

import tcpsight
from tcpsight.output.comparison_html import comparison_html
from tests.conftest import ROOT

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


def test_captures_with_little_in_them_have_a_page_that_says_so(show):
    example = ROOT / "examples" / "two-points-client.pcap.zst"
    seen = show(page_of(example, example))
    seen.scroll_through()
    assert "Too little data" in seen.page.locator("#main").inner_text()
    assert "Not compared: too few" in seen.page.locator("#service-1-load").inner_text()


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
