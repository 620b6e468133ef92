/** What connects to a collector and is no sensor, or no good one: it is told so in a sentence, and the others do not notice. */
import { connect } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { FRAME_REFUSE, FRAME_REPORT, encodeFrame } from '../../packages/shared/src/tunnel/frame.ts';
import { decodeRefuse, encodeBye, type Refuse } from '../../packages/shared/src/tunnel/messages.ts';
import { encodeBatch } from '../../packages/shared/src/tunnel/packet-batch.ts';
import {
  decodeChunks,
  helloOf,
  numberedBatch,
  seededRandom,
} from '../../packages/shared/src/tunnel/tunnel-test-support.ts';
import { cleanUp, numbers, until } from '../support/numbered.ts';
import { startCollector, startUplink } from '../support/tunnel-ends.ts';

afterEach(cleanUp);

/** Sends bytes to the collector and returns what it answered until it closed. */
function exchange(port: number, bytes: Uint8Array): Promise<Buffer> {
  return new Promise((resolve) => {
    const answer: Buffer[] = [];
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes));
    socket.on('data', (chunk: Buffer) => answer.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      resolve(Buffer.concat(answer));
    });
  });
}

function refusalIn(answer: Buffer): Refuse {
  const frame = decodeChunks([answer]).find(({ type }) => type === FRAME_REFUSE);
  if (frame === undefined) throw new Error('no REFUSE came');
  return decodeRefuse(frame);
}

describe('a collector among strangers', () => {
  it('answers a wrong version with REFUSE', async () => {
    const collector = await startCollector();
    const bytes = helloOf('probe-1');
    bytes[4] = 9;
    expect(refusalIn(await exchange(collector.port, bytes))).toMatchObject({ code: 'version' });
  });

  it('answers anything but a HELLO with REFUSE', async () => {
    const collector = await startCollector();
    const report = encodeFrame(FRAME_REPORT, 0, Buffer.from('{}'));
    expect(refusalIn(await exchange(collector.port, report)).code).toBe('hello');
    expect(refusalIn(await exchange(collector.port, encodeBatch(numberedBatch(1, 1), 1, 'none'))).code).toBe(
      'hello',
    );
  });

  it('refuses a codec it cannot decode', async () => {
    const collector = await startCollector();
    const text = Buffer.from(helloOf('probe-1').subarray(32)).toString().replace('zstd', 'rar5');
    expect(refusalIn(await exchange(collector.port, encodeFrame(1, 0, Buffer.from(text)))).code).toBe(
      'codec',
    );
  });

  it('refuses a stream with a hole in it, and keeps what came before', async () => {
    const collector = await startCollector();
    const bytes = Buffer.concat([
      helloOf('probe-1'),
      encodeBatch(numberedBatch(1, 5), 1, 'zstd'),
      encodeBatch(numberedBatch(6, 5), 3, 'zstd'),
    ]);
    expect(refusalIn(await exchange(collector.port, bytes))).toMatchObject({ code: 'protocol' });
    await until(() => collector.disk('probe-1').numbers.length === 5);
  });

  it('skips and counts frames of types it does not know', async () => {
    const collector = await startCollector();
    const future = encodeFrame(200, 0, new Uint8Array(1000));
    const bytes = Buffer.concat([
      helloOf('probe-1'),
      future,
      encodeBatch(numberedBatch(1, 5), 1, 'zstd'),
      encodeBye({ reason: 'done' }),
    ]);
    await exchange(collector.port, bytes);
    expect(collector.disk('probe-1').numbers).toEqual(numbers(1, 5));
    expect(collector.sessions.sensors[0]?.counters.unknownFrames).toBe(1);
  });

  it('drops who says nothing, half a HELLO or half a magic', async () => {
    const collector = await startCollector({ helloTimeoutMs: 50, greetingTimeoutMs: 50 });
    expect(await exchange(collector.port, new Uint8Array(0))).toHaveLength(0);
    expect(await exchange(collector.port, helloOf('probe-1').subarray(0, 3))).toHaveLength(0);
    expect(refusalIn(await exchange(collector.port, helloOf('probe-1').subarray(0, 40))).code).toBe('hello');
    await until(() => collector.listener.connectionCount === 0);
  });

  it('gives up a sensor that falls silent', async () => {
    const collector = await startCollector({ heartbeatIntervalMs: 10, idleTimeoutMs: 60 });
    await exchange(collector.port, helloOf('probe-1'));
    expect(collector.sessions.sensors[0]?.isConnected).toBe(false);
  });

  it('keeps the connection of a sensor that has nothing to send but heartbeats', async () => {
    const collector = await startCollector({ heartbeatIntervalMs: 10, idleTimeoutMs: 60 });
    const uplink = startUplink(collector.port, { heartbeatIntervalMs: 10, idleTimeoutMs: 60 });
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(uplink.counters.connections).toBe(1);
    expect(collector.sessions.sensors[0]?.clockOffsetMs).toBeTypeOf('number');
    expect(Math.abs(collector.sessions.sensors[0]?.clockOffsetMs ?? 1000)).toBeLessThan(100);
  });

  it('says that it is full, and serves those it has', async () => {
    const collector = await startCollector({ connectionsMax: 1 });
    const uplink = startUplink(collector.port);
    await until(() => uplink.counters.connections === 1);
    expect(refusalIn(await exchange(collector.port, helloOf('other'))).code).toBe('busy');
    uplink.offer(numberedBatch(1, 10));
    expect(await uplink.drain(10_000)).toBe(0);
  });

  it('survives noise behind a good handshake, and other sensors do not notice', async () => {
    const collector = await startCollector();
    const uplink = startUplink(collector.port, { sensor: 'good' });
    const random = seededRandom(5);
    for (let i = 0; i < 30; i++) {
      const noise = Uint8Array.from({ length: 200 }, () => Math.floor(random() * 256));
      const batch = encodeBatch(numberedBatch(i, 1), 1, 'zstd');
      batch[Math.floor(random() * batch.byteLength)] = 0xa5;
      await exchange(collector.port, Buffer.concat([helloOf('bad'), i % 2 === 0 ? batch : noise, noise]));
      uplink.offer(numberedBatch(i, 1));
    }
    expect(await uplink.drain(10_000)).toBe(0);
    expect(collector.disk('good').numbers).toEqual(numbers(0, 29));
  });
});
