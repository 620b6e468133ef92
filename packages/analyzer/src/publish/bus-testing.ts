/** For tests: a bus on loopback, its keys, subscribers and readers of its replay; all of them closed after each test. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { Context, Request, Subscriber, curveKeyPair } from 'zeromq';
import { AlertStore } from './alert-store.ts';
import { Bus, type BusOptions } from './bus.ts';
import { writeKeyPair } from './curve-keys.ts';
import { decodeEnvelope, decodeReplayResponse, type Envelope, type ReplayResponse } from './envelope.ts';
import {
  recordEvents,
  removeTemporaryDirectories,
  sampleRecord,
  temporaryDirectory,
} from './publish-test-support.ts';
import { recordOf } from './publisher.ts';

export const LOOPBACK = { host: '127.0.0.1', port: 0 };
export const closers: (() => unknown)[] = [];

/** After each test. */
export async function closeAll(): Promise<void> {
  for (const close of closers.splice(0).reverse()) await close();
  removeTemporaryDirectories();
}

export interface Keys {
  readonly directory: string;
  readonly curve: { readonly key: string; readonly clients: string };
  readonly server: { readonly publicKey: string; readonly secretKey: string };
}

export function serverKeys(): Keys {
  const directory = temporaryDirectory();
  const clients = join(directory, 'clients');
  mkdirSync(clients);
  const key = join(directory, 'server.key');
  const server = curveKeyPair();
  writeKeyPair({ secret: key, public: join(directory, 'server.pub') }, 'server', server);
  return { directory, curve: { key, clients }, server };
}

export function admit(keys: Keys, name: string): { publicKey: string; secretKey: string } {
  const pair = curveKeyPair();
  writeKeyPair(
    { secret: join(keys.directory, `${name}.key`), public: join(keys.curve.clients, `${name}.pub`) },
    name,
    pair,
  );
  return pair;
}

export async function openBus(
  fields: Partial<BusOptions> = {},
  store: AlertStore | null = null,
): Promise<{ bus: Bus; events: ReturnType<typeof recordEvents> }> {
  const events = recordEvents();
  const note = (kind: string) => (what: object) => {
    events.log.push([kind, { ...what }]);
  };
  const bus = new Bus(
    { agent: 'soc-1', listen: LOOPBACK, replay: LOOPBACK, curve: null, ...fields },
    {
      events: { ...events, refused: note('refused'), replayFailed: note('replayFailed') },
      replay: (from, limit) => store?.since(from - 1, limit).map(recordOf) ?? [],
      range: () => store?.range() ?? { first: 0, last: 0 },
      now: () => 1_767_225_600_000,
    },
  );
  await bus.open();
  closers.push(() => bus.sink.close(100));
  return { bus, events };
}

export interface ClientCurve {
  readonly curveServerKey?: string;
  readonly curvePublicKey?: string;
  readonly curveSecretKey?: string;
}

export interface Listener {
  readonly topics: string[];
  readonly envelopes: Envelope[];
  readonly socket: Subscriber;
}

export function subscribe(bus: Bus, curve: ClientCurve = {}, topic = ''): Listener {
  const socket = new Subscriber({ context: new Context(), linger: 0, reconnectInterval: 50, ...curve });
  closers.push(() => {
    socket.close();
  });
  const listener: Listener = { topics: [], envelopes: [], socket };
  socket.subscribe(topic);
  socket.connect(bus.endpoints.listen);
  void (async () => {
    for await (const [name, body] of socket) {
      const decoded = decodeEnvelope(body ?? Buffer.alloc(0));
      if (decoded.kind === 'malformed') throw new Error(decoded.reason);
      listener.topics.push(String(name));
      listener.envelopes.push(decoded.value);
    }
  })();
  return listener;
}

/** Subscriptions take effect a moment after the connection: says something until it is heard. */
export async function joined(bus: Bus, listener: Listener): Promise<void> {
  for (let round = 0; round < 100 && listener.envelopes.length === 0; round++) {
    bus.sink.publish([sampleRecord(1)]);
    await sleep(20);
  }
  expect(listener.envelopes.length).toBeGreaterThan(0);
  await sleep(50);
  listener.envelopes.length = 0;
  listener.topics.length = 0;
}

export async function ask(bus: Bus, payload: Uint8Array, curve: ClientCurve = {}): Promise<ReplayResponse> {
  const socket = new Request({ context: new Context(), linger: 0, receiveTimeout: 3000, ...curve });
  closers.push(() => {
    socket.close();
  });
  socket.connect(bus.endpoints.replay);
  await socket.send(payload);
  const [answer] = await socket.receive();
  const decoded = decodeReplayResponse(answer ?? Buffer.alloc(0));
  if (decoded.kind === 'malformed') throw new Error(decoded.reason);
  return decoded.value;
}
