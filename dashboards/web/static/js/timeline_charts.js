// @ts-check
// The charts under each other: one axis of time, one cursor, and beside each what its lines say at the cursor.

import { language, say } from "./texts.js";

/** @typedef {import("./timeline_data.js").Told} Told */
/** @typedef {{name: string, key: string, color?: string, dash?: number[], step?: boolean, fill?: boolean, auto?: boolean, width?: number, of?: "ratio" | "seconds" | "count", drawn?: boolean}} Line */
/** @typedef {{title: string, of: "ratio" | "seconds" | "count", lines: Line[], top?: number, height?: number}} Panel */
export const GUTTER = 56, RIGHT = 14; // px: left of the charts for their numbers, and right of them; timeline.css knows both

const numbers = new Intl.NumberFormat(language, { maximumSignificantDigits: 3 });
const whole = new Intl.NumberFormat(language, { maximumFractionDigits: 0 });
const hours = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const moments = new Intl.DateTimeFormat(language, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const days = new Intl.DateTimeFormat(language, { month: "short", day: "numeric" });

/** @param {number | null | undefined} value @param {string} of */
export function amount(value, of) {
  if (value === null || value === undefined) return "–";
  if (of === "ratio") return `${value > 0 && value < 0.0005 ? "< 0.1" : numbers.format(100 * value)} %`;
  if (of === "seconds") return duration(value);
  return value >= 100 ? whole.format(value) : numbers.format(value);
}

/** @param {number} value in seconds */
export function duration(value) {
  if (value === 0) return "0 s";
  if (value < 1) return `${whole.format(1000 * value)} ms`;
  if (value < 60) return `${numbers.format(value)} s`;
  if (value < 3600) return `${numbers.format(value / 60)} min`;
  return value < 86400 ? `${numbers.format(value / 3600)} h` : `${numbers.format(value / 86400)} d`;
}

/** Which charts there are: lines of which nothing is known are left out where others are there. @param {Told} told @returns {Panel[]} */
export function panels(told) {
  const known = (/** @type {Line} */ line) => told.columns[line.name]?.some((value) => value !== null);
  const measure = told.latency.measure;
  /** @type {Panel[]} */
  const all = [
    { title: "demand", of: "count", lines: [
      { name: "capacity", key: "capacity", color: "--chart-back", step: true, fill: true },
      { name: "demand", key: "in_flight", color: "--chart-1", width: 2 },
      { name: "waiting", key: "waiting", color: "--chart-3", dash: [2, 2] },
      { name: "requests_per_second", key: "requests", drawn: false },
      { name: "tokens_per_second", key: "tokens", drawn: false },
    ] },
    { title: "replicas", of: "count", lines: [
      { name: "ready", key: "ready", color: "--chart-back", step: true, fill: true },
      { name: "desired", key: "desired", color: "--chart-1", step: true, width: 2 },
      { name: "starting", key: "starting", color: "--chart-3", step: true, dash: [4, 2] },
      { name: "draining", key: "draining", color: "--chart-2", step: true, dash: [1, 3] },
      { name: "floor", key: "floor", color: "--chart-limit", step: true, dash: [6, 4], auto: false },
      { name: "ceiling", key: "ceiling", color: "--chart-limit", step: true, dash: [6, 4], auto: false },
    ] },
    { title: `latency_${measure}`, of: "seconds", lines: [
      { name: `${measure}_p50`, key: "p50", color: "--chart-2", dash: [4, 2] },
      { name: `${measure}_p95`, key: "p95", color: "--chart-1", width: 2 },
      { name: "latency_threshold", key: "limit", color: "--chart-limit", dash: [6, 4] },
    ] },
    { title: "errors", of: "ratio", lines: [
      { name: "error_ratio", key: "error_ratio", color: "--chart-1", width: 2 },
      { name: "error_threshold", key: "limit", color: "--chart-limit", dash: [6, 4] },
    ] },
  ];
  const use = /** @type {Line[]} */ ([
    { name: "gpu_utilization", key: "gpu", color: "--chart-1", width: 2 },
    { name: "cpu_utilization", key: "cpu", color: "--chart-1", dash: [4, 2] },
    { name: "gpu_memory", key: "gpu_memory", color: "--chart-2", width: 2 },
    { name: "container_memory", key: "container_memory", color: "--chart-2", dash: [4, 2] },
    { name: "host_memory", key: "host_memory", color: "--chart-2", dash: [1, 3] },
  ]).filter(known);
  if (use.length) all.push({ title: "use", of: "ratio", lines: use, top: 1 });
  return all;
}

/** @param {number} at in seconds @param {boolean} dated */
export function moment(at, dated) {
  return dated ? `${days.format(at * 1000)} ${hours.format(at * 1000)}` : moments.format(at * 1000);
}

/** @param {any} u @param {number[]} splits @param {number} _axis @param {number} _space @param {number} every in seconds */
function ticks(u, splits, _axis, _space, every) {
  let before = "";
  return splits.map((at) => {
    const day = days.format(at * 1000);
    if (every >= 86400) return day;
    const text = day === before ? hours.format(at * 1000) : `${hours.format(at * 1000)}\n${day}`;
    before = day;
    return text;
  });
}

/** The charts. `at`: what is told while no cursor is over them. */
export class Charts {
  /**
   * @param {HTMLElement} place
   * @param {(from: number, to: number) => void} onChoose
   * @param {(index: number | null) => void} onCursor
   */
  constructor(place, onChoose, onCursor) {
    this.place = place;
    this.onChoose = onChoose;
    this.onCursor = onCursor;
    /** @type {any[]} */
    this.charts = [];
    /** @type {Panel[]} */
    this.panels = [];
    /** @type {HTMLElement[][]} */
    this.values = [];
    /** @type {Told | null} */
    this.told = null;
    this.from = 0;
    this.to = 1;
    /** @type {number | null} */
    this.index = null;
    this.pressed = null; // the chart in which the mouse was pressed: the others follow it
    new ResizeObserver(() => this.resize()).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (this.told) this.show(this.told, this.from, this.to, true); });
  }

  /** @param {Told} told @param {number} from @param {number} to @param {boolean} [anew] */
  show(told, from, to, anew = false) {
    this.told = told;
    this.from = from;
    this.to = to;
    const found = panels(told);
    const same = !anew && JSON.stringify(found) === JSON.stringify(this.panels) && this.values.length > 0;
    this.panels = found;
    if (!same) this.build();
    else for (const [number, chart] of this.charts.entries()) {
      chart.setData(this.data(found[number]), false);
      chart.setScale("x", { min: from, max: to });
    }
    this.tell();
  }

  /** @param {Panel} panel */
  data(panel) {
    const told = /** @type {Told} */ (this.told);
    return [told.at, ...panel.lines.filter((line) => line.drawn !== false).map((line) => told.columns[line.name] ?? told.at.map(() => null))];
  }

  build() {
    for (const chart of this.charts) chart.destroy();
    this.charts = [];
    this.values = [];
    this.place.replaceChildren();
    for (const [number, panel] of this.panels.entries()) {
      const row = document.createElement("div");
      row.className = "panel";
      const plot = document.createElement("div");
      plot.className = "panel-plot";
      plot.setAttribute("aria-hidden", "true");
      row.append(this.legend(panel), plot);
      this.place.append(row);
      const Plot = /** @type {any} */ (window).uPlot;
      plot.hidden = !Plot;
      if (!Plot) continue;
      const chart = new Plot(this.options(panel, plot, number === this.panels.length - 1), this.data(panel), plot);
      plot.addEventListener("mousedown", () => { this.pressed = chart; }, true);
      this.charts.push(chart);
    }
  }

  /** @param {Panel} panel */
  legend(panel) {
    const box = document.createElement("div");
    box.className = "panel-read";
    const title = document.createElement("h3");
    title.textContent = say(`js_pool.${panel.title}`);
    const rows = document.createElement("dl");
    const values = panel.lines.map((line) => {
      const name = document.createElement("dt");
      if (line.drawn !== false) name.append(swatch(line));
      name.append(say(`js_pool.${line.key}`));
      const value = document.createElement("dd");
      rows.append(name, value);
      return value;
    });
    this.values.push(values);
    box.append(title, rows);
    return box;
  }

  /** @param {Panel} panel @param {HTMLElement} plot @param {boolean} last */
  options(panel, plot, last) {
    const Plot = /** @type {any} */ (window).uPlot;
    const style = getComputedStyle(this.place);
    const color = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
    const ink = { stroke: color("--quiet"), font: `12px ${style.fontFamily}`, grid: { stroke: color("--line"), width: 1 }, ticks: { show: false } };
    const high = panel.height ?? 112;
    return {
      width: Math.max(plot.clientWidth, 200), height: high + (last ? 40 : 0), padding: [8, RIGHT, last ? 0 : 4, 0],
      legend: { show: false },
      cursor: { y: false, points: { size: 6 }, sync: { key: "pool" }, drag: { x: true, y: false, setScale: false } },
      scales: {
        x: { time: true, range: () => [this.from, this.to] },
        y: { range: (/** @type {any} */ _u, /** @type {number} */ _low, /** @type {number | null} */ top) => [0, panel.top ?? (top ? top * 1.1 : 1)] },
      },
      axes: [
        { ...ink, show: last, size: 40, values: ticks, space: 90 },
        { ...ink, size: GUTTER, space: 32, values: (/** @type {any} */ _u, /** @type {number[]} */ splits) => splits.map((value) => amount(value, panel.of)) },
      ],
      series: [{}, ...panel.lines.filter((line) => line.drawn !== false).map((line) => ({
        stroke: color(line.color ?? "--chart-1"), width: line.width ?? 1.5, dash: line.dash, auto: line.auto ?? true, spanGaps: false,
        fill: line.fill ? color("--chart-fill") : undefined, points: { show: false }, paths: line.step ? Plot.paths.stepped({ align: 1 }) : undefined,
      }))],
      hooks: {
        drawClear: [(/** @type {any} */ u) => this.shade(u, color("--chart-none"))],
        draw: [(/** @type {any} */ u) => this.rule(u, color)],
        setCursor: [(/** @type {any} */ u) => this.pointed(u)],
        setSelect: [(/** @type {any} */ u) => this.select(u)],
      },
    };
  }

  /** Of what time there are no numbers. @param {any} u @param {string} color */
  shade(u, color) {
    const told = this.told;
    if (!told) return;
    const first = told.since ?? null, last = told.stale_since ? told.at[told.at.length - 1] : null;
    const ctx = u.ctx, { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.fillStyle = color;
    const at = (/** @type {number} */ moment) => Math.min(Math.max(u.valToPos(moment, "x", true), left), left + width);
    if (first === null) ctx.fillRect(left, top, width, height);
    else {
      if (first > this.from + 2 * told.step_s) ctx.fillRect(left, top, at(first) - left, height);
      if (last !== null) ctx.fillRect(at(last), top, left + width - at(last), height);
    }
    ctx.restore();
  }

  /** A line for each mark. @param {any} u @param {(name: string) => string} color */
  rule(u, color) {
    const ctx = u.ctx, { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.lineWidth = devicePixelRatio;
    let before = -9;
    for (const mark of this.told?.marks ?? []) {
      const x = Math.round(u.valToPos(mark.at, "x", true)) + 0.5;
      if (x < left || x > left + width || x - before < 3) continue;
      before = x;
      ctx.strokeStyle = color(mark.severity === "critical" ? "--act" : "--chart-mark");
      ctx.setLineDash([2 * devicePixelRatio, 3 * devicePixelRatio]);
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
    }
    ctx.restore();
  }

  /** @param {any} u */
  pointed(u) {
    const index = u.cursor.left >= 0 ? u.cursor.idx ?? null : null;
    if (index === this.index) return;
    this.index = index;
    this.tell();
  }

  /** @param {any} u */
  select(u) {
    const { left, width } = u.select;
    if (u !== this.pressed || width < 6) return;
    this.pressed = null;
    const [from, to] = [u.posToVal(left, "x"), u.posToVal(left + width, "x")];
    setTimeout(() => { // the others are told of the selection after this
      for (const chart of this.charts) chart.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    });
    this.onChoose(from, to);
  }

  /** The values at the cursor, or the newest that are known. */
  tell() {
    const told = this.told;
    if (!told) return;
    const index = this.index;
    for (const [number, panel] of this.panels.entries()) {
      for (const [place, line] of panel.lines.entries()) {
        const column = told.columns[line.name] ?? [];
        const value = index === null ? newest(column) : column[index];
        const text = amount(value, line.of ?? panel.of);
        const element = this.values[number][place];
        if (element.textContent !== text) element.textContent = text;
      }
    }
    this.onCursor(index);
  }

  /** In words, for those who do not see it. @param {number} index */
  words(index) {
    const told = /** @type {Told} */ (this.told);
    return this.panels.flatMap((panel) => panel.lines.flatMap((line) => {
      const value = told.columns[line.name]?.[index];
      return value === null || value === undefined ? [] : [`${say(`js_pool.${line.key}`)} ${amount(value, line.of ?? panel.of)}`];
    })).join(", ") || say("js_pool.no_numbers");
  }

  /** Put the cursor there; null: nowhere. @param {number | null} index */
  point(index) {
    const told = this.told, [chart] = this.charts;
    if (!told) return;
    if (!chart) {
      this.index = index;
      return this.tell();
    }
    const left = index === null ? -10 : chart.valToPos(told.at[index], "x");
    for (const one of this.charts) one.setCursor({ left, top: index === null ? -10 : 10 }, true, false);
  }

  resize() {
    for (const chart of this.charts) {
      const width = chart.root.parentElement.clientWidth;
      if (width > 0 && width !== chart.width) chart.setSize({ width, height: chart.height });
    }
  }
}

/** @param {(number | null)[]} column the newest value, unless it is long gone */
function newest(column) {
  for (let at = column.length - 1; at >= Math.max(column.length - 3, 0); at -= 1) if (column[at] !== null) return column[at];
  return null;
}

/** @param {Line} line */
function swatch(line) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 20 8");
  svg.setAttribute("class", `swatch ${line.fill ? "filled" : ""}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", line.fill ? "M0 1h20v6H0z" : "M0 4h20");
  if (line.dash) path.setAttribute("stroke-dasharray", line.dash.join(" "));
  path.setAttribute("stroke-width", String(line.width ?? 1.5));
  path.style.setProperty("--swatch", `var(${line.color ?? "--chart-1"})`);
  svg.append(path);
  return svg;
}
