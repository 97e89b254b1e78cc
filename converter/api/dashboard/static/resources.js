// What the page shows of the API, kept fresh: by events, at most once a second each; by polling, seldom while the
// stream is there and the page is seen, more often without the stream, and hardly at all in a hidden tab.

import { get } from "./api.js";

const APART = 1100;
const REMEMBERED = 1000; // so long the server may answer from what it was asked a moment before
const HIDDEN = 60_000;
const RETRY = [2000, 4000, 8000, 15_000];

const opened = new Set();
let live = false;

/** Whether the stream runs; without it everything is polled more often. */
export function streamIs(running) {
  if (live === running) return;
  live = running;
  for (const one of opened) one.plan();
}

/** Tell all open resources of events. */
export function hear(events) {
  for (const one of opened) if (events.some((event) => one.concerns(event))) one.touch();
}

/** Ask again for everything, now. */
export function refreshAll() {
  for (const one of opened) one.touch();
}

/** `{answeredAt, error, late}` over all that is shown: the oldest answer, and the error of one that has none since. */
export function freshness() {
  let oldest = Infinity;
  let error = null;
  let late = false;
  for (const one of opened) {
    oldest = Math.min(oldest, one.answeredAt ?? Infinity);
    error ??= one.error;
    late ||= one.answeredAt !== null && performance.now() - one.answeredAt > one.patience();
  }
  return { answeredAt: oldest === Infinity ? null : oldest, error, late };
}

/**
 * One resource. `path`: text or a function of it; `every`: ms between polls; `concerns(event)`: whether an event may
 * have changed it; `onData(body)`, `onError(error)`: called until `close`.
 */
export class Resource {
  constructor(path, { every = 15_000, within, concerns = () => false, onData, onError = () => {} }) {
    Object.assign(this, { path, every, within, concerns, onData, onError });
    Object.assign(this, { answeredAt: null, error: null, failures: 0, askedAt: -Infinity, heardAt: -Infinity, timer: null, stop: null, dirty: false });
    opened.add(this);
    this.ask();
  }

  close() {
    opened.delete(this);
    clearTimeout(this.timer);
    this.stop?.abort();
  }

  /** Something changed: ask soon, whatever else is planned. */
  touch() {
    this.dirty = true;
    this.heardAt = performance.now();
    if (!this.stop) this.plan();
  }

  /** Ask for another thing from now on, at once. */
  turn(path) {
    this.path = path;
    this.stop?.abort();
    this.stop = null;
    this.answeredAt = null;
    this.error = null;
    this.ask();
  }

  patience() {
    return (document.hidden ? HIDDEN : this.every) * 2 + 5000;
  }

  pause() {
    if (this.failures) return RETRY[Math.min(this.failures, RETRY.length) - 1];
    if (document.hidden) return HIDDEN;
    if (this.dirty) return APART;
    return live ? this.every : Math.min(this.every, 5000);
  }

  plan() {
    clearTimeout(this.timer);
    const due = this.askedAt + this.pause() - performance.now();
    this.timer = setTimeout(() => this.ask(), Math.max(0, due));
  }

  async ask() {
    clearTimeout(this.timer);
    const stop = new AbortController();
    Object.assign(this, { stop, dirty: false, askedAt: performance.now() });
    try {
      const body = await get(typeof this.path === "function" ? this.path() : this.path, { signal: stop.signal, within: this.within });
      if (stop.signal.aborted) return;
      Object.assign(this, { answeredAt: performance.now(), error: null, failures: 0 });
      // The answer may be of the moment before the event: ask once more when it cannot be any longer.
      if (this.askedAt - this.heardAt < REMEMBERED) this.dirty = true;
      this.onData(body);
    } catch (error) {
      if (stop.signal.aborted) return;
      if (!("status" in error)) throw error;
      this.error = error;
      this.failures += 1;
      this.onError(error);
    } finally {
      if (this.stop === stop) {
        this.stop = null;
        if (opened.has(this)) this.plan();
      }
    }
  }
}

document.addEventListener("visibilitychange", () => {
  if (!document.hidden) refreshAll();
});
