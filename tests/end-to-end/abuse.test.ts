/**
 * A collector on an open port, and everything that can be done to it: while one sensor goes on sending, strangers hold connections,
 * lie about lengths, send bombs, noise and old recordings. The sensor must not notice, memory must stay bounded, and the log
 * must stay readable.
 */
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { zstdCompressSync } from 'node:zlib';
import { TunnelUplink } from '@tapline/forwarder/src/tunnel/tunnel-uplink.ts';
import { Prng } from '@tapline/shared/base/prng.ts';
import {
  BATCH_PREFIX_BYTES,
  FRAME_BATCH,
  FRAME_HEADER_BYTES,
  FRAME_HELLO,
  encodeFrame,
  sealFrame,
} from '@tapline/shared/tunnel/frame.ts';
import { encodeBatch } from '@tapline/shared/tunnel/packet-batch.ts';
import { helloOf, numberedBatch } from '@tapline/shared/tunnel/tunnel-test-support.ts';
import { afterAll, describe, expect, it } from 'vitest';
import { packetsOfFile } from '../support/captured.ts';
import { Program, booksOf } from '../support/child.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-abuse-'));
const programs: Program[] = [];
afterAll(async () => {
  for (const program of programs) program.child.kill('SIGKILL');
  for (const program of programs) await program.exited;
  rmSync(directory, { recursive: true, force: true });
});

/** Measured: 163 MiB at most in all of this. More than twice that says that something grows. */
const RESIDENT_MIB_MAX = 400;

let runs = 0;
async function startCollector(limits: string): Promise<{ collector: Program; port: number; soc: string }> {
  const soc = join(directory, `soc-${String(runs)}`);
  const file = join(directory, `collector-${String(runs++)}.yaml`);
  writeFileSync(
    file,
    `port: 0\nbind: 127.0.0.1\nprotocol: tcp\narchive: {link_type: ethernet}\nlimits: {${limits}}\noutput_directories: {pcap_raw_output_path: ${soc}}\n`,
  );
  const collector = new Program('collector', ['-c', file]);
  programs.push(collector);
  return { collector, port: Number((await collector.line('Listening for sensors.'))['port']), soc };
}

function startSensor(port: number, name = 'good'): TunnelUplink {
  const uplink = new TunnelUplink(
    { protocol: 'tunnel', collectors: [{ host: '127.0.0.1', port }], sensor: name, compression: 'zstd', onFull: 'wait', retryFirstMs: 5, retryCapMs: 50 }, // prettier-ignore
    { events: {} },
  );
  uplink.start();
  return uplink;
}

function peakMib(program: Program): number {
  const status = readFileSync(`/proc/${String(program.child.pid)}/status`, 'utf8');
  return Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024;
}

/** Opens a connection, sends, and waits for its end. */
function attack(port: number, bytes: Uint8Array, end = true): Promise<string> {
  return new Promise((resolve) => {
    const answer: Buffer[] = [];
    const socket = connect(port, '127.0.0.1', () => {
      if (end) socket.end(bytes);
      else socket.write(bytes);
    });
    socket.on('data', (chunk: Buffer) => answer.push(chunk));
    socket.on('error', () => undefined);
    socket.on('close', () => {
      resolve(Buffer.concat(answer).toString('latin1'));
    });
  });
}

/** A BATCH that declares one record of 1 MiB and unpacks to far more, or to nothing. */
function bomb(codec: 1 | 2): Uint8Array {
  const packed = codec === 1 ? zstdCompressSync(Buffer.alloc(200 * 1024 * 1024)) : Buffer.concat([Buffer.from([0, 0, 16, 0]), Buffer.alloc(4000, 0xff)]); // prettier-ignore
  const frame = new Uint8Array(FRAME_HEADER_BYTES + BATCH_PREFIX_BYTES + packed.byteLength);
  frame.set(packed, FRAME_HEADER_BYTES + BATCH_PREFIX_BYTES);
  sealFrame(frame, { type: FRAME_BATCH, codec, plainBytes: BATCH_PREFIX_BYTES + 1024 * 1024, sequence: 1, packetCount: 1, lane: 0 }); // prettier-ignore
  return frame;
}

function changed(frame: Uint8Array, at: number, bytes: readonly number[]): Uint8Array {
  const copy = new Uint8Array(frame);
  copy.set(bytes, at);
  return copy;
}

describe('a collector under attack', () => {
  it('serves its sensor as if nothing was, with bounded memory and a readable log', async () => {
    const { collector, port, soc } = await startCollector('hello_timeout: 1s, connections_max: 400, connections_per_address: 390, sensors_max: 20'); // prettier-ignore
    const sensor = startSensor(port);
    let sent = 0;
    let isOver = false;
    const sending = (async () => {
      while (!isOver) {
        await sensor.waitForRoom();
        sensor.offer(numberedBatch(sent, 100, 400));
        sent += 100;
        await sleep(5);
      }
    })();
    const random = new Prng(7, 'abuse');
    const batch = encodeBatch(numberedBatch(0, 10), 1, 'none');
    const slow: Socket[] = [];
    // Half-open: more than there is room for. They hold what they get until the collector has had enough.
    for (let i = 0; i < 500; i++) slow.push(connect(port, '127.0.0.1').on('error', () => undefined));
    // Byte by byte, for as long as they are let.
    const trickles = Array.from({ length: 20 }, (_, index) => {
      const socket = connect(port, '127.0.0.1').on('error', () => undefined);
      const bytes = helloOf(`slow-${String(index)}`);
      let at = 0;
      const timer = setInterval(() => {
        if (at >= bytes.byteLength || socket.destroyed) clearInterval(timer);
        else socket.write(bytes.subarray(at, ++at));
      }, 30);
      return new Promise((resolve) => socket.on('close', resolve));
    });
    await Promise.all(trickles);
    for (const socket of slow) socket.destroy();
    const told = [
      ['a lying length', changed(helloOf('evil-1'), 8, [0xff, 0xff, 0xff, 0x7f])],
      ['a wrong checksum', changed(helloOf('evil-2'), 28, [1, 2, 3, 4])],
      ['a wrong version', changed(helloOf('evil-3'), 4, [9])],
      ['a batch before HELLO', batch],
      ['no JSON', encodeFrame(FRAME_HELLO, 0, Buffer.alloc(60_000, 0x7b))],
    ] as const;
    for (const [what, bytes] of told) expect(await attack(port, bytes), what).toContain('"code":');
    const within = [
      ['a zstd bomb', bomb(1)],
      ['an LZ4 bomb', bomb(2)],
      ['a hole in the sequence', encodeBatch(numberedBatch(0, 10), 77, 'none')],
      ['a lane nobody opened', encodeBatch(numberedBatch(0, 10), 1, 'none', 9)],
      ['a changed batch', changed(batch, batch.byteLength - 1, [0xaa])],
    ] as const;
    for (const [what, bytes] of within)
      expect(await attack(port, Buffer.concat([helloOf('evil-4'), bytes]), false), what).toContain(
        '"code":"protocol"',
      );
    // An old recording of a whole session, twice: its packets are in the archive once.
    const recording = Buffer.concat([helloOf('evil-5'), batch]);
    for (let i = 0; i < 2; i++) {
      const socket = connect(port, '127.0.0.1', () => socket.write(recording));
      socket.on('error', () => undefined);
      await sleep(600);
      socket.destroy();
    }
    // Noise, in many connections at once, some of which begin as a forwarder would.
    for (let round = 0; round < 40; round++)
      await Promise.all(
        Array.from({ length: 50 }, () => {
          const noise = random.bytes(4 + random.below(3000));
          if (random.chance(0.5)) noise.set(Buffer.from('TAPL'));
          return attack(port, noise);
        }),
      );
    // More names than there may be sensors.
    for (let i = 0; i < 30; i++) {
      const socket = connect(port, '127.0.0.1', () => socket.write(helloOf(`name-${String(i)}`)));
      socket.on('error', () => undefined);
      await new Promise((resolve) => socket.once('data', resolve));
      socket.destroy();
    }
    isOver = true;
    await sending;
    expect(await sensor.drain(30_000)).toBe(0);
    expect(sensor.counters.acknowledgedPackets).toBe(sent);
    const peak = peakMib(collector);
    expect(await collector.stop()).toBe(0);
    const found: number[] = [];
    for (const name of readdirSync(join(soc, 'good')).filter((file) => file.endsWith('.pcap')))
      for (const { frame } of await packetsOfFile(join(soc, 'good', name)))
        found.push(frame.readUInt32LE(14));
    expect(found.length).toBe(sent);
    expect(new Set(found).size).toBe(sent);
    expect(peak).toBeLessThan(RESIDENT_MIB_MAX);
    expect(collector.log.length).toBeLessThan(400);
    let replayed = 0;
    for (const name of readdirSync(join(soc, 'evil-5')).filter((file) => file.endsWith('.pcap')))
      replayed += (await packetsOfFile(join(soc, 'evil-5', name))).length;
    expect(replayed).toBe(10);
    expect(readdirSync(soc).filter((name) => !name.startsWith('.')).length).toBeLessThanOrEqual(21);
    expect(booksOf(collector)['listen']?.['connectionsRefused']).toBeGreaterThan(50);
  });

  it('lets one sensor be no faster than its limit, and drops nothing for it', async () => {
    const { collector, port, soc } = await startCollector('sensor_rate: 4Mbit/s');
    const sensor = new TunnelUplink(
      {
        protocol: 'tunnel',
        collectors: [{ host: '127.0.0.1', port }],
        sensor: 'fast',
        compression: 'none',
        onFull: 'wait',
      },
      { events: {} },
    );
    sensor.start();
    const startedAtMs = performance.now();
    for (let i = 0; i < 20; i++) sensor.offer(numberedBatch(i * 100, 100, 1000));
    expect(await sensor.drain(60_000)).toBe(0);
    // 2 MB at 500 kB/s, less what the bucket and the sockets' buffers take at once.
    expect(performance.now() - startedAtMs).toBeGreaterThan(1000);
    expect(sensor.counters.acknowledgedPackets).toBe(2000);
    await collector.stop();
    expect(readdirSync(join(soc, 'fast')).length).toBeGreaterThan(0);
  });

  it('stops reading from a sensor that has used up its disk, says so, and goes on when there is room', async () => {
    const { collector, port, soc } = await startCollector('sensor_disk: 16MiB');
    const sensor = new TunnelUplink(
      { protocol: 'tunnel', collectors: [{ host: '127.0.0.1', port }], sensor: 'large', compression: 'none', onFull: 'wait', queueBytesMax: 4_000_000 }, // prettier-ignore
      { events: {} },
    );
    const other = startSensor(port, 'other');
    sensor.start();
    const sending = (async () => {
      for (let i = 0; i < 400; i++) {
        await sensor.waitForRoom();
        // An hour of its own for every 8 MB: so there are closed segments that somebody can take away.
        sensor.offer(numberedBatch(Math.floor(i / 80) * 3_600_000 + (i % 80) * 100, 100, 1000));
      }
    })();
    await collector.line('A sensor has used up its disk: nothing more is taken from it until there is room.');
    other.offer(numberedBatch(0, 500));
    expect(await other.drain(20_000)).toBe(0);
    const folder = join(soc, 'large');
    const segments = (): string[] =>
      readdirSync(folder)
        .filter((name) => name.endsWith('.pcap'))
        .sort();
    const sizeOf = (): number => segments().reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    // What was read before it was noticed: a chunk of the socket and the batches in it.
    expect(sizeOf()).toBeLessThan(22 * 1024 * 1024);
    let isSent = false;
    void sending.then(() => (isSent = true));
    let removed = 0;
    while (!isSent || sensor.counters.queuedPackets > 0) {
      const [oldest] = segments();
      if (oldest !== undefined && sizeOf() > 15 * 1024 * 1024) {
        rmSync(join(folder, oldest));
        removed++;
      }
      await sleep(200);
    }
    await collector.line('There is room for a sensor again.');
    expect(removed).toBeGreaterThan(0);
    expect(await sensor.drain(20_000)).toBe(0);
    expect(sensor.counters.acknowledgedPackets).toBe(40_000);
    await collector.stop();
  });

  it('drops, and counts, what a plain sender brings beyond its disk: nobody can tell it to wait', async () => {
    const { collector, port, soc } = await startCollector('sensor_disk: 16MiB');
    const packet = Buffer.alloc(60_000, 0x11);
    let sent = 0;
    for (; sent < 400; sent += 20) await Promise.all(Array.from({ length: 20 }, () => attack(port, packet)));
    await collector.line('A sensor has used up its disk: nothing more is taken from it until there is room.');
    await collector.stop();
    const { plain, archive } = booksOf(collector);
    const dropped = (plain?.['droppedByReason'] as Record<string, number>)['disk-limit'] ?? 0;
    expect(dropped).toBeGreaterThan(20);
    expect(Number(archive?.['packetsStored']) + dropped).toBe(sent);
    const folder = join(soc, '127.0.0.1');
    const bytes = readdirSync(folder).reduce((sum, name) => sum + statSync(join(folder, name)).size, 0);
    expect(bytes).toBeLessThan(20 * 1024 * 1024);
  });
});
