// All conversions, newest first, a page at a time: the list never grows beyond that.

import { query } from "../api.js";
import { Keyed, fill, h, hidden } from "../dom.js";
import { amount, asset, count, stamp } from "../format.js";
import { cell, conversionLink, empty, failed, loading, row, table } from "../parts.js";
import { Resource } from "../resources.js";
import { changed, go } from "../router.js";
import { CONVERSION, badge, icon, known } from "../words.js";

const PAGE = 50;
const COLUMNS = [
  ["Received", "c-time"],
  ["Conversion", "c-id"],
  ["Asked for", "c-what"],
  ["Way", "c-way"],
  ["Delivered", "c-net num"],
  ["State", "c-state"],
];
const FILTERS = ["state", "service", "from", "to", "find"];

export function open(root, frame, first) {
  let place = first;
  const chips = h("div", { class: "chips", role: "group", "aria-label": "State" });
  const service = h("select", { id: "f-service" }, h("option", { value: "" }, "Any service"));
  const from = h("input", { id: "f-from", class: "short", size: 6, autocomplete: "off", spellcheck: "false", placeholder: "any" });
  const to = h("input", { id: "f-to", class: "short", size: 6, autocomplete: "off", spellcheck: "false", placeholder: "any" });
  const find = h("input", { id: "f-find", type: "search", class: "mono", autocomplete: "off", spellcheck: "false", placeholder: "whole address or cv_\u2026" });
  const form = h(
    "form",
    { class: "filters", role: "search", "aria-label": "Conversions" },
    h("div", { class: "filter grow" }, h("label", { for: "f-find" }, "Address or id"), find),
    h("div", { class: "filter" }, h("label", { for: "f-service" }, "Service"), service),
    h("div", { class: "filter" }, h("label", { for: "f-from" }, "From coin"), from),
    h("div", { class: "filter" }, h("label", { for: "f-to" }, "To coin"), to),
    h("div", { class: "filter-buttons" }, h("button", { type: "submit", class: "button" }, "Filter"), h("button", { type: "button", class: "button quiet", id: "f-clear" }, "Clear")),
  );
  const body = h("tbody", { role: "rowgroup" });
  const list = h("div", { class: "panel" }, table("Conversions, newest first", COLUMNS, body));
  const instead = h("div", {}, loading(8));
  const pager = h("nav", { class: "pager", "aria-label": "Pages of conversions" });
  root.append(chips, form, instead, list, pager);
  list.hidden = true;
  const rows = new Keyed(body, conversionRow);
  let states = {};
  let next = null;
  let seen = 0;

  const drawChips = () => {
    const chosen = place.getAll("state");
    const all = h("a", { class: "chip", href: changed({ state: null, cursor: null, page: null }), "aria-current": chosen.length ? null : "true" }, "All");
    fill(chips, all, Object.entries(CONVERSION).map(([name, { text, tone, shape }]) => {
      const on = chosen.includes(name);
      const after = on ? chosen.filter((one) => one !== name) : [...chosen, name];
      return h("a", { class: `chip ${tone}`, href: changed({ state: after, cursor: null, page: null }), "aria-current": on ? "true" : null, data: { key: name, focus: name } }, icon(shape, 12), h("span", {}, text), states[name] === undefined ? null : h("strong", {}, count(states[name])));
    }));
  };
  const drawPager = () => {
    const page = Number(place.get("page") ?? 1);
    fill(
      pager,
      page > 1 ? h("a", { class: "button", href: changed({ cursor: null, page: null }), data: { key: "first" } }, "Newest") : null,
      page > 2 ? h("button", { type: "button", class: "button", data: { key: "back", act: "back" } }, "Newer") : null,
      h("span", { class: "muted", data: { key: "place" } }, seen ? (page > 1 ? `Page ${count(page)}, ${count(seen)} conversions` : `The newest ${count(seen)}`) : ""),
      next ? h("a", { class: "button", href: changed({ cursor: next, page: page + 1 }), data: { key: "next" } }, "Older") : null,
    );
  };
  const show = (answer) => {
    next = answer.next;
    seen = answer.conversions.length;
    rows.show(answer.conversions);
    list.hidden = !seen;
    instead.hidden = seen > 0;
    if (!seen) instead.replaceChildren(filtered(place) ? empty("No conversion is like that", "Take a filter away to see more.") : empty("No conversions yet", "The first appears here by itself as soon as it is asked for."));
    drawPager();
  };
  const path = () => listPath(place);
  const resources = [
    new Resource(path, {
      every: 10_000,
      concerns: (event) => event.name.startsWith("conversion:") || event.name.startsWith("failover:"),
      onData: show,
      onError: (error) => {
        if (list.hidden || error.status === 422) {
          list.hidden = true;
          instead.hidden = false;
          instead.replaceChildren(failed(error));
        }
      },
    }),
    new Resource("/multi-service/status", {
      every: 10_000,
      concerns: (event) => event.name.startsWith("conversion:"),
      onData: (answer) => {
        states = answer.states ?? {};
        const names = Object.keys(answer.services ?? {});
        fill(service, h("option", { value: "" }, "Any service"), names.map((name) => h("option", { value: name }, name)));
        service.value = place.get("service") ?? "";
        drawChips();
      },
    }),
  ];
  const fillForm = () => {
    service.value = place.get("service") ?? "";
    from.value = place.get("from") ?? "";
    to.value = place.get("to") ?? "";
    find.value = place.get("find") ?? "";
  };
  const apply = () => go(changed({ service: service.value, from: from.value.trim().toUpperCase(), to: to.value.trim().toUpperCase(), find: find.value.trim(), cursor: null, page: null }));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    apply();
  });
  service.addEventListener("change", apply);
  find.addEventListener("search", apply);
  form.querySelector("#f-clear").addEventListener("click", () => go(changed(Object.fromEntries([...FILTERS, "cursor", "page"].map((name) => [name, null])))));
  pager.addEventListener("click", (event) => event.target.closest("[data-act=back]") && history.back());
  fillForm();
  drawChips();
  drawPager();

  return {
    turn(query) {
      const before = path();
      place = query;
      drawChips();
      if (path() === before) {
        drawPager();
        return;
      }
      fillForm();
      list.classList.add("turning");
      resources[0].turn(path);
      resources[0].onData = (answer) => {
        list.classList.remove("turning");
        show(answer);
      };
    },
    close: () => resources.forEach((one) => one.close()),
  };
}

function filtered(place) {
  return FILTERS.some((name) => place.get(name));
}

function listPath(place) {
  const find = place.get("find") ?? "";
  return query("/conversions", {
    state: place.getAll("state"),
    service: place.get("service"),
    fromCoin: place.get("from"),
    toCoin: place.get("to"),
    [find.startsWith("cv_") ? "id" : "address"]: find,
    cursor: place.get("cursor"),
    limit: PAGE,
  });
}

function conversionRow(one) {
  const { tone } = known(CONVERSION, one.state);
  return row(
    one.id,
    `conversion ${tone}`,
    cell(null, "c-time", stamp(one.createdAt)),
    cell(null, "c-id", conversionLink(one.id)),
    cell(null, "c-what", h("span", { class: "what" }, amount(one.amount, asset(one.fromCoin, one.fromNetwork)), h("span", { class: "to" }, icon("right", 12), hidden(" to ")), h("span", { class: "coin" }, asset(one.toCoin, one.toNetwork)))),
    cell(null, "c-way", way(one)),
    cell("Delivered", "c-net num", one.delivered ? amount(one.delivered, one.toCoin) : one.promised ? h("span", { class: "promised" }, h("span", { class: "said" }, "promised "), amount(one.promised, one.toCoin)) : h("span", { class: "none" }, "\u2013")),
    cell(null, "c-state", badge(known(CONVERSION, one.state), one.reason)),
  );
}

const REACHED = { RECEIVED: 0, QUOTING: 1, WAITING: 1, EXECUTING: 3, RECONCILING: 3, SETTLING: 4, COMPLETED: 5 };

/** Asked, chosen, attempt, settlement: what is done, where it stands, what went wrong. */
function way(one) {
  const ended = ["FAILED", "CANCELLED", "EXPIRED"].includes(one.state);
  const guessed = one.service ? 3 : one.round ? 1 : 0;
  const at = REACHED[one.state] ?? guessed;
  const tone = known(CONVERSION, one.state).tone;
  const steps = [
    one.state === "QUOTING" ? "asking" : one.round > 1 ? `asked \u00d7${one.round}` : "asked",
    one.service ?? "chosen",
    one.failovers ? `${one.failovers} failover${one.failovers > 1 ? "s" : ""}` : "attempt",
    one.state === "SETTLING" ? "settling" : "settled",
  ];
  return h(
    "ol",
    { class: "way" },
    steps.map((text, index) => {
      const step = index + 1;
      const state = step < at || one.state === "COMPLETED" ? "done" : step === at ? (ended ? "ended" : "at") : "todo";
      const said = { done: " done", at: " now", ended: " ended here", todo: " not yet" }[state];
      return h("li", { class: `${state} ${state === "at" || state === "ended" ? tone : ""}` }, state === "done" ? icon("good", 10) : state === "ended" ? icon("bad", 10) : h("span", { class: "bead" }), h("span", { class: "step" }, text), hidden(said));
    }),
  );
}

