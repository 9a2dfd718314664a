// Small helpers around the document. Text goes in as text only: a symbol that looks like markup stays a symbol.

export const $ = (id) => document.getElementById(id);

/** Makes an element: `make("td", "num")`, with text or children after the class. */
export function make(tag, className = "", ...content) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...content);
  return element;
}

/** Writes text where it differs: what stays the same costs no layout. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute where it differs; null removes it. */
export function mark(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** Makes `parent` hold these children in this order, moving as few as possible. */
export function arrange(parent, children) {
  let at = parent.firstChild;
  for (const child of children) {
    if (child === at) at = at.nextSibling;
    else parent.insertBefore(child, at);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

/** The colour that a variable of the style sheet has now, for canvases. */
export function ink(name) {
  const probe = $("probe");
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}
