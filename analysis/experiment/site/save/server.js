// Saving by the experiment's own server: each record when it is made, retried until it is there.

import { sleep, sleepUntilOnline } from "../elements.js";
import { text } from "../texts.js";
import { merged } from "./answered.js";
import { Refused } from "./refused.js";

const HEARTBEAT_MS = 5000;
const FIRST_PAUSE_MS = 500; // before a request is tried again; doubled each time
const LONGEST_PAUSE_MS = 10_000;
const TIMEOUT_MS = 15_000;
const OTHER_TAB_PAUSE_MS = 1500;

/** Refusals that the participant reads; all others are errors. */
const REFUSALS = { full: "all_places_taken", taken_part: "taken_part", ended: "session_over", token: "session_over" };

export class Saving {
  #sending = null;
  #allSaved = false;

  constructor({ store, identifiers, browser, tab, status }) {
    Object.assign(this, { store, identifiers, browser, tab, status });
  }

  /** Get a list from the server, or go on; say(text) tells what is waited for. */
  async open(say) {
    const { response, body } = await this.#untilAdmitted(say);
    if (!response.ok) throw refusal(response, body);
    const { session, token, list, answered } = body;
    this.store.visit = { ...this.store.visit, session, token, list, identifiers: this.identifiers };
    setInterval(() => this.#hold(), HEARTBEAT_MS);
    window.addEventListener("pagehide", () => this.#release());
    window.addEventListener("pageshow", (event) => event.persisted && location.reload());
    this.#send();
    return { list, answered: merged(answered, this.store.answered()) };
  }

  record(record) {
    this.store.add(record);
    this.#send();
  }

  blockDone() {}

  /** Wait until all is saved, and end the session; say(text) tells what is waited for. */
  async end(reason, say) {
    for (;;) {
      while (this.store.unsaved().length) {
        say(text("saving_waits", { count: this.store.unsaved().length }));
        await this.#send();
      }
      const { response, body } = await this.#persistently("end", { method: "POST", body: { end: reason } }, say);
      if (response.ok) return { code: body.code, redirect: body.redirect };
      if (body.reason !== "missing" || this.#allSaved) throw refusal(response, body);
      this.#allSaved = true; // the server lacks what it said it had: send everything once more
      this.store.saveAllAgain();
    }
  }

  async #untilAdmitted(say) {
    for (;;) {
      const { session, token } = this.store.visit ?? {};
      const known = session ? { session, token } : { identifiers: this.identifiers, browser: this.browser };
      const answer = await persistently("api/sessions", { method: "POST", body: { ...known, tab: this.tab } }, say);
      if (answer.body.reason === "tab") {
        say(text("other_tab"));
        await sleep(OTHER_TAB_PAUSE_MS);
      } else if (answer.body.reason === "token" && session) {
        this.store.forget(); // withdrawn: the participant comes as a new one
      } else {
        return answer;
      }
    }
  }

  /** Send what is not saved, one after another; there is one such loop at a time. */
  #send() {
    this.#sending ??= this.#sendAll().finally(() => (this.#sending = null));
    return this.#sending;
  }

  async #sendAll() {
    for (let key; (key = this.store.unsaved()[0]);) {
      const record = this.store.record(key);
      const say = () => this.status.show(text("not_saved_yet"));
      const options = { method: "PUT", body: record };
      const { response, body } = await this.#persistently(`records/${record.part}/${record.number}`, options, say);
      if (body.reason === "tab" && !response.ok) location.reload(); // which waits until the other tab is closed
      this.store.saved(key); // also if it was refused: the first answer to a trial stays
    }
    this.status.clear();
  }

  #persistently(path, options, say) {
    const headers = { Authorization: `Bearer ${this.store.visit.token}`, "X-Tab": this.tab };
    return persistently(this.#path(path), { ...options, headers }, say);
  }

  async #hold() {
    const answer = await request(this.#path("tab"), {
      method: "POST",
      body: {},
      headers: { Authorization: `Bearer ${this.store.visit.token}`, "X-Tab": this.tab },
    });
    if (answer?.body.reason === "tab") location.reload();
  }

  #release() {
    const body = JSON.stringify({ token: this.store.visit.token, tab: this.tab });
    navigator.sendBeacon(this.#path("release"), new Blob([body], { type: "application/json" }));
  }

  #path(end) {
    return `api/sessions/${this.store.visit.session}/${end}`;
  }
}

/** Ask until the server answers other than that it is busy; say() is called while it does not. */
async function persistently(path, options, say) {
  for (let pause = FIRST_PAUSE_MS; ; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
    const answer = await request(path, options);
    const status = answer?.response.status ?? 503;
    if (status !== 429 && status < 500) return answer;
    say(text("no_connection"));
    await sleepUntilOnline(1000 * Number(answer?.response.headers.get("Retry-After")) || pause);
  }
}

/** Ask once; null if there was no answer in JSON. */
async function request(path, { method, body, headers = {} }) {
  try {
    const response = await fetch(path, {
      method,
      headers: { "Content-Type": "application/json", ...headers },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    return { response, body: response.status === 204 ? {} : await response.json() };
  } catch {
    return null;
  }
}

function refusal(response, body) {
  return body.reason in REFUSALS
    ? new Refused(text(REFUSALS[body.reason]))
    : new Error(`${response.status}: ${body.error}`);
}
