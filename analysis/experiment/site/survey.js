// The questions at the end, on one form.

import { element } from "./elements.js";
import { showScreen } from "./screens.js";
import { text } from "./texts.js";

const MAX_LENGTH = 1000;

/** Show the questions; resolve with their answers, empty where one is skipped. */
export function askBySurvey(display, questions) {
  return new Promise((resolve) => {
    const fields = questions.map(fieldFor);
    const rows = questions.map(({ label, required }, index) => {
      const words = required ? label : `${label} ${text("optional")}`;
      return element("p", { class: "field" }, element("label", { for: fields[index].id }, words), fields[index]);
    });
    const submit = (event) => {
      event.preventDefault();
      resolve(fields.map((field) => field.value.trim()));
    };
    const send = element(
      "div",
      { class: "buttons" },
      element("button", { type: "submit", class: "main" }, text("continue")),
    );
    showScreen(display, text("survey_title"), element("form", { onsubmit: submit }, ...rows, send));
  });
}

function fieldFor({ name, form, choices, required }) {
  const properties = { id: `question-${name}`, name, required };
  if (form === "number") return element("input", { ...properties, type: "number", step: "any", inputmode: "decimal" });
  if (form === "text") return element("textarea", { ...properties, rows: 2, maxlength: MAX_LENGTH });
  const options = choices.map((choice) => element("option", { value: choice }, choice));
  return element("select", properties, element("option", { value: "" }, text("please_choose")), ...options);
}
