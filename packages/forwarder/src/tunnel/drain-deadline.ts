/** How long an uplink's clean end may take: until it is done, until its deadline, or until somebody hurries it. */
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';

/** Calls `begin` and resolves at its `done()`, after `deadlineMs`, or when `hurry` aborts, whatever comes first. */
export function untilDrained(
  limits: {
    readonly deadlineMs: number;
    readonly hurry: AbortSignal | undefined;
    readonly clock: TunnelClock;
  },
  begin: (done: () => void) => void,
): Promise<void> {
  const { deadlineMs, hurry, clock } = limits;
  return new Promise((resolve) => {
    const done = (): void => {
      cancel();
      hurry?.removeEventListener('abort', done);
      resolve();
    };
    const cancel = clock.after(hurry?.aborted === true ? 0 : deadlineMs, done);
    hurry?.addEventListener('abort', done);
    begin(done);
  });
}
