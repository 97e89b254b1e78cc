// What an operator can do. Each asks first, in words; what cannot be taken back is asked twice.

import { post } from "./api.js";
import { ask } from "./dialogs.js";
import { refreshAll } from "./resources.js";

const NAME = "converter.by";
const DECIMAL = /^(0|[1-9]\d*)(\.\d+)?$/;

const REASON = { name: "reason", label: "Reason", hint: "What was found out, and how. It is kept with the conversion.", required: true, multiline: true };

function by() {
  return { name: "by", label: "Your name", hint: "Kept with the decision.", value: sessionStorage.getItem(NAME) ?? "", autocomplete: "name" };
}

/** The body of a decision: what was left empty is not sent. */
function said(values, more = {}) {
  if (values.by) sessionStorage.setItem(NAME, values.by);
  const all = { ...values, ...more, ...("reason" in values ? { by: values.by || "dashboard" } : {}) };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== ""));
}

async function asked(question) {
  const done = await ask(question);
  if (done) refreshAll();
  return done;
}

const onService = (id, verb) => () => post(`/services/${encodeURIComponent(id)}/${verb}`);
const onConversion = (id, verb, more) => (values) => post(`/conversions/${encodeURIComponent(id)}/${verb}`, said(values, more));

export function isolate({ id }) {
  return asked({
    title: `Isolate ${id}?`,
    words: [`No new quote is asked of ${id} and no new attempt begins there, until you release it.`, "What is already under way there is followed to its end."],
    confirm: `Isolate ${id}`,
    danger: true,
    act: onService(id, "isolate"),
  });
}

export function release({ id }) {
  return asked({
    title: `Release ${id}?`,
    words: [`${id} takes part again at once, and its breakers begin closed.`],
    confirm: `Release ${id}`,
    act: onService(id, "release"),
  });
}

export function recover({ id }) {
  return asked({
    title: `Recover ${id} now?`,
    words: [`The breakers of ${id} are closed and a quarantine of its rates ends, without waiting for the next check.`, "If it still fails, they open again."],
    confirm: `Recover ${id}`,
    act: onService(id, "recover"),
  });
}

export function emergency({ on }) {
  const begin = on === "true";
  return asked({
    title: begin ? "Open the emergency tier?" : "Close the emergency tier?",
    words: begin
      ? ["Conversions may use the emergency tier at once, whatever the other tiers do. Its fees vary, and may be high."]
      : ["The emergency tier is used by its rule alone again: only when the other tiers had nobody for a while."],
    confirm: begin ? "Open the emergency tier" : "Close the emergency tier",
    danger: begin,
    act: () => post("/emergency", { on: begin }),
  });
}

export function confirmRate({ pair }) {
  return asked({
    title: `Confirm the rate of ${pair}?`,
    words: [`${pair} is held: its quotes jumped, contradict each other or cannot be compared. Conversions of it wait.`, "With a rate you say where the market is; without one, you say that the held quotes are right."],
    fields: [{ name: "rate", label: "Rate", hint: `Units of the coin received for one of the coin given, such as 0.0432.`, pattern: DECIMAL, wrong: "Not a decimal number, such as 0.0432.", mono: true }],
    confirm: "Confirm the rate",
    again: ({ rate }) => `Conversions of ${pair} go on, ${rate ? `judged by a rate of ${rate}` : "at the rate that the held quotes have"}. If that is wrong, they are executed at a bad price.`,
    danger: true,
    act: (values) => post(`/rates/${encodeURIComponent(pair)}/confirm`, said(values)),
  });
}

export function cancel({ id }) {
  return asked({
    title: "Cancel this conversion?",
    words: ["It can be cancelled only while nothing of it is open at a service."],
    fields: [REASON, by()],
    confirm: "Cancel the conversion",
    danger: true,
    again: () => `${id} ends as cancelled. Nothing is paid for it, and that is never taken back: whoever asked for it has to ask again.`,
    act: onConversion(id, "cancel"),
  });
}

export function retry({ id }) {
  return asked({
    title: "Look at this conversion again now?",
    words: ["One that waits gets its next round at once. One that needs review is followed again with all its time: what may have been executed is looked up first, and nothing is sent twice."],
    fields: [REASON, by()],
    confirm: "Look again",
    act: onConversion(id, "retry"),
  });
}

export function deposit({ id, service = "the service" }) {
  return asked({
    title: "Report the deposit as paid?",
    words: [`Say in which transaction the deposit to ${service} left. The conversion then waits for ${service} to see it.`],
    fields: [{ name: "txid", label: "Transaction id", hint: "As its chain shows it.", required: true, mono: true }],
    confirm: "Report as paid",
    danger: true,
    again: ({ txid }) => `The ledger keeps that the deposit of ${id} was paid in ${txid}. From then on no other service can get this conversion unless the deposit comes back.`,
    act: onConversion(id, "deposit"),
  });
}

export function executed({ id, service, to, promised, address, txid: named }) {
  return asked({
    title: "It was executed",
    words: [`Say in which transaction the payout of ${service || "the service"} reached ${address}.`, "Look it up on the chain first: the ledger takes your word."],
    fields: [
      { name: "txid", label: "Transaction id", hint: named ? `Filled in as ${service} names it. Check it on the chain.` : "The transaction in which the payout arrived, as its chain shows it.", value: named, required: true, mono: true },
      { name: "delivered", label: "Amount delivered", hint: promised ? `Left empty, it counts as what was promised: ${promised}.` : "", pattern: DECIMAL, wrong: "Not a decimal number, such as 0.0432.", mono: true },
      REASON,
      by(),
    ],
    confirm: "Record as executed",
    danger: true,
    again: ({ txid, delivered }) => `${id} is completed: ${delivered || promised || "the promised amount"} ${to ?? ""} delivered to ${address} in ${txid}. No coin moves now, nothing more is ever paid for it, and it cannot be taken back.`,
    act: onConversion(id, "resolve", { verdict: "executed" }),
  });
}

export function notExecuted({ id, service, address }) {
  return asked({
    title: "It was not executed",
    words: [`Say so only when ${service || "the service"} has proven that nothing was executed and nothing can be any more, or that the deposit came back.`, "It is refused while the service or the chain shows otherwise."],
    fields: [
      { name: "refundTxid", label: "Refund transaction id", hint: "Where the deposit came back: the transaction that brought it.", mono: true },
      REASON,
      by(),
    ],
    confirm: "Free it for another service",
    danger: true,
    again: () => `${id} is freed: another service is asked and pays to ${address}. Should ${service || "the first service"} have executed it after all, it is paid twice, and the pool bears that.`,
    act: onConversion(id, "resolve", { verdict: "notExecuted" }),
  });
}

/** All of them, for `acting`. */
export const ACTIONS = { isolate, release, recover, emergency, confirmRate, cancel, retry, deposit, executed, notExecuted };

