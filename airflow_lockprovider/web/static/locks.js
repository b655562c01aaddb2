// The Locks page: what is asked of the API, and which view is shown.

import { api, el } from "./common.js";
import { HistoryView, LockView, NowView, StatsView } from "./views.js";

const EVERY = 3000;
const EVERY_IN_TROUBLE = 10000;

const $ = (id) => document.getElementById(id);
const given = new URLSearchParams(location.search);
const map = given.get("map_index");

/** What the page is about, for all views. */
const state = {
  task: Object.fromEntries(
    ["dag_id", "run_id", "task_id"].map((name) => [name, given.get(name)]).filter(([, value]) => value && !value.startsWith("{")),
  ),
  search: "",
  conn: given.get("conn_id"),
  refresh: () => load(),
};
if (/^\d+$/.test(map || "")) state.task.map_index = map;

let view = null;
let asked = 0;
let answered = performance.now();
let live = true;
let timer = null;

/** Ask with the filter of the page. */
state.ask = (path, more = {}) => {
  const query = new URLSearchParams();
  const all = { conn_id: state.conn, search: state.search, ...state.task, ...more };
  for (const [name, value] of Object.entries(all)) if (value !== null && value !== undefined && value !== "" && value !== false) query.set(name, value);
  return api(`api/${path}?${query}`);
};

function route() {
  const hash = location.hash.slice(1);
  const lock = hash.startsWith("lock=") ? decodeURIComponent(hash.slice(5)) : null;
  const name = lock !== null ? "lock" : ["history", "stats"].includes(hash) ? hash : "now";
  view = { now: () => new NowView(state), history: () => new HistoryView(state), stats: () => new StatsView(state), lock: () => new LockView(state, lock) }[name]();
  $("view").replaceChildren(view.node);
  for (const one of document.querySelectorAll(".views a")) {
    one.hash === `#${name}` ? one.setAttribute("aria-current", "page") : one.removeAttribute("aria-current");
  }
  $("search").hidden = name === "lock" || name === "stats";
  document.title = lock === null ? "Locks" : `${lock} · Locks`;
  scrollTo(0, 0);
  load();
}

async function load() {
  clearTimeout(timer);
  const mine = ++asked;
  const of = view;
  let pause = EVERY;
  try {
    const answer = await of.fetch();
    if (mine !== asked || of !== view) return;
    answered = performance.now();
    of.update(answer);
    of.tick(0);
    calm(answer);
  } catch (error) {
    if (mine !== asked || of !== view) return;
    if (!("status" in error)) console.error(error);
    trouble(error);
    pause = EVERY_IN_TROUBLE;
  }
  if (live && !document.hidden) timer = setTimeout(load, Math.max(pause, of.every || 0));
}

function calm(answer) {
  $("trouble").replaceChildren();
  document.querySelector("main").classList.remove("stale");
  $("live").classList.remove("bad");
  if (answer.conn_id) {
    const hint = answer.may_act ? "" : ` · You may look. To revoke, pause or resume takes the right to edit connection ${answer.conn_id}.`;
    $("foot").textContent = `Locks behind connection ${answer.conn_id}${answer.user ? ` · ${answer.user}` : ""}${hint}`;
  }
  if (answer.conn_ids) connections(answer.conn_ids, answer.conn_id);
}

function connections(names, chosen) {
  const select = $("conn");
  select.hidden = names.length < 2;
  if (select.options.length !== names.length) select.replaceChildren(...names.map((name) => el("option", { value: name, text: name })));
  select.value = chosen;
}

const REMEDIES = {
  tables: [["Create or upgrade the tables of the locks, on a host with Airflow:", "airflow locks init"]],
  settings: [["Look at the connection of the locks and the [lockprovider] section:", "airflow locks list"]],
  down: [["This page tries again by itself. Until the database is back nobody is granted a lock, and leases that cannot be renewed are given up by their owners. To see what is wrong:", "airflow locks doctor"]],
};

function trouble(error) {
  document.querySelector("main").classList.add("stale");
  $("live").classList.add("bad");
  const told = [];
  if (error.status === 401) {
    told.push(el("b", { text: "You are logged out." }), el("p", {}, "Load Airflow again and log in. ", el("a", { href: "", text: "Reload" })));
  } else if (error.status === 503) {
    told.push(el("b", { text: "The locks cannot be read." }), el("p", { text: error.message }));
    for (const [text, command] of REMEDIES[error.kind] || REMEDIES.down) told.push(el("p", { text: `${text} ` }, el("code", { text: command })));
  } else {
    told.push(el("b", { text: error.message || String(error) }));
  }
  const notice = el("div", { class: "notice bad" }, ...told);
  if ($("trouble").textContent !== notice.textContent) $("trouble").replaceChildren(notice);
}

function scope() {
  const { dag_id, run_id, task_id, map_index } = state.task;
  $("scope").hidden = !dag_id;
  if (!dag_id) return;
  const part = (label, value) => value && el("span", { text: `${label} ` }, el("b", { text: value }));
  const all = el("button", {
    type: "button",
    class: "quiet",
    text: "Show all locks",
    onclick: () => {
      state.task = {};
      scope();
      route();
    },
  });
  $("scope").replaceChildren(...[el("span", { text: "Only" }), part("DAG", dag_id), part("run", run_id), part("task", task_id), part("map index", map_index), all].filter(Boolean));
}

let typing = null;
$("search").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    state.search = $("search").value.trim();
    view.restart?.();
    load();
  }, 200);
});
$("conn").addEventListener("change", () => {
  state.conn = $("conn").value;
  view.restart?.();
  load();
});
$("live").addEventListener("click", () => {
  live = !live;
  $("live").setAttribute("aria-pressed", live);
  live ? load() : clearTimeout(timer);
});
document.addEventListener("keydown", (event) => {
  if (event.target.closest("input, textarea, select, .veil")) return;
  if (event.key === "/") {
    event.preventDefault();
    $("search").focus();
  } else if (event.key === "Escape" && location.hash.startsWith("#lock=")) location.hash = "#now";
});
document.addEventListener("visibilitychange", () => !document.hidden && live && load());
addEventListener("hashchange", route);
setInterval(() => {
  const passed = (performance.now() - answered) / 1000;
  if (live && !$("live").classList.contains("bad")) view?.tick(passed);
  const text = !live ? "stopped" : passed < EVERY / 1000 + 2 ? "live" : `${Math.round(passed)} s ago`;
  if ($("live-text").textContent !== text) $("live-text").textContent = text;
}, 1000);

scope();
route();
