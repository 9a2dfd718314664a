// Numbers, times and names as people read them. Unknown is a dash, never 0; minus is U+2212.

export const DASH = "\u2014";
const MINUS = "\u2212";
const ZONE = "America/New_York";

const clockFormat = new Intl.DateTimeFormat("en-GB", {
  timeZone: ZONE, hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23",
});
const dayFormat = new Intl.DateTimeFormat("en-GB", { timeZone: ZONE, weekday: "short", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const expiryFormat = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "2-digit", month: "short", year: "2-digit" });
const digits = [0, 1, 2, 3, 4, 5].map((n) =>
  new Intl.NumberFormat("en-US", { minimumFractionDigits: n, maximumFractionDigits: n }));

/** A fixed number of digits: `−2,210.50`. */
export function fixed(value, places) {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  const text = digits[places].format(Math.abs(value));
  // What rounds to nothing has no sign.
  return value < 0 && /[1-9]/.test(text) ? MINUS + text : text;
}

const SCALES = [[1e9, "B"], [1e6, "M"], [1e4, "k"]];

/** About four digits, whatever the size: `−62.14`, `31.4k`, `16.87M`. */
function short(size) {
  for (const [from, letter] of SCALES) {
    if (size >= from) {
      const scaled = size / (letter === "k" ? 1e3 : from);
      return fixed(scaled, scaled >= 100 ? 1 : 2) + letter;
    }
  }
  return fixed(size, size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

function signed(value, unit) {
  if (value === null || value === undefined || !Number.isFinite(value)) return DASH;
  const text = unit + short(Math.abs(value));
  if (!/[1-9]/.test(text)) return text;
  return (value < 0 ? MINUS : "+") + text;
}

/** A signed amount of money: `−$31.40k`. */
export const money = (value) => signed(value, "$");

/** A signed number of units: `+62.1`. */
export const units = (value) => signed(value, "");

/** A quantity of contracts: `−4`. */
export function count(value) {
  if (value === null || value === undefined) return DASH;
  return (value > 0 ? "+" : "") + fixed(value, Number.isInteger(value) ? 0 : 2);
}

/** A price, with the digits its size asks for: `6,640.25`, `1.10975`. */
export function price(value) {
  if (value === null || value === undefined) return DASH;
  const size = Math.abs(value);
  return fixed(value, size >= 10 ? 2 : size >= 1 ? 3 : 5);
}

/** A fraction as per cent: `17.8`. */
export const percent = (value) => (value === null || value === undefined ? DASH : fixed(value * 100, 1));

/** How long ago, in seconds: `0.3 s`, `38 s`, `4 min`. */
export function age(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return DASH;
  const s = Math.max(0, seconds);
  if (s < 10) return `${s.toFixed(1)} s`;
  if (s < 100) return `${Math.floor(s)} s`;
  if (s < 6000) return `${Math.floor(s / 60)} min`;
  return s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`;
}

/** How long until, in seconds: `2 h 14 min`. */
export function until(seconds) {
  const minutes = Math.max(0, Math.ceil(seconds / 60));
  const [days, hours] = [Math.floor(minutes / 1440), Math.floor(minutes / 60) % 24];
  if (days > 0) return `${days} d ${hours} h`;
  return hours > 0 ? `${hours} h ${minutes % 60} min` : `${minutes} min`;
}

/** A latency in seconds: `0.9 ms`, `12 ms`, `1.4 s`. */
export function latency(seconds) {
  if (seconds === null || seconds === undefined) return DASH;
  if (seconds >= 1) return `${seconds.toFixed(1)} s`;
  const ms = seconds * 1000;
  return `${ms >= 10 ? Math.round(ms) : ms.toFixed(1)} ms`;
}

/** A size: `128 MB`. */
export function bytes(size) {
  return size < 1e6 ? `${Math.ceil(size / 1e3)} kB` : size < 1e9 ? `${Math.round(size / 1e6)} MB` : `${(size / 1e9).toFixed(1)} GB`;
}

/** The time of day at the exchanges: `14:03:22`. */
export const clock = (time) => (time ? clockFormat.format(new Date(time)) : DASH);

/** The day of the week and the time at the exchanges: `Mon 09:30`. */
export const weekday = (time) => dayFormat.format(new Date(time)).replace(",", "");

/** An account without what would identify it: `··4821`. */
export const masked = (account) => `\u00b7\u00b7${account.slice(-4)}`;

const BROKERS = { ibkr: "IBKR", tastytrade: "tastytrade" };

const SHORT = { ibkr: "IB", tastytrade: "TT" };

/** A broker where there is little room. */
export const desk = (name) => SHORT[name] ?? name;

/** A broker as it writes itself. */
export const broker = (name) => BROKERS[name] ?? name;

/** Dates as they were written before: there are few, and a book asks for them again and again. */
const expiries = new Map();

function expiry(date) {
  if (!expiries.has(date)) expiries.set(date, expiryFormat.format(new Date(date)));
  return expiries.get(date);
}

/** A leg of an underlying: `18 Dec 26 · 232.5 C`. */
export const leg = (line) => `${expiry(line.expiration)} \u00b7 ${line.strike} ${line.option_type}`;

/** The root of a contract, where it is not its underlying: `SPXW` of `SPX`. */
export function root(line) {
  const name = line.contract_key.split(" ")[0];
  return name === line.underlying ? "" : name;
}

/** Days to expiry as a bucket's name. */
export const bucket = (key) => (key === "0" ? "0 DTE" : `${key.replace("-", "\u2013")} DTE`);

/** A group as it is shown: accounts masked, buckets in words. */
export function groupName(groupBy, key) {
  if (groupBy === "account") return masked(key);
  if (groupBy === "expiry") return bucket(key);
  return groupBy === "broker" ? broker(key) : key;
}
