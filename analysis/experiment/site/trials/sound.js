// Trial with a sound, as a jsPsych plugin: a pause, the sound once, then the question.

import { play } from "../audio.js";
import { element } from "../elements.js";
import { text } from "../texts.js";
import { frameFrom } from "./frames.js";
import { watchHidden } from "./hidden.js";

const { FUNCTION } = jsPsychModule.ParameterType;

export class SoundTrial {
  static info = {
    name: "metamery-sound",
    version: "1",
    parameters: {
      sound: { type: FUNCTION }, // returns the decoded sound
      ask: { type: FUNCTION }, // of the display; resolves with {answer, time}
    },
    data: {},
  };

  async trial(display, { sound, ask }) {
    const wasHidden = watchHidden();
    display.replaceChildren(element("p", { class: "listen" }, text("listen")));
    const shown = await play(sound());
    display.replaceChildren();
    const asked = await frameFrom(0);
    const { answer, time } = await ask(display);
    return { answer, rt_ms: time - asked, shown_ms: shown, at_ms: time, hidden: wasHidden() };
  }
}
