// What was done to a task, when, by whom and why; and what the task was back then.

import { ApiError, ask } from "./api.js";
import { Collections } from "./collections.js";
import { Rows, el, setAttribute, setText, showText } from "./dom.js";
import { STATUSES, count, plural, time, words } from "./format.js";

const NEWEST = 20; // Shown at first.
const PAGE = 100;
const COLUMNS = ["Event", "Time", "What", "Who and why", "Moment"];

/** The events of a task, the newest first, with a filter and a look at other moments. */
export class History {
  #taskId;
  #events = [];
  #oldest = null;
  #last = 0;
  #body = el("tbody", { role: "rowgroup" });
  #rows = new Rows(this.#body, (each) => each.number, (each) => new EventRow(each, this.#moments));
  #search = el("input", { type: "search", input: () => this.#draw() });
  #told = el("p", { class: "told", role: "status" });
  #older = el("button", { type: "button", click: () => this.#askForOlder() }, "Older events");
  #asked = Promise.resolve();
  #failure = el("p", { class: "banner bad", role: "alert", hidden: true });
  #moments;

  constructor(taskId) {
    this.#taskId = taskId;
    this.#moments = new Moments(taskId);
    this.node = el("div", {},
      this.#moments.node,
      el("div", { class: "tools" }, el("label", {}, "Filter ", this.#search)),
      el("table", { role: "table", class: "events", "aria-label": "History" },
        el("thead", { role: "rowgroup" }, el("tr", { role: "row" },
          ...COLUMNS.map((each) => el("th", { role: "columnheader", scope: "col" }, each)))),
        this.#body),
      this.#failure,
      el("div", { class: "pager" }, this.#older, this.#told));
  }

  /** Ask for what is new up to event `last`; null stands for an end that is not known. */
  async refresh(last) {
    if (last !== null && last <= this.#last) return;
    if (last !== null && this.#oldest === null) this.#last = Math.max(0, last - NEWEST);
    this.#oldest ??= this.#last;
    for (let more = true; more;) {
      const page = await this.#page(this.#last, 1000);
      this.#events.push(...page.events);
      this.#last = page.events.at(-1)?.number ?? this.#last;
      more = page.more;
    }
    this.#draw();
  }

  /** Two clicks are two pages: the second begins where the first will have ended. */
  #askForOlder() {
    this.#asked = this.#asked.catch(() => {}).then(() => this.#loadOlder());
  }

  async #loadOlder() {
    if (!this.#oldest) return;
    const after = Math.max(0, this.#oldest - PAGE);
    try {
      const { events } = await this.#page(after, this.#oldest - after);
      this.#events.unshift(...events);
      this.#oldest = after;
      showText(this.#failure, null);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      showText(this.#failure, error.message);
    }
    this.#draw();
  }

  #page(after, limit) {
    return ask("history", { task_id: this.#taskId, after, limit });
  }

  #draw() {
    const text = this.#search.value.trim().toLowerCase();
    const found = this.#events.filter((each) => !text || sentence(each).includes(text));
    this.#rows.show(found.toReversed());
    setAttribute(this.#older, "hidden", !this.#oldest);
    const some = text ? `${count(found.length)} of ` : "";
    const rest = this.#oldest ? `; ${count(this.#oldest)} older ones are not looked at yet` : "";
    setText(this.#told, `${some}${plural(this.#events.length, "event")}${rest}.`);
  }
}

const who = ({ kind, token_name, address }) => [kind, token_name, address].filter(Boolean).join(" ");

const sentence = (each) =>
  [each.number, each.event, each.text, each.why, who(each.who), time(each.time)]
    .join(" ").toLowerCase();

class EventRow {
  constructor(each, moments) {
    const content = el("pre");
    const details = el("details", {}, el("summary", {}, each.text), content);
    details.addEventListener("toggle", () => {
      setText(content, JSON.stringify(each.content, null, 2));
    });
    const set = (name) => el("button", {
      type: "button",
      "aria-label": `Take event ${each.number} as moment ${name}`,
      click: () => moments.take(name, each.number),
    }, name);
    const cells = [
      [el("span", { class: "number" }, String(each.number))],
      [el("time", { datetime: each.time }, time(each.time))],
      [details],
      [el("span", { class: "name" }, who(each.who)), el("span", { class: "why" }, each.why)],
      [set("A"), set("B")],
    ];
    this.node = el("tr", { role: "row" }, ...cells.map((content_, index) =>
      el("td", { role: "cell", "data-column": COLUMNS[index] }, ...content_)));
  }

  update() {} // An event never changes.
}

/** A look at the task as it was at a moment, or at what differs between two. */
class Moments {
  #taskId;
  #fields = { A: field(), B: field() };
  #result = el("section", { class: "panel past", tabindex: "-1", hidden: true });
  #failure = el("p", { class: "banner bad", role: "alert", hidden: true });

  constructor(taskId) {
    this.#taskId = taskId;
    const form = el("form", { class: "moments", submit: (event) => event.preventDefault() },
      el("fieldset", {},
        el("legend", {}, "The task at other moments"),
        el("p", { id: "moments-help" }, "A moment is the number of an event, or a time such as " +
          "2026-01-31T12:00:00Z. The buttons A and B beside each event fill it in."),
        el("label", {}, "Moment A ", this.#fields.A), el("label", {}, "Moment B ", this.#fields.B),
        el("button", { type: "button", click: () => this.#look(() => this.#asOf()) },
          "Show the task at A"),
        el("button", { type: "button", click: () => this.#look(() => this.#difference()) },
          "Show what differs from A to B")));
    this.node = el("div", {}, form, this.#failure, this.#result);
  }

  /** Fill a moment in. */
  take(name, number) {
    this.#fields[name].value = String(number);
    this.#fields[name].focus();
  }

  async #look(make) {
    try {
      const content = await make();
      showText(this.#failure, null);
      const close = el("button", { type: "button", click: () => this.#close() }, "Close");
      this.#result.replaceChildren(...content, close);
      this.#result.hidden = false;
      this.#result.focus();
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.#result.hidden = true;
      showText(this.#failure, error.message);
    }
  }

  #close() {
    this.#result.hidden = true;
    this.#fields.A.focus();
  }

  async #at(name) {
    const text = this.#fields[name].value.trim();
    if (!text) throw new ApiError(400, `Moment ${name} is empty: fill in an event or a time.`);
    const asOf = /^\d+$/.test(text) ? Number(text) : text;
    const { task } = await ask("get", { task_id: this.#taskId, as_of: asOf });
    return task;
  }

  async #asOf() {
    const task = await this.#at("A");
    const collections = new Collections();
    collections.show(task.collections);
    const facts = [
      ["State", task.state],
      ["Health", STATUSES[task.health.status][0]],
      ["Why", task.health.error ?? task.reason ?? "nothing was wrong"],
      ["Target", task.milvus_connect_param.uri],
      ["Operations refused", count(task.operations_refused.count)],
    ];
    return [
      el("h3", {}, `The task after event ${task.as_of}`),
      el("dl", {}, ...facts.map(([name, value]) =>
        el("div", {}, el("dt", {}, name), el("dd", {}, value)))),
      collections.node,
    ];
  }

  async #difference() {
    const [before, after] = [await this.#at("A"), await this.#at("B")];
    const rows = differences(before, after);
    const title = `From event ${before.as_of} to event ${after.as_of}: ` +
      (rows.length ? plural(rows.length, "difference") : "nothing differs");
    const head = ["Field", `After event ${before.as_of}`, `After event ${after.as_of}`];
    return [
      el("h3", {}, title),
      rows.length ? el("table", { role: "table", class: "differences" },
        el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...head.map((each) =>
          el("th", { role: "columnheader", scope: "col" }, each)))),
        el("tbody", { role: "rowgroup" }, ...rows.map((row) => el("tr", { role: "row" },
          ...row.map((each, index) =>
            el("td", { role: "cell", "data-column": head[index] }, each)))))) : null,
    ].filter(Boolean);
  }
}

const field = () => el("input", {
  type: "text", size: "22", autocomplete: "off", spellcheck: "false",
  "aria-describedby": "moments-help",
});

function differences(before, after) {
  const [old, recent] = [values(before), values(after)];
  const names = new Set([...old.keys(), ...recent.keys()]);
  return [...names].filter((name) => old.get(name) !== recent.get(name))
    .map((name) => [name, old.get(name) ?? "-", recent.get(name) ?? "-"]);
}

/** Return what can differ of a task, by name; a collection is one value. */
function values(task) {
  const { as_of, collections, health: { problems: { reasons, ...problems }, ...health }, ...rest } =
    task;
  const found = flat({ ...rest, health: { ...health, problems } });
  for (const each of collections) {
    found.set(`collection ${each.database}.${each.name}`, [
      words(each.state),
      `${each.target_database}.${each.target_name} at the target`,
      each.reason, each.resync_needed,
    ].filter(Boolean).join("; "));
  }
  return found;
}

function flat(value, name = "", found = new Map()) {
  const inside = value !== null && typeof value === "object" ? Object.entries(value) : [];
  if (!inside.length) found.set(name, isEmpty(value) ? "-" : String(value));
  for (const [key, each] of inside) flat(each, name ? `${name}.${key}` : key, found);
  return found;
}

const isEmpty = (value) => value === null || typeof value === "object" || value === "";
