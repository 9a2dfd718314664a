// What is shown, as a file.

import { $ } from "./dom.js";
import { prefs } from "./prefs.js";
import { content } from "./table.js";

export function build(book) {
  $("csv").addEventListener("click", () => save("csv", "text/csv", csv(content(book))));
  $("json").addEventListener("click", () => save("json", "application/json", json(content(book))));
}

/** RFC 4180, unknown is empty. */
export function csv(rows) {
  return rows.map((row) => row.map(field).join(",")).join("\r\n") + "\r\n";
}

export function json([head, ...rows]) {
  return `${JSON.stringify(rows.map((row) => Object.fromEntries(head.map((name, at) => [name, row[at]]))), null, 1)}\n`;
}

function field(value) {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return String(value);
  // A spreadsheet would take such a text for a formula.
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function save(ending, type, text) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = `greekd-${prefs.groupBy}-${new Date().toISOString().slice(0, 19).replaceAll(":", "")}.${ending}`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
