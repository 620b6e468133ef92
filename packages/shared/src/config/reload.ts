/**
 * What a reload takes up: a daemon names the keys that it can only read at its start, and says which of them changed. Those keep
 * their running values, since half of a new configuration must not work with half of the old.
 */

/** Which of `keys` have another value than before: they need a restart. */
export function changedKeys<T, K extends keyof T & string>(
  before: T,
  after: T,
  keys: readonly K[],
): readonly K[] {
  return keys.filter((key) => JSON.stringify(after[key]) !== JSON.stringify(before[key]));
}
