// @ts-check
// The code of an invitation stands behind # in the link: it goes into the form, and out of the address bar.

const field = /** @type {HTMLInputElement | null} */ (document.getElementById("code"));
const code = decodeURIComponent(location.hash.slice(1));
if (field && code) {
  field.value = code;
  history.replaceState(null, "", location.pathname);
  document.getElementById("password")?.focus();
}
