// What every page of ours shares: the API, Airflow's theme and links, the dialog. Text is always set as text.

export class Refused extends Error {
  constructor(status, detail, kind = null) {
    super(detail);
    this.status = status;
    this.kind = kind;
  }
}

/** The page's own address ends in /lockprovider/…; what stands before it is Airflow's. */
export const airflow = location.pathname.replace(/\/lockprovider\/.*$/, "");
const home = `${airflow}/lockprovider/`;

/** Ask the API. Throws Refused with the server's words. */
export async function api(path, options = {}) {
  let answer;
  try {
    answer = await fetch(home + path, { credentials: "same-origin", headers: { Accept: "application/json" }, ...options });
  } catch {
    throw new Refused(0, "the api-server does not answer: is it running, and is the network up?");
  }
  let body = null;
  try {
    body = await answer.json();
  } catch {
    // a proxy's error page
  }
  if (!answer.ok) throw new Refused(answer.status, words(body) || `the server answered ${answer.status}`, body?.kind);
  return body;
}

/** Change something: POST with the header that pages from elsewhere cannot send. */
export function act(path, body) {
  return api(path, {
    method: "POST",
    headers: { Accept: "application/json", "Content-Type": "application/json", "X-Lockprovider": "1" },
    body: JSON.stringify(body),
  });
}

function words(body) {
  const detail = body?.detail;
  if (Array.isArray(detail)) return detail.map((one) => `${(one.loc || []).slice(1).join(".")}: ${one.msg}`).join("; ");
  return typeof detail === "string" ? detail : "";
}

/** An element. Properties: class, text, on{event}, dataset {…}; everything else is an attribute. */
export function el(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") made.className = value;
    else if (name === "text") made.textContent = value;
    else if (name === "dataset") Object.assign(made.dataset, value);
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return made;
}

/** A link to a page of Airflow. We are in an iframe that may not navigate its parent: so Airflow's router is driven. */
export function link(path, text, properties = {}) {
  return el("a", { href: airflow + path, text, onclick: (event) => leave(event, airflow + path), ...properties });
}

function leave(event, url) {
  if (parent === window || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
  event.preventDefault();
  parent.history.pushState({}, "", url);
  parent.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
}

/** The page of a task instance, a run or a DAG, from a lease's context; null where there is none. */
export function pageOf(context) {
  const { dag_id: dag, run_id: run, task_id: task, map_index: map } = context || {};
  if (!dag) return null;
  let path = `/dags/${encodeURIComponent(dag)}`;
  if (run) path += `/runs/${encodeURIComponent(run)}`;
  if (task) path += `/tasks/${encodeURIComponent(task)}`;
  if (run && task && Number.isInteger(map) && map >= 0) path += `/mapped/${map}`;
  return path;
}

/** "4.2s", "3m 10s", "2h 5m", "3d 4h". */
export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  const sign = seconds < 0 ? "−" : "";
  let rest = Math.abs(seconds);
  if (rest < 10) return `${sign}${rest.toFixed(1)}s`;
  rest = Math.round(rest);
  if (rest < 60) return `${sign}${rest}s`;
  const [d, h, m, s] = [Math.floor(rest / 86400), Math.floor(rest / 3600) % 24, Math.floor(rest / 60) % 60, rest % 60];
  if (d) return `${sign}${d}d ${h}h`;
  return h ? `${sign}${h}h ${m}m` : `${sign}${m}m ${s}s`;
}

/** Ask a person, with a reason to type where one is needed. Resolves when `go` has succeeded or they said no. */
export function ask({ title, text = [], reason = false, check = null, label = "OK", danger = false, go }) {
  const before = document.activeElement;
  return new Promise((resolve) => {
    const typed = reason && el("textarea", { id: "reason", required: true, maxlength: "1000", rows: "3" });
    const ticked = check && el("input", { type: "checkbox", id: "check" });
    const error = el("p", { class: "error", role: "alert", hidden: true });
    const no = el("button", { type: "button", text: "Cancel", onclick: () => close(false) });
    const yes = el("button", { type: "submit", class: danger ? "danger" : "primary", text: label });
    const form = el(
      "form",
      { class: "dialog", role: "dialog", "aria-modal": "true", "aria-labelledby": "ask-title", onsubmit: submit },
      el("h2", { id: "ask-title", text: title }),
      ...text.map((line) => (line instanceof Node ? line : el("p", { text: line }))),
      typed && el("label", { for: "reason", text: "Why? It goes into the history, with your name." }),
      typed,
      ticked && el("label", { class: "check" }, ticked, el("span", { text: check })),
      error,
      el("div", { class: "buttons" }, no, yes),
    );
    const veil = el("div", { class: "veil", onkeydown: keys, onmousedown: (event) => event.target === veil && close(false) }, form);
    document.body.append(veil);
    (typed || yes).focus();

    function keys(event) {
      if (event.key === "Escape") {
        event.stopPropagation();
        close(false);
      } else if (event.key === "Tab") {
        const stops = [...form.querySelectorAll("textarea, input, button:not(:disabled), a[href]")];
        const last = event.shiftKey ? stops[0] : stops.at(-1);
        if (document.activeElement === last) {
          event.preventDefault();
          (event.shiftKey ? stops.at(-1) : stops[0]).focus();
        }
      }
    }
    async function submit(event) {
      event.preventDefault();
      if (typed && !typed.value.trim()) return complain("say why: whoever looks at this later will ask");
      yes.disabled = true;
      try {
        await go({ reason: typed ? typed.value.trim() : null, checked: Boolean(ticked?.checked) });
        close(true);
      } catch (refused) {
        complain(refused.message);
      }
    }
    function complain(words) {
      error.textContent = words;
      error.hidden = false;
      yes.disabled = false;
      typed?.focus();
    }
    function close(done) {
      veil.remove();
      before?.focus?.();
      resolve(done);
    }
  });
}

function followTheme() {
  let dark = matchMedia("(prefers-color-scheme: dark)").matches;
  try {
    if (parent !== window) dark = parent.document.documentElement.classList.contains("dark");
    else if (localStorage.getItem("theme")) dark = localStorage.getItem("theme") === "dark";
  } catch {
    // not framed by Airflow: the browser's own wish
  }
  document.documentElement.classList.toggle("dark", dark);
}

followTheme();
try {
  if (parent !== window) {
    new MutationObserver(followTheme).observe(parent.document.documentElement, { attributes: true, attributeFilter: ["class"] });
  }
} catch {
  // see above
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", followTheme);
