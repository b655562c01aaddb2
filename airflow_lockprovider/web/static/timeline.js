// Who held a lock when, drawn. One lane if there was one at a time, more for shared leases and several units.

import { duration, el } from "./common.js";
import { moment } from "./columns.js";

const SVG = "http://www.w3.org/2000/svg";
const LANE = 24;
const MOST_LANES = 12;

function svg(tag, attributes = {}, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

export class Timeline {
  constructor() {
    this.told = el("p", { class: "told", "aria-live": "polite" });
    this.picture = el("div");
    this.node = el("div", { class: "timeline" }, this.picture, this.told);
    this.data = null;
    new ResizeObserver(() => this.#draw()).observe(this.node);
  }

  update(spans, hours, knownSince) {
    this.data = { spans, hours, knownSince };
    if (!this.node.contains(document.activeElement)) this.#draw();
  }

  #draw() {
    const width = this.picture.clientWidth;
    if (!this.data || !width) return;
    const now = Date.now();
    const from = now - this.data.hours * 3600e3;
    const bars = this.data.spans.map((span) => place(span, from, now)).filter((bar) => bar.end >= from);
    const lanes = Math.min(MOST_LANES, layOut(bars));
    const height = Math.max(1, lanes) * LANE + 24;
    const x = (time) => ((Math.max(from, Math.min(now, time)) - from) / (now - from)) * (width - 8) + 2;
    const root = svg("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "group", "aria-label": `Who held the lock in the last ${this.data.hours} hours` });
    for (const [time, label] of ticks(from, now, width)) {
      root.append(svg("line", { class: "tick", x1: x(time), x2: x(time), y1: 0, y2: height - 16 }));
      const text = svg("text", { x: x(time) + 3, y: height - 4 });
      text.textContent = label;
      root.append(text);
    }
    for (const bar of bars) if (bar.lane < MOST_LANES) root.append(this.#bar(bar, x));
    this.picture.replaceChildren(root);
    const since = this.data.knownSince && new Date(this.data.knownSince).getTime() > from ? ` Drawn from ${moment(this.data.knownSince)} on: there is more history than is read at once.` : "";
    this.#tell((bars.length ? "Point at a bar, or walk with Tab, to see who it was." : "Nobody held it in this time.") + since);
  }

  #bar(bar, x) {
    const { span } = bar;
    const y = bar.lane * LANE + 2;
    const kind = span.ended || (span.start ? "running" : "running waiting");
    const words = describe(span);
    const group = svg("g", { class: `span ${kind}`, tabindex: "0", role: "img", "aria-label": words });
    if (span.reserved_at) {
      const [a, b] = [x(bar.reserved), x(span.start ? bar.start : bar.end)];
      group.append(svg("rect", { class: "reserved", x: a, y, width: Math.max(2, b - a), height: LANE - 6, rx: 3 }));
    }
    const [left, right] = [x(bar.start), x(bar.end)];
    if (span.start) group.append(svg("rect", { x: left, y, width: Math.max(3, right - left), height: LANE - 6, rx: 3 }));
    const label = short(span.context?.dag_id || span.owner, right - left);
    if (label) {
      const text = svg("text", { x: left + 5, y: y + 13 });
      text.textContent = label;
      group.append(text);
    }
    for (const happens of ["mouseenter", "focus"]) group.addEventListener(happens, () => this.#tell(words));
    return group;
  }

  #tell(words) {
    if (this.told.textContent !== words) this.told.textContent = words;
  }
}

function place(span, from, now) {
  const time = (text) => (text ? new Date(text).getTime() : null);
  const reserved = time(span.reserved_at);
  const end = time(span.end) ?? now;
  const start = time(span.start) ?? (reserved === null ? from : end);
  return { span, start, end, reserved: reserved ?? start, lane: 0 };
}

/** Give each bar the first lane that is free; how many lanes it took. */
function layOut(bars) {
  const ends = [];
  for (const bar of bars.sort((a, b) => a.reserved - b.reserved)) {
    let lane = ends.findIndex((end) => end <= bar.reserved + 1);
    if (lane < 0) lane = ends.length;
    ends[lane] = bar.end;
    bar.lane = lane;
  }
  return ends.length;
}

function ticks(from, now, width) {
  const steps = [60, 300, 600, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800].map((one) => one * 1000);
  const step = steps.find((one) => (now - from) / one <= Math.max(3, width / 130)) || steps.at(-1);
  const shift = new Date(now).getTimezoneOffset() * 60e3;
  const found = [];
  for (let time = Math.ceil((from - shift) / step) * step + shift; time <= now; time += step) {
    const text = moment(new Date(time).toISOString());
    found.push([time, step >= 86400e3 ? text.slice(5, 10) : text.slice(11, 16)]);
  }
  return found;
}

/** As much of a name as there is room for; nothing rather than a few letters. */
function short(name, width) {
  const letters = Math.floor((width - 10) / 6.6);
  if (name.length <= letters) return name;
  return letters < 6 ? "" : `${name.slice(0, letters - 1)}…`;
}

function describe(span) {
  const start = span.start || span.reserved_at;
  const length = start ? (span.end ? new Date(span.end) : new Date()) - new Date(start) : null;
  const parts = [
    span.owner,
    `token ${span.token}`,
    `${moment(start)} → ${span.end ? moment(span.end) : "now"}${length === null ? "" : ` (${duration(length / 1000)})`}`,
    span.waited ? `waited ${duration(span.waited)}` : "",
    span.ended ? `${span.ended}${span.by ? ` by ${span.by}` : ""}${span.reason ? `: ${span.reason}` : ""}` : span.start ? "still held" : "reserved, not started yet",
  ];
  return parts.filter(Boolean).join(" · ");
}
