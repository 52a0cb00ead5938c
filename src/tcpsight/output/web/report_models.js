// The scalability law, and where the time of connections went.

function scalabilityFigure(report) {
  return new Figure({
    id: "scalability", title: "Scalability", about: "Throughput against concurrency, a point for each slice of time, and the universal scalability law through them with its 95 % band.", height: 380,
    plot: () => scalabilityPlot(report), table: () => scalabilityTable(report),
    onPoint: (point) => {
      const model = report.service.scalability;
      if (model?.data.start_ns && point.data.name.startsWith("slice")) report.view.showAround(...sliceOf(model, point.customdata));
    },
  });
}

function sliceOf(model, i) {
  const begin = model.data.start_ns[i] / SECOND;
  return [begin, begin + model.interval_ns / SECOND];
}

function scalabilityPlot(report) {
  const model = report.service.scalability, colours = palette();
  if (!report.service.hasTurns) return { empty: NO_TURNS };
  if (model === null || model === undefined) return { empty: report.service.facts.requests === 0 ? "Without answered requests there is nothing to fit." : "The law is fitted here for the services with the most requests; tcpsight usl fits each." };
  const { data, curve, refusal } = model;
  if (data.concurrency.length === 0) return { empty: `No law is fitted: ${refusal}.` };
  const chosen = (isUsed) => data.concurrency.map((_, i) => i).filter((i) => data.is_used[i] === isUsed);
  const dots = (which, name, symbol, color, opacity) => ({
    type: "scatter", mode: "markers", name, x: which.map((i) => data.concurrency[i]), y: which.map((i) => data.throughput_per_s[i]), customdata: which,
    hovertemplate: "%{x:.3~g} resident, %{y:.4~s}/s<extra></extra>", marker: { symbol, color, size: 5, opacity },
  });
  const traces = [];
  if (curve !== null) {
    traces.push({ type: "scatter", mode: "lines", name: "95 % band", x: [...curve.concurrency, ...[...curve.concurrency].reverse()], y: [...curve.high_per_s, ...[...curve.low_per_s].reverse()], fill: "toself", fillcolor: `${colours.series[1]}33`, line: { width: 0 }, hoverinfo: "skip" });
  }
  traces.push(dots(chosen(true), data.of === undefined ? "slice" : `slice, ${count(data.concurrency.length)} of ${count(data.of)}`, "circle", colours.series[0], 0.5));
  if (chosen(false).length > 0) traces.push(dots(chosen(false), "slice left out as an outlier", "x", colours.faint, 0.9));
  if (curve !== null) traces.push({ type: "scatter", mode: "lines", name: "the law", x: curve.concurrency, y: curve.throughput_per_s, hovertemplate: "law: %{y:.4~s}/s at %{x:.3~g}<extra></extra>", line: { color: colours.series[1], width: 2.5 } });
  const shapes = [], annotations = [];
  if (model.peak_concurrency !== null && curve !== null && model.peak_concurrency <= curve.concurrency[curve.concurrency.length - 1]) {
    shapes.push({ type: "line", xref: "x", yref: "paper", x0: model.peak_concurrency, x1: model.peak_concurrency, y0: 0, y1: 1, line: { color: colours.series[2], dash: "dash", width: 1.5 } });
    annotations.push({ x: model.peak_concurrency, y: 1, yref: "paper", yanchor: "bottom", showarrow: false, text: `peak at ${number(model.peak_concurrency)}`, font: { color: colours.series[2] } });
  }
  return { traces, layout: { xaxis: { title: { text: "concurrency" }, rangemode: "tozero" }, yaxis: { title: { text: "throughput per second" }, rangemode: "tozero" }, shapes, annotations, showlegend: true } };
}

const MOST_TABLE_POINTS = 200;

function scalabilityTable(report) {
  const model = report.service.scalability;
  if (!model) return { caption: "No model", head: [], rows: [] };
  const { data } = model, every = Math.ceil(data.concurrency.length / MOST_TABLE_POINTS) || 1;
  const shown = data.concurrency.map((_, i) => i).filter((i) => i % every === 0);
  return {
    caption: every === 1 ? "Slices" : `One of ${every} slices`, head: ["from", "concurrency", "throughput", ""],
    rows: shown.map((i) => [data.start_ns ? `${(data.start_ns[i] / SECOND).toFixed(6)} s` : UNKNOWN, number(data.concurrency[i]), rate(data.throughput_per_s[i]), data.is_used[i] ? "" : "left out as an outlier"]),
  };
}

function forecastTable(model) {
  return plainTable("Forecast by the law", ["concurrency", "throughput", "95 % from", "to", "response time", "efficiency", ""],
    model.forecast.map((each) => [number(each.concurrency), rate(each.throughput_per_s), rate(each.low_per_s), rate(each.high_per_s), duration(each.response_time_ns), percent(each.efficiency_fraction), each.is_beyond_data ? "not seen yet" : ""]));
}

/** What the model says, in words: the same as tcpsight usl. */
function scalabilityWords(report) {
  const model = report.service.scalability;
  if (!model || !report.service.hasTurns) return null;
  const { data, answer, checks } = model.words;
  return element("div", {},
    element("div", { className: "card scroll" }, wordRows([...data, ...answer]),
      checks.length === 0 ? null : element("details", { className: "numbers" }, element("summary", {}, "How far to trust it"), wordRows(checks))),
    model.forecast.length === 0 ? null : element("div", { className: "card scroll", tabindex: "0", role: "region", "aria-label": "Forecast" }, forecastTable(model)));
}

/** Rows of a label and of pieces, of which some are a warning. */
function wordRows(rows) {
  const marks = { red: "bad", yellow: "warn", bold: "strong" };
  const piece = ([text, style], i) => [i === 0 ? null : " ", element("span", { className: marks[style] ?? "" }, text)];
  return element("table", { className: "words" }, element("tbody", {}, rows.map(([label, pieces]) => element("tr", {}, element("th", { scope: "row" }, label), element("td", {}, pieces.flatMap(piece).filter((each) => each !== null))))));
}

const PART_TEXTS = {
  connect: "connecting", think: "clients thinking", request_transfer: "sending requests", server: "servers at work", response_transfer: "sending answers",
  recovery: "recovering from losses", receiver_limited: "receiver not reading", path_limited: "waiting for the path", unknown: "unknown",
};
const PART_PATTERNS = { connect: "/", think: "", request_transfer: "-", server: "", response_transfer: ".", recovery: "x", receiver_limited: "\\", path_limited: "|", unknown: "" };

function accountFigure(report) {
  return new Figure({
    id: "time-account", title: "Where the time of connections went", about: "The time of all connections of the service, and of those with the most trouble, by what they waited for.", height: 340,
    plot: () => accountPlot(report), table: () => accountTable(report),
  });
}

function accountRows(report) {
  if (!report.service.hasTurns) return []; // nobody knows who waited for whom
  const totals = Object.entries(report.service.facts.connections.times ?? {}).filter(([name]) => name.endsWith("_ns")).map(([name, ns]) => [name.slice(0, -3), ns]);
  const names = Object.keys(PART_TEXTS);
  const all = names.map((name) => totals.find(([part]) => part === name)?.[1] ?? 0);
  const worst = report.plots.connections.rows.filter((row) => row.server === report.service.name && row.parts_ns !== null && row.duration_ns > 0).slice(0, 8);
  const rows = [["all connections", all], ...worst.map((row) => [`${report.plots.ends[row.end][0]} (${row.connection_id})`, row.parts_ns.map((ns) => ns ?? 0)])];
  return rows.filter(([, parts]) => parts.some((ns) => ns > 0));
}

function accountPlot(report) {
  const rows = accountRows(report), colours = palette();
  if (!report.service.hasTurns) return { empty: NO_TURNS };
  if (rows.length === 0) return { empty: "No connection lasted long enough, with sequence numbers known, to account for its time." };
  const sums = rows.map(([, parts]) => parts.reduce((a, b) => a + b, 0));
  const traces = Object.keys(PART_TEXTS).map((part, k) => ({
    type: "bar", orientation: "h", name: PART_TEXTS[part], y: rows.map(([name]) => plotText(name)), x: rows.map(([, parts], i) => parts[k] / sums[i]),
    text: rows.map(([, parts], i) => `${PART_TEXTS[part]}: ${duration(parts[k])}, ${percent(parts[k] / sums[i])}`), textposition: "none", hovertemplate: "%{text}<extra></extra>",
    marker: { color: colours.parts[part], pattern: { shape: PART_PATTERNS[part], fgcolor: colours.surface, fillmode: "overlay", size: 6, solidity: 0.25 }, line: { width: 0.5, color: colours.surface } },
  })).filter((trace) => trace.x.some((share) => share > 0));
  return { traces, layout: { barmode: "stack", bargap: 0.25, xaxis: { tickformat: ".0%", range: [0, 1], title: { text: "share of the time of the connections" } }, yaxis: { autorange: "reversed", automargin: true, type: "category" }, showlegend: true, margin: { l: 160, r: 24, t: 56, b: 40 } } };
}

function accountTable(report) {
  const rows = accountRows(report), names = Object.keys(PART_TEXTS);
  return { caption: "Where the time went", head: ["", ...names.map((name) => PART_TEXTS[name])], rows: rows.map(([name, parts]) => [name, ...parts.map((ns) => duration(ns))]) };
}
