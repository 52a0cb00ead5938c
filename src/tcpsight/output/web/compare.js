// The page of a comparison: for each service the verdict, the shift of its response times, throughput at equal load, failures.

const VERDICTS = {
  worse: ["Worse", "critical"], within_tolerance: ["Worse, but not by more than is tolerated", "warning"], better: ["Better", "info"],
  no_difference: ["No difference", "info"], too_little_data: ["Too little data to tell", "warning"],
};
const SHARES = {
  unanswered: "Requests never answered", failed: "Connections failed", refused: "… of them refused", no_answer: "… without answer",
  reset: "Connections reset", retransmitted: "Segments sent again",
};
const DURATIONS = { connect: "Set-up", client_round_trip: "Round trip, client's data", server_round_trip: "Round trip, server's data" };
const WORSE = {
  response_time: "response times", failures: "failures", throughput: "throughput at equal concurrency", retransmissions: "segments sent again",
  vanished: "it is gone: nothing was asked and answered any more", findings: "a critical finding, or one that may be",
};
const WHEN = ["before", "after"];

/** `+10.2 %` of a ratio; beyond tenfold `×12`. */
function changeText(ratio) {
  if (isUnknown(ratio)) return UNKNOWN;
  return ratio >= 10 || (ratio > 0 && ratio <= 0.1) ? `×${number(ratio)}` : `${signed(100 * (ratio - 1), 1)} %`;
}

function pointsText(difference) {
  return isUnknown(difference) ? UNKNOWN : `${signed(100 * difference, 2)} %`;
}

function signed(value, digits) {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : (value > 0 ? "+" : "−") + text;
}

/** An interval; one without an end by the other. */
function intervalText(row, write) {
  if (isUnknown(row.low)) return isUnknown(row.high) ? UNKNOWN : `at most ${write(row.high)}`;
  return isUnknown(row.high) ? `at least ${write(row.low)}` : `${write(row.low)} to ${write(row.high)}`;
}

/** Whether an interval lies wholly on one side of no change. */
function isBeyond(row, none) {
  return (!isUnknown(row.low) && row.low > none) || (!isUnknown(row.high) && row.high < none);
}

function quantileText(row) {
  return `p${Number((100 * row.quantile).toPrecision(10))}`;
}

function endpointText(address, port) {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

function serviceName(service) {
  const before = endpointText(service.server_address, service.server_port);
  const after = endpointText(service.after_server_address, service.after_server_port);
  return after === before ? before : `${before}, after it ${after}`;
}

/** By how much throughput or retransmissions are worse. */
function howMuch(service, kind) {
  const equal = service.throughput_at_equal_concurrency, again = service.shares.find((row) => row.name === "retransmitted");
  if (kind === "throughput") return ` ${changeText(equal.ratio)} (${intervalText(equal, changeText)})`;
  return kind === "retransmissions" ? ` ${pointsText(again.difference)} (${intervalText(again, pointsText)})` : "";
}

/** What of the numbers that decide shows a difference, and what else is worse; else what would have been found. */
function reasons(service) {
  const times = service.response_time.filter((row) => row.is_decisive && isBeyond(row, 1))
    .map((row) => `${row.quantile === 0.5 ? "median" : quantileText(row)} ${changeText(row.ratio)} (${intervalText(row, changeText)})`);
  const shares = service.shares.filter((row) => row.is_decisive && isBeyond(row, 0))
    .map((row) => `${SHARES[row.name].toLowerCase()} ${pointsText(row.difference)} (${intervalText(row, pointsText)})`);
  const more = service.worse.filter((kind) => kind !== "response_time" && kind !== "failures").map((kind) => WORSE[kind] + howMuch(service, kind));
  if (times.length + shares.length + more.length > 0) return [...times, ...shares, ...more].join(", ");
  if (service.refusal !== null) return `Response times are not compared: ${service.refusal}.`;
  if (!isUnknown(service.detectable_fraction)) return `A median longer by ${percent(service.detectable_fraction)} would have been found.`;
  return service.verdict === "too_little_data" ? `Requests: ${count(service.requests.before)} before, ${count(service.requests.after)} after.` : "";
}

/** Which findings came and went: unless one that came is critical, they decide nothing. */
function movedFindings(service) {
  return [["came", ["worse", "within_tolerance"]], ["went", ["better"]]].flatMap(([when, alike]) => {
    const kinds = [...new Set(service.findings[when].map((row) => row.kind.replaceAll("_", " ")))];
    if (kinds.length === 0) return [];
    const joint = alike.includes(service.verdict) ? "And" : "But";
    return [element("p", {}, `${joint} ${kinds.length === 1 ? "a finding" : `${kinds.length} findings`} ${when}: ${kinds.join(", ")}.`)];
  });
}

function verdictCard(service, id) {
  const [text, style] = VERDICTS[service.verdict];
  return element("li", { className: `finding ${style}` }, element("span", { className: "severity" }, text),
    element("a", { href: `#${id}` }, serviceName(service)), element("p", {}, reasons(service)), movedFindings(service));
}

/** Services that are in the capture before only, and are missed. */
function vanishedCards(facts) {
  const compared = new Set(facts.services.map((service) => endpointText(service.server_address, service.server_port)));
  return facts.worse.map((each) => [each, endpointText(each.server_address, each.server_port)])
    .filter(([each, name]) => each.kind === "vanished" && !compared.has(name))
    .map(([, name]) => element("li", { className: "finding critical" }, element("span", { className: "severity" }, "Worse"), element("strong", {}, name), element("p", {}, "It is gone: nothing was asked and answered any more.")));
}

/** What of that which is worse the exit status was told to leave out. */
function uncounted(facts) {
  const left = facts.worse.filter((each) => !each.is_counted).map((each) => `${endpointText(each.server_address, each.server_port)}: ${WORSE[each.kind]}`);
  return left.length === 0 ? null : element("p", { className: "note" }, `Worse, but told not to count: ${left.join("; ")}.`);
}

function factCards(service) {
  const pairs = [
    ["requests", (when) => count(service.requests[when])], ["throughput", (when) => rate(service.load[when].throughput_per_s)],
    ["requests at a time", (when) => number(service.load[when].concurrency)], ["mean response time", (when) => duration(service.load[when].mean_response_time_ns)],
  ];
  if (WHEN.some((when) => service.in_flight_at_end[when] > 0)) pairs.push(["in flight at the end of the capture", (when) => count(service.in_flight_at_end[when])]);
  return element("dl", { className: "facts" }, pairs.map(([name, write]) => element("div", {}, element("dt", {}, name), element("dd", {}, write("after"), element("small", {}, `before: ${write("before")}`)))));
}

/** The change of each quantile with its interval, and what is tolerated. */
function shiftFigure(service, id, tolerance) {
  const rows = service.response_time;
  return new Figure({
    id: `${id}-shift`, title: "Change of the response time, quantile by quantile", height: 320,
    about: "Points are after / before, bars hold the truth with the confidence that is told below; a bar that does not touch the line at 0 % shows a difference. The two large points decide; beyond the dotted line is more than is tolerated.",
    plot: () => {
      const known = rows.filter((row) => !isUnknown(row.ratio)), colours = palette();
      if (known.length === 0) return { empty: "There are no requests on one side." };
      const at = known.map((row) => quantileText(row)), log = (ratio) => 100 * (ratio - 1);
      const trace = {
        type: "scatter", mode: "markers", x: at, y: known.map((row) => log(row.ratio)), name: "change",
        marker: { color: colours.series[0], size: known.map((row) => (row.is_decisive ? 13 : 7)) },
        error_y: { type: "data", symmetric: false, color: colours.series[0], thickness: 1.5, array: known.map((row) => (isUnknown(row.high) ? 0 : log(row.high) - log(row.ratio))), arrayminus: known.map((row) => (isUnknown(row.low) ? 0 : log(row.ratio) - log(row.low))) },
        text: known.map((row) => `${quantileText(row)}: ${changeText(row.ratio)}<br>${intervalText(row, changeText)}`), hoverinfo: "text",
      };
      const line = (y, dash, colour) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: y, y1: y, line: { color: colour, width: 1.5, dash } });
      return { traces: [trace], layout: {
        shapes: [line(0, "solid", colours.faint), line(100 * tolerance, "dot", colours.bad)], showlegend: false,
        xaxis: { type: "category" }, yaxis: { title: { text: "change" }, ticksuffix: " %", zeroline: false },
      } };
    },
    table: () => ({
      caption: "Response times before and after", head: ["quantile", "before", "after", "change", "interval", "would be found"],
      rows: rows.map((row) => [quantileText(row) + (row.is_decisive ? " (decides)" : ""), duration(row.before_ns), duration(row.after_ns), changeText(row.ratio), intervalText(row, changeText), percent(row.detectable_fraction)]),
    }),
  });
}

/** Both distributions, by their quantiles. */
function quantileFigure(service, id) {
  return new Figure({
    id: `${id}-quantiles`, title: "Response times before and after", height: 300,
    about: "Each quantile of the response time, on a logarithmic scale.",
    plot: () => {
      const colours = palette(), rows = service.response_time;
      const values = rows.flatMap((row) => WHEN.map((when) => row[`${when}_ns`])).filter((value) => value > 0);
      if (values.length === 0) return { empty: "There are no requests." };
      const logs = values.map(Math.log10), low = Math.min(...logs) - 0.1, high = Math.max(...logs) + 0.1;
      const traces = WHEN.map((when, i) => ({
        type: "scatter", mode: "lines+markers", name: when, x: rows.map(quantileText), y: rows.map((row) => (row[`${when}_ns`] > 0 ? Math.log10(row[`${when}_ns`]) : null)),
        line: { color: colours.series[i], dash: i === 0 ? "dot" : "solid" }, marker: { symbol: i === 0 ? "circle-open" : "circle" },
        text: rows.map((row) => `${quantileText(row)} ${when}: ${duration(row[`${when}_ns`])}`), hoverinfo: "text",
      }));
      return { traces, layout: { xaxis: { type: "category" }, yaxis: { title: { text: "response time" }, range: [low, high], ...durationTicks(low, high) } } };
    },
  });
}

/** Throughput where both had as many requests in progress. */
function equalLoadFigure(service, id) {
  const equal = service.throughput_at_equal_concurrency;
  return new Figure({
    id: `${id}-load`, title: "Throughput at equal concurrency", height: 300,
    about: "Intervals with as many requests in progress: a server that is asked more answers more slowly without being worse. Points are means of a level, lines what is done for each request in progress there. The lower line at the same place is worse.",
    plot: () => {
      if (equal.refusal !== null) return { empty: `Not compared: ${equal.refusal}.` };
      const colours = palette();
      const { levels } = equal, wide = levels[levels.length - 1].high_concurrency > 3 * levels[0].low_concurrency;
      const rangemode = wide ? "tozero" : "normal"; // one level alone would be squeezed into a corner
      const traces = WHEN.flatMap((when, i) => {
        const own = levels.map((level) => level[when]), dash = i === 0 ? "dot" : "solid", line = { color: colours.series[i], dash };
        // What each capture does for a request in progress, over the whole level: so both can be read at the same place.
        const ends = levels.flatMap(({ low_concurrency: low, high_concurrency: high }, k) => [low, high, null].map((n) => [n, n === null ? null : (n * own[k].throughput_per_s) / own[k].concurrency]));
        return [
          { type: "scatter", mode: "lines", x: ends.map(([n]) => n), y: ends.map(([, x]) => x), line, connectgaps: false, showlegend: false, hoverinfo: "skip" },
          {
            type: "scatter", mode: "markers", name: when, x: own.map((each) => each.concurrency), y: own.map((each) => each.throughput_per_s),
            marker: { size: 9, symbol: i === 0 ? "circle-open" : "circle", color: colours.series[i] },
            text: own.map((each) => `${number(each.concurrency)} at a time ${when}: ${rate(each.throughput_per_s)}<br>${counted(each.intervals, "interval")}`), hoverinfo: "text",
          },
        ];
      });
      return { traces, layout: { showlegend: true, xaxis: { title: { text: "requests at a time" }, rangemode }, yaxis: { title: { text: "throughput (1/s)" }, rangemode } } };
    },
    table: () => ({
      caption: `Throughput by concurrency, in intervals of ${duration(equal.interval_ns)}`, head: ["requests at a time", "before", "intervals", "after", "intervals"],
      rows: equal.levels.map((level) => [`${number(level.low_concurrency)} to ${number(level.high_concurrency)}`, ...WHEN.flatMap((when) => [rate(level[when].throughput_per_s), count(level[when].intervals)])]),
    }),
  });
}

function shareTable(service) {
  const text = (share) => (share.of === 0 ? UNKNOWN : `${percent(share.share)} of ${count(share.of)}`);
  const rows = service.shares.filter((row) => row.is_decisive || row.name === "retransmitted" || row.before.events + row.after.events > 0);
  return plainTable("What failed, and what was sent again", ["share", "before", "after", "change", "interval"],
    rows.map((row) => [SHARES[row.name] + (row.is_decisive ? " (decides)" : ""), text(row.before), text(row.after), pointsText(row.difference), intervalText(row, pointsText)]));
}

function durationTable(service) {
  return plainTable("Of connections", ["time", "median before", "after", "p95 before", "after", "counted before", "after"],
    service.durations.map((row) => [DURATIONS[row.name], ...["p50_ns", "p95_ns"].flatMap((name) => WHEN.map((when) => duration(row[when][name]))), ...WHEN.map((when) => count(row[when].count))]));
}

function findingsList(findings) {
  const rows = [["came", "came"], ["went", "went"], ["stayed", "stayed"]].flatMap(([name, text]) => findings[name].map((row) => [text, row]));
  if (rows.length === 0) return element("p", { className: "empty" }, "No findings, before or after.");
  return element("ul", { className: "findings" }, rows.map(([text, row]) => element("li", { className: `finding ${text === "came" ? row.severity : "info"}` },
    element("span", { className: "severity" }, text), element("strong", {}, row.kind.replaceAll("_", " ")), element("p", {}, `${row.severity}: ${row.summary}`))));
}

function serviceSection(service, id, facts) {
  const equal = service.throughput_at_equal_concurrency;
  const told = equal.refusal !== null ? null : element("p", {}, `Throughput at equal concurrency: ${changeText(equal.ratio)} (${intervalText(equal, changeText)}).`);
  const overlapped = service.overlapped.before + service.overlapped.after;
  const note = service.is_overlapped ? element("p", { className: "note" }, `${counted(overlapped, "request was", "requests were")} sent while a response was going on: response times are lower bounds.`) : null;
  return element("section", { id, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title` }, `Service ${serviceName(service)}`),
    element("ul", { className: "findings" }, verdictCard(service, id)), note, factCards(service),
    service.refusal !== null ? null : [shiftFigure(service, id, facts.tolerance_fraction).host, quantileFigure(service, id).host, told, equalLoadFigure(service, id).host].filter((each) => each !== null),
    element("div", { className: "card scroll", tabindex: "0", role: "region", "aria-label": "Failures and connections" }, shareTable(service), durationTable(service)), element("h3", {}, "Findings"), findingsList(service.findings));
}

function head(facts) {
  const captures = WHEN.map((when) => {
    const { files, start, duration_ns: length, broken } = facts[when];
    return [element("p", {}, element("strong", {}, `${when}: `), files.length === 1 ? files[0] : `${files.length} files`, ` – ${duration(length)} from ${start}`),
      broken === null ? null : element("p", { className: "note" }, `The capture breaks off: ${broken}`)];
  });
  return [element("div", { className: "title-line" }, element("h1", {}, "What changed"), themeButton()), ...captures.flat(), uncounted(facts)];
}

function otherServices(facts) {
  const lines = WHEN.map((when) => [when, facts[`only_${when}`]]).filter(([, alone]) => alone.length > 0)
    .map(([when, alone]) => `Only ${when}: ${alone.map((each) => endpointText(each.server_address, each.server_port)).join(", ")}`);
  if (facts.omitted_services > 0) lines.push(`${count(facts.omitted_services)} smaller services are not compared.`);
  return lines.map((line) => element("p", { className: "note" }, line));
}

function showComparison(facts) {
  fill(document.getElementById("top"), head(facts));
  const ids = facts.services.map((_, i) => `service-${i + 1}`);
  const summary = element("section", { id: "verdict", "aria-labelledby": "verdict-title" }, element("h2", { id: "verdict-title" }, "Verdict"),
    element("ul", { className: "findings" }, facts.services.map((service, i) => verdictCard(service, ids[i])), vanishedCards(facts)), otherServices(facts));
  const sections = facts.services.map((service, i) => serviceSection(service, ids[i], facts));
  fill(document.getElementById("main"), facts.services.length > 1 || otherServices(facts).length > 0 ? summary : null, sections);
  const { level, family_level: family } = facts.confidence;
  fill(document.getElementById("foot"), element("p", {}, `Made by tcpsight from packet headers. Intervals hold with ${Number((100 * level).toPrecision(6))} % confidence each: of 100 pairs of captures without a difference at most ${Math.round(100 * (1 - family))} is called different, few long slow spells aside. Tolerated: ${percent(facts.tolerance_fraction)} of response time and throughput, ${percent(facts.failure_tolerance_fraction)} of failures and of segments sent again.`));
}

showComparison(pageData("facts"));
