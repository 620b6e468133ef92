/**
 * The analyzer as a daemon, held against one plain analysis of the same packets: over an archive that grows while it is killed again and again, over
 * PCAP-over-IP, and over files.
 */
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'; // prettier-ignore
import { createServer } from 'node:net';
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
import { afterAll, describe, expect, it } from 'vitest';
import { Program, booksOf } from '../support/child.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-analyzer-'));
const programs: Program[] = [];
afterAll(() => {
  for (const { child } of programs) child.kill('SIGKILL');
  rmSync(directory, { recursive: true, force: true });
});

function start(text: string): Program {
  const file = join(directory, `config-${programs.length}.yaml`);
  writeFileSync(file, text);
  const program = new Program('analyzer', ['-c', file]);
  programs.push(program);
  return program;
}

const HEADER = encodeFileHeader({ linkType: LINKTYPE_ETHERNET, precision: 'ns' });
const MINUTE = 60;
/** 2026-01-05T06:00:00Z. */
const START_S = 1_767_592_800;

interface Sent extends Packet {
  readonly source: string;
  readonly sensor: string;
}

/** Each of these polls its own PLC, and has a sensor of its own; all the rest is seen by another one. */
const CLIENTS = 12;
const SENSORS = CLIENTS + 1;

/** A plant that polls its PLCs, with scans, floods and a login that is tried again and again; at the end two packets long after that end all flows of their sensor. */
function traffic(seconds: number): Sent[] {
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
class Writer {
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

async function analysed(paths: readonly string[]): Promise<Reference> {
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
function alertsIn(file: string): Map<string, Alert> {
  if (!existsSync(file)) return new Map();
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  return new Map(lines.map((line) => JSON.parse(line) as Alert).map((alert) => [alert.id, alert]));
}

function countsOf(alerts: Iterable<Alert>): string[] {
  return [...alerts].map(({ id, rule, count }) => `${id} ${rule} ${count}`).sort();
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let waited = 0; !isSo(); waited += 50) {
    if (waited > 30_000) throw new Error(`${what} did not happen`);
    await sleep(50);
  }
}

function packetsCounted(program: Program): number {
  return program.log.some((line) => line['books'] !== undefined)
    ? Number(booksOf(program)['engine']?.['packets'] ?? 0)
    : 0;
}

const SECONDS = 130;

describe('killed again and again while the archive grows, the analyzer', () => {
  it('counts each packet once, and finds the flows and alerts of one uninterrupted run', async () => {
    const packets = traffic(SECONDS);
    const archive = join(directory, 'archive');
    const writer = new Writer(archive, packets);
    const alerts = join(directory, 'kill-alerts.jsonl');
    const flows = join(directory, 'kill-conn.log');
    const text =
      `input: {directory: ${archive}, poll_interval: 50ms, reorder_window: 12s}\nstate_directory: ${directory}/state\ncheckpoint_interval: 1s\n` +
      `alerts_file: ${alerts}\nflows: {format: json, file: ${flows}}\nstatistics_interval: 1s\n`;
    const seed = Number(process.env['TAPLINE_SEED'] ?? Date.now() % 1_000_000);
    console.log(`seed ${seed}`);
    const prng = new Prng(seed);
    // Ten times as fast as the clock: a poll that is held up for a second still finds everything within the window.
    const writing = (async () => {
      const beganMs = performance.now();
      for (let at = 0; at < SECONDS; at = (performance.now() - beganMs) / 100) {
        writer.writeUntil(at);
        await sleep(10);
      }
      await sleep(500);
      writer.writeUntil(Infinity);
    })();
    let kills = 0;
    let resumed = 0;
    while (!writer.isDone || kills < 8) {
      const program = start(text);
      await program.line('Started.');
      resumed += program.log.some((line) => line.msg === 'Going on from the last checkpoint.') ? 1 : 0;
      await sleep(prng.between(400, 2000));
      program.child.kill('SIGKILL');
      await program.exited;
      expect(program.log.filter((line) => Number(line['level']) > 30)).toEqual([]);
      kills++;
    }
    await writing;
    const last = start(text);
    await until('the last packet', () => packetsCounted(last) === packets.length);
    expect(await last.stop()).toBe(0);
    console.log(`${packets.length} packets, ${kills} kills, ${resumed} times gone on from a checkpoint`);
    expect(kills).toBeGreaterThanOrEqual(8);
    expect(resumed).toBeGreaterThan(0);

    const { analysis, flows: uids } = await analysed([archive]);
    const books = booksOf(last);
    const bytes = packets.reduce((sum, { frame }) => sum + frame.byteLength, 0);
    expect(books['count']).toEqual({ packets: packets.length, bytes });
    expect(books['engine']).toEqual({ packets: packets.length, bytes, packetsFailed: 0 });
    expect(books['merge']).toMatchObject({ packetsIn: packets.length, packetsOut: packets.length, packetsLate: 0, packetsHeldNow: 0 }); // prettier-ignore
    const segments = readdirSync(archive).reduce((sum, sensor) => sum + readdirSync(join(archive, sensor)).length, 0); // prettier-ignore
    expect(books['tail']).toMatchObject({ segments, segmentsGone: 0, segmentsDamaged: 0 });
    expect(books['sensorsNow'] as unknown).toBe(SENSORS);
    const flowsOfAll = analysis.engines.reduce((sum, engine) => sum + engine.flows.counters.flows, 0);
    expect(books['flows']?.['flows']).toBe(flowsOfAll);
    // The flows of the end are still open, one at each sensor.
    const told = readdirSync(directory)
      .filter((name) => name.startsWith('kill-conn_'))
      .flatMap((name) => readFileSync(join(directory, name), 'utf8').trimEnd().split('\n'))
      .map((line) => (JSON.parse(line) as { uid: string }).uid);
    // Models have not seen those yet.
    const isScored = ({ rule, flows }: Alert): boolean => !rule.startsWith('model-') || flows.some((uid) => told.includes(uid)); // prettier-ignore
    const expected = analysis.alerts
      .filter(isScored)
      .map(({ id }) => id)
      .sort();
    expect(expected.length).toBeGreaterThan(3);
    expect([...alertsIn(alerts).keys()].sort()).toEqual(expected);
    const bySeverity = Object.values(books['alerts'] as Record<string, number>);
    expect(bySeverity.reduce((sum, count) => sum + count, 0)).toBe(expected.length);
    expect(told).toHaveLength(uids.length - SENSORS);
    expect(new Set(told).size).toBe(told.length);
    expect(told.every((uid) => uids.includes(uid))).toBe(true);
    // A stop with a last checkpoint: nothing is read again.
    const again = start(text);
    expect((await again.line('Going on from the last checkpoint.'))['packets']).toBe(packets.length);
    expect(await again.stop()).toBe(0);
    expect(booksOf(again)['engine']).toEqual({ packets: packets.length, bytes, packetsFailed: 0 });
  });
});

describe('the same packets', () => {
  it('live, tailed and read again are the same alerts with the same counts', async () => {
    const packets = traffic(30).map((packet) => ({ ...packet, sensor: 'probe' }));
    const archive = join(directory, 'same', 'archive');
    const writer = new Writer(archive, packets);
    // As one capture, of the same sensor.
    const whole = join(directory, 'same', 'whole', 'probe');
    mkdirSync(whole, { recursive: true });
    const stream = Buffer.concat([HEADER, recordsOf(packets)]);
    writeFileSync(join(whole, 'all_20260105_06.pcap'), stream);
    const reference = await analysed([join(directory, 'same', 'whole')]);
    const expected = countsOf(reference.analysis.alerts);
    expect(expected.length).toBeGreaterThan(3);

    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.write(stream);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const run = async (name: string, input: string): Promise<string[]> => {
      const file = join(directory, `same-${name}.jsonl`);
      const program = start(`input: ${input}\nalerts_file: ${file}\nstatistics_interval: 1s\n`);
      if (name === 'tailed')
        for (let at = 1; !writer.isDone; at = at > 31 ? Infinity : at + 1) {
          writer.writeUntil(at);
          await sleep(20);
        }
      if (name !== 'files') {
        await until(`${name}: all packets`, () => Number(packetsCounted(program)) === packets.length);
        expect(await program.stop()).toBe(0);
      } else expect((await program.exited).code).toBe(0);
      expect(booksOf(program)['engine']?.['packets']).toBe(packets.length);
      return countsOf(alertsIn(file).values());
    };
    const [live, tailed] = await Promise.all([
      run('live', `{tcp: "127.0.0.1:${port}", sensor: probe}`),
      run('tailed', `{directory: ${archive}, poll_interval: 50ms, reorder_window: 12s}`),
    ]);
    server.close();
    const files = await run('files', `{files: [${archive}]}`);
    const again = countsOf((await analysed([archive])).analysis.alerts);
    expect({ live, tailed, files, again }).toEqual({
      live: expected,
      tailed: expected,
      files: expected,
      again: expected,
    });
  });
});

describe('a running analyzer', () => {
  it('takes changed rules at once and at SIGHUP, and keeps the old ones where the new have a mistake', async () => {
    const place = join(directory, 'rules');
    mkdirSync(place);
    const rules = join(place, 'rules.yaml');
    writeFileSync(rules, 'scan_vertical: {ports: 5}\n');
    const program = start(`input: {directory: ${place}, poll_interval: 50ms}\nrules: ${rules}\n`);
    await program.line('Started.');
    await sleep(20);
    writeFileSync(rules, 'scan_vertical:\n  prts: 5\n');
    const refused = await program.line('The new rules are not usable; the old ones stay in force.');
    expect(refused['problem']).toContain('rules.yaml:2:3');
    expect(refused['problem']).toContain('did you mean ports?');
    writeFileSync(rules, 'scan_vertical: {ports: 50}\n');
    await program.line('The rules were read again.');
    program.child.kill('SIGHUP');
    await program.line('Reloaded.');
    expect(await program.stop()).toBe(0);
    expect(booksOf(program)['rules']).toEqual({ reloaded: 1, refused: 1 });
  });

  it('with a damaged checkpoint begins anew, says what is read again, and counts each packet once', async () => {
    const packets = traffic(5);
    const writer = new Writer(join(directory, 'damaged'), packets);
    writer.writeUntil(Infinity);
    const state = join(directory, 'damaged-state');
    const text = `input: {directory: ${writer.directory}, poll_interval: 50ms, reorder_window: 100ms}\nstate_directory: ${state}\nstatistics_interval: 1s\n`;
    const first = start(text);
    await until('all packets', () => packetsCounted(first) === packets.length);
    const second = start(text);
    expect((await second.exited).code).not.toBe(0);
    expect(second.transcript()).toContain('another analyzer');
    expect(await first.stop()).toBe(0);
    const path = join(state, 'analyzer.checkpoint');
    const bytes = readFileSync(path);
    bytes[200] = (bytes[200] as number) ^ 1;
    writeFileSync(path, bytes);
    const third = start(text);
    const told = await third.line('The checkpoint is not usable; beginning anew.');
    expect(told['reason']).toContain('digest');
    expect(told['reread']).toContain(writer.directory);
    await until('all packets again', () => packetsCounted(third) === packets.length);
    expect(await third.stop()).toBe(0);
    expect(booksOf(third)['count']).toMatchObject({ packets: packets.length });
  });

  it('reads a capture from stdin to its end, and calls a server again that went away', async () => {
    const packets = traffic(5);
    const stream = Buffer.concat([HEADER, recordsOf(packets)]);
    const piped = start('input: {stdin: true, sensor: pipe}\n');
    piped.child.stdin?.end(stream);
    expect((await piped.exited).code).toBe(0);
    expect(booksOf(piped)['engine']?.['packets']).toBe(packets.length);
    expect(booksOf(piped)['sensors']).toMatchObject([{ sensor: 'pipe', packets: packets.length }]);
    let calls = 0;
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      if (++calls === 1) socket.end(stream);
      else socket.write(stream);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as { port: number };
    const caller = start(`input: {tcp: "127.0.0.1:${port}"}\nstatistics_interval: 1s\n`);
    await until('both streams', () => packetsCounted(caller) === 2 * packets.length);
    expect(await caller.stop()).toBe(0);
    expect(booksOf(caller)['tail']).toMatchObject({ packets: 2 * packets.length, connections: 2 });
    server.close();
  });
});
