/**
 * Queries to a sensor's own archive. A query outlives the connection it was sent through: when the sensor comes again it is asked
 * again, for what is still missing, so whoever waits sees one answer.
 */
import type { Answer, Answered } from '@tapline/shared/tunnel/edge-messages.ts';
import { encodeCredit, encodeQuery } from '@tapline/shared/tunnel/edge-messages.ts';

export interface EdgeRequest {
  readonly query: Readonly<Record<string, unknown>>;
  readonly linkType: number | null;
  readonly skip: number;
}

export interface EdgeHandlers {
  /** Whole records; the bytes are the handler's. */
  packets(answer: Answer): void;
  /** The end, or why there is none. */
  done(result: Answered): void;
  /** The sensor is away, or here again. */
  connected(isConnected: boolean): void;
}

interface Pending {
  readonly request: EdgeRequest;
  readonly handlers: EdgeHandlers;
  received: number;
  /** The link type of the first answer: all later ones must have it. */
  linkType: number | null;
  /** Granted and not used up. */
  credit: number;
}

export class EdgeDesk {
  readonly #pending = new Map<number, Pending>();
  #send: ((frame: Uint8Array) => void) | null = null;
  #nextId = 1;

  /** Whether the sensor is here and answers queries. */
  get isReady(): boolean {
    return this.#send !== null;
  }

  /** The sensor came, and answers queries. */
  attach(send: (frame: Uint8Array) => void): void {
    this.#send = send;
    for (const [id, pending] of this.#pending) {
      pending.handlers.connected(true);
      this.#ask(id, pending);
    }
  }

  detach(): void {
    if (this.#send === null) return;
    this.#send = null;
    for (const { handlers } of this.#pending.values()) handlers.connected(false);
  }

  /** Asks, now or when the sensor comes. Returns the query's number, for `grant` and `cancel`. */
  ask(request: EdgeRequest, creditBytes: number, handlers: EdgeHandlers): number {
    const id = this.#nextId++;
    const pending: Pending = {
      request,
      handlers,
      received: 0,
      linkType: request.linkType,
      credit: creditBytes,
    };
    this.#pending.set(id, pending);
    if (this.#send === null) handlers.connected(false);
    else this.#ask(id, pending);
    return id;
  }

  /** So many bytes were taken further: as many may come. */
  grant(id: number, bytes: number): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    pending.credit += bytes;
    this.#send?.(encodeCredit({ id, bytes }));
  }

  cancel(id: number): void {
    if (this.#pending.delete(id)) this.#send?.(encodeCredit({ id, bytes: 0 }));
  }

  /** An ANSWER; one that nobody asked for is left alone: it may have crossed with its end. */
  answer(answer: Answer): void {
    const pending = this.#pending.get(answer.id);
    if (pending === undefined) return;
    pending.linkType ??= answer.linkType;
    if (answer.linkType !== pending.linkType) {
      this.cancel(answer.id);
      pending.handlers.done({ id: answer.id, packets: pending.received, error: 'the sensor changed the link type in the middle' }); // prettier-ignore
      return;
    }
    pending.received += answer.packets;
    pending.credit -= answer.records.byteLength;
    pending.handlers.packets(answer);
  }

  answered(result: Answered): void {
    const pending = this.#pending.get(result.id);
    if (pending === undefined) return;
    this.#pending.delete(result.id);
    pending.handlers.done({ ...result, packets: pending.received });
  }

  #ask(id: number, { request, received, linkType, credit }: Pending): void {
    this.#send?.(encodeQuery({ id, query: { ...request.query }, linkType, skip: request.skip + received }));
    this.#send?.(encodeCredit({ id, bytes: Math.max(credit, 1) }));
  }
}
