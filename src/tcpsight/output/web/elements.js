// Elements of the page. What comes from a capture becomes text nodes and attributes, never markup.

/** Make an element: attributes and listeners (`onclick`), then children: elements, or what becomes text. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "className") made.className = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== null && child !== undefined) made.append(child);
  }
  return made;
}

/** Replace what an element holds. */
function fill(host, ...children) {
  host.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined));
}

/** Read a block of data of the page. */
function pageData(name) {
  const block = document.getElementById(`data-${name}`);
  return block === null ? null : JSON.parse(block.textContent);
}

/** Tell who cannot see the page what changed on it; while it is built there is nothing that was different before. */
function announce(text) {
  if (document.readyState === "loading") return;
  document.getElementById("announcements").textContent = text;
}

/** Quote a word for a shell. */
function shellQuoted(word) {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** Write text for Plotly, which takes some markup for its own. */
function plotText(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** A button that copies text, and says so. */
function copyButton(text, label = "Copy") {
  const button = element("button", { type: "button", className: "copy", onclick: copy, "aria-label": `${label}: ${text}` }, label);
  async function copy() {
    let isCopied = true;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      isCopied = copiedBySelection(text);
    }
    button.textContent = isCopied ? "Copied" : "Select it and copy";
    announce(isCopied ? "Copied" : "Copying is not possible here");
    setTimeout(() => { button.textContent = label; }, 1500);
  }
  return button;
}

/** Copy without the clipboard interface, which pages from a disk may lack. */
function copiedBySelection(text) {
  const area = element("textarea", { className: "unseen", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const isCopied = document.execCommand("copy");
  area.remove();
  return isCopied;
}

/** Decode integers: 7 bits a byte, the lowest first, a set top bit says that more follow; as base64. */
function integers(base64) {
  const bytes = atob(base64), values = [];
  let value = 0, scale = 1;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes.charCodeAt(i);
    value += (byte & 127) * scale;
    if (byte < 128) {
      values.push(value);
      value = 0;
      scale = 1;
    } else {
      scale *= 128;
    }
  }
  return values;
}
