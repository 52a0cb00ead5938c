// Time–sequence graphs: what was sent when, what was acknowledged, and how much the receiver would take.

const FLAG_TEXTS = [[2, "SYN"], [1, "FIN"], [4, "RST"], [32, "URG"]];
const KIND_MARKS = {
  retransmission: ["sent again", "x", "bad"], out_of_order: ["fills a hole", "diamond", "warn"], keep_alive: ["keep-alive", "circle-open", "faint"],
  zero_window_probe: ["zero-window probe", "square-open", "warn"], duplicate: ["captured twice", "circle-open", "faint"],
};

/** One connection's excerpt, unpacked. */
class Sequence {
  constructor(packed) {
    Object.assign(this, { id: packed.connection_id, client: packed.client, server: packed.server, why: packed.why, seen: packed.seen, kinds: packed.kinds });
    this.at = integers(packed.time_ns).map((ns) => (packed.begin_ns + ns) / SECOND);
    const offsets = ({ least, above }) => integers(above).map((value) => (value === 0 ? null : least + value - 1));
    this.offset = offsets(packed.offset);
    this.acked = offsets(packed.acked);
    this.window = orUnknown(integers(packed.window));
    this.frame = summed(integers(packed.frame_number));
    for (const name of ["payload_bytes", "new_bytes", "direction", "kind", "flags"]) this[name] = integers(packed[name]);
    this.begin = this.at.reduce((a, b) => Math.min(a, b));
    this.end = this.at.reduce((a, b) => Math.max(a, b));
    this.sent = [0, 1].map((side) => this.indices(side).reduce((sum, i) => sum + this.payload_bytes[i], 0));
  }

  indices(side) {
    return this.at.map((_, i) => i).filter((i) => this.direction[i] === side);
  }
}

class SequenceGraph {
  constructor(report) {
    this.report = report;
    this.all = report.plots.sequences ?? [];
    this.view = new View(report.view.whole[1]);
    this.choice = element("select", { onchange: () => this.choose(Number(this.choice.value)), id: "sequence-choice" },
      this.all.map((each, i) => element("option", { value: i }, `${each.connection_id}: ${each.client} → ${each.server} (${each.why})`)));
    this.side = element("select", { onchange: () => this.figure.change(), id: "sequence-side" }, element("option", { value: 0 }, "what the client sent"), element("option", { value: 1 }, "what the server sent"));
    this.words = element("p", { className: "faint" });
    this.figure = new Figure({
      id: "sequence", title: "Bytes over time", about: "Each mark is a segment from its first byte to its last; below it what the other side acknowledged, above it how far the window reached.", height: 420, view: this.view,
      plot: () => this.plot(), table: () => this.table(),
    });
    // What is looked at in the other plots is looked at here, where the connection has it.
    report.view.listeners.push(() => this.follow());
    this.view.listeners.push(([low, high]) => { if (!this.isFollowing) report.view.show(low, high); });
    if (this.all.length > 0) this.choose(0);
  }

  hosts() {
    if (this.report.plots.sequences === null) return [element("p", { className: "empty" }, "These graphs need the segments of single connections, for which the capture is read a second time: a pipe, or a file that is still being written, cannot be. Give a file that is finished.")];
    if (this.all.length === 0) return [element("p", { className: "empty" }, "No connection is worth a graph: none has findings, slow requests or segments sent again.")];
    return [element("div", { className: "filters" }, element("label", {}, "Connection ", this.choice), element("label", {}, "Direction ", this.side)), this.words, this.figure.host];
  }

  choose(i) {
    this.sequence = new Sequence(this.all[i]);
    this.choice.value = String(i);
    const { sequence } = this;
    this.side.value = sequence.sent[1] > sequence.sent[0] ? "1" : "0";
    const part = sequence.seen > sequence.at.length ? `The stretch of ${count(sequence.at.length)} of its ${count(sequence.seen)} segments with most to see.` : `All ${counted(sequence.seen, "segment")}.`;
    this.words.textContent = `${part} Frames ${sequence.frame[0]} to ${sequence.frame[sequence.frame.length - 1]}.`;
    this.follow();
    this.figure.change();
  }

  follow() {
    if (this.sequence === undefined) return;
    const { begin, end } = this.sequence, [low, high] = this.report.view.range, margin = Math.max((end - begin) * 0.03, 1e-5);
    const isInside = high > begin && low < end && !this.report.view.isWhole;
    this.isFollowing = true;
    if (isInside) this.view.show(Math.max(low, begin - margin), Math.min(high, end + margin));
    else this.view.show(begin - margin, end + margin);
    this.isFollowing = false;
  }

  plot() {
    const { sequence } = this, colours = palette(), side = Number(this.side.value);
    if (sequence === undefined) return { empty: "No connection was chosen." };
    const own = sequence.indices(side), back = sequence.indices(1 - side);
    if (!own.some((i) => sequence.offset[i] !== null)) return { empty: "Its sequence numbers are not known: there is no graph." };
    const hover = (i) => `frame ${sequence.frame[i]}, ${duration((sequence.at[i] - sequence.begin) * SECOND)} after the first shown<br>${sequence.kinds[sequence.kind[i]].replaceAll("_", " ")}, ${size(sequence.payload_bytes[i])} at ${count(sequence.offset[i])}${flagText(sequence.flags[i])}`;
    const bars = (which, name, color, width) => {
      const x = [], y = [], text = [];
      for (const i of which) {
        const from = sequence.offset[i], to = from + Math.max(sequence.payload_bytes[i], 0);
        x.push(sequence.at[i], sequence.at[i], null);
        y.push(from, to, null);
        text.push(hover(i), hover(i), "");
      }
      return { type: "scatter", mode: "lines", name, x, y, text, hovertemplate: "%{text}<extra></extra>", line: { color, width } };
    };
    const withData = own.filter((i) => sequence.payload_bytes[i] > 0 && sequence.offset[i] !== null);
    const isPlain = (i) => sequence.kinds[sequence.kind[i]] === "new";
    const traces = [];
    const acks = back.filter((i) => sequence.acked[i] !== null);
    const line = (name, values, dash, color) => ({ type: "scatter", mode: "lines", name, x: acks.map((i) => sequence.at[i]), y: values, hoverinfo: "skip", line: { shape: "hv", width: 1.3, dash, color } });
    if (acks.length > 0) {
      traces.push(line("acknowledged", acks.map((i) => sequence.acked[i]), "solid", colours.series[2]));
      // A window far beyond the data would flatten it.
      const top = largest(withData.map((i) => sequence.offset[i] + sequence.payload_bytes[i])), low = least(withData.map((i) => sequence.offset[i])), room = Math.max(top - low, 1) * 0.6;
      const reach = acks.map((i) => (sequence.window[i] === null ? null : sequence.acked[i] + sequence.window[i]));
      const known = reach.filter((value) => value !== null), beyond = known.filter((value) => value > top + room).length;
      const name = beyond === 0 ? "window reaches" : beyond < known.length ? "window reaches (at the top: farther)" : "window reaches farther than this";
      if (known.length > 0) traces.push(line(name, reach.map((value) => (value === null ? null : Math.min(value, top + room))), "dot", colours.series[3]));
    }
    traces.push(bars(withData.filter(isPlain), "segment", colours.series[0], 3));
    for (const [kind, [name, symbol, colour]] of Object.entries(KIND_MARKS)) {
      const which = own.filter((i) => sequence.kinds[sequence.kind[i]] === kind && sequence.offset[i] !== null);
      if (which.length === 0) continue;
      if (kind === "retransmission") traces.push({ ...bars(which, name, colours[colour], 3), showlegend: false });
      traces.push(marks(name, which, symbol, colours[colour], (i) => sequence.offset[i] + sequence.payload_bytes[i] / 2));
    }
    const closed = acks.filter((i) => sequence.window[i] === 0 && (sequence.flags[i] & 7) === 0);
    if (closed.length > 0) traces.push(marks("window closed", closed, "triangle-up-open", colours.bad, (i) => sequence.acked[i]));
    const flagged = own.filter((i) => (sequence.flags[i] & 7) !== 0 && sequence.offset[i] !== null);
    if (flagged.length > 0) traces.push(marks("SYN, FIN or RST", flagged, "star-diamond-open", colours.text, (i) => sequence.offset[i]));
    function marks(name, which, symbol, color, y) {
      return { type: "scatter", mode: "markers", name, x: which.map((i) => sequence.at[i]), y: which.map(y), text: which.map(hover), hovertemplate: "%{text}<extra></extra>", marker: { symbol, color, size: 9, line: { width: 1.5, color } } };
    }
    return { traces, layout: { xaxis: timeTitle(this.report), yaxis: { title: { text: "byte of the stream" }, tickformat: ",d" }, showlegend: true, margin: { l: 100, r: 84, t: 30, b: 42 } } };
  }

  table() {
    const { sequence } = this;
    const shown = sequence.at.map((_, i) => i).filter((i) => sequence.at[i] >= this.view.range[0] && sequence.at[i] <= this.view.range[1]);
    const notable = shown.length <= 200 ? shown : shown.filter((i) => sequence.kinds[sequence.kind[i]] !== "new" || sequence.window[i] === 0).slice(0, 200);
    return {
      caption: shown.length <= 200 ? "Segments of the shown time" : `Segments of the shown time that are not plain data, ${count(notable.length)} of ${count(shown.length)}`,
      head: ["frame", "at", "from", "kind", "first byte", "bytes", "acknowledges", "window"],
      rows: notable.map((i) => [String(sequence.frame[i]), `${sequence.at[i].toFixed(6)} s`, sequence.direction[i] === 0 ? "client" : "server", sequence.kinds[sequence.kind[i]].replaceAll("_", " ") + flagText(sequence.flags[i]),
        number(sequence.offset[i]), number(sequence.payload_bytes[i]), number(sequence.acked[i]), number(sequence.window[i])]),
    };
  }
}

function flagText(flags) {
  const names = FLAG_TEXTS.filter(([bit]) => flags & bit).map(([, name]) => name);
  return names.length === 0 ? "" : ` (${names.join(", ")})`;
}
