/**
 * Makes room in a map that has grown to its limit: forgets its oldest sixteenth at once. One at a time would be slow: a JavaScript map keeps the places
 * of what was deleted, and looks past all of them for its first entry.
 */
export function dropOldest<K, V>(map: Map<K, V>, dropped?: (key: K, value: V) => void): void {
  let count = Math.max(1, map.size >> 4);
  for (const [key, value] of map) {
    map.delete(key);
    dropped?.(key, value);
    if (--count === 0) return;
  }
}
