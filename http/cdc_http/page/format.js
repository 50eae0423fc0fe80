// Values of the API in words. Times are in UTC, as in the logs and on the command line.

const NUMBERS = new Intl.NumberFormat("en");

/** The statuses of health, the worst first, and what each means. */
export const STATUSES = {
  failed: ["Failed", "✕", "It has stopped, and does not go on by itself."],
  paused: ["Paused", "‖", "Somebody has paused it. Nothing is written to the target."],
  retrying: ["Retrying", "↻", "Nothing moves. It is tried again by itself."],
  stalled: ["Stalled", "■", "It runs, but nothing new has been confirmed for a while."],
  degraded: ["Degraded", "◆", "A part of it does not move or lacks something; the rest goes on."],
  catching_up: ["Catching up", "◔", "All of it moves, and is not there yet."],
  starting: ["Starting", "○", "It has begun, and nothing is known yet."],
  unknown: ["Unknown", "?", "The history does not tell how well it ran."],
  ok: ["OK", "●", "All of it moves, and the target has what the source has."],
};
const SEVERITY = Object.keys(STATUSES);

/** Return how bad a status is, 0 for the worst. */
export const severity = (status) => SEVERITY.indexOf(status);

/** Return a number with separators, `unknown` for null. */
export const count = (number) => (number === null ? "unknown" : NUMBERS.format(number));

/** Return "1 thing" or "2 things". */
export const plural = (number, word) => `${count(number)} ${word}${number === 1 ? "" : "s"}`;

/** Return seconds as people say them; null is unknown, never 0. */
export function seconds(value) {
  if (value === null || value === undefined) return "unknown";
  if (value < 9.95) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  if (whole < 120) return `${whole} s`;
  if (whole < 7200) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 2880) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

/** Return a time to the second. */
export function time(value) {
  const [day, rest] = new Date(value).toISOString().split("T");
  return `${day} ${rest.slice(0, 8)} UTC`;
}

/** Return the time of day. */
export const clock = (value) => `${new Date(value).toISOString().slice(11, 19)} UTC`;

/** Return a state of a collection in words. */
export const words = (name) => name.replaceAll("_", " ");

/** Return why a task is as it is, in one sentence; empty if there is nothing to say. */
export function why(task) {
  const { health } = task;
  const said = health.error ?? task.reason ?? health.problems.reasons[0] ?? health.warnings[0];
  const next = health.next_try ? ` (tried again at ${clock(health.next_try)})` : "";
  return said ? `${said}${next}` : "";
}
