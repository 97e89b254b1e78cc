// Calls of the API. The token, when the server wants one, is kept for this tab alone.

import { learnClock } from "./format.js";

const BASE = "/api/v1";
const TOKEN = "converter.token";
const READ_WITHIN = 10_000;
const WRITE_WITHIN = 45_000;

/** What the server said no to, or why it could not be asked (`status` 0). */
export class ApiError extends Error {
  constructor(status, body, retryAfter = null) {
    super(body.detail || body.title || `the server answered ${status}`);
    Object.assign(this, { status, error: body.error ?? "", field: body.field ?? null, retryAfter });
  }
}

let askForToken = () => Promise.reject(new ApiError(401, { detail: "a token is needed" }));
let asking = null;

/** `prompt(wasRefused)` asks the operator for the token; it resolves to the token. */
export function useTokenPrompt(prompt) {
  askForToken = prompt;
}

export function token() {
  return sessionStorage.getItem(TOKEN);
}

export function forgetToken() {
  sessionStorage.removeItem(TOKEN);
}

/** Ask once, however many calls need it. */
async function learnToken(refused) {
  if (refused !== null && token() !== refused) return;
  asking ??= Promise.resolve(askForToken(refused !== null))
    .then((given) => sessionStorage.setItem(TOKEN, given))
    .finally(() => {
      asking = null;
    });
  await asking;
}

/** Make a call with the token; on 401 the operator is asked for it and the call is made again. */
async function shown(call) {
  for (;;) {
    const held = token();
    const answer = await call(held ? { Authorization: `Bearer ${held}` } : {});
    if (answer.status !== 401) return answer;
    await learnToken(held);
  }
}

/** Open a stream: the answer as it is, unread. */
export function open(path, { headers, signal }) {
  return shown((proof) => fetch(BASE + path, { ...PLAIN, headers: { ...headers, ...proof }, signal }));
}

async function json(path, options, signal, within) {
  const answer = await shown((proof) => once(path, { ...options, headers: { ...options.headers, ...proof } }, signal, within));
  if (answer.ok) return answer.body;
  throw new ApiError(answer.status, answer.body, answer.retryAfter);
}

const PLAIN = { cache: "no-store", credentials: "omit" };

/** One exchange, answered within so many ms. */
async function once(path, options, signal, within) {
  const sentAt = Date.now();
  const patience = AbortSignal.timeout(within);
  const either = signal ? AbortSignal.any([signal, patience]) : patience;
  try {
    const answer = await fetch(BASE + path, { ...PLAIN, ...options, signal: either });
    learnClock(Date.parse(answer.headers.get("date") ?? "") + 500, sentAt, Date.now());
    const body = await answer.json().catch((error) => {
      if (either.aborted) throw error;
      return {};
    });
    return { ok: answer.ok, status: answer.status, body, retryAfter: Number(answer.headers.get("retry-after")) || null };
  } catch (error) {
    if (signal?.aborted) throw error;
    const detail = patience.aborted ? `no answer within ${within / 1000} s` : "the server cannot be reached";
    throw new ApiError(0, { detail });
  }
}

/** Read a resource. */
export function get(path, { signal, within = READ_WITHIN } = {}) {
  return json(path, { headers: { Accept: "application/json" } }, signal, within);
}

/** Do something. Nothing is repeated by itself: the operator sees the error and decides. */
export function post(path, body = {}) {
  const headers = { Accept: "application/json", "Content-Type": "application/json" };
  return json(path, { method: "POST", headers, body: JSON.stringify(body) }, null, WRITE_WITHIN);
}

/** A path with its query; empty values are left out, lists are repeated. */
export function query(path, values) {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") given.append(name, one);
    }
  }
  const text = given.toString();
  return text ? `${path}?${text}` : path;
}
