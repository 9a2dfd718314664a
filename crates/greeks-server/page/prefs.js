// What a person has chosen, kept in the browser.

const KEY = "greekd.page";

const DEFAULTS = {
  groupBy: "underlying",
  filter: "",
  sort: { column: "name", down: false },
  /** Names of open groups, by grouping. */
  open: {},
  theme: "auto",
  range: "1",
};

function load() {
  try {
    return { ...DEFAULTS, ...JSON.parse(localStorage.getItem(KEY) ?? "{}") };
  } catch {
    return { ...DEFAULTS };
  }
}

export const prefs = load();

/** Changes some of it and keeps it. */
export function choose(changes) {
  Object.assign(prefs, changes);
  try {
    localStorage.setItem(KEY, JSON.stringify(prefs));
  } catch {
    // A browser that keeps nothing shows the page all the same.
  }
}

export const isOpen = (name) => (prefs.open[prefs.groupBy] ?? []).includes(name);

/** Opens or closes groups. */
export function setOpen(names, open) {
  const others = (prefs.open[prefs.groupBy] ?? []).filter((known) => !names.includes(known));
  choose({ open: { ...prefs.open, [prefs.groupBy]: open ? [...others, ...names] : others } });
}
