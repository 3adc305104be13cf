// @ts-check
// A link with data-drawer opens what it leads to beside the page; it works as a plain link, too. Back closes it.

import { showTimes } from "./times.js";
import { say } from "./texts.js";

const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById("drawer"));
const body = document.getElementById("drawer-body");
let opened = 0; // entries of the history that are ours

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
  body.setAttribute("aria-busy", "true");
  body.textContent = say("js.loading");
  if (!dialog.open) dialog.showModal();
  try {
    const answer = await fetch(href, { headers: { Accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") return location.assign(answer.url);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const main = fresh.getElementById("main");
    if (!main) return location.assign(href);
    dress(fresh);
    for (const item of main.querySelectorAll("script")) item.remove();
    for (const item of main.querySelectorAll("[data-page-only]")) item.remove();
    body.replaceChildren(...main.childNodes);
    showTimes(body);
    body.scrollTop = 0;
  } catch {
    body.textContent = say("js.no_answer");
  } finally {
    body.removeAttribute("aria-busy");
  }
}

export function startDrawer() {
  if (!dialog) return;
  document.addEventListener("click", (event) => {
    if (event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.defaultPrevented) return;
    const link = event.target instanceof Element ? event.target.closest("a[data-drawer]") : null;
    if (!(link instanceof HTMLAnchorElement)) return;
    event.preventDefault();
    history.pushState({ drawer: link.href, page: history.state?.page ?? location.href }, "", link.href);
    opened += 1;
    void fill(link.href);
  });
  addEventListener("popstate", (event) => {
    const href = event.state?.drawer;
    if (href) return void fill(href);
    opened = 0;
    if (dialog.open) dialog.close();
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => {
    body?.replaceChildren();
    if (opened) history.go(-opened); // to the page that is underneath
    opened = 0;
  });
}
