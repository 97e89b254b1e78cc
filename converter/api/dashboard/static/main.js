// The frame: navigation, the state of the line, what is announced; it shows one view at a time, and the drawer over it.

import { askToken } from "./dialogs.js";
import { useTokenPrompt } from "./api.js";
import { fill, h, hidden } from "./dom.js";
import { Drawer } from "./drawer.js";
import { clock, count, exact, now, span, tick } from "./format.js";
import { Resource, freshness, hear, refreshAll, streamIs } from "./resources.js";
import { VIEWS, link, read } from "./router.js";
import { Stream } from "./stream.js";
import { eventText, icon } from "./words.js";
import * as alerts from "./views/alerts.js";
import * as conversions from "./views/conversions.js";
import * as failovers from "./views/failovers.js";
import * as overview from "./views/overview.js";
import * as rates from "./views/rates.js";
import * as review from "./views/review.js";

const modules = { alerts, conversions, failovers, overview, rates, review };
const TITLES = { overview: "Overview", conversions: "Conversions", rates: "Rates", failovers: "Failovers", review: "Review", alerts: "Alerts" };
const ANNOUNCE_APART = 5000;

const $ = (id) => document.getElementById(id);
const main = $("main");
const drawer = new Drawer();
const line = { state: "connecting" };
const counts = { review: 0, alerts: 0 };
const listeners = new Set();
let shown = null;

/** What a view gets: the place in the URL, events as they come, and a voice. */
const frame = {
  onEvents(listener) {
    listeners.add(listener);
    return () => listeners.delete(listener);
  },
  announce,
  line,
};

function showPlace() {
  const { view, query } = read();
  if (shown?.name !== view) {
    shown?.view.close();
    main.replaceChildren();
    const title = h("h1", { tabindex: -1, id: "title" }, TITLES[view]);
    const content = h("div", { class: `view view-${view}` });
    main.append(h("div", { class: "view-head" }, title), content);
    const first = shown === null;
    shown = { name: view, view: modules[view].open(content, frame, query) };
    if (!first) {
      scrollTo(0, 0);
      title.focus({ preventScroll: true });
    }
    showNav();
  } else {
    shown.view.turn(query);
  }
  drawer.show(query.get("show"));
  nameTab();
}

function nameTab() {
  const due = counts.review + counts.alerts;
  document.title = `${due ? `(${due}) ` : ""}${TITLES[read().view]} \u00b7 Converter`;
}

function showNav() {
  const { view } = read();
  fill(
    $("nav"),
    h(
      "ul",
      {},
      VIEWS.map((name, index) => {
        const due = counts[name] ?? 0;
        return h(
          "li",
          {},
          h(
            "a",
            { href: link(name), accesskey: index + 1, "aria-current": view === name ? "page" : null },
            icon(name, 18),
            h("span", { class: "nav-text" }, TITLES[name]),
            due ? h("span", { class: `count ${name}` }, count(due), hidden(name === "review" ? " to review" : " firing")) : null,
          ),
        );
      }),
    ),
  );
}

// --- The line -------------------------------------------------------------------------------------------------------

function showLine() {
  const { answeredAt, error, late } = freshness();
  const age = answeredAt === null ? null : performance.now() - answeredAt;
  const bad = error !== null || late;
  const shownState = bad ? "stale" : line.state;
  $("line").dataset.state = shownState;
  put($("line-text"), { live: "Live", connecting: "Connecting", cut: "Stream cut", resting: "Resting", stale: "Stale" }[shownState]);
  put($("age"), age === null ? "" : age < 2000 ? "up to date" : `data ${span(age)} old`);
  put($("utc"), `${clock(now())} UTC`);
  $("utc").dateTime = new Date(now()).toISOString();
  showNotice(age, bad ? error : null, bad);
}

function showNotice(age, error, bad) {
  let text = "";
  if (bad) {
    const since = age === null ? "There is no data yet." : `You see what was at ${exact(now() - age)}, ${span(age)} ago.`;
    text = `${error ? `The API does not answer: ${error.message}. ` : "The API is late. "}${since} It is asked again by itself.`;
  } else if (line.state === "cut" || (line.state === "connecting" && line.broken)) {
    const left = Math.ceil((line.retryAt - Date.now()) / 1000);
    const next = line.state === "connecting" ? "Connecting again\u2026" : `Connecting again in ${Math.max(0, left)}\u00a0s.`;
    text = `The event stream is cut (${line.reason}). What you see is asked for every 5\u00a0s instead. ${next}`;
  }
  $("notice").hidden = !text;
  $("notice").classList.toggle("bad", bad);
  put($("notice-text"), text);
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function onState(change) {
  const before = line.state;
  Object.assign(line, { retryAt: 0 }, change);
  if (change.state === "cut") {
    if (!line.broken) announce("The event stream is cut.");
    line.broken = true;
  }
  if (change.state === "live") {
    if (line.broken) announce("The event stream is back.");
    line.broken = false;
    refreshAll();
  }
  streamIs(change.state === "live");
  if (before !== change.state) showLine();
}

// --- Events ---------------------------------------------------------------------------------------------------------

const SPOKEN = /^(failover:|service:(unavailable|recovered|quarantined)|conversion:(needs_review|failed)|tier:|emergency:|ledger:)/;

function onEvents(events) {
  hear(events);
  for (const listener of listeners) listener(events);
  const spoken = events.filter((one) => SPOKEN.test(one.name));
  if (spoken.length > 2) announce(`${spoken.length} events, the last: ${saying(spoken.at(-1))}`);
  else for (const one of spoken) announce(saying(one));
}

function saying(event) {
  return `${event.name.replace(":", " ").replace("_", " ")}: ${eventText(event)}`;
}

let waiting = [];
let speaking = null;

/** Say it to a screen reader, together with what else happens in the next seconds. */
function announce(text) {
  waiting.push(text);
  speaking ??= setTimeout(() => {
    const said = waiting.length > 3 ? [`${waiting.length} changes`, ...waiting.slice(-2)] : waiting;
    $("announcer").textContent = said.join(". ");
    waiting = [];
    speaking = null;
  }, waiting.length > 1 ? ANNOUNCE_APART : 500);
}

// --- Start ----------------------------------------------------------------------------------------------------------

function learnCounts(name, number) {
  if (counts[name] === number) return;
  counts[name] = number;
  showNav();
  nameTab();
}

useTokenPrompt(askToken);
$("notice-retry").addEventListener("click", () => {
  stream.now();
  refreshAll();
});
const stream = new Stream({
  onEvents,
  onState,
  onGap() {
    announce("Some events are not kept any more. Everything is asked for again.");
    refreshAll();
  },
});
stream.now();
new Resource("/multi-service/status", {
  every: 10_000,
  concerns: (event) => /^conversion:(needs_review|resolved|retried)/.test(event.name),
  onData: (body) => learnCounts("review", body.states?.NEEDS_REVIEW ?? 0),
});
new Resource("/alerts?active=true", {
  every: 10_000,
  concerns: (event) => !/^conversion:(accepted|quoted|executing|completed)$/.test(event.name),
  onData: (body) => learnCounts("alerts", body.alerts.filter((one) => one.firing).length),
});
addEventListener("hashchange", showPlace);
showPlace();
showLine();
setInterval(() => {
  showLine();
  if (!document.hidden) tick(document);
}, 1000);
