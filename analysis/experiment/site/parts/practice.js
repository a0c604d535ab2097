// Practice: trials with feedback, then trials without, of which enough must be right.

import { element, sleep } from "../elements.js";
import { text } from "../texts.js";
import { check, loading, reading, screen, trialNode, unanswered } from "./nodes.js";

const FEEDBACK_MS = 1500;

export function practice(visit) {
  const { feedback, free, needed } = visit.page.practice;
  const told = unanswered(visit, "practice", feedback, 0);
  const untold = unanswered(visit, "practice", free, feedback.length);
  const nodes = [];
  if (told.length + untold.length) nodes.push(loading(visit, [...told, ...untold]));
  if (told.length) nodes.push(reading("practice_title", "practice_feedback_text", "start"));
  nodes.push(...told.flatMap((trial) => [practiceTrial(visit, trial), feedbackOn(visit, trial)]));
  if (untold.length) nodes.push(reading("practice_title", "practice_free_text", "start"));
  nodes.push(...untold.map((trial) => practiceTrial(visit, trial)));
  return [...nodes, check(visit, "practice", feedback.length, free, needed)];
}

function practiceTrial(visit, trial) {
  const { timing } = visit.page;
  const [fixation, signal, mask] = timing.practice;
  const durations = trial.number < timing.slow_practice ? { fixation, signal, mask } : timing;
  return trialNode(visit, "practice", trial, durations);
}

function feedbackOn(visit, { number, answer }) {
  return screen((display) => {
    const { label } = visit.page.answers.choices.find(({ name }) => name === answer);
    const isRight = visit.answerTo("practice", number) === answer;
    const words = isRight ? text("right") : text("wrong", { answer: label });
    display.replaceChildren(element("p", { class: `feedback ${isRight ? "right" : "wrong"}`, role: "status" }, words));
    return sleep(FEEDBACK_MS);
  });
}
