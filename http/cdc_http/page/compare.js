// Whether source and target hold the same: the newest comparison of a task.

import * as actions from "./actions.js";
import { ApiError, ask } from "./api.js";
import { Badge } from "./badge.js";
import { Rows, el, setAttribute, setText, showText } from "./dom.js";
import { count, plural, time } from "./format.js";

const LEAST_MS = 2000; // Between two looks at one that runs.
const IDLE_MS = 15_000; // Where none runs: somebody else may have begun one.
const SHOWN = 20; // Collections that are not equal, by name.
const DIFFERENCES = {
  missing: "missing at the target", extra: "at the target alone", different: "of other content",
  uneven: "copies too many or too few", unsettled: "not settled, may be on their way",
};

/** The comparison of one task. `run` asks before something is done. */
export class Comparison {
  #id;
  #shown = null;
  #last = null;
  #asked = -Infinity;
  #badge = new Badge();
  #said = el("p", { class: "reason" });
  #bar = el("progress", { max: 1, "aria-label": "Compared so far" });
  #list = el("ul", { class: "reasons" });
  #rows = new Rows(this.#list, (each) => each, (each) => ({ node: el("li", {}, each), update() {} }));
  #when = el("p", { class: "since" });
  #button;

  constructor(id, run) {
    this.#id = id;
    this.#button = el("button", { type: "button", hidden: true, click: () => run(
      (task) => (this.#runs ? actions.cancelComparison : actions.compare)(task)) }, "Compare");
    this.node = el("div", {}, this.#badge.node, this.#said, this.#bar, this.#list, this.#when,
      this.#button);
    this.#show(null);
  }

  get #runs() {
    return this.#shown !== null && this.#shown.ended === null;
  }

  /** Ask for it if it moves, or something has happened to the task. */
  async refresh(lastEvent, mayCompare) {
    setAttribute(this.#button, "hidden", !mayCompare);
    const isNew = lastEvent !== this.#last || this.#runs;
    if (performance.now() - this.#asked < (isNew ? LEAST_MS : IDLE_MS)) return;
    this.#asked = performance.now();
    this.#show(await this.#newest());
    this.#last = lastEvent;
  }

  /** Have it asked for at the next look. */
  renew() {
    this.#last = null;
    this.#asked = -Infinity;
  }

  async #newest() {
    try {
      const found = await ask("comparison", { task_id: this.#id, details: false });
      const isPlain = found.ended === null || found.status === "equal";
      return isPlain ? found : await ask("comparison", { task_id: this.#id });
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return null;
      throw error;
    }
  }

  #show(found) {
    this.#shown = found;
    setAttribute(this.#badge.node, "hidden", !found);
    if (found) this.#badge.showOutcome(found.status);
    setText(this.#said, found ? said(found) : "They have not been compared yet.");
    setAttribute(this.#bar, "hidden", !this.#runs);
    if (this.#runs) this.#bar.value = share(found);
    this.#rows.show(found ? unequal(found.reports) : []);
    showText(this.#when, found && `Began ${time(found.began)}${found.ended ? `, ended ${time(found.ended)}` : ""}`);
    setText(this.#button, this.#runs ? "Cancel the comparison" : "Compare");
  }
}

/** Return how much of a comparison is done, from 0 to 1. */
function share({ collections, collections_done, collection_rows, collection_rows_expected }) {
  const part = collection_rows_expected ? collection_rows / collection_rows_expected : 0;
  return (collections_done + Math.min(1, part)) / Math.max(1, collections);
}

function said(found) {
  const { counts, collections, collections_done, error } = found;
  if (found.ended === null) {
    const at = found.collection ? `, ${found.collection}: ${plural(found.collection_rows, "row")}` : "";
    return `${count(collections_done)} of ${plural(collections, "collection")}${at}${error ? `; ${error}` : ""}`;
  }
  const differ = differences((kind) => counts[kind]);
  const repaired = counts.repaired ? [`${plural(counts.repaired, "row")} repaired`] : [];
  const all = `${plural(collections_done, "collection")}, ${plural(counts.rows, "row")}`;
  return [error ?? all, ...differ, ...repaired].join("; ");
}

/** Return how many rows differ in which ways, in words. */
function differences(countOf) {
  return Object.entries(DIFFERENCES).filter(([kind]) => countOf(kind))
    .map(([kind, words]) => `${plural(countOf(kind), "row")} ${words}`);
}

function unequal(reports) {
  const some = reports.filter(({ verdict }) => verdict !== "equal").map((each) => {
    const rows = differences((kind) => each[kind].count ?? each[kind]);
    const words = [...rows, ...each.findings.map(({ text }) => text), ...each.notes].join("; ");
    return `${each.database}.${each.name} is ${each.verdict}${words ? `: ${words}` : ""}`;
  });
  const more = some.length - SHOWN;
  return more > 0 ? [...some.slice(0, SHOWN), `and ${plural(more, "more collection")}`] : some;
}
