// The collections of a task: those in trouble first, filtered, a page at a time.

import { Badge } from "./badge.js";
import { Rows, el, setAttribute, setText } from "./dom.js";
import { plural, seconds, words } from "./format.js";

const PAGE = 25;
// c2 comes before c10.
const NAMES = new Intl.Collator("en", { numeric: true });
const ORDER = ["set_aside", "retrying", "snapshot", "creating", "dropping", "live"];

const name = (each) => `${each.database}.${each.name}`;

/** Return collections with those in trouble first. */
function sorted(collections) {
  const place = (each) => (each.resync_needed ? -1 : ORDER.indexOf(each.state));
  return collections.toSorted((a, b) => place(a) - place(b) || NAMES.compare(name(a), name(b)));
}

/** A table of collections with a filter and pages. */
export class Collections {
  #all = [];
  #first = 0;
  #body = el("tbody", { role: "rowgroup" });
  #rows;
  #search = el("input", { type: "search", input: () => this.#from(0) });
  #state = el("select", { change: () => this.#from(0) }, el("option", { value: "" }, "any state"),
    ...ORDER.map((state) => el("option", { value: state }, words(state))));
  #told = el("p", { class: "told", role: "status" });
  #previous = el("button", { type: "button", click: () => this.#from(this.#first - PAGE) },
    "Previous");
  #next = el("button", { type: "button", click: () => this.#from(this.#first + PAGE) }, "Next");
  #table;

  /** `retry` is called with a collection, `mayRetry` tells whether there are buttons. */
  constructor(mayRetry = () => false, retry = () => {}) {
    // Ids alone are not exact in JavaScript: those of two made in one moment look the same.
    this.#rows = new Rows(this.#body, (each) => `${name(each)} ${each.collection_id}`,
      () => new CollectionRow(mayRetry, retry));
    const columns = ["State", "Collection", "At the target", "Why"];
    this.#table = el("table", { role: "table", "aria-label": "Collections" },
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" },
        ...columns.map((each) => el("th", { role: "columnheader", scope: "col" }, each)))),
      this.#body);
    this.node = el("div", {},
      el("div", { class: "tools" },
        el("label", {}, "Filter ", this.#search), el("label", {}, "State ", this.#state)),
      this.#table,
      el("div", { class: "pager" }, this.#previous, this.#next, this.#told));
  }

  /** Show the collections that `get` returned. */
  show(collections) {
    this.#all = sorted(collections);
    this.#draw();
  }

  #from(first) {
    this.#first = Math.max(0, first);
    this.#draw();
  }

  #draw() {
    const text = this.#search.value.trim().toLowerCase();
    const found = this.#all.filter((each) =>
      (!this.#state.value || each.state === this.#state.value) && matches(each, text));
    this.#first = Math.min(this.#first, Math.max(0, PAGE * Math.floor((found.length - 1) / PAGE)));
    const shown = found.slice(this.#first, this.#first + PAGE);
    this.#rows.show(shown);
    setAttribute(this.#table, "hidden", !shown.length);
    // Not hidden one by one: who has come to the end keeps the focus.
    setAttribute(this.#previous.parentNode, "data-pages", found.length > PAGE ? "many" : "one");
    setAttribute(this.#previous, "aria-disabled", String(this.#first === 0));
    setAttribute(this.#next, "aria-disabled", String(this.#first + PAGE >= found.length));
    setText(this.#told, this.#count(found.length, shown.length));
  }

  #count(found, shown) {
    if (!this.#all.length) return "There are no collections yet.";
    const all = plural(this.#all.length, "collection");
    if (!found) return `None of ${all} is like this.`;
    const range = `${this.#first + 1} to ${this.#first + shown}`;
    return found === this.#all.length ? `${range} of ${all}` : `${range} of ${found}, of ${all}`;
  }
}

const matches = (each, text) => `${name(each)} ${each.reason ?? ""}`.toLowerCase().includes(text);

/** Return how far the rows are that come from the source's files. */
function progress({ bytes, total_bytes: total, rows, eta_seconds: left }) {
  if (!total) return "the source's files are looked for";
  const rest = left === null ? "" : `, ${seconds(left)} left`;
  return `${Math.floor((100 * bytes) / total)} % of the source's files, ${plural(rows, "row")} sent${rest}`;
}

class CollectionRow {
  #badge = new Badge();
  #name = el("span", { class: "name" });
  #target = el("span", { class: "name" });
  #why = el("span", { class: "why" });
  #button;
  #mayRetry;
  #shown = null;

  constructor(mayRetry, retry) {
    this.#mayRetry = mayRetry;
    this.#button = el("button", { type: "button", hidden: true, click: () => retry(this.#shown) },
      "Retry");
    const cells = [
      ["State", this.#badge.node], ["Collection", this.#name],
      ["At the target", this.#target], ["Why", this.#why, this.#button],
    ];
    this.node = el("tr", { role: "row" }, ...cells.map(([column, ...content]) =>
      el("td", { role: "cell", "data-column": column }, ...content)));
  }

  update(each) {
    this.#shown = each;
    const source = name(each);
    const target = `${each.target_database}.${each.target_name}`;
    this.#badge.showState(each.state);
    setText(this.#name, source);
    setText(this.#target, target === source ? "same name" : target);
    const told = [each.reason, each.resync_needed, each.snapshot && progress(each.snapshot)];
    setText(this.#why, told.filter(Boolean).join("; "));
    setAttribute(this.#button, "hidden", !(each.state === "set_aside" && this.#mayRetry()));
    setAttribute(this.#button, "aria-label", `Retry ${source}`);
  }
}
