// Nodes of jsPsych's timeline that several parts need.

import { askByGrid } from "../answers/grid.js";
import { askByTyping } from "../answers/typed.js";
import { element } from "../elements.js";
import { loadScreen } from "../loading.js";
import { askByButtons, paragraphElements, Screen } from "../screens.js";
import { paragraphs, text } from "../texts.js";
import { PictureTrial } from "../trials/picture.js";
import { SoundTrial } from "../trials/sound.js";

/** A screen; show(display) resolves with what it is answered by, if anything. */
export function screen(show) {
  return { type: Screen, show };
}

/** A screen with a title, a text and one button. */
export function reading(title, key, button, ...more) {
  return screen((display) => {
    const content = [...more.map((words) => element("p", { class: "block" }, words)), ...textElements(key)];
    return askByButtons(display, text(title), content, { on: text(button) });
  });
}

/** A screen whose answer is the only record of its part, unless it is answered already. */
export function recorded(visit, part, show, item = "") {
  if (visit.isAnswered(part, 0)) return [];
  const finish = ({ answer }) => visit.record(part, 0, { item, answer, at_ms: performance.now() });
  return [{ ...screen(show), on_finish: finish }];
}

export function textElements(key) {
  return paragraphElements(paragraphs(key));
}

/** Trials with their number in the part, without those that are answered. */
export function unanswered(visit, part, trials, first) {
  return trials
    .map((trial, index) => ({ ...trial, number: first + index }))
    .filter(({ number }) => !visit.isAnswered(part, number));
}

/** A screen that is there until the files of trials are loaded, with all masks. */
export function loading(visit, trials) {
  const paths = trials.map(({ item }) => visit.media.path(item));
  const masks = visit.page.kind === "picture" ? visit.page.masks : [];
  return screen((display) => loadScreen(display, visit.media, [...paths, ...masks]));
}

/** A trial with a picture or a sound, asked for what was seen or heard. */
export function trialNode(visit, part, trial, durations) {
  const { kind, masks } = visit.page;
  const answers = visit.answersTo(trial.item);
  if (kind === "sound") return soundNode(visit, part, trial, text("question_sound"), answers);
  return {
    type: PictureTrial,
    pictures: () => ({ picture: file(visit, trial), mask: visit.media.get(masks[trial.number % masks.length]) }),
    durations,
    ask: asking(text("question_picture"), answers),
    on_finish: recording(visit, part, trial),
  };
}

/** A trial with a sound and a question about it. */
export function soundNode(visit, part, trial, question, answers) {
  return {
    type: SoundTrial,
    sound: () => file(visit, trial),
    ask: asking(question, answers),
    on_finish: recording(visit, part, trial),
  };
}

function file(visit, { item }) {
  return visit.media.get(visit.media.path(item));
}

function recording(visit, part, { item, number }) {
  return (data) => visit.record(part, number, { ...data, item });
}

/** End the visit if too few trials of a part were answered rightly. */
export function check(visit, part, first, trials, needed) {
  return screen(() => {
    if (!visit.passes(part, first, trials, needed)) visit.ended = part;
  });
}

function asking(question, { form, choices }) {
  const askForAnswer = form === "grid" ? askByGrid : askByTyping;
  return (display) => {
    display.append(element("h1", { class: "question" }, question));
    return askForAnswer(display, choices);
  };
}
