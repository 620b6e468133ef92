/** "Did you mean …": the known word nearest to a mistyped one. */

/** At most this many edits, and fewer than half the word: beyond that a suggestion is a guess. */
const EDITS_MAX = 3;

/** The known word nearest to `word`, or null when none is near. */
export function suggest(word: string, known: readonly string[]): string | null {
  let best: string | null = null;
  let bestEdits = Math.min(EDITS_MAX, Math.floor(word.length / 2)) + 1;
  for (const candidate of known) {
    const edits = editDistance(word.toLowerCase().slice(0, 64), candidate.toLowerCase());
    if (edits < bestEdits) {
      best = candidate;
      bestEdits = edits;
    }
  }
  return best;
}

/** Insertions, deletions and replacements between two words (Levenshtein). */
export function editDistance(a: string, b: string): number {
  let above = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (above[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(replaced, (above[j] as number) + 1, (row[j - 1] as number) + 1));
    }
    above = row;
  }
  return above[b.length] as number;
}
