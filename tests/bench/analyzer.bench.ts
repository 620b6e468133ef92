/**
 * `tapline-analyzer analyze` beside the flow meters of the field, `argus -r` and `nfpcapd -r`, over the same files in the same run: with rules alone, with
 * models, and with models and every flow written as CSV. Whole processes in turn, ROUNDS times; shown are medians, and the range of the ratios.
 *
 * Speed is that of whole processes, start-up included. Processor time is that of all threads, less what a program needs for a capture of one packet, which is
 * shown by itself: a daemon starts once.
 * The peers build flows and no more than that; nfpcapd passes over what is not IP.
 *
 *   node tests/bench/analyzer.bench.ts [directory for files] [packets of the plant] [packets of each capture of the corpus]
 *
 * Needs nothing but Tapline; a peer that is not installed is named and left out (Debian: argus-server, nfdump). Captures of the corpus are read where
 * there is one: again and again, each time later, until there are so many packets.
 */
import { spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { simulatePlant } from '@tapline/forwarder/src/simulate/simulate-plant.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { readU32, writeU32 } from '@tapline/shared/packet/record.ts';
import { openCapture } from '@tapline/shared/pcap/capture-file.ts';
import { PcapFile } from '@tapline/shared/pcap/pcap-file.ts';
import { corpusDirectory, corpusPath } from '../support/corpus.ts';
import { projectRoot } from '../support/project.ts';

const ROUNDS = 3;
/** 11 sources a cell: about 200 sources. */
const CELLS = 18;
/** Between two copies of a capture: longer than any flow lasts in silence. */
const PAUSE_SECONDS = 3600;
/** Clock ticks of /proc/PID/stat. */
const TICKS_PER_SECOND = 100;
const FROM_CORPUS = ['bench/composite_ot_it_1h.pcap.gz', 'attacks/ddos/pkt.TCP.synflood.spoofed.pcap.gz'];

interface Capture {
  readonly name: string;
  readonly file: string;
  readonly packets: number;
}

interface Program {
  readonly name: string;
  /** A second, whatever it read: its speed is taken from its processor time. */
  readonly sleepsAtEnd?: boolean;
  words(file: string): readonly string[];
}

interface Cost {
  readonly seconds: number;
  readonly cpuSeconds: number;
}

const directory = mkdtempSync(join(process.argv[2] ?? tmpdir(), 'tapline-bench-'));
const plantPackets = Number(process.argv[3] ?? 1_500_000);
const corpusPackets = Number(process.argv[4] ?? 200_000);
const main = join(projectRoot, 'packages/analyzer/src/main.ts');
const nfDirectory = join(directory, 'nf');

const ANALYZE = [process.execPath, main, 'analyze', '--no-progress'];
const OURS: readonly Program[] = [
  { name: 'analyze, rules', words: (file) => [...ANALYZE, '--no-models', file] },
  { name: 'analyze, rules and models', words: (file) => [...ANALYZE, file] },
  {
    name: 'analyze, and flows as CSV',
    words: (file) => [...ANALYZE, '--flows', 'csv', '--flows-file', join(directory, 'flows.csv'), file],
  },
];
const PEERS: readonly (Program & { readonly debian: string })[] = [
  {
    name: 'argus -r',
    debian: 'argus-server',
    sleepsAtEnd: true,
    words: (file) => ['argus', '-X', '-r', file, '-w', '-'],
  },
  { name: 'nfpcapd -r', debian: 'nfdump', words: (file) => ['nfpcapd', '-r', file, '-w', nfDirectory] },
];

try {
  const peers = PEERS.filter((peer) => isInstalled(peer.words('')[0] ?? ''));
  for (const { name, debian } of PEERS.filter((peer) => !peers.includes(peer)))
    console.log(`${name} is not installed and is left out: apt-get install ${debian}`);
  if (corpusDirectory() === null) console.log('no corpus, so no real captures');
  const programs = [...OURS, ...peers];
  const starts = measure(programs, (await plant('start', 1)).file).map(medianCost);
  console.log('\nstart, of whose processor time the rest is free:');
  programs.forEach(({ name }, i) => {
    const { seconds, cpuSeconds } = starts[i] as Cost;
    console.log(`  ${name.padEnd(28)} ${seconds.toFixed(2)} s, ${cpuSeconds.toFixed(2)} s of processor`);
  });
  for await (const capture of captures()) {
    compare(capture, programs, starts);
    rmSync(capture.file);
  }
} finally {
  rmSync(directory, { recursive: true, force: true });
}

async function* captures(): AsyncGenerator<Capture> {
  yield await plant(`plant of ${CELLS} cells`, plantPackets);
  if (corpusDirectory() === null) return;
  for (const name of FROM_CORPUS) if (existsSync(corpusPath(name))) yield await repeated(name);
}

/** Microseconds, as all of them read it. */
function createCapture(name: string): Promise<PcapFile> {
  return PcapFile.create(join(directory, name), { linkType: LINKTYPE_ETHERNET, precision: 'us' });
}

/** Ends with the batch in which the packets are enough; with one packet where one is wanted. */
async function plant(name: string, packetsMin: number): Promise<Capture> {
  const file = await createCapture('plant.pcap');
  let packets = 0;
  const plantOptions = {
    seed: 1,
    startNs: 1_767_225_600_000_000_000n,
    durationMs: 24 * 3_600_000,
    cells: CELLS,
  };
  for (const batch of simulatePlant(plantOptions)) {
    const first = { ...batch, byteLength: 16 + readU32(batch.bytes, 8), packetCount: 1 };
    const part = packetsMin === 1 ? first : batch;
    await file.write(part);
    packets += part.packetCount;
    if (packets >= packetsMin) break;
  }
  await file.close();
  return { name, file: join(directory, 'plant.pcap'), packets };
}

/** A capture of the corpus, again and again, each time a pause after its end. */
async function repeated(name: string): Promise<Capture> {
  const file = await createCapture('repeated.pcap');
  let packets = 0;
  let copies = 0;
  let shiftSeconds = 0;
  for (; packets < corpusPackets; copies++) {
    let firstSeconds = Infinity;
    let lastSeconds = 0;
    for await (const batch of (await openCapture(corpusPath(name))).batches()) {
      const { bytes, byteLength } = batch;
      for (let at = 0; at < byteLength; at += 16 + readU32(bytes, at + 8)) {
        const seconds = readU32(bytes, at);
        firstSeconds = Math.min(firstSeconds, seconds);
        lastSeconds = Math.max(lastSeconds, seconds);
        writeU32(bytes, at, seconds + shiftSeconds);
      }
      await file.write(batch);
      packets += batch.packetCount;
    }
    shiftSeconds += lastSeconds - firstSeconds + PAUSE_SECONDS;
  }
  await file.close();
  return { name: `${name}, ${copies} times`, file: join(directory, 'repeated.pcap'), packets };
}

/** The costs of each program, by rounds; in a round every program has its turn. */
function measure(programs: readonly Program[], file: string): Cost[][] {
  const costs: Cost[][] = programs.map(() => []);
  for (let round = 0; round < ROUNDS; round++)
    programs.forEach((program, i) => costs[i]?.push(run(program.words(file))));
  return costs;
}

function compare(capture: Capture, programs: readonly Program[], starts: readonly Cost[]): void {
  const { name, file, packets } = capture;
  console.log(`\n${name}: ${packets} packets, ${(statSync(file).size / 2 ** 20).toFixed(0)} MiB`);
  const all = measure(programs, file).map((rounds, i) => ({
    program: programs[i] as Program,
    rounds: rounds.map((cost) => without(cost, starts[i] as Cost)),
  }));
  for (const { program, rounds } of all) {
    const { seconds, cpuSeconds } = medianCost(rounds);
    const rate = packets / (program.sleepsAtEnd === true ? cpuSeconds : seconds);
    console.log(`  ${program.name.padEnd(28)} ${(rate / 1e6).toFixed(3)} M packets/s   ${((1e6 * cpuSeconds) / packets).toFixed(2)} µs of processor a packet`); // prettier-ignore
  }
  for (const ours of all.slice(0, OURS.length))
    for (const peer of all.slice(OURS.length)) {
      const speed = ours.rounds.map(({ seconds }, i) => secondsOf(peer, i) / seconds);
      const cpu = ours.rounds.map(({ cpuSeconds }, i) => cpuSeconds / (peer.rounds[i]?.cpuSeconds ?? NaN));
      console.log(`  ${ours.program.name.padEnd(28)} ${range(speed, 2)} × the speed, ${range(cpu, 1)} × the processor of ${peer.program.name}`); // prettier-ignore
    }
}

function secondsOf({ program, rounds }: { program: Program; rounds: Cost[] }, round: number): number {
  const { seconds, cpuSeconds } = rounds[round] ?? { seconds: NaN, cpuSeconds: NaN };
  return program.sleepsAtEnd === true ? cpuSeconds : seconds;
}

/** Processor time only: by the clock, a busy machine's starts differ by more than a peer needs. No less than a tick. */
function without(cost: Cost, start: Cost): Cost {
  return {
    seconds: cost.seconds,
    cpuSeconds: Math.max(1 / TICKS_PER_SECOND, cost.cpuSeconds - start.cpuSeconds),
  };
}

function medianCost(rounds: readonly Cost[]): Cost {
  return {
    seconds: median(rounds.map(({ seconds }) => seconds)),
    cpuSeconds: median(rounds.map(({ cpuSeconds }) => cpuSeconds)),
  };
}

/** Median, and in brackets the least and the most of the rounds: how quiet the machine was. */
function range(values: readonly number[], digits: number): string {
  return `${median(values).toFixed(digits)} (${Math.min(...values).toFixed(digits)}–${Math.max(...values).toFixed(digits)})`;
}

/** Output goes nowhere: writing it costs each of them the same nothing. */
function run(words: readonly string[]): Cost {
  rmSync(nfDirectory, { recursive: true, force: true });
  mkdirSync(nfDirectory);
  const nothing = openSync('/dev/null', 'w');
  const cpuBefore = childrenCpuSeconds();
  const start = performance.now();
  const { status, error } = spawnSync(words[0] ?? '', words.slice(1), {
    stdio: ['ignore', nothing, 'ignore'],
  });
  const seconds = (performance.now() - start) / 1000;
  closeSync(nothing);
  if (status !== 0)
    throw new Error(`${words.join(' ')} ended with ${status ?? error?.message ?? 'a signal'}`);
  return { seconds, cpuSeconds: childrenCpuSeconds() - cpuBefore };
}

/** User and system time of children that have ended. */
function childrenCpuSeconds(): number {
  const fields = readFileSync('/proc/self/stat', 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[13]) + Number(fields[14])) / TICKS_PER_SECOND;
}

function isInstalled(program: string): boolean {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
