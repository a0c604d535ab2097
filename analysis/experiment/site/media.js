// Pictures and sounds, loaded and decoded before they are needed.

import { sleep } from "./elements.js";
import { decode } from "./audio.js";

const AT_ONCE = 6;
const PAUSES = [500, 1000, 2000]; // before a file is tried again, in ms

export class Media {
  #decoded = new Map();

  constructor(kind, ending) {
    this.kind = kind;
    this.ending = ending;
  }

  path(item) {
    return `media/${item}.${this.ending}`;
  }

  get(path) {
    return this.#decoded.get(path);
  }

  /** Load files that are not there yet; done(n) is called after each. Throws if one cannot be had. */
  async load(paths, done) {
    const waiting = [...new Set(paths)].filter((path) => !this.#decoded.has(path));
    let count = paths.length - waiting.length;
    const work = async () => {
      for (let path; (path = waiting.shift());) {
        this.#decoded.set(path, await this.#fetch(path));
        done(++count);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }

  /** Free the memory of files that are shown no more. */
  drop(paths) {
    for (const path of paths) {
      this.#decoded.get(path)?.close?.();
      this.#decoded.delete(path);
    }
  }

  async #fetch(path) {
    for (const pause of [...PAUSES, null]) {
      try {
        const response = await fetch(path);
        if (!response.ok) throw new Error(`${path}: ${response.status}`);
        if (this.kind === "sound") return await decode(await response.arrayBuffer());
        return await createImageBitmap(await response.blob());
      } catch (error) {
        if (pause === null) throw error;
        await sleep(pause);
      }
    }
  }
}
