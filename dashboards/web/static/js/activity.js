// @ts-check
// The stream: what is new is counted and comes when it is asked for; older lines go below; times are of the reader's zone.

import { refetch } from "./live.js";
import { say } from "./texts.js";
import { showTimes } from "./times.js";

const MAIN = document.getElementById("main");

/** @returns {string[] | null} the newest lines that fit; null: the page does not wait for any */
function newest() {
  const told = document.getElementById("activity-news")?.dataset.ids;
  return told === undefined ? null : told.split(" ").filter(Boolean);
}

let known = new Set(newest() ?? []);
/** @type {Set<string>} */
let news = new Set();

function count() {
  const place = document.getElementById("news");
  for (const id of newest() ?? []) if (!known.has(id)) news.add(id);
  if (!place) return;
  const button = place.querySelector("button") ?? document.createElement("button");
  button.type = "button";
  button.className = "main";
  if (!news.size) return place.replaceChildren();
  const text = say("activity_js.news", { n: news.size });
  if (button.textContent !== text) button.textContent = text;
  if (!button.isConnected) place.append(button);
}

/** What is on the page now is no news. */
function seen() {
  const told = newest();
  if (told === null) return; // nobody knows at the moment
  known = new Set(told);
  news = new Set();
  count();
}

/** Older lines that were asked for stay, and where the reader is in them, until he wants the newest. @param {boolean} stay */
function keepOlder(stay) {
  for (const id of ["stream", "older"]) document.getElementById(id)?.toggleAttribute("data-keep", stay);
}

async function show() {
  keepOlder(false);
  await refetch();
  document.getElementById("stream")?.querySelector("a")?.focus({ preventScroll: true });
}

/** @param {HTMLAnchorElement} link */
async function more(link) {
  const place = document.getElementById("older"), stream = document.getElementById("stream");
  if (link.ariaBusy) return;
  if (!place || !stream) return location.assign(link.href);
  keepOlder(true);
  link.setAttribute("aria-busy", "true");
  const answer = await fetch(link.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || answer.redirected) return location.assign(link.href);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  const rows = [...(fresh.getElementById("stream")?.children ?? [])];
  stream.append(...rows.filter((row) => !document.getElementById(row.id)));
  for (const row of rows) showTimes(row);
  place.replaceChildren(...(fresh.getElementById("older")?.childNodes ?? []));
  /** @type {HTMLElement | null | undefined} */ (rows[0]?.querySelector("a"))?.focus({ preventScroll: true });
}

/** The form shows times of the reader's zone; the address has those of UTC. */
function zone() {
  for (const field of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("input[data-utc]"))) {
    const at = Date.parse(field.dataset.utc ?? "");
    if (Number.isNaN(at)) continue;
    const shift = new Date(at).getTimezoneOffset() * 60_000;
    field.value = new Date(at - shift).toISOString().slice(0, 19);
  }
}

MAIN?.addEventListener("click", (event) => {
  const at = event.target instanceof Element ? event.target : null;
  const link = at?.closest("a[data-older]");
  if (at?.closest("#news button")) void show();
  if (!(link instanceof HTMLAnchorElement) || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  void more(link);
});
MAIN?.addEventListener("submit", (event) => {
  const form = event.target;
  if (!(form instanceof HTMLFormElement) || form.getAttribute("role") !== "search") return;
  event.preventDefault(); // what is empty is not part of the address
  const asked = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    const field = form.elements.namedItem(name);
    const local = field instanceof HTMLInputElement && field.dataset.utc !== undefined;
    if (value) asked.set(name, local ? new Date(String(value)).toISOString() : String(value));
  }
  location.assign(asked.size ? `/activity?${asked}` : "/activity");
});
document.addEventListener("stoker:changed", (event) => {
  const anew = !(/** @type {CustomEvent} */ (event).detail.length); // the page, with all its lines
  if (anew && !document.getElementById("stream")?.hasAttribute("data-keep")) seen();
  else count();
});
zone();
