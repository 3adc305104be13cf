// @ts-check
// A new key's text is shown once, in a dialog, and is nowhere once that is closed.

const made = /** @type {HTMLDialogElement | null} */ (document.getElementById("key-made"));
const secret = document.getElementById("key-secret");
const rotating = document.getElementById("key-rotate");

function forget() {
  if (secret) secret.textContent = "";
}

document.addEventListener("stoker:acted", (event) => {
  const { data } = /** @type {CustomEvent} */ (event).detail;
  if (!made || !secret || typeof data?.key !== "string") return;
  secret.textContent = data.key;
  delete data.key;
  made.showModal();
});
made?.addEventListener("close", forget);
addEventListener("pagehide", forget); // a page that is kept for the way back keeps none either

// The one dialog for rotating is told which key it is about.
document.addEventListener("click", (event) => {
  const button = event.target instanceof Element ? event.target.closest("button[data-open='key-rotate']") : null;
  if (!(button instanceof HTMLElement) || !rotating) return;
  const field = /** @type {HTMLInputElement | null} */ (rotating.querySelector("input[name=key]"));
  const name = rotating.querySelector("[data-name-of-key]");
  if (field) field.value = button.dataset.key ?? "";
  if (name) name.textContent = button.dataset.name ?? "";
});
