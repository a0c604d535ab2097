// The experiment: reads what it is, opens a visit, runs jsPsych's timeline, and ends the visit.

import { addressParameters, browserFacts, identifiersOf, newIdentifier, onlyTab } from "./browser.js";
import { element } from "./elements.js";
import { endVisit, showEnd } from "./ending.js";
import { Media } from "./media.js";
import { Refused } from "./save/refused.js";
import { Store } from "./store.js";
import { text, useTexts } from "./texts.js";
import { timelineOf } from "./timeline.js";
import { Visit } from "./visit.js";

const display = document.querySelector("#page");
const statusLine = document.querySelector("#status");

const status = {
  show: (words) => (statusLine.textContent = words),
  clear: () => (statusLine.textContent = ""),
};

async function run() {
  const identifiers = identifiersOf(addressParameters());
  const page = await readJson("experiment.json");
  useTexts(page.texts);
  await onlyTab(page.experiment, () => say(text("other_tab")));
  const store = new Store(page.experiment);
  if (store.visit && !isSamePerson(store.visit.identifiers, identifiers)) store.forget();
  if (store.visit?.ended) return showEnd(display, store.visit.ended, anotherParticipant(store, identifiers));
  const visit = await open(page, store, identifiers);
  const jsPsych = initJsPsych({ display_element: display, on_trial_start: () => (display.tabIndex = -1) });
  display.replaceChildren();
  await jsPsych.run(timelineOf(visit));
  return endVisit(display, visit);
}

async function open(page, store, identifiers) {
  say(text("loading"));
  const { Saving } = await import(`./save/${page.saving.to}.js`);
  const browser = await browserFacts();
  const saving = new Saving({ page, store, identifiers, browser, status, tab: newIdentifier() });
  const { list, answered } = await saving.open(say);
  const { blocks, alternatives = {} } = await readJson(`lists/${list}.json`);
  page.answers.choices.forEach(({ icon }) => icon && (new Image().src = icon)); // in the cache when they are needed
  return new Visit({ page, blocks, alternatives, answered, saving, store, media: new Media(page.kind, page.media) });
}

function isSamePerson(known, given) {
  return Object.entries(given).every(([name, value]) => known?.[name] === value);
}

/** On a laboratory's computer the next participant begins here; one who was recruited has an address of their own. */
function anotherParticipant(store, identifiers) {
  if (Object.keys(identifiers).length) return "";
  const begin = () => {
    store.forget();
    location.reload();
  };
  return element("button", { type: "button", class: "other", onclick: begin }, text("another_participant"));
}

async function readJson(path) {
  const response = await fetch(path, { cache: "no-cache" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

function say(words) {
  display.replaceChildren(element("p", { class: "message", role: "status" }, words));
}

run().catch((error) => {
  if (error instanceof Refused) return say(error.message);
  say(document.body.dataset.failed);
  throw error;
});
