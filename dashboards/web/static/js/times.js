// @ts-check
// Puts every <time data-as> into the reader's zone, and lets the ages go on.

import { language, say } from "./texts.js";

const clock = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
/** @type {Intl.DateTimeFormatOptions} */
const DATED = { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const dated = new Intl.DateTimeFormat(language, DATED);
const long = new Intl.DateTimeFormat(language, { ...DATED, year: "numeric" }); // of another year than this one
const whole = new Intl.DateTimeFormat(language, { dateStyle: "full", timeStyle: "long", hourCycle: "h23" });
const ages = new Intl.RelativeTimeFormat(language, { numeric: "always", style: "narrow" });

/** How far the server's clock is ahead of this one, in ms: as of the page's making, until it is told anew. */
let ahead = (Date.parse(document.body.dataset.now ?? "") || Date.now()) - Date.now();

/** @param {string} now of the server, ISO 8601 */
export function setClock(now) {
  ahead = Date.parse(now) - Date.now();
}

/** The server's time now, in ms. */
export function now() {
  return Date.now() + ahead;
}

/** @param {number} at in ms */
export function age(at) {
  const seconds = Math.max(0, Math.round((now() - at) / 1000));
  if (seconds < 5) return say("js.just_now");
  if (seconds < 60) return ages.format(-seconds, "second");
  if (seconds < 3600) return ages.format(-Math.floor(seconds / 60), "minute");
  if (seconds < 86400) return ages.format(-Math.floor(seconds / 3600), "hour");
  return ages.format(-Math.floor(seconds / 86400), "day");
}

/** With its date. @param {number} at in ms */
function day(at) {
  return (new Date(at).getFullYear() === new Date(now()).getFullYear() ? dated : long).format(at);
}

/** @param {number} at in ms */
export function told(at) {
  return new Date(at).toDateString() === new Date(now()).toDateString() ? clock.format(at) : day(at);
}

/** @param {HTMLTimeElement} element */
function show(element) {
  const at = Date.parse(element.dateTime);
  if (Number.isNaN(at)) return;
  const kind = element.dataset.as;
  const text = kind === "ago" ? age(at) : kind === "day" ? day(at) : told(at);
  if (element.textContent !== text) element.textContent = text;
  const title = whole.format(at);
  if (element.title !== title) element.title = title;
}

/** @param {ParentNode} root */
export function showTimes(root) {
  for (const element of root.querySelectorAll("time[data-as]")) show(/** @type {HTMLTimeElement} */ (element));
}

export function startTimes() {
  showTimes(document);
  new MutationObserver((changes) => {
    for (const change of changes) {
      const place = change.target instanceof Element ? change.target : change.target.parentElement;
      const own = place?.closest("time[data-as]");
      if (own) show(/** @type {HTMLTimeElement} */ (own));
      for (const node of change.addedNodes) {
        if (!(node instanceof Element)) continue;
        if (node.matches("time[data-as]")) show(/** @type {HTMLTimeElement} */ (node));
        showTimes(node);
      }
    }
  }).observe(document.body, { subtree: true, childList: true, attributeFilter: ["datetime"] });
  let today = new Date(now()).toDateString();
  setInterval(() => {
    if (document.hidden) return;
    if (today !== (today = new Date(now()).toDateString())) showTimes(document); // an hour of yesterday needs its date
    for (const element of document.querySelectorAll('time[data-as="ago"]')) show(/** @type {HTMLTimeElement} */ (element));
  }, 1000);
}
