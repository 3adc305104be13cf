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
  if (link) link.click();
});

// The menu of narrow screens closes with Escape.
document.addEventListener("keydown", (event) => {
  const menu = /** @type {HTMLDetailsElement | null} */ (document.querySelector("details.menu[open]"));
  if (event.key === "Escape" && menu) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  }
});
