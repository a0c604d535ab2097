// The last screen: nothing is promised before the data are saved.

import { element } from "./elements.js";
import { NotSaved } from "./save/not_saved.js";
import { paragraphElements, showScreen } from "./screens.js";
import { paragraphs, text } from "./texts.js";

const TEXTS = {
  completed: { title: "completed_title", body: "completed_text" },
  consent: { title: "no_consent_title", body: "no_consent_text" },
  headphones: { title: "ended_title", body: "headphones_failed_text" },
  practice: { title: "ended_title", body: "practice_failed_text" },
};

/** Save the rest, then thank and give the code. */
export async function endVisit(display, visit) {
  const reason = visit.ended ?? "completed";
  for (;;) {
    try {
      const line = element("p", {}, text("saving_text"));
      showScreen(display, text("saving_title"), line);
      const { code, redirect, file } = await visit.saving.end(reason, (words) => (line.textContent = words));
      if (file) await offerFile(display, file, "download_title", "download_text", "continue");
      visit.store.visit = { ...visit.store.visit, ended: { reason, code, redirect } };
      return showEnd(display, visit.store.visit.ended);
    } catch (error) {
      if (!(error instanceof NotSaved)) throw error;
      await offerFile(display, error.file, "not_saved_title", "not_saved_text", "try_again");
    }
  }
}

export function showEnd(display, { reason, code, redirect }, ...more) {
  const { title, body } = TEXTS[reason];
  const content = paragraphElements(paragraphs(body));
  if (code) content.push(element("p", {}, text("your_code")), element("output", { class: "code" }, code));
  if (redirect && /^https?:/.test(redirect))
    content.push(element("a", { class: "main", href: redirect }, text("go_back")));
  showScreen(display, text(title), ...content, ...more);
}

/** Offer the data as a file; resolves when the participant goes on, which can be done once it was downloaded. */
function offerFile(display, { name, content }, title, body, next) {
  return new Promise((resolve) => {
    const address = URL.createObjectURL(new Blob([content], { type: "application/jsonl" }));
    const on = element("button", { type: "button", class: "other", onclick: resolve }, text(next));
    on.disabled = next === "continue";
    const link = { class: "main", href: address, download: name, onclick: () => (on.disabled = false) };
    const buttons = element("div", { class: "buttons" }, element("a", link, text("download")), on);
    showScreen(display, text(title), ...paragraphElements(paragraphs(body)), buttons);
  });
}
