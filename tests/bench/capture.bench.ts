/**
 * Live capture beside `tcpdump`, on this machine, in this run: the same packets through a veth pair, first to one, then
 * to the other, in turns. Absolute numbers drift with the machine; read the ratios.
 *
 *   discard   our batches dropped               beside  tcpdump -w /dev/null
 *   one file  our batches into one PCAP file    beside  tcpdump -w FILE
 *
 * The file is written as the archive writes, synchronously. Shown are the medians of the rounds, each figure by itself, and the
 * worst round's loss: a rare loss is still one.
 *
 * The sender runs at top speed, which on a veth pair means that the receiver's kernel work is done on the sender's core, and the
 * other core is the capture's. A lost packet is one that the kernel had to drop. Needs root, tcpreplay and tcpdump.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  openCaptureSource,
  silentCaptureEvents,
} from '../../packages/forwarder/src/capture/capture-source.ts';
import { packetsOf, writeFrames } from '../support/captured.ts';
import { VethPair, canMakeNamespaces, enterNamespace, startIn } from '../support/namespace.ts';

const ROUNDS = 3;
/** Both get the same: what tcpdump calls -B. */
const RING_MIB = 64;
/** Clock ticks of /proc/PID/stat. */
const TICKS_PER_SECOND = 100;

interface Load {
  readonly name: string;
  readonly file: string;
  readonly loops: number;
}

interface Result {
  readonly packets: number;
  readonly lost: number;
  /** Of all packets, 0 to 1. */
  readonly loss: number;
  readonly packetsPerSecond: number;
  readonly cpuNsPerPacket: number;
}

if (!canMakeNamespaces()) {
  console.log('capture: skipped, needs root and network namespaces');
  process.exit(0);
}
const directory = mkdtempSync(join(tmpdir(), 'tapline-bench-'));
const pair = new VethPair();
enterNamespace(pair.receiver);
try {
  for (const load of await makeLoads()) {
    for (const target of ['discard', 'one file'] as const) await compare(load, target);
  }
} finally {
  pair.close();
  rmSync(directory, { recursive: true, force: true });
}

async function compare(load: Load, target: 'discard' | 'one file'): Promise<void> {
  const file = target === 'discard' ? null : join(directory, 'out.pcap');
  const ours: Result[] = [];
  const theirs: Result[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    ours.push(await runTapline(load, file));
    theirs.push(await runTcpdump(load, file ?? '/dev/null'));
  }
  console.log(`capture, ${load.name}, ${target}`);
  console.log(describeRounds('tapline', ours));
  console.log(describeRounds('tcpdump', theirs));
  const kept = (1 - median(ours, 'loss')) / (1 - median(theirs, 'loss'));
  const cpu = median(ours, 'cpuNsPerPacket') / median(theirs, 'cpuNsPerPacket');
  console.log(`  ratio    kept ${kept.toFixed(3)} ×, CPU ${cpu.toFixed(2)} ×`);
}

function describeRounds(name: string, results: readonly Result[]): string {
  const percent = (share: number): string => `${(100 * share).toFixed(2)} %`;
  const worst = Math.max(...results.map(({ loss }) => loss));
  return (
    `  ${name.padEnd(8)} ${Math.round(median(results, 'packetsPerSecond') / 1000)} k packets/s offered, ` +
    `${percent(median(results, 'loss'))} lost (worst ${percent(worst)}), ` +
    `${Math.round(median(results, 'cpuNsPerPacket'))} ns CPU a packet`
  );
}

async function runTapline(load: Load, path: string | null): Promise<Result> {
  const interfaces = [pair.receiver.interfaceName];
  const source = openCaptureSource(
    { driver: 'afpacket', interfaces, ringBytes: RING_MIB * 1024 * 1024 },
    { events: silentCaptureEvents },
  );
  await source.open();
  const file = path === null ? -1 : openSync(path, 'w');
  const stop = new AbortController();
  const cpu = process.cpuUsage();
  const reading = (async () => {
    for await (const { bytes, byteLength } of source.batches(stop.signal)) {
      if (file >= 0) writeSync(file, bytes, 0, byteLength);
    }
  })();
  const seconds = await send(load);
  stop.abort();
  await reading;
  const { user, system } = process.cpuUsage(cpu);
  if (file >= 0) closeSync(file);
  await source.close();
  const { packets, kernelDroppedPackets: lost } = source.counters();
  return result(packets + lost, lost, seconds, (user + system) * 1000);
}

async function runTcpdump(load: Load, path: string): Promise<Result> {
  const words = [
    '-i',
    pair.receiver.interfaceName,
    '--nano',
    '-s',
    '0',
    '-B',
    `${RING_MIB * 1024}`,
    '-Z',
    'root',
    '-w',
    path,
  ];
  const child = startIn(pair.receiver, ['tcpdump', ...words]);
  let said = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  while (!said.includes('listening on')) await sleep(20);
  const before = cpuNsOf(child.pid ?? 0);
  const seconds = await send(load);
  // Its last block is handed over after a second.
  await sleep(1200);
  const cpuNs = cpuNsOf(child.pid ?? 0) - before;
  const closed = once(child, 'close');
  child.kill('SIGINT');
  await closed;
  const received = Number(/(\d+) packets received by filter/.exec(said)?.[1]);
  const lost = Number(/(\d+) packets dropped by kernel/.exec(said)?.[1]);
  return result(received, lost, seconds, cpuNs);
}

function result(packets: number, lost: number, seconds: number, cpuNs: number): Result {
  return {
    packets,
    lost,
    loss: lost / packets,
    packetsPerSecond: packets / seconds,
    cpuNsPerPacket: cpuNs / (packets - lost),
  };
}

/** Replays the load at top speed; resolves with the seconds it took. */
async function send(load: Load): Promise<number> {
  const { namespace, interfaceName } = pair.sender;
  const words = [
    'tcpreplay',
    '-q',
    '-K',
    '--topspeed',
    '--loop',
    `${load.loops}`,
    '-i',
    interfaceName,
    load.file,
  ];
  const child = spawn('ip', ['netns', 'exec', namespace, ...words], { stdio: ['ignore', 'pipe', 'ignore'] });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await once(child, 'close');
  return Number(/sent in ([\d.]+) seconds/.exec(said)?.[1]);
}

function cpuNsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const columns = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return ((Number(columns[11]) + Number(columns[12])) * 1e9) / TICKS_PER_SECOND;
}

function median(results: readonly Result[], figure: keyof Result): number {
  const sorted = results.map((result) => result[figure]).sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] as number;
}

async function makeLoads(): Promise<Load[]> {
  const small = join(directory, 'small.pcap');
  await writeFrames(
    small,
    Array.from({ length: 1000 }, (_, index) => testFrame(60, index)),
  );
  const large = join(directory, 'large.pcap');
  await writeFrames(
    large,
    Array.from({ length: 1000 }, (_, index) => testFrame(1514, index)),
  );
  const loads = [
    { name: '60-byte frames', file: small, loops: 3000 },
    { name: '1514-byte frames', file: large, loops: 600 },
  ];
  const composite = process.env['TAPLINE_CORPUS'] ?? join(import.meta.dirname, '../../../shared/pcaps');
  try {
    const mixed = join(directory, 'mixed.pcap');
    await unpack(join(composite, 'bench/composite_ot_it_1h.pcap.gz'), mixed);
    loads.push({ name: 'mixed plant and office traffic', file: mixed, loops: 6 });
  } catch {
    console.log('capture: no corpus, so no mixed traffic');
  }
  return loads;
}

async function unpack(from: string, to: string): Promise<void> {
  const source = openCaptureSource({ driver: 'file', paths: [from] }, { events: silentCaptureEvents });
  await source.open();
  const frames: Buffer[] = [];
  for await (const batch of source.batches(new AbortController().signal)) {
    for (const { frame } of packetsOf(batch)) if (frame.byteLength <= 1518) frames.push(frame);
  }
  await writeFrames(to, frames);
}

function testFrame(byteLength: number, number: number): Buffer {
  const frame = Buffer.alloc(byteLength);
  frame.write('0000000000020000000000010800450000', 'hex');
  frame.writeUInt32BE(number, byteLength - 4);
  return frame;
}
