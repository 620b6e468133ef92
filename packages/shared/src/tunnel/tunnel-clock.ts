/**
 * Time as both ends of the tunnel see it. Time-outs and intervals are monotonic; wall time is only ever written into
 * messages. Taken as a dependency, so that a simulation can own it.
 */
export interface TunnelClock {
  monotonicMs(): number;
  /** Milliseconds since 1970 UTC; fractions allowed. */
  wallMs(): number;
  /** Calls `action` once after `delayMs`, unless the returned function was called before. */
  after(delayMs: number, action: () => void): () => void;
}

export const systemTunnelClock: TunnelClock = {
  monotonicMs: () => performance.now(),
  // Node's own clock steps with the system's; timeOrigin + now would not follow a correction.
  wallMs: () => Date.now(),
  after(delayMs, action) {
    const timer = setTimeout(action, delayMs);
    return () => {
      clearTimeout(timer);
    };
  },
};
