// A visit of the experiment: what is answered, what follows from it, and the one way to record.

export class Visit {
  /** Why it ended before its time; null as long as it goes on. */
  ended = null;

  constructor({ page, blocks, alternatives, answered, saving, store, media }) {
    Object.assign(this, { page, blocks, alternatives, answered, saving, store, media });
  }

  /** The answers that are offered on an item, with their form. */
  answersTo(item) {
    const { form, choices } = this.page.answers;
    const offered = this.alternatives[item];
    return { form, choices: offered ? choices.filter(({ name }) => offered.includes(name)) : choices };
  }

  isAnswered(part, number) {
    return this.answered[part]?.includes(number) ?? false;
  }

  get isResumed() {
    return Object.values(this.answered).some((numbers) => numbers.length > 0);
  }

  record(part, number, entries) {
    const times = Object.fromEntries(
      ["rt_ms", "shown_ms", "at_ms"].map((name) => [name, rounded(entries[name] ?? -1)]),
    );
    const { item = "", answer = "", hidden = false } = entries;
    this.saving.record({ part, number, item, answer: String(answer), ...times, hidden });
    (this.answered[part] ??= []).push(number);
  }

  /** The answer that this browser keeps; undefined without one. */
  answerTo(part, number) {
    return this.store.records().find((each) => each.part === part && each.number === number)?.answer;
  }

  /**
   * Whether enough trials of a part, numbered from `first`, were answered rightly.
   * Answers that this browser does not keep, since they were given in another, are not held against anyone.
   */
  passes(part, first, trials, needed) {
    const right = trials.filter(({ answer }, index) => (this.answerTo(part, first + index) ?? answer) === answer);
    return right.length >= needed;
  }
}

function rounded(ms) {
  return ms < 0 ? -1 : Math.round(10 * ms) / 10;
}
