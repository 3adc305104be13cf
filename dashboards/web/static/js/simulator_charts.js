// @ts-check
// The charts of a simulation: demand, replicas and what waits, under each other with one time axis.

import { say } from "./texts.js";

/** @type {any} */
const uPlot = /** @type {any} */ (globalThis).uPlot;
const HEIGHT = 170; // and more where there is much room beside
const DASHES = [[2, 3], [6, 3], [8, 3, 2, 3], [1, 2], [10, 4], [4, 2, 1, 2]];
/** @type {any[]} */
let drawn = [];
/** @type {{ place: HTMLElement, result: any } | null} */
let last = null;

/** @param {string} name */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** @param {number | null} seconds since the start */
function clock(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const whole = Math.round(seconds);
  const [hours, minutes, rest] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return `${hours}:${String(minutes).padStart(2, "0")}${rest ? `:${String(rest).padStart(2, "0")}` : ""}`;
}

/** Steps of a time axis that people know. */
const STEPS = [1, 5, 10, 30, 60, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400];

/** @param {any} run @param {number} place among the others */
function look(run, place) {
  if (run.name === "live") return { stroke: colour("--text"), width: 1.5 };
  if (run.name === "changed") return { stroke: colour("--accent"), width: 2.5, dash: [7, 3] };
  return { stroke: colour("--quiet"), width: 1, dash: DASHES[place % DASHES.length] };
}

/** @param {string} name */
const called = (name) => (name === "live" || name === "changed" ? say(`simulator_js.${name}`) : name);

/** @param {string} which @param {any} result */
function seriesOf(which, result) {
  if (which === "demand") {
    return [{ label: say("simulator_js.demand"), values: result.demand_rps, stroke: colour("--mark"), width: 1.5, fill: colour("--mark-faint") }];
  }
  const line = which === "replicas" ? "ready" : "waiting";
  const stepped = which === "replicas" ? { paths: uPlot.paths.stepped({ align: 1 }) } : {};
  return result.runs.map((/** @type {any} */ run, /** @type {number} */ place) => ({
    label: called(run.name), values: run.lines[line], ...look(run, place), ...stepped,
  }));
}

/** @param {HTMLElement} place @param {string} which @param {any} result */
function one(place, which, result) {
  const lines = seriesOf(which, result);
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const options = {
    width: place.clientWidth,
    height: place.clientWidth > 1100 ? 1.35 * HEIGHT : HEIGHT,
    cursor: { sync: { key: "simulation" }, drag: { x: true, y: false } },
    scales: { x: { time: false }, y: { range: (/** @type {any} */ _, /** @type {number} */ low, /** @type {number} */ high) => [0, Math.max(high * 1.1, 1)] } },
    axes: [
      { ...axis, size: 26, incrs: STEPS, space: 70, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map(clock) },
      { ...axis, size: 44, incrs: which === "replicas" ? [1, 2, 5, 10, 20, 50, 100, 200, 500] : undefined },
    ],
    series: [
      { label: say("simulator_js.time"), value: (/** @type {any} */ _, /** @type {number | null} */ at) => clock(at) },
      ...lines.map((/** @type {any} */ { values: _, ...rest }) => ({
        ...rest, points: { show: false }, value: (/** @type {any} */ __, /** @type {number | null} */ value) => (value === null ? "–" : String(Number(value.toPrecision(3)))),
      })),
    ],
  };
  return new uPlot(options, [result.axis_s, ...lines.map((/** @type {any} */ { values }) => values)], place);
}

/** @param {HTMLElement} place @param {any} result */
export function draw(place, result) {
  last = { place, result };
  for (const chart of drawn) chart.destroy();
  drawn = [];
  if (!uPlot) return;
  for (const spot of /** @type {NodeListOf<HTMLElement>} */ (place.querySelectorAll("[data-chart]"))) {
    drawn.push(one(spot, spot.dataset.chart ?? "", result));
  }
}

const redraw = () => { if (last) draw(last.place, last.result); };
let timer = 0;
addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(redraw, 150); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
