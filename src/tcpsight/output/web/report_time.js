// Plots over time: arrivals and completions, concurrency, throughput, percentiles, dispersion.

/** The axis of time, and how often it is said what it counts from. */
function timeTitle(report) {
  return { title: { text: `seconds after ${plotText(report.plots.start)}`, font: { size: 11 } } };
}

/** Findings of the service that plots mark: not what is merely worth knowing, nor what was so all the time. */
function markedFindings(report) {
  const whole = report.view.whole[1], [low, high] = report.view.range;
  return report.findingsHere().filter(({ finding, start, end }) => finding.severity !== "info" && end - start < 0.9 * whole && end >= low && start <= high).slice(0, 40);
}

/** Their names, as far as there is room. */
function findingNames(report) {
  const [low, high] = report.view.range, colours = palette();
  return markedFindings(report).slice(0, 6).map(({ finding, start, end }) => ({
    x: (Math.max(start, low) + Math.min(end, high)) / 2, xref: "x", y: 1, yref: "paper", yanchor: "top", showarrow: false, text: plotText(finding.kind.replaceAll("_", " ")),
    font: { size: 11, color: finding.severity === "critical" ? colours.bad : colours.warn }, bgcolor: colours.surface, borderpad: 1, opacity: 0.85,
  }));
}

/** They themselves, as bands behind the plots. */
function findingShapes(report) {
  const colours = palette();
  return markedFindings(report).map((each) => ({
    type: "rect", xref: "x", yref: "paper", x0: each.start, x1: Math.max(each.end, each.start + 1e-9), y0: 0, y1: 1, layer: "below",
    fillcolor: each.finding.severity === "critical" ? colours.bad : colours.warn, opacity: 0.13, line: { width: 1, color: each.finding.severity === "critical" ? colours.bad : colours.warn, dash: "dot" },
  }));
}

/** Lines over slices; a slice is a step as wide as it lasts. */
function sliceLines(report, lines, axis, more = {}) {
  const { service, view } = report;
  if (service.levels === undefined) return { empty: "No segment of this service lies in the chosen time." };
  const level = service.level(view.range), slices = level.within(view.range), colours = palette();
  if (slices.length === 0) return { empty: "Nothing lies in this stretch of time." };
  const text = slices.map((i) => `${level.start[i].toFixed(6)} s, for ${duration(level.length[i] * SECOND)}`);
  const traces = lines.map((line, k) => {
    const values = slices.map((i) => line.value(level, i));
    // The end of the last slice, too: a step without it has no width.
    const last = slices[slices.length - 1];
    return {
      type: "scatter", mode: line.mode ?? (slices.length === 1 || line.hasGaps ? "lines+markers" : "lines"), name: line.name,
      x: [...slices.map((i) => level.start[i]), level.start[last] + level.length[last]], y: [...values, values[values.length - 1]], customdata: [...slices, last], connectgaps: false,
      text: [...text, text[text.length - 1]], hovertemplate: `${line.name} %{y${line.format ?? ":.4~g"}}<br>%{text}<extra></extra>`,
      line: { shape: "hv", width: 1.7, color: colours.series[line.colour ?? k], dash: line.dash ?? "solid" }, marker: line.marker ?? { size: line.hasGaps ? 3 : 6 }, yaxis: line.axis,
      fill: line.isFilled ? "tozeroy" : "none", fillcolor: line.isFilled ? `${colours.series[line.colour ?? k]}33` : undefined,
      ...(line.more?.(slices, level) ?? {}),
    };
  });
  return { traces, layout: { xaxis: timeTitle(report), yaxis: { rangemode: "tozero", ...axis }, shapes: findingShapes(report), annotations: findingNames(report), showlegend: true, ...more } };
}

/** The same as a table: at most so many slices, the most notable ones first told. */
function sliceTable(report, caption, columns) {
  const { service, view } = report;
  if (service.levels === undefined) return { caption, head: [], rows: [] };
  const level = service.level(view.range), all = level.within(view.range);
  // More rows than anybody reads: those with the slowest requests, in order of time.
  const shown = all.length <= 200 ? all : [...all].sort((a, b) => (level.max_ns[b] ?? -1) - (level.max_ns[a] ?? -1)).slice(0, 200).sort((a, b) => a - b);
  const which = shown.length < all.length ? `; the ${count(shown.length)} slices with the slowest requests of ${count(all.length)}` : "";
  return {
    caption: `${caption}, by slices of ${duration(level.intervalS * SECOND)}${which}`, head: ["from", ...columns.map(([name]) => name)],
    rows: shown.map((i) => [`${level.start[i].toFixed(6)} s`, ...columns.map(([, text]) => text(level, i))]),
    acts: (row) => element("button", { type: "button", onclick: () => report.lookAt(level, shown[row]) }, "Zoom here"),
  };
}

function timeFigures(report) {
  const { view } = report;
  const onPoint = (point) => {
    const slice = Array.isArray(point.customdata) ? point.customdata[0] : point.customdata;
    if (slice !== undefined) report.lookAt(report.service.level(view.range), slice);
  };
  const text = (name, write) => (level, i) => write(level[name][i]);
  const figure = (id, title, about, height, plot, columns) => new Figure({ id, title, about, height, view, plot, onPoint, onTime: (at) => report.lookAtBand(at), table: () => sliceTable(report, title, columns) });
  const perSecond = (name) => (level, i) => level.perSecond(name, i);
  return [
    figure("arrivals", "Arrivals and completions", "Where completions fall below arrivals, requests pile up; when what blocked them goes away, completions overtake. Filled, on the right: how many wait at the end of each slice. In a stall nobody who waits asks again, so both rates are 0, and that stays high.", 230,
      () => sliceLines(report, [
        { name: "arrivals per second", value: perSecond("arrivals"), dash: "dot" },
        { name: "completions per second", value: perSecond("completions"), colour: 1 },
        ...(report.service.hasTurns ? [{ name: "waiting", value: (level, i) => level.waiting(i), colour: 3, isFilled: true, axis: "y2", format: ":.4~g" }] : []),
      ], { title: { text: "per second" } }, { yaxis2: { overlaying: "y", side: "right", rangemode: "tozero", ...waitingTicks(report), showgrid: false, title: { text: "requests waiting" } } }),
      [["arrivals", text("arrivals", count)], ["completions", text("completions", count)], ["completions less arrivals", (level, i) => count(level.completions[i] - level.arrivals[i])],
        ["waiting at the end", (level, i) => (report.service.hasTurns ? count(level.waiting(i)) : UNKNOWN)]]),
    figure("concurrency", "Concurrency", "How many requests were waited for at the same time, averaged over each slice; those that had no answer in the capture count as well.", 210,
      () => (report.service.hasTurns ? undefined : { empty: NO_TURNS }) ?? sliceLines(report, [
        { name: "answered requests resident", value: (level, i) => level.concurrency[i], isFilled: true },
        ...(report.service.facts.unanswered + report.service.facts.in_flight_at_end > 0 ? [{ name: "unanswered requests resident", value: (level, i) => level.unanswered_concurrency[i], colour: 4, dash: "dash" }] : []),
      ], { title: { text: "requests" } }),
      [["concurrency", text("concurrency", number)], ["unanswered", text("unanswered_concurrency", number)]]),
    figure("throughput", "Throughput and utilization", "Completions per second, and the share of time with at least one request resident. Slices that the ends of the capture cut to less than half are left out.", 210,
      () => sliceLines(report, [
        { name: "throughput", value: perSecond("completions"), isFilled: true },
        ...(report.service.hasTurns ? [{ name: "utilization", value: (level, i) => level.utilization[i], axis: "y2", colour: 2, dash: "dot", format: ":.1%" }] : []),
      ], { title: { text: "per second" } }, { yaxis2: { overlaying: "y", side: "right", range: [0, 1.05], tickvals: [0, 0.5, 1], tickformat: ".0%", showgrid: false, title: { text: "utilization" } } }),
      [["throughput", (level, i) => (level.cutShort.has(i) ? `${UNKNOWN} (cut short)` : rate(level.perSecond("completions", i)))], ["utilization", (level, i) => (report.service.hasTurns ? percent(level.utilization[i]) : UNKNOWN)]]),
    figure("percentiles", "Percentiles of the response time", "Of the requests that arrived in each slice.", 260,
      () => percentilePlot(report),
      [["median", text("p50_ns", duration)], ["95th", text("p95_ns", duration)], ["99th", text("p99_ns", duration)], ["slowest", text("max_ns", duration)]]),
    figure("dispersion", "Index of dispersion", "Variance of the response time over its mean, by slice: a spike marks a moment in which some requests took far longer than others.", 200,
      () => dispersionPlot(report), [["dispersion", text("dispersion_ns", duration)]]),
  ];
}

/** Ticks of an axis of how many wait: whole requests. */
function waitingTicks(report) {
  const { service, view } = report;
  if (service.levels === undefined) return {};
  const level = service.level(view.range), most = largest(level.within(view.range).map((i) => level.waiting(i)));
  return most < 5 ? { tickmode: "linear", dtick: 1, tickformat: "d" } : { tickmode: "auto", nticks: 5, tickformat: "~s" };
}

function percentilePlot(report) {
  const { service, view } = report;
  if (!service.hasTurns) return { empty: NO_TURNS };
  if (service.levels === undefined) return { empty: "No segment of this service lies in the chosen time." };
  const level = service.level(view.range), known = level.within(view.range).filter((i) => level.max_ns[i] !== null);
  if (known.length === 0) return { empty: "No answered request arrived in this stretch of time." };
  const logs = known.flatMap((i) => [logNs(level.p50_ns[i]), logNs(level.max_ns[i])]);
  const line = (name, title, dash, colour) => ({
    name: title, dash, colour, hasGaps: true, value: (at, i) => (at[name][i] === null ? null : logNs(at[name][i])),
    more: (slices) => ({ text: [...slices, slices[slices.length - 1]].map((i) => `${title} ${duration(level[name][i])}<br>from ${level.start[i].toFixed(6)} s`), hovertemplate: "%{text}<extra></extra>" }),
  });
  return sliceLines(report, [{ ...line("max_ns", "slowest", "dot", 4), mode: "markers", marker: { symbol: "triangle-down-open", size: 6 } }, line("p99_ns", "99th", "dashdot", 3), line("p95_ns", "95th", "dash", 1), line("p50_ns", "median", "solid", 0)],
    { ...timeAxis(least(logs), largest(logs), "response time"), rangemode: "normal" });
}

function dispersionPlot(report) {
  const { service, view } = report;
  if (!service.hasTurns) return { empty: NO_TURNS };
  if (service.levels === undefined) return { empty: "No segment of this service lies in the chosen time." };
  const level = service.level(view.range);
  if (!level.within(view.range).some((i) => level.dispersion_ns[i] !== null)) return { empty: "No answered request arrived in this stretch of time." };
  const most = largest(level.within(view.range).map((i) => level.dispersion_ns[i] ?? 0));
  if (most === 0) return { empty: "All requests of each slice took equally long: the dispersion is 0 throughout." };
  return sliceLines(report, [{
    name: "dispersion", hasGaps: true, value: (at, i) => at.dispersion_ns[i],
    more: (slices, at) => ({ text: [...slices, slices[slices.length - 1]].map((i) => `${duration(at.dispersion_ns[i])}<br>from ${at.start[i].toFixed(6)} s`), hovertemplate: "%{text}<extra></extra>" }),
  }], { title: { text: "dispersion" }, ...linearDurationTicks(most) });
}

/** Ticks of a linear axis of durations from 0. */
function linearDurationTicks(most) {
  const decimal = [1, 2, 5, 10].map((n) => n * 10 ** Math.floor(Math.log10(most / 4)));
  const step = [...(most < 3 * MINUTE_NS ? decimal : [...LONG_TICKS[7].map((seconds) => seconds * 1e9), 86400e9]), ...decimal].find((each) => most / each <= 5);
  const tickvals = [];
  for (let at = 0; at <= most * 1.05; at += step) tickvals.push(at);
  return { tickvals, ticktext: tickvals.map((at) => (at === 0 ? "0" : tickDuration(at))) };
}
