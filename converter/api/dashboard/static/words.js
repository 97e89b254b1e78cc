// How states are told: always a text and a shape, and a colour beside them.

import { h, s } from "./dom.js";

const SHAPES = {
  good: "M3.2 8.4l3.2 3.2 6.4-7",
  busy: "M8 3.2v4.8l3.2 2",
  wait: "M5.5 3.5v9M10.5 3.5v9",
  warn: "M8 2.4l6.2 11H1.8zM8 6.6v3M8 11.6v.1",
  bad: "M4 4l8 8M12 4l-8 8",
  off: "M3 8h10",
  ask: "M5.6 5.6a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2 1-1.2 1.9M8 12.4v.1",
  half: "M8 2.5v11M8 2.5a5.5 5.5 0 0 1 0 11",
  overview: "M2.5 2.5h4.5v4.5h-4.5zM9 2.5h4.5v4.5h-4.5zM2.5 9h4.5v4.5h-4.5zM9 9h4.5v4.5h-4.5z",
  conversions: "M2.5 5.5h9.5M9.5 2.8l2.7 2.7-2.7 2.7M13.5 10.5h-9.5M6.5 7.8l-2.7 2.7 2.7 2.7",
  rates: "M2.5 13.5h11M3 10.5l3-3.5 2.5 2 4.5-5.5",
  failovers: "M3 3v4.5a2 2 0 0 0 2 2h8M10.3 6.8l2.7 2.7-2.7 2.7",
  review: "M8 8.2a2.6 2.6 0 1 0 0-5.2 2.6 2.6 0 0 0 0 5.2zM3 13.5c.5-2.6 2.5-3.7 5-3.7s4.5 1.1 5 3.7",
  alerts: "M4 11V7a4 4 0 0 1 8 0v4l1.2 1.3H2.8zM6.8 13.8h2.4",
  copy: "M5.5 5.5v-3h8v8h-3M2.5 5.5h8v8h-8z",
  close: "M3.5 3.5l9 9M12.5 3.5l-9 9",
  right: "M3 8h9.5M9 4.5l3.5 3.5L9 11.5",
};

/** An icon; it says nothing to a screen reader, the text beside it does. */
export function icon(name, size = 14) {
  return s(
    "svg",
    { class: `icon icon-${name}`, viewBox: "0 0 16 16", width: size, height: size, "aria-hidden": "true", focusable: "false" },
    s("path", { d: SHAPES[name] }),
  );
}

/** A state as a badge. */
export function badge({ text, tone, shape }, title = null) {
  return h("span", { class: `badge ${tone}`, title }, icon(shape, 12), h("span", {}, text));
}

const state = (text, tone, shape, group) => ({ text, tone, shape, group });

export const CONVERSION = {
  RECEIVED: state("Received", "quiet", "wait", "open"),
  QUOTING: state("Quoting", "info", "busy", "open"),
  EXECUTING: state("Executing", "info", "busy", "open"),
  SETTLING: state("Settling", "info", "busy", "open"),
  WAITING: state("Waiting", "warn", "wait", "open"),
  RECONCILING: state("Reconciling", "warn", "ask", "open"),
  NEEDS_REVIEW: state("Needs review", "bad", "warn", "open"),
  COMPLETED: state("Completed", "good", "good", "ended"),
  FAILED: state("Failed", "bad", "bad", "ended"),
  CANCELLED: state("Cancelled", "quiet", "off", "ended"),
  EXPIRED: state("Expired", "quiet", "off", "ended"),
};

export const SERVICE = {
  closed: state("Available", "good", "good"),
  "half-open": state("Half-open", "warn", "half"),
  open: state("Breaker open", "bad", "bad"),
  isolated: state("Isolated", "quiet", "off"),
  quarantined: state("Quarantined", "bad", "warn"),
  unknown: state("Unknown", "warn", "ask"),
};

export const BREAKER = {
  closed: state("closed", "good", "good"),
  "half-open": state("half-open", "warn", "half"),
  open: state("open", "bad", "bad"),
  "forced-open": state("forced open", "quiet", "off"),
  unknown: state("unknown", "warn", "ask"),
};

export const ATTEMPT = {
  PREPARED: state("Prepared", "warn", "ask"),
  PENDING: state("Pending", "info", "busy"),
  EXECUTED: state("Executed", "info", "good"),
  SETTLED: state("Settled", "good", "good"),
  NOT_EXECUTED: state("Not executed", "bad", "bad"),
  REFUNDED: state("Refunded", "warn", "off"),
};

export const SEVERITY = {
  critical: state("Critical", "bad", "warn"),
  error: state("Error", "bad", "bad"),
  warning: state("Warning", "warn", "warn"),
  info: state("Info", "info", "ask"),
};

/** What is known of a word; one that this page does not know is shown as it is. */
export function known(table, word) {
  return table[word] ?? state(String(word), "quiet", "ask");
}

export const TIERS = { 1: "Primary", 2: "Secondary", 3: "Backup", 4: "Emergency" };

const TONES = [
  [/^(service:failure|failover:failed|conversion:(failed|needs_review)|ledger:|service:(unavailable|quarantined)|emergency:)/, "bad"],
  [/^(rate:|tier:|conversion:(waiting|unknown|held|refunded)|deposit:)/, "warn"],
  [/^(conversion:completed|failover:success|service:recovered)/, "good"],
];

export function eventTone(name) {
  return TONES.find(([pattern]) => pattern.test(name))?.[1] ?? "quiet";
}

/** An event in one line of words. */
export function eventText({ name, payload: p }) {
  const texts = {
    "conversion:accepted": () => `${p.amount} ${p.from} to ${p.to}`,
    "conversion:quoted": () => `${p.serviceId} chosen, net ${p.net}, of ${p.quotes} asked`,
    "conversion:executing": () => `attempt ${p.attempt} at ${p.serviceId}, net ${p.net}`,
    "conversion:completed": () => `${p.delivered ?? ""} delivered by ${p.serviceId ?? p.service ?? "a service"}`,
    "failover:success": () => `from ${p.from} to ${p.to}`,
    "failover:failed": () => `from ${p.from}: ${p.reason}`,
    "service:failure": () => `${p.serviceId} (${p.operation}), ${p.failures} in a row`,
    "service:unavailable": () => `${p.serviceId} (${p.operation}) after ${p.failures} failures`,
    "service:recovered": () => `${p.serviceId} (${p.operation})${p.seconds === undefined ? "" : ` after ${p.seconds} s`}`,
    "service:quarantined": () => `${p.serviceId}${p.needsOperator ? ", needs an operator" : ""}`,
    "rate:anomaly": () => `${p.serviceId} for ${p.pair}: ${p.reason}`,
    "tier:degraded": () => `${p.pair}: ${p.tier === null ? "no service below the emergency tier" : `tier ${p.tier} instead of ${p.usual}`}`,
    "emergency:activated": () => `${p.serviceId}, net ${p.net}`,
  };
  return (texts[name]?.() ?? p.reason ?? plainly(p)).trim();
}

function plainly(payload) {
  return Object.entries(payload)
    .filter(([, value]) => value !== null && typeof value !== "object")
    .map(([name, value]) => `${name} ${value}`)
    .join(", ");
}
