// What is behind a service: its connections, its slowest or latest requests, and those of one connection.

const DETAILS_MS = 2000;

const REQUEST_COLUMNS = [
  { name: "arrival_ns", title: "arrived", text: (ns) => clock(ns) },
  { name: "response_time_ns", title: "response time", text: duration, isNumber: true },
  { name: "client", title: "client", text: String },
  { name: "request_bytes", title: "request", text: size, isNumber: true },
  { name: "response_bytes", title: "response", text: size, isNumber: true },
  { name: "connection_id", title: "connection", text: String, isNumber: true },
  { name: "request_index", title: "index", text: String, isNumber: true },
];

class Details {
  constructor() {
    this.service = null;
    this.connection = null;
    this.by = "slowest";
    this.connections = new LiveTable({
      id: "connections", caption: "Connections", placeholder: "10.0.0.7, open …", key: (row) => row.connection_id,
      isChosen: (row) => row.connection_id === this.connection?.connection_id,
      act: (row) => ({ title: "Show its requests", run: () => this.lookAt(row) }),
      columns: [
        { name: "client", title: "client", text: String },
        { name: "age_ns", title: "age", text: duration, isNumber: true },
        { name: "state", title: "state", text: (state) => state.replaceAll("_", " ") },
        { name: "requests", title: "requests", text: count, isNumber: true },
        { name: "waiting", title: "waiting", text: count, isNumber: true },
        { name: "client_bytes", title: "sent", text: size, isNumber: true },
        { name: "server_bytes", title: "received", text: size, isNumber: true },
        { name: "retransmissions", title: "sent again", text: count, isNumber: true },
        { name: "connection_id", title: "number", text: String, isNumber: true },
      ],
    });
    this.requests = new LiveTable({ id: "requests", caption: "Requests", key: (row) => `${row.connection_id}-${row.request_index}`, columns: REQUEST_COLUMNS });
    this.title = element("h2", { id: "details-title", tabindex: "-1" });
    this.which = element("h3", { id: "requests-title" });
    this.choices = element("div", { className: "acts" },
      this.button("Slowest", () => this.choose("slowest")), this.button("Latest", () => this.choose("latest")),
      this.button("Of all connections", () => this.lookAt(null)), this.button("Close", () => this.close()));
    this.host = element("section", { id: "details", "aria-labelledby": "details-title", hidden: true, onkeydown: (event) => { if (event.key === "Escape") this.back(); } },
      this.title, this.connections.host, this.which, this.choices, this.requests.host);
    setInterval(() => this.load(), DETAILS_MS);
  }

  button(label, run) {
    return element("button", { type: "button", onclick: run }, label);
  }

  /** Look behind a service. */
  open(service) {
    this.opener = document.activeElement;
    this.service = service;
    this.connection = null;
    this.connections.show([]);
    this.requests.show([]);
    this.host.hidden = false;
    this.load();
    this.host.scrollIntoView({ block: "start" });
    this.title.focus({ preventScroll: true });
  }

  lookAt(connection) {
    this.connection = connection;
    this.load();
  }

  choose(by) {
    this.connection = null;
    this.by = by;
    this.load();
  }

  back() {
    if (this.connection !== null) this.lookAt(null);
    else this.close();
  }

  close() {
    this.service = null;
    this.host.hidden = true;
    document.querySelector("#services tbody tr.is-chosen button")?.focus();
  }

  /** Ask for what there is by now. */
  async load() {
    const { service, connection, by } = this;
    if (service === null || document.hidden) return;
    this.title.textContent = `Connections of ${service}`;
    this.which.textContent = connection === null ? `${by === "slowest" ? "Slowest" : "Latest"} requests of the last slices` : `Latest requests of connection ${connection.connection_id} from ${connection.client}`;
    const of = connection === null ? `service=${encodeURIComponent(service)}&by=${by}` : `connection=${connection.connection_id}`;
    try {
      const [connections, requests] = await Promise.all([`/connections?service=${encodeURIComponent(service)}`, `/requests?${of}`].map(asked));
      if (this.service !== service || this.connection !== connection || this.by !== by) return;
      const { found, rows } = connections;
      this.connections.show(rows, found > rows.length ? `${count(rows.length)} of ${count(found)} shown: the open ones, then those with the most bytes` : counted(found, "connection"));
      this.requests.show(requests.rows);
    } catch {
      // The page says at its top when nobody answers.
    }
  }
}

async function asked(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(answer.statusText);
  return answer.json();
}
