// The head of the page: brokers, database, market, and whether this page hears anything.

import { $, arrange, make, mark, write } from "./dom.js";
import * as format from "./format.js";

const chips = new Map();
const STATES = {
  connected: ["good", "\u25cf"],
  connecting: ["fair", "\u25d0"],
  degraded: ["fair", "\u25d0"],
  disconnected: ["bad", "\u25cb"],
};
const TROUBLE = { retrying: "retrying", full: "disk full", needs_operator: "needs you", standby: "standby", connecting: "connecting" };
const MARKET = { open: "Market open", closed: "Market closed", pre_open: "Pre-open", unknown: "Market hours unknown" };

/** Shows the state of everything; `state` is that of the stream. */
export function render(book, state, heard) {
  connection(state, heard);
  const { status } = book;
  if (!status) return;
  $("simulated").hidden = !status.simulated;
  const elements = status.sources.map((source) => broker(book, source));
  elements.push(database(status));
  arrange($("chips"), elements);
  market(book, status.market);
}

function chip(key, [tone, sign], parts, title) {
  if (!chips.has(key)) {
    const made = make("li", "chip", make("span", "sign"), make("span", "who"), make("span", "state"), make("span", "detail"));
    made.dataset.chip = key;
    made.firstChild.setAttribute("aria-hidden", "true");
    chips.set(key, made);
  }
  const element = chips.get(key);
  if (element.dataset.tone !== tone) element.dataset.tone = tone;
  [sign, ...parts].forEach((text, at) => write(element.children[at], text));
  mark(element, "title", title);
  return element;
}

function broker(book, source) {
  const look = source.wanted ? STATES[source.state] ?? STATES.connecting : ["off", "\u25cb"];
  const good = look[0] === "good";
  const state = source.wanted ? source.state : "stopped";
  const detail = good ? format.age(book.since(source.last_message)) : format.age(book.since(source.since));
  const title = [
    `${source.subscriptions} instruments subscribed`,
    source.reconnect_attempt > 0 ? `attempt ${source.reconnect_attempt}` : "",
    source.reason ?? source.last_error ?? "",
  ];
  return chip(source.source, look, [format.broker(source.source), good ? "" : state, detail], title.filter(Boolean).join("\n"));
}

function database(status) {
  const { state, waiting_records: waiting, last_error: error } = status.database;
  const trouble = TROUBLE[state] ?? "";
  const tone = trouble ? [state === "connecting" ? "fair" : "bad", state === "connecting" ? "\u25d0" : "\u25cb"] : STATES.connected;
  const detail = `p95 ${format.latency(status.receive_to_durable.p95)}${waiting > 0 ? ` \u00b7 ${waiting} waiting` : ""}`;
  return chip("database", tone, ["PostgreSQL", trouble, detail], error ?? "received to durable, last minute");
}

function market(book, { state, until }) {
  const left = until ? ` \u00b7 until ${format.weekday(until)} ET (${format.until((Date.parse(until) - book.now()) / 1000)})` : "";
  write($("market"), `${MARKET[state] ?? state}${left}`);
  $("market").dataset.state = state;
}

const WORDS = {
  live: "live",
  connecting: "connecting \u2026",
  lost: "disconnected",
  paused: "paused",
};

function connection(state, heard) {
  const page = document.documentElement;
  if (page.dataset.stream !== state) page.dataset.stream = state;
  write($("stream"), WORDS[state]);
  const since = heard ? `The last word came at ${format.clock(heard)} ET: values are of then.` : "";
  write($("lost-text"), state === "lost" ? `Disconnected from greekd. ${since} Trying again.` : "");
  $("lost").hidden = state !== "lost";
}
