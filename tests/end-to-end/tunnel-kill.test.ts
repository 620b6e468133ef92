/**
 * kill -9 of a collector that stores on a real disk, at random moments, while a forwarder keeps sending: afterwards its
 * archive holds every packet once, whatever was buffered, written, synced or acknowledged when it died.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { TunnelUplink } from '../../packages/forwarder/src/tunnel/tunnel-uplink.ts';
import { BatchBuilder, type Batch } from '../../packages/shared/src/packet/batch.ts';
import { LINKTYPE_ETHERNET } from '../../packages/shared/src/packet/link-type.ts';
import { readU32, writeU32 } from '../../packages/shared/src/packet/record.ts';
import { NEW_YEAR, seededRandom } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';
import { CuttingProxy } from '../support/cutting-proxy.ts';

const CHILD = new URL('../support/collector-child.ts', import.meta.url).pathname;
const SENSOR = 'probe-9';
const SOURCES = 12;
const PACKETS = 30_000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Packets of several sources, some an hour late, so that segments are opened, closed and opened again. */
function mixedBatch(first: number, count: number, random: () => number): Batch {
  const builder = new BatchBuilder(LINKTYPE_ETHERNET);
  const frame = new Uint8Array(64);
  frame.set([0x02, 0, 0, 0, 0, 1, 0x02, 0, 0, 0, 0, 0, 0x88, 0xb5]);
  for (let number = first; number < first + count; number++) {
    frame[11] = Math.floor(random() * SOURCES);
    writeU32(frame, 14, number);
    const lateSeconds = random() < 0.05 ? 3600 : 0;
    builder.append(NEW_YEAR + 7200 + Math.floor(number / 4) - lateSeconds, 0, 64, frame, 0, 64);
  }
  return builder.take();
}

async function startChild(directory: string): Promise<{ child: ChildProcess; port: number }> {
  const portFile = join(directory, 'port');
  rmSync(portFile, { force: true });
  const child = spawn(process.execPath, [CHILD, join(directory, 'archive'), portFile], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  cleanups.push(() => child.kill('SIGKILL'));
  while (!existsSync(portFile)) {
    if (child.exitCode !== null) throw new Error('the collector did not start');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return { child, port: Number(readFileSync(portFile, 'latin1')) };
}

/** The numbers in all segments of a directory. */
function storedNumbers(directory: string): number[] {
  const numbers: number[] = [];
  for (const name of readdirSync(directory)) {
    if (!name.endsWith('.pcap')) continue;
    const bytes = readFileSync(join(directory, name));
    let offset = 24;
    while (offset < bytes.byteLength) {
      numbers.push(readU32(bytes, offset + 16 + 14));
      offset += 16 + readU32(bytes, offset + 8);
    }
    expect(offset, name).toBe(bytes.byteLength);
  }
  return numbers.sort((a, b) => a - b);
}

describe('kill -9 of the collector', () => {
  it.each([1, 2, 3])('leaves every packet in its archive once (seed %i)', async (seed) => {
    const random = seededRandom(seed);
    const directory = mkdtempSync(join(tmpdir(), 'tapline-kill-'));
    cleanups.push(() => {
      rmSync(directory, { recursive: true });
    });
    let { child, port } = await startChild(directory);
    const proxy = new CuttingProxy({ targetPort: () => port, bytesUntilCut: () => Infinity });
    cleanups.push(() => {
      proxy.close();
    });
    const uplink = new TunnelUplink(
      {
        protocol: 'tunnel',
        collectors: [{ host: '127.0.0.1', port: await proxy.open() }],
        sensor: SENSOR,
        compression: 'zstd',
        onFull: 'wait',
        queueBytesMax: 60_000,
        retryFirstMs: 5,
        retryCapMs: 50,
      },
      { events: {} },
    );
    cleanups.push(() => uplink.drain(0));
    uplink.start();

    let isOffering = true;
    const offering = (async () => {
      for (let next = 1; next <= PACKETS;) {
        await uplink.waitForRoom();
        const count = Math.min(PACKETS - next + 1, 1 + Math.floor(random() * 80));
        uplink.offer(mixedBatch(next, count, random));
        next += count;
        if (random() < 0.4) await new Promise((resolve) => setTimeout(resolve, random() * 8));
      }
      isOffering = false;
    })();
    let kills = 0;
    while (isOffering) {
      await new Promise((resolve) => setTimeout(resolve, 60 + random() * 200));
      child.kill('SIGKILL');
      await once(child, 'exit');
      kills++;
      ({ child, port } = await startChild(directory));
    }
    await offering;
    expect(await uplink.drain(60_000)).toBe(0);
    child.kill('SIGKILL');
    await once(child, 'exit');
    expect(kills).toBeGreaterThan(1);
    expect(uplink.counters.acknowledgedPackets).toBe(PACKETS);

    // What lies beyond the last resume point would be cut by the next start; there is nothing after a drain.
    const stored = storedNumbers(join(directory, 'archive', SENSOR));
    const wrong = stored.findIndex((number, index) => number !== index + 1);
    expect({ wrong, at: stored.slice(Math.max(0, wrong - 3), wrong + 3), count: stored.length }).toEqual({
      wrong: -1,
      at: stored.slice(0, 2),
      count: PACKETS,
    });
  });
});
