// What is known of the participant's browser and address before anything is shown.

const IDENTIFIERS = ["PROLIFIC_PID", "STUDY_ID", "SESSION_ID", "workerId", "participant"];

/** What a recruiting service put into the address. */
export function identifiersOf(parameters) {
  return Object.fromEntries(IDENTIFIERS.filter((name) => parameters[name]).map((name) => [name, parameters[name]]));
}

export function addressParameters() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

/** A new identifier: crypto.randomUUID is missing where the page is not served by TLS. */
export function newIdentifier() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export async function browserFacts() {
  return {
    agent: navigator.userAgent,
    screen: `${screen.width}x${screen.height}`,
    pixel_ratio: window.devicePixelRatio,
    refresh_hz: Math.round(10000 / (await framePeriod())) / 10,
    protocol: location.protocol.replace(":", ""),
    language: navigator.language,
  };
}

let measured = null;

/** Time between two frames in milliseconds: the median of 30, or that of 60 Hz in a page that is not visible. */
export function framePeriod() {
  measured ??= Promise.race([medianPeriod(30), new Promise((resolve) => setTimeout(resolve, 2000, 1000 / 60))]);
  return measured;
}

function medianPeriod(count) {
  return new Promise((resolve) => {
    const times = [];
    const step = (now) => {
      times.push(now);
      if (times.length <= count) return requestAnimationFrame(step);
      const periods = times
        .slice(1)
        .map((time, index) => time - times[index])
        .sort((a, b) => a - b);
      resolve(periods[Math.floor(count / 2)]);
    };
    requestAnimationFrame(step);
  });
}

/** Wait until no other tab of this browser shows the experiment; it stays ours until the page is left. */
export function onlyTab(experiment, wait) {
  if (!navigator.locks) return Promise.resolve(); // not served by TLS: the server's lease alone tells tabs apart
  const name = `metamery/${experiment}`;
  const held = new Promise(() => {});
  return new Promise((resolve) => {
    navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      if (lock) {
        resolve();
        return held;
      }
      wait();
      navigator.locks.request(name, () => {
        resolve();
        return held;
      });
      return undefined;
    });
  });
}
