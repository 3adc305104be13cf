// @ts-check
// A link with data-drawer opens what it leads to beside the page; it works as a plain link, too. Back closes it.

import { showTimes } from "./times.js";
import { say } from "./texts.js";

const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById("drawer"));
const body = document.getElementById("drawer-body");
let opened = 0; // entries of the history that are ours

/** @param {string} href */
async function fill(href) {
  if (!dialog || !body) return;
  body.setAttribute("aria-busy", "true");
  body.textContent = say("js.loading");
  if (!dialog.open) dialog.showModal();
  try {
    const answer = await fetch(href, { headers: { Accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/login") return location.assign(answer.url);
    const main = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    if (!main) return location.assign(href);
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
