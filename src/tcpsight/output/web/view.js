// The stretch of time that all plots over time show.

/** The shown range in seconds since the start; whoever listens is told when it changes. */
class View {
  constructor(seconds) {
    this.whole = [0, Math.max(seconds, 1e-9)];
    this.range = [...this.whole];
    this.listeners = [];
  }

  get isWhole() {
    return this.range[0] <= this.whole[0] && this.range[1] >= this.whole[1];
  }

  /** Show a range, cut to the capture and never shorter than a microsecond. */
  show(low, high) {
    const least = Math.min(1e-6, this.whole[1]);
    let begin = Math.max(Math.min(low, high), this.whole[0]);
    let end = Math.min(Math.max(low, high), this.whole[1]);
    if (end - begin < least) {
      begin = Math.max(Math.min(begin, this.whole[1] - least), this.whole[0]);
      end = begin + least;
    }
    if (begin === this.range[0] && end === this.range[1]) return;
    this.range = [begin, end];
    this.listeners.forEach((tell) => tell(this.range));
    announce(this.isWhole ? "Showing the whole capture" : `Showing ${rangeText(this.range)}`);
  }

  showAll() {
    this.show(...this.whole);
  }

  /** Show a stretch with some of what is around it. */
  showAround(low, high, margin = 0.5) {
    const extra = Math.max((high - low) * margin, this.whole[1] * 1e-4);
    this.show(low - extra, high + extra);
  }

  zoom(factor) {
    const [low, high] = this.range;
    const middle = (low + high) / 2, half = ((high - low) * factor) / 2;
    this.show(middle - half, middle + half);
  }

  move(part) {
    const width = this.range[1] - this.range[0];
    const begin = Math.min(Math.max(this.range[0] + part * width, this.whole[0]), this.whole[1] - width);
    this.show(begin, begin + width);
  }
}

/** A range for people: enough digits to tell its ends apart. */
function rangeText([low, high]) {
  const decimals = Math.min(Math.max(Math.ceil(2 - Math.log10(Math.max(high - low, 1e-9))), 0), 9);
  return `${low.toFixed(decimals)} s to ${high.toFixed(decimals)} s`;
}

/** The bar of buttons that does with keys what dragging does with a mouse. */
function viewBar(view) {
  const shown = element("output", { className: "range" });
  const tell = () => { shown.textContent = view.isWhole ? `whole capture, ${duration(view.whole[1] * 1e9)}` : rangeText(view.range); };
  const button = (label, name, action) => element("button", { type: "button", onclick: action, "aria-label": name, title: name }, label);
  const all = button("Whole capture", "Show the whole capture (0)", () => view.showAll());
  view.listeners.push(() => { tell(); all.disabled = view.isWhole; });
  tell();
  all.disabled = true;
  return element("div", { className: "view-bar", role: "toolbar", "aria-label": "Shown time" },
    button("◀", "Earlier (left arrow)", () => view.move(-0.5)), button("▶", "Later (right arrow)", () => view.move(0.5)),
    button("+", "Zoom in (+)", () => view.zoom(0.5)), button("−", "Zoom out (−)", () => view.zoom(2)), all, shown);
}

/** Keys that move the view while a plot has the focus. */
function viewKeys(host, view) {
  const actions = {
    ArrowLeft: () => view.move(-0.25), ArrowRight: () => view.move(0.25), "+": () => view.zoom(0.5), "=": () => view.zoom(0.5),
    "-": () => view.zoom(2), 0: () => view.showAll(), Escape: () => view.showAll(),
  };
  host.addEventListener("keydown", (event) => {
    const act = actions[event.key];
    if (act === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    act();
    event.preventDefault();
  });
}
