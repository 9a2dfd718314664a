// The latency from receipt to the durable row, as it was while this page has been open.

import { $, write } from "./dom.js";
import * as format from "./format.js";

const KEPT = 300;
const [WIDTH, HEIGHT] = [300, 40];
const seen = [];
let last = null;

/** Takes note of a status, one a second. */
export function note(status) {
  if (status.as_of === last) return;
  last = status.as_of;
  seen.push(status.receive_to_durable.p95);
  if (seen.length > KEPT) seen.shift();
}

export function render(book) {
  if (!book.status) return;
  const { receive_to_durable: latency, database, journal, gaps_open: gaps } = book.status;
  const known = seen.filter((value) => value !== null);
  const top = Math.max(0.001, ...known) * 1.1;
  let path = "";
  seen.forEach((value, at) => {
    if (value === null) return;
    const broken = at === 0 || seen[at - 1] === null;
    path += `${broken ? "M" : "L"}${(((at + KEPT - seen.length) / (KEPT - 1)) * WIDTH).toFixed(1)} ${(HEIGHT - (value / top) * HEIGHT).toFixed(1)}`;
  });
  $("spark-line").setAttribute("d", path || "M0 0");
  const texts = {
    p50: format.latency(latency.p50), p95: format.latency(latency.p95), p99: format.latency(latency.p99),
    rows: format.fixed(latency.count, 0), waiting: format.fixed(database.waiting_records, 0),
    journal: `${format.bytes(journal.bytes)} \u00b7 ${format.percent(journal.quota_share)} %`, gaps: format.fixed(gaps, 0),
    refused: format.fixed(database.quarantined, 0),
  };
  for (const [name, text] of Object.entries(texts)) write($(`ops-${name}`), text);
}
