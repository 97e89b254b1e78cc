// Texts of times, counts and amounts. Times are UTC, as the ledger, the logs and the command line show them.
// Amounts stay the exact text that the API gave; they are never made into a number.

import { h } from "./dom.js";

const DASH = "\u2013";
const counts = new Intl.NumberFormat("en-GB");
let skew = 0;

/** Learn the server's clock from its answer, so that ages and countdowns do not hang on this machine's. */
export function learnClock(serverTime, sentAt, gotAt) {
  if (Number.isFinite(serverTime)) skew = serverTime - (sentAt + gotAt) / 2;
}

/** The server's time in ms. */
export function now() {
  return Date.now() + skew;
}

export function count(number) {
  return Number.isFinite(number) ? counts.format(number) : DASH;
}

/** A share between 0 and 1, such as a success rate or a weight, in per cent; rounded down below 100. */
export function percent(share, digits = 1) {
  const value = Number(share);
  if (share === null || share === undefined || !Number.isFinite(value)) return DASH;
  const scale = 10 ** digits;
  return `${Math.floor(value * 100 * scale + 1e-6) / scale}\u00a0%`;
}

/** A share to the next whole per cent, such as one of several that together are all. */
export function rounded(share) {
  return `${Math.round(Number(share) * 100)}\u00a0%`;
}

/** `2026-11-24 16:34:06 UTC` */
export function exact(moment) {
  const date = new Date(moment);
  return Number.isNaN(date.getTime()) ? String(moment) : `${date.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** `16:34:06` */
export function clock(moment) {
  return new Date(moment).toISOString().slice(11, 19);
}

/** `2026-11-24` */
export function day(moment) {
  return new Date(moment).toISOString().slice(0, 10);
}

/** `12 s`, `4 min`, `3 h 20 min`, `2 d 3 h` */
export function span(milliseconds) {
  const seconds = Math.max(0, Math.floor(milliseconds / 1000));
  if (seconds < 60) return `${seconds}\u00a0s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}\u00a0min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours}\u00a0h ${minutes % 60}\u00a0min` : `${hours}\u00a0h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days}\u00a0d ${hours % 24}\u00a0h` : `${days}\u00a0d`;
}

/** How long a thing took: `420 ms`, `3.2 s`, then as `span`. */
export function took(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)}\u00a0ms`;
  if (milliseconds < 10000) return `${(milliseconds / 1000).toFixed(1)}\u00a0s`;
  return span(milliseconds);
}

export function ago(moment) {
  const age = now() - new Date(moment).getTime();
  return age < 1000 ? "just now" : `${span(age)} ago`;
}

/** `4:09` until a moment, counting down. */
export function countdown(milliseconds) {
  const seconds = Math.max(0, Math.ceil(milliseconds / 1000));
  const hours = Math.floor(seconds / 3600);
  const rest = `${String(Math.floor((seconds % 3600) / 60)).padStart(hours ? 2 : 1, "0")}:${String(seconds % 60).padStart(2, "0")}`;
  return hours ? `${hours}:${rest}` : rest;
}

/** A relative time that keeps counting, with the exact one on hover and focus. */
export function when(moment, { focusable = true } = {}) {
  if (!moment) return h("span", { class: "none" }, DASH);
  const time = h("time", { datetime: new Date(moment).toISOString(), data: { ago: moment } }, ago(moment));
  return h("span", { class: "when", tabindex: focusable ? 0 : null }, time, h("span", { class: "tip" }, exact(moment)));
}

/** The time of day, with the date where it is not today's. */
export function stamp(moment) {
  const date = new Date(moment);
  const today = day(now()) === day(date);
  return h(
    "time",
    { datetime: date.toISOString(), title: exact(moment), class: "stamp" },
    today ? null : h("span", { class: "day" }, `${day(date)} `),
    clock(date),
  );
}

/** An exact amount and its coin. Long ones are cut for the eye alone: selecting, copying and hovering give all of it. */
export function amount(text, coin, { whole = false } = {}) {
  if (text === null || text === undefined || text === "") return h("span", { class: "none" }, DASH);
  return h(
    "span",
    { class: whole ? "amount whole" : "amount", title: coin ? `${text} ${coin}` : text },
    h("span", { class: "figure" }, text),
    coin ? " " : null,
    coin ? h("span", { class: "coin" }, coin) : null,
  );
}

/** Ticker, with its network where that is another: `USDT on TRX`. */
export function asset(coin, network) {
  return network && network !== coin ? `${coin} on ${network}` : coin;
}

/** A difference in per cent, as exact text with its sign. */
export function difference(text) {
  if (text === null || text === undefined) return DASH;
  if (text === "0") return "\u00b10\u00a0%";
  return `${text.startsWith("-") ? text.replace("-", "\u2212") : `+${text}`}\u00a0%`;
}

/** How far a rate is from another, in per cent; for the eye only, no amount is computed from it. */
export function apart(rate, reference) {
  const share = Number(rate) / Number(reference) - 1;
  if (!Number.isFinite(share)) return DASH;
  const sign = share < 0 ? "\u2212" : "+";
  return `${sign}${Math.abs(share * 100).toFixed(2)}\u00a0%`;
}

/** Let all relative times and countdowns go on. */
export function tick(root) {
  for (const one of root.querySelectorAll("[data-ago]")) {
    const moment = /^\d+$/.test(one.dataset.ago) ? Number(one.dataset.ago) : one.dataset.ago;
    put(one, ago(moment));
  }
  for (const one of root.querySelectorAll("[data-until]")) {
    const left = Number(one.dataset.until) - now();
    put(one, left > 0 ? countdown(left) : one.dataset.due);
  }
}

function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export { DASH };
