// Response times: density and single requests by completion, the heat map by arrival, their distribution, the list.

const MOST_COLUMNS = 240;
const NO_TURNS = "The sides of this service do not take turns: there are no response times, nor what follows from them.";
const MOST_MARKERS = 2500;
// Beside the density, which shows all: a mark takes longer to draw than a cell.
const SLOWEST_MARKERS = 600;

/** A heat map of cells: colour is the logarithm of how many requests. */
function heatTrace(found, edges, colours) {
  const rows = [], xs = [], ys = [], text = [];
  // Two buckets a row where there are many: rows thinner than a few pixels are no colour to the eye.
  const merged = found.highest - found.lowest > 60 ? 2 : 1, lowest = found.lowest - (found.lowest % merged);
  let most = 1;
  for (let column = 0; column <= found.count; column++) xs.push(found.begin + column * found.step);
  for (let bucket = lowest; bucket <= found.highest; bucket += merged) {
    const row = new Array(found.count).fill(null), words = new Array(found.count).fill(""), span = `${duration(edges[bucket])} to ${duration(edges[bucket + merged])}`;
    for (const [column, buckets] of found.columns) {
      let n = 0;
      for (let k = 0; k < merged; k++) n += buckets.get(bucket + k) ?? 0;
      if (n === 0 || column >= found.count) continue;
      row[column] = Math.log10(n);
      words[column] = `${counted(n, "request")} of ${span}`;
      most = Math.max(most, n);
    }
    ys.push(bucketEdge(bucket));
    rows.push(row);
    text.push(words);
  }
  ys.push(bucketEdge(lowest + rows.length * merged));
  const powers = [];
  for (let power = 0; 10 ** power <= Math.max(most, 10); power++) powers.push(power);
  return {
    type: "heatmap", x: xs, y: ys, z: rows, text, hovertemplate: "%{text}<br>%{x:.6f} s<extra></extra>", hoverongaps: false,
    colorscale: colours.heat, zmin: 0, zmax: Math.max(Math.log10(most), 1), zsmooth: false,
    colorbar: { title: { text: "requests", side: "right" }, tickvals: powers, ticktext: powers.map((power) => count(10 ** power)), thickness: 10, x: 1.01, xpad: 0, len: 0.9, outlinewidth: 0 },
  };
}

/** Where a bucket begins on the axis; what took no time at all, bucket 0, lies below 1 ns. */
function bucketEdge(bucket) {
  return bucket === 0 ? -0.15 : ((bucket - 1) / bucketsPerOctave) * Math.log10(2);
}

/** Axis of response times between two buckets. */
function timeAxis(low, high, title) {
  const from = Math.floor(low * 2) / 2 - 0.1, to = Math.max(Math.ceil(high * 2) / 2 + 0.1, from + 1);
  return { title: { text: title }, range: [from, to], ...durationTicks(from, to) };
}

/** Which requests a range shows as points: all where they are few and known, else the slowest. */
function shownPoints(service, range, total) {
  const within = service.points.within(range);
  const isAll = within.length >= total && within.length <= MOST_MARKERS;
  if (isAll || within.length <= SLOWEST_MARKERS) return { within, isAll };
  const slowest = [...within].sort((a, b) => service.points.time_ns[b] - service.points.time_ns[a]).slice(0, SLOWEST_MARKERS);
  return { within: slowest.sort((a, b) => a - b), isAll };
}

/** The plot by completion: density, and over it the slowest; all as points when few are in sight. */
function completionPlot(report) {
  const { service, view } = report;
  if (!service.hasTurns) return { empty: NO_TURNS };
  const colours = palette(), edges = service.shared.edges_ns;
  const found = service.completed.columns(view.range, MOST_COLUMNS);
  const unanswered = [[service.never, "never answered, at the end of its waiting", "x-thin", colours.bad], [service.inFlight, "in flight at the end of the capture", "line-ns", colours.text]]
    .map(([points, ...look]) => [points, points.within(view.range), ...look]).filter(([, own]) => own.length > 0);
  if (found.total === 0 && unanswered.length === 0 && service.facts.is_waited_through) return { empty: WAITED_THROUGH };
  if (found.total === 0 && unanswered.length === 0) return { empty: view.isWhole ? "No request of this service was answered, and none waited: there is nothing to plot." : "No request completed in this stretch of time. Those that were waited for are listed below." };
  const { within, isAll } = shownPoints(service, view.range, found.total);
  const traces = [];
  if (!isAll && found.total > 0) traces.push(heatTrace(found, edges, colours));
  const hover = (points, i) => `${plotText(service.shared.ends[points.end[i]][0])}<br>request ${count(points.request_index[i])} of connection ${points.connection_id[i]}<br>${size(points.request_bytes[i])} asked, ${size(points.response_bytes[i])} answered`;
  const { points } = service;
  traces.push({
    type: "scatter", mode: "markers", name: isAll ? "request" : "one of the slowest of its moment", x: within.map((i) => points.at[i]), y: within.map((i) => logNs(points.time_ns[i])), customdata: within,
    text: within.map((i) => `${duration(points.time_ns[i])}, ${hover(points, i)}`), hovertemplate: "%{text}<br>completed at %{x:.6f} s<extra></extra>",
    marker: { size: isAll ? 7 : 4, color: isAll ? colours.series[0] : colours.text, opacity: isAll ? 0.8 : 0.75, line: { width: isAll ? 0.5 : 0, color: colours.surface } },
  });
  const answered = within.map((i) => logNs(points.time_ns[i]));
  if (!isAll && found.total > 0) answered.push(bucketEdge(found.lowest), bucketEdge(found.highest + 1));
  // Who asked just before the capture ended waited for next to nothing: that stretches no axis, and stands at its foot.
  const foot = answered.length > 0 ? least(answered) : 0, logs = [...answered];
  for (const [own, indices, name, symbol, color] of unanswered) {
    const waits = indices.map((i) => Math.max(logNs(own.time_ns[i]), foot));
    traces.push({
      type: "scatter", mode: "markers", cliponaxis: false, name, x: indices.map((i) => own.at[i]), y: waits,
      text: indices.map((i) => `waited ${duration(own.time_ns[i])}, ${hover(own, i)}`), hovertemplate: "%{text}<extra></extra>",
      marker: { size: 9, symbol, color, line: { width: 2, color } },
    });
    logs.push(...waits);
  }
  return { traces, layout: { xaxis: timeTitle(report), yaxis: timeAxis(least(logs), largest(logs), "response time"), showlegend: true, shapes: findingShapes(report), annotations: findingNames(report) } };
}

function least(values) {
  return values.reduce((a, b) => Math.min(a, b), Infinity);
}

function largest(values) {
  return values.reduce((a, b) => Math.max(a, b), -Infinity);
}

/** The heat map by arrival, with the percentiles of the same requests. */
function arrivalPlot(report) {
  const { service, view } = report;
  if (!service.hasTurns) return { empty: NO_TURNS };
  const colours = palette();
  const found = service.arrived.columns(view.range, MOST_COLUMNS / 2);
  if (found.total === 0) return { empty: "No answered request arrived in this stretch of time." };
  const level = service.level(view.range), slices = level.within(view.range);
  const line = (name, title, dash) => ({
    type: "scatter", mode: "lines", name: title, x: slices.map((i) => level.middle(i)), y: slices.map((i) => (level[name][i] === null ? null : logNs(level[name][i]))), hoverinfo: "skip",
    line: { width: 1.5, dash, color: colours.text },
  });
  const traces = [heatTrace(found, service.shared.edges_ns, colours), line("p50_ns", "median", "solid"), line("p99_ns", "99th percentile", "dot")];
  return { traces, layout: { xaxis: timeTitle(report), yaxis: timeAxis(bucketEdge(found.lowest), bucketEdge(found.highest + 1), "response time"), showlegend: true, shapes: findingShapes(report), annotations: findingNames(report) } };
}

/** The distribution of response times: of all, and of what is shown. */
function cumulativePlot(report) {
  const { service, view } = report;
  if (!service.hasTurns) return { empty: NO_TURNS };
  const colours = palette(), edges = service.shared.edges_ns;
  // No request was faster than the fastest, nor slower than the slowest: there buckets end earlier.
  const { min_ns: fastest, max_ns: slowest } = service.facts.response_time;
  const inside = (at) => Math.min(Math.max(at, logNs(fastest)), logNs(slowest));
  const line = (buckets, name, color, dash) => {
    const total = buckets.reduce((sum, [, n]) => sum + n, 0);
    const x = buckets.length > 0 ? [inside(bucketEdge(buckets[0][0]))] : [], y = [0], text = [`none below ${duration(Math.max(edges[buckets[0]?.[0] ?? 0], fastest))}`];
    let sum = 0;
    for (const [bucket, n] of buckets) {
      sum += n;
      x.push(inside(bucketEdge(bucket + 1)));
      y.push(sum / total);
      text.push(edges[bucket + 1] > slowest ? `${percent(sum / total)} took ${duration(slowest)} at most` : `${percent(sum / total)} took less than ${duration(edges[bucket + 1])}`);
    }
    return { type: "scatter", mode: "lines", name: `${name}: ${counted(total, "request")}`, x, y, text, hovertemplate: "%{text}<extra></extra>", line: { color, width: 2, dash } };
  };
  const whole = service.arrived.byBucket(view.whole);
  if (whole.length === 0) return { empty: "No request was answered: there is no distribution." };
  const traces = [line(whole, "whole capture", colours.series[0], "solid")];
  const part = view.isWhole ? [] : service.arrived.byBucket(view.range);
  if (part.length > 0) traces.push(line(part, "shown time", colours.series[1], "dash"));
  const axis = timeAxis(bucketEdge(whole[0][0]), bucketEdge(whole[whole.length - 1][0] + 1), "response time");
  return { traces, layout: { xaxis: axis, yaxis: { title: { text: "requests that took less" }, tickformat: ".0%", range: [-0.02, 1.02] }, showlegend: true } };
}

function cumulativeTable(report) {
  const { service, view } = report;
  const steps = service.facts.histogram;
  return {
    caption: "Requests of the whole capture by response time", head: ["from", "to", "requests"],
    rows: steps.map((step) => [duration(step.low_ns), duration(step.high_ns), count(step.count)]),
  };
}

/** The slowest requests of what is shown, each with the filter that isolates it. */
class RequestList {
  constructor(report) {
    this.report = report;
    this.host = element("section", { className: "card", id: "requests-in-view", "aria-labelledby": "requests-in-view-title", tabindex: "-1" });
    report.view.listeners.push(() => this.show());
    this.show();
  }

  show() {
    const { service, view } = this.report;
    const head = element("h3", { id: "requests-in-view-title" }, "Slowest requests of the shown time");
    if (service.points === undefined || !service.hasTurns) {
      fill(this.host, head, element("p", {}, service.hasTurns ? "There are none." : NO_TURNS));
      return;
    }
    const waited = [[service.points, null], [service.never, "never answered"], [service.inFlight, "in flight at the end"]]
      .flatMap(([points, why]) => points.waiting(view.range).map((i) => [points, i, why]));
    const slowest = waited.sort(([a, i], [b, j]) => b.time_ns[j] - a.time_ns[i]).slice(0, 12);
    const total = service.completed.columns(view.range, 1).total;
    const completed = `${total === 0 ? "No request" : counted(total, "request")} completed in the shown time`;
    const about = slowest.length === 0 ? ", and none of the slowest was waited for in it." : "; of those that were waited for in it these took longest. Choose one to see the filter that isolates its connection.";
    fill(this.host, head, element("p", { className: "faint" }, completed + about), slowest.length === 0 ? null : element("div", { className: "scroll" }, element("table", {},
      element("caption", { className: "unseen" }, "Slowest requests"),
      element("thead", {}, element("tr", {}, ["Took", "Completed after", "Client", "Asked", "Answered", "Connection", ""].map(columnHead))),
      element("tbody", {}, slowest.map((each) => this.row(...each))))));
  }

  row(points, i, unanswered) {
    const [client] = this.report.service.shared.ends[points.end[i]];
    const detail = element("tr", { hidden: true });
    const button = element("button", { type: "button", "aria-expanded": "false", "aria-label": `Isolate request ${count(points.request_index[i])} of connection ${points.connection_id[i]}`, onclick: () => this.toggle(button, detail, points, i) }, "Isolate");
    const row = element("tr", {}, [unanswered === null ? duration(points.time_ns[i]) : `${duration(points.time_ns[i])}, ${unanswered}`, `${points.at[i].toFixed(6)} s`, client,
      size(points.request_bytes[i]), unanswered === null ? size(points.response_bytes[i]) : UNKNOWN, `${points.connection_id[i]}, request ${count(points.request_index[i])}`].map((text) => element("td", {}, text)), element("td", {}, button));
    const both = document.createDocumentFragment();
    both.append(row, detail);
    return both;
  }

  toggle(button, detail, points, i) {
    const isShown = detail.hidden;
    detail.hidden = !isShown;
    button.setAttribute("aria-expanded", String(isShown));
    if (!isShown) return;
    const [, filter] = this.report.service.shared.ends[points.end[i]];
    fill(detail, element("td", { colspan: "7" }, filterLine(filter, this.report),
      element("div", { className: "acts" }, element("button", { type: "button", onclick: () => this.report.showConnection(points.connection_id[i]) }, "Its connection in the table"),
        element("button", { type: "button", onclick: () => this.report.view.showAround(points.at[i] - points.time_ns[i] / SECOND, points.at[i]) }, "Zoom to its time"))));
  }
}

/** A filter to copy, and what to do with it. */
function filterLine(filter, report) {
  const command = filterCommand(filter, report.facts.capture.files);
  return element("p", { className: "filter" }, element("code", {}, filter), " ", copyButton(filter, "Copy filter"), command === null ? null : copyButton(command, "Copy command"));
}

const UNPACKERS = { gzip: "gzip -dc", zstd: "zstd -dc", lz4: "lz4 -dc", xz: "xz -dc", bzip2: "bzip2 -dc" };

/** The command that shows what a filter lets through of these files, ready for a shell; null where none can be written. */
function filterCommand(filter, files) {
  // Text and rare formats are no captures to tcpdump, what came by standard input is gone, and who pastes a control
  // character does not see what it does.
  if (files.length === 0 || files.some(({ path, format }) => !["pcap", "pcapng"].includes(format) || path === "-" || /[\u0000-\u001f\u007f]/.test(path))) return null;
  const reader = (name) => (filter.startsWith("tshark ") ? filter.replace("tshark ", () => `tshark -r ${name} `) : `tcpdump -r ${name} '${filter}'`);
  return files.map(({ path, compression }) => {
    // A name that begins with a dash would be taken for an option.
    const name = shellQuoted(path.startsWith("-") ? `./${path}` : path);
    const unpacker = compression === null ? null : UNPACKERS[compression] ?? "gzip -dc";
    if (/^https?:/.test(path)) return ["curl -sL " + name, unpacker, reader("-")].filter(Boolean).join(" | ");
    return unpacker === null ? reader(name) : `${unpacker} ${name} | ${reader("-")}`;
  }).join("; ");
}
