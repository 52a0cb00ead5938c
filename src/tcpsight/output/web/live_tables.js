// Tables whose rows come anew all the time: sorted, filtered, and the focus stays where it is.

/** A table that is written again whenever there are other rows. */
class LiveTable {
  /**
   * @param spec.id, spec.caption What it is called, what it holds.
   * @param spec.columns {name, title, text(value, row), isNumber} of each; values are row[name].
   * @param spec.key Gives what makes a row the same as before.
   * @param spec.act Gives {label, title, run} of a row: what its first cell's button does; none by default.
   * @param spec.isChosen Tells whether a row is the one that is looked at.
   * @param spec.sortedBy Name of the column to begin with; without it rows stay in the order given.
   * @param spec.placeholder What may be typed as a filter; no filter without it.
   */
  constructor(spec) {
    Object.assign(this, spec);
    this.rows = [];
    this.words = [];
    this.sorted = { name: spec.sortedBy ?? null, isDescending: true };
    this.heads = spec.columns.map((column) => this.head(column));
    this.body = element("tbody");
    this.status = element("p", { className: "faint", role: "status" });
    const filter = spec.placeholder === undefined ? null : element("div", { className: "filters" },
      element("label", {}, "Filter ", element("input", { type: "search", placeholder: spec.placeholder, oninput: (event) => this.filter(event.target.value) })));
    this.host = element("div", { className: "big-table", id: spec.id }, filter,
      element("div", { className: "scroll tall", tabindex: "0", role: "region", "aria-label": spec.caption },
        element("table", {}, element("caption", { className: "unseen" }, spec.caption), element("thead", {}, element("tr", {}, this.heads)), this.body)),
      this.status);
  }

  head(column) {
    const made = element("th", { scope: "col", className: column.isNumber ? "number" : "" },
      element("button", { type: "button", title: MEANINGS[column.title], onclick: () => this.sort(column) }, column.title));
    made.column = column;
    return made;
  }

  sort(column) {
    const isSame = this.sorted.name === column.name;
    this.sorted = { name: column.name, isDescending: isSame ? !this.sorted.isDescending : Boolean(column.isNumber) };
    this.write();
  }

  filter(words) {
    this.words = words.toLowerCase().split(/\s+/).filter((word) => word !== "");
    this.write();
  }

  /** Show other rows. */
  show(rows, note = "") {
    this.rows = rows;
    this.note = note;
    this.write();
  }

  /** Give the rows that pass the filter, in order; unknown values come last in either direction. */
  chosen() {
    const passes = (row) => this.words.every((word) => this.columns.some((column) => column.text(row[column.name], row).toLowerCase().includes(word)));
    const rows = this.rows.filter(passes), { name, isDescending } = this.sorted;
    if (name === null) return rows;
    const sign = isDescending ? -1 : 1;
    return rows.sort(({ [name]: a }, { [name]: b }) => {
      if (isUnknown(a) || isUnknown(b)) return Number(isUnknown(a)) - Number(isUnknown(b));
      return sign * (a < b ? -1 : a > b ? 1 : 0);
    });
  }

  write() {
    const rows = this.chosen();
    const focused = document.activeElement?.closest?.(`#${this.id} tbody button`)?.dataset.key;
    fill(this.body, rows.map((row) => this.line(row)));
    if (focused !== undefined) this.body.querySelector(`button[data-key="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    for (const head of this.heads) {
      const isSorted = head.column.name === this.sorted.name;
      if (isSorted) head.setAttribute("aria-sort", this.sorted.isDescending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    const hidden = this.rows.length - rows.length;
    const words = [this.note, hidden > 0 ? `${counted(hidden, "row")} hidden by the filter` : "", this.rows.length === 0 ? "None so far" : ""];
    const text = words.filter((each) => each !== "" && each !== undefined).join(" · ");
    if (this.status.textContent !== text) this.status.textContent = text;
  }

  line(row) {
    const act = this.act?.(row);
    const line = element("tr", { className: this.isChosen?.(row) ? "is-chosen" : null }, this.columns.map((column, i) => {
      const text = column.text(row[column.name], row);
      if (i > 0 || act === undefined) return element("td", { className: column.isNumber ? "number" : null }, text);
      return element("td", { className: "name" }, element("button", { type: "button", onclick: act.run, title: act.title, "data-key": this.key(row), "aria-current": this.isChosen?.(row) ? "true" : null }, text));
    }));
    return line;
  }
}

/** `22:50:33.044135Z` of nanoseconds since 1970, as far as numbers in JSON are exact: a quarter of a microsecond. */
function clock(ns, digits = 6) {
  const seconds = Math.floor(ns / 1e9);
  const rest = Math.floor((ns - seconds * 1e9) / 1e3).toString().padStart(6, "0").slice(0, digits);
  return `${new Date(seconds * 1000).toISOString().slice(11, 19)}${digits > 0 ? `.${rest}` : ""}Z`;
}
