// @ts-check
// Changes go through the same API as everybody's. A form or a button says which: data-action="POST /api/v1/...".
//
// A form sends its fields as JSON. A button opens the one dialog of the page, which asks for a reason first:
//   data-action, data-body (JSON that goes along), data-title, data-text, data-confirm (the word on the button)
// data-open="ID" opens a dialog of the page, with data-fields (JSON) in its form and data-title in its [data-named].
// {name} in the path is taken from the fields. What the API answers goes into [data-field] of #ID for data-result="ID".

import { say } from "./texts.js";
import { refetch } from "./live.js";

const PLACES = /\{(\w+)\}/g;
const SAID = "stoker-said"; // what is to be told on the next page
const ANSWER_MS = 120_000; // nothing takes longer that is not followed by other means
const notes = document.getElementById("said");
let openings = 0; // of dialogs: whoever waits for an answer knows by it whether his own is still there

/**
 * What is to be done, as it stood when somebody asked for it: the page may make another button of that one meanwhile.
 * @typedef {Record<string, string | undefined>} Asked
 * @param {HTMLElement} asker
 * @returns {Asked}
 */
const asked = (asker) => ({ ...asker.dataset });

/** To where it is seen: all else lies under an open dialog, and is inert. @param {HTMLElement} notes */
function rise(notes) {
  const top = document.querySelector("#confirm[open]") ?? [...document.querySelectorAll("dialog[open]")].pop();
  (top ?? document.body).append(notes);
  top?.addEventListener("close", () => rise(notes), { once: true });
}

/** @param {string} text @param {"done" | "failed"} [how] */
export function tell(text, how = "done") {
  if (!notes) return;
  rise(notes);
  const note = document.createElement("p");
  note.className = `note ${how}`;
  note.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "close";
  close.setAttribute("aria-label", say("js.close"));
  close.textContent = "×";
  close.addEventListener("click", () => note.remove());
  note.append(close);
  notes.append(note);
  if (how === "done") setTimeout(() => note.remove(), 8000);
}

/** What a form holds, as the API wants it. @param {HTMLFormElement} form */
export function fieldsOf(form) {
  /** @type {Record<string, any>} */
  const found = {};
  for (const field of form.elements) {
    if (!(field instanceof HTMLInputElement || field instanceof HTMLSelectElement || field instanceof HTMLTextAreaElement)) continue;
    if (!field.name || field.disabled) continue;
    if (field instanceof HTMLInputElement && field.type === "radio" && !field.checked) continue;
    if (field instanceof HTMLInputElement && field.type === "checkbox") {
      if (field.dataset.list === undefined) found[field.name] = field.checked;
      else if (field.checked) found[field.name] = [...(found[field.name] ?? []), field.value];
      else found[field.name] ??= [];
    } else if (field.value.trim() === "" && field.dataset.empty === undefined) continue;
    else if ((field instanceof HTMLInputElement && field.type === "number") || field.dataset.type === "number") found[field.name] = Number(field.value);
    else found[field.name] = field.value;
  }
  return found;
}

/** A path with what stands for its {names}. @param {string} path @param {any} values */
function filled(path, values) {
  return path.replace(PLACES, (_, name) => encodeURIComponent(String(values?.[name] ?? "")));
}

/** What the API says no with. */
export class Refused extends Error {}

/**
 * Ask the API. Throws Refused with its own sentence, or an Error where there is no answer.
 * @param {string} action "METHOD /path"
 * @param {Record<string, any>} body
 */
export async function ask(action, body) {
  const [method, path] = action.split(" ", 2);
  const rest = { ...body };
  for (const [, name] of path.matchAll(PLACES)) delete rest[name];
  const csrf = document.querySelector('meta[name="csrf"]')?.getAttribute("content") ?? "";
  const sent = method === "GET" || method === "DELETE" ? undefined : JSON.stringify(rest);
  /** @type {Record<string, string>} */
  const headers = { Accept: "application/json", "X-CSRF-Token": csrf };
  if (sent !== undefined) headers["Content-Type"] = "application/json";
  const answer = await fetch(filled(path, body), { method, headers, body: sent, signal: AbortSignal.timeout(ANSWER_MS) }).catch(() => {
    throw new Error(say("js.no_answer"));
  });
  if (answer.status === 401) location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  const text = await answer.text();
  const data = text && answer.headers.get("content-type")?.includes("json") ? JSON.parse(text) : null;
  if (!answer.ok) {
    const why = sentence(data?.detail) ?? say("js.refused", { status: answer.status });
    throw answer.status < 500 ? new Refused(why) : new Error(why);
  }
  return data;
}

/** @param {any} detail a sentence, or what a field is wrong about */
function sentence(detail) {
  if (typeof detail === "string") return detail;
  if (Array.isArray(detail)) return detail.map((one) => `${(one.loc ?? []).slice(1).join(".")}: ${one.msg}`).join("; ");
  return undefined;
}

/** What was shown once goes with the next thing that is done. @param {Element} place */
function forget(place) {
  for (const item of place.querySelectorAll("[data-field]")) item.textContent = "";
  /** @type {HTMLElement} */ (place).hidden = true;
}

/** @param {Asked} how @param {any} data */
function finish(how, data) {
  const place = how.result ? document.getElementById(how.result) : null;
  for (const shown of document.querySelectorAll(".banner.secret:not([hidden])")) forget(shown);
  if (place) {
    for (const item of place.querySelectorAll("[data-field]")) {
      item.textContent = String(data?.[item.getAttribute("data-field") ?? ""] ?? "");
    }
    place.hidden = false;
    place.focus();
  }
  const words = (data?.changed === false && data.text) || how.done || say("js.done"); // or why nothing came of it
  document.dispatchEvent(new CustomEvent("stoker:acted", { detail: { data } }));
  const then = filled(how.then ?? "", data);
  if (then && then !== location.pathname) {
    sessionStorage.setItem(SAID, words);
    return location.assign(then);
  }
  tell(words);
  void refetch();
}

/**
 * @param {HTMLFormElement} form
 * @param {Asked} how
 */
async function submit(form, how) {
  const buttons = [...form.querySelectorAll("button")].filter((one) => one.type === "submit");
  const wrong = /** @type {HTMLElement | null} */ (form.querySelector(".wrong"));
  if (wrong) wrong.textContent = "";
  const blank = [...form.querySelectorAll("textarea, input")].find((one) => isBlank(one));
  if (blank instanceof HTMLElement) return blank.focus(), void (wrong && (wrong.textContent = say("js.blank")));
  for (const one of buttons) one.disabled = true;
  form.setAttribute("aria-busy", "true");
  const dialog = form.closest("dialog"), opening = openings;
  const there = () => !dialog || (dialog.open && opening === openings); // a browser may close one whatever we say
  try {
    const data = await ask(how.action ?? "", { ...JSON.parse(how.body ?? "{}"), ...fieldsOf(form) });
    if (there()) {
      dialog?.close();
      form.reset();
    }
    finish(how, data);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    if (wrong && there()) {
      wrong.textContent = text;
      wrong.focus();
    } else tell(text, "failed");
  } finally {
    form.removeAttribute("aria-busy");
    for (const one of buttons) one.disabled = false;
  }
}

/** Spaces alone are nothing, whatever the browser says. @param {Element} field */
function isBlank(field) {
  return (field instanceof HTMLTextAreaElement || field instanceof HTMLInputElement) && field.required && !field.value.trim();
}

/** @param {HTMLElement} asker */
function confirm(asker) {
  const how = asked(asker);
  const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById("confirm"));
  const form = dialog?.querySelector("form");
  if (!dialog || !form) return;
  form.reset(); // a reason is for one thing
  /** @param {string} name @param {string | undefined} text */
  const put = (name, text) => {
    const place = /** @type {HTMLElement} */ (form.querySelector(`[data-put="${name}"]`));
    place.textContent = text ?? "";
    place.hidden = !text;
  };
  put("title", how.title ?? asker.textContent ?? "");
  put("text", how.text);
  put("confirm", how.confirm ?? asker.textContent ?? "");
  const wrong = form.querySelector(".wrong");
  if (wrong) wrong.textContent = "";
  form.onsubmit = (event) => {
    event.preventDefault();
    void submit(form, how);
  };
  openings += 1;
  dialog.showModal();
}

/** A dialog as if it had never been open, with what the button says stands in its fields by now. @param {HTMLElement} button */
function open(button) {
  const dialog = /** @type {HTMLDialogElement | null} */ (document.getElementById(button.dataset.open ?? ""));
  for (const form of dialog?.querySelectorAll("form") ?? []) {
    form.reset();
    for (const place of form.querySelectorAll(".wrong")) place.textContent = "";
    for (const [name, value] of Object.entries(JSON.parse(button.dataset.fields ?? "{}"))) {
      const field = form.elements.namedItem(name);
      if (field instanceof HTMLInputElement || field instanceof HTMLSelectElement) field.value = String(value);
    }
    const named = form.querySelector("[data-named]");
    if (named) named.textContent = button.dataset.title ?? "";
    if (button.dataset.done) form.dataset.done = button.dataset.done;
  }
  openings += 1;
  dialog?.showModal();
}

/** Whether something of it is on its way, so that its answer is to be seen. @param {Element | null | undefined} dialog */
const isBusy = (dialog) => !!dialog?.querySelector('form[aria-busy="true"]');

/** Under a name that is not this machine's, plain HTTP has no clipboard but the old one. @param {string} text @param {Element} near */
async function copied(text, near) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "hide";
  (near.closest("dialog") ?? document.body).append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("refused");
}

/** @param {string} text @param {HTMLElement} near the button that asked for it */
export function copy(text, near) {
  copied(text, near).then(() => tell(say("js.copied")), () => tell(say("js.not_copied"), "failed")).finally(() => near.focus());
}

export function startActions() {
  const said = sessionStorage.getItem(SAID);
  sessionStorage.removeItem(SAID);
  if (said) tell(said);
  document.addEventListener("click", (event) => {
    const at = event.target instanceof Element ? event.target : null;
    const button = /** @type {HTMLElement | null} */ (at?.closest("button[data-action], button[data-open], button[data-close], button[data-copy], button[data-forget]") ?? null);
    if (!button) return;
    if (button.dataset.action) confirm(button);
    if (button.dataset.open) open(button);
    const around = button.closest("dialog");
    if (button.dataset.close !== undefined && !isBusy(around)) around?.close();
    if (button.dataset.forget !== undefined) forget(button.closest(".secret") ?? button);
    // A page in the drawer may have what the one below it has, too.
    if (button.dataset.copy) copy((around ?? document).querySelector(`#${CSS.escape(button.dataset.copy)}`)?.textContent ?? "", button);
  });
  document.addEventListener("cancel", (event) => {
    if (event.target instanceof HTMLDialogElement && isBusy(event.target)) event.preventDefault();
  }, true);
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !form.dataset.action) return;
    event.preventDefault();
    void submit(form, asked(form));
  });
}
