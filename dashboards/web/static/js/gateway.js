// @ts-check
// The chart of the gateway's traffic, and the page anew once nginx has taken another configuration.

import { refetch } from "./live.js";
import { language, say } from "./texts.js";

/** @type {any} */
const uPlot = /** @type {any} */ (globalThis).uPlot;
const place = document.getElementById("gateway-chart");
/** @type {any} */
let chart = null;
/** @type {any[] | null} */
let shown = null;
const amount = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });

/** @param {string} name */
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The sum of columns at each moment; null where none is known. @param {(number | null)[][]} columns @param {number} count */
function sum(columns, count) {
  return Array.from({ length: count }, (_, at) => {
    const known = columns.map((column) => column[at]).filter((value) => value !== null);
    return known.length ? known.reduce((all, one) => /** @type {number} */ (all) + /** @type {number} */ (one), 0) : null;
  });
}

/** @param {any} _ @param {number | null} value */
const told = (_, value) => (value === null || value === undefined ? "–" : amount.format(value));

function draw() {
  if (!place || !shown || !uPlot) return;
  chart?.destroy();
  const axis = { stroke: colour("--quiet"), grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
  const time = new Intl.DateTimeFormat(language, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  chart = new uPlot({
    width: place.clientWidth - 24,
    height: 190,
    scales: { y: { range: (/** @type {any} */ __, /** @type {number} */ ___, /** @type {number} */ high) => [0, Math.max((high ?? 0) * 1.1, 0.1)] } },
    axes: [
      { ...axis, space: 110, values: (/** @type {any} */ _, /** @type {number[]} */ at) => at.map((one) => time.format(one * 1000)) },
      { ...axis, size: 50, values: (/** @type {any} */ _, /** @type {number[]} */ all) => all.map((one) => amount.format(one)) },
    ],
    padding: [null, 48, null, null],
    cursor: { drag: { x: false, y: false } },
    series: [
      { label: say("gateway_js.time"), value: (/** @type {any} */ _, /** @type {number | null} */ at) => (at ? time.format(at * 1000) : "–") },
      { label: say("gateway_js.requests"), stroke: colour("--mark"), fill: colour("--mark-faint"), width: 1.5, points: { show: false }, value: told },
      { label: say("gateway_js.refused"), stroke: colour("--busy-mark"), width: 2, dash: [5, 3], points: { show: false }, value: told },
    ],
  }, shown, place);
}

async function load() {
  if (!place || !uPlot) return;
  const answer = await fetch(`/api/v1/gateway/traffic?range=${place.dataset.range}`, { headers: { Accept: "application/json" } }).catch(() => null);
  if (!answer?.ok) return;
  const traffic = await answer.json();
  const count = traffic.at.length;
  shown = [traffic.at, sum(Object.values(traffic.requests_per_second), count), sum(Object.values(traffic.refusals_per_second), count)];
  if (chart) chart.setData(shown);
  else draw();
}

/** Which two revisions somebody chose to compare: a new one comes with choices of its own. @type {Map<string, string>} */
const chosen = new Map();
document.getElementById("main")?.addEventListener("change", (event) => {
  if (event.target instanceof HTMLInputElement && event.target.type === "radio") chosen.set(event.target.name, event.target.value);
});

function choose() {
  for (const [name, value] of chosen) {
    const radio = document.querySelector(`#main input[type="radio"][name="${CSS.escape(name)}"][value="${CSS.escape(value)}"]`);
    if (radio instanceof HTMLInputElement) radio.checked = true;
  }
}

const revision = () => document.getElementById("gateway-standing")?.dataset.revision;
let known = revision();
document.addEventListener("stoker:changed", (event) => {
  const ids = /** @type {CustomEvent} */ (event).detail;
  choose();
  if (ids.includes("gateway-traffic")) void load();
  if (revision() !== known && ids.length) {
    known = revision();
    void refetch();
  }
});
let timer = 0;
addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(draw, 150); });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
void load();
