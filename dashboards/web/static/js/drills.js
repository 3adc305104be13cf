// @ts-check
// The catalogue comes by itself: finding out what can be hurt takes a while.

const place = document.querySelector("#catalogue[data-src]");

async function load() {
  if (!(place instanceof HTMLElement)) return;
  place.setAttribute("aria-busy", "true");
  const answer = await fetch(place.dataset.src ?? "", { headers: { Accept: "text/html" } }).catch(() => null);
  place.removeAttribute("aria-busy");
  if (!answer?.ok || answer.redirected) return; // the link to it stays
  const found = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("catalogue");
  if (found) place.replaceChildren(...found.childNodes);
}

let running = document.querySelector("#drills-running .drill-now") !== null;
document.addEventListener("stoker:changed", () => {
  const now = document.querySelector("#drills-running .drill-now") !== null;
  if (now !== running) void load(); // what can be hurt is another thing while one runs
  running = now;
});
void load();
