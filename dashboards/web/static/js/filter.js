// @ts-check
// <input data-filter="ID">: shows only the [data-words] below #ID that hold every word that is typed; kept in the URL.

/** @param {HTMLInputElement} input */
function apply(input) {
  const list = document.getElementById(input.dataset.filter ?? "");
  if (!list) return;
  const wanted = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of /** @type {NodeListOf<HTMLElement>} */ (list.querySelectorAll("[data-words]"))) {
    // What changes while the page is open stands in a live part of the row.
    const parts = [row, .../** @type {NodeListOf<HTMLElement>} */ (row.querySelectorAll("[data-also]"))];
    const words = parts.map((part) => `${part.dataset.words ?? ""} ${part.dataset.also ?? ""}`).join(" ").toLowerCase();
    const fits = wanted.every((word) => words.includes(word));
    row.classList.toggle("is-filtered", !fits);
    if (fits) shown += 1;
  }
  const empty = document.getElementById(`${input.dataset.filter}-none`);
  if (empty) empty.hidden = shown > 0;
}

for (const input of /** @type {NodeListOf<HTMLInputElement>} */ (document.querySelectorAll("input[data-filter]"))) {
  const name = input.name || "q";
  const given = new URLSearchParams(location.search).get(name);
  if (given) input.value = given;
  input.addEventListener("input", () => {
    apply(input);
    const url = new URL(location.href);
    if (input.value) url.searchParams.set(name, input.value);
    else url.searchParams.delete(name);
    history.replaceState(history.state, "", url);
  });
  document.addEventListener("stoker:changed", () => apply(input));
  apply(input);
}
