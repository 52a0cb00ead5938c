// Light and dark: as the system says, until somebody chooses.

const themeListeners = [];
const darkSystem = matchMedia("(prefers-color-scheme: dark)");
let chosenTheme;

function isDark() {
  return document.documentElement.dataset.theme === "dark";
}

/** Show the theme that was chosen, else the system's; everybody who draws is told. */
function applyTheme(forced) {
  document.documentElement.dataset.theme = forced ?? chosenTheme ?? (darkSystem.matches ? "dark" : "light");
  themeListeners.forEach((tell) => tell());
}

applyTheme();
darkSystem.addEventListener("change", () => applyTheme());
// Paper is white.
addEventListener("beforeprint", () => applyTheme("light"));
addEventListener("afterprint", () => applyTheme());

/** Colours and patterns for plots, taken from the style sheet. */
function palette() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  return {
    text: colour("text"), faint: colour("faint"), line: colour("line"), surface: colour("surface"),
    series: [1, 2, 3, 4, 5, 6].map((i) => colour(`series-${i}`)),
    parts: Object.fromEntries(["connect", "think", "request_transfer", "server", "response_transfer", "recovery", "receiver_limited", "path_limited", "unknown"]
      .map((part) => [part, colour(`part-${part}`)])),
    bad: colour("bad"), warn: colour("warn"), accent: colour("accent"),
    heat: [0, 1, 2, 3, 4, 5].map((i) => [i / 5, colour(`heat-${i}`)]),
  };
}

/** The button that changes it. */
function themeButton() {
  const button = element("button", { type: "button", onclick: () => { chosenTheme = isDark() ? "light" : "dark"; applyTheme(); } });
  const label = () => {
    button.textContent = isDark() ? "☀ Light" : "☾ Dark";
    button.setAttribute("aria-label", `Show this page ${isDark() ? "light" : "dark"}`);
  };
  themeListeners.push(label);
  label();
  return button;
}
