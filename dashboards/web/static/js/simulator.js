// @ts-check
// The simulator: the form <-> the address, uploads, a simulation from its start to its result.

import { Refused, ask, copy } from "./actions.js";
import { draw } from "./simulator_charts.js";
import { language, say } from "./texts.js";

const API = "/api/v1/simulations";
const EVERY_MS = 400;
const MOST_TRIES = 5; // 12 s in all: a controller that is just restarted is back by then
const ENDED = ["done", "failed", "cancelled"];
const OF_TRACE = ["hours", "rps", "prompt", "output"];
const OF_MODEL = ["cold_start_s", "slo_first_token_s", "slo_duration_s", "price_per_hour"];
const ENGINE = ["slots", "prefill_tokens_per_s", "decode_tokens_per_s", "decode_s_per_sequence", "decode_share_during_prefill", "kv_cache_tokens"];

/** @template {HTMLElement} T @param {string} id @returns {T} */
const by = (id) => /** @type {T} */ (document.getElementById(id));

const form = /** @type {HTMLFormElement} */ (by("simulation"));
const wrong = by("wrong");
const progress = by("progress");
const result = by("result");
const knobs = /** @type {HTMLElement[]} */ ([...form.querySelectorAll("[data-knob]")]);
let upload = "";
let engine = /** @type {Record<string, number> | null} */ (null);
let playing = "";
let timer = 0;

/** @param {string} name @returns {HTMLInputElement} */
const field = (name) => /** @type {HTMLInputElement} */ (form.elements.namedItem(name));
/** @param {HTMLElement} knob */
const input = (knob) => field(knob.dataset.knob ?? "");
/** @param {HTMLInputElement} of */
const valueOf = (of) => (of.type === "checkbox" ? of.checked : of.value === "" ? null : Number(of.value));
/** @param {HTMLElement} knob */
const liveOf = (knob) => JSON.parse(knob.dataset.live ?? "null");
/** @param {HTMLElement} knob */
const isChanged = (knob) => valueOf(input(knob)) !== null && String(valueOf(input(knob))) !== String(Number.isFinite(liveOf(knob)) ? Number(Number(liveOf(knob)).toPrecision(6)) : liveOf(knob));
const trace = () => String(new FormData(form).get("trace"));
const compared = () => new FormData(form).getAll("compare").map(String);

/** The knobs and what belongs to a kind of traffic, as they stand. */
function show() {
  for (const knob of knobs) {
    const changed = isChanged(knob);
    knob.toggleAttribute("data-changed", changed);
    /** @type {HTMLElement} */ (knob.querySelector("[data-undo]")).hidden = !changed;
    const slide = /** @type {HTMLInputElement | null} */ (knob.querySelector(".slide"));
    if (slide && input(knob).value !== "") slide.value = input(knob).value;
  }
  const of = trace();
  by("drop").hidden = of !== "upload";
  by("shape").hidden = of === "upload";
  for (const part of /** @type {NodeListOf<HTMLElement>} */ (form.querySelectorAll("#shape [data-field]"))) {
    part.hidden = of === "history" && part.dataset.field !== "hours"; // measured
  }
}

/** Everything that differs from how the page came, as an address that others can open. */
function address() {
  const said = new URLSearchParams({ pool: form.dataset.pool ?? "", trace: trace() });
  for (const name of [...OF_TRACE, ...OF_MODEL, "mtbf_h"]) {
    if (field(name).value !== field(name).defaultValue) said.set(name, field(name).value);
  }
  for (const knob of knobs.filter(isChanged)) said.set(knob.dataset.knob ?? "", String(valueOf(input(knob))));
  if (compared().length) said.set("compare", compared().join(","));
  if (upload && trace() === "upload") said.set("upload", upload);
  if (playing) said.set("run", playing);
  return `${location.pathname}?${said}`;
}

function keep() {
  history.replaceState(history.state, "", address());
}

/** What the address says. */
function restore() {
  const said = new URLSearchParams(location.search);
  for (const radio of /** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll('[name="trace"]'))) {
    if (radio.value === said.get("trace")) radio.checked = true;
  }
  for (const name of [...OF_TRACE, ...OF_MODEL, "mtbf_h", ...knobs.map((knob) => knob.dataset.knob ?? "")]) {
    const text = said.get(name);
    if (text === null) continue;
    if (field(name).type === "checkbox") field(name).checked = text === "true";
    else if (Number.isFinite(Number(text))) field(name).value = text;
  }
  const others = (said.get("compare") ?? "").split(",");
  for (const box of /** @type {NodeListOf<HTMLInputElement>} */ (form.querySelectorAll('[name="compare"]'))) box.checked = others.includes(box.value);
  for (const id of ["more", "model"]) {
    const inside = [...by(id).querySelectorAll("input[name]")].map((one) => one.getAttribute("name") ?? "");
    if (inside.some((name) => said.has(name))) /** @type {HTMLDetailsElement} */ (by(id)).open = true;
  }
  upload = said.get("upload") ?? "";
  show();
  const run = said.get("run");
  if (run) void follow(run);
}

/** The form as the API wants it. */
function asked() {
  const numbers = (/** @type {string[]} */ names) => Object.fromEntries(names.filter((name) => field(name).value !== "").map((name) => [name, Number(field(name).value)]));
  const of = trace();
  if (of === "upload" && !upload) throw new Error(say("simulator_js.upload_first"));
  const made =
    of === "upload" ? { source: "upload", id: upload }
    : of === "history" ? { source: "history", ...numbers(["hours"]) }
    : { source: "synthetic", kind: of, ...numbers(OF_TRACE) };
  return {
    pool: form.dataset.pool,
    trace: made,
    changes: Object.fromEntries(knobs.filter(isChanged).map((knob) => [knob.dataset.knob, valueOf(input(knob))])),
    compare: compared(),
    ...numbers(OF_MODEL),
    ...(field("mtbf_h").value === "" ? {} : { mtbf_s: 3600 * Number(field("mtbf_h").value) }),
    ...(engine ? { engine } : {}),
  };
}

/** @param {unknown} error */
function refuse(error) {
  wrong.textContent = error instanceof Error ? error.message : String(error);
  wrong.focus();
}

async function start() {
  const button = /** @type {HTMLButtonElement} */ (form.querySelector('[type="submit"]'));
  if (button.disabled) return;
  wrong.textContent = by("done-told").textContent = "";
  const bad = [...form.elements].find((one) => one instanceof HTMLInputElement && one.checkVisibility() && !one.checkValidity());
  if (bad instanceof HTMLInputElement) return void bad.reportValidity();
  button.disabled = true;
  try {
    const begun = await ask(`POST ${API}`, asked());
    void follow(begun.id);
  } catch (error) {
    refuse(error);
  } finally {
    button.disabled = false;
  }
}

/** Look at one until it has ended. @param {string} id @param {number} [tries] how often there was no answer */
async function follow(id, tries = 0) {
  clearTimeout(timer);
  playing = id;
  keep();
  let found;
  try {
    found = await ask(`GET ${API}/${encodeURIComponent(id)}`, {});
  } catch (error) {
    if (playing !== id) return;
    if (tries < MOST_TRIES && !(error instanceof Refused)) return void (timer = setTimeout(() => void follow(id, tries + 1), EVERY_MS * 2 ** tries)); // it goes on there
    return lost(error);
  }
  if (playing !== id) return; // another was begun meanwhile
  result.hidden = !(progress.hidden = ENDED.includes(found.state)); // not to be taken for what is being played
  if (!ENDED.includes(found.state)) {
    by("progress-told").textContent = told(found);
    /** @type {HTMLProgressElement} */ (by("progress-bar")).value = found.progress;
    timer = setTimeout(() => void follow(id), EVERY_MS);
  } else if (found.state === "done") await finish(found);
  else refuse(new Error(found.state === "cancelled" ? say("simulator_js.cancelled") : found.problem));
}

/** @param {any} found */
function told(found) {
  if (found.ahead) return say("simulator_js.ahead", { n: found.ahead });
  if (!found.playing) return say("simulator_js.waiting_first");
  const known = found.playing === "live" || found.playing === "changed" ? found.playing : "other";
  return say(`simulator_js.playing_${known}`, { name: found.playing, percent: Math.round(100 * found.progress) });
}

/** Nothing more is known of the one that was followed. @param {unknown} error */
function lost(error) {
  playing = "";
  progress.hidden = true;
  result.hidden = false;
  keep();
  refuse(error);
}

/** @param {any} found */
async function finish(found) {
  const answer = await fetch(`/simulator/runs/${encodeURIComponent(found.id)}`, { headers: { Accept: "text/html" } }).catch(() => null);
  if (playing !== found.id) return;
  if (!answer) return lost(new Error(say("js.no_answer")));
  if (!answer.ok) return lost(new Error(say("simulator_js.forgotten")));
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  result.replaceChildren(...page.body.childNodes);
  draw(result, found.result);
  by("done-told").textContent = `${say("simulator_js.done")} ${result.querySelector("h2")?.textContent ?? ""}`;
  if (innerWidth < 1024) result.scrollIntoView({ block: "start" });
}

/** @param {File} file */
async function take(file) {
  const most = 20;
  const problem = by("file-wrong");
  upload = problem.textContent = by("file-told").textContent = "";
  if (file.size > most * 2 ** 20) {
    problem.textContent = say("simulator_js.too_large", { mib: Math.ceil(file.size / 2 ** 20), most });
    return;
  }
  by("file-told").textContent = say("simulator_js.checking");
  try {
    const csrf = document.querySelector('meta[name="csrf"]')?.getAttribute("content") ?? "";
    const answer = await fetch(`${API}/traces?name=${encodeURIComponent(file.name.slice(-100))}`, {
      method: "POST", body: file, headers: { "Content-Type": "application/octet-stream", Accept: "application/json", "X-CSRF-Token": csrf },
    });
    const kept = await answer.json();
    if (!answer.ok) throw new Error(typeof kept.detail === "string" ? kept.detail : say("js.refused", { status: answer.status }));
    upload = kept.id;
    const lines = [say("simulator_js.uploaded", { n: kept.requests, name: kept.name, time: span(kept.duration_s) })];
    const first = kept.malformed[0];
    if (first) lines.push(say("simulator_js.left_out", { n: kept.malformed_count, line: first.line, why: first.why }));
    by("file-told").textContent = lines.join(" ");
    keep();
  } catch (error) {
    by("file-told").textContent = "";
    problem.textContent = error instanceof TypeError ? say("js.no_answer") : error instanceof Error ? error.message : String(error);
  }
}

/** @param {number} seconds */
function span(seconds) {
  const [value, unit] = seconds < 90 ? [seconds, "second"] : seconds < 5400 ? [seconds / 60, "minute"] : [seconds / 3600, "hour"];
  return new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: 1 }).format(value);
}

/** @param {File} file */
async function takeEngine(file) {
  const place = by("engine-told");
  try {
    const said = JSON.parse(await file.text());
    engine = Object.fromEntries(ENGINE.filter((name) => typeof said[name] === "number").map((name) => [name, said[name]]));
    if (!Object.keys(engine).length) throw new Error();
    place.textContent = say("simulator_js.engine_taken", { name: file.name });
  } catch {
    engine = null;
    place.textContent = say("simulator_js.no_engine");
  }
}

/** @param {Event} event */
function edited(event) {
  const at = /** @type {HTMLInputElement} */ (event.target);
  const knob = /** @type {HTMLElement | null} */ (at.closest("[data-knob]"));
  if (knob && at.matches(".slide")) input(knob).value = String(Number(Number(at.value).toPrecision(6)));
  if (at.id === "pool") {
    const said = new URLSearchParams(address().split("?")[1]);
    for (const name of ["run", ...knobs.map((one) => one.dataset.knob ?? "")]) said.delete(name);
    said.set("pool", at.value);
    return location.assign(`${location.pathname}?${said}`);
  }
  const file = at.files?.[0];
  if (at.id === "file" && file) return void take(file);
  if (at.id === "engine" && file) return void takeEngine(file);
  if (progress.hidden) playing = "";
  show();
  if (event.type === "change") keep(); // browsers let an address change a hundred times in half a minute
}

form.addEventListener("input", (event) => {
  if (/** @type {HTMLElement} */ (event.target).matches('[type="range"], [type="number"]')) edited(event);
});
form.addEventListener("change", edited);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  void start();
});
form.addEventListener("reset", () => setTimeout(() => {
  upload = wrong.textContent = by("file-told").textContent = by("file-wrong").textContent = by("engine-told").textContent = "";
  engine = null;
  show();
  keep();
}));
form.addEventListener("click", (event) => {
  const undo = /** @type {HTMLElement} */ (event.target).closest("[data-undo]");
  const knob = /** @type {HTMLElement | null} */ (undo?.closest("[data-knob]") ?? null);
  if (!knob) return;
  const of = input(knob);
  if (of.type === "checkbox") of.checked = of.defaultChecked;
  else of.value = of.defaultValue;
  of.focus();
  show();
  keep();
});
by("cancel").addEventListener("click", () => {
  if (playing) ask(`DELETE ${API}/${encodeURIComponent(playing)}`, {}).catch(refuse);
});
by("link-copy").addEventListener("click", () => copy(location.origin + address(), by("link-copy")));
const drop = by("drop");
for (const kind of ["dragenter", "dragover"]) drop.addEventListener(kind, (event) => { event.preventDefault(); drop.classList.add("over"); });
for (const kind of ["dragleave", "drop"]) drop.addEventListener(kind, () => drop.classList.remove("over"));
drop.addEventListener("drop", (event) => {
  event.preventDefault();
  const file = event.dataTransfer?.files[0];
  if (file) void take(file);
});
restore();
