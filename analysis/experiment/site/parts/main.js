// The main part: blocks of trials, with breaks between them.

import { hideProgress, showProgress } from "../progress.js";
import { text } from "../texts.js";
import { loading, reading, screen, trialNode, unanswered } from "./nodes.js";

export function main(visit) {
  const { blocks } = visit;
  const total = blocks.flat().length;
  let first = 0;
  return blocks.flatMap((items, block) => {
    const trials = items.map((item) => ({ item }));
    const left = unanswered(visit, "main", trials, first);
    first += items.length;
    if (!left.length) return [];
    const label = text("block_of", { block: block + 1, blocks: blocks.length });
    const nodes = left.map((trial) => ({
      ...trialNode(visit, "main", trial, visit.page.timing),
      on_start: () => showProgress(trial.number, total, label),
    }));
    const begin = left.length === items.length ? [blockScreen(block, label)] : []; // in mid-block it was shown before
    return [loading(visit, left), ...begin, ...nodes, screen(() => blockDone(visit, items))];
  });
}

function blockScreen(block, label) {
  return block === 0
    ? reading("main_title", "main_text", "continue", label)
    : reading("break_title", "break_text", "continue", label);
}

async function blockDone(visit, items) {
  hideProgress();
  visit.media.drop(items.map((item) => visit.media.path(item)));
  await visit.saving.blockDone();
}
