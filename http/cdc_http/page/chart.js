// Lines of lags over the last hour. Where the lag was unknown there is a gap.

import { el, setAttribute, setText, svg } from "./dom.js";
import { clock, seconds } from "./format.js";

const HOUR_MS = 3_600_000;
const WIDTH = 600;
const HEIGHT = 100;
const LEAST_SCALE = 5; // Seconds: below that nothing is worth a mountain.

/** A line without axes, for a row of a table. */
export class Sparkline {
  #line = svg("path", { class: "line", "vector-effect": "non-scaling-stroke" });

  constructor() {
    this.node = svg("svg", attributes("spark"), this.#line);
  }

  /** Show these points; `now` is the right end, in milliseconds since 1970. */
  show(points, now) {
    setAttribute(this.#line, "d", path(points, now, scaleOf(points)));
  }
}

/** A line with its scale, what it comes to in words, and each value under the pointer. */
export class Chart {
  #line = svg("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  #cursor = svg("path", { class: "cursor", "vector-effect": "non-scaling-stroke" });
  #top = el("span", { class: "top" });
  #said = el("p", { class: "said" });
  #readout = el("p", { class: "readout", "aria-hidden": "true" }, "\u00a0");
  #points = [];
  #now = 0;

  constructor() {
    const plot = svg("svg", attributes("plot"), this.#line, this.#cursor);
    plot.addEventListener("pointermove", (event) => this.#point(event, plot));
    plot.addEventListener("pointerleave", () => this.#leave());
    this.node = el("div", { class: "chart" },
      el("div", { class: "frame" },
        el("div", { class: "scale", "aria-hidden": "true" }, this.#top, el("span", {}, "0 s")),
        plot,
        el("div", { class: "hours", "aria-hidden": "true" },
          el("span", {}, "an hour ago"), el("span", {}, "30 min"), el("span", {}, "now"))),
      this.#readout,
      this.#said);
  }

  /** Show these points, and since when the service has sampled. */
  show(points, now, since) {
    this.#points = points;
    this.#now = now;
    const scale = scaleOf(points);
    setText(this.#top, seconds(scale));
    setAttribute(this.#line, "d", path(points, now, scale));
    setText(this.#said, said(points, since));
  }

  #point(event, plot) {
    const box = plot.getBoundingClientRect();
    const at = this.#now - HOUR_MS * (1 - (event.clientX - box.left) / box.width);
    const near = this.#points.toSorted((a, b) => Math.abs(a[0] - at) - Math.abs(b[0] - at))[0];
    if (!near) return;
    const x = xOf(near[0], this.#now);
    setAttribute(this.#cursor, "d", `M${x} 0V${HEIGHT}`);
    setText(this.#readout, `${clock(near[0])}: ${seconds(near[1])}`);
  }

  #leave() {
    setAttribute(this.#cursor, "d", null);
    setText(this.#readout, "\u00a0");
  }
}

const attributes = (kind) => ({
  class: kind,
  viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
  preserveAspectRatio: "none",
  "aria-hidden": "true",
});

const xOf = (at, now) => Math.round(10 * WIDTH * (1 - (now - at) / HOUR_MS)) / 10;

function scaleOf(points) {
  return Math.max(LEAST_SCALE, ...points.map(([, lag]) => lag ?? 0));
}

function path(points, now, scale) {
  const parts = [];
  let open = false;
  for (const [at, lag] of points) {
    if (lag === null || now - at > HOUR_MS) {
      open = false;
      continue;
    }
    const y = Math.round(10 * (HEIGHT - 3 - (lag / scale) * (HEIGHT - 6))) / 10;
    parts.push(`${open ? "L" : "M"}${xOf(at, now)} ${y}`);
    // A point alone is seen, too.
    if (!open) parts.push("h0.5");
    open = true;
  }
  return parts.join("");
}

function said(points, since) {
  const known = points.filter(([, lag]) => lag !== null);
  const from = since ? `Sampled since the service started at ${clock(since)}` : "";
  if (!known.length) return `No lag is known of the last hour. ${from}.`;
  const [at, highest] = known.reduce((a, b) => (b[1] > a[1] ? b : a));
  const gaps = points.length - known.length ? "; gaps are times when it was unknown" : "";
  return `Highest in the last hour: ${seconds(highest)} at ${clock(at)}. ${from}${gaps}.`;
}
