// @ts-check
// Keeps the page as the controller sees things now: /live sends the elements that changed, and a beat every 5 s.
// A browser opens 6 connections to a host over HTTP/1.1, so a page that is hidden for 30 s gives its own back.

import { say } from "./texts.js";
import { setClock, told } from "./times.js";

const HIDDEN_MS = 30_000;
const SILENT_MS = 9_000; // without a beat for so long the connection is lost
const RETRY_MS = [500, 1000, 2000, 4000, 5000];
const PAGE_MS = 30_000; // what takes longer is asked for anew

/** @type {AbortController | null} */
let stream = null;
let tries = 0;
let heard = 0; // when the last byte came
let lastGood = Date.now();
let hiddenTimer = 0;
let retryTimer = 0;
let baseTitle = document.title;
let outdated = false; // the page is to be fetched anew
/** @type {Promise<void> | null} */
let fetching = null; // one at a time, however slow it is
/** @type {Record<string, string | null>} */
let meanwhile = {}; // parts that came while a page was on its way: it may be older than they are

/** @param {string} text shown over the page until it is empty again */
function tellLink(text) {
  const banner = document.getElementById("link");
  if (!banner) return;
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = text === "";
  document.body.classList.toggle("is-old", text !== "");
}

/** What a morph leaves alone: what the reader opened, typed, or looks at, and times that are told in his zone. */
const keep = {
  /** @param {Node} old @param {Node} next */
  beforeNodeMorphed(old, next) {
    if (old instanceof HTMLTimeElement && next instanceof HTMLTimeElement) {
      return old.dateTime !== next.dateTime || old.dataset.as !== next.dataset.as;
    }
    if (old instanceof HTMLDialogElement && old.open) return false; // what is typed there, and what was wrong with it
    return !(old instanceof Element && old.hasAttribute("data-keep"));
  },
  /** @param {string} name @param {Element} element */
  beforeAttributeUpdated(name, element) {
    if (name === "open") return !(element instanceof HTMLDetailsElement || element instanceof HTMLDialogElement);
    if (["value", "checked", "selected"].includes(name)) return !changedByReader(element);
    return !(name === "title" && element instanceof HTMLTimeElement);
  },
};

/** Whether somebody typed, ticked or chose there. @param {Element} element */
function changedByReader(element) {
  if (element instanceof HTMLInputElement) return element.value !== element.defaultValue || element.checked !== element.defaultChecked;
  if (element instanceof HTMLOptionElement) return element.selected !== element.defaultSelected;
  return element instanceof HTMLTextAreaElement && element.value !== element.defaultValue;
}

/** @param {Element} element @param {string | Element} html */
export function morph(element, html) {
  const morpher = /** @type {any} */ (window).Idiomorph;
  if (morpher) {
    // Of a focused element the content stays as it is: good for what is typed, not for the word on a button.
    const typing = document.activeElement?.matches("input, textarea, select") ?? false;
    morpher.morph(element, html, { morphStyle: "outerHTML", ignoreActiveValue: typing, callbacks: keep });
  } else if (!element.hasAttribute("data-keep")) replace(element, html);
}

/** Without the library: the focus is lost, what is kept stays. @param {Element} element @param {string | Element} html */
function replace(element, html) {
  const template = document.createElement("template");
  if (typeof html === "string") template.innerHTML = html;
  else template.content.append(html);
  for (const kept of element.querySelectorAll("[data-keep][id]")) {
    template.content.querySelector(`#${CSS.escape(kept.id)}`)?.replaceWith(kept);
  }
  if (element.id === "main") element.replaceChildren(...(template.content.firstElementChild?.childNodes ?? []));
  else element.replaceWith(template.content);
}

/** @param {Record<string, string | null>} parts @param {boolean} [whole] the page may show what is there no more */
function swap(parts, whole = false) {
  if (fetching) Object.assign(meanwhile, parts);
  const missing = put(parts);
  retitle();
  document.dispatchEvent(new CustomEvent("stoker:changed", { detail: Object.keys(parts) }));
  if (missing || whole) void refetch();
}

/** @param {Record<string, string | null>} parts @returns {boolean} whether one has no place on the page */
function put(parts) {
  let missing = false;
  for (const [id, html] of Object.entries(parts)) {
    const element = document.getElementById(id);
    if (html === null) element?.remove();
    else if (element) morph(element, html);
    else missing = true;
  }
  return missing;
}

/** The page anew: something is on it that was not there before. Whoever asks while one is on its way gets one that is begun later. */
export function refetch() {
  outdated = true;
  fetching ??= renew().finally(() => { fetching = null; });
  return fetching;
}

async function renew() {
  while (outdated) {
    outdated = false;
    meanwhile = {};
    if (await fetched()) continue;
    outdated = true; // each beat tries again
    return;
  }
}

/** Whether somebody is about to do something here. */
const isUsed = () => !!document.querySelector("dialog[open]") || [...document.querySelectorAll("main input, main textarea")].some(changedByReader);

/** Its address has what the script's text comes to. @param {Document} page */
const shell = (page) => page.querySelector('script[src*="/js/shell.js"]')?.getAttribute("src");

/** @returns {Promise<boolean>} whether the page is here */
async function fetched() {
  const page = history.state?.page ?? location.href; // under an open drawer it is the page's own
  try {
    const answer = await fetch(page, { headers: { Accept: "text/html" }, cache: "no-store", signal: AbortSignal.timeout(PAGE_MS) });
    if (answer.redirected) return location.assign(answer.url), false;
    if (!answer.ok && answer.status !== 404) return false; // 404 says what is gone
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (shell(fresh) !== shell(document) && !isUsed()) return location.reload(), false; // it is of another version
    const main = document.getElementById("main");
    const next = fresh.getElementById("main");
    if (main && next) morph(main, next);
  } catch {
    return false; // no answer: the stream is gone, too, and says so
  }
  document.dispatchEvent(new CustomEvent("stoker:changed", { detail: [] }));
  const late = Object.keys(meanwhile);
  put(meanwhile);
  if (late.length) document.dispatchEvent(new CustomEvent("stoker:changed", { detail: late }));
  return true;
}

export function retitle() {
  const firing = Number(document.getElementById("state")?.dataset.firing ?? 0);
  const title = firing ? `(${firing}) ${baseTitle}` : baseTitle;
  if (document.title !== title) document.title = title;
}

/** @param {string} event @param {any} data */
function take(event, data) {
  if (event === "parts") swap(data);
  if (event === "whole") swap(data, true);
  if (event === "beat") {
    setClock(data.at);
    if (outdated && !fetching) void refetch();
  }
  if (event === "end") throw new Error(data.why);
}

/** @param {ReadableStreamDefaultReader<string>} reader */
async function read(reader) {
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard = Date.now();
    rest += value;
    const messages = rest.split("\n\n");
    rest = messages.pop() ?? "";
    for (const message of messages) {
      const [first, ...lines] = message.split("\n");
      const data = lines.map((line) => line.replace(/^data: ?/, "")).join("\n");
      if (first.startsWith("event: ")) take(first.slice(7), JSON.parse(data));
    }
    tellLink("");
    lastGood = Date.now();
    tries = 0;
  }
}

async function open() {
  const path = document.body.dataset.live;
  if (!path || stream) return;
  clearTimeout(retryTimer);
  const mine = (stream = new AbortController());
  heard = Date.now();
  let words = say("js.lost", { at: told(lastGood) });
  try {
    const seen = document.body.dataset.seen ?? "";
    document.body.dataset.seen = ""; // what comes later is told anew
    const answer = await fetch(`${path}&seen=${seen}`, {
      signal: mine.signal, cache: "no-store", headers: { Accept: "text/event-stream" },
    });
    if (answer.status === 401) return location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
    if (!answer.ok || !answer.body) {
      const told = await answer.json().catch(() => ({}));
      if (typeof told.detail === "string") words = told.detail;
      throw new Error(words);
    }
    await read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
  } catch {
    // whatever it was: it is tried again
  }
  if (stream !== mine) return; // closed on purpose
  stream = null;
  again(words);
}

/** @param {string} words */
function again(words) {
  if (tries > 0) tellLink(words); // a controller that is just restarted is back within a moment
  const wait = RETRY_MS[Math.min(tries, RETRY_MS.length - 1)];
  tries += 1;
  retryTimer = setTimeout(open, wait * (0.8 + Math.random() * 0.4));
}

function close() {
  clearTimeout(retryTimer);
  const mine = stream;
  stream = null;
  mine?.abort();
}

export function startLive() {
  baseTitle = document.title;
  retitle();
  document.addEventListener("visibilitychange", look);
  addEventListener("pagehide", close);
  addEventListener("pageshow", look);
  addEventListener("online", () => { tries = 0; look(); });
  setInterval(() => {
    if (stream && Date.now() - heard > SILENT_MS) {
      close();
      tries += 1;
      again(say("js.lost", { at: told(lastGood) }));
    }
  }, 1000);
  void open(); // hidden, too: what was opened in the background is there when it is looked at
  look();
}

/** Whoever looks at the page has it live; where nobody does, it is for a while. */
function look() {
  clearTimeout(hiddenTimer);
  if (document.hidden) hiddenTimer = setTimeout(close, HIDDEN_MS);
  else void open();
}
