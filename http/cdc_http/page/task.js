// The view of one task: health, lag, collections, history, and what can be done to it.

import * as actions from "./actions.js";
import { ApiError, ask } from "./api.js";
import { Badge } from "./badge.js";
import { Chart } from "./chart.js";
import { Collections } from "./collections.js";
import { Comparison } from "./compare.js";
import { Rows, el, setAttribute, setText, showText } from "./dom.js";
import { STATUSES, clock, count, plural, seconds, time, why } from "./format.js";
import { History } from "./history.js";

const LEAST_MS = 2000; // Between two requests for the whole of a task.

/** One task. `say` is told what was done; `isOperator` tells who may do it. */
export class TaskView {
  #id;
  #lag;
  #say;
  #isOperator;
  #summary = null;
  #task = null;
  #key = "";
  #asked = -Infinity;
  #drawn = null;
  #badge = new Badge();
  #heading;
  #status = new Status();
  #buttons;
  #now = el("p", { class: "big" });
  #chart = new Chart();
  #facts = new Facts();
  #collections;
  #refused;
  #comparison;
  #history;
  #gone = el("p", { class: "banner warn", hidden: true });
  #present;

  constructor(id, { lag, say, isOperator }) {
    this.#id = id;
    this.#lag = lag;
    this.#say = say;
    this.#isOperator = isOperator;
    this.title = `Task ${id}`;
    this.#heading = el("h1", { class: "id", tabindex: "-1" }, id);
    this.#buttons = new Buttons((action) => this.#do(action), () => this.focus());
    this.#collections = new Collections(isOperator,
      (each) => this.#do((task) => actions.retry(task, [each])));
    this.#refused = new Refused(() => this.#do(actions.acknowledge));
    this.#comparison = new Comparison(id, (action) => this.#do(action));
    this.#history = new History(id);
    this.#present = el("div", { class: "present", hidden: true },
      panel("Health", this.#status.node, this.#refused.node),
      panel("Lag", this.#now, this.#chart.node),
      panel("What it does", this.#facts.node),
      panel("Are both sides equal?", this.#comparison.node),
      panel("Collections", this.#collections.node));
    this.node = el("div", { class: "task" },
      el("a", { class: "back", href: "#/" }, "All tasks"),
      el("div", { class: "title" }, this.#heading, this.#badge.node, this.#buttons.node),
      this.#gone, this.#present, panel("History", this.#history.node));
  }

  /** Put the focus where reading begins. */
  focus() {
    this.#heading.focus();
  }

  /** Show what the service has told, and ask for the rest of it if that has changed. */
  async refresh(overview) {
    const summary = overview.tasks.find((each) => each.task_id === this.#id) ?? null;
    this.#summary = summary;
    setAttribute(this.#present, "hidden", !summary);
    setAttribute(this.#badge.node, "hidden", !summary);
    this.#buttons.show(this.#isOperator() ? summary : null);
    if (!summary) return this.#showGone();
    showText(this.#gone, null);
    this.#badge.show(summary.health.status);
    this.#status.show(summary);
    setText(this.#now, summary.lag_seconds === null ? "Unknown" : seconds(summary.lag_seconds));
    this.#showLag();
    this.#facts.showRows(summary.rows_applied);
    this.#refused.showButton(this.#isOperator() && summary.health.problems.operations_refused > 0);
    if (this.#isDue(summary)) await this.#load(summary);
    await this.#comparison.refresh(summary.last_event, this.#isOperator());
    await this.#history.refresh(summary.last_event);
  }

  #showLag() {
    if (this.#drawn === this.#lag.last) return;
    this.#drawn = this.#lag.last;
    this.#chart.show(this.#lag.of(this.#id), this.#lag.now, this.#lag.since);
  }

  #isDue(summary) {
    const { collections, health, last_event, state } = summary;
    const key = JSON.stringify([last_event, state, collections, health.problems]);
    // How far files are stands in no event.
    const isNew = key !== this.#key || collections.snapshot > 0;
    if (!isNew || performance.now() - this.#asked < LEAST_MS) return false;
    this.#key = key;
    this.#asked = performance.now();
    return true;
  }

  async #load() {
    try {
      ({ task: this.#task } = await ask("get", { task_id: this.#id }));
    } catch (error) {
      this.#key = "";
      throw error;
    }
    this.#facts.show(this.#task);
    this.#refused.show(this.#task.operations_refused);
    this.#collections.show(this.#task.collections);
  }

  async #showGone() {
    if (!this.#gone.hidden) return;
    try {
      await this.#history.refresh(null);
      showText(this.#gone, "This task is deleted. Its history stays.");
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
      showText(this.#gone, "There is no such task, and there never was one.");
    }
  }

  async #do(action) {
    const aside = (this.#task?.collections ?? []).filter((each) => each.state === "set_aside");
    const done = await action(this.#summary, aside);
    if (!done) return;
    this.#say(done);
    this.#comparison.renew();
  }
}

const panel = (title, ...content) =>
  el("section", { class: "panel", "aria-label": title }, el("h2", {}, title), ...content);

/** The buttons of an operator. Pausing and resuming are one, which so keeps the focus. */
class Buttons {
  #turn = el("button", { type: "button" });
  #retry = el("button", { type: "button" }, "Retry what is set aside");
  #delete = el("button", { type: "button", class: "danger" }, "Delete");
  #paused = false;
  #focusElsewhere;

  constructor(run, focusElsewhere) {
    this.#focusElsewhere = focusElsewhere;
    this.#turn.addEventListener("click", () => run(this.#paused ? actions.resume : actions.pause));
    this.#retry.addEventListener("click", () => run(actions.retry));
    this.#delete.addEventListener("click", () => run(actions.remove));
    this.node = el("div", { class: "buttons", role: "group", "aria-label": "Actions", hidden: true },
      this.#turn, this.#retry, this.#delete);
  }

  /** Show them for a task, or not at all. */
  show(summary) {
    const focused = this.node.contains(document.activeElement) ? document.activeElement : null;
    setAttribute(this.node, "hidden", !summary);
    setAttribute(this.#retry, "hidden", !summary?.health.problems.set_aside);
    this.#paused = summary?.state === "Paused";
    setText(this.#turn, this.#paused ? "Resume" : "Pause");
    if (focused?.closest("[hidden]")) this.#focusElsewhere();
  }
}

class Status {
  #means = el("p", { class: "means" });
  #why = el("p", { class: "reason" });
  #since = el("p", { class: "since" });
  #list = el("ul", { class: "reasons" });
  #reasons = new Rows(this.#list, (each) => each, (each) => ({ node: el("li", {}, each), update() {} }));

  constructor() {
    this.node = el("div", {}, this.#means, this.#why, this.#list, this.#since);
  }

  show(task) {
    const { health } = task;
    setText(this.#means, STATUSES[health.status][2]);
    showText(this.#why, why(task));
    const { problems } = health;
    const reasons = [...new Set([...problems.reasons, ...health.warnings])];
    const all = ["set_aside", "retrying", "resync_needed", "operations_refused"]
      .reduce((sum, kind) => sum + problems[kind], 0);
    const more = all - problems.reasons.length;
    if (more > 0) reasons.push(`and ${plural(more, "more problem")}`);
    this.#reasons.show(reasons.filter((each) => each !== why(task)));
    const attempt = health.attempt ? `, attempt ${health.attempt}` : "";
    setText(this.#since, `Since ${time(health.since)}${attempt}`);
  }
}

class Facts {
  #values = new Map();

  constructor() {
    const names = ["Target", "Selection", "Names at the target", "Rows applied", "Created"];
    this.node = el("dl", {}, ...names.map((name) => {
      const value = el("dd");
      this.#values.set(name, value);
      return el("div", {}, el("dt", {}, name), value);
    }));
  }

  /** Show how many rows were applied, which changes all the while. */
  showRows(number) {
    setText(this.#values.get("Rows applied"), `${count(number)} since the service started`);
  }

  show(task) {
    const facts = {
      Target: task.milvus_connect_param.uri,
      Selection: selection(task),
      "Names at the target": mapping(task),
      Created: time(task.created_at),
    };
    for (const [name, value] of Object.entries(facts)) setText(this.#values.get(name), value);
  }
}

function selection(task) {
  const named = (db, infos) => infos.map(({ name }) => `${db}.${name}`);
  const found = [
    ...named("default", task.collection_infos),
    ...Object.entries(task.db_collections ?? {}).flatMap(([db, infos]) => named(db, infos)),
  ].join(", ");
  const without = (task.excludes ?? []).map(({ database, name }) => `${database}.${name}`);
  return without.length ? `${found} without ${without.join(", ")}` : found;
}

function mapping(task) {
  const rules = (task.name_mapping ?? []).flatMap((rule) => {
    const some = Object.entries(rule.collection_mapping ?? {});
    if (!some.length) return [`${rule.source_db} is ${rule.target_db}`];
    return some.map(([from, to]) => `${rule.source_db}.${from} is ${rule.target_db}.${to}`);
  });
  return rules.join(", ") || "the same";
}

/** The newest operations of the source that were not done. */
class Refused {
  #title = el("h3");
  #list = el("ul");
  #rows = new Rows(this.#list, (each) => `${each.at} ${each.kind} ${each.name} ${each.reason}`,
    (each) => ({ node: el("li", {}, sentence(each)), update() {} }));

  #button;

  constructor(accept) {
    this.#button = el("button", { type: "button", hidden: true, click: accept }, "Accept these");
    this.node = el("div", { hidden: true }, this.#title, this.#list, this.#button);
  }

  /** Show the button, or not. */
  showButton(isShown) {
    setAttribute(this.#button, "hidden", !isShown);
  }

  show({ count: number, newest }) {
    setAttribute(this.node, "hidden", !number);
    setText(this.#title, `${plural(number, "operation")} not done, the newest:`);
    this.#rows.show(newest.toReversed());
  }
}

const sentence = ({ at, kind, database, name, reason }) =>
  `${clock(at)} ${kind} of ${[database, name].filter(Boolean).join(".")}: ${reason}`;
