// The columns of the table: what each shows of a leg and of a group, and its unit.

import * as format from "./format.js";

const figure = (name) => ({
  leg: (line) => line.position[name],
  group: (group) => group[name].value,
  /** How many of a group's lines the sum lacks. */
  lacks: (group) => group.lines - group[name].lines,
});

/** In order. `leg` and `group` give the number shown, or null; `text` writes it. */
export const COLUMNS = [
  { id: "name", head: "Position", unit: "", text: String },
  {
    id: "quantity", head: "Qty", unit: "contracts", hint: "Contracts held; negative is short", text: format.count,
    leg: (line) => line.quantity, group: () => undefined,
  },
  {
    id: "price", head: "Price", unit: "per unit", hint: "The option's price as the broker values it", text: format.price,
    leg: (line) => line.option_price, group: () => undefined,
  },
  {
    id: "iv", head: "IV", unit: "%", hint: "Implied volatility per year", text: format.percent,
    leg: (line) => line.implied_volatility, group: () => undefined,
  },
  { id: "delta", head: "\u0394", unit: "units", hint: "Delta of the position, in units of the underlying", text: format.units, ...figure("delta") },
  { id: "delta_dollars", head: "\u0394 $", unit: "$", hint: "Delta \u00d7 price of the underlying", text: format.money, ...figure("delta_dollars") },
  {
    id: "beta_weighted_delta_dollars", head: "\u03b2-\u0394", unit: "$", hint: "Delta dollars \u00d7 beta to the benchmark",
    text: format.money, ...figure("beta_weighted_delta_dollars"),
  },
  {
    id: "gamma_1pct", head: "\u0393", unit: "$ per 1 %", hint: "Change of delta dollars when the underlying moves by 1 %",
    text: format.money, ...figure("gamma_1pct"),
  },
  { id: "theta", head: "\u0398", unit: "$ per day", hint: "Per calendar day", text: format.money, ...figure("theta") },
  { id: "vega", head: "Vega", unit: "$ per pt", hint: "Per volatility point", text: format.money, ...figure("vega") },
  {
    id: "age", head: "Age", unit: "s, min, h", hint: "Since the newest value was received",
    text: format.age,
  },
];
