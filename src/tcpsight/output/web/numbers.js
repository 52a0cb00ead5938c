// Numbers for people: three significant digits; unknown is an en dash. The same rules as on the terminal.

const UNKNOWN = "–";
const NARROW_SPACE = "\u202f";

function isUnknown(value) {
  return value === null || value === undefined || Number.isNaN(value);
}

/** Three significant digits of a number from 0 up. */
function threeDigits(value) {
  if (value === 0) return "0";
  const decimals = 2 - Math.floor(Math.log10(Number(value.toExponential(2))));
  return Number(value.toExponential(2)).toFixed(Math.min(Math.max(decimals, 0), 12));
}

/** `17 ns`, `450 µs`, `1.23 ms`, `59.9 s`, `1 min 30 s`, `2 h 10 min`. */
function duration(ns) {
  if (isUnknown(ns)) return UNKNOWN;
  if (ns < 0) return `−${duration(-ns)}`;
  let value = ns;
  for (const unit of ["ns", "µs", "ms", "s"]) {
    const text = unit === "ns" && Number.isInteger(value) ? String(value) : threeDigits(value);
    if (Number(text) < (unit === "s" ? 60 : 1000)) return `${text} ${unit}`;
    value /= 1000;
  }
  for (const [large, size, small, step, limit] of [["min", 60, "s", 1, 3600], ["h", 3600, "min", 60, 86400], ["d", 86400, "h", 3600, Infinity]]) {
    const seconds = Math.round(ns / 1e9 / step) * step;
    if (seconds < limit) return `${Math.floor(seconds / size)} ${large} ${Math.floor((seconds % size) / step)} ${small}`;
  }
  return UNKNOWN;
}

function scaled(value, base, units) {
  if (isUnknown(value)) return UNKNOWN;
  if (value < 0) return `−${scaled(-value, base, units)}`;
  let rest = value;
  for (let i = 0; ; i++) {
    const text = rest >= 999.5 || (i === 0 && Number.isInteger(rest)) ? rest.toFixed(0) : threeDigits(rest);
    if (Number(text) < base || i === units.length - 1) return `${text} ${units[i]}`;
    rest /= base;
  }
}

/** `512 B`, `1.50 KiB`. */
function size(bytes) {
  return scaled(bytes, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]);
}

/** `0.25/s`, `12.3 k/s`. */
function rate(perSecond) {
  return scaled(perSecond, 1000, ["/s", "k/s", "M/s", "G/s"]).replace(" /s", "/s");
}

/** Whole numbers with digits in groups of three. */
function count(value) {
  if (isUnknown(value)) return UNKNOWN;
  return Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, NARROW_SPACE).replace("-", "−");
}

/** Whole numbers as they are, others with three significant digits. */
function number(value) {
  if (isUnknown(value)) return UNKNOWN;
  if (Number.isInteger(value) || Math.abs(value) >= 999.5) return count(value);
  return (value < 0 ? "−" : "") + threeDigits(Math.abs(value));
}

/** `12.3 %`. */
function percent(fraction) {
  return isUnknown(fraction) ? UNKNOWN : `${number(100 * fraction)} %`;
}

/** `1 request`, `2 requests`. */
function counted(value, one, many = `${one}s`) {
  return `${count(value)} ${value === 1 ? one : many}`;
}

const MINUTE_NS = 60e9;
// Beyond a minute people count in sixties, and beyond a day in days, in seconds: for axes of many decades, of some, and of few.
const LONG_TICKS = {
  1: [60, 600, 3600, 36000],
  3: [60, 120, 300, 600, 1200, 3600, 7200, 18000, 36000],
  7: [60, 120, 180, 240, 300, 420, 600, 900, 1200, 1800, 2400, 3600, 7200, 10800, 14400, 18000, 25200, 36000],
};

/** Ticks of an axis whose values are log10 of nanoseconds: powers of ten, and between them more the fewer there are. */
function durationTicks(low, high) {
  const steps = high - low > 4 ? [1] : high - low > 1 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7];
  const durations = [];
  for (let power = 0; power <= 10; power++) durations.push(...steps.map((step) => step * 10 ** power));
  const long = LONG_TICKS[steps.length].map((seconds) => seconds * 1e9);
  for (let power = steps.length === 1 ? 1 : 0; power <= 5; power++) long.push(...steps.map((step) => step * 10 ** power * 86400e9));
  const shown = [...durations.filter((ns) => ns < MINUTE_NS), ...long].filter((ns) => Math.log10(ns) >= low - 1e-9 && Math.log10(ns) <= high + 1e-9);
  return { tickvals: shown.map((ns) => Math.log10(ns)), ticktext: shown.map(tickDuration) };
}

/** A duration without digits that say nothing: `1 ms`, not `1.00 ms`, and `10 min`, not `10 min 0 s`. */
function tickDuration(ns) {
  return duration(ns).replace(/(\.\d*?)0+ /, "$1 ").replace(/\. /, " ").replace(/ 0 (s|min|h)$/, (zero, unit) => (ns >= MINUTE_NS ? "" : zero));
}
