// Conversions before a person: what was sent, what is answered now, and what can be done.

import { ACTIONS } from "../actions.js";
import { Keyed, acting, fill, h } from "../dom.js";
import { DASH, amount, clock, count, exact, stamp, when } from "../format.js";
import { conversionLink, copyable, empty, failed, loading, pair } from "../parts.js";
import { Resource } from "../resources.js";
import { ATTEMPT, badge, icon, known } from "../words.js";

const OPERATION = {
  PREPARED: { text: "outcome unknown", tone: "warn", shape: "ask" },
  EXECUTED: { text: "executed", tone: "good", shape: "good" },
  NOT_EXECUTED: { text: "not executed", tone: "quiet", shape: "off" },
};
const ASK_WITHIN = 60_000;

export function open(root, frame, first) {
  const intro = h("p", { class: "intro" }, "No rule can prove what became of these, so nothing more is sent for them. Look up what happened, at the service and on the chain, and say it. A parked conversion is still looked at by itself every few minutes.");
  const bar = h("div", { class: "bar", hidden: true });
  const list = h("div", { class: "cases" });
  const instead = h("div", {}, loading(3));
  root.append(intro, bar, instead, list);
  acting(root, { ...ACTIONS, askNow: () => ask() });
  const rows = new Keyed(list, card);
  let cases = null;
  let answers = new Map();
  let askedAt = null;
  let asking = null;
  let goal = first.get("case");

  const draw = () => {
    if (!cases) return;
    instead.hidden = cases.length > 0;
    bar.hidden = !cases.length;
    if (!cases.length) instead.replaceChildren(empty("Nothing needs review", "Conversions that no rule can end appear here, with all evidence."));
    rows.show(cases.map((one) => ({ ...one, ...answers.get(one.id), asking: asking !== null })));
    fill(bar, h("span", { class: "muted" }, `${count(cases.length)} ${cases.length === 1 ? "conversion" : "conversions"}, the longest waiting first. `, asking ? "The services are being asked\u2026" : askedAt ? ["Services asked ", when(askedAt, { focusable: false }), "."] : ""), h("button", { type: "button", class: "button small", disabled: asking !== null, data: { act: "askNow", focus: "ask" } }, "Ask the services again"));
    if (goal && cases.some((one) => one.id === goal)) {
      const target = document.getElementById(`case-${goal}`);
      goal = null;
      target?.scrollIntoView({ block: "start" });
      target?.focus({ preventScroll: true });
    }
  };
  /** Ask outside; seldom, for every service with a parked conversion gets a call. */
  const ask = () => {
    asking?.close();
    asking = new Resource("/review?ask=true", {
      every: 86_400_000,
      within: ASK_WITHIN,
      onData: (body) => {
        answers = new Map(body.cases.map(({ id, answer, found }) => [id, { answer, found }]));
        askedAt = Date.now();
        finish();
      },
      onError: () => finish(),
    });
    draw();
  };
  const finish = () => {
    asking?.close();
    asking = null;
    draw();
  };
  const resource = new Resource("/review?ask=false", {
    every: 15_000,
    concerns: (event) => /^conversion:(needs_review|resolved|retried|completed|failed)$/.test(event.name),
    onData: (body) => {
      const seen = new Set(cases?.map((one) => one.id));
      cases = body.cases;
      if (cases.some((one) => !seen.has(one.id))) ask();
      else draw();
    },
    onError: (error) => cases ?? instead.replaceChildren(failed(error)),
  });
  return {
    turn(query) {
      goal = query.get("case");
      draw();
    },
    close() {
      resource.close();
      asking?.close();
    },
  };
}

function card(one) {
  const [fromCoin, toCoin] = [one.from, one.to].map((asset) => asset.split(" ")[0]);
  const data = { id: one.id, service: one.service ?? "", to: toCoin, promised: one.promised ?? "", address: one.address, txid: one.found?.txid ?? "" };
  const act = (name, text, kind = "") => one.words.includes(name) && h("button", { type: "button", class: `button ${kind}`, data: { act: name, focus: name, ...data } }, text);
  const wide = (name, text, label) => (text ? h("div", { class: "pair broad" }, h("dt", {}, name), h("dd", {}, copyable(text, label))) : null);
  return h(
    "article",
    { class: "panel case", id: `case-${one.id}`, tabindex: -1, data: { key: one.id }, "aria-labelledby": `name-${one.id}` },
    h("div", { class: "case-head" }, h("h2", { id: `name-${one.id}` }, amount(one.amount, one.from, { whole: true }), icon("right"), h("span", { class: "coin" }, one.to)), conversionLink(one.id, { whole: true }), h("span", { class: "muted" }, "parked ", when(one.since))),
    h("p", { class: "reason" }, icon("warn"), h("span", {}, one.reason || "parked")),
    h(
      "dl",
      { class: "facts" },
      pair("Service", one.service ?? DASH),
      pair("Promised", amount(one.promised, toCoin, { whole: true })),
      pair("Attempt", one.attempt === null ? DASH : [`${one.attempt}. `, badge(known(ATTEMPT, one.attemptState))]),
      pair("Received", stamp(one.createdAt)),
      wide("Pays to", one.address, "address"),
      wide("Order at the service", one.orderId, "order id"),
      wide("Deposit address", one.depositAddress, "deposit address"),
      one.depositAmount ? pair("Deposit", amount(one.depositAmount, fromCoin, { whole: true })) : null,
      wide("Deposit memo", one.depositMemo, "memo"),
    ),
    h("h3", {}, "What was sent"),
    one.sent.length ? h("ol", { class: "sent" }, one.sent.map(sent)) : h("p", { class: "muted" }, "Nothing was sent."),
    one.earlier.length ? [h("h3", {}, "What came to nothing before"), h("ul", { class: "sent" }, one.earlier.map(earlier))] : null,
    h("h3", {}, "What is answered now"),
    h("p", { class: "answer-now" }, answered(one)),
    h("div", { class: "case-buttons" }, act("executed", "It was executed\u2026"), act("notExecuted", "It was not executed\u2026"), act("retry", "Look again\u2026", "quiet")),
  );
}

function answered(one) {
  if (one.answer) return h("span", {}, h("strong", {}, one.service ?? "The service"), ` ${one.answer}`);
  if (!one.service) return "It has no open attempt: there is nobody to ask.";
  return one.asking ? "Being asked\u2026" : `${one.service} could not be asked.`;
}

function earlier(one) {
  return h("li", {}, h("div", { class: "answer-head" }, h("strong", {}, `${one.number}. ${one.service}`), badge(known(ATTEMPT, one.state)), h("span", { class: "ms" }, stamp(one.at))), one.error ? h("p", { class: "why" }, one.error) : null);
}

function sent(one) {
  return h(
    "li",
    {},
    h("div", { class: "answer-head" }, h("strong", {}, one.operation), badge(OPERATION[one.state] ?? { text: one.state, tone: "quiet", shape: "ask" }), h("span", { class: "muted" }, `sent ${one.sends === 1 ? "once" : `${one.sends} times`}`)),
    h(
      "dl",
      { class: "figures" },
      pair("Prepared", h("time", { datetime: one.preparedAt, title: exact(one.preparedAt) }, h("span", { class: "stamp" }, exact(one.preparedAt)))),
      pair("To be sent before", h("time", { datetime: one.sendBefore, title: exact(one.sendBefore) }, `${clock(one.sendBefore)} UTC`)),
      h("div", { class: "pair broad" }, h("dt", {}, "Our key"), h("dd", {}, copyable(one.key, "key"))),
      one.depositTxid ? h("div", { class: "pair broad" }, h("dt", {}, "Deposit transaction"), h("dd", {}, copyable(one.depositTxid, "deposit transaction id"))) : null,
    ),
    one.error ? h("p", { class: "why" }, one.error) : null,
  );
}
