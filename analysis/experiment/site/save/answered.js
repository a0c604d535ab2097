/** Numbers of the records of each part that one or the other knows. */
export function merged(one, other) {
  const parts = new Set([...Object.keys(one), ...Object.keys(other)]);
  return Object.fromEntries(
    [...parts].map((part) => [part, [...new Set([...(one[part] ?? []), ...(other[part] ?? [])])]]),
  );
}
