// What the report says in words: the capture, findings, the numbers of a service, what was not understood.

function captureHead(report) {
  const { capture } = report.facts;
  const names = capture.files.map((each) => each.path);
  const title = names.length === 1 ? names[0] : `${names.length} files`;
  const formats = [...new Set(capture.files.map((each) => [each.format, each.compression].filter(Boolean).join(" ")))].join(", ");
  const of = capture.duration_ns === null ? [] : [`${duration(capture.duration_ns)} from ${report.plots.begin ?? UNKNOWN}`];
  const { selection } = capture;
  const chosen = [selection.servers.length > 0 ? `services ${selection.servers.join(", ")}` : null, selection.filter === null ? null : `frames that match ${selection.filter}`,
    report.plots.part[0] === null ? null : `from ${report.plots.part[0]}`, report.plots.part[1] === null ? null : `before ${report.plots.part[1]}`].filter(Boolean);
  const times = capture.response_time;
  const interfaces = [...new Set(capture.interfaces.map((each) => each.name).filter(Boolean))];
  return [
    element("div", { className: "title-line" }, element("h1", {}, title), themeButton()),
    element("p", {}, [...of, counted(capture.frames, "frame") + (formats ? ` (${formats})` : ""), counted(capture.segments, "TCP segment"), counted(capture.connections, "connection")].join(" · ")),
    interfaces.length > 0 ? element("p", { className: "faint" }, `Captured at ${interfaces.slice(0, 8).join(", ")}${interfaces.length > 8 ? " and others" : ""}.`) : null,
    chosen.length > 0 ? element("p", { className: "faint" }, `Only ${chosen.join("; ")}.`) : null,
    times.start !== "request_last" || times.end !== "response_first" ? element("p", { className: "faint" }, `Response time runs from ${times.start} to ${times.end}.`) : null,
    ...capture.remarks.map((note) => element("p", { className: "note" }, `${note[0].toUpperCase()}${note.slice(1)}.`)),
    capture.broken === null ? null : element("p", { className: "note" }, `The capture breaks off: ${capture.broken}. What came before it is told here.`),
  ];
}

/** Of a part of the time that lies in a stall. */
const WAITED_THROUGH = "No request arrived in the time asked for: who waited came before it. How many did is shown over time.";

const FIRST_FINDINGS = 3;
const SEVERITY_MARKS = { critical: "▲ critical", warning: "◆ warning", info: "● info" };

function findingList(report) {
  if (report.findings.length === 0) return element("p", { className: "card" }, `Nothing found. Looked for: ${report.plots.looked_for.join(", ")}. The plots show how each service performed.`);
  const items = report.findings.map((each) => findingItem(report, each)), list = (some) => element("ul", { className: "findings" }, some);
  if (items.length <= FIRST_FINDINGS + 1) return list(items);
  return element("div", {}, list(items.slice(0, FIRST_FINDINGS)), element("details", { className: "more" }, element("summary", {}, `${count(items.length - FIRST_FINDINGS)} more findings`), list(items.slice(FIRST_FINDINGS))));
}

function findingItem(report, { finding, start, end }) {
  const kind = finding.kind.replaceAll("_", " ");
  const when = `${start.toFixed(3)} s to ${end.toFixed(3)} s`;
  const link = report.serviceOf(finding) === undefined ? element("span", { className: "faint" }, "Its service is not among those shown (--top N)")
    : element("a", { href: "#completions", onclick: (event) => { event.preventDefault(); report.showFinding({ finding, start, end }); } }, "Show in the plots");
  const evidence = element("details", {}, element("summary", {}, "Evidence"), evidenceList(finding.evidence));
  return element("li", { className: `finding ${finding.severity}` },
    element("div", {}, element("span", { className: "severity" }, SEVERITY_MARKS[finding.severity]), element("strong", {}, `${kind[0].toUpperCase()}${kind.slice(1)}`), ` at ${finding.subject}`),
    element("p", {}, finding.summary),
    element("p", { className: "faint" }, [when, ...(finding.connections > 0 ? [counted(finding.connections, "connection")] : []), `confidence ${percent(finding.confidence)}`].join(" · ")),
    element("div", { className: "acts" }, link, finding.connection_id > 0 ? element("a", { href: "#connections", onclick: (event) => { event.preventDefault(); report.showConnection(finding.connection_id); } }, `Connection ${finding.connection_id}`) : null), evidence);
}

function serviceFacts(report) {
  const { facts } = report.service, times = facts.response_time;
  const card = (title, value, more) => element("div", {}, element("dt", {}, title), element("dd", {}, value, more === undefined ? null : element("small", {}, more)));
  const quantiles = Object.entries(times).filter(([name]) => /^p[\d.]+_ns$/.test(name));
  const states = Object.entries(facts.connections.states).map(([state, n]) => `${count(n)} ${STATE_TEXTS[state] ?? state}`).join(", ");
  return element("div", {},
    element("dl", { className: "facts" },
      card("requests", count(facts.requests), rate(facts.throughput_per_s)),
      facts.unanswered > 0 ? card("never answered", count(facts.unanswered), "requests") : null,
      facts.in_flight_at_end > 0 ? card("in flight", count(facts.in_flight_at_end), "at the end of the capture") : null,
      ...quantiles.map(([name, ns]) => card(`${name.slice(1, -3)}th percentile`.replace("50th percentile", "median"), duration(ns))),
      card("slowest", duration(times.max_ns)), card("concurrency", number(facts.concurrency), `utilization ${percent(facts.utilization_fraction)}`),
      card("connections", count(facts.connections.count), states)),
    ...serviceNotes(facts));
}

const VANTAGE_TEXTS = {
  server: "at the server: response times are its own", client: "at the client: response times include the path to the server",
  between: "between both: response times include the rest of the path to the server",
};

/** What makes the numbers of a service mean less than they seem to. */
function serviceNotes(facts) {
  const notes = [];
  if (facts.turns.reason !== null) notes.push(`No response times are told: ${facts.turns.reason}.`);
  else if (facts.is_waited_through) notes.push(WAITED_THROUGH);
  else if (facts.requests === 0) notes.push(`No request ${facts.concurrency > 0 ? "that arrived in the time asked for" : "of this service"} was answered, so there are no response times.`);
  else if (facts.turns.doubt !== null) notes.push(`Response times may mean nothing: ${facts.turns.doubt}.`);
  if (facts.turns.reason === null) notes.push(...Object.entries(VANTAGE_TEXTS).filter(([name]) => facts.connections.vantages?.[name] > 0).map(([name, text]) => `${counted(facts.connections.vantages[name], "connection was", "connections were")} captured ${text}.`));
  notes.push(...facts.remarks.map((note) => `${note}.`));
  if (facts.requests === 1) notes.push("There is one request only: plots over time have one point.");
  if (facts.connections.reaching_beyond > 0) notes.push(`${counted(facts.connections.reaching_beyond, "connection reaches", "connections reach")} beyond the time asked for: how they ended, what was lost and where their time went is of their whole lives. Set-up is of those that began in it.`);
  if (facts.connections.unsequenced > 0) notes.push("Sequence numbers are not known for some connections: segments sent again cannot be told there.");
  return notes.map((text) => element("p", { className: "note" }, text));
}

function unseenList(report) {
  const rows = report.facts.unseen;
  const omitted = report.facts.omitted;
  return [
    omitted.services > 0 ? element("p", {}, `${counted(omitted.services, "smaller service")} not shown, with ${counted(omitted.requests, "request")} and ${counted(omitted.connections, "connection")} (--top N).`) : null,
    rows.length === 0 ? element("p", {}, "Everything in the capture was understood.") : plainTable("What was not understood, or not counted as it stands", ["how many", "what", "first at"],
      rows.map((row) => [count(row.count), row.meaning + (isUnknown(row.furthest_back_ns) ? "" : `, by up to ${duration(row.furthest_back_ns)}`), row.first_frame === null ? (row.first_line === null ? "" : `line ${row.first_line}`) : `frame ${row.first_frame}`])),
  ];
}
