// @ts-check
// What every page runs.

import { startActions } from "./actions.js";
import { startDrawer } from "./drawer.js";
import { startLive } from "./live.js";
import { startTimes } from "./times.js";

startTimes();
startActions();
startDrawer();
startLive();

// A click anywhere on a row follows its main link, unless it was meant for something else.
document.addEventListener("click", (event) => {
  const at = event.target instanceof Element ? event.target : null;
  const row = at?.closest("[data-row]");
  if (!row || at?.closest("a, button, input, select, summary, label, dialog") || getSelection()?.toString()) return;
  const link = /** @type {HTMLAnchorElement | null} */ (row.querySelector("a[data-main]"));
  // As if it had been the link, with whatever key was held: in a new tab, perhaps.
  link?.dispatchEvent(new MouseEvent("click", event));
});

// The other language shows what this one shows: scripts change the address, too.
document.addEventListener("click", (event) => {
  const link = event.target instanceof Element ? event.target.closest("a[hreflang]") : null;
  if (!(link instanceof HTMLAnchorElement)) return;
  link.search = new URLSearchParams({ next: location.pathname + location.search }).toString();
});

// The menu of narrow screens closes with Escape, and with a tap outside of it.
const menu = /** @type {HTMLDetailsElement | null} */ (document.querySelector("details.menu"));
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !menu?.open) return;
  menu.open = false;
  menu.querySelector("summary")?.focus();
});
document.addEventListener("pointerdown", (event) => {
  if (menu?.open && !(event.target instanceof Node && menu.contains(event.target))) menu.open = false;
});
