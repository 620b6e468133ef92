/**
 * The bus: alerts and heartbeats for whoever subscribes, over ZeroMQ, and a replay of stored ones for who came late.
 *
 *   PUB      topic `alert.<severity>` or `heartbeat` | Envelope
 *   ROUTER   (identity, perhaps an empty frame) | ReplayRequest  ─▶  the same | ReplayResponse
 *
 * PUB never waits: what a slow subscriber does not take is dropped for it, silently. Sequences show the hole, the replay fills it; the bus by itself
 * is no durable path. Sockets live on the main thread and are closed before the process ends: ZeroMQ aborts the process otherwise.
 */
import { setImmediate as turn } from 'node:timers/promises';
import { OperatingError, messageOf } from '@tapline/shared/base/errors.ts';
import { Context, Publisher as PubSocket, Router } from 'zeromq';
import type { AlertRecord } from './alert-record.ts';
import { readClientKeys, readKeyPair } from './curve-keys.ts';
import {
  REPLAY_BYTES_MAX,
  alertEnvelope,
  decodeReplayRequest,
  encodeEnvelope,
  encodeReplayResponse,
  heartbeatEnvelope,
  type Envelope,
  type ReplayResponse,
} from './envelope.ts';
import type { Health } from './health.ts';
import { QueuedSink, type Courier } from './queued-sink.ts';
import type { Sink, SinkEvents } from './sink.ts';
import { ZapHandler, type ZapEvents } from './zap-handler.ts';

const BATCH_MAX = 200;
/** Messages that wait for one subscriber: × about 4 KiB = 40 MiB, should it stop reading. */
const SUBSCRIBER_QUEUE_MAX = 10_000;
/** Responses that wait for one asker: × at most 4 MiB. */
const REPLAY_QUEUE_MAX = 8;
const FRAMES_MAX = 4;
/** Of what peers send: subscriptions and requests are shorter, but CURVE's handshake, of about 300 bytes, counts as well. */
const PEER_MESSAGE_BYTES_MAX = 1024;
/** A connection that says nothing for so long is gone. */
const HEARTBEAT_MS = 10_000;
const HANDSHAKE_MS = 5000;
const LINGER_MS = 1000;
const DOMAIN = 'tapline';

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

export interface BusOptions {
  readonly agent: string;
  readonly listen: Endpoint;
  readonly replay: Endpoint | null;
  /** File of the daemon's own keys, directory of public keys that are admitted; null: in clear text, for whoever can connect. */
  readonly curve: { readonly key: string; readonly clients: string } | null;
}

export interface BusDependencies {
  readonly events: SinkEvents & ZapEvents & { replayFailed(problem: { readonly reason: string }): void };
  /** Stored tellings with this sequence and above. */
  replay(fromSequence: number, limit: number): readonly AlertRecord[];
  range(): { readonly first: number; readonly last: number };
  /** Wall time in milliseconds. */
  readonly now?: () => number;
}

export class Bus {
  readonly counters = { replays: 0, replayed: 0, malformed: 0, heartbeats: 0 };
  readonly #options: BusOptions;
  readonly #dependencies: BusDependencies;
  readonly #context = new Context();
  readonly #pub: PubSocket;
  readonly #router: Router | null;
  readonly #zap: ZapHandler | null;
  readonly #now: () => number;
  #answering: Promise<void> | null = null;
  /** A socket takes one message at a time. */
  #sending: Promise<void> = Promise.resolve();
  #isClosed = false;
  /** Gives alerts to this bus. */
  readonly sink: Sink;

  /** Throws CONFIG_INVALID when the keys cannot be used. */
  constructor(options: BusOptions, dependencies: BusDependencies) {
    this.#options = options;
    this.#dependencies = dependencies;
    this.#now = dependencies.now ?? Date.now;
    const { curve } = options;
    const keys = curve === null ? null : readKeyPair(curve.key);
    this.#zap = curve === null ? null : new ZapHandler(this.#context, readClientKeys(curve.clients), dependencies.events); // prettier-ignore
    const common = {
      context: this.#context,
      linger: LINGER_MS,
      ipv6: true,
      heartbeatInterval: HEARTBEAT_MS,
      heartbeatTimeout: 3 * HEARTBEAT_MS,
      handshakeInterval: HANDSHAKE_MS,
      ...(keys === null
        ? {}
        : { curveServer: true, curveSecretKey: keys.secretKey, zapDomain: DOMAIN, zapEnforceDomain: true }),
    };
    this.#pub = new PubSocket({
      ...common,
      sendHighWaterMark: SUBSCRIBER_QUEUE_MAX,
      maxMessageSize: PEER_MESSAGE_BYTES_MAX,
    });
    this.#router = options.replay === null ? null : new Router({ ...common, sendHighWaterMark: REPLAY_QUEUE_MAX, receiveHighWaterMark: REPLAY_QUEUE_MAX, maxMessageSize: PEER_MESSAGE_BYTES_MAX }); // prettier-ignore
    this.sink = new QueuedSink({ name: 'bus' }, this.#courier(), dependencies.events);
  }

  get zapCounters(): { readonly admitted: number; readonly refused: number } {
    return this.#zap?.counters ?? { admitted: 0, refused: 0 };
  }

  /** What it listens on: `tcp://…` of PUB and of the replay, with the ports that the system chose. */
  get endpoints(): { readonly listen: string; readonly replay: string } {
    return { listen: this.#pub.lastEndpoint ?? '', replay: this.#router?.lastEndpoint ?? '' };
  }

  /** Opens the ports. Rejects with LISTEN_FAILED, and then everything is closed again. */
  async open(): Promise<void> {
    try {
      // Before the ports: nobody comes in unasked.
      await this.#zap?.open();
      await bind(this.#pub, this.#options.listen);
      if (this.#router !== null && this.#options.replay !== null) {
        await bind(this.#router, this.#options.replay);
        this.#answering = this.#answer(this.#router);
      }
    } catch (error) {
      await this.#closeSockets();
      throw error;
    }
  }

  /** Sends a heartbeat; never waits. */
  heartbeat(health: Health): void {
    this.counters.heartbeats++;
    this.#send('heartbeat', heartbeatEnvelope(health)).catch((error: unknown) => {
      this.#dependencies.events.failed({ sink: 'bus', message: messageOf(error), retryMs: 0 });
    });
  }

  /** Reads the list of clients again. Throws CONFIG_INVALID; then the old list stays in force. */
  reopen(): void {
    const { curve } = this.#options;
    if (curve !== null) this.#zap?.setClients(readClientKeys(curve.clients));
  }

  #courier(): Courier {
    return {
      batchMax: BATCH_MAX,
      deliver: async (records) => {
        const sentAtUs = this.#now() * 1000;
        for (const record of records)
          await this.#send(
            `alert.${record.severity}`,
            alertEnvelope(record, { agent: this.#options.agent, sentAtUs }),
          );
      },
      health: (health) => {
        this.heartbeat(health);
      },
      reopen: () => {
        this.reopen();
      },
      close: () => this.#closeSockets(),
    };
  }

  #send(topic: string, envelope: Envelope): Promise<void> {
    const sent = this.#sending.then(async () => {
      if (!this.#isClosed) await this.#pub.send([topic, encodeEnvelope(envelope)]);
    });
    this.#sending = sent.catch(() => undefined);
    return sent;
  }

  async #closeSockets(): Promise<void> {
    if (this.#isClosed) return;
    await this.#sending;
    this.#isClosed = true;
    this.#pub.close();
    this.#router?.close();
    await this.#answering;
    await this.#zap?.close();
  }

  /** One request after the other; between them the daemon's other work has its turn. */
  async #answer(router: Router): Promise<void> {
    for await (const frames of router) {
      try {
        const response = frames.length < 2 || frames.length > FRAMES_MAX ? this.#refuse('a request is one frame') : this.#respond(frames.at(-1)); // prettier-ignore
        // Who asks with REQ needs its empty frame back.
        const isRequester = frames.length === 3 && frames[1]?.byteLength === 0;
        await router.send([frames[0] ?? '', ...(isRequester ? [''] : []), encodeReplayResponse(response)]);
      } catch (error) {
        if (this.#isClosed) return;
        this.#dependencies.events.replayFailed({ reason: messageOf(error) });
      }
      await turn();
    }
  }

  #respond(bytes: Uint8Array | undefined): ReplayResponse {
    const request = decodeReplayRequest(bytes ?? new Uint8Array());
    if (request.kind === 'malformed') return this.#refuse(request.reason);
    try {
      const { fromSequence, limit } = request.value;
      const records = this.#dependencies.replay(fromSequence, limit);
      const { first, last } = this.#dependencies.range();
      const envelopes = this.#fitting(records);
      this.counters.replays++;
      this.counters.replayed += envelopes.length;
      return { error: '', envelopes, firstSequence: first, lastSequence: last };
    } catch (error) {
      if (!(error instanceof OperatingError)) throw error;
      this.#dependencies.events.replayFailed({ reason: error.message });
      return refusal('the store cannot be read');
    }
  }

  /** As many as may go into one response, at least one. */
  #fitting(records: readonly AlertRecord[]): Envelope[] {
    const origin = { agent: this.#options.agent, sentAtUs: this.#now() * 1000 };
    const envelopes: Envelope[] = [];
    let bytes = 0;
    for (const record of records) {
      const envelope = alertEnvelope(record, origin);
      bytes += encodeEnvelope(envelope).byteLength;
      if (envelopes.length > 0 && bytes > REPLAY_BYTES_MAX) break;
      envelopes.push(envelope);
    }
    return envelopes;
  }

  #refuse(reason: string): ReplayResponse {
    this.counters.malformed++;
    this.#dependencies.events.replayFailed({ reason });
    return refusal(reason);
  }
}

function refusal(error: string): ReplayResponse {
  return { error, envelopes: [], firstSequence: 0, lastSequence: 0 };
}

async function bind(socket: PubSocket | Router, { host, port }: Endpoint): Promise<void> {
  const address = `tcp://${host.includes(':') ? `[${host}]` : host}:${port}`;
  try {
    await socket.bind(address);
  } catch (error) {
    throw new OperatingError('LISTEN_FAILED', `the bus cannot listen on ${address}: ${messageOf(error)}`, { host, port }, error); // prettier-ignore
  }
}
