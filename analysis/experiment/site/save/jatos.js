// Saving by JATOS, which serves the page: the lines of a block when it is done, the rest at the end.

import { identifiersOf } from "../browser.js";
import { element, sleepUntilOnline } from "../elements.js";
import { text } from "../texts.js";
import { NotSaved } from "./not_saved.js";
import { completionOf, endLine, openVisit, randomList, recordLine, sessionLine, visitFile } from "./visits.js";

const NEXT_LIST = "metamery_next_list";
const PAUSES_MS = [1000, 2000, 4000, 8000, 16_000, null];

export class Saving {
  constructor(context) {
    this.context = context;
  }

  async open() {
    await loadJatos();
    const { identifiers } = this.context;
    this.context.identifiers = { ...identifiersOf(jatos.urlQueryParameters ?? {}), ...identifiers };
    return openVisit(this.context, nextList);
  }

  record(record) {
    this.context.store.add(record);
  }

  /** Hand the lines of a block over; what fails is handed over with the next. */
  async blockDone() {
    try {
      await this.#append("");
    } catch {
      this.context.status.show(text("not_saved_yet"));
    }
  }

  async end(reason, say) {
    for (const pause of PAUSES_MS) {
      try {
        await this.#append(endLine(reason));
        await jatos.endStudyWithoutRedirect(reason === "completed", reason);
        return completionOf(this.context.page, reason);
      } catch {
        if (pause === null) throw new NotSaved(visitFile(this.context, reason));
        say(text("no_connection"));
        await sleepUntilOnline(pause);
      }
    }
  }

  async #append(last) {
    const { store } = this.context;
    const keys = store.unsaved();
    const first = store.visit.begun ? "" : sessionLine(this.context);
    const lines = first + keys.map((key) => recordLine(store.record(key))).join("") + last;
    if (!lines) return;
    await jatos.appendResultData(lines);
    store.visit = { ...store.visit, begun: true };
    keys.forEach((key) => store.saved(key));
    this.context.status.clear();
  }
}

function loadJatos() {
  return new Promise((resolve, reject) => {
    const script = element("script", { src: "jatos.js", onload: () => jatos.onLoad(resolve), onerror: reject });
    document.head.append(script);
  });
}

/** The lists in turn by the batch's session, else by the number of the run, else at random. */
async function nextList(count) {
  for (let trial = 0; trial < 5; trial++) {
    try {
      const next = jatos.batchSession.get(NEXT_LIST) ?? 0;
      await jatos.batchSession.set(NEXT_LIST, next + 1); // fails if another participant was faster
      return next % count;
    } catch {
      // try again with the number that is there now
    }
  }
  const run = Number(jatos.studyRunId);
  return Number.isInteger(run) ? run % count : randomList(count);
}
