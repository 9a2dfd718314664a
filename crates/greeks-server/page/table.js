// The table: groups and their legs, sorted, filtered and opened as a person wants it.

import { COLUMNS } from "./columns.js";
import { $, arrange, make, mark, write } from "./dom.js";
import * as format from "./format.js";
import { choose, isOpen, prefs, setOpen } from "./prefs.js";
import { GroupRow, LegRow, watch } from "./rows.js";

/** Rows by the key of their group, a text, or the id of their line, a number. */
const drawn = new Map();
let shown = [];

/** Rows out of sight that a frame writes to, in turns; those in sight are never late. */
const OUT_OF_SIGHT = 8;
let turn = 0;
/** New rows that a frame makes; the next one makes more. */
const NEW = 25;
let again = null;

/** Builds the head; `draw` is called when something else is to be shown. */
export function build(draw) {
  again = draw;
  watch(draw);
  for (const column of COLUMNS) {
    const button = make("button", "", make("span", "", column.head), make("small", "unit", column.unit));
    button.type = "button";
    button.addEventListener("click", () => {
      const same = prefs.sort.column === column.id;
      choose({ sort: { column: column.id, down: same ? !prefs.sort.down : column.id !== "name" } });
      again();
    });
    const head = make("th", column.id, button);
    head.role = "columnheader";
    head.dataset.column = column.id;
    if (column.hint) head.title = column.hint;
    $("head").append(head);
  }
  $("filter").value = prefs.filter;
  $("filter").addEventListener("input", () => {
    choose({ filter: $("filter").value });
    again();
  });
  $("unfold").addEventListener("click", () => {
    const names = shown.filter((row) => row.group).map((row) => row.name);
    setOpen(names, names.some((name) => !isOpen(name)));
    again();
  });
}

/** Shows the book. */
export function render(book) {
  shown = plan(book);
  const due = (at) => (at - turn + shown.length) % shown.length < OUT_OF_SIGHT;
  const elements = [];
  const keys = new Set();
  let left = NEW;
  for (const [at, next] of shown.entries()) {
    const key = next.group ? next.group.key : next.line.id;
    keys.add(key);
    if (!drawn.has(key) && left-- > 0) drawn.set(key, next.group ? new GroupRow(() => toggle(next.name, book)) : new LegRow(key));
    const row = drawn.get(key);
    if (!row) continue;
    if (row.seen || due(at)) row.update(next, book);
    elements.push(row.element);
  }
  if (left < 0) again();
  turn = shown.length > 0 ? (turn + OUT_OF_SIGHT) % shown.length : 0;
  arrange($("rows"), elements);
  for (const [key, row] of drawn) {
    if (keys.has(key)) continue;
    row.forget();
    drawn.delete(key);
  }
  for (const head of $("head").children) {
    const sorted = head.dataset.column === prefs.sort.column;
    mark(head, "aria-sort", sorted ? (prefs.sort.down ? "descending" : "ascending") : null);
  }
  const names = shown.filter((row) => row.group).map((row) => row.name);
  write($("unfold"), names.length > 0 && names.every(isOpen) ? "Fold all" : "Unfold all");
  $("unfold").disabled = prefs.filter.trim() !== "" || names.length === 0;
  empty(book);
}

/** What is shown, as rows of numbers and texts for a file; the first row is the head. */
export function content(book) {
  const head = ["Group", ...COLUMNS.map(({ head, unit }) => (unit ? `${head} (${unit})` : head)), "Stale"];
  const rows = shown.map((row) => {
    const [source, kind] = row.group ? [row.group, "group"] : [row.line, "leg"];
    const cells = COLUMNS.map((column) => {
      if (column.id === "name") return row.group ? "" : legName(row.line);
      if (column.id === "age") return book.since(row.group ? source.newest : source.received_at);
      return column[kind](source) ?? null;
    });
    return [row.name, ...cells, row.group ? source.stale : source.stale ?? ""];
  });
  head[COLUMNS.length] = "Age (s)";
  return [head, ...rows];
}

function legName(line) {
  return `${line.contract_key} ${format.broker(line.broker)} ${format.masked(line.account_id)}`;
}

function toggle(name, book) {
  setOpen([name], !isOpen(name));
  render(book);
}

/** The rows in the order they are shown in. */
function plan(book) {
  const legs = book.legs();
  const words = prefs.filter.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (text) => words.every((word) => text.includes(word));
  const rows = [];
  for (const group of sorted(book.groups, "group")) {
    const name = format.groupName(book.groupBy, group.key);
    const all = legs.get(group.key) ?? [];
    const whole = words.length === 0 || matches(name.toLowerCase());
    const passing = whole ? all : all.filter((line) => matches(haystack(line)));
    if (!whole && passing.length === 0) continue;
    const open = isOpen(name) || (words.length > 0 && !whole);
    rows.push({ group, name, open, matching: whole ? group.lines : passing.length });
    if (open) for (const line of sorted(passing, "leg")) rows.push({ line, name });
  }
  return rows;
}

function haystack(line) {
  const side = line.option_type === "C" ? "call" : "put";
  return [line.underlying, line.contract_key, format.leg(line), side, format.broker(line.broker), format.masked(line.account_id)]
    .join(" ").toLowerCase();
}

/** Unknown comes last, however it is sorted; the server's order decides between equals. */
function sorted(rows, kind) {
  const { column: id, down } = prefs.sort;
  const sign = down ? -1 : 1;
  if (id === "name") {
    const ordered = kind === "leg" ? [...rows].sort(byContract) : rows;
    return down ? [...ordered].reverse() : ordered;
  }
  const column = COLUMNS.find((known) => known.id === id);
  const age = kind === "group" ? (group) => group.newest : (line) => line.received_at;
  const value = id === "age" ? (row) => (age(row) ? -Date.parse(age(row)) : null) : column?.[kind];
  const keyed = rows.map((row) => [row, value?.(row) ?? null]);
  keyed.sort(([, a], [, b]) => (a === null || b === null ? (a === null) - (b === null) : sign * (a - b)));
  return keyed.map(([row]) => row);
}

/** By code points: languages have their own order, and take far longer over it. */
const compare = (a, b) => (a < b ? -1 : Number(a > b));

function byContract(a, b) {
  return compare(a.expiration, b.expiration) || compare(a.underlying, b.underlying) || a.strike - b.strike ||
    compare(a.option_type, b.option_type) || a.id - b.id;
}

function empty(book) {
  const waiting = "Waiting for greekd to tell the book \u2026";
  const none = "No open option positions yet. They appear here as soon as a broker has told them.";
  const text = !book.total ? waiting : book.lines.size === 0 ? none : `Nothing matches \u201c${prefs.filter.trim()}\u201d.`;
  $("empty").hidden = shown.length > 0;
  write($("empty"), text);
}
