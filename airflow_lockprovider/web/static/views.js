// The four views. Each has a node, fetch(), update(answer) and tick(seconds since the answer).

import { pauseButton, revokeButton } from "./acts.js";
import { eventColumns, leaseColumns, leaseMark, lockStatColumns, moment, ownerStatColumns, waiterColumns } from "./columns.js";
import { duration, el } from "./common.js";
import { Table } from "./table.js";
import { Timeline } from "./timeline.js";

const leaseKey = (row) => `${row.lock_name}\n${row.token}`;
const waiterKey = (row) => `${row.lock_name}\n${row.ticket}`;
const PAGE = 200;

function empty(...lines) {
  return el("div", { class: "empty" }, ...lines.map((line) => (line instanceof Node ? line : el("p", { text: line }))));
}

/** A titled part of a view; it shows the table, or what is said where there are no rows. */
class Part {
  constructor(title, table, ...beside) {
    this.count = el("span", { class: "muted" });
    this.table = table;
    this.nothing = el("div", { class: "scroll", hidden: true });
    this.more = el("div", { class: "more", hidden: true });
    this.node = el("section", {}, el("h2", {}, el("span", { text: title }), this.count, ...beside), table.node, this.nothing, this.more);
  }

  update(rows, count, nothing) {
    this.table.update(rows);
    this.count.textContent = count || "";
    this.table.node.hidden = !rows.length;
    this.nothing.hidden = rows.length > 0;
    if (!rows.length) {
      const said = nothing();
      if (said.textContent !== this.nothing.textContent) this.nothing.replaceChildren(said);
    }
  }
}

export class NowView {
  constructor(state) {
    Object.assign(this, { state, mark: null, sort: "lock", descending: false, offset: 0, mayAct: false });
    this.chips = el("div", { class: "chips", role: "group", "aria-label": "Show only" });
    const acts = (row) => (this.mayAct && row.token !== null && !row.draining ? [revokeButton(row, state.conn, state.refresh)] : this.mayAct && row.paused && row.token === null ? [pauseButton(row.lock_name, true, state.conn, state.refresh)] : []);
    this.leases = new Part("Held", new Table({ label: "Who holds which lock", columns: leaseColumns(acts), key: leaseKey, mark: leaseMark, onsort: (name) => this.#sortBy(name) }));
    this.waiters = new Part("Waiting", new Table({ label: "Who waits for which lock, in order", columns: waiterColumns, key: waiterKey, mark: (row) => (row.mine ? "mine" : row.alive ? "" : "warn") }));
    this.pages = this.leases.more;
    this.node = el("div", {}, this.chips, this.leases.node, this.waiters.node);
    this.leases.table.sorted(this.sort, this.descending);
  }

  restart() {
    this.offset = 0;
  }

  #sortBy(name) {
    this.descending = this.sort === name ? !this.descending : ["held_for", "waiters"].includes(name);
    this.sort = name;
    this.offset = 0;
    this.leases.table.sorted(name, this.descending);
    this.state.refresh();
  }

  fetch() {
    return this.state.ask("now", { mark: this.mark, sort: this.sort, descending: this.descending, limit: PAGE, offset: this.offset });
  }

  update({ counts, locks, waiters, may_act: mayAct }) {
    this.mayAct = mayAct;
    this.#chips(counts);
    this.leases.update(locks, "", () => this.#nobody());
    this.waiters.update(waiters, counts.waiters > waiters.length ? `the first ${waiters.length} of ${counts.waiters}` : "", () => empty("Nobody waits."));
    this.#pages(counts.matching, locks.length);
  }

  #chips(counts) {
    const wanted = [
      [null, counts.rows, "all", ""],
      ["waited", counts.waiters, "waiting", ""],
      ["late", counts.late, "close to expiry", "amber"],
      ["too_long", counts.too_long, "held too long", "red"],
      ["draining", counts.draining, "draining", "amber"],
      ["paused", counts.paused, "paused", ""],
    ].filter(([mark, count]) => count || mark === this.mark || ["waited", "late", "too_long", null].includes(mark));
    const seen = JSON.stringify([wanted, this.mark]);
    if (seen === this.seen) return;
    this.seen = seen;
    const focused = document.activeElement?.dataset?.mark;
    this.chips.replaceChildren(
      ...wanted.map(([mark, count, label, kind]) =>
        el(
          "button",
          {
            type: "button",
            class: `chip ${count ? kind : ""}`,
            "aria-pressed": String(mark === this.mark),
            dataset: { mark: String(mark) },
            onclick: () => {
              this.mark = mark === this.mark ? null : mark;
              this.offset = 0;
              this.state.refresh();
            },
          },
          el("b", { text: count }),
          label,
        ),
      ),
    );
    if (focused) this.chips.querySelector(`[data-mark="${focused}"]`)?.focus();
  }

  #nobody() {
    if (this.state.search) return empty(`Nothing matches “${this.state.search}”.`);
    if (this.mark) return empty("None, and that is good.");
    if (this.state.task.task_id) return empty("This task holds no lock and waits for none now.", el("p", {}, "What it did before: ", el("a", { href: "#history", text: "History" })));
    if (this.state.task.dag_id) return empty("Nothing of this DAG holds a lock or waits for one now.", el("p", {}, "What happened before: ", el("a", { href: "#history", text: "History" })));
    return empty("No lock is held, and nobody waits.", el("p", {}, "A task gets a lock by ", el("code", { text: '@task.locked(lock="dwh.sales")' }), " or ", el("code", { text: "LockedOperator(lock=…)" }), "."));
  }

  #pages(matching, shown) {
    this.pages.hidden = matching <= PAGE;
    if (this.pages.hidden) return;
    const go = (text, offset, on) => el("button", { type: "button", text, disabled: !on, onclick: () => ((this.offset = offset), this.state.refresh()) });
    const words = `${this.offset + 1}–${this.offset + shown} of ${matching}`;
    if (words === this.words) return;
    this.words = words;
    this.pages.replaceChildren(go("‹", this.offset - PAGE, this.offset > 0), el("span", { text: words }), go("›", this.offset + PAGE, this.offset + shown < matching));
  }

  tick(seconds) {
    this.leases.table.tick(seconds);
    this.waiters.table.tick(seconds);
  }
}

export class HistoryView {
  every = 6000;

  constructor(state) {
    Object.assign(this, { state, limit: 100 });
    this.events = new Part("History", new Table({ label: "What happened, newest first", columns: eventColumns(true), key: (row) => row.event_id }));
    this.older = el("button", { type: "button", text: "Older", onclick: () => ((this.limit = Math.min(1000, this.limit * 2)), state.refresh()) });
    this.events.more.append(this.older);
    this.node = this.events.node;
  }

  fetch() {
    return this.state.ask("history", { limit: this.limit, search: null });
  }

  update({ events, before }) {
    const part = this.state.search.toLowerCase();
    const shown = part ? events.filter((row) => [row.lock_name, row.owner, row.actor, row.reason].some((text) => (text || "").toLowerCase().includes(part))) : events;
    this.events.update(shown, part ? `${shown.length} of the latest ${events.length} match` : "newest first", () => empty(part ? `Nothing among the latest ${events.length} events matches “${part}”.` : this.state.task.dag_id ? "Nothing is known of it: it has used no lock lately." : "Nothing has happened yet."));
    this.events.more.hidden = before === null || this.limit >= 1000;
  }

  tick() {}
}

const RANGES = [
  [1, "1 h"],
  [6, "6 h"],
  [24, "24 h"],
  [24 * 7, "7 days"],
  [24 * 30, "30 days"],
];

function ranges(chosen, choose) {
  const buttons = RANGES.map(([hours, label]) => el("button", { type: "button", text: label, "aria-pressed": String(hours === chosen), onclick: () => pick(hours) }));
  function pick(hours) {
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(RANGES[at][0] === hours)));
    choose(hours);
  }
  return el("span", { class: "picks", role: "group", "aria-label": "How far back" }, ...buttons);
}

/** Rows that are all here can be sorted here. */
class SortedTable extends Table {
  constructor(options) {
    super({ ...options, onsort: (name) => this.#sortBy(name) });
    this.by = options.by;
    this.descending = true;
    this.all = [];
    this.sorted(this.by, this.descending);
  }

  #sortBy(name) {
    this.descending = this.by === name ? !this.descending : true;
    this.by = name;
    this.sorted(name, this.descending);
    this.update(this.all);
  }

  update(rows) {
    this.all = rows;
    const sign = this.descending ? -1 : 1;
    const value = (row) => row[this.by] ?? (typeof row[this.by] === "string" ? "" : -1);
    super.update([...rows].sort((a, b) => (value(a) < value(b) ? -sign : value(a) > value(b) ? sign : 0)));
  }
}

export class StatsView {
  every = 15000;

  constructor(state) {
    Object.assign(this, { state, hours: 24 });
    const pick = ranges(24, (hours) => ((this.hours = hours), state.refresh()));
    this.locks = new Part("By lock", new SortedTable({ label: "Hold and wait times by lock", columns: lockStatColumns, key: (row) => row.lock_name, by: "held_total" }));
    this.owners = new Part("By owner", new SortedTable({ label: "Hold and wait times by owner", columns: ownerStatColumns(true), key: (row) => [row.lock_name, row.dag_id, row.task_id].join("\n"), by: "held_total" }));
    this.locks.node.hidden = Boolean(state.task.dag_id);
    this.node = el("div", {}, el("div", { class: "title" }, el("h2", { text: "How locks were used" }), el("span", { class: "space" }), pick), this.locks.node, this.owners.node);
  }

  async fetch() {
    const by = (what) => this.state.ask("stats", { by: what, hours: this.hours, search: null });
    const [locks, owners] = await Promise.all([this.state.task.dag_id ? { locks: [] } : by("lock"), by("owner")]);
    return { locks: locks.locks, owners: owners.owners };
  }

  update({ locks, owners }) {
    const nothing = () => empty("Nothing happened in this time.");
    this.locks.update(locks, locks.length >= 500 ? "the busiest 500" : "", nothing);
    this.owners.update(owners, owners.length >= 500 ? "the busiest 500" : "", nothing);
  }

  tick() {}
}

export class LockView {
  constructor(state, name) {
    Object.assign(this, { state, name, hours: 24, mayAct: false });
    this.badges = el("span", { class: "marks" });
    this.acts = el("span");
    this.notice = el("div");
    this.facts = el("dl", { class: "facts" });
    this.timeline = new Timeline();
    const legend = el("span", { class: "legend" }, ...[["running", "held now"], ["", "released"], ["revoked", "revoked"], ["expired", "expired"], ["adopted", "taken over by a retry"]].map(([kind, text]) => el("span", {}, el("i", { class: kind }), text)));
    const buttons = (row) => (this.mayAct && row.token !== null && !row.draining ? [revokeButton(row, state.conn, state.refresh)] : []);
    const without = (columns, ...names) => columns.filter((column) => !names.includes(column.name));
    this.leases = new Part("Held by", new Table({ label: "Who holds it", columns: without(leaseColumns(buttons), "lock", "waiters").map((column) => ({ ...column, sort: null })), key: leaseKey, mark: leaseMark }));
    this.waiters = new Part("In line", new Table({ label: "Who waits for it, in order", columns: without(waiterColumns, "lock"), key: waiterKey, mark: (row) => (row.alive ? "" : "warn") }));
    this.owners = new Part("By owner", new SortedTable({ label: "Hold and wait times by owner", columns: ownerStatColumns(false), key: (row) => [row.dag_id, row.task_id].join("\n"), by: "held_total" }));
    this.events = new Part("Latest events", new Table({ label: "What happened to it", columns: eventColumns(false), key: (row) => row.event_id }));
    const back = el("a", { href: "#now", text: "‹ All locks" });
    this.node = el(
      "div",
      {},
      el("div", { class: "title" }, back, el("h2", { text: name }), this.badges, el("span", { class: "space" }), this.acts),
      this.notice,
      el("section", {}, el("h2", {}, el("span", { text: "Who held it when" }), ranges(24, (hours) => ((this.hours = hours), state.refresh())), legend), this.timeline.node),
      this.leases.node,
      this.waiters.node,
      this.facts,
      this.owners.node,
      this.events.node,
    );
  }

  fetch() {
    return this.state.ask("lock", { name: this.name, hours: this.hours, search: null, dag_id: null, run_id: null, task_id: null, map_index: null });
  }

  update(answer) {
    this.mayAct = answer.may_act;
    const seen = JSON.stringify([answer.paused, answer.note, answer.capacity, answer.may_act]);
    if (seen !== this.seen) {
      this.seen = seen;
      this.badges.replaceChildren(...[el("span", { class: "badge", text: `capacity ${answer.capacity ?? "?"}` }), answer.paused && el("span", { class: "badge violet", text: "paused" })].filter(Boolean));
      this.acts.replaceChildren(...(answer.may_act ? [pauseButton(this.name, answer.paused, this.state.conn, this.state.refresh)] : []));
      this.notice.replaceChildren(...(answer.paused ? [el("div", { class: "notice warn" }, el("b", { text: "Nobody is granted this lock." }), el("p", { text: answer.note || "" }))] : []));
    }
    this.timeline.update(answer.spans, answer.hours, answer.known_since);
    this.leases.update(answer.leases, "", () => empty(answer.paused ? "Nobody holds it." : "Nobody holds it: it is free."));
    this.waiters.update(answer.waiters, "", () => empty("Nobody waits for it."));
    this.owners.update(answer.owners, "", () => empty("Nobody used it in this time."));
    this.events.update(answer.events, "", () => empty("Nothing has happened yet."));
    this.#figures(answer.stats);
  }

  #figures(stats) {
    const shown = [
      ["Grants", stats?.grants ?? 0],
      ["Held, average", duration(stats?.held_avg)],
      ["Held, 95 %", duration(stats?.held_p95)],
      ["Waited, average", duration(stats?.waited_avg)],
      ["Waited, most", duration(stats?.waited_max)],
      ["Expired", stats?.expired ?? 0],
      ["Revoked", stats?.revoked ?? 0],
      ["Last event", moment(stats?.last_at)],
    ];
    const text = JSON.stringify(shown);
    if (text === this.figures) return;
    this.figures = text;
    this.facts.replaceChildren(...shown.map(([name, value]) => el("div", {}, el("dt", { text: name }), el("dd", { text: value }))));
  }

  tick(seconds) {
    this.leases.table.tick(seconds);
    this.waiters.table.tick(seconds);
  }
}
