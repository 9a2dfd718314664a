// The page: what the stream tells goes into the book, and the book onto the screen, once per frame.

import * as alerts from "./alerts.js";
import * as bars from "./bars.js";
import { Book } from "./book.js";
import * as chips from "./chips.js";
import { $ } from "./dom.js";
import * as exports from "./export.js";
import * as history from "./history.js";
import * as missing from "./missing.js";
import { choose, prefs } from "./prefs.js";
import * as spark from "./spark.js";
import { Stream } from "./stream.js";
import * as table from "./table.js";
import * as theme from "./theme.js";
import * as tiles from "./tiles.js";

const PORTFOLIO_EVERY = 5_000;
const HISTORY_EVERY = 30_000;
const REFRESH_AFTER = 1_000;

const book = new Book();
let state = "connecting";
let heard = null;
let version = null;
let due = false;
let soon = null;
/** What was drawn last; what is still the same is not drawn again. */
let [status, portfolio] = [null, null];

/** Draws before the next frame, however much has happened until then. */
function draw() {
  if (!due) requestAnimationFrame(show);
  due = true;
}

function show() {
  due = false;
  chips.render(book, state, heard);
  tiles.render(book, state);
  table.render(book);
  if (status !== book.status) {
    status = book.status;
    alerts.render(book);
    spark.render(book);
  }
  if (portfolio !== book.portfolio) {
    portfolio = book.portfolio;
    missing.render(book);
    bars.render(book);
  }
}

const EVENTS = {
  snapshot(data) {
    book.snapshot(data);
    note(data.status);
    refresh();
  },
  delta(data) {
    const before = counts(book.total);
    book.delta(data);
    if (counts(book.total) !== before) refreshSoon();
  },
  status(data) {
    book.statusIs(data);
    note(data);
  },
  alert: (data) => book.alert(data),
  ping() {},
};

function note(data) {
  spark.note(data);
  // Another greekd brings another page.
  version ??= data.version;
  if (version !== data.version) location.reload();
}

async function refresh() {
  try {
    const answer = await fetch("/v1/portfolio?group_by=expiry");
    if (answer.ok) book.portfolio = await answer.json();
    draw();
  } catch {
    // The stream says that greekd does not answer.
  }
}

/** How many lines there are, and how many are in each sum. */
function counts(total) {
  const { lines, covered, ...figures } = total;
  return [lines, covered, ...Object.values(figures).map((figure) => figure?.lines)].join();
}

/** What is in no sum, and why, changes with what is: it is asked for anew, once a second at the most. */
function refreshSoon() {
  soon ??= setTimeout(() => {
    soon = null;
    refresh();
  }, REFRESH_AFTER);
}

const stream = new Stream(prefs.groupBy, {
  event(name, data) {
    heard = Date.now();
    EVENTS[name](data);
    draw();
  },
  state(next) {
    const back = state !== "live" && next === "live";
    state = next;
    if (back) history.load(book);
    // A hidden page has no frames, and its title is seen all the same.
    if (document.hidden) show();
    else draw();
  },
});

for (const input of document.getElementsByName("group")) {
  input.checked = input.value === prefs.groupBy;
  input.addEventListener("change", () => {
    choose({ groupBy: input.value });
    stream.regroup(input.value);
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && document.activeElement?.tagName !== "INPUT") {
    event.preventDefault();
    $("filter").focus();
  }
});

theme.build(history.draw);
table.build(draw);
history.build(book);
exports.build(book);
// Each second ages grow, whether anything is told or not.
setInterval(draw, 1_000);
setInterval(() => state === "live" && !document.hidden && refresh(), PORTFOLIO_EVERY);
setInterval(() => state === "live" && !document.hidden && history.load(book), HISTORY_EVERY);
draw();
