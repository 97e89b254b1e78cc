// The event stream, read by fetch(): EventSource cannot show a token. It resumes behind the last event that came, and
// connects again by itself, with growing pauses.

import { open, query } from "./api.js";

const SILENT = 40_000; // a comment comes every 15 s at most: nothing for so long means that the line is dead
const GAP = "stream:gap"; // the server does not keep any more what came after our last event
const HIDDEN = 30_000; // a browser has six lines to a server: a tab that nobody sees gives its own back
const PAUSES = [1000, 2000, 4000, 8000, 15_000, 30_000];

/** Splits a text stream into server-sent events: `push(text)` returns those that are complete. */
export class Parser {
  constructor() {
    this.rest = "";
    this.clear();
  }

  clear() {
    this.name = "";
    this.data = [];
  }

  push(text) {
    const found = [];
    const lines = (this.rest + text).split(/\r\n|\n|\r(?!$)/);
    this.rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        // A number without data counts too: it says how far everything was looked at.
        if (this.data.length || this.id !== undefined) found.push({ id: this.id ?? null, name: this.name || "message", data: this.data.join("\n") });
        this.clear();
      } else if (!line.startsWith(":")) {
        this.field(line);
      }
    }
    return found;
  }

  field(line) {
    const [, name, value] = /^([^:]*)(?:: ?(.*))?$/s.exec(line);
    if (name === "data") this.data.push(value ?? "");
    else if (name === "event") this.name = value ?? "";
    else if (name === "id" && !(value ?? "").includes("\0")) this.id = value ?? "";
  }
}

/** Follows the stream for as long as the page is open. `onState({state, retryAt, reason})`: connecting, live, cut, resting. */
export class Stream {
  constructor({ onEvents, onState, onGap }) {
    Object.assign(this, { onEvents, onState, onGap, last: null, failures: 0, timer: null, stop: null, resting: false });
    addEventListener("online", () => this.now());
    let hidden = null;
    document.addEventListener("visibilitychange", () => {
      clearTimeout(hidden);
      if (document.hidden) hidden = setTimeout(() => this.rest(), HIDDEN);
      else this.now();
    });
  }

  /** Connect now, if it is not connected or connecting. */
  now() {
    this.resting = false;
    if (this.stop) return;
    clearTimeout(this.timer);
    this.follow();
  }

  /** Give the line back until `now`. */
  rest() {
    this.resting = true;
    clearTimeout(this.timer);
    this.stop?.abort();
  }

  async follow() {
    this.stop = new AbortController();
    this.onState({ state: "connecting" });
    let reason = "the server ended it";
    try {
      reason = (await this.read(this.stop)) ?? reason;
    } catch (error) {
      reason = this.stop.signal.aborted ? "nothing came for 40 s" : error.name === "TypeError" ? "the line was cut" : error.message;
    }
    this.stop = null;
    if (this.resting) {
      this.onState({ state: "resting" });
      return;
    }
    const pause = PAUSES[Math.min(this.failures, PAUSES.length - 1)] * (0.8 + Math.random() * 0.4);
    this.failures += 1;
    this.onState({ state: "cut", retryAt: Date.now() + pause, reason });
    this.timer = setTimeout(() => this.follow(), pause);
  }

  /** Read until the end. Returns why, when the server said so. */
  async read(stop) {
    const headers = { Accept: "text/event-stream", ...(this.last === null ? {} : { "Last-Event-ID": this.last }) };
    let dog = setTimeout(() => stop.abort(), SILENT);
    try {
      const answer = await open(query("/events", {}), { headers, signal: stop.signal });
      if (!answer.ok || !answer.body) return `the server answered ${answer.status}`;
      const resumed = this.last !== null;
      this.failures = 0;
      this.onState({ state: "live", resumed });
      const parser = new Parser();
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return null;
        clearTimeout(dog);
        dog = setTimeout(() => stop.abort(), SILENT);
        this.take(parser.push(value));
      }
    } finally {
      clearTimeout(dog);
    }
  }

  take(messages) {
    const events = [];
    for (const { id, name, data } of messages) {
      if (id) this.last = id;
      if (name === GAP) this.onGap();
      else if (data) events.push(JSON.parse(data));
    }
    if (events.length) this.onEvents(events);
  }
}
