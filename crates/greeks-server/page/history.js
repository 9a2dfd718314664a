// Delta dollars and theta over time, from the database. What is unknown is a gap in the line, what was missed is shaded.

import { $, ink, write } from "./dom.js";
import * as format from "./format.js";
import { choose, prefs } from "./prefs.js";

/** Steps of up to a quarter of an hour are stored as sums: a longer one is worked out line by line. */
const RANGES = { 1: { days: 1, step: 60 }, 5: { days: 5, step: 300 }, 30: { days: 30, step: 900 } };
/** Steps of a history that is short. */
const FEW = 60;
const HEIGHT = 210;
const zoned = (seconds) => uPlot.tzDate(new Date(seconds * 1000), "America/New_York");

let chart = null;
let gaps = [];
let data = null;
/** Counts questions: an answer that was overtaken is not drawn. */
let asked = 0;

export function build(book) {
  for (const input of document.getElementsByName("range")) {
    input.checked = input.value === prefs.range;
    input.addEventListener("change", () => {
      choose({ range: input.value });
      load(book);
    });
  }
  new ResizeObserver(() => chart?.setSize(size())).observe($("history"));
}

/** Asks for the figures and draws them. */
export async function load(book) {
  const turn = ++asked;
  const range = RANGES[prefs.range] ?? RANGES[1];
  const to = new Date(book.now());
  const from = range.days === 1 ? midnight(to) : new Date(to - range.days * 86_400_000);
  try {
    const [delta, theta, step] = await figures(from, to, range.step);
    if (turn !== asked) return;
    gaps = delta.gaps.map((gap) => [Date.parse(gap.from) / 1000, gap.to ? Date.parse(gap.to) / 1000 : Infinity]);
    data = merge(delta.points, theta.points, step);
    write($("history-note"), note(delta));
    if (chart) chart.setData(data);
    else draw();
  } catch (error) {
    if (turn === asked) write($("history-note"), `No history: ${error.message}`);
  }
}

/** Both figures and the step they come in: a short history is told more finely than its range asks for. */
async function figures(from, to, step) {
  const delta = await ask("delta_dollars", from, to, step);
  const first = delta.points.findIndex((point) => point.value !== null);
  if (first < 0 || delta.points.length - first > FEW) return [delta, await ask("theta", from, to, step), step];
  const begin = new Date(Math.max(from, Date.parse(delta.points[first].at) - step * 1000));
  const fine = Math.max(5, Math.ceil((to - begin) / 1000 / 240));
  return [await ask("delta_dollars", begin, to, fine), await ask("theta", begin, to, fine), fine];
}

async function ask(metric, from, to, step) {
  const query = new URLSearchParams({ metric, from: from.toISOString(), to: to.toISOString(), step });
  const answer = await fetch(`/v1/history?${query}`);
  if (!answer.ok) throw new Error((await answer.json()).detail);
  return answer.json();
}

/** Draws anew, in the colours of now. */
export function draw() {
  if (!data) return;
  chart?.destroy();
  chart = new uPlot(options(), data, $("history"));
}

/** Midnight at the exchanges before `time`. */
function midnight(time) {
  const there = uPlot.tzDate(time, "America/New_York");
  return new Date(Math.floor(time / 1000) * 1000 - ((there.getHours() * 60 + there.getMinutes()) * 60 + there.getSeconds()) * 1000);
}

/** Enough of what is held to speak of the whole: just after a start the first values come one by one. */
const settled = (point) => point.value !== null && point.covered >= 0.9 * point.held;

/** Both figures at the same times; the line begins with the first whole value, and is broken where a gap was. */
function merge(delta, theta, step) {
  const first = Math.max(0, delta.findIndex(settled));
  const other = new Map(theta.map((point) => [point.at, point.value]));
  const [times, deltas, thetas] = [[], [], []];
  for (const point of delta.slice(first)) {
    const at = Date.parse(point.at) / 1000;
    const whole = !gaps.some(([from, to]) => from <= at && at + step <= to);
    times.push(at);
    deltas.push(whole ? point.value : null);
    thetas.push(whole ? other.get(point.at) ?? null : null);
  }
  return [times, deltas, thetas];
}

function note(history) {
  const known = history.points.filter((point) => point.value !== null);
  if (known.length === 0) return "Nothing is stored of this time yet.";
  const count = history.gaps.length;
  const reasons = [...new Set(history.gaps.slice(0, 20).map((gap) => `${format.broker(gap.source)}: ${gap.reason}`))];
  return count === 0 ? "No gaps." : `Shaded: ${count} gap${count > 1 ? "s" : ""} in what was received (${reasons.slice(0, 2).join("; ")}).`;
}

const size = () => ({ width: Math.max(200, $("history").clientWidth), height: HEIGHT });

function options() {
  const [muted, grid, delta, theta] = ["--muted", "--line", "--delta", "--theta"].map(ink);
  const axis = { stroke: muted, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font: "11px system-ui, sans-serif" };
  const line = (label, scale, stroke) => ({
    label, scale, stroke, width: 1.5, spanGaps: false, points: { size: 4, show: (u) => u.data[0].length < 40, fill: stroke },
    value: (_, value) => format.money(value ?? null),
  });
  const values = (_, splits) => splits.map((value) => (value === null ? "" : format.money(value).replace(/\.?0+([kMB]?)$/, (all, letter) => (all.includes(".") ? letter : all))));
  return {
    ...size(),
    tzDate: zoned,
    cursor: { drag: { x: false, y: false }, points: { size: 6 } },
    legend: { markers: { width: 2 } },
    scales: { theta: {} },
    series: [{ label: "ET", value: (_, at) => (at ? format.weekday(at * 1000) : format.DASH) }, line("\u0394 $", "y", delta), line("\u0398 $/day", "theta", theta)],
    axes: [
      { ...axis, values: uPlotTimes, space: 60 },
      { ...axis, values, stroke: delta, size: 64 },
      { ...axis, values, stroke: theta, side: 1, scale: "theta", size: 64, grid: { show: false } },
    ],
    hooks: { drawClear: [shade] },
  };
}

const uPlotTimes = [
  [86_400, "{D} {MMM}", null, null, null, null, null, null, 1],
  [3_600, "{HH}:{mm}", "\n{D} {MMM}", null, null, null, null, null, 1],
  [60, "{HH}:{mm}", "\n{D} {MMM}", null, null, null, null, null, 1],
  [1, "{HH}:{mm}:{ss}", null, null, null, null, null, null, 1],
];

function shade(u) {
  u.ctx.save();
  u.ctx.fillStyle = ink("--gap");
  const { left, top, width, height } = u.bbox;
  for (const [from, to] of gaps) {
    const begin = Math.max(left, u.valToPos(from, "x", true));
    const end = Math.min(left + width, to === Infinity ? left + width : u.valToPos(to, "x", true));
    if (end > begin) u.ctx.fillRect(begin, top, Math.max(1, end - begin), height);
  }
  u.ctx.restore();
}
