/** The bus: what subscribers hear, what late ones can ask for, and that nobody who does not read holds it up. */
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { Context, Dealer } from 'zeromq';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { AlertStore } from './alert-store.ts';
import { decodeReplayResponse, encodeReplayRequest, type ReplayResponse } from './envelope.ts';
import {
  sampleAlert,
  sampleRecord,
  sampleRecords,
  temporaryDirectory,
  until,
} from './publish-test-support.ts';
import { recordOf } from './publisher.ts';
import { ask, closeAll, closers, joined, openBus, subscribe } from './bus-testing.ts';

afterEach(closeAll);

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
