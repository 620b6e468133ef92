/**
 * Assertions are for bugs in Tapline itself: a failed one ends the process, which systemd restarts.
 * Nothing that a socket, a file or a config can say may reach one; the world's failures are `OperatingError`s.
 */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`bug in Tapline: ${message}`);
}

/** For the `default` of a switch over a closed union: the compiler proves that it cannot be reached. */
export function unreachable(value: never): never {
  throw new Error(`bug in Tapline: unexpected ${String(value)}`);
}
