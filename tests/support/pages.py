"""Pages of reports, made in this process, and a browser's view of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tcpsight.analysis import Analysis
from tcpsight.pipeline import Options
from tcpsight.report_page import PageCollection
from tcpsight.tables import Findings
from tests.support.accessible import lacking

QUANTILES = (0.5, 0.95, 0.99)

# In one script: each question that Playwright asks costs more than a plot.
_SCROLL_THROUGH = """async () => {
    const isDone = figure => figure.querySelector('.plot-container') || !figure.querySelector('.empty').hidden;
    for (const figure of document.querySelectorAll('figure.plot')) {
        figure.scrollIntoView({ behavior: 'instant', block: 'center' });
        for (const until = performance.now() + 60_000; !isDone(figure); ) {
            if (performance.now() > until) throw new Error(`${figure.id} is not drawn`);
            await new Promise(requestAnimationFrame);
        }
    }
}"""


def report_html(path: Path, *, top: int = 10, options: Options | None = None, is_read_again: bool = True) -> str:
    """Make the page of a capture."""
    analysis = Analysis([path], options)
    with analysis.run(Findings) as run:
        collection = PageCollection(top, analysis.options.selection)
        for batch in run:
            collection.feed(batch)
        report = collection.report(run)
        return collection.page(report, Analysis([path], options) if is_read_again else None, QUANTILES)


@dataclass
class Seen:
    """A page in the browser, and what it did besides being shown.

    Attributes
    ----------
    page : playwright.sync_api.Page
        The page.
    errors : list of str
        What went wrong in it.
    requests : list of str
        What it asked for, itself left out.
    """

    page: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def scroll_through(self) -> None:
        """Bring every plot into sight, so that it is drawn."""
        self.page.evaluate(_SCROLL_THROUGH)

    def lacking(self) -> list[str]:
        """Tell what the page lacks for who does not see it, or not well, when all of it is opened."""
        self.scroll_through()
        self.page.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
        self.page.wait_for_timeout(200)  # tables are filled when the browser tells that they were opened
        return lacking(self.page)

    def range_of(self, figure: str) -> list[float]:
        """Give the range of time that a plot shows."""
        found = self.page.evaluate(
            "id => { const canvas = document.querySelector(`#${id} .canvas`);"
            " return canvas._fullLayout ? canvas._fullLayout.xaxis.range : null; }",
            figure,
        )
        assert found is not None, f"{figure} is not drawn"
        return [float(each) for each in found]

    def bring(self, figure: str) -> Any:
        """Scroll to a plot, wait until it is drawn as it should be, and give its box on the screen."""
        self.page.locator(f"#{figure}").scroll_into_view_if_needed()
        self.page.wait_for_selector(f"#{figure} .canvas:not([aria-busy]) .nsewdrag", state="attached")
        self.page.wait_for_timeout(150)  # a second redraw may follow
        box = self.page.locator(f"#{figure} .nsewdrag").first.bounding_box()
        assert box is not None
        return box

    def at(self, figure: str, seconds: float, height: float = 0.5) -> tuple[float, float]:
        """Give the point on the screen where a plot shows an instant, at a part of its height."""
        box = self.bring(figure)
        low, high = self.range_of(figure)
        return box["x"] + box["width"] * (seconds - low) / (high - low), box["y"] + box["height"] * height


class Tab:
    """A tab that shows one page after the other.

    Each page begins anew, but what a page of the same tab and address has compiled need not be compiled again, and
    compiling Plotly is the dearest part of showing a page.
    """

    def __init__(self, context: Any) -> None:
        context.set_default_timeout(60_000)
        self.page = context.new_page()
        self._seen: Seen | None = None
        self._own = ""
        self.page.on("console", lambda m: self._fault(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self._fault(str(error)))
        self.page.on("dialog", self._refuse)
        self.page.on("request", self._note)

    def _fault(self, text: str) -> None:
        if self._seen is not None:
            self._seen.errors.append(text)

    def _refuse(self, dialog: Any) -> None:
        self._fault(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _note(self, request: Any) -> None:
        if self._seen is not None and not request.url.startswith((self._own, "data:", "blob:", "about:")):
            self._seen.requests.append(request.url)

    def show(self, url: str, own: str, scheme: str) -> Seen:
        """Show a page to somebody new, who likes light or dark; what begins with `own` it may ask for."""
        self.page.bring_to_front()  # one that is behind another is drawn once a second
        self.page.set_viewport_size({"width": 1280, "height": 900})
        self.page.emulate_media(media="null", color_scheme=scheme)
        self._seen = None
        self.page.goto("about:blank")  # whoever was shown a page before
        seen = self._seen = Seen(self.page)
        self._own = own
        self.page.goto(url)
        return seen

    def empty(self) -> None:
        """Leave the page, and fail for what went wrong in it."""
        self.page.goto("about:blank")
        seen, self._seen = self._seen, None
        if seen is not None:
            assert seen.errors == []
            assert seen.requests == []
