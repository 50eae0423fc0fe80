// The page: who looks, which view is shown, and what is told of changes.

import { ApiError, ask, caller, token } from "./api.js";
import { el, setAttribute, setText, showText } from "./dom.js";
import { STATUSES, plural, why } from "./format.js";
import { Lag } from "./lag.js";
import { follow } from "./live.js";
import { TaskView } from "./task.js";
import { TasksView } from "./tasks.js";

const NOT_WELL = new Set(["failed", "retrying", "stalled", "degraded"]);
const MANY = 3; // Changes that are told one by one.

const $ = (id) => document.getElementById(id);
let me = null;
let view = null;
let overview = null;
let lag = new Lag();
let statuses = null;
let stop = () => {};
let refreshed = Promise.resolve();

async function begin() {
  stop();
  [me, overview, statuses, lag] = [null, null, null, new Lag()];
  $("main").replaceChildren();
  setText($("connection"), "Connecting");
  stop = follow(turn, failed);
}

async function turn() {
  try {
    if (!me) {
      me = await caller();
      showCaller();
      route();
    }
    overview = await ask("overview");
    await lag.refresh();
    await show();
  } catch (error) {
    if (error.status !== 401) throw error;
    signIn(token.get() ? "This is not a token of this service." : "");
    return false;
  }
}

async function show() {
  showText($("trouble"), null);
  setAttribute(document.body, "data-connection", "live");
  setText($("connection"), "Live");
  const missing = Object.entries(overview.missing).map(([name, text]) => `${name}: ${text}`);
  showText($("missing"), missing.length ? `The service cannot reach all that it needs. ${missing.join("; ")}` : null);
  tellChanges();
  await refresh();
}

/** Have the view show what is known, one time after the other. */
function refresh() {
  refreshed = refreshed.catch(() => {}).then(() => view.refresh(overview)).then(showTitle);
  return refreshed;
}

function failed(error) {
  const words = error instanceof ApiError ? error.message : `The page failed: ${error.message}`;
  const old = overview ? "What is shown may be old. " : "";
  showText($("trouble"), `${words.replace(/\.?$/, ".")} ${old}It is asked again and again.`);
  setText($("connection"), "Not live");
  setAttribute(document.body, "data-connection", "lost");
  if (!(error instanceof ApiError)) console.error(error);
}

function showCaller() {
  const named = me.token_name ? `Token ${me.token_name}, ${me.role}` : "Operator, as no tokens are set";
  setText($("caller"), named + (me.role === "viewer" ? ": changes need an operator" : ""));
  setAttribute($("sign-out"), "hidden", !token.get());
}

function signIn(refusal) {
  stop();
  setText($("connection"), "Not signed in");
  setAttribute(document.body, "data-connection", "none");
  for (const id of ["trouble", "missing", "result"]) showText($(id), null);
  setText($("caller"), "");
  setAttribute($("sign-out"), "hidden", true);
  const input = el("input", {
    type: "password", id: "token", autocomplete: "off", spellcheck: "false", required: true,
  });
  const use = (event) => {
    event.preventDefault();
    token.set(input.value.trim());
    begin();
  };
  // Whoever is asked there would answer with the token that is none.
  document.querySelector("dialog")?.close();
  $("main").replaceChildren(el("form", { class: "panel sign-in", submit: use },
    el("h1", {}, "This service asks for a token"),
    el("p", {}, "A viewer's token shows everything, an operator's may change it, too. It stays " +
      "in this tab, and is forgotten when the tab is closed."),
    refusal ? el("p", { class: "banner bad", role: "alert" }, refusal) : null,
    el("label", { for: "token" }, "Token"), input,
    el("button", { type: "submit", class: "primary" }, "Use this token")));
  input.focus();
  document.title = "Sign in · cdc-actors";
}

/** Return the task that the address names; one that is cut off names none there is. */
function taskId() {
  const [, id] = /^#\/task\/(.+)$/.exec(location.hash) ?? [];
  try {
    return id && decodeURIComponent(id);
  } catch {
    return id;
  }
}

function route() {
  if (!me) return;
  const id = taskId();
  const isOperator = () => me.role === "operator";
  view = id ? new TaskView(id, { lag, say, isOperator }) : new TasksView(lag);
  $("main").replaceChildren(view.node);
}

async function go() {
  if (location.hash === "#main") return;
  showText($("result"), null);
  route();
  if (!overview || !view) return;
  view.focus();
  scrollTo(0, 0);
  try {
    await refresh();
  } catch (error) {
    failed(error);
  }
}

function say(text) {
  showText($("result"), text);
}

/** Tell a screen reader which tasks have another health than before. */
function tellChanges() {
  const now = new Map(overview.tasks.map((task) => [task.task_id, task]));
  const changed = statuses ? [...now.values()].filter((task) =>
    statuses.has(task.task_id) && statuses.get(task.task_id) !== task.health.status) : [];
  statuses = new Map(overview.tasks.map((task) => [task.task_id, task.health.status]));
  if (!changed.length) return;
  const told = changed.slice(0, MANY).map((task) =>
    `Task ${task.task_id} is ${STATUSES[task.health.status][0]}. ${why(task)}`);
  const more = changed.length - told.length;
  if (more > 0) told.push(`${plural(more, "other task")} changed, too.`);
  setText($("changes"), told.join(" "));
}

function showTitle() {
  const bad = overview.tasks.filter((task) => NOT_WELL.has(task.health.status)).length;
  const title = `${bad ? `(${bad} not well) ` : ""}${view.title} · cdc-actors`;
  if (document.title !== title) document.title = title;
}

addEventListener("hashchange", go);
$("sign-out").addEventListener("click", () => {
  token.forget();
  begin();
});
begin();
