// Saving by DataPipe, which puts a visit into a project of the Open Science Framework: at the end, as one file.

import { sleepUntilOnline } from "../elements.js";
import { text } from "../texts.js";
import { NotSaved } from "./not_saved.js";
import { completionOf, openVisit, randomList, visitFile } from "./visits.js";

const ADDRESS = "https://pipe.jspsych.org/api/";
const PAUSES_MS = [1000, 2000, 4000, 8000, 16_000, null];
const ALREADY_THERE = "OSF_FILE_EXISTS"; // the answer to an earlier try was lost

export class Saving {
  constructor(context) {
    this.context = context;
  }

  open() {
    return openVisit(this.context, (count) => this.#condition(count));
  }

  record(record) {
    this.context.store.add(record);
  }

  blockDone() {}

  async end(reason, say) {
    const file = visitFile(this.context, reason);
    for (const pause of PAUSES_MS) {
      if (await this.#saved(file)) return completionOf(this.context.page, reason);
      if (pause === null) throw new NotSaved(file);
      say(text("no_connection"));
      await sleepUntilOnline(pause);
    }
  }

  async #condition(count) {
    try {
      const response = await this.#post("condition/", {});
      if (response.ok) return (await response.json()).condition % count;
    } catch {
      // without an answer the list is drawn
    }
    return randomList(count);
  }

  async #saved({ name, content }) {
    try {
      const response = await this.#post("data/", { filename: name, data: content });
      return response.ok || (await response.json()).error === ALREADY_THERE; // 201 saved, 202 accepted
    } catch {
      return false;
    }
  }

  #post(path, body) {
    return fetch(ADDRESS + path, {
      method: "POST",
      headers: { "Content-Type": "application/json", Accept: "*/*" },
      body: JSON.stringify({ experimentID: this.context.page.saving.experiment_id, ...body }),
    });
  }
}
