// The view of all tasks: one row each, the worst first.

import { Sparkline } from "./chart.js";
import { Rows, el, setAttribute, setText } from "./dom.js";
import { STATUSES, count, plural, seconds, severity, why, words } from "./format.js";
import { Badge } from "./badge.js";

const COLUMNS = ["Health", "Task", "Lag", "Last hour", "Collections", "Rows applied", "Why"];
const HOW_TO_CREATE = "cdc-actors task create --target http://localhost:19531 --collection '*.*'";

/** All tasks, with a filter by health and by words. */
export class TasksView {
  title = "Tasks";
  #lag;
  #overview = null;
  #status = null;
  #heading = el("h1", { tabindex: "-1" }, "Tasks");
  #filters;
  #body = el("tbody", { role: "rowgroup" });
  #rows = new Rows(this.#body, (task) => task.task_id, (task) => new TaskRow(task, this.#lag));
  #search = el("input", { type: "search", input: () => this.#show() });
  #table = el("table", { role: "table", class: "tasks", "aria-label": "Tasks" },
    el("thead", { role: "rowgroup" },
      el("tr", { role: "row" },
        ...COLUMNS.map((name) => el("th", { role: "columnheader", scope: "col" }, name)))),
    this.#body);
  #none = el("p", { class: "none", hidden: true });
  #empty = el("section", { class: "panel empty", hidden: true },
    el("h2", {}, "There are no tasks yet"),
    el("p", {}, "A task keeps one Milvus equal to another. Create one by command:"),
    el("pre", {}, HOW_TO_CREATE));
  #tools;

  constructor(lag) {
    this.#lag = lag;
    this.#filters = [null, ...Object.keys(STATUSES)].map((status) => new Filter(status, () => {
      this.#status = status;
      this.#show();
    }));
    this.#tools = el("div", { class: "filters tools", role: "group", "aria-label": "Health" },
      ...this.#filters.map((filter) => filter.node));
    const title = el("div", { class: "title" }, this.#heading,
      el("label", {}, "Search ", this.#search));
    this.node = el("div", {}, title, this.#tools, this.#table, this.#none, this.#empty);
  }

  /** Put the focus where reading begins. */
  focus() {
    this.#heading.focus();
  }

  /** Show what the service has told. */
  async refresh(overview) {
    this.#overview = overview;
    this.#show();
  }

  #show() {
    if (!this.#overview) return;
    const { tasks } = this.#overview;
    setAttribute(this.#empty, "hidden", tasks.length > 0);
    setAttribute(this.#tools, "hidden", tasks.length === 0);
    for (const filter of this.#filters) filter.show(tasks, this.#status);
    const text = this.#search.value.trim().toLowerCase();
    const found = tasks.filter((task) => this.#isWanted(task, text));
    // A sort keeps the order of equals: the oldest first.
    this.#rows.show(found.sort((a, b) => severity(a.health.status) - severity(b.health.status)));
    setAttribute(this.#table, "hidden", found.length === 0);
    setAttribute(this.#none, "hidden", found.length > 0 || tasks.length === 0);
    setText(this.#none, `None of ${plural(tasks.length, "task")} is like this.`);
  }

  #isWanted(task, text) {
    if (this.#status && task.health.status !== this.#status) return false;
    return !text || `${task.task_id} ${task.uri} ${why(task)}`.toLowerCase().includes(text);
  }
}

class Filter {
  #status;
  #text = el("span");

  constructor(status, chosen) {
    this.#status = status;
    const glyph = status && el("span", { class: `glyph ${status}`, "aria-hidden": "true" },
      STATUSES[status][1]);
    this.node = el("button", { type: "button", click: chosen }, glyph, this.#text);
  }

  show(tasks, chosen) {
    const mine = tasks.filter((task) => !this.#status || task.health.status === this.#status);
    const name = this.#status ? STATUSES[this.#status][0] : "All";
    setText(this.#text, `${name} ${count(mine.length)}`);
    setAttribute(this.node, "aria-pressed", String(chosen === this.#status));
    const isUsed = !this.#status || mine.length > 0 || chosen === this.#status;
    setAttribute(this.node, "hidden", !isUsed);
  }
}

class TaskRow {
  #lag;
  #drawn = null;
  #badge = new Badge();
  #now = el("span", { class: "number" });
  #spark = new Sparkline();
  #collections = el("span");
  #troubled = el("span", { class: "troubled" });
  #rows = el("span", { class: "number" });
  #why = el("span", { class: "why" });
  #uri = el("span", { class: "uri" });

  constructor(task, lag) {
    this.#lag = lag;
    const link = el("a", { class: "id", href: `#/task/${encodeURIComponent(task.task_id)}` },
      task.task_id);
    const cells = [
      [this.#badge.node], [link, this.#uri], [this.#now], [this.#spark.node],
      [this.#collections, this.#troubled], [this.#rows], [this.#why],
    ];
    this.node = el("tr", { role: "row" }, ...cells.map((content, index) =>
      el("td", { role: "cell", "data-column": COLUMNS[index] }, ...content)));
  }

  update(task) {
    this.#badge.show(task.health.status);
    setText(this.#uri, task.uri);
    setText(this.#now, seconds(task.lag_seconds));
    const { live = 0, ...others } = task.collections;
    const all = Object.values(others).reduce((a, b) => a + b, live);
    setText(this.#collections, count(all));
    setText(this.#troubled, Object.entries(others)
      .map(([state, number]) => `${count(number)} ${words(state)}`).join(", "));
    setText(this.#rows, count(task.rows_applied));
    setText(this.#why, why(task));
    if (this.#drawn !== this.#lag.last) {
      this.#drawn = this.#lag.last;
      this.#spark.show(this.#lag.of(task.task_id), this.#lag.now);
    }
  }
}
