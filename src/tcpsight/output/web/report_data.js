// The data of a report: what the file holds packed, as numbers.

/** Undo "how much each is more than the one before it". */
function summed(steps) {
  let sum = 0;
  return steps.map((step) => (sum += step));
}

/** 0 stands for unknown, other values are one less. */
function orUnknown(values) {
  return values.map((value) => (value === 0 ? null : value - 1));
}

const SECOND = 1e9;

/** Buckets of response time between a number and its double, as the data of the page tells. */
let bucketsPerOctave;

/** Slices of time of one service, all of (about) one length: columns of equal length. */
class Level {
  constructor(packed) {
    this.intervalS = packed.interval_ns / SECOND;
    this.start = summed(integers(packed.start_ns)).map((ns) => ns / SECOND);
    this.length = integers(packed.length_ns).map((ns) => ns / SECOND);
    this.cutShort = new Set(packed.cut_short);
    for (const name of ["arrivals", "completions", "backlog", "unanswered", "unanswered_backlog"]) this[name] = integers(packed[name]);
    for (const name of ["concurrency", "unanswered_concurrency", "utilization"]) this[name] = integers(packed[name]).map((value) => value / 1000);
    for (const name of ["p50_ns", "p95_ns", "p99_ns", "max_ns", "dispersion_ns"]) this[name] = orUnknown(integers(packed[name]));
  }

  /** Give the indices of the slices that a range touches. */
  within([low, high]) {
    const found = [];
    for (let i = 0; i < this.start.length; i++) if (this.start[i] < high && this.start[i] + this.length[i] > low) found.push(i);
    return found;
  }

  /** How many a second; unknown where the end of the capture cut a slice to less than half: there it is chance. */
  perSecond(name, i) {
    return this.cutShort.has(i) ? null : this[name][i] / this.length[i];
  }

  /** How many wait when a slice ends, for an answer that comes, or never does. */
  waiting(i) {
    return this.backlog[i] + this.unanswered_backlog[i];
  }

  middle(i) {
    return this.start[i] + this.length[i] / 2;
  }
}

/** Cells of slice and bucket of response time, by slice. */
class CellTable {
  constructor(packed, grid, edges) {
    this.grid = grid;
    this.edges = edges;
    const flat = summed(integers(packed.cells));
    this.counts = integers(packed.counts);
    this.slices = flat.map((cell) => Math.floor(cell / edges.length));
    this.buckets = flat.map((cell) => cell % edges.length);
    this.originS = grid.origin_ns / SECOND;
    this.intervalS = grid.interval_ns / SECOND;
  }

  /** Give the first and the last slice that a range touches. */
  touched([low, high]) {
    const first = Math.max(Math.floor((low - this.originS) / this.intervalS + 1e-9), 0);
    return [first, Math.min(Math.ceil((high - this.originS) / this.intervalS - 1e-9), this.grid.slices) - 1];
  }

  /** Add up the cells of a range in at most so many columns: {columns, count, begin, step, low, high}; `total` is the range's alone. */
  columns(range, most) {
    const [first, last] = this.touched(range);
    const merged = Math.max(Math.ceil((last - first + 1) / most), 1);
    // Columns begin at multiples, so that moving the range does not make them flicker: the first may begin before it.
    const begin = Math.floor(first / merged) * merged;
    const columns = new Map();
    let lowest = Infinity, highest = -Infinity, total = 0;
    for (let i = lowerBound(this.slices, begin); i < this.slices.length && this.slices[i] <= last; i++) {
      const column = Math.floor((this.slices[i] - begin) / merged);
      if (!columns.has(column)) columns.set(column, new Map());
      const buckets = columns.get(column);
      buckets.set(this.buckets[i], (buckets.get(this.buckets[i]) ?? 0) + this.counts[i]);
      lowest = Math.min(lowest, this.buckets[i]);
      highest = Math.max(highest, this.buckets[i]);
      if (this.slices[i] >= first) total += this.counts[i];
    }
    return { columns, total, lowest, highest, count: Math.max(Math.ceil((last - begin + 1) / merged), 0), begin: this.originS + begin * this.intervalS, step: merged * this.intervalS };
  }

  /** Add up the cells of a range by bucket. */
  byBucket(range) {
    const [first, last] = this.touched(range), sums = new Map();
    for (let i = lowerBound(this.slices, first); i < this.slices.length && this.slices[i] <= last; i++) sums.set(this.buckets[i], (sums.get(this.buckets[i]) ?? 0) + this.counts[i]);
    return [...sums].sort(([a], [b]) => a - b);
  }
}

/** The first place whose value is not below. */
function lowerBound(values, value) {
  let low = 0, high = values.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (values[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Single requests of one service, in order of completion. */
class Points {
  constructor(packed) {
    this.at = summed(integers(packed.completion_ns)).map((ns) => ns / SECOND);
    this.time_ns = integers(packed.response_time_ns);
    this.end = packed.end;
    for (const name of ["connection_id", "request_index", "request_bytes", "response_bytes"]) this[name] = integers(packed[name]);
  }

  get length() {
    return this.at.length;
  }

  /** Give the indices of those that were waited for at some time of a range. */
  waiting([low, high]) {
    const found = [];
    for (let i = lowerBound(this.at, low); i < this.at.length; i++) if (this.at[i] - this.time_ns[i] / SECOND <= high) found.push(i);
    return found;
  }

  /** Give the indices of those that completed in a range. */
  within([low, high]) {
    const found = [];
    for (let i = lowerBound(this.at, low); i < this.at.length && this.at[i] <= high; i++) found.push(i);
    return found;
  }
}

/** One service: its facts, and what its plots are drawn from, unpacked when they are first looked at. */
class Service {
  constructor(facts, plots, shared) {
    this.facts = facts;
    this.name = endpointText(facts.server_address, facts.server_port);
    this.shared = shared;
    this.packed = plots;
  }

  /** Whether its sides take turns, so that there are response times. */
  get hasTurns() {
    return this.facts.turns.hold !== false;
  }

  unpack() {
    if (this.levels !== undefined || this.packed === undefined) return this;
    const { levels, grid, completed, arrived, points, never, in_flight: inFlight, scalability } = this.packed;
    this.levels = levels.map((each) => new Level(each));
    this.completed = new CellTable(completed, grid, this.shared.edges_ns);
    this.arrived = new CellTable(arrived, grid, this.shared.edges_ns);
    this.points = new Points(points);
    this.never = new Points(never);
    this.inFlight = new Points(inFlight);
    this.scalability = scalability;
    return this;
  }

  /** The level whose slices suit a range: the finest that does not show more than it can. */
  level(range) {
    const [coarse, fine] = this.levels;
    return (range[1] - range[0]) / fine.intervalS <= 600 ? fine : coarse;
  }
}

/** `10.0.0.1:80`, `[::1]:80`. */
function endpointText(address, port) {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

/** Where a bucket of response time ends, on the axis of plots: log10 of ns; what took no time lies at 1 ns. */
function logNs(ns) {
  return Math.log10(Math.max(ns, 1));
}
