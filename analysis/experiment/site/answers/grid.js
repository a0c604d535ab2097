// Answers as a grid of buttons, each with its icon and word: by mouse, touch, Tab, or arrows and Enter.

import { element } from "../elements.js";
import { text } from "../texts.js";

/** Show the choices; resolve with {answer, time} of the one that is taken, time on the clock of events. */
export function askByGrid(display, choices) {
  const columns = choices.length <= 3 ? choices.length : Math.ceil(Math.sqrt(choices.length));
  return new Promise((resolve) => {
    const buttons = choices.map(({ name, label, icon }) =>
      element(
        "button",
        { type: "button", class: "choice", onclick: (event) => resolve({ answer: name, time: event.timeStamp }) },
        icon && element("img", { src: icon, alt: "" }),
        element("span", {}, label),
      ),
    );
    const grid = element(
      "div",
      { class: "choices", role: "group", "aria-label": text("choose"), tabindex: -1 },
      ...buttons,
    );
    grid.style.setProperty("--columns", columns);
    grid.style.setProperty("--narrow-columns", Math.min(columns, 4));
    grid.addEventListener("keydown", (event) => move(event, buttons));
    display.append(grid);
    grid.focus({ preventScroll: true });
  });
}

/** Move the focus by an arrow key, as far as there are buttons; the first key goes to the first button. */
function move(event, buttons) {
  if (event.key === "Enter" && event.repeat) return event.preventDefault(); // a key that is held is one answer
  const columns = buttons.filter((button) => button.offsetTop === buttons[0].offsetTop).length;
  const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns }[event.key];
  if (step === undefined) return undefined;
  event.preventDefault();
  const current = buttons.indexOf(document.activeElement);
  return buttons[current < 0 ? 0 : current + step]?.focus();
}
