/**
 * One connection to a collector, from HELLO to its end:
 *
 *   HELLO ─▶ (WELCOME) ─▶ open: BATCH, GAP, REPORT ─▶ … ◀─ ACK ─▶ BYE ◀─ BYE ─▶ closed
 *
 * It speaks and listens; what to send and what it means for the books is decided in `tunnel-uplink.ts`. It ends once,
 * with one sentence why, whatever went wrong: a broken frame, a REFUSE, silence, the socket.
 */
import type { Duplex } from 'node:stream';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import {
  decodeCredit,
  decodeQuery,
  type Credit,
  type EdgeQuery,
} from '@tapline/shared/tunnel/edge-messages.ts';
import { FrameDecoder } from '@tapline/shared/tunnel/frame-decoder.ts';
import {
  FRAME_ACK,
  FRAME_BYE,
  FRAME_CREDIT,
  FRAME_HEARTBEAT,
  FRAME_QUERY,
  FRAME_REFUSE,
  FRAME_TYPE_LAST,
  FRAME_WELCOME,
  broken,
  frameTypeName,
  type Frame,
} from '@tapline/shared/tunnel/frame.ts';
import {
  clockOffsetMs,
  decodeHeartbeat,
  decodeRefuse,
  decodeWelcome,
  encodeBye,
  encodeHeartbeat,
  encodeHello,
  type Hello,
  type Refuse,
  type Welcome,
} from '@tapline/shared/tunnel/messages.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';

export interface ConnectionOptions {
  readonly heartbeatIntervalMs: number;
  readonly idleTimeoutMs: number;
}

/** May throw an `OperatingError` where the peer's message contradicts the books: that ends the connection. */
export interface ConnectionHandlers {
  welcomed(welcome: Welcome): void;
  acknowledged(lane: number, sequence: number): void;
  /** The collector's clock is ahead by so many milliseconds. */
  clockCompared(offsetMs: number): void;
  /** Somebody asks for packets of the archive here. */
  asked(query: EdgeQuery): void;
  credited(credit: Credit): void;
  /** The socket takes bytes again. */
  writable(): void;
  /** Exactly once. `refusal` when the collector said no; `clean` after its BYE. */
  ended(end: { readonly reason: string; readonly refusal: Refuse | null; readonly clean: boolean }): void;
}

export class UplinkConnection {
  readonly #socket: Duplex;
  readonly #options: ConnectionOptions;
  readonly #clock: TunnelClock;
  readonly #handlers: ConnectionHandlers;
  readonly #decoder = new FrameDecoder(false);
  #state: 'handshake' | 'open' | 'closed' = 'handshake';
  #heardAtMs: number;
  #refusal: Refuse | null = null;
  #peerSaidBye = false;
  #cancelTimer: () => void = () => undefined;
  /** All bytes given to the socket. */
  sentBytes = 0;

  constructor(
    socket: Duplex,
    hello: Hello,
    options: ConnectionOptions,
    clock: TunnelClock,
    handlers: ConnectionHandlers,
  ) {
    this.#socket = socket;
    this.#options = options;
    this.#clock = clock;
    this.#handlers = handlers;
    this.#heardAtMs = clock.monotonicMs();
    socket.on('data', (chunk: Buffer) => {
      this.#receive(chunk);
    });
    socket.on('drain', () => {
      if (this.#state === 'open') handlers.writable();
    });
    socket.on('error', (error) => {
      this.#end(messageOf(error));
    });
    socket.on('close', () => {
      this.#end('the collector closed the connection');
    });
    socket.on('end', () => {
      this.#end('the collector closed the connection');
    });
    this.write(encodeHello(hello));
    this.#armTimer();
  }

  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** Bytes the system has not taken yet wait: nothing more should be written before `writable`. */
  get isFull(): boolean {
    return this.#socket.writableNeedDrain;
  }

  write(frame: Uint8Array): void {
    this.sentBytes += frame.byteLength;
    this.#socket.write(frame);
  }

  sayBye(): void {
    this.write(encodeBye({ reason: 'done' }));
  }

  /** Ends it from this side. */
  close(reason: string): void {
    this.#end(reason);
  }

  #receive(chunk: Buffer): void {
    if (this.#state === 'closed') return;
    this.#heardAtMs = this.#clock.monotonicMs();
    try {
      this.#decoder.push(chunk);
      for (let frame = this.#decoder.next(); frame !== null; frame = this.#decoder.next()) {
        this.#handle(frame);
        // Handlers end a connection too; the rest of the chunk is void then.
        if (this.#isClosed()) return;
      }
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#end(error.message);
    }
  }

  #handle(frame: Frame): void {
    switch (frame.type) {
      case FRAME_WELCOME:
        if (this.#state !== 'handshake') throw broken('order', 'a second WELCOME came', {});
        this.#state = 'open';
        this.#handlers.welcomed(decodeWelcome(frame));
        break;
      case FRAME_ACK:
        if (this.#state !== 'open') throw broken('order', 'an ACK came before the WELCOME', {});
        this.#handlers.acknowledged(frame.lane, frame.sequence);
        break;
      case FRAME_HEARTBEAT:
        this.#answer(frame);
        break;
      case FRAME_REFUSE:
        this.#refusal = decodeRefuse(frame);
        this.#end(`the collector refused: ${this.#refusal.sentence}`);
        break;
      case FRAME_QUERY:
        this.#handlers.asked(decodeQuery(frame));
        break;
      case FRAME_CREDIT:
        this.#handlers.credited(decodeCredit(frame));
        break;
      case FRAME_BYE:
        this.#peerSaidBye = true;
        this.#end('the collector said goodbye');
        break;
      default:
        // Types of a later version are skipped; those of this one that only a forwarder sends are an error.
        if (frame.type >= 1 && frame.type <= FRAME_TYPE_LAST)
          throw broken('order', `a collector never sends ${frameTypeName(frame.type)}`, { type: frame.type });
    }
  }

  #answer(frame: Frame): void {
    const { sentAtMs, answers } = decodeHeartbeat(frame);
    const nowMs = this.#clock.wallMs();
    if (answers !== undefined) {
      this.#handlers.clockCompared(clockOffsetMs(answers, sentAtMs, nowMs));
      return;
    }
    this.write(encodeHeartbeat({ sentAtMs: nowMs, answers: { sentAtMs, receivedAtMs: nowMs } }));
  }

  #armTimer(): void {
    const { heartbeatIntervalMs, idleTimeoutMs } = this.#options;
    this.#cancelTimer = this.#clock.after(heartbeatIntervalMs, () => {
      if (this.#clock.monotonicMs() - this.#heardAtMs > idleTimeoutMs) {
        this.#end(`nothing heard from the collector for ${String(idleTimeoutMs)} ms`);
        return;
      }
      // Behind a stalled link heartbeats would only pile up: what waits there is sign of life enough.
      if (this.#state === 'open' && !this.isFull)
        this.write(encodeHeartbeat({ sentAtMs: this.#clock.wallMs() }));
      this.#armTimer();
    });
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  #end(reason: string): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#cancelTimer();
    this.#socket.destroy();
    this.#handlers.ended({ reason, refusal: this.#refusal, clean: this.#peerSaidBye });
  }
}
