// Gamma and theta by days to expiry.

import { $, make, write } from "./dom.js";
import * as format from "./format.js";

const BUCKETS = ["0", "1-7", "8-21", "22-45", "46-90", ">90"];
const rows = new Map();

export function render(book) {
  if (!book.portfolio) return;
  const groups = new Map(book.portfolio.groups.map((group) => [group.key, group]));
  const gamma = (key) => groups.get(key)?.gamma_1pct.value ?? null;
  const sizes = BUCKETS.map(gamma).filter((value) => value !== null);
  const [low, high] = [Math.min(0, ...sizes), Math.max(0, ...sizes)];
  const span = high - low || 1;
  for (const key of BUCKETS) {
    const { fill, zero, gammaText, thetaText, row } = rows.get(key) ?? add(key);
    const group = groups.get(key);
    const value = gamma(key);
    zero.style.left = `${(-low / span) * 100}%`;
    fill.style.left = `${((Math.min(0, value ?? 0) - low) / span) * 100}%`;
    fill.style.width = `${(Math.abs(value ?? 0) / span) * 100}%`;
    fill.classList.toggle("negative", value < 0);
    row.classList.toggle("none", !group);
    write(gammaText, group ? format.money(value) : "none");
    gammaText.classList.toggle("negative", value < 0);
    write(thetaText, group ? format.money(group.theta.value) : "");
    thetaText.classList.toggle("negative", group?.theta.value < 0);
  }
}

function add(key) {
  const [fill, zero] = [make("span", "fill"), make("span", "zero")];
  const [gammaText, thetaText] = [make("td", "num"), make("td", "num")];
  const name = make("th", "", key === "0" ? "0" : key.replace("-", "\u2013"));
  name.scope = "row";
  const row = make("tr", "", name, make("td", "track", make("span", "lane", fill, zero)), gammaText, thetaText);
  $("buckets").append(row);
  rows.set(key, { fill, zero, gammaText, thetaText, row });
  return rows.get(key);
}
