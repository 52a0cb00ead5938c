// The page of a watch that goes on: what comes is put into tables and plots, the latest state each time.

const MOST_SLICES = 240;
const ALL = "all services";
const LOST_MS = 5000;

const SERVICE_COLUMNS = [
  { name: "name", title: "service", text: String },
  { name: "throughput_per_s", title: "req/s", text: rate, isNumber: true },
  { name: "concurrency", title: "concurrency", text: number, isNumber: true },
  { name: "utilization_fraction", title: "busy", text: percent, isNumber: true },
  { name: "p50_ns", title: "p50", text: duration, isNumber: true },
  { name: "p95_ns", title: "p95", text: duration, isNumber: true },
  { name: "p99_ns", title: "p99", text: duration, isNumber: true },
  { name: "max_ns", title: "max", text: duration, isNumber: true },
  { name: "waiting", title: "waiting", text: count, isNumber: true },
  { name: "late", title: "late", text: count, isNumber: true },
  { name: "connections", title: "connections", text: count, isNumber: true },
  { name: "retransmissions", title: "sent again", text: count, isNumber: true },
];

class Live {
  constructor() {
    this.names = pageData("row");
    this.slices = [];
    this.chosen = ALL;
    this.details = new Details();
    this.services = new LiveTable({
      id: "services", caption: "Services", columns: SERVICE_COLUMNS, key: (row) => row.name, sortedBy: "throughput_per_s", placeholder: "10.0.0.9:3306",
      isChosen: (row) => row.name === this.chosen,
      act: (row) => ({ title: "Show it in the plots, and what is behind it", run: () => this.choose(row.name, true) }),
    });
    this.figures = this.plots();
    this.build();
    this.listen();
  }

  build() {
    this.title = element("h1", {}, "tcpsight");
    this.state = element("span", { className: "state", role: "status" }, "connecting");
    this.now = element("p", { className: "now" });
    fill(document.getElementById("top"), element("div", { className: "title-line" }, this.title, themeButton()), this.now);
    this.select = element("select", { id: "service-choice", onchange: () => this.choose(this.select.value) });
    this.found = element("div", {}, element("p", { className: "faint" }, "None so far"));
    const section = (id, title, ...content) => element("section", { id: `${id}-section`, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title` }, title), ...content);
    fill(document.getElementById("main"),
      section("services", "Services", this.services.host),
      section("plots", "Over time", element("p", {}, element("label", {}, "Service ", this.select)), element("div", { className: "pair" }, this.figures.map((figure) => figure.host))),
      this.details.host,
      section("findings", "Findings", this.found));
    fill(document.getElementById("foot"), element("p", {}, "Made by tcpsight from packet headers, while it happens. Times are UTC."));
    this.services.show([]);
    this.offer([]);
  }

  /** Have the latest told, for as long as the page is open. */
  listen() {
    const events = new EventSource("/events");
    events.onmessage = (event) => this.take(JSON.parse(event.data));
    events.onopen = () => this.tell();
    events.onerror = () => {
      this.tell("connection lost");
      // The browser tries again by itself, but not after a refusal.
      if (events.readyState === EventSource.CLOSED) setTimeout(() => this.listen(), LOST_MS);
    };
  }

  take(told) {
    this.told = told;
    const before = this.slices[this.slices.length - 1]?.number ?? 0;
    if (told.slices.length > 0 && told.slices[0].number <= before) this.slices = [];
    this.slices = [...this.slices, ...told.slices.map((slice) => this.named(slice))].slice(-MOST_SLICES);
    if (told.findings !== undefined) this.showFindings(told.findings);
    this.tell();
    const latest = this.slices[this.slices.length - 1];
    if (latest === undefined) return;
    this.services.show(latest.services);
    this.offer(latest.services.map((row) => row.name));
    this.figures.forEach((figure) => figure.change());
  }

  /** Give the values of rows their names. */
  named(slice) {
    const row = (values) => Object.fromEntries(this.names.map((name, i) => [name, values[i]]));
    return { ...slice, total: row(slice.total), services: slice.services.map(row) };
  }

  /** Say what is the case in a line. */
  tell(trouble = "") {
    const { told, slices } = this, latest = slices[slices.length - 1];
    const isOver = told?.is_over === true;
    this.state.className = `state ${trouble !== "" ? "is-lost" : isOver ? "is-over" : ""}`;
    const state = trouble !== "" ? trouble : isOver ? "ended" : "live";
    if (this.state.textContent !== state) this.state.textContent = state;
    if (told === undefined) return fill(this.now, this.state);
    this.title.textContent = told.source;
    fill(this.now, this.state,
      latest === undefined ? null : element("span", {}, clock(latest.end_ns, 0)),
      latest === undefined || latest.frames_per_s === null ? null : element("span", {}, `${rate(latest.frames_per_s)} frames`),
      element("span", {}, counted(told.frames, "frame")),
      element("span", { className: told.drops > 0 ? "bad" : null }, `${count(told.drops)} dropped`),
      element("span", {}, counted(told.open_connections, "open connection")),
      told.trouble === "" ? null : element("span", { className: "note" }, told.trouble),
      ...told.notices.map((text) => element("span", { className: "note" }, text)));
  }

  /** Let services be chosen by name. */
  offer(names) {
    const offered = [ALL, ...[...names].sort()];
    if (!offered.includes(this.chosen)) offered.push(this.chosen);
    if (this.offered?.join("\n") === offered.join("\n")) return;
    this.offered = offered;
    fill(this.select, offered.map((name) => element("option", { value: name }, name)));
    this.select.value = this.chosen;
  }

  choose(name, isOpened = false) {
    this.chosen = name;
    this.select.value = name;
    this.services.write();
    this.figures.forEach((figure) => figure.change());
    if (isOpened) this.details.open(name);
  }

  showFindings(findings) {
    if (findings.length === 0) return;
    fill(this.found, element("ul", { className: "findings" }, findings.map((finding) => element("li", { className: `finding ${finding.severity}` },
      element("p", {}, element("span", { className: "severity" }, finding.severity), element("strong", {}, finding.kind.replaceAll("_", " ")),
        ` at ${finding.subject}, ${clock(finding.start_ns, 3)}`),
      element("p", {}, finding.summary)))));
  }

  // -------------------------------------------------------------------------------------------------- plots

  /** Give the chosen service's row in a slice. */
  rowOf(slice) {
    return this.chosen === ALL ? slice.total : slice.services.find((row) => row.name === this.chosen);
  }

  plots() {
    const figure = (id, title, about, lines, axis, write) => new Figure({
      id, title, about, height: 230,
      plot: () => this.lines(lines, axis, write),
      table: () => ({
        caption: `${title} of ${this.chosen}, the latest slices`, head: ["from", ...lines.map(([, label]) => label)],
        rows: this.slices.slice(-30).reverse().map((slice) => [clock(slice.start_ns, 3), ...lines.map(([name]) => write(this.rowOf(slice)?.[name]))]),
      }),
    });
    return [
      figure("throughput", "Throughput", "Completions per second.", [["throughput_per_s", "throughput", 0, true]], () => ({ rangemode: "tozero", title: { text: "per second" } }), rate),
      figure("percentiles", "Response time", "Median, percentiles and the slowest of the requests that arrived in each slice.",
        [["max_ns", "slowest", 4], ["p99_ns", "99th", 3], ["p95_ns", "95th", 1], ["p50_ns", "median", 0]], (values) => logAxis(values), duration),
      figure("concurrency", "Concurrency", "How many requests were waited for at the same time, on average; and how many waited at the end of the slice without an answer so far.",
        [["concurrency", "answered", 0, true], ["waiting", "waiting at the end", 4]], () => ({ rangemode: "tozero", title: { text: "requests" } }), number),
      figure("retransmissions", "Sent again", "Segments of both sides that were sent again.", [["retransmissions", "segments", 3, true]], () => ({ rangemode: "tozero", title: { text: "segments" } }), count),
    ];
  }

  /** Lines over slices, each a step; an axis of logarithms if `axis` gives one. */
  lines(lines, axis, write) {
    if (this.slices.length === 0) return { empty: "No slice was told so far." };
    const colours = palette(), rows = this.slices.map((slice) => this.rowOf(slice));
    const known = lines.flatMap(([name]) => rows.map((row) => row?.[name])).filter((value) => !isUnknown(value));
    if (known.length === 0) return { empty: "Nothing is known of these slices." };
    const { isLogarithmic, ...yaxis } = axis(known);
    const last = this.slices[this.slices.length - 1];
    // As text without a zone, or they would be drawn in the reader's.
    const x = [...this.slices.map((slice) => slice.start_ns), last.end_ns].map((ns) => new Date(ns / 1e6).toISOString().slice(0, -1));
    const traces = lines.map(([name, label, colour, isFilled]) => {
      const values = rows.map((row) => row?.[name] ?? null);
      const drawn = isLogarithmic ? values.map((value) => (value === null ? null : Math.log10(Math.max(value, 1)))) : values;
      return {
        type: "scatter", mode: "lines", name: label, x, y: [...drawn, drawn[drawn.length - 1]], connectgaps: false,
        text: [...values, values[values.length - 1]].map((value) => `${label} ${write(value)}`), hovertemplate: "%{text}<br>%{x|%H:%M:%S.%L}<extra></extra>",
        line: { shape: "hv", width: 1.7, color: colours.series[colour] }, fill: isFilled ? "tozeroy" : "none", fillcolor: isFilled ? `${colours.series[colour]}33` : undefined,
      };
    });
    return { traces, layout: { xaxis: { type: "date", tickformat: "%H:%M:%S", fixedrange: true }, yaxis: { fixedrange: true, ...yaxis }, dragmode: false, showlegend: lines.length > 1 } };
  }
}

/** An axis of durations by their logarithms. */
function logAxis(values) {
  const logs = values.map((value) => Math.log10(Math.max(value, 1)));
  const low = Math.min(...logs) - 0.1, high = Math.max(...logs) + 0.1;
  return { isLogarithmic: true, range: [low, high], ...durationTicks(low, high) };
}

new Live();
