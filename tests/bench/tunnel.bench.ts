/**
 * What the tunnel carries, and what each codec costs: `node tests/bench/tunnel.bench.ts [capture…]`.
 *
 * Traffic: the captures named, else up to 48 MiB from each of three folders of the corpus, else a synthetic mix. For
 * each it prints, best of three runs:
 *
 *   encode    batch to sealed frame on one core: what `offer` costs the capture      MB/s of records
 *   decode    checksum, decompression and record check on one core                  MB/s of records
 *   ratio     records : bytes on the wire
 *   loopback  forwarder to a collector in another thread that acknowledges at once   MB/s of records
 *
 * Machines drift: compare codecs within one run only.
 */
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { Worker, isMainThread, parentPort } from 'node:worker_threads';
import { PlainIntake } from '../../packages/collector/src/listen/plain-intake.ts';
import { TcpListener } from '../../packages/collector/src/listen/tcp-listener.ts';
import { SessionTable } from '../../packages/collector/src/session/session-table.ts';
import { TunnelUplink } from '../../packages/forwarder/src/tunnel/tunnel-uplink.ts';
import { BATCH_BYTES_MAX, type Batch } from '../../packages/shared/src/packet/batch.ts';
import { openCapture } from '../../packages/shared/src/pcap/capture-file.ts';
import type { CodecName } from '../../packages/shared/src/tunnel/codec.ts';
import { FrameDecoder } from '../../packages/shared/src/tunnel/frame-decoder.ts';
import { decodeBatch, encodeBatch } from '../../packages/shared/src/tunnel/packet-batch.ts';
import { systemTunnelClock as clock } from '../../packages/shared/src/tunnel/tunnel-clock.ts';
import { numberedBatch } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';

const RUNS = 3;
const BYTES_MAX = 48 * 1024 * 1024;
/** The loopback run repeats the traffic until it carried about so much. */
const LOOPBACK_BYTES = 400 * 1024 * 1024;
const FOLDERS = ['ot', 'attacks', 'bench'];
const CODECS: readonly CodecName[] = ['zstd', 'lz4', 'none'];
const MEGABYTE = 1e6;

async function readBatches(paths: readonly string[]): Promise<Batch[]> {
  const batches: Batch[] = [];
  let bytes = 0;
  for (const path of paths) {
    try {
      const capture = await openCapture(path);
      for await (const batch of capture.batches()) {
        if (batch.packetCount === 0) continue;
        batches.push({ ...batch, bytes: new Uint8Array(batch.bytes.subarray(0, batch.byteLength)) });
        bytes += batch.byteLength;
        // A few MiB of each file: many plants instead of one.
        if (bytes > BYTES_MAX || batches.length % 6 === 0) break;
      }
    } catch {
      // Damaged captures are another bench's business.
    }
    if (bytes > BYTES_MAX) break;
  }
  return batches;
}

async function traffic(): Promise<Map<string, Batch[]>> {
  const named = process.argv.slice(2);
  if (named.length > 0) return new Map([['the captures named', await readBatches(named)]]);
  const sets = new Map<string, Batch[]>();
  // The corpus helper of the tests imports the test runner; the bench runs without one.
  const corpus = resolve(process.env['TAPLINE_CORPUS'] ?? '../shared/pcaps');
  for (const folder of FOLDERS) {
    const directory = join(corpus, folder);
    if (!existsSync(directory)) continue;
    const files = readdirSync(directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.pcap(ng)?(\.gz)?$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name))
      .sort();
    sets.set(`corpus ${folder}`, await readBatches(files));
  }
  if (sets.size === 0)
    sets.set(
      'synthetic',
      Array.from({ length: 24 }, (_, i) => numberedBatch(i * 9000, 9000, 100)),
    );
  return sets;
}

function bestOf<T>(action: () => T): { ms: number; result: T } {
  let best = { ms: Infinity, result: undefined as T };
  for (let run = 0; run < RUNS; run++) {
    const startedAtMs = performance.now();
    const result = action();
    const ms = performance.now() - startedAtMs;
    if (ms < best.ms) best = { ms, result };
  }
  return best;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

/** The other end: takes everything, keeps nothing, acknowledges at every commit. */
async function runCollector(): Promise<void> {
  const sessions = new SessionTable(
    { intervalMs: 20 },
    {
      events: {},
      openStore: async () => ({
        marks: [],
        write: () => undefined,
        writeGap: () => undefined,
        diskBytes: () => 0,
        diskBytesMax: Infinity,
        commit: () => Promise.resolve(),
        close: () => Promise.resolve(),
      }),
    },
  );
  const plain = new PlainIntake('auto', { clock, deliver: () => undefined });
  const listener = new TcpListener(
    { host: '127.0.0.1', port: 0, protocol: 'tunnel' },
    { clock, sessions, plain, events: {} },
  );
  parentPort?.postMessage((await listener.open()).port);
}

async function loopback(batches: readonly Batch[], codec: CodecName, port: number): Promise<number> {
  const uplink = new TunnelUplink(
    {
      protocol: 'tunnel',
      collectors: [{ host: '127.0.0.1', port }],
      sensor: `bench-${codec}`,
      compression: codec,
      onFull: 'wait',
    },
    { events: {} },
  );
  uplink.start();
  const startedAtMs = performance.now();
  let bytes = 0;
  while (bytes < LOOPBACK_BYTES) {
    for (const batch of batches) {
      if (!uplink.hasRoom()) await uplink.waitForRoom();
      uplink.offer(batch);
      bytes += batch.byteLength;
      // As a capture would: the sockets get a turn after each batch.
      await new Promise(setImmediate);
    }
  }
  const lost = await uplink.drain(60_000);
  if (lost > 0) throw new Error(`${String(lost)} packets were not acknowledged`);
  return bytes / MEGABYTE / ((performance.now() - startedAtMs) / 1000);
}

async function runBench(): Promise<void> {
  const worker = new Worker(new URL(import.meta.url));
  const [port] = (await once(worker, 'message')) as [number];
  for (const [name, batches] of await traffic()) {
    const plainBytes = sum(batches.map(({ byteLength }) => byteLength));
    const packets = sum(batches.map(({ packetCount }) => packetCount));
    const meanKiB = Math.round(plainBytes / batches.length / 1024);
    console.log(
      `\n${name}: ${(plainBytes / MEGABYTE).toFixed(1)} MB, ${String(packets)} packets, batches of ${String(meanKiB)} KiB`,
    );
    console.log('codec   encode MB/s   decode MB/s   ratio   loopback MB/s');
    for (const codec of CODECS) {
      const encoded = bestOf(() => batches.map((batch, index) => encodeBatch(batch, index + 1, codec)));
      const wireBytes = sum(encoded.result.map(({ byteLength }) => byteLength));
      const decoded = bestOf(() => {
        const decoder = new FrameDecoder(true);
        for (const bytes of encoded.result) {
          decoder.push(bytes);
          for (let frame = decoder.next(); frame !== null; frame = decoder.next()) decodeBatch(frame);
        }
      });
      const rates = [encoded.ms, decoded.ms].map((ms) => (plainBytes / MEGABYTE / (ms / 1000)).toFixed(0));
      const carried = await loopback(batches, codec, port);
      console.log(
        `${codec.padEnd(8)}${(rates[0] ?? '').padStart(11)}${(rates[1] ?? '').padStart(14)}${(plainBytes / wireBytes).toFixed(1).padStart(8)}${carried.toFixed(0).padStart(16)}`,
      );
    }
  }
  console.log(`\nA batch holds up to ${String(BATCH_BYTES_MAX)} bytes of records.`);
  await worker.terminate();
}

await (isMainThread ? runBench() : runCollector());
