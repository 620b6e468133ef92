/**
 * A thousand forwarders on one collector: `npm run bench -- fleet`; `node tests/bench/fleet.bench.ts 100 60` for others. Each
 * sensor sends ten sources' packets every second; prints what reached the disk, the collector's memory at its highest, and its
 * processor time. The goal: no loss, less than 1 GiB.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { TunnelUplink } from '../../packages/forwarder/src/tunnel/tunnel-uplink.ts';
import { BatchBuilder, type Batch } from '../../packages/shared/src/packet/batch.ts';
import { LINKTYPE_ETHERNET } from '../../packages/shared/src/packet/link-type.ts';
import { Program, booksOf } from '../support/child.ts';

const SENSORS = Number(process.argv[2] ?? 1000);
const SECONDS = Number(process.argv[3] ?? 20);
const SOURCES = 10;
const PACKETS = 50;

const directory = mkdtempSync(join(tmpdir(), 'tapline-fleet-'));
const file = join(directory, 'collector.yaml');
writeFileSync(
  file,
  `port: 0\nbind: 127.0.0.1\nprotocol: tcp\nlimits: {connections_per_address: 5000, connections_max: 5000}\noutput_directories: {pcap_raw_output_path: ${directory}/soc}\n`,
);
const collector = new Program('collector', ['-c', file]);
const port = Number((await collector.line('Listening for sensors.'))['port']);

/** UDP packets of 150 bytes from ten addresses that only this sensor has. */
function batchOf(builder: BatchBuilder, sensor: number): Batch {
  builder.reset();
  const frame = new Uint8Array(150);
  frame.set([2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0, 0, 136, 0, 0, 0, 0, 64, 17]);
  const now = Date.now();
  for (let packet = 0; packet < PACKETS; packet++) {
    frame.set(
      [0, 0, 10, sensor >> 8, sensor & 255, packet % SOURCES, 10, 0, 0, 1, 0, 80, 0, 80, 0, 116, 0, 0],
      24,
    );
    builder.append(Math.floor(now / 1000), (now % 1000) * 1e6 + packet, 150, frame, 0, 150);
  }
  return builder.take();
}

const uplinks = Array.from({ length: SENSORS }, (_, index) => {
  const uplink = new TunnelUplink(
    {
      protocol: 'tunnel',
      collectors: [{ host: '127.0.0.1', port }],
      sensor: `s${String(index)}`,
      compression: 'zstd',
      onFull: 'drop-newest',
    },
    { events: {} },
  );
  uplink.start();
  return uplink;
});
const builder = new BatchBuilder(LINKTYPE_ETHERNET);
for (let second = 0; second < SECONDS; second++) {
  const startedAtMs = performance.now();
  for (const [index, uplink] of uplinks.entries()) {
    uplink.offer(batchOf(builder, index));
    // Spread over the second, as a thousand plants would.
    if (index % 20 === 19) await sleep(0);
  }
  await sleep(Math.max(0, 1000 - (performance.now() - startedAtMs)));
}
const left = await Promise.all(uplinks.map((uplink) => uplink.drain(60_000)));
const status = readFileSync(`/proc/${String(collector.child.pid)}/status`, 'utf8');
const cpu =
  readFileSync(`/proc/${String(collector.child.pid)}/stat`, 'latin1')
    .split(') ')[1]
    ?.split(' ') ?? [];
await collector.stop();
const stored = Number(booksOf(collector)['archive']?.['packetsStored']);
const offered = uplinks.reduce((sum, { counters }) => sum + counters.offeredPackets, 0);
console.log(`${String(SENSORS)} sensors, ${String(SENSORS * SOURCES)} sources, ${String(SECONDS)} s: ${String(offered)} packets offered, ${String(stored)} stored, ${String(left.reduce((a, b) => a + b, 0))} given up`); // prettier-ignore
console.log(`collector: ${(Number(/VmHWM:\s+(\d+)/.exec(status)?.[1]) / 1024).toFixed(0)} MiB at most, ${((Number(cpu[11]) + Number(cpu[12])) / 100).toFixed(1)} s of processor time`); // prettier-ignore
rmSync(directory, { recursive: true, force: true });
