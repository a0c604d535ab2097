// The screen with a progress bar while files are loaded.

import { element, sleepUntilOnline } from "./elements.js";
import { showScreen } from "./screens.js";
import { text } from "./texts.js";

const RETRY_MS = 15_000;
const PATIENCE_MS = 300; // what loads faster shows nothing

/** Load files; if one cannot be had, say so and try again at a press, when the network is back, or after a while. */
export async function loadScreen(display, media, paths) {
  for (;;) {
    const bar = element("progress", { max: paths.length, value: 0, "aria-label": text("loading") });
    const shown = setTimeout(() => showScreen(display, text("loading"), bar), PATIENCE_MS);
    try {
      return await media.load(paths, (count) => (bar.value = count));
    } catch {
      await failed(display);
    } finally {
      clearTimeout(shown);
    }
  }
}

function failed(display) {
  const again = element("button", { type: "button", class: "main" }, text("try_again"));
  showScreen(display, text("load_failed_title"), element("p", {}, text("load_failed")), again);
  return Promise.race([new Promise((resolve) => again.addEventListener("click", resolve)), sleepUntilOnline(RETRY_MS)]);
}
