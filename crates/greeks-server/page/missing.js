// Positions that are missing from sums, and why.

import { $, arrange, make, write } from "./dom.js";
import * as format from "./format.js";

const WHY = {
  no_row: "no Greeks received yet: in no sum",
  no_delta: "no delta known: not in delta sums",
  no_underlying_price: "no price of the underlying: not in dollar sums",
  no_beta: "no beta known: not in \u03b2-weighted sums",
  no_other_greek: "some Greek is unknown: not in its sum",
};

const shown = new Map();

export function render(book) {
  const { portfolio } = book;
  if (!portfolio) return;
  const groups = new Map();
  for (const position of portfolio.not_included) {
    const key = `${position.underlying}\n${position.reason}`;
    if (groups.has(key)) groups.get(key).push(position);
    else groups.set(key, [position]);
  }
  const elements = [...groups].map(([key, positions]) => {
    if (!shown.has(key)) shown.set(key, make("li", "", make("span", "label"), make("span", "why")));
    const element = shown.get(key);
    const [{ underlying, contract_key: contract, account_id: account, broker, reason }] = positions;
    const one = `${contract} \u00b7 ${format.broker(broker)} ${format.masked(account)}`;
    write(element.firstChild, positions.length === 1 ? one : `${underlying} \u00b7 ${positions.length} positions`);
    write(element.lastChild, WHY[reason] ?? reason);
    return element;
  });
  for (const key of shown.keys()) if (!groups.has(key)) shown.delete(key);
  arrange($("missing"), elements);
  const rest = portfolio.not_included_count - portfolio.not_included.length;
  write($("missing-count"), String(portfolio.not_included_count));
  write($("missing-rest"), portfolio.not_included_count === 0 ? "Every position is in every sum." : rest > 0 ? `and ${rest} more` : "");
}
