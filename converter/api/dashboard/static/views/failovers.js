// Failovers on a time line: drawn by the service that was left, and listed newest first.

import { get, query } from "../api.js";
import { cross, timeLabel, times } from "../charts.js";
import { Keyed, acting, fill, h, hidden, s } from "../dom.js";
import { count, day, exact, now, clock } from "../format.js";
import { conversionLink, empty, failed, loading } from "../parts.js";
import { Resource } from "../resources.js";
import { badge, icon } from "../words.js";

const PAGE = 100;
const MOST = 500;

export function open(root) {
  const strip = h("section", { class: "panel pad", "aria-label": "Time line" });
  const list = h("ol", { class: "timeline" });
  const more = h("div", { class: "pager" });
  const instead = h("div", {}, loading(6));
  root.append(instead, strip, list, more);
  strip.hidden = true;
  const rows = new Keyed(list, item, { key: keyOf });
  let fresh = [];
  let older = [];
  let next = null;
  let started = false;

  const draw = () => {
    const all = [...fresh, ...older.filter((one) => !fresh.some((other) => keyOf(other) === keyOf(one)))].slice(0, MOST);
    instead.hidden = all.length > 0;
    strip.hidden = !all.length;
    if (!all.length) instead.replaceChildren(empty("No failover yet", "When a service is proven not to have executed, the next one is taken, and that is told here."));
    rows.show(marked(all));
    if (all.length) drawStrip(strip, all);
    const full = all.length >= MOST;
    fill(more, next && !full ? h("button", { type: "button", class: "button", data: { act: "older" } }, "Older") : null, full ? h("p", { class: "muted" }, `No more than ${count(MOST)} are shown here.`) : null);
  };
  const resource = new Resource(query("/failovers", { limit: PAGE }), {
    every: 15_000,
    concerns: (event) => event.name.startsWith("failover:"),
    onData: (body) => {
      if (older.length && body.failovers.length) {
        const last = body.failovers.at(-1).at;
        older = [...fresh.filter((one) => one.at < last), ...older];
      }
      fresh = body.failovers;
      if (!started) next = body.next;
      started = true;
      draw();
    },
    onError: (error) => instead.hidden || instead.replaceChildren(failed(error)),
  });
  acting(more, {
    async older(_, button) {
      button.disabled = true;
      try {
        const body = await get(query("/failovers", { limit: PAGE, cursor: next }));
        older = [...older, ...body.failovers];
        next = body.next;
        draw();
      } catch (error) {
        if (!("status" in error)) throw error;
        fill(more, h("p", { class: "trouble", role: "alert" }, icon("warn"), h("span", {}, error.message)), button);
        button.disabled = false;
      }
    },
  });
  const onSize = new ResizeObserver(() => fresh.length && drawStrip(strip, [...fresh, ...older].slice(0, MOST)));
  onSize.observe(root);
  return {
    turn() {},
    close() {
      resource.close();
      onSize.disconnect();
    },
  };
}

function keyOf(one) {
  return `${one.at} ${one.conversionId} ${one.from} ${one.to}`;
}

/** The first of each day carries its date. */
function marked(all) {
  let before = null;
  return all.map((one) => {
    const date = day(one.at);
    const first = date !== before;
    before = date;
    return { ...one, date: first ? date : null };
  });
}

function item(one) {
  return h(
    "li",
    { class: one.succeeded ? "good" : "bad", data: { key: keyOf(one) } },
    one.date ? h("div", { class: "timeline-day" }, one.date) : null,
    h(
      "div",
      { class: "timeline-item" },
      h("time", { datetime: one.at, title: exact(one.at) }, clock(one.at)),
      h("span", { class: "bead", "aria-hidden": "true" }),
      h(
        "div",
        { class: "timeline-text" },
        h("div", { class: "hop" }, h("strong", {}, one.from), icon("right", 12), hidden(" to "), one.to ? h("strong", {}, one.to) : h("span", { class: "down" }, "nobody"), badge(one.succeeded ? { text: "succeeded", tone: "good", shape: "good" } : { text: "failed", tone: "bad", shape: "bad" }), conversionLink(one.conversionId)),
        one.reason ? h("p", { class: "why" }, one.reason) : null,
      ),
    ),
  );
}

const LANE = 26;
const LEFT = 132;

/** A lane for each service that was left. */
function drawStrip(section, all) {
  const width = Math.max(280, section.clientWidth - 32);
  const left = width < 480 ? 8 : LEFT;
  const lanes = [...new Set(all.map((one) => one.from))].sort();
  const to = now();
  const oldest = Date.parse(all.at(-1).at);
  const from = Math.min(oldest - (to - oldest) * 0.03, to - 120_000);
  const top = width < 480 ? 16 : 4;
  const lane = LANE + (width < 480 ? 12 : 0);
  const height = top + lanes.length * lane + 24;
  const x = (at) => left + ((at - from) / (to - from)) * (width - left - 12);
  const svg = s("svg", { viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": `Time line of ${all.length} failovers, by the service that was left. The list below tells the same.` });
  lanes.forEach((name, index) => {
    const y = top + index * lane + lane / 2;
    svg.append(s("g", { class: "axes" }, s("path", { d: `M${left} ${y}H${width - 12}` }), width < 480 ? s("text", { x: left, y: y - 9 }, name) : s("text", { x: left - 10, y: y + 4, "text-anchor": "end" }, name)));
    for (const one of all.filter((each) => each.from === name)) {
      const at = x(Date.parse(one.at));
      svg.append(one.succeeded ? s("g", { class: "hop-good" }, s("circle", { cx: at.toFixed(1), cy: y, r: 4 })) : s("g", { class: "hop-bad" }, cross(at, y)));
    }
  });
  const moments = times(from, to, Math.max(2, Math.floor((width - left) / 100)));
  svg.append(s("g", { class: "axes" }, moments.values.map((at) => s("text", { x: x(at).toFixed(1), y: height - 6, "text-anchor": "middle" }, timeLabel(at, moments.days)))));
  fill(section, h("div", { class: "legend" }, h("span", { class: "legend-note" }, s("svg", { class: "sign hop-good", viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, s("circle", { cx: 6, cy: 6, r: 4 })), "another service executed it"), h("span", { class: "legend-note" }, s("svg", { class: "sign hop-bad", viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, cross(6, 6)), "nobody was left in that round")), h("div", { class: "chart" }));
  section.querySelector(".chart").replaceChildren(svg);
}
