// Alerts that fire and those that ended, and the log of events as they come.

import { get, query } from "../api.js";
import { Keyed, fill, h } from "../dom.js";
import { clock, count, day, exact, now, span, when } from "../format.js";
import { conversionLink, empty, failed, linked, loading } from "../parts.js";
import { Resource } from "../resources.js";
import { changed, go } from "../router.js";
import { SEVERITY, badge, eventText, eventTone, icon, known } from "../words.js";

const KEPT = 500;
const DRAW_APART = 300;
const GROUPS = [["", "All events"], ["conversion:", "Conversions"], ["failover:", "Failovers"], ["service:", "Services"], ["rate:", "Rates"], ["tier:", "Tiers"], ["emergency:", "Emergency"], ["deposit:", "Deposits"], ["ledger:", "Ledger"]];

export function open(root, frame, first) {
  const alerts = alertLists();
  const log = eventLog(frame, first);
  root.append(alerts.root, log.root);
  return {
    turn: log.turn,
    close() {
      alerts.close();
      log.close();
    },
  };
}

// --- Alerts ---------------------------------------------------------------------------------------------------------

function alertLists() {
  const firing = h("ul", { class: "alerts" });
  const ended = h("ul", { class: "alerts" });
  const none = h("div", {}, loading(2));
  const noneEnded = empty("None ended yet");
  const endedPart = h("details", { class: "alerts-ended" }, h("summary", {}, h("h2", {}, "Ended")), noneEnded, ended);
  const root = h("section", { "aria-label": "Alerts" }, h("h2", {}, "Firing"), none, firing, endedPart);
  const firingRows = new Keyed(firing, alert, { key: (one) => one.key });
  const endedRows = new Keyed(ended, alert, { key: (one) => `${one.key} ${one.firstAt}` });
  const resource = new Resource("/alerts?active=false", {
    every: 15_000,
    concerns: (event) => !/^conversion:(accepted|quoted|executing|completed)$/.test(event.name),
    onData: ({ alerts }) => {
      const on = alerts.filter((one) => one.firing);
      const off = alerts.filter((one) => !one.firing);
      firingRows.show(on);
      endedRows.show(off.slice(0, 100));
      none.hidden = on.length > 0;
      if (!on.length) none.replaceChildren(h("div", { class: "empty calm" }, h("p", { class: "empty-title" }, icon("good", 18), "Nothing fires")));
      noneEnded.hidden = off.length > 0;
      fill(endedPart.querySelector("h2"), off.length ? `Ended (${count(off.length)})` : "Ended");
    },
    onError: (error) => firingRows.shown.size || none.replaceChildren(failed(error)),
  });
  return { root, close: () => resource.close() };
}

function alert(one) {
  const severity = known(SEVERITY, one.severity);
  const lasted = one.resolvedAt ? Date.parse(one.resolvedAt) - Date.parse(one.firstAt) : null;
  return h(
    "li",
    { class: `alert ${one.firing ? severity.tone : "quiet"}`, data: { key: `${one.key} ${one.firstAt}` } },
    badge(one.firing ? severity : { ...severity, tone: "quiet" }),
    h("div", { class: "alert-text" }, h("strong", {}, linked(one.text, one.conversionId)), h("div", { class: "muted" }, h("span", { class: "mono" }, one.name), one.serviceId ? ` at ${one.serviceId}` : "", one.conversionId && !one.text.includes(one.conversionId) ? [" ", conversionLink(one.conversionId)] : null)),
    h("div", { class: "alert-when" }, one.firing ? ["began ", when(one.firstAt)] : ["ended ", when(one.resolvedAt)], h("div", { class: "muted" }, one.count > 1 ? `told ${count(one.count)} times` : "", lasted === null ? "" : `${one.count > 1 ? ", " : ""}lasted ${span(lasted)}`)),
  );
}

// --- Events ---------------------------------------------------------------------------------------------------------

function eventLog(frame, first) {
  let place = first;
  let events = [];
  let held = [];
  let paused = false;
  let timer = null;
  let ready = false;
  const group = h("select", { id: "l-group" }, GROUPS.map(([value, text]) => h("option", { value }, text)));
  const find = h("input", { id: "l-find", type: "search", autocomplete: "off", spellcheck: "false", placeholder: "service, id, word" });
  const pause = h("button", { type: "button", class: "button", "aria-pressed": "false" }, "Pause");
  const form = h("form", { class: "filters", role: "search", "aria-label": "Events" }, h("div", { class: "filter" }, h("label", { for: "l-group" }, "Kind"), group), h("div", { class: "filter grow" }, h("label", { for: "l-find" }, "Contains"), find), h("div", { class: "filter-buttons" }, pause));
  const list = h("ol", { class: "log" });
  const note = h("p", { class: "muted log-note" });
  const instead = h("div", {}, loading(6));
  const root = h("section", { "aria-label": "Event log" }, h("h2", {}, "Events"), form, note, h("div", { class: "panel log-panel", tabindex: 0, role: "region", "aria-label": "Events, newest first" }, instead, list));
  const rows = new Keyed(list, line);

  const draw = () => {
    timer = null;
    const kind = place.get("kind") ?? "";
    const text = (place.get("text") ?? "").toLowerCase();
    const shown = events.filter((one) => one.name.startsWith(kind) && (!text || haystack(one).includes(text)));
    rows.show(shown);
    instead.hidden = shown.length > 0;
    if (!shown.length && ready) instead.replaceChildren(events.length ? empty("No event is like that") : empty("No events yet"));
    note.textContent = `${count(shown.length)} of the newest ${count(events.length)}${paused ? `, paused${held.length ? `: ${count(held.length)} new` : ""}` : ""}. Times are UTC.`;
  };
  const soon = () => {
    timer ??= setTimeout(draw, DRAW_APART);
  };
  const add = (fresh) => {
    const known = new Set(events.map((one) => one.id));
    const added = fresh.filter((one) => !known.has(one.id));
    if (!added.length) return;
    events = [...added.reverse(), ...events].sort((one, other) => other.id - one.id).slice(0, KEPT);
    soon();
  };
  const hear = (fresh) => {
    if (paused) {
      held = [...held, ...fresh].slice(-KEPT);
      soon();
    } else {
      add(fresh);
    }
  };
  /** What was before, and what came while the stream was cut. */
  const load = async () => {
    try {
      const body = await get(query("/events/history", { limit: 200 }));
      ready = true;
      add(body.events);
      soon();
    } catch (error) {
      if (!("status" in error)) throw error;
      if (!events.length) instead.replaceChildren(failed(error));
      retry = setTimeout(load, 5000);
    }
  };
  let retry = null;
  const fillForm = () => {
    group.value = place.get("kind") ?? "";
    if (find.value.trim() !== (place.get("text") ?? "")) find.value = place.get("text") ?? "";
  };
  const apply = () => go(changed({ kind: group.value, text: find.value.trim() }), { replace: true });
  form.addEventListener("submit", (event) => event.preventDefault());
  group.addEventListener("change", apply);
  find.addEventListener("input", apply);
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Go on" : "Pause";
    if (!paused) add(held.splice(0));
    draw();
  });
  fillForm();
  const unheard = frame.onEvents(hear);
  load();
  return {
    root,
    turn(query) {
      place = query;
      fillForm();
      draw();
    },
    close() {
      unheard();
      clearTimeout(timer);
      clearTimeout(retry);
    },
  };
}

function haystack(one) {
  one.text ??= `${one.name} ${one.conversionId ?? ""} ${eventText(one)}`.toLowerCase();
  return one.text;
}

function line(one) {
  const date = day(one.at);
  return h(
    "li",
    { data: { key: String(one.id) } },
    h("time", { datetime: one.at, title: exact(one.at) }, date === day(now()) ? clock(one.at) : `${date} ${clock(one.at)}`),
    h("span", { class: `name ${eventTone(one.name)}` }, one.name),
    h("span", { class: "text" }, eventText(one)),
    one.conversionId ? conversionLink(one.conversionId) : h("span", {}),
  );
}
