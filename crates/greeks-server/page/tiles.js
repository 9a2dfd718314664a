// The totals.

import { $, mark, write } from "./dom.js";
import * as format from "./format.js";

/** Browsers tell many of a new title: once a second is enough, and at once when the stream is in another state. */
const TITLE_EVERY = 1_000;
let titled = { state: "", at: 0 };

/** Shows the totals, and their gist in the title. */
export function render(book, state) {
  const { total, portfolio } = book;
  if (!total) return;
  const benchmark = portfolio?.benchmark ?? "SPY";
  const shares = total.beta_weighted_delta.value;
  const weighted = total.beta_weighted_delta_dollars;
  if (shares === null) {
    tile("beta", total, weighted, format.money, `${benchmark} shares ${format.DASH} (no price)`);
  } else {
    tile("beta", total, total.beta_weighted_delta, format.units, `${benchmark} shares \u00b7 ${format.money(weighted.value)}`);
  }
  tile("dollars", total, total.delta_dollars, format.money, "delta \u00d7 price");
  tile("gamma", total, total.gamma_1pct, format.money, nearest(portfolio));
  tile("theta", total, total.theta, format.money, "per calendar day");
  const ratio = total.theta_vega === null ? format.DASH : format.fixed(total.theta_vega, 2);
  tile("vega", total, total.vega, format.money, `\u0398 / vega ${ratio}`);
  coverage(total, portfolio);
  freshness(book, total);
  title(state, shares, weighted.value, total.theta.value);
}

function tile(name, total, figure, text, note) {
  const element = $(`tile-${name}`);
  const value = element.querySelector(".value");
  write(value, text(figure.value));
  mark(value, "title", figure.value === null ? "unknown" : `exactly ${figure.value}`);
  value.classList.toggle("negative", figure.value < 0);
  write(element.querySelector(".note"), note);
  const parts = [];
  if (figure.lines < total.lines) parts.push(`${figure.lines} of ${total.lines} positions`);
  if (total.stale > 0) parts.push(`incl. ${total.stale} stale`);
  write(element.querySelector(".of"), parts.join(" \u00b7 "));
}

/** The gamma that expires first. */
function nearest(portfolio) {
  const first = portfolio?.groups[0];
  return first ? `${format.bucket(first.key)}: ${format.money(first.gamma_1pct.value)}` : "";
}

function coverage(total, portfolio) {
  const element = $("tile-coverage");
  write(element.querySelector(".value"), `${total.covered} of ${total.lines}`);
  element.classList.toggle("warn", total.covered < total.lines);
  const missing = portfolio?.not_included_count ?? 0;
  write(element.querySelector(".note"), "positions with Greeks");
  write(element.querySelector(".of"), missing > 0 ? `${missing} not in every sum` : "");
}

function freshness(book, total) {
  const element = $("tile-freshness");
  write(element.querySelector(".value"), `${total.lines - total.stale} live`);
  write(element.querySelector(".note"), total.stale > 0 ? `${total.stale} stale` : "none stale");
  write(element.querySelector(".of"), total.oldest ? `oldest ${format.age(book.since(total.oldest))}` : "");
  element.classList.toggle("warn", total.stale > 0);
}

function title(state, shares, dollars, theta) {
  const at = performance.now();
  if (titled.state === state && at - titled.at < TITLE_EVERY) return;
  titled = { state, at };
  const delta = shares === null ? format.money(dollars) : format.units(shares);
  const figures = `\u03b2-\u0394 ${delta} \u0398 ${format.money(theta)}`;
  const prefix = { live: "", paused: "paused \u00b7 " }[state] ?? "not live \u00b7 ";
  document.title = `${prefix}${figures} \u00b7 greekd`;
}
