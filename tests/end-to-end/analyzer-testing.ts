/** For tests of the analyzer as a daemon: a plant's traffic, an archive that grows, the program, and one plain analysis to hold it against. */
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { readModels } from '@tapline/analyzer/src/model/model-file.ts';
import { SHIPPED_MODELS } from '@tapline/analyzer/src/model/shipped-models.ts';
import { analyzeFiles, type Analysis } from '@tapline/analyzer/src/analysis.ts';
import type { Alert } from '@tapline/analyzer/src/alert/alert-desk.ts';
import { inputFiles } from '@tapline/analyzer/src/merge/input-files.ts';
import { recordsOf, tcp, udp, type Packet } from '@tapline/analyzer/src/packet/frame-testing.ts';
import { rulesSchema } from '@tapline/analyzer/src/rule/rule-file.ts';
import { formatSegmentName } from '@tapline/shared/archive/segment-name.ts';
import { Prng } from '@tapline/shared/base/prng.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { encodeFileHeader } from '@tapline/shared/pcap/pcap-writer.ts';
import { expect } from 'vitest';
import { Program, booksOf } from '../support/child.ts';

export const directory = mkdtempSync(join(tmpdir(), 'tapline-analyzer-'));
const programs: Program[] = [];
/** After all tests. */
export function cleanUp(): void {
  for (const { child } of programs) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
}

export function start(text: string): Program {
  const file = join(directory, `config-${programs.length}.yaml`);
  writeFileSync(file, text);
  const program = new Program('analyzer', ['-c', file]);
  programs.push(program);
  return program;
}

export const HEADER = encodeFileHeader({ linkType: LINKTYPE_ETHERNET, precision: 'ns' });
const MINUTE = 60;
/** 2026-01-05T06:00:00Z. */
const START_S = 1_767_592_800;

interface Sent extends Packet {
  readonly source: string;
  readonly sensor: string;
}

/** Each of these polls its own PLC, and has a sensor of its own; all the rest is seen by another one. */
const CLIENTS = 12;
export const SENSORS = CLIENTS + 1;

/** A plant that polls its PLCs, with scans, floods and a login that is tried again and again; at the end two packets long after that end all flows of their sensor. */
export function traffic(seconds: number): Sent[] {
  const prng = new Prng(11);
  const packets: Sent[] = [];
  const say = (atS: number, from: string, to: string, flags: string, payload = 0): void => {
    const timeUs = Math.round((START_S + atS) * 1e6);
    const frame = flags === '' ? udp(from, to, { payload }) : tcp(from, to, flags, { payload });
    const client = /10\.0\.1\.(\d+):/.exec(`${from} ${to}`)?.[1] ?? '0';
    packets.push({ timeUs, frame, source: from.slice(0, from.lastIndexOf(':')), sensor: `probe-${client}` });
  };
  for (let host = 1; host <= CLIENTS; host++)
    for (let at = prng.float(); at < seconds; at += 0.4 + prng.float() / 4) {
      const client = `10.0.1.${host}:${20_000 + Math.floor(at / 7)}`;
      say(at, client, `10.0.2.${host}:502`, 'PA', 12);
      say(at + 0.002, `10.0.2.${host}:502`, client, 'PA', 20 + prng.below(80));
      if (prng.chance(0.2)) say(at + 0.05, `10.0.1.${host}:5353`, '10.0.3.1:53', '', 40);
    }
  for (let n = 0; n < 120; n++) {
    // Not at the same time as its answer, but in the same microsecond as another's.
    const at = (seconds * (n + 1)) / 125;
    say(at, '10.0.9.9:40000', `10.0.2.1:${1000 + n}`, 'S');
    say(at + 0.001, `10.0.2.1:${1000 + n}`, '10.0.9.9:40000', 'RA');
    say(at, '10.0.9.8:41000', `10.0.2.${n + 1}:445`, 'S');
  }
  for (let n = 0; n < 300; n++) say(seconds / 2 + n / 60, `10.0.8.8:${n + 1024}`, '10.0.2.3:80', 'S');
  for (const at of [seconds + 900, seconds + 900.1]) {
    say(at, '10.0.9.9:9', '10.0.3.1:9', '');
    for (let host = 1; host <= CLIENTS; host++) say(at, `10.0.1.${host}:9`, '10.0.3.1:9', '');
  }
  return packets.sort((a, b) => a.timeUs - b.timeUs);
}

/** Segments of a minute for each source, that grow as their packets come. */
export class Writer {
  readonly directory: string;
  readonly #packets: readonly Sent[];
  readonly #begun = new Set<string>();
  #next = 0;

  constructor(place: string, packets: readonly Sent[]) {
    this.directory = place;
    this.#packets = packets;
    for (const { sensor } of packets) mkdirSync(join(place, sensor), { recursive: true });
  }

  get isDone(): boolean {
    return this.#next >= this.#packets.length;
  }

  /** Writes what came until so many seconds; sources flush in any order, and now and then half a record. */
  writeUntil(seconds: number): void {
    const untilUs = (START_S + seconds) * 1e6;
    const lines = new Map<string, Packet[]>();
    for (; this.#next < this.#packets.length; this.#next++) {
      const packet = this.#packets[this.#next] as Sent;
      if (packet.timeUs > untilUs) break;
      const name = formatSegmentName(packet.source, Math.floor(packet.timeUs / 1e6 / MINUTE), MINUTE);
      const path = join(this.directory, packet.sensor, name);
      lines.set(path, [...(lines.get(path) ?? []), packet]);
    }
    for (const [path, packets] of [...lines].reverse()) {
      if (!this.#begun.has(path)) writeFileSync(path, HEADER);
      this.#begun.add(path);
      const bytes = recordsOf(packets);
      const half = bytes.byteLength >> 1;
      appendFileSync(path, bytes.subarray(0, half));
      appendFileSync(path, bytes.subarray(half));
    }
  }
}

interface Reference {
  readonly analysis: Analysis;
  readonly flows: readonly string[];
}

export async function analysed(paths: readonly string[]): Promise<Reference> {
  const flows: string[] = [];
  const analysis = await analyzeFiles({
    models: readModels(SHIPPED_MODELS),
    files: inputFiles(paths),
    rules: rulesSchema.parse({}),
    flowEnded: (flow) => flows.push(flow.uid),
  });
  expect(analysis.damaged).toEqual([]);
  return { analysis, flows };
}

/** What stands in the file of alerts, the last word on each. */
export function alertsIn(file: string): Map<string, Alert> {
  if (!existsSync(file)) return new Map();
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  return new Map(lines.map((line) => JSON.parse(line) as Alert).map((alert) => [alert.id, alert]));
}

export function countsOf(alerts: Iterable<Alert>): string[] {
  return [...alerts].map(({ id, rule, count }) => `${id} ${rule} ${count}`).sort();
}

export async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let waited = 0; !isSo(); waited += 50) {
    if (waited > 30_000) throw new Error(`${what} did not happen`);
    await sleep(50);
  }
}

export function packetsCounted(program: Program): number {
  return program.log.some((line) => line['books'] !== undefined)
    ? Number(booksOf(program)['engine']?.['packets'] ?? 0)
    : 0;
}
