// Tables: small ones as they are, large ones that can be sorted, filtered and paged.

/** A table of few rows; `acts` gives a row's last cell, an element or null. */
function plainTable(caption, head, rows, acts) {
  const cells = (row, i) => [...row.map((cell) => element("td", {}, cell)), ...(acts === undefined ? [] : [element("td", {}, acts(i))])];
  return element("table", {}, element("caption", {}, caption),
    element("thead", {}, element("tr", {}, [...head, ...(acts === undefined ? [] : [""])].map(columnHead))),
    element("tbody", {}, rows.map((row, i) => element("tr", {}, cells(row, i)))));
}

const PAGE_ROWS = 25;

/** A sign and what stands after it, in a filter; a unit may stand apart. */
const CONDITION = /(>=|<=|!=|>|<|=)\s*("[^"]*"|-?\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?:\.\d+)?[a-zµ]*(?![\p{L}\d_:.])|[^\s<>=!]+)(?:\s+(ns|us|µs|ms|s|min|h|b|kb|mb|gb|kib|mib|gib)(?![\p{L}\d_]))?/giu;
/** Of each kind of column what its numbers may be followed by, and what that is worth. */
const UNITS = {
  time: { ns: 1, us: 1e3, "µs": 1e3, ms: 1e6, s: 1e9, min: 6e10, h: 3.6e12 },
  size: { "": 1, b: 1, kb: 1e3, mb: 1e6, gb: 1e9, kib: 2 ** 10, mib: 2 ** 20, gib: 2 ** 30 },
  count: { "": 1 },
};
const COMPARISONS = { ">": (a, b) => a > b, "<": (a, b) => a < b, ">=": (a, b) => a >= b, "<=": (a, b) => a <= b, "=": (a, b) => a === b, "!=": (a, b) => a !== b };

/** Between filters of which one is enough; not inside quotes. */
const OR = /\s+or\s+(?=(?:[^"]*"[^"]*")*[^"]*$)/iu;

/** Say what is wrong with how a filter is put together, or null: what it has no word for must not pass for a word. */
function misfit(text) {
  const bare = text.replace(/"[^"]*"/g, '""'), words = bare.toLowerCase().split(/\s+/).filter(Boolean), joins = (word) => word === "and" || word === "or";
  if (/[()]/.test(bare)) return "Parentheses are not understood: or separates alternatives, of each of which all conditions must hold";
  if (words.includes("not")) return "not is not understood: != is, such as state != closed";
  const lone = words.find((word, i) => joins(word) && (i === 0 || i === words.length - 1 || joins(words[i + 1])));
  return lone === undefined ? null : `Something must stand on both sides of ${lone}`;
}

/** Between groups of three digits. */
const GROUPS = /(?<=\d)[ \u00a0\u2009\u202f](?=\d{3}(?!\d))/gu;

/** Give what a row's cell may be called in a filter, in small letters: its text, its value, an endpoint's address. */
function texts(column, row) {
  const value = column.value(row), text = column.text(value, row).toLowerCase();
  const found = [text, String(value).toLowerCase()];
  const [, address] = column.kind === "endpoint" ? /^(.*):\d+$/.exec(text) ?? [] : [];
  return address === undefined ? found : [...found, address, address.replace(/^\[|\]$/g, "")];
}

/** A table that can be sorted by its heads, filtered by words or a condition, and paged. */
class BigTable {
  /**
   * @param spec.caption What it holds.
   * @param spec.columns {name, title, text(value, row), value(row), kind} of each; the kind is one of `UNITS`, or
   *   "word", or "endpoint".
   * @param spec.rows Any values; columns read them.
   * @param spec.act Gives the elements of a row's last cell.
   */
  constructor(spec) {
    this.columns = spec.columns;
    this.rows = spec.rows;
    this.act = spec.act;
    this.sorted = { column: null, isDescending: true };
    this.page = 0;
    this.words = "";
    this.status = element("p", { className: "status", role: "status" });
    this.body = element("tbody");
    this.heads = spec.columns.map((column) => this.head(column));
    const box = element("input", { type: "search", placeholder: "10.0.0.7 or retransmissions > 3", oninput: (event) => this.filter(event.target.value), "aria-describedby": `${spec.id}-help` });
    this.box = box;
    this.host = element("div", { className: "big-table", id: spec.id },
      element("div", { className: "filters" }, element("label", {}, "Filter ", box),
        element("span", { id: `${spec.id}-help`, className: "faint" }, "Words that a row has, or conditions on a column, such as "),
        element("code", {}, spec.example ?? "requests > 10")),
      element("div", { className: "scroll", tabindex: "0", role: "region", "aria-label": spec.caption },
        element("table", {}, element("caption", { className: "unseen" }, spec.caption), element("thead", {}, element("tr", {}, columnHead(""), this.heads)), this.body)),
      element("div", { className: "pages" }, this.pageButton("Previous", -1), this.pageButton("Next", 1), this.status));
    this.show();
  }

  head(column) {
    const button = element("button", { type: "button", title: column.meaning, onclick: () => this.sort(column) }, column.title);
    const made = element("th", { scope: "col", className: column.kind in UNITS ? "number" : "" }, button);
    made.column = column;
    return made;
  }

  pageButton(label, step) {
    return element("button", { type: "button", onclick: () => { this.page += step; this.show(); } }, label);
  }

  sort(column) {
    const isSame = this.sorted.column === column.name;
    this.sorted = { column: column.name, isDescending: isSame ? !this.sorted.isDescending : column.kind in UNITS };
    this.page = 0;
    this.show();
  }

  filter(words) {
    this.words = words;
    this.box.value = words;
    this.page = 0;
    this.show();
  }

  /** Give the rows that pass, in order. */
  chosen() {
    this.problem = misfit(this.words);
    return this.of(this.words);
  }

  /** Give the rows that pass other words, in order. */
  of(words) {
    const alternatives = words.split(OR).map((part) => this.conditions(part));
    const rows = this.rows.filter((row) => alternatives.some((passes) => passes.every((pass) => pass(row))));
    const column = this.columns.find((each) => each.name === this.sorted.column);
    if (column === undefined) return rows;
    const sign = this.sorted.isDescending ? -1 : 1;
    return rows.map((row) => [column.value(row), row]).sort(([a], [b]) => {
      // Unknown values come last in either direction.
      if (isUnknown(a) || isUnknown(b)) return Number(isUnknown(a)) - Number(isUnknown(b));
      return sign * (a < b ? -1 : a > b ? 1 : 0);
    }).map(([, row]) => row);
  }

  /** Read a filter, or what stands between two `or`: conditions such as `column > number`, else words; `problem` says what cannot be read. */
  conditions(text) {
    const made = [], words = [];
    let end = 0;
    for (const found of text.matchAll(CONDITION)) {
      const [whole, operator, value, unit] = found;
      const [column, before] = this.named(text.slice(end, found.index));
      words.push(before);
      end = found.index + whole.length;
      if (column !== undefined) made.push(this.condition(column, operator, value, unit ?? ""));
    }
    words.push(text.slice(end));
    const rest = words.join(" ").toLowerCase().split(/\s+/).filter((each) => each !== "" && each !== "and");
    const alone = rest.find((word) => /[<>=]/.test(word));
    if (alone !== undefined) this.problem ??= `Something must stand on both sides of ${alone}, such as requests > 10`;
    for (const word of rest) made.push((row) => this.columns.some((column) => column.text(column.value(row), row).toLowerCase().includes(word)));
    return made;
  }

  /** Find the column that a text ends in, by its name or its heading; give it, and what is before it. */
  named(text) {
    const trimmed = text.trimEnd(), lowered = trimmed.toLowerCase();
    const ends = (name) => lowered.endsWith(name) && !/[\p{L}\d_]/u.test(lowered[lowered.length - name.length - 1] ?? " ");
    const names = this.columns.flatMap((column) => [[column.name.toLowerCase(), column], [column.title.toLowerCase(), column]]).filter(([name]) => ends(name));
    if (names.length > 0) {
      const [name, column] = names.reduce((a, b) => (b[0].length > a[0].length ? b : a));
      return [column, trimmed.slice(0, trimmed.length - name.length)];
    }
    const said = trimmed.split(/\s+/).pop();
    this.problem ??= `${said === "" ? "A column must stand before the sign" : `No column is called ${said}`}; there are ${this.columns.map((column) => column.name).join(", ")}`;
    return [undefined, ""];
  }

  /** Make the condition on a column: of numbers, or of a text that is, or is not, so. */
  condition(column, operator, value, unit) {
    const said = value.replace(/^"|"$/g, "").toLowerCase();
    if (!(column.kind in UNITS)) {
      if (operator !== "=" && operator !== "!=") this.problem ??= `${column.name} is no number: it can only be = or != a word`;
      return (row) => texts(column, row).includes(said) === (operator === "=");
    }
    const holds = COMPARISONS[operator], limit = this.number(column, said.replace(GROUPS, ""), value, unit.toLowerCase());
    return (row) => !isUnknown(column.value(row)) && holds(Number(column.value(row)), limit);
  }

  /** Read a number with its unit, as columns of a kind have them. */
  number(column, said, value, unit) {
    const [, digits, joined] = /^(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)([a-zµ]*)$/.exec(said) ?? [];
    const known = UNITS[column.kind], own = joined || unit;
    const names = Object.keys(known).filter(Boolean).join(", ");
    if (digits === undefined || (own !== "" && !Object.values(UNITS).some((units) => own in units))) this.problem ??= `${value} is no number${names && `; units are ${names}`}`;
    else if (own === "" && known[""] === undefined && Number(digits) !== 0) this.problem ??= `${column.name} is a time: ${value} needs a unit, one of ${names}`;
    else if (own !== "" && known[own] === undefined) this.problem ??= names ? `${own} is no unit of ${column.name}; units are ${names}` : `${column.name} is a count: it has no unit such as ${own}`;
    return Number(digits) * (known[own] ?? 1);
  }

  show() {
    const passed = this.chosen();
    // Who is still typing sees what was chosen last.
    if (this.problem === null) this.readable = this.words;
    const rows = this.problem === null ? passed : this.of(this.readable ?? "");
    const pages = Math.max(Math.ceil(rows.length / PAGE_ROWS), 1);
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const first = this.page * PAGE_ROWS, shown = rows.slice(first, first + PAGE_ROWS);
    fill(this.body, shown.map((row) => element("tr", {},
      element("td", { className: "acts" }, this.act?.(row)),
      this.columns.map((column) => element("td", { className: column.kind in UNITS ? "number" : "" }, column.text(column.value(row), row))))));
    for (const head of this.heads) {
      const isSorted = head.column.name === this.sorted.column;
      if (isSorted) head.setAttribute("aria-sort", this.sorted.isDescending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const [previous, next] = this.host.querySelectorAll(".pages button");
    previous.disabled = this.page === 0;
    next.disabled = this.page === pages - 1;
    const of = rows.length === this.rows.length ? "" : ` that pass, of ${count(this.rows.length)}`;
    this.status.textContent = this.problem !== null ? `${this.problem}. Shown as before: ${count(rows.length)} of ${count(this.rows.length)}.` : rows.length === 0 ? `None of ${count(this.rows.length)} passes the filter` : `${count(first + 1)}–${count(first + shown.length)} of ${count(rows.length)}${of}`;
  }
}
