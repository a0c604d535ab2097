// Trial with a picture, as a jsPsych plugin: fixation, picture, mask, then the question.

import { element } from "../elements.js";
import { text } from "../texts.js";
import { drawInTurn } from "./frames.js";
import { watchHidden } from "./hidden.js";

const { FUNCTION, OBJECT } = jsPsychModule.ParameterType;
const LEAST_SIDE = 256; // CSS pixels; smaller pictures are enlarged by a whole factor

export class PictureTrial {
  static info = {
    name: "metamery-picture",
    version: "1",
    parameters: {
      pictures: { type: FUNCTION }, // returns {picture, mask}, decoded
      durations: { type: OBJECT }, // {fixation, signal, mask} in ms; 0 leaves out
      ask: { type: FUNCTION }, // of the display; resolves with {answer, time}
    },
    data: {},
  };

  async trial(display, { pictures, durations, ask }) {
    const wasHidden = watchHidden();
    const { picture, mask } = pictures();
    const { canvas, show, cross } = stage(picture);
    document.body.classList.add("stimulus");
    display.replaceChildren(canvas);
    const steps = [
      { name: "fixation", draw: cross },
      { name: "signal", draw: () => show(picture) },
      { name: "mask", draw: () => show(mask) },
    ].map((step) => ({ ...step, duration: durations[step.name] }));
    const shownSteps = steps.filter(({ duration }) => duration > 0);
    const times = await drawInTurn(shownSteps);
    const signal = shownSteps.findIndex(({ name }) => name === "signal");
    display.replaceChildren();
    document.body.classList.remove("stimulus");
    const { answer, time } = await ask(display);
    return {
      answer,
      rt_ms: time - times.at(-1),
      shown_ms: times[signal + 1] - times[signal],
      at_ms: time,
      hidden: wasHidden(),
    };
  }
}

/** A canvas of a picture's size, and what is drawn on it. */
function stage(picture) {
  const { width, height } = picture;
  const canvas = element("canvas", { width, height, class: "picture", role: "img", "aria-label": text("picture") });
  const factor = Math.max(1, Math.floor(LEAST_SIDE / Math.max(width, height)));
  canvas.style.width = `${factor * width}px`;
  const context = canvas.getContext("2d");
  const clear = () => context.clearRect(0, 0, width, height);
  const show = (image) => {
    clear();
    context.drawImage(image, 0, 0, width, height);
  };
  const cross = () => {
    clear();
    const arm = Math.max(2, Math.round(width / 24));
    const thick = Math.max(1, Math.round(arm / 4));
    context.fillStyle = "#000";
    context.fillRect(width / 2 - arm, height / 2 - thick / 2, 2 * arm, thick);
    context.fillRect(width / 2 - thick / 2, height / 2 - arm, thick, 2 * arm);
  };
  return { canvas, show, cross };
}
