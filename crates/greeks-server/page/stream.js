// The stream of the book: opened, watched, and opened again when it is silent.

const SILENCE = 15_000;
const HIDDEN = 60_000;
const RETRY = 2_000;

/** `on.event(name, data)` for each event, `on.state(state)` with `connecting`, `live`, `lost` or `paused`. */
export class Stream {
  #source = null;
  #groupBy;
  #on;
  #last = null;
  #opened = 0;
  #heard = performance.now();
  #state = "";
  #retry = 0;
  #hide = 0;

  constructor(groupBy, on) {
    this.#groupBy = groupBy;
    this.#on = on;
    this.#turn("connecting");
    this.#open();
    setInterval(() => this.#watch(), 1_000);
    document.addEventListener("visibilitychange", () => this.#visibility());
  }

  /** Groups by something else: from here on everything is told anew. */
  regroup(groupBy) {
    this.#groupBy = groupBy;
    this.#last = null;
    if (this.#state !== "paused") this.#open();
  }

  #open() {
    this.#close();
    const query = new URLSearchParams({ group_by: this.#groupBy });
    if (this.#last) query.set("last_event_id", this.#last);
    this.#opened = performance.now();
    const source = new EventSource(`/v1/stream?${query}`);
    this.#source = source;
    for (const name of ["snapshot", "delta", "status", "alert", "ping"]) {
      source.addEventListener(name, (event) => {
        this.#heard = performance.now();
        if (event.lastEventId) this.#last = event.lastEventId;
        this.#on.event(name, JSON.parse(event.data));
        this.#turn("live");
      });
    }
    source.addEventListener("error", () => this.#again());
  }

  #close() {
    clearTimeout(this.#retry);
    this.#source?.close();
    this.#source = null;
  }

  /** After a broken connection, or a refusal, which a browser would not try again by itself. */
  #again() {
    this.#close();
    if (this.#state === "live") this.#turn("connecting");
    this.#retry = setTimeout(() => this.#open(), RETRY);
  }

  /** A connection can be silent without being broken. */
  #watch() {
    if (this.#state === "paused") return;
    const silent = (since) => performance.now() - since >= SILENCE;
    if (silent(this.#heard)) this.#turn("lost");
    if (this.#source && silent(Math.max(this.#heard, this.#opened))) this.#open();
  }

  /** Nobody looks: connections are few, and others may need them. */
  #visibility() {
    clearTimeout(this.#hide);
    if (document.hidden) {
      this.#hide = setTimeout(() => {
        this.#close();
        this.#turn("paused");
      }, HIDDEN);
    } else if (this.#state === "paused") {
      this.#heard = performance.now();
      this.#turn("connecting");
      this.#open();
    }
  }

  #turn(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#on.state(state);
  }
}
