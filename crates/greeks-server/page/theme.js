// Dark or light: as the system is, or as chosen here.

import { $, write } from "./dom.js";
import { choose, prefs } from "./prefs.js";

const NEXT = { auto: "dark", dark: "light", light: "auto" };

/** `changed` is called when colours are others. */
export function build(changed) {
  show();
  $("theme").addEventListener("click", () => {
    choose({ theme: NEXT[prefs.theme] ?? "auto" });
    show();
    changed();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
}

function show() {
  document.documentElement.dataset.theme = prefs.theme;
  write($("theme"), `Theme: ${prefs.theme}`);
}
