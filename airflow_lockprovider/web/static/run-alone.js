// The tab "Run only this" of a task: says what would run, then makes that run.

import { act, api, el, link } from "./common.js";

const query = new URLSearchParams(location.search);
const dag = query.get("dag_id") || "";
const task = query.get("task_id") || "";
const place = document.getElementById("alone");

const title = () => el("h1", {}, "Run only ", el("code", { text: task }));
const show = (...parts) => place.replaceChildren(title(), ...parts.filter(Boolean));
const names = (list) => list.flatMap((name, at) => [at ? ", " : "", el("code", { text: name })]);

function notice(kind, head, ...lines) {
  return el("div", { class: `notice ${kind}`, role: "status" }, el("strong", { text: head }), ...lines.map((line) => el("p", {}, line)));
}

async function begin() {
  try {
    form(await api(`api/run-alone?${new URLSearchParams({ dag_id: dag, task_id: task })}`));
  } catch (refused) {
    show(notice("bad", "This task cannot be run alone", refused.message));
  }
}

function form(seen) {
  const others = seen.others === 1 ? "The other task of the DAG does" : `The other ${seen.others} tasks of the DAG do`;
  const facts = el("ul", {});
  facts.append(el("li", {}, "A new run of ", el("code", { text: dag }), " in which this task works; if it has a lock, it takes it as always."));
  if (seen.with_tasks.length) facts.append(el("li", {}, "Setups and teardowns work with it: ", ...names(seen.with_tasks), "."));
  if (seen.others) {
    facts.append(el("li", { text: `${others} not run and take no lock: what comes before counts as success, the rest as skipped.` }));
    facts.append(el("li", { text: "It finds no results (XComs) of tasks before it. If it needs them, clear it in an earlier run instead." }));
  }
  if (seen.not_last) facts.append(el("li", { text: "Others would come after it, so the run ends green even if the task fails: look at the task." }));

  const conf = el("textarea", { id: "conf", spellcheck: "false", rows: "5" });
  conf.value = JSON.stringify(seen.params, null, 2);
  const index = seen.mapped && el("input", { id: "index", inputmode: "numeric", pattern: "[0-9]*", placeholder: "all", size: "6" });
  const dated = el("input", { type: "checkbox", id: "dated", checked: true });
  const error = el("p", { class: "error", role: "alert", hidden: true });
  const go = el("button", { type: "submit", class: "primary", text: "Run only this task", disabled: !seen.may_run });

  show(
    seen.paused && notice("warn", "The DAG is paused", "The run will wait until somebody unpauses it."),
    !seen.may_run && notice("warn", "You may not trigger this DAG", "Ask for the right to create its runs."),
    facts,
    el("form", { onsubmit: submit },
      el("label", { for: "conf", text: "Parameters (JSON), as in the trigger form" }), conf,
      index && el("label", { for: "index", text: "Only this map index" }), index,
      el("label", { class: "check" }, dated, el("span", { text: "with a logical date (now)" })),
      error, el("div", { class: "buttons" }, go)),
  );

  async function submit(event) {
    event.preventDefault();
    error.hidden = true;
    go.disabled = true;
    try {
      const wish = { dag_id: dag, task_id: task, conf: parsed(conf.value) };
      if (index && index.value.trim()) wish.map_index = Number(index.value);
      if (!dated.checked) wish.logical_date = null;
      done(await act("api/run-alone", wish));
    } catch (refused) {
      error.textContent = refused.message;
      error.hidden = false;
      go.disabled = false;
    }
  }
}

function parsed(text) {
  if (!text.trim()) return {};
  let value;
  try {
    value = JSON.parse(text);
  } catch (wrong) {
    throw new Error(`the parameters are no JSON: ${wrong.message}`);
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Error("the parameters have to be an object: {…}");
  return value;
}

function done(made) {
  const marked = Object.entries(made.marked).map(([state, count]) => `${count} marked ${state}`).join(", ");
  show(
    notice("", "The run is made", el("span", {}, link(made.url, made.run_id)), marked && `Other task instances: ${marked}.`, ...made.hints),
    el("div", { class: "buttons" }, el("button", { type: "button", text: "Once more", onclick: begin })),
  );
}

begin();
