// The explain record of a conversion, as the drawer shows it.

import { h, hidden } from "./dom.js";
import { DASH, amount, asset, clock, count, difference, exact, percent, stamp, took, when } from "./format.js";
import { copyable, empty, pair } from "./parts.js";
import { link } from "./router.js";
import { ATTEMPT, CONVERSION, TIERS, badge, eventText, eventTone, icon, known } from "./words.js";

const CANCELLABLE = ["RECEIVED", "QUOTING", "WAITING", "EXECUTING"];
const RETRIABLE = ["WAITING", "NEEDS_REVIEW"];
const HOLDS = { jump: "it jumped, and fewer than three quotes agree", no_agreement: "the quotes contradict each other", unverified: "there is one quote and nothing to compare it with" };

export function heading(record) {
  return h(
    "h2",
    { id: "drawer-name", tabindex: -1 },
    amount(record.amount, asset(record.fromCoin, record.fromNetwork), { whole: true }),
    h("span", { class: "to" }, icon("right"), hidden(" to ")),
    h("span", { class: "coin" }, asset(record.toCoin, record.toNetwork)),
    badge(known(CONVERSION, record.state)),
  );
}

export function explained(record, events) {
  return [
    actions(record, events),
    record.reason ? h("p", { class: "reason" }, record.reason) : null,
    facts(record),
    h("h3", {}, "Rounds"),
    record.rounds.length ? record.rounds.map((one) => round(one, record)) : empty("Nobody was asked yet"),
    record.earlierAttempts.length ? [h("h3", {}, "Earlier attempts"), attempts(record.earlierAttempts)] : null,
    h("h3", {}, "Events"),
    events.length ? eventList(events) : empty("No events"),
  ];
}

function actions({ id, state, service }, events) {
  const awaitsDeposit = !known(CONVERSION, state).group?.startsWith("ended") && events.some((one) => one.name === "deposit:requested");
  const buttons = [
    RETRIABLE.includes(state) ? button("retry", id, state === "WAITING" ? "Next round now\u2026" : "Look again\u2026") : null,
    awaitsDeposit ? button("deposit", id, "Deposit was paid\u2026", { service: service ?? "the service" }) : null,
    state === "NEEDS_REVIEW" ? h("a", { class: "button small primary", href: link("review", { case: id }) }, "Review") : null,
    CANCELLABLE.includes(state) ? button("cancel", id, "Cancel\u2026") : null,
  ].filter(Boolean);
  return buttons.length ? h("div", { class: "drawer-actions" }, buttons) : null;
}

function button(act, id, text, more = {}) {
  return h("button", { type: "button", class: "button small", data: { act, id, focus: act, ...more } }, text);
}

function facts(record) {
  const coin = asset(record.toCoin, record.toNetwork);
  const lasted = record.completedAt ? took(new Date(record.completedAt) - new Date(record.createdAt)) : null;
  return h(
    "dl",
    { class: "facts" },
    pair("Promised", amount(record.promised, coin, { whole: true })),
    pair("Delivered", amount(record.delivered, coin, { whole: true })),
    pair("Against the promise", h("span", { class: tone(record.difference) }, difference(record.difference))),
    pair("Service", record.service ?? DASH),
    pair("Received", stamp(record.createdAt), " ", h("span", { class: "muted" }, "(", when(record.createdAt, { focusable: false }), ")")),
    pair("Ended", record.completedAt ? [stamp(record.completedAt), h("span", { class: "muted" }, ` after ${lasted}`)] : DASH),
    pair("Failovers", count(record.failovers)),
    pair("Rounds", count(record.round)),
    h("div", { class: "pair wide" }, h("dt", {}, "Address"), h("dd", {}, copyable(record.address, "address"))),
    h("div", { class: "pair wide" }, h("dt", {}, "Payout transaction"), h("dd", {}, copyable(record.txid, "transaction id"))),
    h("div", { class: "pair wide" }, h("dt", {}, "Conversion"), h("dd", {}, copyable(record.id, "conversion id"))),
  );
}

function tone(text) {
  return text && text.startsWith("-") ? "down" : text && text !== "0" ? "up" : "";
}

function round(one, record) {
  const judged = one.judgedAt ? `judged after ${took(new Date(one.judgedAt) - new Date(one.openedAt))}` : "not judged yet";
  const answers = new Map(one.quotes.map((quote) => [quote.service, quote]));
  const seats = one.services.length ? one.services : one.quotes.map((quote) => ({ service: quote.service, tier: null, asked: true, objection: "" }));
  const asked = seats.filter((seat) => seat.asked);
  const passed = seats.filter((seat) => !seat.asked);
  const chosen = one.attempts.at(-1)?.service ?? one.quotes.find((quote) => quote.rank === 0)?.service;
  return h(
    "section",
    { class: "round", data: { key: `round-${one.number}` } },
    h("h4", {}, `Round ${one.number}`, h("span", { class: "muted" }, ` ${clock(one.openedAt)}, ${judged}`)),
    one.hold ? h("p", { class: "reason warn" }, icon("wait"), h("span", {}, `The pair is held: ${HOLDS[one.hold] ?? one.hold}.`)) : null,
    h("ol", { class: "answers", "aria-label": `Who was asked in round ${one.number}` }, ranked(asked, answers).map((seat) => answer(seat, answers.get(seat.service), record, seat.service === chosen))),
    passed.length
      ? h("div", { class: "passed" }, h("h5", {}, "Not asked"), h("ul", {}, passed.map((seat) => h("li", {}, h("strong", {}, seat.service), h("span", { class: "muted" }, ` ${seat.objection || "not needed in this round"}`)))))
      : null,
    judgement(one, record),
    one.attempts.length ? [h("h5", {}, "Attempts"), attempts(one.attempts, record)] : null,
  );
}

/** By rank; those without one behind. */
function ranked(seats, answers) {
  const place = (seat) => answers.get(seat.service)?.rank ?? (answers.get(seat.service)?.net ? 1000 : 2000);
  return [...seats].sort((one, other) => place(one) - place(other));
}

function answer(seat, quote, record, isChosen) {
  const coin = record.toCoin;
  return h(
    "li",
    { class: isChosen ? "answer chosen" : "answer", data: { key: seat.service } },
    h(
      "div",
      { class: "answer-head" },
      h("strong", {}, seat.service),
      seat.tier === null ? null : h("span", { class: "muted" }, TIERS[seat.tier] ?? `Tier ${seat.tier}`),
      verdict(quote),
      isChosen ? h("span", { class: "chosen-mark" }, icon("good", 12), "chosen") : null,
      quote && !quote.late ? h("span", { class: "ms" }, took(quote.ms)) : null,
    ),
    quote?.net ? figures(quote, coin) : null,
    quote?.error || (quote?.code && quote.code !== "accepted" && quote.text) ? h("p", { class: "why" }, quote.error || quote.text) : null,
  );
}

function figures(quote, coin) {
  return h(
    "dl",
    { class: "figures" },
    pair("Net", amount(quote.net, coin, { whole: true })),
    pair("Gross", amount(quote.gross, coin, { whole: true })),
    pair("Fees", quote.fees.length ? quote.fees.map((fee) => h("span", { class: "fee" }, `${fee.kind} `, amount(fee.amount, coin, { whole: true }))) : "none"),
    pair("Rate", h("span", { class: "mono" }, quote.rate), h("span", { class: "muted" }, quote.firm ? " firm" : " indicative")),
  );
}

function verdict(quote) {
  if (!quote) return badge({ text: "no answer yet", tone: "quiet", shape: "busy" });
  if (quote.late) return badge({ text: "late", tone: "warn", shape: "busy" });
  if (quote.error) return badge({ text: "no offer", tone: "quiet", shape: "bad" });
  if (quote.code === null) return badge({ text: "not judged yet", tone: "quiet", shape: "busy" });
  if (quote.code !== "accepted") return badge({ text: `excluded: ${quote.code.replaceAll("_", " ")}`, tone: quote.code === "held" ? "warn" : "bad", shape: "bad" });
  if (!quote.inBand) return badge({ text: "outside the band", tone: "quiet", shape: "off" });
  const rank = quote.rank === null ? "" : `, rank ${quote.rank + 1}`;
  return badge({ text: `in the band${rank}`, tone: "good", shape: "good" });
}

function judgement(one, record) {
  if (!one.judged) return null;
  return h(
    "dl",
    { class: "judgement" },
    one.why ? h("div", { class: "pair wide" }, h("dt", {}, "Why"), h("dd", {}, one.why)) : null,
    one.bestNet ? pair("Best net", amount(one.bestNet, record.toCoin, { whole: true })) : null,
    one.maxRateDifference ? pair("Band", `${percent(one.maxRateDifference, 2)} below it`) : null,
    one.reference ? pair("Reference rate", h("span", { class: "mono" }, one.reference)) : null,
    one.tolerance ? pair("Tolerance", percent(one.tolerance, 2)) : null,
  );
}

function attempts(made, record) {
  return h(
    "ol",
    { class: "attempts" },
    made.map((one) =>
      h(
        "li",
        { data: { key: `attempt-${one.number}` } },
        h("div", { class: "answer-head" }, h("strong", {}, `${one.number}. ${one.service}`), badge(known(ATTEMPT, one.state)), h("span", { class: "ms" }, stamp(one.createdAt))),
        h("p", {}, h("span", { class: "muted" }, "promised "), amount(one.promised, record?.toCoin, { whole: true })),
        one.error ? h("p", { class: "why" }, one.error) : null,
      ),
    ),
  );
}

function eventList(events) {
  return h(
    "ol",
    { class: "log" },
    events.map((one) =>
      h("li", { data: { key: String(one.id) } }, h("time", { datetime: one.at, title: exact(one.at) }, clock(one.at)), h("span", { class: `name ${eventTone(one.name)}` }, one.name), h("span", { class: "text" }, eventText(one))),
    ),
  );
}
