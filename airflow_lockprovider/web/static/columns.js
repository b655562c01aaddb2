// How leases, waiters, events and figures are shown in a row.

import { duration, el, link, pageOf } from "./common.js";

const zone = (() => {
  try {
    const wish = (localStorage.getItem("timezone") || "").replaceAll('"', "");
    if (wish) return new Intl.DateTimeFormat("en", { timeZone: wish }).resolvedOptions().timeZone;
  } catch {
    // not one that this browser knows
  }
  return undefined;
})();
const clock = new Intl.DateTimeFormat("sv", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });

/** In the time zone that was chosen in Airflow. */
export const moment = (text) => (text ? clock.format(new Date(text)) : "–");

export const lockLink = (name) => el("a", { href: `#lock=${encodeURIComponent(name)}`, text: name, title: "Timeline, line and history of this lock" });

/** The owner, as a link to its task instance if it is one, with the run below it. */
export function ownerLink(owner, context) {
  const page = pageOf(context);
  if (!page) return el("span", { text: owner || "–" });
  const { dag_id: dag, run_id: run, task_id: task, map_index: map, try_number: attempt } = context;
  if (!task) return link(page, owner);
  const which = `${dag} / ${task}${Number.isInteger(map) && map >= 0 ? ` [${map}]` : ""}${attempt > 1 ? `, try ${attempt}` : ""}`;
  return el("span", {}, link(page, which, { title: owner || "Open this task in Airflow" }), run && el("span", { class: "run", text: run }));
}

const badge = (text, kind = "", title = null) => el("span", { class: `badge ${kind}`, text, title });

export function leaseMarks(row) {
  const marks = [];
  if (row.paused) marks.push(badge("paused", "violet", row.note));
  if (row.token === null) marks.push(badge("free", "green", "Nobody holds it"));
  else if (row.expired) marks.push(badge("expired", "red", "Its owner is gone: it goes to whoever is next"));
  else if (row.late) marks.push(badge("close to expiry", "amber", "Two renewals were missed: it expires unless its owner comes back"));
  else if (row.draining) marks.push(badge(`${row.state}, draining`, "amber", "It is over, but its guarded transaction is still open"));
  else if (row.state === "reserved") marks.push(badge("reserved", "blue", "Granted to a waiter that a worker has not started yet"));
  else marks.push(badge("held", "", "Its owner renews it"));
  if (row.too_long) marks.push(badge("held too long", "red", "Longer than was expected of it"));
  if (row.shared) marks.push(badge("shared", "", "Readers together"));
  if (row.context?.scope) marks.push(badge("scope", "", "One lease over a group of tasks"));
  return marks;
}

const seconds = (name, value, sign = 1) => ({
  value: (row) => (value(row) === null ? "–" : duration(value(row))),
  live: (row, passed, cell) => {
    if (value(row) !== null) cell.textContent = duration(value(row) + sign * passed);
  },
  name,
  class: "number",
});

const LIFE = {
  name: "expires_in",
  title: "Expires in",
  sort: "expires_in",
  class: "number",
  value: (row) => `${row.token} ${row.expires_at} ${row.late}`,
  show: (row) =>
    row.expires_in_seconds === null
      ? "–"
      : [el("span", { class: "left", title: moment(row.expires_at) }), el("span", { class: row.late ? "life late" : "life" }, el("i"))],
  live: (row, passed, cell) => {
    if (row.expires_in_seconds === null) return;
    const left = row.expires_in_seconds - passed;
    cell.firstChild.textContent = left > 0 ? duration(left) : `${duration(-left)} ago`;
    cell.lastChild.firstChild.style.width = `${Math.max(0, Math.min(100, (100 * left) / row.ttl_seconds))}%`;
  },
};

/** `acts(row)`: buttons, for those who may. */
export const leaseColumns = (acts) => [
  { name: "lock", title: "Lock", sort: "lock", class: "name", value: (row) => row.lock_name, show: (row) => lockLink(row.lock_name) },
  { name: "owner", title: "Owner", sort: "owner", class: "owner", value: (row) => `${row.owner} ${row.note}`, show: (row) => (row.owner ? ownerLink(row.owner, row.context) : el("span", { class: "muted", text: row.note || "–" })) },
  { name: "state", title: "State", sort: "state", class: "marks", value: (row) => [row.state, row.paused, row.note, row.late, row.expired, row.too_long, row.draining, row.shared].join(), show: leaseMarks },
  { title: "Held for", sort: "held_for", ...seconds("held_for", (row) => row.held_seconds) },
  LIFE,
  { name: "token", title: "Token", sort: "token", class: "number", value: (row) => row.token ?? "–", show: (row) => el("code", { text: row.token ?? "–", title: "Fencing token" }) },
  { name: "units", title: "Units", sort: "units", class: "number", value: (row) => `${row.units ?? 0}/${row.capacity}` },
  { name: "waiters", title: "Waiting", sort: "waiters", class: "number", value: (row) => row.waiters || "–" },
  { name: "acts", title: "", class: "acts", value: (row) => `${row.token}${row.paused}${acts(row).length}`, show: acts },
];

export const leaseMark = (row) => (row.expired || row.too_long ? "bad" : row.late || row.draining ? "warn" : "");

export const waiterColumns = [
  { name: "lock", title: "Lock", class: "name", value: (row) => row.lock_name, show: (row) => lockLink(row.lock_name) },
  { name: "position", title: "Place", class: "number", value: (row) => row.position },
  { name: "owner", title: "Who waits", class: "owner", value: (row) => row.owner, show: (row) => ownerLink(row.owner, row.context) },
  { title: "Waiting for", ...seconds("waited", (row) => row.waited) },
  {
    name: "why",
    title: "What it waits for",
    class: "why",
    value: (row) => JSON.stringify([row.alive, row.blocked_by, row.units, row.shared, row.priority]),
    show: (row) => [
      !row.alive && el("div", {}, badge("nobody looks after it", "amber", "Its triggerer or worker is silent: it is passed over until it comes back")),
      ...row.blocked_by.map((one) => el("div", { text: `${BLOCKERS[one.kind]}${one.what}` })),
      row.alive && !row.blocked_by.length && el("div", { text: "nothing: it is its turn, a worker is being called" }),
    ],
  },
  { name: "units", title: "Asks for", class: "number", value: (row) => [row.units === 1 ? "1 unit" : `${row.units} units`, row.shared && "shared", row.priority && `priority ${row.priority}`].filter(Boolean).join(", ") },
];
const BLOCKERS = { lease: "held by ", request: "behind ", pause: "", capacity: "" };

const EVENTS = { revoked: "red", expired: "amber", lapsed: "amber", lost: "red", paused: "violet", resumed: "violet", granted: "green", confirmed: "green" };

export const eventColumns = (withLock) => [
  { name: "at", title: "When", class: "time", value: (row) => moment(row.at) },
  withLock && { name: "lock", title: "Lock", class: "name", value: (row) => row.lock_name, show: (row) => lockLink(row.lock_name) },
  { name: "event", title: "What", class: "marks", value: (row) => row.event, show: (row) => badge(row.event, EVENTS[row.event] || "") },
  { name: "owner", title: "Owner", class: "owner", value: (row) => row.owner, show: (row) => ownerLink(row.owner, row.context) },
  { name: "token", title: "Token", class: "number", value: (row) => row.token ?? "–", show: (row) => el("code", { text: row.token ?? "–" }) },
  { name: "waited", title: "Waited", class: "number", value: (row) => duration(row.waited) },
  { name: "held", title: "Held", class: "number", value: (row) => duration(row.held) },
  { name: "why", title: "Who and why", class: "why", value: (row) => [row.actor, row.reason].filter(Boolean).join(": ") },
].filter(Boolean);

const figure = (name, title, show = duration) => ({ name, title, sort: name, class: "number", value: (row) => show(row[name]) });
const plain = (value) => value ?? "–";

export const lockStatColumns = [
  { name: "lock_name", title: "Lock", sort: "lock_name", class: "name", value: (row) => row.lock_name, show: (row) => lockLink(row.lock_name) },
  figure("grants", "Grants", plain),
  figure("held_avg", "Held, average"),
  figure("held_p95", "Held, 95 %"),
  figure("held_total", "Held in all"),
  figure("waited_avg", "Waited, average"),
  figure("waited_max", "Waited, most"),
  figure("expired", "Expired", plain),
  figure("revoked", "Revoked", plain),
  { name: "last_at", title: "Last event", sort: "last_at", class: "time", value: (row) => moment(row.last_at) },
];

export const ownerStatColumns = (withLock) => [
  { name: "task_id", title: "Task or owner", sort: "task_id", class: "owner", value: (row) => [row.dag_id, row.task_id].filter(Boolean).join(" / "), show: (row) => ownerLink([row.dag_id, row.task_id].filter(Boolean).join(" / "), { dag_id: row.dag_id, task_id: row.task_id }) },
  withLock && { name: "lock_name", title: "Lock", sort: "lock_name", class: "name", value: (row) => row.lock_name, show: (row) => lockLink(row.lock_name) },
  figure("grants", "Grants", plain),
  figure("held_avg", "Held, average"),
  figure("held_max", "Held, most"),
  figure("held_total", "Held in all"),
  figure("waited_avg", "Waited, average"),
  figure("waited_max", "Waited, most"),
  figure("lost", "Lost", plain),
].filter(Boolean);
