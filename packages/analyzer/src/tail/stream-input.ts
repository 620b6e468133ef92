/**
 * Packets from a PCAP stream: stdin, or a PCAP-over-IP server that is called, and called again with growing pauses when it goes. What a stream
 * brought while nobody listened is gone: a stream has no place to go on from, only its count goes on.
 */
import { connect } from 'node:net';
import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { RetrySchedule } from '@tapline/shared/base/retry-schedule.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { openCapture, type CaptureFile } from '@tapline/shared/pcap/capture-file.ts';
import { FILE_HEADER_BYTES } from '@tapline/shared/pcap/format.ts';
import type { Piece } from './archive-tail.ts';
import type { Segment } from './followed-segment.ts';

/** A silent stream gives its turn back so often, for checkpoints. */
const TURN_MS = 1000;
const RETRY = { firstMs: 500, capMs: 30_000 };

export interface StreamEvents {
  connected(name: string): void;
  /** The connection, or the stream, ended: why, and when it is tried again (null: never). */
  ended(name: string, reason: string, retryMs: number | null): void;
}

/** A server, or stdin. */
export type StreamPlace = { readonly host: string; readonly port: number } | 'stdin';

/** Plain data. */
export interface StreamState {
  readonly number: number;
  readonly counters: StreamInput['counters'];
}

export class StreamInput {
  readonly counters = { packets: 0, connections: 0, connectionsFailed: 0, streamsDamaged: 0 };
  readonly segment: Segment;
  /** The stream is over, and there will be no other. */
  isOver = false;
  readonly #place: StreamPlace;
  readonly #events: StreamEvents;
  readonly #retry: RetrySchedule;
  #number = 1;

  constructor(place: StreamPlace, sensor: string, events: StreamEvents, random: () => number = Math.random) {
    const path = place === 'stdin' ? '-' : `tcp:${place.host}:${place.port}`;
    this.segment = { sensor, prefix: place === 'stdin' ? 'stdin' : `${place.host}:${place.port}`, path };
    this.#place = place;
    this.#events = events;
    this.#retry = new RetrySchedule(RETRY, random);
  }

  snapshot(): StreamState {
    return { number: this.#number, counters: { ...this.counters } };
  }

  restore({ number, counters }: StreamState): void {
    this.#number = number;
    Object.assign(this.counters, counters);
  }

  /** Pieces as they come; null where nothing came for a while. Ends when the stream does, or at the signal. */
  async *read(stop: AbortSignal): AsyncGenerator<Piece | null> {
    while (!stop.aborted && !this.isOver) {
      let reason = 'it ended';
      try {
        yield* this.#readOnce(stop);
      } catch (error) {
        reason = messageOf(error);
        if (error instanceof OperatingError && error.code === 'PCAP_INVALID') this.counters.streamsDamaged++;
      }
      if (stop.aborted) return;
      this.isOver = this.#place === 'stdin';
      const retryMs = this.isOver ? null : this.#retry.nextDelayMs();
      this.#events.ended(this.segment.path, reason, retryMs);
      yield null;
      if (retryMs !== null) await sleep(retryMs, undefined, { signal: stop }).catch(() => undefined);
    }
  }

  async *#readOnce(stop: AbortSignal): AsyncGenerator<Piece | null> {
    const stream = await this.#open(stop);
    if (stop.aborted) return;
    let capture: CaptureFile | null = null;
    const end = (): void => {
      void capture?.close();
      stream.destroy();
    };
    stop.addEventListener('abort', end, { once: true });
    try {
      capture = await openCapture('-', { stream });
      let offset = FILE_HEADER_BYTES;
      const hasOffsets = capture.format === 'pcap' && this.#place === 'stdin' && this.#number === 1;
      const batches = capture.batches()[Symbol.asyncIterator]();
      for (;;) {
        const next = batches.next();
        let result = await orTurn(next);
        for (; result === null && !stop.aborted; result = await orTurn(next)) yield null;
        if (result === null || result.done === true) return;
        this.#retry.reset();
        yield this.#piece(result.value, hasOffsets ? offset : -1);
        offset += result.value.byteLength;
      }
    } catch (error) {
      // What a signal breaks off is no damage.
      if (!stop.aborted) throw error;
    } finally {
      stop.removeEventListener('abort', end);
      await capture?.close();
      stream.destroy();
    }
  }

  #piece(batch: Batch, offset: number): Piece {
    const number = this.#number;
    this.#number += batch.packetCount;
    this.counters.packets += batch.packetCount;
    const none = { unreadSeconds: Infinity, unreadNanoseconds: 0 };
    return { segment: this.segment, batch, file: 0, number, offset, ...none };
  }

  async #open(stop: AbortSignal): Promise<Readable> {
    const place = this.#place;
    if (place === 'stdin') return process.stdin;
    const socket = connect({ ...place, noDelay: true, signal: stop });
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve).once('error', reject);
      });
    } catch (error) {
      this.counters.connectionsFailed++;
      throw error;
    }
    this.counters.connections++;
    this.#events.connected(this.segment.path);
    return socket;
  }
}

/** The promise's value, or null when it takes longer than a turn. */
async function orTurn<T>(promise: Promise<T>): Promise<T | null> {
  const timer = new AbortController();
  const turn = sleep(TURN_MS, null, { signal: timer.signal }).catch(() => null);
  try {
    return await Promise.race([promise, turn]);
  } finally {
    timer.abort();
  }
}
