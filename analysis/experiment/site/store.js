// What the browser keeps of the visit, so that a reload goes on and nothing is lost without a network.

export class Store {
  constructor(experiment) {
    this.prefix = `metamery/${experiment}/`;
    this.storage = usableStorage();
  }

  /** The visit: {session, token, list, identifiers, started, ended}, or null. */
  get visit() {
    return this.#read("visit");
  }

  set visit(visit) {
    this.#write("visit", visit);
  }

  /** Keep a record, not saved elsewhere yet. */
  add(record) {
    const key = String(this.#keys("record/").length).padStart(6, "0");
    this.#write(`record/${key}`, record);
    this.#write(`unsaved/${key}`, true);
  }

  record(key) {
    return this.#read(`record/${key}`);
  }

  records() {
    return this.#keys("record/").map((key) => this.record(key));
  }

  /** Keys of the records that are not saved elsewhere, in order. */
  unsaved() {
    return this.#keys("unsaved/");
  }

  saved(key) {
    this.storage.removeItem(`${this.prefix}unsaved/${key}`);
  }

  saveAllAgain() {
    for (const key of this.#keys("record/")) this.#write(`unsaved/${key}`, true);
  }

  forget() {
    for (const key of this.#keys("")) this.storage.removeItem(this.prefix + key);
  }

  /** Numbers of the records of each part. */
  answered() {
    const numbers = {};
    for (const { part, number } of this.records()) (numbers[part] ??= []).push(number);
    return numbers;
  }

  #keys(folder) {
    const start = this.prefix + folder;
    return Object.keys(this.storage)
      .filter((key) => key.startsWith(start))
      .map((key) => key.slice(start.length))
      .sort();
  }

  #read(key) {
    return JSON.parse(this.storage.getItem(this.prefix + key));
  }

  #write(key, value) {
    this.storage.setItem(this.prefix + key, JSON.stringify(value));
  }
}

function usableStorage() {
  try {
    localStorage.setItem("metamery", "1");
    localStorage.removeItem("metamery");
    return localStorage;
  } catch {
    return memoryStorage();
  }
}

/** In place of a blocked localStorage: the same until the page is left. */
function memoryStorage() {
  const storage = {};
  const method = (value) => ({ value, enumerable: false });
  return Object.defineProperties(storage, {
    getItem: method((key) => storage[key] ?? null),
    setItem: method((key, value) => void (storage[key] = value)),
    removeItem: method((key) => void delete storage[key]),
  });
}
