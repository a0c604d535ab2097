// Answers as a typed word of a closed list, completed as it is typed: a combobox with a list of suggestions (ARIA APG).

import { element } from "../elements.js";
import { text } from "../texts.js";

const MAX_SUGGESTIONS = 6;

/** Show the field; resolve with {answer, time} when a word of the list is sent, time on the clock of events. */
export function askByTyping(display, choices) {
  const byWord = new Map(choices.map(({ name, label }) => [folded(label), { name, label }]));
  return new Promise((resolve) => {
    const input = element("input", {
      id: "word",
      type: "text",
      role: "combobox",
      autocomplete: "off",
      autocapitalize: "none",
      spellcheck: "false",
      "aria-autocomplete": "list",
      "aria-expanded": "false",
      "aria-controls": "words",
      "aria-describedby": "word-hint",
    });
    const list = element("ul", { id: "words", role: "listbox", "aria-label": text("suggestions"), hidden: true });
    const hint = element("p", { id: "word-hint", class: "hint", role: "status" }, text("typed_hint"));
    const send = element("button", { type: "submit", class: "main", disabled: true }, text("send"));
    const suggestions = new Suggestions(input, list);
    const update = () => {
      const typed = folded(input.value);
      const words = matching(choices, typed);
      suggestions.show(typed && !byWord.has(typed) ? words : []);
      send.disabled = !byWord.has(typed);
      hint.textContent = text(typed && !words.length ? "no_such_word" : "typed_hint");
    };
    const take = (label) => {
      input.value = label;
      update();
      input.focus();
    };
    const submit = (event) => {
      event.preventDefault();
      const choice = byWord.get(folded(input.value));
      if (choice) resolve({ answer: choice.name, time: event.timeStamp });
    };
    input.addEventListener("input", update);
    input.addEventListener("keydown", (event) => suggestions.key(event, take));
    list.addEventListener("pointerdown", (event) => {
      event.preventDefault(); // the field keeps the focus
      const option = event.target.closest("li");
      if (option) take(option.textContent);
    });
    const label = element("label", { for: "word" }, text("type_word"));
    const field = element("div", { class: "combobox" }, input, list);
    display.append(element("form", { class: "typed", onsubmit: submit }, label, field, hint, send));
    input.focus();
  });
}

/** The list below the field; the field keeps the focus, and aria-activedescendant names the marked option. */
class Suggestions {
  #marked = -1;

  constructor(input, list) {
    this.input = input;
    this.list = list;
  }

  show(labels) {
    this.list.replaceChildren(
      ...labels.map((label, index) =>
        element("li", { id: `word-${index}`, role: "option", "aria-selected": "false" }, label),
      ),
    );
    this.list.hidden = !labels.length;
    this.input.setAttribute("aria-expanded", String(labels.length > 0));
    this.#mark(-1);
  }

  /** Arrows mark, Enter or Tab takes what is marked (Tab also the only one there is), Escape closes. */
  key(event, take) {
    const options = [...this.list.children];
    if (!options.length) return;
    const marked = options[this.#marked] ?? (event.key === "Tab" && options.length === 1 ? options[0] : null);
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      const step = event.key === "ArrowDown" ? 1 : -1;
      this.#mark((Math.max(this.#marked, step > 0 ? -1 : 0) + step + options.length) % options.length);
    } else if ((event.key === "Enter" || event.key === "Tab") && marked && !event.shiftKey) {
      take(marked.textContent);
    } else if (event.key === "Escape") {
      this.show([]);
    } else {
      return;
    }
    event.preventDefault();
  }

  #mark(index) {
    this.#marked = index;
    [...this.list.children].forEach((option, each) => option.setAttribute("aria-selected", String(each === index)));
    if (index >= 0) this.input.setAttribute("aria-activedescendant", `word-${index}`);
    else this.input.removeAttribute("aria-activedescendant");
  }
}

/** Labels that begin with what is typed, then those that contain it. */
function matching(choices, typed) {
  const labels = choices.map(({ label }) => label);
  const starting = labels.filter((label) => folded(label).startsWith(typed));
  const containing = labels.filter((label) => !starting.includes(label) && folded(label).includes(typed));
  return [...starting, ...containing].slice(0, MAX_SUGGESTIONS);
}

function folded(word) {
  return word.trim().replace(/\s+/g, " ").toLocaleLowerCase();
}
