// The table of connections.

const STATE_TEXTS = {
  unanswered: "no answer to its SYN", handshaking: "stopped in the handshake", refused: "refused", closed: "closed",
  client_reset: "reset by the client", server_reset: "reset by the server", half_closed: "half closed", open: "still open",
};

/** A sum of which a part is unknown is unknown. */
function sumOrUnknown(one, other) {
  return isUnknown(one) || isUnknown(other) ? null : one + other;
}

function connectionTable(report) {
  const { rows, seen } = report.plots.connections, { ends } = report.plots;
  const column = (name, title, meaning, write, kind = "count", value = (row) => row[name]) => ({ name, title, meaning, kind, value, text: (each, row) => write(each, row) });
  const table = new BigTable({
    id: "connection-table", caption: "Connections, the worst first", rows, example: "retransmissions > 0",
    columns: [
      column("connection_id", "connection", "The frame that opened it", (value) => String(value)),
      column("client", "client", "Who sent the SYN", String, "endpoint", (row) => ends[row.end][0]),
      column("server", "server", "Whose service it is", String, "endpoint"),
      column("start", "began", "Seconds after the first instant", (ns) => `${(ns / SECOND).toFixed(3)} s`, "time", (row) => row.start_ns),
      column("duration", "lasted", "From its first segment to its last", duration, "time", (row) => row.duration_ns),
      column("requests", "requests", "Answered requests", count),
      column("unanswered", "unanswered", "1 if its last request had no answer when the connection or the capture ended", count),
      column("retransmissions", "sent again", "Segments sent again, both sides", count, "count", (row) => sumOrUnknown(row.client_retransmissions, row.server_retransmissions)),
      column("bytes", "bytes", "Both sides", size, "size", (row) => sumOrUnknown(row.client_bytes, row.server_bytes)),
      column("rtt", "round trip", "The larger of both directions' medians, as seen where it was captured", duration, "time", (row) => row.rtt_p50_ns),
      column("zero_window", "window closed", "How long a window was closed", duration, "time", (row) => row.zero_window_ns),
      column("state", "ended", "How far it came", (value) => STATE_TEXTS[value] ?? UNKNOWN, "word"),
      column("limited_by", "limited by", "The largest part of its time", (value) => PART_TEXTS[value] ?? UNKNOWN, "word"),
    ],
    act: (row) => [copyButton(ends[row.end][1], "Filter"), " ",
      element("button", { type: "button", "aria-label": `Zoom to connection ${row.connection_id}`, onclick: () => report.view.showAround(row.start_ns / SECOND, (row.start_ns + row.duration_ns) / SECOND, 0.05) }, "Zoom")],
  });
  const which = seen > rows.length ? `The ${count(rows.length)} with most segments sent again, failures and unanswered requests, then the longest, of ${count(seen)}.` : `${counted(seen, "connection")}${seen > 1 ? ", those with trouble first" : ""}.`;
  return { table, host: element("div", {}, element("p", { className: "faint" }, which), table.host) };
}
