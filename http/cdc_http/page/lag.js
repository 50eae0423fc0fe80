// The lag of every task over the last hour, as the service has sampled it.

import { ask } from "./api.js";

const HOUR_MS = 3_600_000;

/** Samples of all tasks, which are asked for when there should be a new one. */
export class Lag {
  #since = null;
  #last = 0;
  #due = 0;
  #now = 0;
  #points = new Map();

  /** When the service began to sample; null while unknown. */
  get since() {
    return this.#since;
  }

  /** Which samples are known: another number after each that came. */
  get last() {
    return this.#last;
  }

  /** When the newest sample was taken, by the service's clock. */
  get now() {
    return this.#now;
  }

  /** Return `[milliseconds since 1970, seconds or null]` of a task, the oldest first. */
  of(taskId) {
    return this.#points.get(taskId) ?? [];
  }

  /** Ask for new samples if there may be some. */
  async refresh() {
    if (performance.now() < this.#due) return;
    const told = await ask("lag_samples", { after: this.#last });
    this.#due = performance.now() + 1000 * told.every_seconds;
    const restarted = this.#since !== null && this.#since !== told.since;
    this.#since = told.since;
    if (restarted) {
      // Another process counts anew, and knows nothing of what was before.
      this.#points.clear();
      this.#last = 0;
      this.#due = 0;
      return;
    }
    this.#add(told);
  }

  #add(told) {
    // Who has answered last may know less than another before.
    if (told.last <= this.#last) return;
    this.#last = told.last;
    const times = told.times.map((text) => Date.parse(text));
    this.#now = times.at(-1);
    for (const [task, lags] of Object.entries(told.lag_seconds)) {
      const points = this.#points.get(task) ?? [];
      points.push(...lags.map((lag, index) => [times[index], lag]));
      this.#points.set(task, points.filter(([at]) => at >= this.#now - HOUR_MS));
    }
  }
}
