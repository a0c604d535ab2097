// Drawing in step with the screen.

import { framePeriod } from "../browser.js";

/**
 * Draw one thing after another, each for the number of frames nearest to its duration in ms.
 * Resolves with the times of the frames in which each was drawn, and of the one after the last, in which the caller is.
 */
export async function drawInTurn(steps) {
  const half = (await framePeriod()) / 2;
  const times = [];
  let due = -Infinity;
  for (const { draw, duration } of steps) {
    times.push(await frameFrom(due));
    draw();
    due = times.at(-1) + duration - half;
  }
  times.push(await frameFrom(due));
  return times;
}

/** Wait for the first frame that begins at this time or later. */
export function frameFrom(due) {
  return new Promise((resolve) => {
    const step = (now) => (now >= due ? resolve(now) : requestAnimationFrame(step));
    requestAnimationFrame(step);
  });
}
