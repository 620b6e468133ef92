/**
 * One chaos run: a plant, a forwarder and a collector in namespaces of their own, and a seeded series of accidents.
 *
 *   plant ─ veth ─▶ forwarder (kill -9) ═ wire (cut, delay, loss, …) ═ collector (kill -9, full disk, slow disk, clock)
 *              └──▶ tcpdump: the witness
 *
 * Afterwards all accidents end, both sides come to rest, and the oracle compares.
 */
import { fork, spawn, type ChildProcess } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync, existsSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Prng } from '@tapline/shared/base/prng.ts';
import { packetsOfFile, type SeenPacket } from '../support/captured.ts';
import { Program } from '../support/child.ts';
import { VethPair, runIn, startTcpdump } from '../support/namespace.ts';
import { spawnSync } from 'node:child_process';
import {
  LAYOUTS,
  characterOf,
  collectorConfig,
  forwarderConfig,
  makeCertificates,
  type Character,
} from './chaos-config.ts';
import { PERFECT, type Impairment } from './impaired-wire.ts';
import { judge, type ReportedGap, type Verdict } from './oracle.ts';

/** Five layouts of everything. */
const COLLECTOR_DISK = '768m';
const SOURCES = ['10.9.0.1', '10.9.0.2', '10.9.0.3', '10.9.0.4', '10.9.0.5'];
const NOBODY = '10.9.0.99';

export interface ChaosOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly directory: string;
  readonly packetsPerSecond: number;
}

export interface ChaosResult {
  readonly verdict: Verdict;
  readonly kills: number;
  readonly timeline: readonly string[];
}

/** Packets of all segments whose names match, packed or not. */
async function packetsIn(directory: string, names: RegExp): Promise<SeenPacket[]> {
  const packets: SeenPacket[] = [];
  for (const name of readdirSync(directory))
    if (names.test(name) && !name.startsWith('.'))
      packets.push(...(await packetsOfFile(join(directory, name))));
  return packets;
}

type Side = 'forwarder' | 'collector';

/** Runs, cleans up, and keeps the directory: who called decides about it. */
export async function chaosRun(options: ChaosOptions): Promise<ChaosResult> {
  const run = new ChaosRun(options);
  try {
    await run.begin();
    await run.accidents();
    await run.rest();
    return await run.result();
  } finally {
    await run.close();
  }
}

class ChaosRun {
  readonly #options: ChaosOptions;
  readonly #random: Prng;
  readonly #span = new VethPair();
  readonly #socNamespace: string;
  readonly #timeline: string[] = [];
  readonly #startedAtMs = performance.now();
  readonly #programs: Partial<Record<Side, Program>> = {};
  #wire: ChildProcess | null = null;
  #traffic: ChildProcess | null = null;
  #witness: { stop(): Promise<string> } | null = null;
  #witnessSaid = '';
  #kills = 0;
  readonly #character: Character;

  constructor(options: ChaosOptions) {
    this.#options = options;
    this.#random = new Prng(options.seed, 'accidents');
    this.#character = characterOf(options.seed);
    this.#socNamespace = `${this.#span.receiver.namespace}c`;
    this.#note(JSON.stringify(this.#character));
    for (const name of ['soc', 'spool', 'edge', 'log']) mkdirSync(this.#path(name), { recursive: true });
  }

  async begin(): Promise<void> {
    checked('mount', ['-t', 'tmpfs', '-o', `size=${COLLECTOR_DISK}`, 'tmpfs', this.#path('soc')]);
    await this.#layWire();
    this.#chaosFile(0, 0);
    await makeCertificates(this.#options.directory);
    this.#start('collector');
    this.#start('forwarder');
    await this.#programs.forwarder?.line('Capturing.');
    this.#witness = await startTcpdump(this.#span.receiver, this.#path('witness.pcap'), ['udp']);
    await this.#startTraffic();
  }

  /** Accident after accident, until the time is over. */
  async accidents(): Promise<void> {
    const endMs = performance.now() + this.#options.seconds * 1000;
    while (performance.now() < endMs) {
      await sleep(this.#random.between(50, 700));
      await this.#accident(this.#random.below(100));
    }
  }

  /** The world is well again: everything that can arrive arrives. */
  async rest(): Promise<void> {
    this.#note('rest');
    this.#impair(PERFECT);
    this.#chaosFile(0, 0);
    this.#emptyDisk();
    const traffic = this.#traffic;
    if (traffic !== null) {
      const ended = new Promise((resolve) => traffic.once('close', resolve));
      traffic.kill('SIGTERM');
      await ended;
    }
    this.#witnessSaid = (await this.#witness?.stop()) ?? '';
    this.#witness = null;
    for (const side of ['forwarder', 'collector'] as const)
      if (this.#programs[side]?.child.exitCode !== null) this.#start(side);
    const forwarder = this.#programs.forwarder as Program;
    await forwarder.line('Connected to the collector.');
    // What an earlier life left is drained by this one: it says so when it stops with a deadline that is long enough.
    const code = await forwarder.stop();
    const kept = forwarder.log.find(({ msg }) => msg?.includes('rest waits in the spool') === true);
    if (kept !== undefined) {
      this.#note(`forwarder kept ${JSON.stringify(kept)}, once more`);
      this.#start('forwarder');
      await this.#programs.forwarder?.line('Connected to the collector.');
      await sleep(2000);
      await this.#programs.forwarder?.stop();
    }
    this.#note(`forwarder stopped with ${String(code)}`);
    this.#note(`collector stopped with ${String(await this.#programs.collector?.stop())}`);
  }

  async result(): Promise<ChaosResult> {
    if (!/\n0 packets dropped by kernel/.test(this.#witnessSaid))
      throw new Error(`the witness itself lost packets: ${this.#witnessSaid}`);
    const witness = await packetsOfFile(this.#path('witness.pcap'));
    const sensor = this.#path('soc/main/probe');
    const gaps = this.#gaps(join(sensor, 'gaps.jsonl'));
    let verdict = judge(witness, await packetsIn(sensor, /\.pcap/), gaps);
    // Every other layout of the same packets must hold the same: of the split by host, the files of the one who gets them all.
    for (const split of LAYOUTS) {
      const names = split === 'host' ? new RegExp(`^${NOBODY}_.*\\.pcap`) : /\.pcap/;
      const other = judge(witness, await packetsIn(this.#path(`soc/${split}/probe`), names), gaps);
      const named = (numbers: readonly string[]): string[] => numbers.map((number) => `${split} ${number}`);
      verdict = {
        ...verdict,
        silent: [...verdict.silent, ...named(other.silent)],
        twice: [...verdict.twice, ...named(other.twice)],
        foreign: [...verdict.foreign, ...named(other.foreign)],
        understated: Math.max(verdict.understated, other.understated),
      };
    }
    return { verdict, kills: this.#kills, timeline: this.#timeline };
  }

  async close(): Promise<void> {
    await this.#witness?.stop();
    this.#traffic?.kill('SIGKILL');
    for (const program of Object.values(this.#programs)) program.child.kill('SIGKILL');
    for (const program of Object.values(this.#programs)) await program.exited;
    this.#wire?.disconnect();
    writeFileSync(this.#path('timeline.txt'), `${this.#timeline.join('\n')}\n`);
    // The archive lies in memory; what a failed run should show is copied out.
    checked('cp', ['-a', this.#path('soc'), this.#path('soc-copy')]);
    checked('umount', [this.#path('soc')]);
    spawnSync('ip', ['netns', 'del', this.#socNamespace], { stdio: 'ignore' });
    this.#span.close();
  }

  async #accident(draw: number): Promise<void> {
    if (draw < 35) await this.#killAndRestart(['forwarder']);
    else if (draw < 65) await this.#killAndRestart(['collector']);
    else if (draw < 72) await this.#killAndRestart(['forwarder', 'collector']);
    else if (draw < 80) await this.#for('cut', 3000, { ...PERFECT, isCut: true });
    else if (draw < 92) this.#impairAtRandom();
    else if (draw < 94) await this.#fullDisk();
    else if (draw < 97) this.#chaosFile(this.#random.between(-7_200_000, 7_200_000), this.#random.below(300));
    else await this.#freeze();
  }

  async #killAndRestart(sides: readonly Side[]): Promise<void> {
    for (const side of sides) {
      this.#note(`kill -9 ${side}`);
      this.#kills++;
      this.#programs[side]?.child.kill('SIGKILL');
    }
    for (const side of sides) await this.#programs[side]?.exited;
    await sleep(this.#random.below(500));
    for (const side of sides) this.#start(side);
  }

  async #for(name: string, maxMs: number, impairment: Impairment): Promise<void> {
    const ms = this.#random.below(maxMs);
    this.#note(`${name} for ${String(ms)} ms`);
    this.#impair(impairment);
    await sleep(ms);
    this.#impair(PERFECT);
  }

  #impairAtRandom(): void {
    const random = this.#random;
    const impairment = {
      isCut: false,
      delayMs: random.below(30),
      jitterMs: random.pick([0, 0, 5, 20]),
      loss: random.pick([0, 0.01, 0.05]),
      duplicate: random.pick([0, 0.05]),
      corrupt: random.pick([0, 0.01]),
    };
    this.#note(`wire ${JSON.stringify(impairment)}`);
    this.#impair(impairment);
  }

  async #fullDisk(): Promise<void> {
    const { bavail, bsize } = statfsSync(this.#path('soc'));
    this.#note('full disk');
    const filler = spawnSync('fallocate', [
      '-l',
      String(Math.max(1, bavail - 2) * bsize),
      this.#path('soc/filler'),
    ]);
    await sleep(this.#random.below(2500));
    this.#emptyDisk();
    this.#note(`disk has room again (${String(filler.status)})`);
  }

  #emptyDisk(): void {
    rmSync(this.#path('soc/filler'), { force: true });
  }

  /** The collector stands still for a moment, as a machine does that swaps. */
  async #freeze(): Promise<void> {
    this.#note('freeze');
    this.#programs.collector?.child.kill('SIGSTOP');
    await sleep(this.#random.below(1500));
    this.#programs.collector?.child.kill('SIGCONT');
  }

  #start(side: Side): void {
    const namespace = side === 'forwarder' ? this.#span.receiver.namespace : this.#socNamespace;
    const config = this.#path(`${side}.yaml`);
    const { directory } = this.#options;
    const { interfaceName } = this.#span.receiver;
    writeFileSync(config, side === 'forwarder' ? forwarderConfig(directory, interfaceName, this.#character) : collectorConfig(directory, this.#character)); // prettier-ignore
    const preload = new URL('preload.ts', import.meta.url).pathname;
    const environment = [
      `TAPLINE_CHAOS_FILE=${this.#path('chaos.json')}`,
      `NODE_OPTIONS=--import ${preload}`,
    ];
    const wrapper = [
      'ip',
      'netns',
      'exec',
      namespace,
      ...(side === 'collector' ? ['env', ...environment] : []),
    ];
    const program = new Program(side, ['-c', config], { wrapper });
    this.#programs[side] = program;
    const started = this.#timeline.length;
    this.#note(`start ${side}`);
    void program.exited.then(({ code, signal }) => {
      writeFileSync(
        this.#path(`log/${side}-${String(started).padStart(4, '0')}.jsonl`),
        program.transcript(),
      );
      if (signal === null && code !== 0) this.#note(`${side} ended by itself with ${String(code)}`);
    });
  }

  #chaosFile(clockMs: number, syncMs: number): void {
    this.#note(`clock ${String(clockMs)} ms, sync ${String(syncMs)} ms`);
    writeFileSync(this.#path('chaos.json'), JSON.stringify({ clockMs, syncMs }));
  }

  async #layWire(): Promise<void> {
    const forwarderEnd = `${this.#span.receiver.namespace}w`;
    const collectorEnd = `${this.#span.receiver.namespace}x`;
    const wire = fork(new URL('impaired-wire.ts', import.meta.url), [String(this.#options.seed), forwarderEnd, collectorEnd]); // prettier-ignore
    this.#wire = wire;
    await new Promise((resolve, reject) => {
      wire.once('message', resolve);
      wire.once('exit', reject);
    });
    checked('ip', ['netns', 'add', this.#socNamespace]);
    for (const [end, namespace, address] of [
      [forwarderEnd, this.#span.receiver.namespace, '10.8.0.1/24'],
      [collectorEnd, this.#socNamespace, '10.8.0.2/24'],
    ] as const) {
      checked('ip', ['link', 'set', end, 'netns', namespace]);
      runIn({ namespace }, ['sh', '-c', 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6']);
      runIn({ namespace }, ['ip', 'link', 'set', 'lo', 'up']);
      runIn({ namespace }, ['ip', 'link', 'set', end, 'up']);
      runIn({ namespace }, ['ip', 'addr', 'add', address, 'dev', end]);
    }
  }

  async #startTraffic(): Promise<void> {
    const { sender } = this.#span;
    for (const source of SOURCES)
      runIn(sender, ['ip', 'addr', 'add', `${source}/24`, 'dev', sender.interfaceName]);
    runIn(sender, ['ip', 'neigh', 'add', NOBODY, 'lladdr', '02:00:00:00:00:99', 'dev', sender.interfaceName]);
    const { seed, packetsPerSecond } = this.#options;
    const script = new URL('traffic.ts', import.meta.url).pathname;
    const words = [script, String(seed), String(packetsPerSecond), NOBODY, ...SOURCES];
    this.#traffic = spawn('ip', ['netns', 'exec', sender.namespace, process.execPath, ...words]);
    await sleep(300);
  }

  #impair(impairment: Impairment): void {
    this.#wire?.send(impairment);
  }

  #gaps(path: string): ReportedGap[] {
    if (!existsSync(path)) return [];
    return readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line) as ReportedGap);
  }

  #path(name: string): string {
    return join(this.#options.directory, name);
  }

  #note(what: string): void {
    const seconds = ((performance.now() - this.#startedAtMs) / 1000).toFixed(2);
    this.#timeline.push(`${seconds.padStart(7)} s  ${what}`);
  }
}

function checked(command: string, words: readonly string[]): void {
  const { status, stderr } = spawnSync(command, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${command} ${words.join(' ')}: ${stderr}`);
}
