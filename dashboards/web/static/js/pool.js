// @ts-check
// The numbers of a pool's replicas, and the dialogs that have to know something first: of which replica, what can be hurt.

import { say } from "./texts.js";
import { duration } from "./timeline_charts.js";

document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button[data-open]") : null;
  if (!(button instanceof HTMLElement)) return;
  if (button.dataset.open === "replica-do") prepare(button.dataset.replica ?? "", button.dataset.ordered === "yes");
  if (button.dataset.open === "drill") void faults();
});

/** The numbers of the replicas, into the cells of their rows: they come apart, since they change all the time. */
function fill() {
  const given = document.getElementById("replica-numbers")?.getAttribute("value");
  if (!given) return;
  for (const [name, texts] of Object.entries(JSON.parse(given))) {
    const cells = document.getElementById(`replica-${name}`)?.querySelectorAll("td.n") ?? [];
    for (const [place, text] of texts.entries()) {
      const cell = cells[place];
      if (cell && cell.textContent !== text) cell.textContent = text;
    }
  }
}
document.addEventListener("stoker:changed", fill);
fill();

/** @param {string} replica @param {boolean} ordered whether something is, so that it can be withdrawn */
function prepare(replica, ordered) {
  const dialog = /** @type {HTMLElement} */ (document.getElementById("replica-do"));
  /** @type {HTMLInputElement} */ (dialog.querySelector('[name="subject"]')).value = `replica/${replica}`;
  /** @type {HTMLElement} */ (dialog.querySelector("[data-name]")).textContent = say("js_pool.replica", { name: replica });
  const release = /** @type {HTMLElement} */ (dialog.querySelector('[data-kind="release"]'));
  release.hidden = !ordered;
  /** @type {HTMLInputElement} */ (release.querySelector("input")).disabled = !ordered;
}

/** What the drill's dialog says of the fault that is chosen. @param {any} fault @param {HTMLElement} place */
function tell(fault, place) {
  if (!fault) return void (place.textContent = "");
  const hits = fault.hits ? say("js_pool.fault_hits", { n: fault.hits }) : say("js_pool.fault_hits_none");
  const why = fault.why_not ?? fault.not_now ?? "";
  place.textContent = [fault.what, hits, say("js_pool.fault_lasts", { value: duration(fault.patience_s) }), why].filter(Boolean).join(" ");
}

async function faults() {
  const select = /** @type {HTMLSelectElement} */ (document.getElementById("drill-fault"));
  const what = /** @type {HTMLElement} */ (document.getElementById("drill-what"));
  const force = /** @type {HTMLElement} */ (document.getElementById("drill-force"));
  const box = /** @type {HTMLInputElement} */ (force.querySelector("input"));
  const first = document.createElement("option");
  first.value = "";
  select.replaceChildren(first);
  what.textContent = ""; // of what was chosen the last time
  force.hidden = box.disabled = true;
  box.checked = false;
  try {
    const answer = await fetch(`/api/v1/drills/catalogue?pool=${encodeURIComponent(select.dataset.pool ?? "")}`);
    const body = await answer.json();
    if (!answer.ok) throw new Error(String(body.detail));
    first.textContent = say("js_pool.fault_needs");
    for (const fault of body.faults) {
      const option = document.createElement("option");
      option.value = fault.fault;
      option.disabled = !fault.possible;
      const note = fault.why_not ? say("js_pool.fault_never") : fault.not_now ? say("js_pool.fault_not_now") : "";
      option.textContent = note ? `${fault.fault} (${note})` : fault.fault;
      select.append(option);
    }
    select.onchange = () => {
      const fault = body.faults.find((/** @type {any} */ one) => one.fault === select.value);
      tell(fault, what);
      force.hidden = !fault?.not_now;
      box.disabled = !fault?.not_now;
      if (force.hidden) box.checked = false;
    };
  } catch (error) {
    what.textContent = error instanceof Error ? error.message : String(error);
  }
}
