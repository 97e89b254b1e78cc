// Rates of one pair over time, per service: what was quoted, what was excluded and why.

import { query } from "../api.js";
import { cross, mark, sign, ticks, timeLabel, times } from "../charts.js";
import { Keyed, fill, h, s } from "../dom.js";
import { DASH, apart, clock, count, now, span, stamp } from "../format.js";
import { cell, conversionLink, empty, failed, loading, row, table } from "../parts.js";
import { Resource } from "../resources.js";
import { changed, go } from "../router.js";

const SPANS = [15, 60, 360, 1440];
const LIMIT = 500;
const LISTED = 25;

export function open(root, frame, first) {
  let place = first;
  let data = null;
  const off = new Set();
  const picker = h("select", { id: "pair" });
  const spans = h("div", { class: "chips tight", role: "group", "aria-label": "Time shown" });
  const head = h("div", { class: "filters" }, h("div", { class: "filter" }, h("label", { for: "pair" }, "Pair"), picker), spans, h("p", { class: "filter-note" }, "Units received for one given, before fixed fees."));
  const legend = h("ul", { class: "legend", "aria-label": "Services shown" });
  const chart = h("div", { class: "chart" });
  const tip = h("div", { class: "chart-tip", hidden: true });
  const panel = h("section", { class: "panel pad", "aria-label": "Chart" }, legend, chart, tip);
  const latest = h("section", { "aria-label": "Newest quote of each service" });
  const excluded = h("section", { "aria-label": "Excluded quotes" });
  const instead = h("div", {}, loading(6));
  const parts = h("div", { class: "stack" }, panel, h("div", { class: "halves" }, latest, excluded));
  parts.hidden = true;
  root.append(head, instead, parts);

  const latestBody = h("tbody", { role: "rowgroup" });
  const excludedBody = h("tbody", { role: "rowgroup" });
  const latestTable = h("div", { class: "panel" }, table("Newest quote of each service", [["Service", ""], ["Rate", "num"], ["To reference", "num"], ["At", "num"]], latestBody));
  const excludedTable = h("div", { class: "panel" }, table("Excluded quotes, newest first", [["At", ""], ["Service", ""], ["Rate", "num"], ["Why", "c-why"], ["Conversion", ""]], excludedBody));
  const excludedNote = h("p", { class: "under" });
  const excludedNone = empty("None was excluded in this time");
  const latestRows = new Keyed(latestBody, latestRow, { key: (one) => one.service });
  const excludedRows = new Keyed(excludedBody, excludedRow, { key: (one) => `${one.conversionId} ${one.round} ${one.service}` });
  latest.append(h("h2", {}, "Newest quotes"), latestTable);
  excluded.append(h("h2", {}, "Excluded quotes"), excludedTable, excludedNone, excludedNote);

  const minutes = () => Number(place.get("minutes")) || 60;
  const services = () => [...new Set(data.quotes.map((one) => one.service))].sort();
  const path = () => query("/rates", { pair: place.get("pair"), minutes: minutes(), limit: LIMIT });

  const drawHead = () => {
    fill(spans, SPANS.map((one) => h("a", { class: "chip", href: changed({ minutes: one }), "aria-current": minutes() === one ? "true" : null, data: { key: String(one), focus: String(one) } }, span(one * 60_000))));
    const pairs = data?.pairs ?? [];
    const chosen = place.get("pair") ?? data?.pair ?? "";
    fill(picker, (chosen && !pairs.includes(chosen) ? [chosen, ...pairs] : pairs).map((one) => h("option", { value: one }, one)));
    picker.value = chosen;
  };

  const draw = () => {
    drawHead();
    const has = data.quotes.length > 0;
    parts.hidden = !has;
    instead.hidden = has;
    if (!has) {
      instead.replaceChildren(data.pairs?.length ? empty(`No quotes of ${data.pair ?? "this pair"} in the last ${span(minutes() * 60_000)}`, "Choose more time, or another pair.") : empty("No quotes yet", "Rates appear with the first conversion."));
      return;
    }
    const names = services();
    fill(legend, names.map((name, index) => h("li", { data: { key: name } }, h("button", { type: "button", "aria-pressed": String(!off.has(name)), data: { name, focus: name } }, sign(index), name))), h("li", { data: { key: " x" } }, h("span", { class: "legend-note" }, s("svg", { class: "sign", viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" }, cross(6, 6)), "excluded")), data.reference ? h("li", { data: { key: " r" } }, h("span", { class: "legend-note" }, s("svg", { class: "sign", viewBox: "0 0 20 12", width: 20, height: 12, "aria-hidden": "true" }, s("path", { class: "reference", d: "M0 6h20" })), "reference")) : null);
    drawChart();
    const newest = new Map();
    for (const one of byTime(data.quotes)) newest.set(one.service, one);
    latestRows.show(names.map((name) => ({ ...newest.get(name), index: names.indexOf(name), reference: data.reference })));
    const out = byTime(data.quotes).filter((one) => one.excluded).reverse();
    excludedRows.show(out.slice(0, LISTED));
    excludedNote.textContent = out.length > LISTED ? `The newest ${count(LISTED)} of ${count(out.length)}.` : "";
    excludedTable.hidden = !out.length;
    excludedNone.hidden = out.length > 0;
  };

  let points = [];
  const drawChart = () => {
    const names = services();
    const drawn = plot({ quotes: byTime(data.quotes), names, off, reference: data.reference, minutes: minutes(), width: Math.max(280, chart.clientWidth || 800) });
    points = drawn.points;
    chart.replaceChildren(drawn.svg);
    tip.hidden = true;
  };
  const onSize = new ResizeObserver(() => data?.quotes.length && drawChart());
  onSize.observe(chart);
  const beat = setInterval(() => data?.quotes.length && !document.hidden && tip.hidden && drawChart(), 15_000);

  legend.addEventListener("click", (event) => {
    const name = event.target.closest("button")?.dataset.name;
    if (!name) return;
    if (!off.delete(name)) off.add(name);
    draw();
  });
  chart.addEventListener("pointermove", (event) => showTip(event, chart, tip, points, data));
  chart.addEventListener("pointerleave", () => {
    tip.hidden = true;
    chart.querySelector(".hit")?.remove();
  });
  picker.addEventListener("change", () => go(changed({ pair: picker.value })));

  const resource = new Resource(path, {
    every: 15_000,
    concerns: (event) => event.name.startsWith("rate:") || event.name === "conversion:quoted" || event.name === "conversion:waiting",
    onData: (body) => {
      data = body;
      draw();
    },
    onError: (error) => {
      if (data && error.status !== 422) return;
      parts.hidden = true;
      instead.hidden = false;
      instead.replaceChildren(failed(error));
    },
  });
  drawHead();

  return {
    turn(query) {
      const before = path();
      place = query;
      drawHead();
      if (path() !== before) resource.turn(path);
    },
    close() {
      resource.close();
      onSize.disconnect();
      clearInterval(beat);
    },
  };
}

function byTime(quotes) {
  return quotes.map((one) => ({ ...one, ms: Date.parse(one.at) })).sort((one, other) => one.ms - other.ms);
}

const PAD = { left: 76, right: 14, top: 10, bottom: 26 };
const HEIGHT = 300;

/** The chart, and where its points are. The scale fits the quotes that were not excluded; others stand at its edge. */
function plot({ quotes, names, off, reference, minutes, width }) {
  const shown = quotes.filter((one) => !off.has(one.service) && one.rate !== null);
  const trusted = shown.filter((one) => !one.excluded).map((one) => Number(one.rate));
  const all = trusted.length ? [...trusted, ...(reference ? [Number(reference)] : [])] : shown.map((one) => Number(one.rate));
  const middle = all.length ? all : [0, 1];
  const spread = Math.max(...middle) - Math.min(...middle) || Math.abs(middle[0]) * 0.01 || 1;
  const low = Math.min(...middle) - spread * 0.15;
  const high = Math.max(...middle) + spread * 0.15;
  const to = now();
  const begin = to - minutes * 60_000;
  const oldest = Math.min(...shown.filter((one) => one.ms >= begin).map((one) => one.ms));
  const from = Number.isFinite(oldest) ? Math.max(begin, Math.min(oldest - (to - oldest) * 0.03, to - 120_000)) : begin;
  const x = (at) => PAD.left + ((at - from) / (to - from)) * (width - PAD.left - PAD.right);
  const y = (rate) => HEIGHT - PAD.bottom - ((rate - low) / (high - low)) * (HEIGHT - PAD.top - PAD.bottom);
  const clamp = (at) => Math.min(HEIGHT - PAD.bottom - 4, Math.max(PAD.top + 4, at));
  const summary = `Rates of ${names.length} services over ${span(minutes * 60_000)}, ${count(quotes.filter((one) => one.excluded).length)} quotes excluded. The tables below tell the same.`;
  const svg = s("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, role: "img", "aria-label": summary });
  svg.append(axes({ low, high, from, to, x, y, width }));
  if (reference && y(Number(reference)) > PAD.top && y(Number(reference)) < HEIGHT - PAD.bottom) {
    const at = y(Number(reference)).toFixed(1);
    svg.append(s("path", { class: "reference", d: `M${PAD.left} ${at}H${width - PAD.right}` }));
  }
  const points = [];
  names.forEach((name, index) => {
    if (off.has(name)) return;
    const own = shown.filter((one) => one.service === name && one.ms >= from);
    const group = s("g", { class: `series s${index % 8}` });
    const good = own.filter((one) => !one.excluded);
    if (good.length > 1) group.append(s("polyline", { class: "rule", points: good.map((one) => `${x(one.ms).toFixed(1)},${y(Number(one.rate)).toFixed(1)}`).join(" ") }));
    const marks = s("g", { class: "mark" });
    for (const one of own) {
      const place = { x: x(one.ms), y: clamp(y(Number(one.rate))), one, index };
      points.push(place);
      if (one.excluded) group.append(cross(place.x, place.y));
      else if (good.length <= 60 || one === good.at(-1)) marks.append(mark(index, place.x, place.y));
    }
    group.append(marks);
    svg.append(group);
  });
  return { svg, points };
}

function axes({ low, high, from, to, x, y, width }) {
  const group = s("g", { class: "axes" });
  const { values, digits } = ticks(low, high, 5);
  for (const value of values) {
    const at = y(value).toFixed(1);
    group.append(s("path", { d: `M${PAD.left} ${at}H${width - PAD.right}` }), s("text", { x: PAD.left - 8, y: Number(at) + 4, "text-anchor": "end" }, value.toFixed(Math.min(digits, 12))));
  }
  const moments = times(from, to, Math.max(2, Math.floor((width - PAD.left) / 90)));
  for (const at of moments.values) group.append(s("text", { x: x(at).toFixed(1), y: HEIGHT - 8, "text-anchor": "middle" }, timeLabel(at, moments.days)));
  return group;
}

function showTip(event, chart, tip, points, data) {
  const box = chart.getBoundingClientRect();
  const at = { x: event.clientX - box.left, y: event.clientY - box.top };
  let best = null;
  let near = 28;
  for (const one of points) {
    const distance = Math.hypot(one.x - at.x, one.y - at.y);
    if (distance < near) [best, near] = [one, distance];
  }
  chart.querySelector(".hit")?.remove();
  tip.hidden = !best;
  if (!best) return;
  const { one } = best;
  chart.firstElementChild.append(s("circle", { class: "hit", cx: best.x, cy: best.y, r: 7 }));
  fill(tip, h("strong", {}, one.service), h("div", { class: "mono" }, one.rate), h("div", { class: "muted" }, `${clock(one.at)} UTC${data.reference ? `, ${apart(one.rate, data.reference)}` : ""}`), one.excluded ? h("div", { class: "down" }, `excluded: ${one.text || one.code}`) : null);
  const panel = tip.parentElement.getBoundingClientRect();
  const left = Math.min(best.x + box.left - panel.left + 14, panel.width - tip.offsetWidth - 8);
  tip.style.left = `${Math.max(8, left)}px`;
  tip.style.top = `${best.y + box.top - panel.top + 14}px`;
}

function latestRow(one) {
  return row(
    one.service,
    "",
    cell(null, "c-name", sign(one.index), " ", h("strong", {}, one.service)),
    cell("Rate", "num mono", h("span", { class: "clip", title: one.rate }, one.rate)),
    cell("To reference", "num", one.excluded ? h("span", { class: "down" }, "excluded") : one.reference ? apart(one.rate, one.reference) : DASH),
    cell("At", "num", stamp(one.at)),
  );
}

function excludedRow(one) {
  return row(
    `${one.conversionId} ${one.round} ${one.service}`,
    "",
    cell("At", "", stamp(one.at)),
    cell("Service", "", h("strong", {}, one.service)),
    cell("Rate", "num mono", h("span", { class: "clip", title: one.rate }, one.rate ?? DASH)),
    cell("Why", "c-why", h("span", { class: "down" }, String(one.code ?? "").replaceAll("_", " ")), one.text ? h("span", { class: "under" }, one.text) : null),
    cell("Conversion", "", conversionLink(one.conversionId)),
  );
}
