// Parts of experiments with sounds: setting the volume, and checks of the headphones.

import { play } from "../audio.js";
import { element } from "../elements.js";
import { showScreen } from "../screens.js";
import { text } from "../texts.js";
import { check, loading, reading, recorded, soundNode, textElements, unanswered } from "./nodes.js";

const TESTS = {
  antiphase: { introduction: "antiphase_text", question: "antiphase_question" },
  huggins: { introduction: "huggins_text", question: "huggins_question" },
};

const INTERVALS = { form: "grid", choices: ["1", "2", "3"].map((name) => ({ name, label: name, icon: null })) };

export function level(visit) {
  if (!visit.page.level) return [];
  const { item } = visit.page.level;
  const nodes = recorded(visit, "level", (display) => setLevel(display, visit.media.get(visit.media.path(item))), item);
  return nodes.length ? [loading(visit, [{ item }]), ...nodes] : [];
}

/** The noise can be played as often as is wanted; only then can one go on. */
async function setLevel(display, noise) {
  const comfortable = element("button", { type: "button", class: "main", disabled: true }, text("level_set"));
  const again = element("button", { type: "button", class: "other" }, text("level_play"));
  const stopped = new AbortController();
  again.addEventListener("click", async () => {
    again.disabled = true;
    comfortable.disabled = false;
    await play(noise, stopped.signal);
    again.disabled = false;
  });
  const pressed = new Promise((resolve) => comfortable.addEventListener("click", resolve));
  const buttons = element("div", { class: "buttons" }, again, comfortable);
  showScreen(display, text("level_title"), ...textElements("level_text"), buttons);
  await pressed;
  stopped.abort();
  return "comfortable";
}

/** Trials of all tests, numbered on from one to the next. */
export function headphones(visit) {
  let first = 0;
  return (visit.page.headphones ?? []).flatMap(({ test, needed, trials }) => {
    const left = unanswered(visit, "headphones", trials, first);
    const { introduction, question } = TESTS[test];
    const begin = left.length ? [reading("headphones_title", introduction, "start"), loading(visit, left)] : [];
    const nodes = left.map((trial) => soundNode(visit, "headphones", trial, text(question), INTERVALS));
    const end = check(visit, "headphones", first, trials, needed);
    first += trials.length;
    return [...begin, ...nodes, end];
  });
}
