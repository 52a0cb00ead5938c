// MEANINGS, what headings of tables mean, is put before this by the page (output/meanings.py).


/** The heading of a column; one without words has a name for who does not see what is below it. */
function columnHead(name) {
  const isNamed = name !== "";
  return element("th", { scope: "col", title: isNamed ? MEANINGS[name] : "Notes, and what can be done", "aria-label": isNamed ? null : "Notes and actions" }, name);
}
