// The evidence of findings in words: what each number is, with its unit.

/** Names that say less than they mean; the others are read as they are written. */
const EVIDENCE_NAMES = {
  answered_meanwhile: "answered meanwhile", blocker: "probable blocker", burst_bytes: "burst", bucket_bytes: "bucket of tokens", cause: "what they waited for",
  client_again: "client speaks again", connect_attempts: "SYNs until it came about", connect_fraction: "share of their life spent connecting", connection_ids: "connections, some of them", duration_ns: "how long",
  echo_rtt_max_ns: "longest round trip by timestamps", echo_rtt_min_ns: "shortest round trip by timestamps", echo_rtt_samples: "round trips by timestamps", expected: "expected by chance",
  false_alarms_per_capture: "false alarms expected", false_alarms_per_request: "false alarms expected", fifteen_within_ns: "15 of them within", high_ns: "longest", in_flight_max_bytes: "most in flight", is_at_server: "captured at the server",
  is_over: "over when the capture ended", largest_acknowledged_bytes: "largest segment that passed", log10_chance: "chance that it is an accident", low_ns: "shortest", missing: "requests not answered meanwhile",
  median_response_time_ns: "usual response time (median)", never_answered: "never answered", non_idle_ns: "time with data under way", not_captured_ns: "time in which nothing was captured", not_looked_at: "waiting requests not looked at",
  possible_severity: "how bad it is if they waited", overlapped: "sent while an answer was going on", overlapped_fraction: "share of them", overlapped_fraction_low: "share of them, at least", rate_bits_per_s: "rate", reaction_distance: "how much requests change what comes next (0 to 1)",
  has_after: "it ended before the capture", has_before: "it began within the capture", still_waiting: "still waiting at the end", usual_residence_ns: "how long requests were there otherwise", stretches: "how often", longest_ns: "longest", longest_wait_ns: "longest wait", answered: "answered",
  released_within_ns: "nine of ten answered within", requests_fraction: "share of all requests", residence_ns: "how long requests were there", rtt_min_ns: "shortest round trip", rtt_p95_ns: "95th percentile of round trips",
  rtt_samples: "round trips", rule: "rule", scale_ns: "slices of", server_again: "server speaks again", silent_ns: "longest time without an answer", spoke_again: "silent connection that spoke again", syns_dropped: "SYNs dropped",
  time_fraction: "share of the time", times: "how often", together_ns: "together", waited_ns: "waited, all together", window_limited_ns: "time held back by the window", window_max_bytes: "largest window", zero_window_ns: "time with a closed window",
};

const CAUSES = {
  request: "one request", server: "the server as a whole", either: "one request, or the server as a whole", unseen: "nothing that is seen here", alone: "unknown: there was only one",
  unheard: "unknown: nobody was heard",
};

/** What a number means by the end of its name. */
const EVIDENCE_UNITS = [
  [/_bits_per_s$/, (value) => scaled(value, 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])], [/_per_s$/, rate], [/_ns$/, duration], [/(^|_)bytes$/, size], [/_fraction(_low)?$/, percent],
];

function evidenceName(name) {
  if (name in EVIDENCE_NAMES) return EVIDENCE_NAMES[name];
  return name.replace(/_(bits_per_s|per_s|ns|bytes)$/, "").replaceAll("_", " ");
}

/** A value of the evidence in words: lists one by one, others by name. */
function evidenceText(name, value) {
  if (isUnknown(value)) return UNKNOWN;
  if (Array.isArray(value)) return value.length === 0 ? "none" : value.map((each) => evidenceText("", each)).join(", ");
  if (typeof value === "object") return Object.entries(value).map(([own, each]) => `${evidenceName(own)} ${evidenceText(own, each)}`).join("; ");
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (name === "cause") return CAUSES[value] ?? value;
  if (typeof value !== "number") return String(value);
  if (name === "log10_chance") return `10${superscript(Math.round(value))}`;
  if (name === "false_alarms_per_capture") return `one in ${count(1 / value)} captures`;
  if (name === "false_alarms_per_request") return `one in ${count(1 / value)} requests`;
  const unit = EVIDENCE_UNITS.find(([end]) => end.test(name));
  if (unit !== undefined) return unit[1](value);
  // Numbers of ports, connections and requests are names: their digits are not in groups.
  return /(_port|_id|_index|^)$/.test(name) ? String(value) : number(value);
}

function superscript(exponent) {
  return String(exponent).replace(/[-\d]/g, (digit) => (digit === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]));
}

function evidenceList(evidence) {
  const lines = Object.entries(evidence).filter(([, value]) => !isUnknown(value)).map(([name, value]) => [evidenceName(name), evidenceText(name, value)]);
  return element("table", {}, element("tbody", {}, lines.map(([name, value]) => element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)))));
}
