// Figures: a plot that Plotly draws, what it shows in words, and its numbers as a table.

const figures = [];
const CLICK_PIXELS = 4;
const DOUBLE_CLICK_MS = 320;
// The buttons are named one by one: among those the library has by itself is one that sends the data away.
const PLOT_OPTIONS = { displaylogo: false, responsive: true, doubleClick: false, modeBarButtons: [["toImage", "zoom2d", "pan2d"]], showSendToCloud: false, showEditInChartStudio: false, plotlyServerURL: "" };
const figuresInSight = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    entry.target.figure.isInSight = entry.isIntersecting;
  }
  scheduleDrawing();
}, { rootMargin: "300px" });

/** One figure; it is drawn when it comes into sight, and again when what it shows has changed. */
class Figure {
  /**
   * @param spec.id, spec.title, spec.about Name, heading, and how to read it.
   * @param spec.height In pixels.
   * @param spec.plot Gives {traces, layout, empty}: `empty` is a sentence instead of a plot.
   * @param spec.table Gives {caption, head, rows, acts}: what the plot shows, in words; `acts` are functions of rows.
   * @param spec.view The shared time, of plots over time.
   * @param spec.onPoint Told which point was clicked.
   * @param spec.onTime Told at which time was clicked, where there is no point.
   */
  constructor(spec) {
    Object.assign(this, spec);
    this.isDirty = true;
    this.isInSight = false;
    this.canvas = element("div", { className: "canvas", tabindex: "0", role: "img", "aria-busy": "true", "aria-label": `${spec.title}. ${spec.about}` });
    this.canvas.style.height = `${spec.height}px`;
    this.words = element("p", { className: "empty", hidden: true });
    this.details = element("details", { className: "numbers", ontoggle: () => this.fillTable() }, element("summary", {}, "As a table"));
    this.holder = element("div", { className: "scroll" });
    this.details.append(this.holder);
    this.host = element("figure", { id: spec.id, className: "plot" },
      element("figcaption", {}, element("h3", {}, spec.title), element("p", {}, spec.about)),
      this.canvas, this.words, spec.table === undefined ? null : this.details);
    this.host.figure = this;
    figuresInSight.observe(this.host);
    figures.push(this);
    if (spec.view !== undefined) {
      viewKeys(this.canvas, spec.view);
      spec.view.listeners.push(() => this.change());
    }
    themeListeners.push(() => this.change());
  }

  /** What it shows is no longer what it should. */
  change() {
    this.isDirty = true;
    this.canvas.setAttribute("aria-busy", "true");
    if (this.isInSight) scheduleDrawing();
  }

  draw() {
    this.isDirty = false;
    this.canvas.removeAttribute("aria-busy");
    const { traces, layout, empty } = this.plot();
    this.words.hidden = empty === undefined;
    this.canvas.hidden = this.details.hidden = empty !== undefined;
    this.fillTable();
    if (empty !== undefined) {
      this.words.textContent = empty;
      return;
    }
    Plotly.react(this.canvas, traces, completed(layout, this), PLOT_OPTIONS);
    if (!this.isListening) this.listen();
  }

  listen() {
    this.isListening = true;
    const { view, canvas } = this;
    if (view !== undefined) {
      canvas.on("plotly_relayout", (change) => {
        const low = change["xaxis.range[0]"], high = change["xaxis.range[1]"];
        if (low !== undefined && high !== undefined) view.show(Number(low), Number(high));
        else if (change["xaxis.range"] !== undefined) view.show(...change["xaxis.range"].map(Number));
      });
      canvas.on("plotly_doubleclick", () => view.showAll());
    }
    if (this.onPoint !== undefined || this.onTime !== undefined) this.listenToClicks();
  }

  /** Tell of a click which point it hit, or at which time it was beside all points; of a drag, or of two clicks, nothing. */
  listenToClicks() {
    const { canvas } = this;
    let from = null, waiting = 0, hit;
    canvas.on("plotly_click", (event) => {
      hit = event.points[0];
      if (waiting === 0) this.onPoint?.(hit);  // no pointer did it
    });
    canvas.on("plotly_doubleclick", () => clearTimeout(waiting));
    canvas.addEventListener("pointerdown", (event) => {
      from = event.button === 0 ? [event.clientX, event.clientY] : null;
      hit = undefined;
      clearTimeout(waiting);
    }, true);
    addEventListener("pointerup", (event) => {
      if (from === null || Math.hypot(event.clientX - from[0], event.clientY - from[1]) > CLICK_PIXELS) { from = null; return; }
      from = null;
      const { xaxis, yaxis } = canvas._fullLayout, box = canvas.getBoundingClientRect();
      const x = event.clientX - box.left - xaxis._offset, y = event.clientY - box.top - yaxis._offset;
      if (x < 0 || x > xaxis._length || y < 0 || y > yaxis._length) return;
      const at = xaxis.p2d(x);
      waiting = setTimeout(() => {
        waiting = 0;
        if (hit !== undefined) this.onPoint?.(hit);
        else this.onTime?.(at);
      }, DOUBLE_CLICK_MS);
    }, true);
  }

  fillTable() {
    if (this.table === undefined || !this.details.open) return;
    const { caption, head, rows, acts } = this.table();
    fill(this.holder, plainTable(caption, head, rows, acts));
  }
}

/** Run the plotting library, which waits in the page as text: what is told in words is on the screen before it. */
function loadLibrary() {
  if (window.Plotly === undefined) document.head.append(element("script", {}, document.getElementById("library").textContent));
}

const DRAWING_MS = 50;
let isDrawingScheduled = false;

/** Draw what is in sight, once, however many changes there were; what takes long lets others have a turn between. */
function scheduleDrawing() {
  if (isDrawingScheduled || window.Plotly === undefined) return;
  isDrawingScheduled = true;
  requestAnimationFrame(() => {
    isDrawingScheduled = false;
    const until = performance.now() + DRAWING_MS;
    for (const figure of figures.filter((each) => each.isInSight && each.isDirty)) {
      if (performance.now() > until) return scheduleDrawing();
      figure.draw();
    }
  });
}

requestAnimationFrame(() => setTimeout(() => {
  loadLibrary();
  scheduleDrawing();
}));
addEventListener("beforeprint", () => {
  loadLibrary();
  for (const figure of figures) figure.draw();
});

/** Give a layout what all have: colours, margins, the shared time. */
function completed(layout, figure) {
  const colours = palette();
  const axis = { gridcolor: colours.line, linecolor: colours.line, zerolinecolor: colours.line, tickcolor: colours.line, automargin: false };
  const made = {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true, height: figure.height,
    font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colours.text },
    margin: { l: 76, r: figure.view === undefined ? 24 : 84, t: 30, b: 42 }, hovermode: "closest", dragmode: "zoom", bargap: 0, separators: `.${NARROW_SPACE}`,
    hoverlabel: { bgcolor: colours.surface, bordercolor: colours.line, font: { color: colours.text } },
    legend: { orientation: "h", traceorder: "normal", x: 0, y: 1, yanchor: "bottom", font: { size: 12 } }, modebar: { color: colours.faint, activecolor: colours.accent, bgcolor: "rgba(0,0,0,0)" },
    ...layout,
  };
  for (const name of ["xaxis", "yaxis", "yaxis2"]) if (made[name] !== undefined || name !== "yaxis2") made[name] = { ...axis, ...made[name] };
  if (figure.view !== undefined) {
    Object.assign(made.xaxis, { range: [...figure.view.range], autorange: false, ticksuffix: " s", exponentformat: "none", hoverformat: ".6f" });
    made.yaxis.fixedrange = true;
    if (made.yaxis2 !== undefined) made.yaxis2.fixedrange = true;
  }
  return made;
}
