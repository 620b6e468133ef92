/** What is told of sessions, of both tunnels: for the log, and for the books. */
import type { Hello, RefuseCode } from '@tapline/shared/tunnel/messages.ts';

export interface SessionEvents {
  sessionOpened?(session: {
    readonly sensor: string;
    readonly peer: string;
    readonly hello: Hello;
    readonly nextSequence: number;
  }): void;
  sessionClosed?(session: {
    readonly sensor: string;
    readonly peer: string;
    readonly reason: string;
    readonly clean: boolean;
  }): void;
  /** Before or instead of a session: a stranger, an old version, a full house. */
  sessionRefused?(refusal: {
    readonly peer: string;
    readonly code: RefuseCode;
    readonly sentence: string;
  }): void;
}
