// Tables: small ones as they are, large ones that can be sorted, filtered and paged.

/** A table of few rows; `acts` gives a row's last cell, an element or null. */
function plainTable(caption, head, rows, acts) {
  const cells = (row, i) => [...row.map((cell) => element("td", {}, cell)), ...(acts === undefined ? [] : [element("td", {}, acts(i))])];
  return element("table", {}, element("caption", {}, caption),
    element("thead", {}, element("tr", {}, [...head, ...(acts === undefined ? [] : [""])].map((name) => element("th", { scope: "col" }, name)))),
    element("tbody", {}, rows.map((row, i) => element("tr", {}, cells(row, i)))));
}

const PAGE_ROWS = 25;

/** A table that can be sorted by its heads, filtered by words or a condition, and paged. */
class BigTable {
  /**
   * @param spec.caption What it holds.
   * @param spec.columns {name, title, text(value, row), value(row), isNumber} of each.
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
        element("table", {}, element("caption", { className: "unseen" }, spec.caption), element("thead", {}, element("tr", {}, element("th", { scope: "col" }, element("span", { className: "unseen" }, "Actions")), this.heads)), this.body)),
      element("div", { className: "pages" }, this.pageButton("Previous", -1), this.pageButton("Next", 1), this.status));
    this.show();
  }

  head(column) {
    const button = element("button", { type: "button", title: column.meaning, onclick: () => this.sort(column) }, column.title);
    const made = element("th", { scope: "col", className: column.isNumber ? "number" : "" }, button);
    made.column = column;
    return made;
  }

  pageButton(label, step) {
    return element("button", { type: "button", onclick: () => { this.page += step; this.show(); } }, label);
  }

  sort(column) {
    const isSame = this.sorted.column === column.name;
    this.sorted = { column: column.name, isDescending: isSame ? !this.sorted.isDescending : Boolean(column.isNumber) };
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
    const passes = this.conditions();
    const rows = this.rows.filter((row) => passes.every((pass) => pass(row)));
    const column = this.columns.find((each) => each.name === this.sorted.column);
    if (column === undefined) return rows;
    const sign = this.sorted.isDescending ? -1 : 1;
    return rows.map((row) => [column.value(row), row]).sort(([a], [b]) => {
      // Unknown values come last in either direction.
      if (isUnknown(a) || isUnknown(b)) return Number(isUnknown(a)) - Number(isUnknown(b));
      return sign * (a < b ? -1 : a > b ? 1 : 0);
    }).map(([, row]) => row);
  }

  /** Read the filter: `column > number`, else words. */
  conditions() {
    const made = [];
    const rest = this.words.replace(/([a-z_]+)\s*(>=|<=|>|<|=)\s*(-?[\d.]+)\s*([a-zµ]*)/gi, (whole, name, operator, digits, unit) => {
      const column = this.columns.find((each) => each.name === name.toLowerCase() || each.title.toLowerCase() === name.toLowerCase());
      if (column === undefined) return whole;
      const limit = Number(digits) * ({ ns: 1, us: 1e3, "µs": 1e3, ms: 1e6, s: 1e9, min: 6e10, h: 3.6e12, kb: 1e3, mb: 1e6 }[unit.toLowerCase()] ?? 1);
      const holds = { ">": (v) => v > limit, "<": (v) => v < limit, ">=": (v) => v >= limit, "<=": (v) => v <= limit, "=": (v) => v === limit }[operator];
      made.push((row) => !isUnknown(column.value(row)) && holds(Number(column.value(row))));
      return " ";
    });
    for (const word of rest.toLowerCase().split(/\s+/).filter((each) => each !== "" && each !== "and")) {
      made.push((row) => this.columns.some((column) => column.text(column.value(row), row).toLowerCase().includes(word)));
    }
    return made;
  }

  show() {
    const rows = this.chosen();
    const pages = Math.max(Math.ceil(rows.length / PAGE_ROWS), 1);
    this.page = Math.min(Math.max(this.page, 0), pages - 1);
    const first = this.page * PAGE_ROWS, shown = rows.slice(first, first + PAGE_ROWS);
    fill(this.body, shown.map((row) => element("tr", {},
      element("td", { className: "acts" }, this.act?.(row)),
      this.columns.map((column) => element("td", { className: column.isNumber ? "number" : "" }, column.text(column.value(row), row))))));
    for (const head of this.heads) {
      const isSorted = head.column.name === this.sorted.column;
      if (isSorted) head.setAttribute("aria-sort", this.sorted.isDescending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const [previous, next] = this.host.querySelectorAll(".pages button");
    previous.disabled = this.page === 0;
    next.disabled = this.page === pages - 1;
    const of = rows.length === this.rows.length ? "" : ` that pass, of ${count(this.rows.length)}`;
    this.status.textContent = rows.length === 0 ? `None of ${count(this.rows.length)} passes the filter` : `${count(first + 1)}–${count(first + shown.length)} of ${count(rows.length)}${of}`;
  }
}
