// The whole at a glance: totals, what needs a person, and the services by tier.

import { ACTIONS } from "../actions.js";
import { sparkline } from "../charts.js";
import { Keyed, acting, fill, h, hidden, s } from "../dom.js";
import { DASH, count, countdown, now, percent, rounded, when } from "../format.js";
import { cell, failed, linked, loading, row, table } from "../parts.js";
import { Resource } from "../resources.js";
import { link } from "../router.js";
import { BREAKER, CONVERSION, SERVICE, SEVERITY, TIERS, badge, icon, known } from "../words.js";

const COLUMNS = [
  ["Service", "c-name"],
  ["Breakers", "c-breakers"],
  ["Weight and share", "c-share"],
  ["Success", "c-success num"],
  ["Latency", "c-latency"],
  ["Last failure", "c-failure"],
  ["Recovery check", "c-check"],
  ["Actions", "c-actions", true],
];
/** Alerts of what this view tells by itself, with a button beside it. */
const TOLD_ALREADY = new Set(["conversion:needs_review", "rate:held"]);
const OPERATIONS = { quote: "Quotes", execute: "Executions" };

export function open(root) {
  const totals = h("section", { class: "totals", "aria-label": "Totals" }, loading(1));
  const attention = h("section", { class: "attention", "aria-label": "What needs you", hidden: true });
  const tiers = h("div", { class: "tiers" }, loading(4));
  root.append(totals, attention, tiers);
  const state = { alerts: [], review: 0, held: [], emergency: false };
  const tables = new Map();
  acting(root, ACTIONS);

  const resources = [
    new Resource("/multi-service/status", {
      every: 5000,
      concerns: (event) => /^(conversion|failover|service):/.test(event.name),
      onData: (body) => {
        state.review = body.states?.NEEDS_REVIEW ?? 0;
        drop(totals);
        fill(totals, tiles(body));
        drawAttention(attention, state);
      },
      onError: (error) => isNew(totals) && totals.replaceChildren(failed(error)),
    }),
    new Resource("/services", {
      every: 5000,
      concerns: (event) => /^(service|emergency|rate|failover):/.test(event.name),
      onData: (body) => {
        Object.assign(state, { held: body.held ?? [], emergency: body.emergency });
        drop(tiers);
        drawTiers(tiers, tables, body);
        drawAttention(attention, state);
      },
      onError: (error) => isNew(tiers) && tiers.replaceChildren(failed(error)),
    }),
    new Resource("/alerts?active=true", {
      every: 10_000,
      concerns: (event) => !/^conversion:(accepted|quoted|executing|completed)$/.test(event.name),
      onData: (body) => {
        state.alerts = body.alerts.filter((one) => one.firing && !TOLD_ALREADY.has(one.name));
        drawAttention(attention, state);
      },
    }),
  ];
  return { turn() {}, close: () => resources.forEach((one) => one.close()) };
}

function isNew(element) {
  return element.querySelector(":scope > .loading, :scope > .empty.bad") !== null;
}

/** Take what stood in the place of data away. */
function drop(element) {
  if (isNew(element)) element.replaceChildren();
}

// --- Totals ---------------------------------------------------------------------------------------------------------

function tiles(status) {
  const states = status.states ?? {};
  const ended = (states.COMPLETED ?? 0) + (states.FAILED ?? 0) + (states.EXPIRED ?? 0);
  const under = Object.entries(states).reduce((sum, [name, number]) => sum + (known(CONVERSION, name).group === "open" ? number : 0), 0);
  const services = Object.values(status.services ?? {});
  return [
    h("h2", { class: "sr" }, "Totals"),
    tile("Conversions", count(status.totalConversions), `${count(under)} under way`, null),
    tile("Services", `${count(status.healthyServices)}`, `of ${services.length} available`, status.healthyServices === services.length ? null : status.healthyServices * 2 < services.length ? "bad" : "warn"),
    tile("Completed", ended ? percent((states.COMPLETED ?? 0) / ended) : DASH, `of ${count(ended)} ended`, null, "Cancelled conversions are not counted."),
    tile("Failovers", count(status.failovers), status.totalConversions ? `${percent(status.failovers / status.totalConversions)} of conversions` : "", null),
    tile("Mean answer", status.averageResponseTime ? `${count(status.averageResponseTime)}\u00a0ms` : DASH, "to a quote", null),
    status.totalConversions ? h("div", { class: "tile wide" }, stateBar(states, status.totalConversions), h("ul", { class: "states" }, Object.entries(states).filter(([, number]) => number > 0).map(([name, number]) => stateCount(name, number)))) : null,
  ];
}

function tile(name, figure, more, tone, title = null) {
  return h("div", { class: `tile ${tone ?? ""}`, title }, h("div", { class: "tile-name" }, name), h("div", { class: "tile-figure" }, figure), h("div", { class: "tile-more" }, more));
}

function stateBar(states, total) {
  const parts = Object.entries(states).filter(([, number]) => number > 0);
  let at = 0;
  return s(
    "svg",
    { class: "statebar", viewBox: "0 0 100 6", preserveAspectRatio: "none", "aria-hidden": "true" },
    parts.map(([name, number]) => {
      const width = (number / total) * 100;
      const part = s("rect", { class: `fill ${known(CONVERSION, name).tone}`, x: at.toFixed(3), y: 0, width: Math.max(0.4, width - 0.3).toFixed(3), height: 6 });
      at += width;
      return part;
    }),
  );
}

function stateCount(name, number) {
  const { text, tone, shape } = known(CONVERSION, name);
  return h("li", {}, h("a", { href: link("conversions", { state: name }), class: `state-count ${tone}` }, icon(shape, 12), h("span", {}, text), h("strong", {}, count(number))));
}

// --- What needs a person --------------------------------------------------------------------------------------------

function drawAttention(section, { alerts, review, held, emergency }) {
  const items = [
    review ? item("bad", "warn", h("strong", {}, review === 1 ? "1 conversion needs review" : `${count(review)} conversions need review`), "No rule can prove what happened.", h("a", { class: "button small primary", href: link("review") }, "Review")) : null,
    emergency ? item("bad", "warn", h("strong", {}, "The emergency tier is open"), "by an operator's word.", act("emergency", "Close it\u2026", { on: "false" })) : null,
    ...held.map((one) => item("warn", "wait", h("strong", {}, `${pairName(one)} is held`), "Its rate is not trusted; its conversions wait.", act("confirmRate", "Confirm the rate\u2026", { pair: pairName(one) }))),
    ...alerts.slice(0, 5).map((one) => {
      const { tone, shape } = known(SEVERITY, one.severity);
      return item(tone, shape, h("strong", {}, linked(one.text, one.conversionId)), when(one.firstAt), h("a", { class: "button small", href: link("alerts") }, "Alerts"));
    }),
    alerts.length > 5 ? h("li", { class: "notable" }, h("a", { href: link("alerts") }, `${count(alerts.length - 5)} more alerts`)) : null,
  ].filter(Boolean);
  section.hidden = !items.length;
  fill(section, h("h2", { class: "sr" }, "What needs you"), h("ul", {}, items));
}

function pairName(held) {
  return typeof held === "string" ? held : held.pair;
}

function item(tone, shape, title, text, action) {
  return h("li", { class: `notable ${tone}` }, icon(shape, 16), h("div", { class: "notable-text" }, title, " ", h("span", { class: "muted" }, text)), action);
}

function act(name, text, data = {}, kind = "") {
  return h("button", { type: "button", class: `button small ${kind}`, data: { act: name, focus: name, ...data } }, text);
}

// --- Services -------------------------------------------------------------------------------------------------------

function drawTiers(root, tables, body) {
  const byTier = new Map();
  for (const one of body.services) byTier.set(one.tier, [...(byTier.get(one.tier) ?? []), one]);
  const numbers = [...byTier.keys()].sort((one, other) => one - other);
  for (const number of numbers) {
    if (!tables.has(number)) tables.set(number, tierTable(number));
    const { section, rows, note } = tables.get(number);
    if (!section.isConnected) root.append(section);
    rows.show(byTier.get(number).map((one) => ({ ...one, ms: Math.round(Date.parse(body.at) || now()) })));
    const able = byTier.get(number).filter((one) => one.available).length;
    fill(note, `${able} of ${byTier.get(number).length} available`, number === 4 ? [" ", emergencySwitch(body.emergency)] : null);
  }
  for (const [number, { section }] of tables) if (!byTier.has(number)) section.remove();
}

function emergencySwitch(on) {
  return act("emergency", on ? "Close the emergency tier\u2026" : "Open it now\u2026", { on: String(!on) });
}

function tierTable(number) {
  const body = h("tbody", { role: "rowgroup" });
  const note = h("span", { class: "tier-note" });
  const name = TIERS[number] ?? `Tier ${number}`;
  const section = h(
    "section",
    { class: "tier", "aria-label": `Tier ${number}, ${name}` },
    h("div", { class: "tier-head" }, h("h2", {}, name, h("span", { class: "muted" }, ` tier ${number}`)), note),
    h("div", { class: "panel" }, table(`Services of tier ${number}`, COLUMNS, body)),
  );
  return { section, note, rows: new Keyed(body, serviceRow) };
}

function serviceRow(one) {
  return row(
    one.id,
    `service ${one.state}`,
    cell(null, "c-name", h("div", { class: "service-name" }, h("strong", {}, one.id), badge(known(SERVICE, one.state))), one.detail ? h("p", { class: "detail" }, one.detail) : null),
    cell("Breakers", "c-breakers", h("ul", { class: "breakers" }, Object.entries(one.breakers).map(breaker))),
    cell("Weight and share", "c-share", share(one)),
    cell("Success", "c-success num", h("strong", {}, one.requests ? percent(one.successRate) : DASH), h("span", { class: "under" }, `of ${count(one.requests)}`), one.failures ? h("span", { class: "under down", title: "Failures in a row" }, `${count(one.failures)} in a row`) : null),
    cell("Latency", "c-latency", latency(one)),
    cell("Last failure", "c-failure", one.lastFailure ? [when(one.lastFailure.at), h("span", { class: "under clip", title: one.lastFailure.text }, one.lastFailure.text)] : h("span", { class: "none" }, "none")),
    cell("Recovery check", "c-check", recovery(one)),
    cell(null, "c-actions", buttons(one)),
  );
}

function breaker([operation, one]) {
  const { text, tone, shape } = known(BREAKER, one.state);
  return h("li", { class: tone }, icon(shape, 12), h("span", { class: "op" }, OPERATIONS[operation] ?? operation), h("span", {}, text));
}

function share({ weight, share: real }) {
  const wanted = Number(weight);
  const got = real === null ? null : Number(real);
  return h(
    "div",
    { class: "share" },
    s(
      "svg",
      { class: "sharebar", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
      s("rect", { class: "rail", x: 0, y: 2, width: 100, height: 4 }),
      got === null ? null : s("rect", { class: "real", x: 0, y: 2, width: (got * 100).toFixed(2), height: 4 }),
      s("rect", { class: "goal", x: Math.min(99, wanted * 100).toFixed(2), y: 0, width: 1, height: 8 }),
    ),
    h("span", { class: "pieces" }, h("strong", {}, rounded(wanted), hidden(" configured, ")), h("span", { class: "muted", title: "Share of the attempts begun in this tier in the last hour" }, got === null ? "no attempts" : `real ${rounded(got)}`)),
  );
}

function latency({ latencies, p50, p95 }) {
  const known95 = p95 !== null && p95 !== undefined && latencies.length > 0;
  return h("div", { class: "latency" }, sparkline(latencies), h("span", { class: "under pieces" }, known95 ? [h("span", { title: "Half of the answers took no longer" }, `${count(Math.round(p50))}\u00a0ms`), h("span", { title: "95 of 100 answers took no longer" }, `p95 ${count(Math.round(p95))}\u00a0ms`)] : "no answers yet"));
}

function recovery(one) {
  const waits = Object.entries(one.breakers).filter(([, each]) => each.state === "open");
  const told = waits.map(([operation, each]) => h("div", {}, left(until(one, each), "a probe is due"), h("span", { class: "under" }, OPERATIONS[operation] ?? operation)));
  if (Object.values(one.breakers).some((each) => each.state === "half-open")) told.push(h("div", {}, "being probed"));
  if (one.isolated) told.push(h("div", { class: "muted" }, "after release"));
  else if (one.quarantined) told.push(h("div", {}, one.quarantinedUntil ? left(Date.parse(one.quarantinedUntil), "until its quotes are good") : "needs an operator", h("span", { class: "under" }, "Quarantine")));
  return told.length ? told : checked(one.check);
}

/** When a breaker admits a probe, on the server's clock. */
function until(one, each) {
  if (each.retryAfterMs !== null && each.retryAfterMs !== undefined) return one.ms + each.retryAfterMs;
  return each.until ? Date.parse(each.until) : null;
}

function left(moment, due) {
  if (moment === null) return h("span", {}, due);
  return h("span", { class: "countdown", title: new Date(moment).toISOString(), data: { until: Math.round(moment), due } }, moment > now() ? countdown(moment - now()) : due);
}

function checked(check) {
  if (!check) return h("span", { class: "none" }, "not checked yet");
  return h("div", { class: "checked" }, check.error ? h("span", { class: "down" }, `missed ${count(check.misses)}`) : h("span", { class: "muted" }, "not needed"), h("span", { class: "under" }, "checked ", when(check.at, { focusable: false })));
}

function buttons(one) {
  const troubled = Object.values(one.breakers).some((each) => each.state === "open" || each.state === "half-open") || one.quarantined;
  const about = hidden(` ${one.id}`);
  if (one.isolated || one.state === "isolated") return h("button", { type: "button", class: "button small", data: { act: "release", id: one.id, focus: "one" } }, "Release", about);
  return [
    troubled ? h("button", { type: "button", class: "button small", data: { act: "recover", id: one.id, focus: "two" } }, "Recover", about.cloneNode(true)) : null,
    h("button", { type: "button", class: "button small", data: { act: "isolate", id: one.id, focus: "one" } }, "Isolate", about),
  ];
}
