// Sounds by Web Audio: played once, from a start that is scheduled, and timed by the audio clock.

import { sleep } from "./elements.js";

const LEAD = 0.1; // seconds between scheduling and the start
const PATIENCE_MS = 3000; // a sound that has not ended by then does not play

let context = null;

/** Browsers play nothing before a click or a key: call this in its handler. */
export function unlock() {
  context ??= new AudioContext();
  return context.resume();
}

export function decode(bytes) {
  return context.decodeAudioData(bytes);
}

/**
 * Play a sound once, until all of it is heard; return how long it was heard in ms, -1 if the audio clock stood still.
 * What is played is heard a little later; both ends are times of the output on the clock of events.
 */
export async function play(buffer, stopped = null) {
  await unlock();
  const source = new AudioBufferSourceNode(context, { buffer });
  source.connect(context.destination);
  const ended = new Promise((resolve) => source.addEventListener("ended", () => resolve(true)));
  stopped?.addEventListener("abort", () => source.stop());
  const at = context.currentTime + LEAD;
  source.start(at);
  const start = timeHeard(at);
  const played = await Promise.race([ended, sleep(1000 * (LEAD + buffer.duration) + PATIENCE_MS)]);
  source.disconnect();
  if (!played) return -1;
  const end = timeHeard(at + buffer.duration);
  await sleep(end - performance.now());
  return Math.max(0, end - start);
}

/** When the output is at a time of the audio clock, on the clock of events. */
function timeHeard(seconds) {
  const { contextTime, performanceTime } = context.getOutputTimestamp();
  if (!performanceTime) return performance.now() + 1000 * (seconds - context.currentTime);
  return performanceTime + 1000 * (seconds - contextTime);
}
