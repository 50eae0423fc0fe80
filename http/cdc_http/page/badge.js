// The health of a task or the state of a collection: a shape, a colour and a word.

import { el, setAttribute, setText } from "./dom.js";
import { STATUSES, words } from "./format.js";

const STATES = {
  live: ["ok", "●"],
  creating: ["starting", "○"],
  dropping: ["starting", "○"],
  snapshot: ["catching_up", "◐"],
  retrying: ["retrying", "↻"],
  set_aside: ["degraded", "◆"],
};

const OUTCOMES = {
  running: ["catching_up", "◔", "Running"],
  equal: ["ok", "●", "Equal"],
  different: ["failed", "≠", "Different"],
  undecided: ["degraded", "?", "Undecided"],
  cancelled: ["paused", "‖", "Cancelled"],
  failed: ["failed", "✕", "Failed"],
};

/** A word with a shape before it, so that no colour says anything alone. */
export class Badge {
  #glyph = el("span", { class: "glyph", "aria-hidden": "true" });
  #text = el("span");

  constructor() {
    this.node = el("span", { class: "badge" }, this.#glyph, this.#text);
  }

  /** Show the status of a task's health. */
  show(status) {
    const [name, glyph] = STATUSES[status] ?? [words(status), "?"];
    this.#set(status, glyph, name);
  }

  /** Show the state of a collection. */
  showState(state) {
    const [kind, glyph] = STATES[state] ?? ["unknown", "?"];
    this.#set(kind, glyph, words(state));
  }

  /** Show what a comparison came to. */
  showOutcome(status) {
    this.#set(...(OUTCOMES[status] ?? ["unknown", "?", words(status)]));
  }

  #set(kind, glyph, name) {
    setAttribute(this.node, "class", `badge ${kind}`);
    setText(this.#glyph, glyph);
    setText(this.#text, name);
  }
}
