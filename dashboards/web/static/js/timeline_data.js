// @ts-check
// The numbers of a pool over time: which time is shown, how it stands in the URL, and how new points join old ones.

export const RANGES = { "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400, "7d": 604800, "30d": 2592000 };
export const SHORTEST = 900, LONGEST = 2592000; // seconds
const MOST_MARKS = 600, SPARE = 30;

/** @typedef {{span: number, to: number | null}} View in seconds; `to` null: it ends now, and goes on */
/** @typedef {{id: string, kind: string, what: string, at: number, until: number | null, severity: string, subject: string, text: string, href: string}} Mark */
/** @typedef {{at: number[], step_s: number, as_of: string | null, stale_since: string | null, since: number | null, latency: {measure: string, statistic: string, enabled: boolean}, columns: Record<string, (number | null)[]>, marks: Mark[], left_out: Record<string, number>, totals: any}} Told */

/** @param {string} search @returns {View} */
export function read(search) {
  const asked = new URLSearchParams(search);
  const from = Date.parse(asked.get("from") ?? "") / 1000;
  const to = Date.parse(asked.get("to") ?? "") / 1000;
  if (from && to && to > from) return { span: bounded(to - from), to };
  const range = /** @type {keyof typeof RANGES} */ (asked.get("range") ?? "1h");
  return { span: RANGES[range] ?? RANGES["1h"], to: null };
}

/** @param {View} view @returns {string} its URL's search part */
export function written(view) {
  if (view.to === null) return `?range=${nameOf(view.span)}`;
  const iso = (/** @type {number} */ at) => new Date(Math.round(at) * 1000).toISOString().replace(".000Z", "Z");
  return `?from=${iso(view.to - view.span)}&to=${iso(view.to)}`;
}

/** The range of that length, or the next longer one. @param {number} span */
export function nameOf(span) {
  return Object.entries(RANGES).find(([, length]) => length >= span - 1)?.[0] ?? "30d";
}

/** @param {number} span */
export function bounded(span) {
  return Math.min(Math.max(span, SHORTEST), LONGEST);
}

/** Another time, by the word on the button. @param {View} view @param {string} move @param {number} now @returns {View} */
export function moved(view, move, now) {
  const to = view.to ?? now;
  if (move === "live") return { span: RANGES[/** @type {keyof typeof RANGES} */ (nameOf(view.span))], to: null };
  if (move === "back") return { span: view.span, to: to - view.span / 2 };
  if (move === "on") return to + view.span / 2 >= now ? moved(view, "live", now) : { span: view.span, to: to + view.span / 2 };
  const span = bounded(view.span * 2);
  if (view.to === null) return moved({ span: view.span + 2, to: null }, "live", now);
  const end = to + (span - view.span) / 2;
  return end >= now ? { span: RANGES[/** @type {keyof typeof RANGES} */ (nameOf(span))], to: null } : { span, to: end };
}

/** @param {number} from @param {number} to @param {number} now @returns {View} what was drawn over with the mouse */
export function chosen(from, to, now) {
  const span = bounded(to - from);
  return { span, to: Math.min((from + to) / 2 + span / 2, now) };
}

/**
 * The same with what is newer. Null: there is a hole between them, so that all of it has to be fetched.
 * @param {Told} known @param {Told} news @param {number} from what is older goes
 * @returns {Told | null}
 */
export function joined(known, news, from) {
  const step = known.step_s, first = known.at[0];
  if (news.step_s !== step || !known.at.length || !news.at.length) return null;
  if (news.at[0] > known.at[known.at.length - 1] + step) return null;
  const offset = Math.round((news.at[0] - first) / step);
  if (offset < 0) return null;
  const kept = known.at.slice(0, offset);
  const gone = kept.findIndex((at) => at >= from);
  const cut = gone < 0 ? kept.length : gone;
  const at = [...kept.slice(cut), ...news.at];
  /** @type {Told["columns"]} */
  const columns = {};
  for (const [name, column] of Object.entries(news.columns)) {
    const old = known.columns[name] ?? [];
    columns[name] = [...old.slice(cut, offset), ...column];
  }
  return { ...news, at, columns, since: known.since ?? news.since, totals: known.totals, marks: withNews(known.marks, news, from) };
}

/** @param {Mark[]} known @param {Told} news @param {number} from @returns {Mark[]} */
function withNews(known, news, from) {
  const found = new Map(known.filter((mark) => (mark.until ?? mark.at) >= from || mark.kind === "alert").map((mark) => [mark.id, mark]));
  for (const mark of news.marks) {
    const goesOn = mark.kind === "alert" && mark.at <= news.at[0]; // it began before what was asked for
    const before = goesOn ? [...found.values()].filter((one) => one.kind === "alert" && one.what === mark.what).pop() : undefined;
    if (before) found.set(before.id, { ...before, until: mark.until, text: mark.text, severity: mark.severity });
    else found.set(mark.id, mark);
  }
  return [...found.values()].sort((one, other) => one.at - other.at).slice(-MOST_MARKS);
}

/** @param {string} pool @param {View} view @param {number} now @param {number} [step] only the newest, with that step */
export function query(pool, view, now, step) {
  const iso = (/** @type {number} */ at) => encodeURIComponent(new Date(at * 1000).toISOString());
  const path = `/api/v1/pools/${encodeURIComponent(pool)}/timeline`;
  // Until now, by the server's clock: a little more, so that it is not too short by this one's.
  if (step) return `${path}?from=${iso(now - SHORTEST - SPARE)}&step=${step}`;
  if (view.to === null) return `${path}?from=${iso(now - Math.min(view.span + SPARE, LONGEST))}`;
  return `${path}?from=${iso(view.to - view.span)}&to=${iso(view.to)}`;
}
