// One row of the table: the cells of a group or of a leg, written only where they differ.

import { COLUMNS } from "./columns.js";
import { make, mark, write } from "./dom.js";
import * as format from "./format.js";

const FLAGS = [[8, "delayed"], [16, "frozen"], [128, "IV doubtful"]];
const COMPUTED = 1;
const WHY_STALE = { source_down: "its broker is not connected", old: "nothing came although its market is open" };

const rows = new WeakMap();
let appeared = null;
const sight = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) rows.get(target).seen = isIntersecting;
  if (entries.some((entry) => entry.isIntersecting)) appeared();
});

/** Calls `draw` when rows come into sight: what they show may be old. */
export function watch(draw) {
  appeared = draw;
}

class Row {
  element = make("tr");
  cells = {};
  #shown = null;
  #age = make("span", "age");
  badge = make("span", "badge");

  /** Whether a person can see it. */
  seen = true;

  constructor(kind) {
    this.element.className = kind;
    this.element.role = "row";
    for (const column of COLUMNS) {
      const cell = column.id === "name" ? make("th", "name") : make("td", column.id);
      cell.role = column.id === "name" ? "rowheader" : "cell";
      if (column.id === "age") cell.append(this.#age, this.badge);
      this.cells[column.id] = cell;
      this.element.append(cell);
    }
    this.badge.hidden = true;
    rows.set(this.element, this);
    // The browser says roughly what is near; to watch every row exactly would cost as much as to write to those in sight.
    this.element.addEventListener("contentvisibilityautostatechange", ({ skipped }) => {
      if (skipped) this.forget();
      else sight.observe(this.element);
    });
  }

  /** Shows `source`, a group or a leg; the same object as before has not changed. */
  show(source, kind) {
    if (source === this.#shown) return false;
    this.#shown = source;
    for (const column of COLUMNS) {
      if (!column[kind]) continue;
      const value = column[kind](source);
      const cell = this.cells[column.id];
      write(cell, value === undefined ? "" : column.text(value));
      cell.classList.toggle("negative", value < 0);
    }
    return true;
  }

  /** It is out of sight, or will not be shown again. */
  forget() {
    sight.unobserve(this.element);
    this.seen = false;
  }

  /** Since its newest value was received. */
  age(seconds) {
    write(this.#age, format.age(seconds));
  }

  stale(text, all, why) {
    this.element.classList.toggle("stale", all);
    if (this.badge.hidden === Boolean(text)) this.badge.hidden = !text;
    write(this.badge, text);
    mark(this.badge, "title", why || null);
  }
}

/** A group; its name is a button that opens it. */
export class GroupRow extends Row {
  button = make("button", "twist");
  #label = make("span", "label");
  #legs = make("span", "legs");

  constructor(toggle) {
    super("group");
    this.button.type = "button";
    this.button.append(this.#label);
    this.button.addEventListener("click", toggle);
    this.cells.name.append(this.button, this.#legs);
  }

  /** `matching` of its lines pass the filter. */
  update({ group, name, open, matching }, book) {
    write(this.#label, name);
    mark(this.button, "aria-expanded", String(open));
    const covered = group.covered < group.lines ? ` \u00b7 ${group.lines - group.covered} without Greeks` : "";
    write(this.#legs, matching < group.lines ? `${matching} of ${group.lines} shown` : `${group.lines}${covered}`);
    this.age(book.since(group.newest));
    if (!this.show(group, "group")) return;
    for (const column of COLUMNS) {
      const lacks = column.lacks?.(group) ?? 0;
      const cell = this.cells[column.id];
      cell.classList.toggle("partial", lacks > 0 && lacks < group.lines);
      mark(cell, "title", lacks > 0 ? `without ${lacks} of ${group.lines} positions, for which it is unknown` : null);
    }
    const all = group.stale > 0 && group.stale === group.lines;
    this.stale(group.stale === 0 ? "" : all ? "STALE" : `${group.stale} STALE`, all, "last values are in the sums");
  }
}

/** A leg. */
export class LegRow extends Row {
  #label = make("span", "label");
  #where = make("span", "where");
  #line = null;

  constructor(id) {
    super("leg");
    this.element.dataset.line = id;
    this.cells.name.append(this.#label, this.#where);
    this.element.addEventListener("pointerenter", () => mark(this.cells.name, "title", this.#details()));
  }

  update({ line }, book) {
    this.#line = line;
    this.age(book.since(line.received_at));
    if (!this.show(line, "leg")) return;
    const name = book.groupBy === "underlying" ? format.root(line) : format.root(line) || line.underlying;
    write(this.#label, `${name ? `${name} ` : ""}${format.leg(line)}`);
    const flags = FLAGS.filter(([bit]) => line.flags & bit).map(([, text]) => ` \u00b7 ${text}`).join("");
    write(this.#where, `${line.days_to_expiry} d \u00b7 ${format.desk(line.broker)} ${format.masked(line.account_id)}${flags}`);
    const why = line.stale ? `${WHY_STALE[line.stale] ?? line.stale}, since ${format.clock(line.stale_since)}` : "";
    this.stale(line.stale ? "STALE" : "", Boolean(line.stale), why);
  }

  /** What there is no column for. */
  #details() {
    const line = this.#line;
    const unit = ["delta", "gamma", "theta", "vega", "rho"].map((name) => {
      const value = line[name];
      return `${name} ${value === null ? format.DASH : String(Number(value.toPrecision(5))).replace("-", "\u2212")}`;
    });
    return [
      `${line.contract_key} \u00d7 ${line.multiplier}`,
      `per unit: ${unit.join(", ")}`,
      `underlying at ${format.price(line.underlying_price)}`,
      `broker's time ${format.clock(line.event_time)}, received ${format.clock(line.received_at)} ET`,
      line.flags & COMPUTED ? "what the broker does not send is computed" : "as the broker sent it",
    ].join("\n");
  }
}
