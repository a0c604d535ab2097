// The parts of the experiment, each a list of nodes of jsPsych's timeline.

import { play } from "./audio.js";
import { askByGrid } from "./answers/grid.js";
import { askByTyping } from "./answers/typed.js";
import { element, sleep } from "./elements.js";
import { loadScreen } from "./loading.js";
import { hideProgress, showProgress } from "./progress.js";
import { askByButtons, paragraphElements, Screen, showScreen } from "./screens.js";
import { askBySurvey } from "./survey.js";
import { paragraphs, text } from "./texts.js";
import { PictureTrial } from "./trials/picture.js";
import { SoundTrial } from "./trials/sound.js";

const FEEDBACK_MS = 1500;

const PARTS = { consent, instructions, level, headphones, practice, main, survey, debriefing };

/** The whole timeline: parts that are on, without what is answered, as long as the visit has not ended. */
export function timelineOf(visit) {
  const parts = Object.entries(PARTS).filter(([name]) => visit.has(name));
  const nodes = parts.flatMap(([, part]) => part(visit));
  const welcome = visit.resumed || !(visit.has("consent") || visit.has("instructions")) ? [welcomeScreen(visit)] : [];
  return [...welcome, ...nodes].map((node) => ({ timeline: [node], conditional_function: () => visit.ended === null }));
}

function screen(show) {
  return { type: Screen, show };
}

/** A screen whose answer is the part's only record. */
function recorded(visit, part, show) {
  if (visit.isAnswered(part, 0)) return [];
  return [{ ...screen(show), on_finish: (data) => visit.record(part, 0, { ...data, at_ms: performance.now() }) }];
}

function welcomeScreen(visit) {
  const [title, key] = visit.resumed ? ["welcome_back", "welcome_back_text"] : ["welcome", "welcome_text"];
  const content = () => paragraphElements(paragraphs(key));
  return screen((display) => askByButtons(display, text(title), content(), { on: text("continue") }));
}

function consent(visit) {
  if (visit.answerTo("consent", 0) === "disagree") visit.ended = "consent";
  return recorded(visit, "consent", async (display) => {
    const content = paragraphElements(visit.page.consent);
    const buttons = { agree: text("agree"), disagree: text("disagree") };
    const answer = await askByButtons(display, text("consent_title"), content, buttons);
    if (answer === "disagree") visit.ended = "consent";
    return answer;
  });
}

function instructions(visit) {
  const { kind, answers } = visit.page;
  return recorded(visit, "instructions", async (display) => {
    const content = paragraphElements(paragraphs(kind === "sound" ? "instructions_sound" : "instructions_picture"));
    if (answers.form === "grid") content.push(element("p", {}, text("instructions_grid")), legend(answers.choices));
    else content.push(element("p", {}, text("instructions_typed")));
    content.push(fullscreenButton());
    await askByButtons(display, text("instructions_title"), content, { read: text("start") });
    return "read";
  });
}

/** The categories to study: each icon with its word. */
function legend(choices) {
  const entries = choices.map(({ label, icon }) => element("li", {}, icon && element("img", { src: icon, alt: "" }), label));
  return element("ul", { class: "legend" }, ...entries);
}

function fullscreenButton() {
  if (!document.fullscreenEnabled) return null;
  const toggle = () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen());
  return element("button", { type: "button", class: "other", onclick: toggle }, text("fullscreen"));
}

function level(visit) {
  if (visit.isAnswered("level", 0) || !visit.page.level) return [];
  const { item } = visit.page.level;
  const path = visit.media.path(item);
  const show = async (display) => {
    const set = element("button", { type: "button", class: "main", disabled: true }, text("level_set"));
    const noise = element("button", { type: "button", class: "other" }, text("level_play"));
    const pressed = new Promise((resolve) => set.addEventListener("click", resolve));
    const stopped = new AbortController();
    noise.addEventListener("click", async () => {
      noise.disabled = true;
      set.disabled = false;
      await play(visit.media.get(path), stopped.signal);
      noise.disabled = false;
    });
    const content = paragraphElements(paragraphs("level_text"));
    showScreen(display, text("level_title"), ...content, element("div", { class: "buttons" }, noise, set));
    await pressed;
    stopped.abort();
    return "comfortable";
  };
  const finish = (data) => visit.record("level", 0, { ...data, item, at_ms: performance.now() });
  return [loading(visit, [path]), { ...screen(show), on_finish: finish }];
}

function headphones(visit) {
  const nodes = [];
  let first = 0;
  for (const { test, needed, trials } of visit.page.headphones ?? []) {
    const start = first;
    first += trials.length;
    const left = numbered(trials, start).filter(({ number }) => !visit.isAnswered("headphones", number));
    if (left.length) nodes.push(headphonesIntroduction(test), loading(visit, left.map(({ item }) => visit.media.path(item))));
    nodes.push(...left.map((trial) => headphonesTrial(visit, trial, test)));
    nodes.push(check(visit, "headphones", start, trials, needed));
  }
  return nodes;
}

const HEADPHONES_TEXTS = {
  antiphase: { introduction: "antiphase_text", question: "antiphase_question" },
  huggins: { introduction: "huggins_text", question: "huggins_question" },
};

function headphonesIntroduction(test) {
  return screen((display) => {
    const content = paragraphElements(paragraphs(HEADPHONES_TEXTS[test].introduction));
    return askByButtons(display, text("headphones_title"), content, { on: text("start") });
  });
}

function headphonesTrial(visit, { item, number }, test) {
  const intervals = ["1", "2", "3"].map((name) => ({ name, label: name, icon: null }));
  return {
    type: SoundTrial,
    sound: () => visit.media.get(visit.media.path(item)),
    ask: (display) => {
      display.append(element("h1", { class: "question" }, text(HEADPHONES_TEXTS[test].question)));
      return askByGrid(display, intervals);
    },
    on_finish: (data) => visit.record("headphones", number, { ...data, item }),
  };
}

function practice(visit) {
  const { feedback, free, needed } = visit.page.practice;
  const start = feedback.length;
  const withFeedback = numbered(feedback, 0).filter(({ number }) => !visit.isAnswered("practice", number));
  const without = numbered(free, start).filter(({ number }) => !visit.isAnswered("practice", number));
  const left = [...withFeedback, ...without];
  const introduced = (trials, key) => (trials.length ? [introduction(key)] : []);
  return [
    ...(left.length ? [loading(visit, trialPaths(visit, left.map(({ item }) => item)))] : []),
    ...introduced(withFeedback, "practice_feedback_text"),
    ...withFeedback.flatMap((trial) => [practiceTrial(visit, trial), feedbackOn(visit, trial)]),
    ...introduced(without, "practice_free_text"),
    ...without.map((trial) => practiceTrial(visit, trial)),
    check(visit, "practice", start, free, needed),
  ];
}

function introduction(key) {
  const content = () => paragraphElements(paragraphs(key));
  return screen((display) => askByButtons(display, text("practice_title"), content(), { on: text("start") }));
}

function practiceTrial(visit, { item, number }) {
  const { timing } = visit.page;
  const [fixation, signal, mask] = timing.practice;
  const durations = number < timing.slow_practice ? { fixation, signal, mask } : timing;
  return trialNode(visit, item, number, durations, (data) => visit.record("practice", number, { ...data, item }));
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

function main(visit) {
  const { blocks } = visit;
  const total = blocks.flat().length;
  let first = 0;
  return blocks.flatMap((items, block) => {
    const start = first;
    first += items.length;
    const left = numbered(items.map((item) => ({ item })), start).filter(({ number }) => !visit.isAnswered("main", number));
    if (!left.length) return [];
    const label = text("block_of", { block: block + 1, blocks: blocks.length });
    const paths = trialPaths(visit, left.map(({ item }) => item));
    const trials = left.map(({ item, number }) => ({
      ...trialNode(visit, item, number, visit.page.timing, (data) => {
        visit.record("main", number, { ...data, item });
        showProgress(number + 1, total, label);
      }),
      on_start: () => showProgress(number, total, label),
    }));
    return [
      loading(visit, paths),
      ...(left.length === items.length ? [blockScreen(block, label)] : []), // in mid-block it was said before
      ...trials,
      screen(() => blockDone(visit, items)),
    ];
  });
}

function blockScreen(block, label) {
  const [title, key] = block === 0 ? ["main_title", "main_text"] : ["break_title", "break_text"];
  return screen((display) => {
    const content = [element("p", { class: "block" }, label), ...paragraphElements(paragraphs(key))];
    return askByButtons(display, text(title), content, { on: text("continue") });
  });
}

async function blockDone(visit, items) {
  hideProgress();
  visit.media.drop(items.map((item) => visit.media.path(item)));
  await visit.saving.blockDone();
}

function trialNode(visit, item, number, durations, finish) {
  const { kind, answers, masks } = visit.page;
  const ask = (display) => {
    const question = text(kind === "sound" ? "question_sound" : "question_picture");
    display.append(element("h1", { class: "question" }, question));
    return answers.form === "grid" ? askByGrid(display, answers.choices) : askByTyping(display, answers.choices);
  };
  const file = () => visit.media.get(visit.media.path(item));
  if (kind === "sound") return { type: SoundTrial, sound: file, ask, on_finish: finish };
  const pictures = () => ({ picture: file(), mask: visit.media.get(masks[number % masks.length]) });
  return { type: PictureTrial, pictures, durations, ask, on_finish: finish };
}

/** Files of trials, with the masks. */
function trialPaths(visit, items) {
  return [...items.map((item) => visit.media.path(item)), ...(visit.page.kind === "picture" ? visit.page.masks : [])];
}

function loading(visit, paths) {
  return screen((display) => loadScreen(display, visit.media, paths));
}

/** End the visit if too few trials of a part were answered rightly. */
function check(visit, part, first, trials, needed) {
  return screen(() => {
    if (!visit.passes(part, first, trials, needed)) visit.ended = part;
  });
}

function survey(visit) {
  const questions = visit.page.survey ?? [];
  const left = numbered(questions, 0).filter(({ number }) => !visit.isAnswered("survey", number));
  if (!left.length) return [];
  return [
    screen(async (display) => {
      const answers = await askBySurvey(display, left);
      left.forEach(({ number }, index) => visit.record("survey", number, { answer: answers[index], at_ms: performance.now() }));
    }),
  ];
}

function debriefing(visit) {
  return recorded(visit, "debriefing", async (display) => {
    const content = paragraphElements(visit.page.debriefing ?? paragraphs("debriefing_text"));
    await askByButtons(display, text("debriefing_title"), content, { on: text("finish") });
    return "read";
  });
}

function numbered(trials, first) {
  return trials.map((trial, index) => ({ ...trial, number: first + index }));
}
