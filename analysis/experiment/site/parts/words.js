// Parts that are read or filled in: consent, instructions, survey and debriefing.

import { element } from "../elements.js";
import { askByButtons, paragraphElements } from "../screens.js";
import { askBySurvey } from "../survey.js";
import { text } from "../texts.js";
import { recorded, screen, textElements, unanswered } from "./nodes.js";

export function consent(visit) {
  if (visit.answerTo("consent", 0) === "disagree") visit.ended = "consent";
  return recorded(visit, "consent", async (display) => {
    const content = paragraphElements(visit.page.consent);
    const buttons = { agree: text("agree"), disagree: text("disagree") };
    const answer = await askByButtons(display, text("consent_title"), content, buttons);
    if (answer === "disagree") visit.ended = "consent";
    return answer;
  });
}

export function instructions(visit) {
  const { kind, answers } = visit.page;
  return recorded(visit, "instructions", (display) => {
    const content = textElements(kind === "sound" ? "instructions_sound" : "instructions_picture");
    if (answers.form === "grid") content.push(...textElements("instructions_grid"), legend(answers.choices));
    else content.push(...textElements("instructions_typed"));
    content.push(fullscreenButton());
    return askByButtons(display, text("instructions_title"), content, { read: text("start") });
  });
}

export function survey(visit) {
  const questions = unanswered(visit, "survey", visit.page.survey ?? [], 0);
  if (!questions.length) return [];
  const show = async (display) => {
    const answers = await askBySurvey(display, questions);
    const at_ms = performance.now();
    questions.forEach(({ number }, index) => visit.record("survey", number, { answer: answers[index], at_ms }));
  };
  return [screen(show)];
}

export function debriefing(visit) {
  return recorded(visit, "debriefing", (display) =>
    askByButtons(display, text("debriefing_title"), textElements("debriefing_text"), { read: text("finish") }),
  );
}

/** The categories to study: each icon with its word. */
function legend(choices) {
  const entries = choices.map(({ label, icon }) =>
    element("li", {}, icon && element("img", { src: icon, alt: "" }), label),
  );
  return element("ul", { class: "legend" }, ...entries);
}

function fullscreenButton() {
  if (!document.fullscreenEnabled) return null;
  const toggle = () =>
    document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen();
  return element("button", { type: "button", class: "other", onclick: toggle }, text("fullscreen"));
}
