// The book as the server tells it. Sums are the server's: nothing is added up here.

/** The bucket of days to expiry that a line is in, named as the server names it. */
function bucketOf(days) {
  const limits = [[0, "0"], [7, "1-7"], [21, "8-21"], [45, "22-45"], [90, "46-90"]];
  return (limits.find(([last]) => days <= last) ?? [0, ">90"])[1];
}

const KEYS = {
  underlying: (line) => line.underlying,
  expiry: (line) => bucketOf(line.days_to_expiry),
  account: (line) => line.account_id,
  broker: (line) => line.broker,
};

export class Book {
  lines = new Map();
  groupBy = "underlying";
  groups = [];
  total = null;
  status = null;
  /** The last answer of /v1/portfolio?group_by=expiry: buckets, betas and what is missing from sums. */
  portfolio = null;
  /** What the server's clock shows beyond this machine's. */
  #skew = 0;

  /** The server's time now, in milliseconds. */
  now() {
    return Date.now() + this.#skew;
  }

  /** The seconds since a time the server told; null if it told none. */
  since(time) {
    return time ? (this.now() - Date.parse(time)) / 1000 : null;
  }

  snapshot(data) {
    this.#told(data.as_of);
    this.lines = new Map(data.lines.map((line) => [line.id, line]));
    this.groupBy = data.portfolio.group_by;
    this.groups = data.portfolio.groups;
    this.total = data.portfolio.total;
    this.status = data.status;
  }

  delta(data) {
    this.#told(data.as_of);
    for (const line of data.lines) this.lines.set(line.id, line);
    for (const id of data.closed) this.lines.delete(id);
    this.groups = data.groups;
    this.total = data.total;
  }

  statusIs(data) {
    this.#told(data.as_of);
    this.status = data;
  }

  /** An alert that begins or ends; the next status has it too. */
  alert(data) {
    if (!this.status) return;
    const others = this.status.alerts.filter((known) => known.kind !== data.kind || known.source !== data.source);
    this.status = { ...this.status, alerts: data.active ? [...others, data] : others };
  }

  /** The lines of each group, by the group's key. */
  legs() {
    const groups = new Map();
    const key = KEYS[this.groupBy];
    for (const line of this.lines.values()) {
      const name = key(line);
      if (groups.has(name)) groups.get(name).push(line);
      else groups.set(name, [line]);
    }
    return groups;
  }

  #told(asOf) {
    this.#skew = Date.parse(asOf) - Date.now();
  }
}
