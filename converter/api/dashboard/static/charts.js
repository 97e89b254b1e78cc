// Small charts, drawn as SVG so that they follow the page's colours. Numbers here are places on the screen, not money.

import { s } from "./dom.js";
import { clock } from "./format.js";

/** The last latencies, oldest first; the newest is marked. */
export function sparkline(values, { width = 96, height = 24 } = {}) {
  const view = { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" };
  if (values.length < 2) return s("svg", view, s("line", { class: "none", x1: 0, x2: width, y1: height / 2, y2: height / 2 }));
  const top = Math.max(...values, 1);
  const x = (index) => 2 + (index / (values.length - 1)) * (width - 6);
  const y = (value) => height - 2 - (value / top) * (height - 6);
  const points = values.map((value, index) => `${x(index).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
  return s(
    "svg",
    view,
    s("polygon", { class: "under", points: `2,${height} ${points} ${x(values.length - 1).toFixed(1)},${height}` }),
    s("polyline", { points }),
    s("circle", { cx: x(values.length - 1).toFixed(1), cy: y(values.at(-1)).toFixed(1), r: 2 }),
  );
}

/** About `wanted` round steps between two numbers. */
export function ticks(low, high, wanted) {
  const raw = (high - low) / wanted;
  const scale = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * scale).find((one) => one >= raw);
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-9; value += step) found.push(value);
  return { values: found, digits: Math.max(0, -Math.floor(Math.log10(step)) + (String(step / scale).includes(".5") ? 1 : 0)) };
}

const STEPS = [60, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400].map((one) => one * 1000);

/** Moments on the clock between two, at most `wanted`. */
export function times(from, to, wanted) {
  const step = STEPS.find((one) => (to - from) / one <= wanted) ?? Math.ceil((to - from) / wanted / 86_400_000) * 86_400_000;
  const found = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) found.push(at);
  return { values: found, days: step >= 86_400_000 || to - from > 2 * 86_400_000 };
}

/** The label of a moment on an axis. */
export function timeLabel(at, days) {
  return days ? new Date(at).toISOString().slice(5, 16).replace("T", " ") : clock(at).slice(0, 5);
}

const MARKS = [
  (x, y) => s("circle", { cx: x, cy: y, r: 3 }),
  (x, y) => s("rect", { x: x - 2.8, y: y - 2.8, width: 5.6, height: 5.6 }),
  (x, y) => s("path", { d: `M${x} ${y - 3.8}l3.6 6.4h-7.2z` }),
  (x, y) => s("path", { d: `M${x} ${y - 3.8}l3.8 3.8-3.8 3.8-3.8-3.8z` }),
  (x, y) => s("path", { d: `M${x} ${y + 3.8}l3.6-6.4h-7.2z` }),
  (x, y) => s("path", { d: `M${x - 3.4} ${y}h6.8M${x} ${y - 3.4}v6.8` }),
  (x, y) => s("rect", { x: x - 3.8, y: y - 1.6, width: 7.6, height: 3.2 }),
  (x, y) => s("rect", { x: x - 1.6, y: y - 3.8, width: 3.2, height: 7.6 }),
];

/** The shape of a series; services are told apart by shape and colour. */
export function mark(index, x, y) {
  return MARKS[index % MARKS.length](Number(x.toFixed(1)), Number(y.toFixed(1)));
}

/** A series' sign for a legend. */
export function sign(index) {
  return s("svg", { class: `sign series s${index % MARKS.length}`, viewBox: "0 0 20 12", width: 20, height: 12, "aria-hidden": "true" }, s("path", { class: "rule", d: "M0 6h20" }), s("g", { class: "mark" }, mark(index, 10, 6)));
}

/** A cross. */
export function cross(x, y, size = 4) {
  return s("path", { class: "cross", d: `M${(x - size).toFixed(1)} ${(y - size).toFixed(1)}l${size * 2} ${size * 2}M${(x + size).toFixed(1)} ${(y - size).toFixed(1)}l${-size * 2} ${size * 2}` });
}
