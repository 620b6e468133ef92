import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Context, Dealer, Request, Subscriber, curveKeyPair } from 'zeromq';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { AlertStore } from './alert-store.ts';
import { Bus, type BusOptions } from './bus.ts';
import { readClientKeys, readKeyPair, writeKeyPair, z85 } from './curve-keys.ts';
import {
  decodeEnvelope,
  decodeReplayResponse,
  encodeReplayRequest,
  type Envelope,
  type ReplayResponse,
} from './envelope.ts';
import {
  recordEvents,
  removeTemporaryDirectories,
  sampleAlert,
  sampleRecord,
  sampleRecords,
  temporaryDirectory,
  until,
} from './publish-test-support.ts';
import { recordOf } from './publisher.ts';

const LOOPBACK = { host: '127.0.0.1', port: 0 };
const closers: (() => unknown)[] = [];

afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
  removeTemporaryDirectories();
});

interface Keys {
  readonly directory: string;
  readonly curve: { readonly key: string; readonly clients: string };
  readonly server: { readonly publicKey: string; readonly secretKey: string };
}

function serverKeys(): Keys {
  const directory = temporaryDirectory();
  const clients = join(directory, 'clients');
  mkdirSync(clients);
  const key = join(directory, 'server.key');
  const server = curveKeyPair();
  writeKeyPair({ secret: key, public: join(directory, 'server.pub') }, 'server', server);
  return { directory, curve: { key, clients }, server };
}

function admit(keys: Keys, name: string): { publicKey: string; secretKey: string } {
  const pair = curveKeyPair();
  writeKeyPair(
    { secret: join(keys.directory, `${name}.key`), public: join(keys.curve.clients, `${name}.pub`) },
    name,
    pair,
  );
  return pair;
}

async function openBus(
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

interface ClientCurve {
  readonly curveServerKey?: string;
  readonly curvePublicKey?: string;
  readonly curveSecretKey?: string;
}

interface Listener {
  readonly topics: string[];
  readonly envelopes: Envelope[];
  readonly socket: Subscriber;
}

function subscribe(bus: Bus, curve: ClientCurve = {}, topic = ''): Listener {
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
async function joined(bus: Bus, listener: Listener): Promise<void> {
  for (let round = 0; round < 100 && listener.envelopes.length === 0; round++) {
    bus.sink.publish([sampleRecord(1)]);
    await sleep(20);
  }
  expect(listener.envelopes.length).toBeGreaterThan(0);
  await sleep(50);
  listener.envelopes.length = 0;
  listener.topics.length = 0;
}

async function ask(bus: Bus, payload: Uint8Array, curve: ClientCurve = {}): Promise<ReplayResponse> {
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

describe('the bus', () => {
  it('sends alerts under their severity and heartbeats under theirs, in order', async () => {
    const { bus } = await openBus();
    const all = subscribe(bus);
    const high = subscribe(bus, {}, 'alert.high');
    await joined(bus, all);
    await joined(bus, high);
    all.topics.length = all.envelopes.length = 0;
    bus.sink.publish([sampleRecord(5, { severity: 'low' }), ...sampleRecords(300, 6)]);
    bus.heartbeat({ agent: 'soc-1', hostname: 'h', version: '1', sentAtUs: 9, uptimeMs: 1, packets: 2, alerts: 3, lastSequence: 305, cpuPercent: 0, rssBytes: 1, intervalMs: 30_000, queues: [] }); // prettier-ignore
    await until(() => all.envelopes.length === 302 && high.envelopes.length === 300, 'all messages');
    expect(all.topics.filter((topic) => topic === 'heartbeat')).toHaveLength(1);
    expect(all.topics[0] === 'alert.low' || all.topics[1] === 'alert.low').toBe(true);
    expect(high.envelopes.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 300 }, (_, i) => i + 6)); // prettier-ignore
    expect(high.envelopes[0]).toMatchObject({ agent: 'soc-1', sentAtUs: 1_767_225_600_000_000, alert: { rule: 'scan-vertical', source: '10.0.0.7' } }); // prettier-ignore
  });

  it('a port that is taken is LISTEN_FAILED, and nothing stays open', async () => {
    const { bus } = await openBus();
    const port = Number(bus.endpoints.listen.split(':').at(-1));
    await expect(openBus({ listen: { host: '127.0.0.1', port } })).rejects.toThrow(OperatingError);
  });

  it('is not impressed by bytes that are no ZeroMQ', async () => {
    const { bus } = await openBus();
    const socket = connect({ host: '127.0.0.1', port: Number(bus.endpoints.listen.split(':').at(-1)) });
    socket.on('error', () => undefined);
    socket.write(Buffer.alloc(100_000, 0x7f));
    const listener = subscribe(bus);
    await joined(bus, listener);
    socket.destroy();
  });
});

describe('CURVE', () => {
  it('a listed key receives; a wrong client key, a wrong server key and no key receive nothing, and ZAP counts them', async () => {
    const keys = serverKeys();
    const siem = admit(keys, 'siem');
    const { bus, events } = await openBus({ curve: keys.curve });
    const stranger = curveKeyPair();
    const of = (pair: typeof stranger, serverKey: string): ClientCurve => ({ curveServerKey: serverKey, curvePublicKey: pair.publicKey, curveSecretKey: pair.secretKey }); // prettier-ignore
    const right = subscribe(bus, of(siem, keys.server.publicKey));
    const wrongs = [
      subscribe(bus, of(stranger, keys.server.publicKey)),
      subscribe(bus, of(siem, stranger.publicKey)),
      subscribe(bus),
    ];
    await joined(bus, right);
    await until(() => bus.zapCounters.refused > 0, 'a refusal');
    bus.sink.publish(sampleRecords(50, 2));
    await until(() => right.envelopes.length === 50, 'the alerts');
    await sleep(300);
    expect(wrongs.map(({ envelopes }) => envelopes.length)).toEqual([0, 0, 0]);
    expect(bus.zapCounters.admitted).toBe(1);
    expect(events.log.find(([kind]) => kind === 'refused')?.[1]).toMatchObject({ key: stranger.publicKey, reason: 'its key is not listed' }); // prettier-ignore
  });

  it('guards the replay as well', async () => {
    const keys = serverKeys();
    const siem = admit(keys, 'siem');
    const { bus } = await openBus({ curve: keys.curve });
    const request = encodeReplayRequest({ fromSequence: 1, limit: 10 });
    const curve = { curveServerKey: keys.server.publicKey, curvePublicKey: siem.publicKey, curveSecretKey: siem.secretKey }; // prettier-ignore
    expect((await ask(bus, request, curve)).error).toBe('');
    const stranger = new Request({ context: new Context(), linger: 0, receiveTimeout: 300, ...curve, curvePublicKey: curveKeyPair().publicKey }); // prettier-ignore
    closers.push(() => {
      stranger.close();
    });
    stranger.connect(bus.endpoints.replay);
    await stranger.send(request);
    await expect(stranger.receive()).rejects.toThrow();
  });

  it('a client that is listed later is admitted after a reload; a list that cannot be read leaves the old', async () => {
    const keys = serverKeys();
    const { bus } = await openBus({ curve: keys.curve });
    const siem = admit(keys, 'siem');
    const curve = { curveServerKey: keys.server.publicKey, curvePublicKey: siem.publicKey, curveSecretKey: siem.secretKey }; // prettier-ignore
    const early = subscribe(bus, curve);
    await until(() => bus.zapCounters.refused > 0, 'a refusal');
    bus.reopen();
    writeFileSync(join(keys.curve.clients, 'broken.pub'), 'no key\n');
    expect(() => {
      bus.reopen();
    }).toThrow(/broken\.pub/);
    // Who was refused does not come again by itself in libzmq: a new connection.
    early.socket.close();
    const listener = subscribe(bus, curve);
    await joined(bus, listener);
  });

  it('key files: modes, wrong contents, and Z85 as ZeroMQ writes it', () => {
    const keys = serverKeys();
    const pair = admit(keys, 'a');
    expect(readKeyPair(join(keys.directory, 'a.key'))).toEqual(pair);
    expect([...readClientKeys(keys.curve.clients)]).toEqual([[pair.publicKey, 'a']]);
    const open = join(keys.directory, 'open.key');
    writeFileSync(open, `${pair.publicKey}\n${pair.secretKey}\n`, { mode: 0o604 });
    expect(() => readKeyPair(open)).toThrow(/chmod/);
    writeFileSync(join(keys.directory, 'short.key'), `${pair.publicKey}\n`, { mode: 0o600 });
    expect(() => readKeyPair(join(keys.directory, 'short.key'))).toThrow(/public and a secret key/);
    expect(() => { writeKeyPair({ secret: open, public: `${open}.pub` }, 'x', pair); }).toThrow(/no key was made/); // prettier-ignore
    // The example of ZeroMQ's RFC 32.
    expect(z85(Buffer.from('864fd26fb559f75b', 'hex'))).toBe('HelloWorld');
  });
});

describe('the replay', () => {
  function filledStore(count: number, fields: Parameters<typeof sampleAlert>[1] = {}): AlertStore {
    const store = new AlertStore({ path: join(temporaryDirectory(), 'alerts.db') });
    closers.push(() => {
      store.close();
    });
    store.put(Array.from({ length: count }, (_, i) => sampleAlert(i + 1, fields)));
    return store;
  }

  it('gives a late subscriber exactly what it missed', async () => {
    const store = filledStore(0);
    const { bus } = await openBus({}, store);
    const publish = (from: number, count: number): void => {
      bus.sink.publish(store.put(Array.from({ length: count }, (_, i) => sampleAlert(from + i))).map(recordOf));
    }; // prettier-ignore
    publish(1, 2500);
    await until(() => bus.sink.queued === 0, 'that nobody hears');
    const late = subscribe(bus);
    for (let number = 10_001; late.envelopes.length === 0; number++) {
      publish(number, 1);
      await sleep(20);
    }
    const firstSeen = late.envelopes[0]?.sequence ?? 0;
    const missed: number[] = [];
    for (let from = 1; from < firstSeen;) {
      const { envelopes, error, lastSequence } = await ask(bus, encodeReplayRequest({ fromSequence: from, limit: 0 })); // prettier-ignore
      expect(error).toBe('');
      expect(lastSequence).toBe(store.range().last);
      missed.push(...envelopes.map(({ sequence }) => sequence).filter((sequence) => sequence < firstSeen));
      from = (envelopes.at(-1)?.sequence ?? firstSeen) + 1;
    }
    expect(missed).toEqual(Array.from({ length: firstSeen - 1 }, (_, i) => i + 1));
    expect(missed.length).toBeGreaterThanOrEqual(2500);
  });

  it('answers what is wrong with an error, and goes on', async () => {
    const store = filledStore(20);
    const { bus, events } = await openBus({}, store);
    for (const payload of ['ffffff', '10e907', '0affff', 'ff'.repeat(60)])
      expect((await ask(bus, Buffer.from(payload, 'hex'))).error, payload).not.toBe('');
    // A DEALER without the empty frame, and one with more frames than anybody needs.
    const dealer = new Dealer({ context: new Context(), linger: 0, receiveTimeout: 3000 });
    closers.push(() => {
      dealer.close();
    });
    dealer.connect(bus.endpoints.replay);
    const answerOf = async (): Promise<ReplayResponse | null> => {
      const decoded = decodeReplayResponse((await dealer.receive()).at(-1) ?? Buffer.alloc(0));
      return decoded.kind === 'message' ? decoded.value : null;
    };
    await dealer.send(['a', 'b', 'c', 'd', 'e']);
    expect((await answerOf())?.error).not.toBe('');
    await dealer.send(encodeReplayRequest({ fromSequence: 18, limit: 2 }));
    expect((await answerOf())?.envelopes.map(({ sequence }) => sequence)).toEqual([18, 19]);
    // More than a request can be long: cut off by ZeroMQ itself.
    await dealer.send(Buffer.alloc(100_000));
    expect((await ask(bus, encodeReplayRequest({ fromSequence: 20, limit: 9 }))).envelopes).toHaveLength(1);
    expect(bus.counters).toMatchObject({ malformed: 5, replays: 2 });
    expect(events.log.filter(([kind]) => kind === 'replayFailed')).toHaveLength(5);
  });

  it('a response ends at 4 MiB, and the next begins where it ended', async () => {
    const store = filledStore(900, { evidence: 'e'.repeat(10_000) });
    const { bus } = await openBus({}, store);
    const sizes: number[] = [];
    for (let from = 1; from <= 900;) {
      const { envelopes } = await ask(bus, encodeReplayRequest({ fromSequence: from, limit: 1000 }));
      expect(envelopes[0]?.sequence).toBe(from);
      sizes.push(envelopes.length);
      from += envelopes.length;
    }
    expect(sizes.length).toBe(3);
  });
});

/** A process of its own that publishes until its subscriber has stopped reading, and then closes its bus. */
function publishingProcess(): ChildProcessByStdio<Writable, Readable, null> {
  const at = (name: string): string => JSON.stringify(new URL(name, import.meta.url).href);
  const script = `
    const { Bus } = await import(${at('./bus.ts')});
    const { sampleRecords } = await import(${at('./publish-test-support.ts')});
    const nothing = () => undefined;
    const events = { failed: nothing, recovered: nothing, dropped: nothing, refused: nothing, replayFailed: nothing };
    const LOOPBACK = { host: '127.0.0.1', port: 0 };
    const bus = new Bus({ agent: 'a', listen: LOOPBACK, replay: LOOPBACK, curve: null }, { events, replay: () => [], range: () => ({ first: 0, last: 0 }) });
    await bus.open();
    console.log(bus.endpoints.listen);
    const settled = async () => { while (bus.sink.queued > 0) await new Promise((resolve) => setTimeout(resolve, 5)); };
    for await (const order of process.stdin) {
      if (String(order) === 'end') break;
      bus.sink.publish(sampleRecords(1));
      if (String(order) !== 'many') continue;
      const records = sampleRecords(9000).map((record) => ({ ...record, evidence: 'e'.repeat(4000) }));
      for (let round = 0; round < 3; round++) {
        bus.sink.publish(records.map((record) => ({ ...record, sequence: record.sequence + 9000 * round + 1 })));
        await settled();
      }
      console.log('published ' + JSON.stringify(bus.sink.counters));
    }
    await bus.sink.close(100);
    console.log('closed');
  `;
  return spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: 9000,
  });
}

describe('the end of a process', () => {
  it('comes by itself when its bus is closed', async () => {
    const child = publishingProcess();
    child.stdin.end();
    expect(await once(child, 'exit')).toEqual([0, null]);
  });

  it('comes soon, and publishing waits for nobody, when a subscriber has stopped reading', async () => {
    const child = publishingProcess();
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    await until(() => output.includes('\n'), 'the port');
    const script = `const { Subscriber } = await import(${JSON.stringify(import.meta.resolve('zeromq'))});
      const socket = new Subscriber();
      socket.subscribe('');
      socket.connect(${JSON.stringify(output.trim())});
      for await (const [topic] of socket) console.log(String(topic));`;
    const subscriber = spawn(process.execPath, ['--input-type=module', '-e', script], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    closers.push(() => subscriber.kill('SIGKILL'));
    let heard = '';
    subscriber.stdout.on('data', (chunk: Buffer) => (heard += chunk.toString()));
    for (let round = 0; round < 100 && heard === ''; round++) {
      child.stdin.write('one');
      await sleep(30);
    }
    expect(heard).toContain('alert.high');
    subscriber.kill('SIGSTOP');
    child.stdin.write('many');
    await until(() => output.includes('published'), 'all of it');
    expect(output).toMatch(/"dropped":0/);
    const before = performance.now();
    child.stdin.write('end');
    expect(await once(child, 'exit')).toEqual([0, null]);
    // One second is what messages under way are given.
    expect(performance.now() - before).toBeLessThan(3000);
  });
});
