// @ts-check
// What happened, as marks over the charts: a shape for each kind, a count where several stand at one place.

import { language, say } from "./texts.js";

/** @typedef {import("./timeline_data.js").Mark} Mark */
/** @typedef {{left: number, marks: Mark[]}} Group `left` in percent */
const SVG = "http://www.w3.org/2000/svg";
const ROOM = 20, MOST_SPANS = 60, MOST_LISTED = 200; // px; bars; lines
const RANK = { info: 0, warning: 1, critical: 2 };

const clock = new Intl.DateTimeFormat(language, { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
/** @param {number} at in seconds */
export const when = (at) => clock.format(at * 1000);

/** @param {Mark} mark */
const told = (mark) => say("js_pool.mark", { at: when(mark.at), kind: kindOf(mark), text: sentence(mark) });
/** @param {Mark} mark */
const kindOf = (mark) => say(`js_pool.${mark.kind === "decision" ? mark.what : `kind_${mark.kind}`}`) + (mark.severity === "critical" ? `, ${say("js_pool.critical")}` : "");
/** With the replica, node or GPU that it is about. @param {Mark} mark */
const sentence = (mark) => (/^(replica|node|gpu|source)\//.test(mark.subject) ? `${mark.subject.replace(/^\w+\//, "")}: ${mark.text}` : mark.text);

/** @param {Mark[]} marks @param {number} from @param {number} to @param {number} width in px @returns {Group[]} */
export function grouped(marks, from, to, width) {
  /** @type {Group[]} */
  const groups = [];
  for (const mark of marks) {
    const at = Math.max(mark.at, from);
    if (at > to) continue;
    const left = (100 * (at - from)) / (to - from);
    const last = groups[groups.length - 1];
    if (last && ((left - last.left) / 100) * width < ROOM) last.marks.push(mark);
    else groups.push({ left, marks: [mark] });
  }
  return groups;
}

/** @param {Mark[]} marks @returns {string} the worst of them */
export function worst(marks) {
  const rank = Math.max(...marks.map((mark) => RANK[/** @type {keyof typeof RANK} */ (mark.severity)] ?? 0));
  return Object.keys(RANK)[Math.max(rank, 0)];
}

/** @param {string} kind */
function shape(kind) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "mark-shape");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#mark-${kind}`);
  svg.append(use);
  return svg;
}

/** @param {Mark} mark */
function link(mark) {
  const made = document.createElement("a");
  made.href = mark.href;
  made.dataset.drawer = "";
  return made;
}

/** @param {Group} group */
function element(group) {
  const [first] = group.marks;
  const alone = group.marks.length === 1;
  /** @type {HTMLElement} */
  let made;
  if (alone) {
    made = link(first);
    made.append(shape(first.kind));
    made.title = told(first);
  } else {
    made = document.createElement("button");
    made.setAttribute("type", "button");
    const kinds = new Set(group.marks.map((mark) => mark.kind));
    made.append(shape("many"), document.createTextNode(String(group.marks.length)));
    made.title = say("js_pool.group", {
      n: group.marks.length, from: when(first.at), to: when(group.marks[group.marks.length - 1].at),
      text: [...kinds].map((kind) => say(`js_pool.kind_${kind}`)).join(", "),
    });
  }
  made.setAttribute("aria-label", made.title);
  made.className = `mark ${alone ? first.kind : "many"} is-${worst(group.marks)}`;
  made.dataset.key = alone ? first.id : `many ${first.id}`;
  made.tabIndex = -1;
  return made;
}

/** Bars for what lasted: alerts and drills. @param {Mark[]} marks @param {number} from @param {number} to */
function spans(marks, from, to) {
  const lasting = marks.filter((mark) => mark.until !== null || mark.kind === "alert").slice(-MOST_SPANS);
  return lasting.filter((mark) => mark.at <= to && (mark.until ?? to) >= from).map((mark) => {
    const bar = document.createElement("span");
    const left = (100 * (Math.max(mark.at, from) - from)) / (to - from);
    const right = (100 * (Math.min(mark.until ?? to, to) - from)) / (to - from);
    bar.className = `mark-span ${mark.kind} is-${mark.severity}`;
    bar.style.left = `${left}%`;
    bar.style.width = `${Math.max(right - left, 0.2)}%`;
    return bar;
  });
}

/** @param {Mark} mark */
function line(mark) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.dateTime = new Date(mark.at * 1000).toISOString();
  time.textContent = when(mark.at) + (mark.until ? ` ${say("js_pool.until", { at: when(mark.until) })}` : "");
  const text = link(mark);
  text.textContent = sentence(mark);
  const kind = document.createElement("span");
  kind.className = `tag ${mark.severity === "critical" ? "act" : ""}`;
  kind.textContent = kindOf(mark);
  item.append(time, kind, text);
  return item;
}

/** @param {HTMLElement} list an <ol> @param {Mark[]} marks newest first in it @param {number} leftOut */
export function list(list, marks, leftOut) {
  const items = marks.slice(-MOST_LISTED).reverse().map(line);
  const more = leftOut + Math.max(marks.length - MOST_LISTED, 0);
  if (more) {
    const item = document.createElement("li");
    item.className = "quiet";
    item.textContent = say("js_pool.left_out", { n: more });
    items.push(item);
  }
  settle(list, items);
}

/** Whoever stands on a line, or presses the mouse on it, keeps it as long as it says the same. @param {Element} list @param {Element[]} items */
function settle(list, items) {
  const before = new Map([...list.children].map((item) => [item.outerHTML, item]));
  const wanted = items.map((item) => {
    const found = before.get(item.outerHTML) ?? item;
    before.delete(item.outerHTML);
    return found;
  });
  for (const old of [...list.children]) if (!wanted.includes(old)) old.remove();
  for (const [place, item] of wanted.entries()) {
    if (list.children[place] !== item) list.insertBefore(item, list.children[place] ?? null);
  }
}

/** The lane of marks. Left and right go from one to the next; only one of them takes part in the tab order. */
export class Lane {
  /** @param {HTMLElement} place */
  constructor(place) {
    this.place = place;
    this.popup = document.createElement("div");
    this.popup.className = "mark-popup";
    this.popup.hidden = true;
    place.after(this.popup);
    this.key = "";
    /** @type {WeakMap<Element, Group>} */
    this.groups = new WeakMap();
    place.addEventListener("click", (event) => {
      const mark = event.target instanceof Element ? event.target.closest("button.mark") : null;
      const group = mark && this.groups.get(mark);
      if (group) this.open(group);
    });
    place.addEventListener("keydown", (event) => this.walk(event));
    this.popup.addEventListener("keydown", (event) => { if (event.key === "Escape") this.close(); });
    document.addEventListener("pointerdown", (event) => {
      const at = /** @type {Node} */ (event.target);
      if (!this.popup.contains(at) && !place.contains(at)) this.popup.hidden = true;
    });
  }

  /** @param {Mark[]} marks @param {number} from @param {number} to */
  draw(marks, from, to) {
    const groups = grouped(marks, from, to, this.place.clientWidth || 600);
    const held = this.place.contains(document.activeElement) ? document.activeElement?.getAttribute("data-key") : null;
    const before = /** @type {HTMLElement[]} */ ([...this.place.querySelectorAll(".mark")]);
    const free = [...before];
    const made = groups.map((group) => this.element(group, free));
    for (const old of this.place.querySelectorAll(".mark-span")) old.remove();
    for (const old of before) if (!made.includes(old)) old.remove();
    this.place.prepend(...spans(marks, from, to));
    for (const one of made) if (!before.includes(one)) this.place.append(one);
    const chosen = made.find((one) => one.dataset.key === (held ?? this.key)) ?? made[made.length - 1];
    for (const one of made) one.tabIndex = one === chosen ? 0 : -1;
    if (held && chosen && chosen !== document.activeElement) chosen.focus();
  }

  /** The one that stands there already, where it says the same: it may have the focus. @param {Group} group @param {HTMLElement[]} free to be taken from */
  element(group, free) {
    const made = element(group);
    const same = (/** @type {HTMLElement} */ one) => one.dataset.key === made.dataset.key && one.title === made.title && one.className === made.className && one.getAttribute("href") === made.getAttribute("href");
    const at = free.findIndex(same);
    const found = at < 0 ? made : free.splice(at, 1)[0];
    found.style.left = `${group.left}%`;
    this.groups.set(found, group);
    return found;
  }

  /** @param {Group} group */
  open(group) {
    const items = document.createElement("ol");
    items.className = "list";
    list(items, group.marks, 0);
    this.popup.replaceChildren(items);
    this.popup.hidden = false;
    this.popup.querySelector("a")?.focus();
  }

  close() {
    this.popup.hidden = true;
    /** @type {HTMLElement | null} */ (this.place.querySelector('[tabindex="0"]'))?.focus();
  }

  /** @param {KeyboardEvent} event */
  walk(event) {
    const all = /** @type {HTMLElement[]} */ ([...this.place.querySelectorAll(".mark")]);
    all.sort((one, other) => parseFloat(one.style.left) - parseFloat(other.style.left));
    const at = all.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || at < 0 || !all[to]) return;
    event.preventDefault();
    all[at].tabIndex = -1;
    all[to].tabIndex = 0;
    this.key = all[to].dataset.key ?? "";
    all[to].focus();
  }
}
