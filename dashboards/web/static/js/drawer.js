// @ts-check
// A link with data-drawer opens what it leads to beside the page; it works as a plain link, too. Back closes it.

import { showTimes } from "./times.js";
import { say } from "./texts.js";

const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById("drawer"));
const body = document.getElementById("drawer-body");
const whole = location.pathname; // of what was loaded as a page
const alone = history.state?.drawer ? location.pathname + location.search : ""; // it was in a drawer until it was loaded anew
/** @type {AbortController | null} */
let filling = null;

/** The styles of that page, where this one has not got them. @param {Document} fresh */
function dress(fresh) {
  for (const link of fresh.querySelectorAll('link[rel="stylesheet"]')) {
    const href = link.getAttribute("href") ?? "";
    if (!href.startsWith("/static/") || document.querySelector(`link[href="${CSS.escape(href)}"]`)) continue;
    const mine = document.createElement("link");
    mine.rel = "stylesheet";
    mine.href = href;
    document.head.append(mine);
  }
}

/** @param {string} href */
async function fill(href) {
  if (!dialog || !body) return;
  filling?.abort();
  const mine = (filling = new AbortController());
  body.setAttribute("aria-busy", "true");
  body.textContent = say("js.loading");
  if (!dialog.open) dialog.showModal();
  try {
    const answer = await fetch(href, { headers: { Accept: "text/html" }, signal: mine.signal });
    if (answer.redirected && new URL(answer.url).pathname === "/login") return location.assign(answer.url);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (filling !== mine) return; // another was asked for, or nobody waits any more
    const main = fresh.getElementById("main");
    if (!main) return location.assign(href);
    dress(fresh);
    for (const item of main.querySelectorAll("script")) item.remove();
    for (const item of main.querySelectorAll("[data-page-only]")) item.remove();
    body.replaceChildren(...main.childNodes);
    showTimes(body);
    body.scrollTop = 0;
  } catch {
    if (filling === mine) body.textContent = say("js.no_answer");
  } finally {
    if (filling === mine) body.removeAttribute("aria-busy");
  }
}

export function startDrawer() {
  if (!dialog) return;
  if (history.state?.drawer) history.replaceState(null, ""); // loaded anew, as a page of its own
  document.addEventListener("click", (event) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    const link = event.target instanceof Element ? event.target.closest("a[data-drawer]") : null;
    if (!(link instanceof HTMLAnchorElement)) return;
    event.preventDefault();
    const { page = location.href, depth = 0 } = history.state ?? {};
    history.pushState({ drawer: link.href, page, depth: depth + 1 }, "", link.href); // depth: entries above the page
    void fill(link.href);
  });
  addEventListener("popstate", (event) => {
    const href = event.state?.drawer;
    if (href) return void fill(href);
    // Another page is underneath, and was never loaded here.
    if (location.pathname !== whole || (alone && location.pathname + location.search !== alone)) return location.reload();
    if (dialog.open) dialog.close();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    filling?.abort();
    filling = null;
    body?.replaceChildren();
    const depth = history.state?.depth ?? 0;
    if (depth) history.go(-depth); // to the page that is underneath
  });
}
