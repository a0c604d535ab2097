// Screens with words and buttons, which jsPsych shows between trials.

import { unlock } from "./audio.js";
import { element } from "./elements.js";

const { FUNCTION } = jsPsychModule.ParameterType;

/** A jsPsych plugin for anything but trials: show(display) resolves when it is over. */
export class Screen {
  static info = { name: "metamery-screen", version: "1", parameters: { show: { type: FUNCTION } }, data: {} };

  trial(display, { show }) {
    return Promise.resolve(show(display)).then((answer) => ({ answer: answer ?? "" }));
  }
}

/** A screen with a title, content, and a button for each {name: label}; resolves with the name of the one pressed. */
export function askByButtons(display, title, content, buttons) {
  return new Promise((resolve) => {
    const press = (name) => () => {
      unlock();
      resolve(name);
    };
    const row = Object.entries(buttons).map(([name, label], index) =>
      element("button", { type: "button", class: index ? "other" : "main", onclick: press(name) }, label),
    );
    showScreen(display, title, ...content, element("div", { class: "buttons" }, ...row));
  });
}

/** Replace what is shown; the title gets the focus, so that it is read out and Tab goes on from it. */
export function showScreen(display, title, ...content) {
  const heading = element("h1", { tabindex: -1 }, title);
  display.replaceChildren(element("section", { class: "screen" }, heading, ...content));
  window.scrollTo(0, 0);
  heading.focus();
}

export function paragraphElements(lines) {
  return lines.map((line) => element("p", {}, line));
}
