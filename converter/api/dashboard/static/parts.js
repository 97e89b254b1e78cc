// Pieces that more than one view shows.

import { h, hidden } from "./dom.js";
import { changed } from "./router.js";
import { icon } from "./words.js";

/** A conversion's id, linked to its drawer. `cv_` and the time in front say little: the end is what tells them apart. */
export function conversionLink(id, { whole = false } = {}) {
  if (!id) return h("span", { class: "none" }, "\u2013");
  const text = whole || id.length <= 14 ? id : `${id.slice(0, 3)}\u2026${id.slice(-8)}`;
  return h("a", { class: "mono id", href: changed({ show: id }), title: id, data: { focus: id } }, text);
}

/** A text that may name a conversion: the id in it becomes a link. */
export function linked(text, id) {
  if (!id || !text.includes(id)) return [text];
  const [before, ...after] = text.split(id);
  return [before, conversionLink(id), after.join(id)];
}

/** A long text of which all is shown, that can be copied. */
export function copyable(text, label) {
  if (!text) return h("span", { class: "none" }, "\u2013");
  return h(
    "span",
    { class: "copyable" },
    h("span", { class: "mono breakable" }, text),
    h("button", { type: "button", class: "icon-button", data: { copy: text }, "aria-label": `Copy ${label}`, title: `Copy ${label}` }, icon("copy")),
  );
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest?.("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.classList.add("done");
    setTimeout(() => button.classList.remove("done"), 1200);
  } catch {
    // without the right to write to the clipboard the text can still be selected
    const range = document.createRange();
    range.selectNodeContents(button.previousSibling);
    getSelection().removeAllRanges();
    getSelection().addRange(range);
  }
});

/** Said in the place of rows. */
export function empty(title, text = "") {
  return h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), text ? h("p", {}, text) : null);
}

/** Shown until the first answer. */
export function loading(rows = 3) {
  return h("div", { class: "loading", role: "status" }, h("span", { class: "sr" }, "Loading"), Array.from({ length: rows }, () => h("div", { class: "bone", "aria-hidden": "true" })));
}

/** Shown in the place of data of which there never was any. */
export function failed(error) {
  return h("div", { class: "empty bad" }, h("p", { class: "empty-title" }, "This cannot be shown now"), h("p", {}, error.message));
}

/** A table; `columns`: [label, class]. On a narrow screen each row becomes a card, with the labels inside. */
export function table(caption, columns, body) {
  return h(
    "table",
    { role: "table", class: "cards" },
    h("caption", { class: "sr" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(([label, kind, unseen]) => h("th", { scope: "col", role: "columnheader", class: kind }, unseen ? hidden(label) : label)))),
    body,
  );
}

export function cell(label, kind, ...children) {
  return h("td", { role: "cell", class: kind, data: { label } }, h("div", { class: "cell" }, children));
}

export function row(key, kind, ...cells) {
  return h("tr", { role: "row", class: kind, data: { key } }, cells);
}

/** A name and what it is. */
export function pair(name, ...value) {
  return h("div", { class: "pair" }, h("dt", {}, name), h("dd", {}, value));
}
