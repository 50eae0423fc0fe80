// Asks the service again and again: once a second at most, and never while nobody looks.

const SECOND_MS = 1000;
const LONGEST_MS = 10_000;

/**
 * Call `turn` until it returns false; after an error more and more seldom.
 *
 * `failed` is told of the error. Returns a function that ends it.
 */
export function follow(turn, failed) {
  let timer = 0;
  let answered = -Infinity;
  let wait = SECOND_MS;
  let busy = false;
  let ended = false;

  async function run() {
    busy = true;
    try {
      if ((await turn()) === false) ended = true;
      wait = SECOND_MS;
    } catch (error) {
      wait = Math.min(2 * wait, LONGEST_MS);
      if (!ended) failed(error);
    }
    busy = false;
    // From the end: a service that is slow is asked more seldom.
    answered = performance.now();
    plan();
  }

  function plan() {
    clearTimeout(timer);
    if (busy || ended || document.hidden) return;
    timer = setTimeout(run, Math.max(0, answered + wait - performance.now()));
  }

  document.addEventListener("visibilitychange", plan);
  plan();
  return () => {
    ended = true;
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", plan);
  };
}
