// Saving as a file that the participant downloads in the end: for a laboratory's own computers.

import { addressParameters } from "../browser.js";
import { completionOf, openVisit, randomList, visitFile } from "./visits.js";

export class Saving {
  constructor(context) {
    this.context = context;
  }

  open() {
    return openVisit(this.context, (count) => listOfAddress(count) ?? randomList(count));
  }

  record(record) {
    this.context.store.add(record);
  }

  blockDone() {}

  async end(reason) {
    return { ...completionOf(this.context.page, reason), file: visitFile(this.context, reason) };
  }
}

/** The list that `?list=3` asks for. */
function listOfAddress(count) {
  const given = addressParameters().list;
  return /^\d+$/.test(given) && Number(given) < count ? Number(given) : null;
}
