// What a person should know of now. Read out when it changes, and only then.

import { $, arrange, make, write } from "./dom.js";
import * as format from "./format.js";

const shown = new Map();

export function render(book) {
  const alerts = (book.status?.alerts ?? []).filter((alert) => alert.active);
  const keys = new Set();
  const elements = alerts.map((alert) => {
    const key = `${alert.kind} ${alert.source ?? ""}`;
    keys.add(key);
    if (!shown.has(key)) shown.set(key, make("li", "", make("span", "what"), make("time")));
    const element = shown.get(key);
    write(element.firstChild, alert.message);
    write(element.lastChild, `since ${format.clock(alert.since)} ET`);
    return element;
  });
  for (const key of shown.keys()) if (!keys.has(key)) shown.delete(key);
  arrange($("alerts"), elements);
}
