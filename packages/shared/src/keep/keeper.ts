/**
 * The keeper: what is done with segments once they are closed (index, hash, sidecar, packing, hand-over, manifests) and how long
 * they stay. It works in a thread of its own; the packets' way only tells it what was closed, and never waits for it.
 *
 * What must stay true: a segment is told as closed when it will never change again, and not before its packets are as
 * durable as they are promised to be. A keeper that dies takes no packet with it: the daemon stops, and the next start
 * finishes what was left.
 */
import { existsSync, readdirSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { parseSegmentName, sidecarName } from '../archive/segment-name.ts';
import type { Books } from '../observe/books.ts';
import {
  newKeeperCounters,
  type FromKeeper,
  type KeeperCounters,
  type KeeperOptions,
  type Place,
  type ToKeeper,
} from './keeper-protocol.ts';

export type KeeperTell = Extract<FromKeeper, { kind: 'tell' }>;

export interface KeeperHandlers {
  /** What the log should say. */
  tell(message: KeeperTell): void;
  /** The thread died, which is a bug or a lack of memory. */
  failed(error: unknown): void;
}

export class Keeper {
  counters: KeeperCounters = newKeeperCounters();
  readonly #options: KeeperOptions;
  readonly #handlers: KeeperHandlers;
  #worker: Worker | null = null;
  readonly #closed = Promise.withResolvers<void>();
  #isClosing = false;

  constructor(options: KeeperOptions, handlers: KeeperHandlers) {
    this.#options = options;
    this.#handlers = handlers;
  }

  /** With the first thing to do: a daemon has better things to do in its first moments than to start a thread. */
  #begin(): Worker {
    const worker = new Worker(new URL('./keeper-worker.ts', import.meta.url), { workerData: this.#options });
    worker.on('message', (message: FromKeeper) => {
      if (message.kind === 'tell') this.#handlers.tell(message);
      else if (message.kind === 'counters') this.counters = message.counters;
      else this.#closed.resolve();
    });
    worker.on('error', (error) => {
      this.#closed.resolve();
      this.#handlers.failed(error);
    });
    worker.on('exit', () => {
      this.#closed.resolve();
    });
    // It has timers of its own; the daemon decides when to end.
    worker.unref();
    return worker;
  }

  /** The segment will not change any more. */
  closed(
    place: Place,
    segment: string,
    dropped: Readonly<Record<string, number>>,
    isRecovered = false,
  ): void {
    this.#send({ kind: 'closed', place, segment, isRecovered, dropped });
  }

  /** The segment has so many bytes now, and will have more. */
  grown(place: Place, segment: string, bytes: number): void {
    this.#send({ kind: 'grown', place, segment, bytes });
  }

  /**
   * A place was opened and repaired, and nothing written to it yet: what lies there unfinished was left by a run before
   * this one. Returns how many segments that were.
   */
  adopt(place: Place): number {
    let unfinished = 0;
    if (!existsSync(place.directory)) return 0;
    const names = new Set(readdirSync(place.directory));
    for (const name of names) {
      if (parseSegmentName(name)?.compression !== 'none' || names.has(sidecarName(name))) continue;
      this.closed(place, name, {}, true);
      unfinished++;
    }
    this.#send({ kind: 'opened', place });
    return unfinished;
  }

  /** The disk refuses packets. */
  makeRoom(): void {
    this.#send({ kind: 'make-room' });
  }

  books(): Books {
    const { deletedByReason, ...counters } = this.counters;
    return { ...counters, deletedByReason: { ...deletedByReason } };
  }

  /** Finishes everything that was closed. What is not done by the deadline is done at the next start. */
  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true;
    const worker = this.#worker;
    if (worker === null) return;
    worker.ref();
    worker.postMessage({ kind: 'close', deadlineMs } satisfies ToKeeper);
    const timer = setTimeout(() => {
      this.#closed.resolve();
    }, deadlineMs + 1000);
    await this.#closed.promise;
    clearTimeout(timer);
    await worker.terminate();
  }

  #send(message: ToKeeper): void {
    if (this.#isClosing) return;
    this.#worker ??= this.#begin();
    this.#worker.postMessage(message);
  }
}
