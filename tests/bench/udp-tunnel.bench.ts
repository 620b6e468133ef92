/**
 * What the one-way tunnel costs each side, without sockets: `node tests/bench/udp-tunnel.bench.ts`.
 *
 *   send      batch to sealed datagrams: compression, groups, parity, blocks, seal       MB/s of records, datagrams/s
 *   receive   datagrams to frames in order: header, window, seal, groups, checksum       the same
 *   repair    receive with two of every twelve datagrams missing                         the same
 *
 * One core; best of three runs. Compare within one run only.
 */
import { DatagramIntake } from '../../packages/collector/src/listen/datagram-intake.ts';
import { SensorIntake } from '../../packages/collector/src/session/sensor-intake.ts';
import { cutBatch } from '../../packages/forwarder/src/tunnel/udp/batch-cutter.ts';
import { GroupEncoder, type OutgoingFrame } from '../../packages/forwarder/src/tunnel/udp/group-encoder.ts';
import type { CodecName } from '../../packages/shared/src/tunnel/codec.ts';
import { readDatagramHeader } from '../../packages/shared/src/tunnel/datagram.ts';
import type { CipherName } from '../../packages/shared/src/tunnel/datagram-seal.ts';
import { encodeHello } from '../../packages/shared/src/tunnel/messages.ts';
import { capturedBytesOf, encodeBatch } from '../../packages/shared/src/tunnel/packet-batch.ts';
import { systemTunnelClock as clock } from '../../packages/shared/src/tunnel/tunnel-clock.ts';
import { numberedBatch, seededRandom } from '../../packages/shared/src/tunnel/tunnel-test-support.ts';

const RUNS = 3;
const BATCHES = 60;
const INTERLEAVE = 4;
const SECRET = new Uint8Array(32).fill(1);
/** Of records, per byte of frame; what this traffic shrinks by. */
const RATIOS: Readonly<Record<CodecName, number>> = { none: 1, lz4: 2.4, zstd: 3 };

const random = seededRandom(1);
/** Half of each frame is noise, as in encrypted traffic; the rest shrinks. */
const batches = Array.from({ length: BATCHES }, (_, i) => {
  const batch = numberedBatch(i * 700, 700, 400);
  for (let at = 0; at < batch.byteLength; at += 416)
    for (let n = 216; n < 416; n++) batch.bytes[at + n] = Math.floor(random() * 256);
  return batch;
});
const recordBytes = batches.reduce((sum, { byteLength }) => sum + byteLength, 0);

function send(codec: CodecName, cipher: CipherName | null): Buffer[] {
  const encoder = new GroupEncoder(
    {
      mtu: 1500,
      overheadBytes: 28,
      ratio: { data: 10, parity: 2 },
      seal: cipher === null ? null : { keyId: 1, secret: SECRET, cipher },
    },
    clock.wallMs(),
  );
  const hello = encodeHello({
    sensor: 'bench',
    epoch: encoder.epoch,
    software: '',
    firstSequence: 1,
    codecs: [codec],
    interfaces: [],
    sentAtMs: 0,
  });
  const sent: Buffer[] = [];
  let block: OutgoingFrame[] = [{ bytes: hello, sequence: 0, packetCount: 0, standsFor: null }];
  let sequence = 0;
  const flush = (): void => {
    for (const { bytes } of encoder.encodeBlock(block)) sent.push(bytes);
    block = [];
  };
  flush();
  for (const batch of batches)
    for (const piece of cutBatch(batch, encoder.frameBytesAim * RATIOS[codec])) {
      const standsFor = {
        packets: piece.packetCount,
        bytes: capturedBytesOf(piece),
        oldestNs: 0n,
        newestNs: 0n,
      };
      const bytes = encodeBatch(piece, ++sequence, codec);
      block.push({ bytes, sequence, packetCount: piece.packetCount, standsFor });
      if (block.length === INTERLEAVE) flush();
    }
  if (block.length > 0) flush();
  return sent;
}

async function receive(datagrams: readonly Buffer[], cipher: CipherName | null): Promise<number> {
  const store = {
    marks: [],
    write: () => undefined,
    writeGap: () => undefined,
    diskBytes: () => 0,
    diskBytesMax: Infinity,
    commit: () => Promise.resolve(),
    close: () => Promise.resolve(),
  };
  const limits = {
    intervalMs: 1000,
    bytesMax: Infinity,
    uncommittedBytesMax: Infinity,
    budget: { bytes: 0, bytesMax: Infinity },
  };
  const sensor = new SensorIntake('bench', store, limits, { clock, events: {} });
  const intake = new DatagramIntake(
    {
      keys: cipher === null ? [] : [{ id: 1, sensor: 'bench', secret: SECRET }],
      isKeyRequired: cipher !== null,
      reorderMs: 500,
      bytesMax: 2 ** 30,
      idleTimeoutMs: 60_000,
    },
    { clock, openIntake: () => Promise.resolve(sensor), events: {} },
  );
  const [first, second, ...others] = datagrams as [Buffer, Buffer, ...Buffer[]];
  for (const datagram of [first, second]) intake.take('127.0.0.1', datagram);
  await new Promise((resolve) => setTimeout(resolve, 1));
  const startedAtMs = performance.now();
  for (const datagram of others) intake.take('127.0.0.1', datagram);
  const ms = performance.now() - startedAtMs;
  const packets = batches.reduce((sum, { packetCount }) => sum + packetCount, 0);
  if (sensor.counters.packets !== packets)
    throw new Error(`only ${sensor.counters.packets} of ${packets} packets`);
  intake.close();
  await sensor.close();
  return ms;
}

/** Without the first two data shards of every group that has parity for them. */
function damaged(datagrams: readonly Buffer[]): Buffer[] {
  return datagrams.filter((bytes) => {
    const header = readDatagramHeader(bytes);
    return typeof header === 'string' || header.parityShards < 2 || header.shard >= 2;
  });
}

function shown(ms: number, datagrams: number): string {
  const megabytes = (recordBytes / 1e6 / (ms / 1000)).toFixed(0).padStart(5);
  return `${megabytes} MB/s ${(datagrams / ms).toFixed(0).padStart(5)} k/s`;
}

console.log('codec cipher                       send            receive             repair');
for (const codec of ['zstd', 'none'] as const)
  for (const cipher of [null, 'aes-256-gcm', 'chacha20-poly1305'] as const) {
    const best = { send: Infinity, receive: Infinity, repair: Infinity };
    let datagrams: Buffer[] = [];
    for (let run = 0; run < RUNS; run++) {
      const startedAtMs = performance.now();
      datagrams = send(codec, cipher);
      best.send = Math.min(best.send, performance.now() - startedAtMs);
      best.receive = Math.min(best.receive, await receive(datagrams, cipher));
      best.repair = Math.min(best.repair, await receive(damaged(datagrams), cipher));
    }
    const columns = [best.send, best.receive, best.repair].map((ms) => shown(ms, datagrams.length));
    console.log(`${codec}  ${(cipher ?? 'none').padEnd(18)} ${columns.join('  ')}`);
  }
