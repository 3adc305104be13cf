// @ts-check
// Keeps the pools that need somebody on top, but moves no row while somebody reads: not under the pointer, not while
// something in the table has the focus, and not once the reader has scrolled into it. Then a button offers it.

const body = document.getElementById("pools");
const button = document.getElementById("sort");

/** @param {Element} a @param {Element} b rows, whose heads say how bad it is */
function before(a, b) {
  const [first, second] = [a.querySelector("[data-rank]"), b.querySelector("[data-rank]")];
  if (!first || !second) return 0;
  const ranks = Number(first.getAttribute("data-rank")) - Number(second.getAttribute("data-rank"));
  const [one, other] = [first.id, second.id].map((id) => id.replace(/:head$/, "")); // as the server sorts names
  return ranks || (one < other ? -1 : one > other ? 1 : 0);
}

function sort() {
  if (!body || !button) return;
  const rows = [...body.querySelectorAll("tr[data-row]")];
  const wanted = [...rows].sort(before);
  wanted.forEach((row, index) => {
    if (row !== body.children[index]) body.insertBefore(row, body.children[index] ?? null);
  });
  button.hidden = true;
}

function look() {
  if (!body || !button) return;
  const rows = [...body.querySelectorAll("tr[data-row]")];
  if (rows.every((row, index) => index === 0 || before(rows[index - 1], row) <= 0)) button.hidden = true;
  else if (body.matches(":hover") || body.contains(document.activeElement) || body.getBoundingClientRect().top < 0) button.hidden = false;
  else sort();
}

document.addEventListener("stoker:changed", look);
body?.addEventListener("pointerleave", look);
button?.addEventListener("click", sort);
