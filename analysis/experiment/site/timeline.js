// The timeline of a visit: the parts that are on, in their order, without what is answered.

import { headphones, level } from "./parts/hearing.js";
import { main } from "./parts/main.js";
import { reading } from "./parts/nodes.js";
import { practice } from "./parts/practice.js";
import { consent, debriefing, instructions, survey } from "./parts/words.js";

const PARTS = { consent, instructions, level, headphones, practice, main, survey, debriefing };

/** Nodes for jsPsych, none of which is shown once the visit has ended. */
export function timelineOf(visit) {
  const parts = Object.keys(PARTS).filter((name) => visit.page.parts.includes(name));
  const nodes = [...welcome(visit, parts), ...parts.flatMap((name) => PARTS[name](visit))];
  return nodes.map((node) => ({ timeline: [node], conditional_function: () => visit.ended === null }));
}

/** A button before anything else: without one browsers play no sound. */
function welcome(visit, parts) {
  if (visit.isResumed) return [reading("welcome_back", "welcome_back_text", "continue")];
  if (parts[0] === "consent" || parts[0] === "instructions") return [];
  return [reading("welcome", "welcome_text", "start")];
}
