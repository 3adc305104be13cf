// @ts-check
// A new key's text is shown once, in a dialog, and is nowhere once that is closed.

const made = /** @type {HTMLDialogElement | null} */ (document.getElementById("key-made"));
const secret = document.getElementById("key-secret");

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
