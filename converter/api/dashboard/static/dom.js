// Elements made in code. Text from outside becomes text nodes and attributes only, never markup.

const SVG = "http://www.w3.org/2000/svg";

/** An element. `props`: attributes; `on`: listeners; `class`, `data`; false and null are left out. */
export function h(tag, props, ...children) {
  return filled(document.createElement(tag), props, children);
}

/** An SVG element, by the same rules. */
export function s(tag, props, ...children) {
  return filled(document.createElementNS(SVG, tag), props, children);
}

function filled(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (name === "data") {
      for (const [key, one] of Object.entries(value)) if (one !== null && one !== undefined) element.dataset[key] = one;
    } else {
      element.setAttribute(name, value === true ? "" : String(value));
    }
  }
  element.append(...children.flat(4).filter((one) => one !== null && one !== undefined && one !== false));
  return element;
}

/** Give an element these children. What is alike stays in place, and with it focus, selection and scroll. */
export function fill(element, ...children) {
  const fresh = element.cloneNode(false);
  fresh.append(...children.flat(4).filter((one) => one !== null && one !== undefined && one !== false));
  morphChildren(element, fresh);
}

/**
 * Make one element like another, in place. Listeners stay with the old one: what acts inside such a tree says so in
 * `data-act`, and one listener outside of it reads that at the moment of the click (see `acting`).
 */
export function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || old.dataset?.key !== fresh.dataset?.key) {
    old.replaceWith(fresh);
    return fresh;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return old;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && !KEPT.has(`${old.nodeName} ${name}`)) old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  morphChildren(old, fresh);
  return old;
}

/** Attributes that the reader of the page sets, not we. */
const KEPT = new Set(["DETAILS open"]);

function morphChildren(old, fresh) {
  const wanted = [...fresh.childNodes];
  wanted.forEach((node, index) => {
    const present = old.childNodes[index];
    if (present) morph(present, node);
    else old.append(node);
  });
  while (old.childNodes.length > wanted.length) old.lastChild.remove();
}

/**
 * Keep a list of elements in step with records, by key. `make(record)` makes an element; an element whose record
 * changed is made like a new one, in place.
 */
export class Keyed {
  constructor(parent, make, { key = (one) => one.id } = {}) {
    Object.assign(this, { parent, make, key, shown: new Map() });
  }

  show(records) {
    const next = new Map();
    let place = null;
    for (const record of records) {
      const key = this.key(record);
      const text = JSON.stringify(record);
      const held = this.shown.get(key);
      if (held && held.text === text) next.set(key, held);
      else next.set(key, { element: held ? morph(held.element, this.make(record)) : this.make(record), text });
    }
    for (const [key, held] of this.shown) if (!next.has(key)) held.element.remove();
    for (const { element } of next.values()) {
      const expected = place ? place.nextSibling : this.parent.firstChild;
      if (element !== expected) this.parent.insertBefore(element, expected);
      place = element;
    }
    this.shown = next;
  }
}

/** Call `actions[data-act](data)` when something inside `root` with a `data-act` is clicked. */
export function acting(root, actions) {
  root.addEventListener("click", (event) => {
    const control = event.target.closest("[data-act]");
    if (!control || !root.contains(control) || !actions[control.dataset.act]) return;
    event.preventDefault();
    actions[control.dataset.act]({ ...control.dataset }, control);
  });
}

/** Text for screen readers alone. */
export function hidden(text) {
  return h("span", { class: "sr" }, text);
}
