// A table that keeps its rows: what has not changed is not touched. So nothing flickers, and focus and selection stay.

import { el } from "./common.js";

/**
 * columns: {name, title, class, sort: may be sorted by, value(row): what it shows (compared), show(row): a node or text
 * when the value is not the text, live(row, seconds): text that grows between two answers}
 */
export class Table {
  constructor({ label, columns, key, mark = () => "", onsort = null }) {
    Object.assign(this, { columns, key, mark, onsort });
    this.rows = new Map();
    this.heads = columns.map((column) => this.#head(column));
    this.body = el("tbody");
    this.table = el("table", { "aria-label": label }, el("thead", {}, el("tr", {}, ...this.heads)), this.body);
    this.node = el("div", { class: "scroll" }, this.table);
  }

  #head(column) {
    const inside = column.sort
      ? el("button", { type: "button", text: column.title, onclick: () => this.onsort(column.sort), title: `Sort by ${column.title.toLowerCase()}` })
      : el("span", { text: column.title });
    return el("th", { scope: "col", class: column.class }, inside);
  }

  /** Show which column is sorted by. */
  sorted(name, descending) {
    this.columns.forEach((column, at) => {
      const head = this.heads[at];
      if (!column.sort) return;
      const on = column.sort === name;
      on ? head.setAttribute("aria-sort", descending ? "descending" : "ascending") : head.removeAttribute("aria-sort");
      head.firstChild.textContent = column.title + (on ? (descending ? " ↓" : " ↑") : "");
    });
  }

  update(rows) {
    const before = this.rows;
    this.rows = new Map();
    let place = this.body.firstChild;
    for (const row of rows) {
      const key = this.key(row);
      const kept = before.get(key) || { node: el("tr"), values: [] };
      before.delete(key);
      kept.row = row;
      this.rows.set(key, kept);
      this.#fill(kept);
      if (kept.node === place) place = place.nextSibling;
      else this.body.insertBefore(kept.node, place);
    }
    for (const gone of before.values()) gone.node.remove();
  }

  #fill(kept) {
    const { node, row, values } = kept;
    const mark = this.mark(row);
    if (node.className !== mark) node.className = mark;
    this.columns.forEach((column, at) => {
      const value = String(column.value(row) ?? "");
      if (values[at] === value) return;
      values[at] = value;
      const shown = column.show ? column.show(row) : value;
      const cell = node.cells[at] || node.insertCell();
      if (column.class) cell.className = column.class;
      cell.replaceChildren(...[shown].flat().filter((part) => part !== null && part !== false));
    });
  }

  /** Let ages grow, `seconds` after the last answer. */
  tick(seconds) {
    for (const { node, row } of this.rows.values()) {
      this.columns.forEach((column, at) => column.live?.(row, seconds, node.cells[at]));
    }
  }
}
