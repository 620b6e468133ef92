/**
 * One connection of a forwarder, the collector's side:
 *
 *   bytes ─▶ greeting ─HELLO─▶ opening ─WELCOME─▶ open ─BYE─▶ leaving ─BYE─▶ closed
 *               └──────────── REFUSE, silence, damage, the socket ────────────▶ closed
 *
 * What a peer sends can end its own session and nothing else. Memory per session: one frame, one chunk, and what the
 * peer does not read (UNREAD_BYTES_MAX). While the sensor's store cannot keep up, the socket is not read.
 */
import type { Duplex } from 'node:stream';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { CODEC_NAMES, type CodecName } from '@tapline/shared/tunnel/codec.ts';
import { FrameDecoder } from '@tapline/shared/tunnel/frame-decoder.ts';
import {
  BATCH_PAYLOAD_BYTES_MAX,
  FRAME_ACK,
  FRAME_HELLO,
  broken,
  encodeFrame,
  frameTypeName,
  type Frame,
} from '@tapline/shared/tunnel/frame.ts';
import {
  decodeHello,
  encodeBye,
  encodeHeartbeat,
  encodeRefuse,
  encodeWelcome,
  type Hello,
  type RefuseCode,
} from '@tapline/shared/tunnel/messages.ts';
import type { TunnelClock } from '@tapline/shared/tunnel/tunnel-clock.ts';
import { ReadThrottle } from './read-throttle.ts';
import type { AttachedSession, LanePosition, SensorIntake } from './sensor-intake.ts';
import type { SessionEvents } from './session-events.ts';
import { takeFrame, type SessionWays } from './session-frames.ts';

/** A peer that does not read its acknowledgements and heartbeats. 32 bytes each: it must try hard. */
const UNREAD_BYTES_MAX = 1024 * 1024;
/** How long a REFUSE or BYE may take to reach the peer before the socket is torn down. */
const FAREWELL_MS = 2000;
const NOTHING = new Uint8Array(0);

/** Whom the connection's certificate speaks for; without TLS nobody. */
export interface SessionCertificate {
  readonly name: string;
  readonly serial: string;
  readonly notAfterMs: number;
}

export interface SessionOptions {
  readonly collector: string;
  readonly software: string;
  readonly helloTimeoutMs: number;
  readonly heartbeatIntervalMs: number;
  readonly idleTimeoutMs: number;
  /** What one sensor may bring; beyond it its socket is read more slowly, and nothing is dropped. */
  readonly bytesPerSecondMax: number | undefined;
}

export interface SessionDependencies {
  readonly clock: TunnelClock;
  /** Finds or opens the sensor's intake. Rejects with an `OperatingError` whose context may carry a REFUSE `code`. */
  readonly openIntake: (hello: Hello, peer: string) => Promise<SensorIntake>;
  readonly events: SessionEvents;
}

export class Session implements AttachedSession {
  readonly peer: string;
  readonly certificate: SessionCertificate | null;
  readonly #socket: Duplex;
  readonly #options: SessionOptions;
  readonly #clock: TunnelClock;
  readonly #dependencies: SessionDependencies;
  readonly #decoder = new FrameDecoder(false);
  readonly #ways: SessionWays;
  #state: 'greeting' | 'opening' | 'open' | 'leaving' | 'closed' = 'greeting';
  #intake: SensorIntake | null = null;
  readonly #throttle: ReadThrottle;
  #isPaused = false;
  #isHeld = false;
  #heardAtMs: number;
  #cancelTimer: () => void = () => undefined;
  #whenClosed: () => void = () => undefined;
  /** Resolves when the session is over. */
  readonly closed: Promise<void>;

  constructor(
    socket: Duplex,
    peer: string,
    certificate: SessionCertificate | null,
    options: SessionOptions,
    dependencies: SessionDependencies,
  ) {
    this.#socket = socket;
    this.peer = peer;
    this.certificate = certificate;
    this.#options = options;
    this.#clock = dependencies.clock;
    this.#dependencies = dependencies;
    this.#throttle = new ReadThrottle(options.bytesPerSecondMax, this.#clock, () => {
      this.#heardAtMs = this.#clock.monotonicMs();
      this.#readOrPause();
    });
    this.#ways = {
      wallMs: () => this.#clock.wallMs(),
      write: (frame) => {
        this.#write(frame);
      },
      acknowledge: (lane, durableSequence) => {
        this.acknowledge(lane, durableSequence);
      },
      leave: () => void this.#leave(),
      refused: (sentence) => {
        this.#close(`the forwarder refused: ${sentence}`, false);
      },
    };
    this.#heardAtMs = this.#clock.monotonicMs();
    this.closed = new Promise((resolve) => {
      this.#whenClosed = resolve;
    });
    socket.on('data', (chunk: Buffer) => {
      this.receive(chunk);
    });
    socket.on('error', (error) => {
      this.#close(messageOf(error), false);
    });
    for (const event of ['end', 'close'])
      socket.on(event, () => {
        this.#close('the forwarder closed the connection', false);
      });
    this.#cancelTimer = this.#clock.after(options.helloTimeoutMs, () => {
      this.#refuse('hello', `no HELLO within ${String(options.helloTimeoutMs)} ms`);
    });
  }

  /** The next bytes of the peer. Called by the socket, and by the listener with those it read to tell the protocol. */
  receive(chunk: Uint8Array): void {
    if (this.#state === 'closed') return;
    this.#heardAtMs = this.#clock.monotonicMs();
    if (this.#intake !== null) this.#intake.lastHeardAtMs = this.#clock.wallMs();
    this.#handleFrames(chunk);
    if (this.#throttle.took(chunk.byteLength)) this.#readOrPause();
  }

  acknowledge(lane: number, durableSequence: number): void {
    if (this.#state === 'open' || this.#state === 'leaving')
      this.#write(encodeFrame(FRAME_ACK, durableSequence, NOTHING, lane));
  }

  resume(): void {
    if (!this.#isPaused || this.#intake?.isOverloaded === true) return;
    this.#isPaused = false;
    this.#heardAtMs = this.#clock.monotonicMs();
    this.#handleFrames(null);
    this.#readOrPause();
  }

  replaced(): void {
    this.#refuse('replaced', 'a newer connection of this sensor took over');
  }

  /** Its certificate was taken back: what was accepted is kept, and nothing more is. */
  revoked(): void {
    this.#refuse('sensor', 'the certificate was revoked');
  }

  /** Reads nothing more, for good; acknowledgements still go out. */
  hold(): void {
    this.#isHeld = true;
    this.#readOrPause();
  }

  /** The collector stops: what was accepted is made durable and acknowledged by the caller before. */
  stop(): void {
    this.#refuse('stopping', 'the collector is stopping; try again');
  }

  /** `chunk`: new bytes, or null to go on with those the decoder has. */
  #handleFrames(chunk: Uint8Array | null): void {
    try {
      if (chunk !== null) this.#decoder.push(chunk);
      while (this.#isReading()) {
        const frame = this.#decoder.next();
        if (frame === null) break;
        this.#handle(frame);
        if (this.#intake?.isOverloaded === true) this.#isPaused = true;
      }
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      const isVersion = error.context['reason'] === 'version';
      const isGreeting = this.#state === 'greeting';
      this.#refuse(isVersion ? 'version' : isGreeting ? 'hello' : 'protocol', error.message);
    }
    this.#readOrPause();
  }

  #isReading(): boolean {
    return (this.#state === 'greeting' || this.#state === 'open') && !this.#isPaused && !this.#isHeld;
  }

  #readOrPause(): void {
    // A closed session reads on, to the bin: closing with unread bytes would reset the connection and the REFUSE with it.
    if (this.#state === 'closed' || (this.#isReading() && !this.#throttle.isOn)) this.#socket.resume();
    else this.#socket.pause();
  }

  #handle(frame: Frame): void {
    if (this.#state === 'greeting') {
      // A later version may greet with something new before its HELLO, but not at length.
      if (frame.type !== FRAME_HELLO)
        throw broken('order', `${frameTypeName(frame.type)} came before HELLO`, {});
      void this.#open(decodeHello(frame));
      return;
    }
    if (this.#intake !== null) takeFrame(frame, this.#intake, this.#ways);
  }

  async #open(hello: Hello): Promise<void> {
    this.#state = 'opening';
    this.#cancelTimer();
    const codec = chooseCodec(hello.codecs);
    if (codec === null) {
      this.#refuse('codec', `one of these codecs cannot be decoded here: ${hello.codecs.join(', ')}`);
      return;
    }
    let intake;
    try {
      intake = await this.#dependencies.openIntake(hello, this.peer);
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#refuse((error.context['code'] as RefuseCode | undefined) ?? 'storage', error.message);
      return;
    }
    if (this.#isClosed()) return;
    this.#state = 'open';
    this.#intake = intake;
    const [first, ...lanes] = intake.attach(this, hello) as [LanePosition, ...LanePosition[]];
    const { nextSequence, durableSequence } = first;
    const { collector, software, idleTimeoutMs } = this.#options;
    this.#decoder.batchesExpected = true;
    this.#write(
      encodeWelcome({
        collector,
        software,
        nextSequence,
        durableSequence,
        ...(lanes.length === 0 ? {} : { lanes }),
        codec,
        limits: { payloadBytesMax: BATCH_PAYLOAD_BYTES_MAX, idleMs: idleTimeoutMs },
        sentAtMs: this.#clock.wallMs(),
      }),
    );
    this.#dependencies.events.sessionOpened?.({ sensor: hello.sensor, peer: this.peer, hello, nextSequence });
    if (hello.edge === true)
      intake.edge.attach((frame) => {
        this.#write(frame);
      });
    this.#armHeartbeat();
    this.#handleFrames(null);
  }

  async #leave(): Promise<void> {
    this.#state = 'leaving';
    await this.#intake?.commit();
    if (this.#isClosed()) return;
    this.#socket.end(encodeBye({ reason: 'done' }));
    this.#close('the forwarder said goodbye', true);
  }

  #armHeartbeat(): void {
    this.#cancelTimer = this.#clock.after(this.#options.heartbeatIntervalMs, () => {
      // Who is not read cannot be heard: silence counts only while the socket is.
      const silentMs = this.#clock.monotonicMs() - this.#heardAtMs;
      if (this.#isReading() && !this.#throttle.isOn && silentMs > this.#options.idleTimeoutMs) {
        this.#close(`nothing heard for ${String(Math.round(silentMs))} ms`, false);
        return;
      }
      this.#write(encodeHeartbeat({ sentAtMs: this.#clock.wallMs() }));
      this.#armHeartbeat();
    });
  }

  #write(frame: Uint8Array): void {
    if (this.#state === 'closed') return;
    if (this.#socket.writableLength > UNREAD_BYTES_MAX) this.#close('the forwarder does not read', false);
    else this.#socket.write(frame);
  }

  #refuse(code: RefuseCode, sentence: string): void {
    if (this.#state === 'closed') return;
    this.#socket.end(encodeRefuse(code, sentence));
    if (this.#intake === null)
      this.#dependencies.events.sessionRefused?.({ peer: this.peer, code, sentence });
    this.#close(sentence, false);
  }

  #isClosed(): boolean {
    return this.#state === 'closed';
  }

  /** The session is over now; the socket gets a moment to deliver what was written. */
  #close(reason: string, clean: boolean): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#cancelTimer();
    this.#throttle.close();
    const intake = this.#intake;
    intake?.detach(this);
    const socket = this.#socket;
    if (!socket.writableEnded) socket.destroy();
    else if (!socket.destroyed) {
      const cancel = this.#clock.after(FAREWELL_MS, () => socket.destroy());
      socket.once('close', cancel);
      socket.resume();
    }
    if (intake !== null)
      this.#dependencies.events.sessionClosed?.({ sensor: intake.sensor, peer: this.peer, reason, clean });
    this.#whenClosed();
  }
}

/** The offered codec this collector likes best; null when one of them could not be decoded, should it come. */
function chooseCodec(offered: readonly string[]): CodecName | null {
  const known = offered.filter((name) => (CODEC_NAMES as readonly string[]).includes(name));
  if (known.length !== offered.length) return null;
  // The sensor knows its link and its processor: its first wish is granted.
  return (known[0] as CodecName | undefined) ?? null;
}
