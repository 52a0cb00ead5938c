// The page of a report, put together: findings first, then the plots of one service, then connections.

class Report {
  constructor() {
    this.facts = pageData("facts");
    this.plots = pageData("plots");
    bucketsPerOctave = this.plots.per_octave;
    const span = (this.plots.span_ns ?? 0) / SECOND;
    this.view = new View(span);
    this.services = this.facts.services.map((each, i) => new Service(each, this.plots.services[i], this.plots));
    this.service = this.services[0]?.unpack();
    this.findings = this.facts.findings.map((finding) => ({
      finding, start: finding.start_ns / SECOND, end: Math.max(finding.end_ns, finding.start_ns) / SECOND,
    }));
    this.build();
    // A link that says what to show: #service=…&from=…&to=…
    this.applyAddress();
    addEventListener("hashchange", () => this.applyAddress());
    this.view.listeners.push(() => this.tellAddress());
  }

  build() {
    fill(document.getElementById("top"), captureHead(this));
    const main = document.getElementById("main");
    const section = (id, title, ...content) => element("section", { id, "aria-labelledby": `${id}-title` }, element("h2", { id: `${id}-title` }, title), ...content);
    if (this.service === undefined) {
      if (this.facts.capture.frames === 0) {
        fill(main, section("findings", "Findings", element("p", { className: "empty" }, this.facts.capture.broken === null ? "The capture holds no frames: there is nothing to tell." : "Nothing of the capture can be read: there is nothing to tell.")));
        return;
      }
      fill(main, section("findings", "Findings", findingList(this)), element("p", { className: "empty" }, "There is no TCP connection in what was chosen of the capture: nothing to plot."), section("unseen", "Not understood", unseenList(this)));
      return;
    }
    this.factsHost = element("div");
    this.modelWords = element("div");
    this.list = new RequestList(this);
    this.connections = connectionTable(this);
    this.sequences = new SequenceGraph(this);
    this.serviceFigures = [this.completions(), this.arrivalMap(), ...timeFigures(this), this.cumulative(), scalabilityFigure(this), accountFigure(this)];
    const [completions, arrivals, ...rest] = this.serviceFigures.map((figure) => figure.host);
    const over = rest.slice(0, 5), [cumulative, model, account] = rest.slice(5);
    fill(main,
      section("findings", "Findings", findingList(this)),
      section("service", "Service", this.factsHost),
      this.bar(),
      section("requests", "Requests", completions, this.list.host),
      section("over-time", "Over time", ...over),
      section("response-times", "Response times", arrivals, cumulative),
      section("capacity", "Capacity", this.modelWords, model),
      section("time", "Time of connections", account),
      section("connections", "Connections", this.connections.host),
      section("segments", "Segments of the worst connections", this.sequences.hosts()),
      section("unseen", "Not understood", unseenList(this)));
    fill(document.getElementById("foot"), element("p", {}, "Made by tcpsight from packet headers. Keys in a plot: + and − zoom, arrows move, 0 shows the whole capture. Drag to zoom, click a slice to look into it, double-click to see all."));
    this.showService();
  }

  bar() {
    this.select = element("select", { id: "service-choice", onchange: () => this.choose(this.services[Number(this.select.value)]) },
      this.services.map((each, i) => element("option", { value: i }, `${each.name} (${counted(each.facts.requests, "request")})`)));
    return element("div", { className: "bar" }, element("div", {}, element("label", {}, "Service ", this.select), viewBar(this.view)));
  }

  completions() {
    return new Figure({
      id: "completions", title: "Response time of each request, at its completion", height: 380, view: this.view,
      about: "Requests that ended together stand above each other: a stack is a queue that was let go, and its first is the likely blocker. A horizontal band is a kind of request that always takes as long. Colour is how many; when few are in sight, each is a point.",
      plot: () => completionPlot(this),
      onPoint: (point) => this.lookAtPoint(point), onTime: (at) => this.lookAtBand(at),
      table: () => sliceTable(this, "Response times", [["completions", (level, i) => count(level.completions[i])], ["median", (level, i) => duration(level.p50_ns[i])], ["slowest", (level, i) => duration(level.max_ns[i])]]),
    });
  }

  arrivalMap() {
    return new Figure({
      id: "arrival-map", title: "Latency heat map", height: 320, view: this.view, plot: () => arrivalPlot(this), onPoint: (point) => this.lookAtPoint(point), onTime: (at) => this.lookAtBand(at),
      about: "The same requests at their arrival: what arrives during a stall waits for its end, so a stall leans to the right and down. Lines are the median and the 99th percentile.",
      table: () => sliceTable(this, "Response times by arrival", [["arrivals", (level, i) => count(level.arrivals[i])], ["median", (level, i) => duration(level.p50_ns[i])], ["99th percentile", (level, i) => duration(level.p99_ns[i])], ["slowest", (level, i) => duration(level.max_ns[i])]]),
    });
  }

  cumulative() {
    return new Figure({
      id: "cumulative", title: "Distribution of the response time", height: 300, plot: () => cumulativePlot(this), table: () => cumulativeTable(this),
      about: "Which share of the requests took less than so long; when the plots show a part of the time, that part beside the whole.",
    });
  }

  choose(service) {
    if (service === undefined || service === this.service) return;
    this.service = service.unpack();
    this.showService();
    this.tellAddress();
  }

  showService() {
    this.select.value = String(this.services.indexOf(this.service));
    document.getElementById("service-title").textContent = `Service ${this.service.name}`;
    fill(this.factsHost, serviceFacts(this));
    fill(this.modelWords, scalabilityWords(this));
    this.list.show();
    this.serviceFigures.forEach((figure) => figure.change());
    this.view.listeners.push(this.cumulativeListener ??= () => this.serviceFigures.find((figure) => figure.id === "cumulative").change());
  }

  /** Findings of the shown service. */
  findingsHere() {
    const { server_address: address, server_port: port } = this.service.facts;
    return this.findings.filter(({ finding }) => finding.server_address === address && finding.server_port === port);
  }

  serviceOf(finding) {
    return this.services.find(({ facts }) => facts.server_address === finding.server_address && facts.server_port === finding.server_port);
  }

  /** Show a finding in the plots: its service, its time. */
  showFinding({ finding, start, end }) {
    this.choose(this.serviceOf(finding));
    this.view.showAround(start, end, 0.3);
    moveTo("completions");
  }

  /** Look into one slice: zoom to it, and go to the list of its requests. */
  lookAt(level, i) {
    this.view.showAround(level.start[i], level.start[i] + level.length[i], 0.25);
    moveTo("requests-in-view");
  }

  /** Look into the finding whose band lies at a time, the shortest of several. */
  lookAtBand(at) {
    const [found] = markedFindings(this).filter(({ start, end }) => start <= at && at <= end).sort((a, b) => a.end - a.start - (b.end - b.start));
    if (found !== undefined) this.view.showAround(found.start, found.end, 0.3);
  }

  lookAtPoint(point) {
    const step = (this.view.range[1] - this.view.range[0]) / 40;
    this.view.show(point.x - step, point.x + step);
    moveTo("requests-in-view");
  }

  showConnection(number) {
    this.connections.table.filter(`connection_id = ${number}`);
    const i = (this.plots.sequences ?? []).findIndex((each) => each.connection_id === number);
    if (i >= 0) this.sequences.choose(i);
    moveTo("connections");
  }

  applyAddress() {
    const asked = new URLSearchParams(location.hash.slice(1));
    const low = Number(asked.get("from") ?? NaN), high = Number(asked.get("to") ?? NaN);
    if (asked.has("service")) this.choose(this.services.find((each) => each.name === asked.get("service")));
    if (low < high) this.view.show(low, high);
  }

  /** Keep in the address what is shown, for a link to it; not at every step of a movement, which browsers refuse. */
  tellAddress() {
    clearTimeout(this.addressTimer);
    this.addressTimer = setTimeout(() => {
      const parts = [], [low, high] = this.view.range;
      if (this.service !== this.services[0]) parts.push(`service=${encodeURIComponent(this.service.name)}`);
      if (!this.view.isWhole) parts.push(`from=${Number(low.toFixed(9))}`, `to=${Number(high.toFixed(9))}`);
      // Without the fragment it is the page as it opens; a place on the page that was gone to is of no use then.
      history.replaceState(null, "", parts.length > 0 ? `#${parts.join("&")}` : location.pathname + location.search);
    }, 250);
  }
}

/** Scroll to a part of the page, and let keys go on from there. */
function moveTo(id) {
  const host = document.getElementById(id);
  host.scrollIntoView({ block: "nearest" });
  const target = host.querySelector("[tabindex]") ?? host;
  if (!target.hasAttribute("tabindex")) target.setAttribute("tabindex", "-1");
  target.focus({ preventScroll: true });
}

new Report();
