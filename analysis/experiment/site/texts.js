// The strings of the page, in its language.

let texts = {};

export function useTexts(given) {
  texts = given;
}

/** The text of a key, with {name} replaced by values.name. */
export function text(key, values = {}) {
  return texts[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** The paragraphs of a text, which blank lines divide. */
export function paragraphs(key, values = {}) {
  return text(key, values)
    .trim()
    .split(/\n\s*\n/);
}
