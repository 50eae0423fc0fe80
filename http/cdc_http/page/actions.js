// What an operator can have done to a task; each says before what it will do.

import { ApiError, ask } from "./api.js";
import { el, setAttribute, showText } from "./dom.js";
import { plural } from "./format.js";

const SHOWN_NAMES = 10;

/** Ask before a task is paused. */
export const pause = (task) => confirmed({
  title: "Pause this task?",
  text: [
    `Nothing more is written to ${task.uri} until somebody resumes the task. It then goes on ` +
      "from where it stopped, and loses nothing.",
    "Meanwhile the source's message queue must keep what is written. If the pause is longer " +
      "than its retention (3 days is the default of natsmq and RocksMQ), the task cannot go on.",
  ],
  verb: "Pause",
  done: "The task is paused.",
  request: () => ask("pause", { task_id: task.task_id }),
});

/** Ask before a task is resumed. */
export const resume = (task) => confirmed({
  title: "Resume this task?",
  text: [
    `It writes to ${task.uri} again, from where it stopped: first what was written to the ` +
      "source since then. Until that has arrived it shows as catching up.",
    "Collections that are set aside are tried again, too.",
  ],
  verb: "Resume",
  done: "The task is resumed.",
  request: () => ask("resume", { task_id: task.task_id }),
});

/** Ask before collections that are set aside are taken up again. */
export const retry = (task, collections) => confirmed({
  title: `Take up ${plural(collections.length, "collection")} again?`,
  text: [
    "Each goes on from where it stood, and the others are not touched. One whose reason is " +
      "still there is set aside again.",
    ...(task.state === "Paused" ? ["The task is paused: it begins once it is resumed."] : []),
  ],
  names: collections.map(({ database, name }) => `${database}.${name}`),
  verb: "Retry",
  done: `${plural(collections.length, "collection")} will be taken up again.`,
  request: () => ask("retry", { task_id: task.task_id, db_collections: byDatabase(collections) }),
});

/** Ask before both sides are compared. */
export const compare = (task) => confirmed({
  title: "Compare both sides?",
  text: [
    `The service reads every row of the source and of ${task.uri}, which costs both of them. ` +
      "It writes nothing, and the task goes on meanwhile.",
    "It goes on when this page is closed. What differs is repaired by " +
      "`cdc-actors compare TASK --repair`.",
  ],
  verb: "Compare",
  done: "The comparison has begun.",
  request: () => ask("compare", { task_id: task.task_id }),
});

/** Ask before a comparison is ended. */
export const cancelComparison = (task) => confirmed({
  title: "Cancel the comparison?",
  text: ["It ends without a result, and another one begins from the start."],
  verb: "End it",
  done: "The comparison is cancelled.",
  request: () => ask("cancel_comparison", { task_id: task.task_id }),
});

/** Ask before operations that were not done are accepted. */
export const acknowledge = (task) => confirmed({
  title: "Accept what was not done?",
  text: [
    "The operations that the target refused are not done by this, nor tried again. They stay " +
      "in the history, and the task is no longer called degraded for them.",
  ],
  verb: "Accept",
  done: "They are accepted as not done.",
  request: () => ask("acknowledge", { task_id: task.task_id }),
});

/** Ask before a task is deleted. */
export const remove = (task) => confirmed({
  title: "Delete this task?",
  text: [
    "It ends for good and cannot be resumed: where it stood is forgotten.",
    `${task.uri} keeps all collections and rows that it has, and gets nothing more. Other ` +
      "tasks may write to those collections afterwards. The history of this task stays.",
  ],
  verb: "Delete",
  danger: true,
  done: `The task ${task.task_id} is deleted.`,
  request: () => ask("delete", { task_id: task.task_id }),
});

function byDatabase(collections) {
  const found = {};
  for (const { database, name } of collections) (found[database] ??= []).push({ name });
  return found;
}

/** Show a dialog; resolve with what was done in words, or null if it was not. */
function confirmed({ title, text, names = [], verb, danger = false, done, request }) {
  const failure = el("p", { class: "banner bad", role: "alert", hidden: true });
  const cancel = el("button", { type: "button", autofocus: true }, "Cancel");
  const confirm = el("button", { type: "button", class: danger ? "danger" : "primary" }, verb);
  const dialog = el("dialog", { "aria-labelledby": "asked", "aria-describedby": "told" },
    el("h2", { id: "asked" }, title),
    el("div", { id: "told" },
      ...text.map((each) => el("p", {}, each)),
      names.length ? el("ul", {}, ...shown(names).map((name) => el("li", {}, name))) : null),
    failure,
    el("div", { class: "buttons" }, cancel, confirm));
  document.body.append(dialog);
  return new Promise((resolve) => {
    let asked = Promise.resolve(null);
    async function attempt() {
      setAttribute(confirm, "disabled", true);
      showText(failure, null);
      try {
        const { warnings = [] } = await request();
        dialog.close();
        return [done, ...warnings.map((each) => `${each}.`)].join(" ");
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        const words = `${outcome(error)} ${error.message}`;
        showText(failure, words);
        setAttribute(confirm, "disabled", false);
        return dialog.open ? null : words;
      }
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      // What is asked for already is done all the same, and then said.
      resolve(asked);
    });
    cancel.addEventListener("click", () => dialog.close());
    confirm.addEventListener("click", () => {
      asked = attempt();
    });
    dialog.showModal();
  });
}

/** Return what became of a request that failed; one without an answer may be done. */
function outcome({ status }) {
  if (status === 0) return "Whether it was done will be seen.";
  return status < 500 ? "It was not done." : "It may not have been done.";
}

function shown(names) {
  const more = names.length - SHOWN_NAMES;
  return more > 0 ? [...names.slice(0, SHOWN_NAMES), `and ${more} more`] : names;
}
