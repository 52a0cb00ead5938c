"""The shell of a page: one file, nothing from outside, nothing from a capture that a browser takes for markup."""

from __future__ import annotations

import base64
import gc
import hashlib
import importlib
import json
import re
import tracemalloc

import pytest

from tcpsight.errors import UsageError
from tcpsight.output import page

HOSTILE = "</script><script>alert(1)</script><!-- ]]> & \u2028 \ud800 {{scripts}} {{policy}}"
SCRIPT = re.compile(r'<script(?: type="text/plain" id="library")?>(.*?)</script>', re.DOTALL)


def test_data_comes_back_as_it_went_in():
    made = page.html_page("t", (), {"facts": {"name": HOSTILE}})
    (block,) = re.findall(r'<script type="application/json" id="data-facts">(.*?)</script>', made, re.DOTALL)
    assert json.loads(block) == {"name": HOSTILE}


def test_no_string_of_the_data_is_markup():
    made = page.html_page(HOSTILE, (), {"facts": HOSTILE})
    assert "alert(1)</script>" not in made
    assert made.count("<script") == 3


def test_the_policy_names_every_script_and_allows_no_connection():
    made = page.html_page("t", (), {})
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', made)
    hashes = [base64.b64encode(hashlib.sha256(body.encode()).digest()).decode() for body in SCRIPT.findall(made)]
    assert len(hashes) == 2
    assert sorted(re.findall(r"'sha256-([^']*)'", policy)) == sorted(hashes)
    assert "default-src 'none'" in policy
    assert not re.search(r"unsafe-eval|https?:|connect-src|\*", policy)


def test_the_policy_comes_before_every_script_and_style():
    made = page.html_page("t", (), {})
    assert made.index("Content-Security-Policy") < min(made.index("<style"), made.index("<script"), made.index("<link"))


def test_nothing_is_loaded_from_anywhere():
    made = page.html_page("t", (), {})
    # The library's own text names addresses; elements of the page must not.
    own = SCRIPT.sub("", made)
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", own)
    assert not re.search(r"@import|url\(", own)


def test_a_page_that_was_made_leaves_nothing_of_the_library_in_memory():
    tracemalloc.start()
    try:
        importlib.reload(page)  # what was kept before was not counted
        made = page.html_page("t", (), {})
        del made
        gc.collect()
        left, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most > 4_000_000
    assert left < 1_000_000


def test_without_plotly_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'tcpsight\[html\]'"):
        page.require_plotly()
