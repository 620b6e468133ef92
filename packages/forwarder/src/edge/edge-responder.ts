/**
 * Answers queries to the forwarder's own archive, through the connection that the forwarder opened: no port, and no way to ask for
 * anything but packets. What is live goes first, and answers keep to a rate of their own besides.
 *
 *   QUERY ─▶ export of the local archive ─▶ ANSWER … ─▶ ANSWERED     as far as CREDIT reaches
 *
 * A connection that is lost ends its answers. Whoever asked asks again and says how many packets it has: the same query
 * over a time that is past gives the same packets in the same order.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '@tapline/shared/base/errors.ts';
import { PacketQuery } from '@tapline/shared/catalog/packet-query.ts';
import { planExport } from '@tapline/shared/export/export-plan.ts';
import { PacketExport, usualLinkType } from '@tapline/shared/export/packet-export.ts';
import type { Batch } from '@tapline/shared/packet/batch.ts';
import { RECORD_CAPTURED_BYTES, RECORD_HEADER_BYTES, readU32 } from '@tapline/shared/packet/record.ts';
import {
  ANSWER_PLAIN_BYTES_MAX,
  encodeAnswer,
  encodeAnswered,
  type Credit,
  type EdgeQuery,
} from '@tapline/shared/tunnel/edge-messages.ts';
import { TokenBucket } from '@tapline/shared/tunnel/token-bucket.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';

/** More at a time would only share the rate. */
const QUERIES_MAX = 2;
/** How often what holds an answer up is looked at again. */
const RETRY_MS = 20;

export interface EdgeOptions {
  readonly root: string;
  readonly bytesPerSecond: number;
}

export interface EdgeEvents {
  asked?(query: { readonly id: number; readonly query: unknown }): void;
  answered?(answer: {
    readonly id: number;
    readonly packets: number;
    readonly error?: string | undefined;
  }): void;
}

/** Gives a frame to the link; false: not now. */
export type SendAnswer = (frame: Uint8Array) => boolean;

interface Running {
  credit: number;
  isOver: boolean;
}

export class EdgeResponder {
  readonly counters = { queries: 0, packets: 0, bytes: 0, refused: 0 };
  readonly #options: EdgeOptions;
  readonly #flush: () => void;
  readonly #events: EdgeEvents;
  readonly #bucket: TokenBucket;
  readonly #running = new Map<number, Running>();

  constructor(options: EdgeOptions, clock: TunnelClock, flush: () => void, events: EdgeEvents) {
    this.#options = options;
    this.#flush = flush;
    this.#events = events;
    const { bytesPerSecond } = options;
    this.#bucket = new TokenBucket(
      { bytesPerSecond, burstBytes: Math.max(65_536, bytesPerSecond / 10) },
      clock,
    );
  }

  /** Begins to answer. */
  query(asked: EdgeQuery, send: SendAnswer): void {
    const { id } = asked;
    if (this.#running.has(id)) return;
    if (this.#running.size >= QUERIES_MAX) {
      this.counters.refused++;
      send(encodeAnswered({ id, packets: 0, error: `${QUERIES_MAX} queries are being answered already` }));
      return;
    }
    const running: Running = { credit: 0, isOver: false };
    this.#running.set(id, running);
    this.counters.queries++;
    this.#events.asked?.({ id, query: asked.query });
    void this.#answer(asked, running, send);
  }

  credit({ id, bytes }: Credit): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    if (bytes === 0) running.isOver = true;
    else running.credit += bytes;
  }

  /** The connection is gone, and with it everybody who asked. */
  disconnected(): void {
    for (const running of this.#running.values()) running.isOver = true;
    this.#running.clear();
  }

  async #answer(asked: EdgeQuery, running: Running, send: SendAnswer): Promise<void> {
    const { id } = asked;
    let packets = 0;
    let unfitPackets = 0;
    let error: string | undefined;
    try {
      const run = this.#exportOf(asked, running, send, (count) => {
        packets += count;
      });
      await run.run();
      ({ unfitPackets } = run.counters);
    } catch (cause) {
      error = messageOf(cause).slice(0, 1000);
    }
    this.#running.delete(id);
    if (running.isOver) return;
    this.#events.answered?.({ id, packets, error });
    const last = encodeAnswered({ id, packets, unfitPackets, ...(error === undefined ? {} : { error }) });
    while (!running.isOver && !send(last)) await sleep(RETRY_MS);
  }

  #exportOf(
    asked: EdgeQuery,
    running: Running,
    send: SendAnswer,
    sent: (packets: number) => void,
  ): PacketExport {
    const query = new PacketQuery(asked.query);
    this.#flush();
    const plan = planExport({ roots: [this.#options.root], isSinglePlace: true, sensors: [] }, query);
    const linkType = asked.linkType ?? usualLinkType(plan.linkTypes);
    return new PacketExport(
      plan,
      query,
      { linkType, skipPackets: asked.skip },
      {
        write: async (batch) => {
          for (const { records, packets } of pieces(batch)) {
            await this.#send(
              encodeAnswer({ id: asked.id, packets, linkType, records }),
              records.byteLength,
              running,
              send,
            );
            sent(packets);
          }
        },
        // What cannot be read is missing, and said: whoever asked must not take the answer for whole.
        failed: (name, cause) => {
          throw new Error(`${name}: ${messageOf(cause)}`);
        },
        wantsMore: () => !running.isOver,
      },
    );
  }

  /** Waits for credit, rate and link. Rejects when nobody waits for the answer any more. */
  async #send(frame: Uint8Array, plainBytes: number, running: Running, send: SendAnswer): Promise<void> {
    for (;;) {
      if (running.isOver) throw new Error('nobody waits for it any more');
      const waitMs = running.credit < plainBytes ? RETRY_MS : this.#bucket.waitMs();
      if (waitMs === 0 && send(frame)) break;
      await sleep(Math.max(waitMs, 1) > RETRY_MS ? waitMs : RETRY_MS);
    }
    running.credit -= plainBytes;
    this.#bucket.spend(frame.byteLength);
    this.counters.bytes += frame.byteLength;
    this.counters.packets++;
  }
}

/** A batch in pieces that fit an ANSWER. A packet that fits none ends the answer: jumbo frames beyond 62 KiB do not travel this way. */
function* pieces({ bytes, byteLength }: Batch): Iterable<{ records: Uint8Array; packets: number }> {
  let start = 0;
  let packets = 0;
  for (let at = 0; at < byteLength;) {
    const next = at + RECORD_HEADER_BYTES + readU32(bytes, at + RECORD_CAPTURED_BYTES);
    if (next - at > ANSWER_PLAIN_BYTES_MAX)
      throw new Error(
        `a packet of ${next - at} bytes is too long to be fetched: export it on the probe itself`,
      );
    if (next - start > ANSWER_PLAIN_BYTES_MAX) {
      yield { records: bytes.subarray(start, at), packets };
      start = at;
      packets = 0;
    }
    packets++;
    at = next;
  }
  if (packets > 0) yield { records: bytes.subarray(start, byteLength), packets };
}
