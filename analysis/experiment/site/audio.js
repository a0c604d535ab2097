// Sounds by Web Audio: played once, from a start that is scheduled, and timed by the audio clock.

import { sleep } from "./elements.js";

const LEAD = 0.1; // seconds between scheduling and the start
const PATIENCE_MS = 3000; // a sound that ended no later than this did not play

let context = null;

/** Browsers play nothing before a click or a key: call this in its handler. */
export function unlock() {
  context ??= new AudioContext();
  return context.resume();
}

export function decode(bytes) {
  return context.decodeAudioData(bytes);
}

/** Play a sound to its end; return {start, shown}: performance time of its start, and duration until the end in ms. */
export async function play(buffer, stopped = null) {
  await unlock();
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  const ended = new Promise((resolve) => source.addEventListener("ended", () => resolve(performance.now())));
  const at = context.currentTime + LEAD;
  source.start(at);
  const start = performanceTime(at);
  stopped?.addEventListener("abort", () => source.stop());
  const end = await Promise.race([ended, sleep(1000 * (LEAD + buffer.duration) + PATIENCE_MS)]);
  source.disconnect();
  return { start, shown: end === undefined ? -1 : Math.max(0, end - start) };
}

/** When the audio clock's time is heard, on the clock of events. */
function performanceTime(seconds) {
  const { contextTime, performanceTime: now } = context.getOutputTimestamp();
  if (!now) return performance.now() + 1000 * (seconds - context.currentTime);
  return now + 1000 * (seconds - contextTime);
}
