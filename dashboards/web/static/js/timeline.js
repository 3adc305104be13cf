// @ts-check
// A pool over time: fetches the numbers, shows them, and goes on with them while the time that is shown ends now.

import { say } from "./texts.js";
import { now as clock } from "./times.js";
import { Charts, amount, duration, moment } from "./timeline_charts.js";
import { chosen, joined, moved, nameOf, query, read, written } from "./timeline_data.js";
import { Lane, list, when } from "./timeline_marks.js";

/** @typedef {import("./timeline_data.js").Told} Told */
const MOST_ROWS = 60, SOON_MS = 5_000, SELDOM_MS = 60_000, SUMS_MS = 60_000;

/** @param {string} id */
const at = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const section = at("timeline");
const here = location.pathname;
const pool = section.dataset.pool ?? "";
const place = at("timeline-charts");
const lane = new Lane(at("timeline-marks"));
const charts = new Charts(place, choose, pointed);

let view = read(location.search);
/** @type {Told | null} */
let told = null;
/** @type {AbortController | null} */
let asked = null;
let timer = 0;
let wholeAt = 0; // the sums of the time come with all of it only

const now = () => clock() / 1000;
const edges = () => {
  const to = view.to ?? now();
  return { from: to - view.span, to };
};

/** @param {boolean} [all] of the time, not only what is new */
async function fetchIt(all = true) {
  clearTimeout(timer);
  asked?.abort();
  asked = new AbortController();
  const step = all || !told ? undefined : told.step_s;
  if (all) section.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(query(pool, view, now(), step), { signal: asked.signal, headers: { Accept: "application/json" } });
    const body = await answer.json();
    if (!answer.ok) throw new Error(typeof body.detail === "string" ? body.detail : `status ${answer.status}`);
    const whole = step && told ? joined(told, body, edges().from) : body;
    if (whole === null) return void fetchIt(true);
    told = whole;
    if (!step) wholeAt = clock();
    show();
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return;
    old(say("js_pool.failed", { why: error instanceof Error ? error.message : String(error) }));
    if (!told) at("timeline-loading").hidden = true;
  }
  section.setAttribute("aria-busy", "false");
  again();
}

/** The next points, where there will be some. */
function again() {
  clearTimeout(timer);
  if (view.to !== null && told) return; // it is what it was
  const wait = told && told.step_s > 60 ? SELDOM_MS : SOON_MS;
  timer = setTimeout(() => (document.hidden ? again() : void fetchIt(!told || clock() - wholeAt > SUMS_MS)), wait);
}

function show() {
  if (!told) return;
  const { from, to } = edges();
  at("timeline-loading").hidden = true;
  at("timeline-body").hidden = false;
  charts.show(told, from, to);
  const marks = marksOf(told, from, to);
  lane.draw(marks, from, to);
  const leftOut = Object.values(told.left_out).reduce((sum, n) => sum + n, 0);
  at("timeline-happened-title").textContent = say("js_pool.happened", { n: marks.length });
  if (/** @type {HTMLDetailsElement} */ (at("timeline-happened")).open) list(at("timeline-list"), marks, leftOut);
  if (/** @type {HTMLDetailsElement} */ (at("timeline-numbers")).open) table();
  tools(from, to);
  freshness(from);
  totals();
}

/** What happened in that time, and alerts that go on. @param {Told} all @param {number} from @param {number} to */
function marksOf(all, from, to) {
  return all.marks.filter((mark) => (mark.until ?? mark.at) >= from && mark.at <= to || (mark.kind === "alert" && mark.until === null));
}

/** @param {number} from @param {number} to */
function tools(from, to) {
  const dated = view.span > 86400 || new Date(from * 1000).toDateString() !== new Date(clock()).toDateString();
  const span = { from: moment(from, dated), to: moment(to, dated) };
  const every = told ? say("js_pool.each_point", { step: duration(told.step_s) }) : "";
  at("timeline-when").textContent = `${say(view.to === null ? "js_pool.live" : "js_pool.past", span)} · ${every}`;
  for (const link of section.querySelectorAll("[data-range]")) {
    if (view.to === null && link.getAttribute("data-range") === nameOf(view.span)) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  /** @type {HTMLElement} */ (section.querySelector('[data-move="live"]')).hidden = view.to === null;
  /** @type {HTMLButtonElement} */ (section.querySelector('[data-move="on"]')).disabled = view.to === null;
}

/** @param {string} text empty: all is well */
function old(text) {
  at("timeline-old").textContent = text;
  at("timeline-old").hidden = text === "";
}

/** @param {number} from */
function freshness(from) {
  if (!told) return;
  if (told.as_of === null || (told.since === null && told.stale_since)) old(say("js_pool.nothing"));
  else if (told.stale_since) old(say("js_pool.old", { at: when(Date.parse(told.as_of) / 1000) }));
  else old("");
  const late = told.since !== null && told.since > from + 3 * told.step_s;
  if (late && told.since !== null && !told.stale_since) at("timeline-when").textContent += ` · ${say("js_pool.since", { at: when(told.since) })}`;
}

function totals() {
  const sum = told?.totals;
  if (!sum) return;
  const parts = []; // what is not known is left out
  if (sum.replica_hours !== null) parts.push(say("js_pool.totals", { hours: amount(sum.replica_hours, "count") }));
  if (sum.gpu_hours !== null) parts.push(say("js_pool.totals_gpu", { hours: amount(sum.gpu_hours, "count") }));
  if (sum.tokens !== null) parts.push(say("js_pool.totals_tokens", { tokens: amount(sum.tokens, "count") }));
  if (sum.cost !== null) parts.push(say("js_pool.totals_cost", { cost: `${amount(sum.cost, "count")} ${sum.currency}` }));
  if (sum.cost_per_million_tokens !== null) {
    parts.push(say("js_pool.totals_million", { cost: `${amount(sum.cost_per_million_tokens, "count")} ${sum.currency}` }));
  }
  at("timeline-totals").textContent = parts.join(" · ");
}

/** @param {number | null} index */
function pointed(index) {
  if (!told) return;
  const last = told.at[told.at.length - 1];
  const newest = view.to === null && !told.stale_since ? say("js_pool.now") : say("js_pool.at", { at: when(last) });
  at("timeline-at").textContent = index === null ? newest : say("js_pool.at", { at: when(told.at[index]) });
}

/** @param {number} from @param {number} to */
function choose(from, to) {
  go(chosen(from, to, now()));
}

/** @param {import("./timeline_data.js").View} next @param {boolean} [kept] in the history already */
function go(next, kept = false) {
  view = next;
  told = null;
  if (!kept) history.pushState(null, "", here + written(view));
  charts.point(null);
  tools(edges().from, edges().to);
  void fetchIt();
}

/** The numbers in a table: every so many-th moment, the newest first. */
function table() {
  if (!told) return;
  const every = Math.max(1, Math.ceil(told.at.length / MOST_ROWS));
  const lines = charts.panels.flatMap((panel) => panel.lines.map((line) => ({ ...line, of: line.of ?? panel.of, panel: panel.title })));
  const made = document.createElement("table");
  const caption = made.createCaption();
  caption.textContent = every > 1 ? say("js_pool.table_sampled", { n: every }) : "";
  const head = made.createTHead().insertRow();
  for (const text of [say("js_pool.time"), ...lines.map((line) => `${say(`js_pool.${line.panel}`)}: ${say(`js_pool.${line.key}`)}`)]) {
    const cell = document.createElement("th");
    cell.scope = "col";
    cell.textContent = text;
    head.append(cell);
  }
  const body = made.createTBody();
  for (let index = told.at.length - 1; index >= 0; index -= every) {
    const row = body.insertRow();
    const cell = document.createElement("th");
    cell.scope = "row";
    cell.className = "nowrap";
    cell.textContent = when(told.at[index]);
    row.append(cell);
    for (const line of lines) row.insertCell().textContent = amount(told.columns[line.name]?.[index], line.of);
  }
  at("timeline-table").replaceChildren(made);
}

place.addEventListener("keydown", (event) => {
  if (!told) return;
  const { from } = edges();
  const first = Math.max(told.at.findIndex((moment) => moment >= from), 0); // what lies before it is not shown
  const last = told.at.length - 1, index = charts.index, far = event.shiftKey ? 10 : 1;
  const to = { ArrowLeft: (index ?? last + 1) - far, ArrowRight: (index ?? last) + far, Home: first, End: last }[event.key];
  if (event.key === "Escape") charts.point(null);
  if (to === undefined) return;
  event.preventDefault();
  const next = Math.min(Math.max(to, first), last);
  charts.point(next);
  at("timeline-read").textContent = say("js_pool.read", { at: when(told.at[next]), values: charts.words(next) });
});
place.addEventListener("blur", () => charts.point(null));
place.addEventListener("dblclick", () => go(moved(view, "out", now())));

section.addEventListener("click", (event) => {
  const target = event.target instanceof Element ? event.target.closest("[data-range], [data-move]") : null;
  if (!(target instanceof HTMLElement) || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  const range = target.dataset.range;
  go(range ? read(`?range=${range}`) : moved(view, target.dataset.move ?? "", now()));
});
for (const id of ["timeline-happened", "timeline-numbers"]) at(id).addEventListener("toggle", show);
addEventListener("popstate", (event) => {
  if (event.state?.drawer || location.pathname !== here) return;
  const next = read(location.search);
  if (next.span !== view.span || next.to !== view.to) go(next, true);
});
document.addEventListener("stoker:acted", () => { if (view.to === null) void fetchIt(!told); });
document.addEventListener("visibilitychange", () => { if (!document.hidden && view.to === null) void fetchIt(!told); });
new ResizeObserver(() => {
  const { from, to } = edges();
  if (told) lane.draw(marksOf(told, from, to), from, to);
}).observe(at("timeline-marks"));
void fetchIt();
