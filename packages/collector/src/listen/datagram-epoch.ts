/**
 * One epoch of one-way datagrams: what judges them, puts them together and hands them on. And what is remembered of those that are
 * over, so that their datagrams cost nothing.
 */
import type { DatagramHeader } from '@tapline/shared/tunnel/datagram.ts';
import type { DatagramSeal } from '@tapline/shared/tunnel/datagram-seal.ts';
import type { DatagramRejection } from './datagram-rejections.ts';
import type { DatagramSession } from './datagram-session.ts';
import type { GroupAssembler } from './group-assembler.ts';
import type { ReplayWindow } from './replay-window.ts';

/** Epochs that were refused or are over, remembered so that their datagrams cost nothing. */
const OVER_MAX = 1024;

export interface DatagramEpoch {
  readonly header: DatagramHeader;
  readonly text: string;
  readonly seal: DatagramSeal | null;
  readonly window: ReplayWindow;
  readonly assembler: GroupAssembler;
  readonly session: DatagramSession;
  firstNumber: number;
  received: number;
  peer: string;
  heardAtMs: number;
}

/** Which epoch a datagram belongs to; one without a seal must not meet one with. */
export function epochName({ epochSeconds, epochRandom, cipher, keyId }: DatagramHeader): string {
  return `${epochSeconds}.${epochRandom}.${cipher}.${keyId}`;
}

/** Numbers that did not come, as far as the newest that did tells. */
export function missingOf({ window, firstNumber, received }: DatagramEpoch): number {
  return Math.max(0, window.highest + 1 - firstNumber - received);
}

/** Whether a datagram is of this epoch. */
export function isOf(epoch: DatagramEpoch | null, header: DatagramHeader): boolean {
  const known = epoch?.header;
  return (
    known?.epochRandom === header.epochRandom &&
    known.epochSeconds === header.epochSeconds &&
    known.cipher === header.cipher &&
    known.keyId === header.keyId
  );
}

/** Epochs that were refused or are over, and what their datagrams are from then on. */
export class OverEpochs {
  readonly #rejections = new Map<string, DatagramRejection>();

  get(name: string): DatagramRejection | undefined {
    return this.#rejections.get(name);
  }

  /** Forgets the one that has been over longest where there are too many. */
  add(name: string, rejection: DatagramRejection): void {
    this.#rejections.set(name, rejection);
    const oldest = this.#rejections.keys().next().value;
    if (this.#rejections.size > OVER_MAX && oldest !== undefined) this.#rejections.delete(oldest);
  }
}
