// Visits of experiments without the own server: kept in the browser, handed over as lines of JSON.

import { newIdentifier } from "../browser.js";

/** Begin a visit with the list that choose() gives, or go on with the one that the browser keeps. */
export async function openVisit({ page, store, identifiers, browser }, choose) {
  store.visit ??= {
    session: newIdentifier(),
    list: await choose(page.lists),
    identifiers,
    browser,
    started: new Date().toISOString(),
  };
  return { list: store.visit.list, answered: store.answered() };
}

export function randomList(count) {
  return Math.floor(Math.random() * count);
}

export function sessionLine({ page, store }) {
  const { session, list, identifiers, browser, started } = store.visit;
  return line({
    kind: "session",
    format: 1,
    experiment: page.experiment,
    session,
    list,
    identifiers,
    browser,
    started,
  });
}

export function recordLine(record) {
  return line({ kind: "record", ...record });
}

export function endLine(reason) {
  return line({ kind: "end", end: reason });
}

/** The whole visit as a file. */
export function visitFile(context, reason) {
  const lines = [sessionLine(context), ...context.store.records().map(recordLine), endLine(reason)];
  return { name: `${context.store.visit.session}.jsonl`, content: lines.join("") };
}

/** What participants of a complete visit get where no server tells it. */
export function completionOf(page, reason) {
  return reason === "completed" && page.completion ? page.completion : { code: null, redirect: null };
}

function line(entries) {
  return JSON.stringify(entries) + "\n";
}
