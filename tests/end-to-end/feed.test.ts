/**
 * PCAP-over-IP between real programs: what readers get is what was stored, whoever they are; one that stands still is cut loose and
 * nobody else notices; with a past, nothing is missing and nothing twice where the past meets the present.
 */
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, packetsOfFile, type SeenPacket } from '../support/captured.ts';
import { Program, booksOf, type LogLine } from '../support/child.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-feed-'));
const plant = join(directory, 'plant.pcap');
const programs: Program[] = [];
let recorded: SeenPacket[] = [];

beforeAll(async () => {
  const start = new Date(Date.now() - 600_000).toISOString().slice(0, 19) + 'Z';
  const simulate = new Program('forwarder', ['simulate', '-o', plant, '--duration', '40s', '--seed', '8', '--start', start]); // prettier-ignore
  expect((await simulate.exited).code, simulate.transcript()).toBe(0);
  recorded = await packetsOfFile(plant);
});
afterAll(async () => {
  for (const program of programs) program.child.kill('SIGKILL');
  for (const program of programs) await program.exited;
  rmSync(directory, { recursive: true, force: true });
});

let files = 0;
function start(program: 'forwarder' | 'collector', yaml: string): Program {
  const file = join(directory, `config-${String(files++)}.yaml`);
  writeFileSync(file, yaml);
  const started = new Program(program, ['-c', file]);
  programs.push(started);
  return started;
}

/** A collector with these feeds, and the ports they got. */
async function collect(...feeds: string[]): Promise<{ collector: Program; port: number; ports: number[] }> {
  const soc = join(directory, `soc-${String(files)}`);
  const collector = start(
    'collector',
    `port: 0\nbind: 127.0.0.1\nprotocol: tcp\narchive: {link_type: ethernet}\noutput_directories: {pcap_raw_output_path: ${soc}}\npcap_over_ip:\n${feeds.map((feed) => `  - ${feed}\n`).join('')}`,
  );
  const { port } = await collector.line('Listening for sensors.');
  await collector.line('Started.');
  const ports = collector.log.filter(({ msg }) => msg === 'Serving PCAP-over-IP.').map((line: LogLine) => Number(line['port'])); // prettier-ignore
  return { collector, port: Number(port), ports };
}

function forwarder(
  sensor: string,
  port: number,
  capture = `driver: file, files: [${plant}], speed: 20`,
): Program {
  return start(
    'forwarder',
    `sensor: ${sensor}\ncapture: {${capture}}\narchive: {enable: false}\nforward: {enable: true, host: 127.0.0.1, port: ${String(port)}, protocol: tcp}\n`,
  );
}

/** Reads a feed to its end into a file, as any program would that knows nothing of us. */
async function read(socket: Socket, name: string): Promise<SeenPacket[]> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  await new Promise((resolve) => socket.once('close', resolve));
  const file = join(directory, `${name}.pcap`);
  writeFileSync(file, Buffer.concat(chunks));
  // The tools of the field find nothing to complain about.
  expect(execFileSync('tcpdump', ['-nr', file, '-w', '/dev/null'], { stdio: 'pipe' }).toString()).toBe('');
  const said = execFileSync('capinfos', ['-c', '-M', file], { encoding: 'utf8' });
  const packets = await packetsOfFile(file);
  expect(said).toMatch(new RegExp(`Number of packets:\\s+${packets.length}\\b`));
  return packets;
}

const dial = (port: number): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port }, () => {
      resolve(socket);
    });
    socket.once('error', reject);
  });

const isIp = ({ frame }: SeenPacket): boolean => {
  const type = frame.readUInt16BE(12) === 0x8100 ? frame.readUInt16BE(16) : frame.readUInt16BE(12);
  return type === 0x0800 || type === 0x86dd;
};

describe('a feed of the collector', () => {
  it('gives every reader what its filter, its sensor and its link type leave, in order, to the packet', async () => {
    const { collector, port, ports } = await collect(
      '{listen: "127.0.0.1:0", link_type: ethernet, precision: ns}',
      '{listen: "127.0.0.1:0"}',
      '{listen: "127.0.0.1:0", filter: "tcp port 502", link_type: ethernet}',
      '{listen: "127.0.0.1:0", sensor: cell-2, link_type: ethernet}',
    );
    const sockets = await Promise.all(ports.map(dial));
    const readings = sockets.map((socket, i) => read(socket, ['all', 'raw', 'modbus', 'other'][i] as string));
    expect(await forwarder('cell-1', port).exited).toMatchObject({ code: 0 });
    expect(await collector.stop()).toBe(0);
    const [all = [], raw = [], modbus = [], other = []] = await Promise.all(readings);
    expect(contentOf(all)).toEqual(contentOf(recorded));
    expect(all.map(({ timeNs }) => timeNs)).toEqual(recorded.map(({ timeNs }) => timeNs));
    expect(raw).toHaveLength(recorded.filter(isIp).length);
    const wanted = execFileSync('tcpdump', ['-nr', plant, 'tcp port 502'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 1 << 26 }); // prettier-ignore
    expect(modbus).toHaveLength(wanted.split('\n').length - 1);
    expect(other).toHaveLength(0);
    for (const books of feedBooks(collector)) {
      const { packetsOffered, packetsFiltered, packetsUnfit, packetsSent, packetsCut } = books;
      expect(packetsFiltered + packetsUnfit + packetsSent + packetsCut).toBe(packetsOffered);
    }
  }, 60_000);

  it('is read by tshark as an interface, while it runs', async () => {
    const { collector, port, ports } = await collect('{listen: "127.0.0.1:0"}');
    const tshark = spawn('tshark', ['-i', `TCP@127.0.0.1:${String(ports[0])}`, '-c', '500', '-T', 'fields', '-e', 'ip.src'], { stdio: ['ignore', 'pipe', 'pipe'] }); // prettier-ignore
    let out = '';
    tshark.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    const ended = new Promise((resolve) => tshark.once('close', resolve));
    await collector.line('A reader joined.');
    const sender = forwarder('cell-1', port);
    expect(await ended).toBe(0);
    expect(out.trim().split('\n')).toHaveLength(500);
    await sender.stop();
    await collector.stop();
  }, 60_000);

  it('of two sensors is one stream in the order of time', async () => {
    const { collector, port, ports } = await collect(
      '{listen: "127.0.0.1:0", link_type: ethernet, precision: ns}',
    );
    const reading = read(await dial(ports[0] as number), 'two');
    const senders = ['cell-1', 'cell-2'].map((name) => forwarder(name, port));
    for (const sender of senders) expect((await sender.exited).code).toBe(0);
    await collector.stop();
    const times = (await reading).map(({ timeNs }) => timeNs);
    expect(times).toHaveLength(2 * recorded.length);
    // The two replays do not run in step: held is what comes within a fifth of a second, which at this speed is four.
    const disorder = times.filter((time, i) => i > 0 && time < (times[i - 1] as bigint)).length;
    expect(disorder / times.length).toBeLessThan(0.02);
  }, 60_000);

  it('cuts a reader loose that stands still, and the others have everything', async () => {
    const { collector, port, ports } = await collect(
      '{listen: "127.0.0.1:0", link_type: ethernet, buffer_size: 64KiB}',
    );
    const stalled = await dial(ports[0] as number);
    stalled.pause();
    stalled.on('error', () => undefined);
    const good = read(await dial(ports[0] as number), 'good');
    const gone = new Promise((resolve) => stalled.once('close', resolve));
    expect((await forwarder('cell-1', port, `driver: file, files: [${plant}]`).exited).code).toBe(0);
    for (let i = 0; i < 3; i++)
      expect(
        (await forwarder(`more-${String(i)}`, port, `driver: file, files: [${plant}]`).exited).code,
      ).toBe(0);
    const { reason } = await collector.line('A reader left.');
    expect(String(reason)).toContain('does not keep up');
    stalled.resume();
    await gone;
    await collector.stop();
    const [books] = feedBooks(collector);
    expect(books?.readersCut).toBe(1);
    expect((await good).length).toBe(4 * recorded.length);
  }, 60_000);

  it('with a past begins there, and nothing is missing or twice where it meets the present', async () => {
    const { collector, port, ports } = await collect(
      '{listen: "127.0.0.1:0", link_type: ethernet, precision: ns, from: 1h}',
    );
    const sender = forwarder('cell-1', port);
    await collector.line('A sensor connected.');
    const readings: Promise<SeenPacket[]>[] = [];
    for (let i = 0; i < 4; i++) {
      await new Promise((resolve) => setTimeout(resolve, 350));
      readings.push(read(await dial(ports[0] as number), `past-${String(i)}`));
    }
    expect((await sender.exited).code).toBe(0);
    await collector.stop();
    for (const reading of readings) expect(contentOf(await reading)).toEqual(contentOf(recorded));
  }, 60_000);

  it('calls who does not listen yet, and again when it went', async () => {
    const listener = createServer();
    await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
    const { port: to } = listener.address() as { port: number };
    await new Promise((resolve) => listener.close(resolve));
    const { collector, port } = await collect(`{connect: "127.0.0.1:${String(to)}", link_type: ethernet}`);
    await collector.line('A reader cannot be reached.');
    const late = createServer();
    const called = new Promise<Socket>((resolve) => late.once('connection', resolve));
    await new Promise<void>((resolve) => late.listen(to, '127.0.0.1', resolve));
    const first = await called;
    const again = new Promise<Socket>((resolve) => late.once('connection', resolve));
    first.destroy();
    const reading = read(await again, 'called');
    expect((await forwarder('cell-1', port).exited).code).toBe(0);
    await collector.stop();
    expect(contentOf(await reading)).toEqual(contentOf(recorded));
    late.close();
  }, 60_000);

  it('over TLS opens to certificates of its authority alone', async () => {
    const pki = join(directory, 'pki');
    for (const words of [
      ['init', '--name', 'Plant'],
      ['issue', '--collector', 'soc', '--host', '127.0.0.1'],
      ['issue', 'reader'],
    ])
      // prettier-ignore
      expect((await new Program('collector', ['pki', ...words, '--dir', pki]).exited).code).toBe(0);
    const { collector, port, ports } = await collect(
      `{listen: "127.0.0.1:0", link_type: ethernet, tls: {bundle: ${pki}/soc.pem}}`,
    );
    const ca = readFileSync(`${pki}/ca.crt`);
    const bundle = readFileSync(`${pki}/reader.pem`);
    const good = connectTls({ host: '127.0.0.1', port: ports[0], ca, cert: bundle, key: bundle });
    const reading = read(good, 'tls');
    const stranger = connectTls({ host: '127.0.0.1', port: ports[0], ca });
    let bytes = 0;
    stranger.on('data', (chunk: Buffer) => (bytes += chunk.length));
    await new Promise<void>((resolve) => stranger.on('error', () => undefined).on('close', () => resolve()));
    expect(bytes).toBe(0);
    expect((await forwarder('cell-1', port).exited).code).toBe(0);
    await collector.stop();
    expect(contentOf(await reading)).toEqual(contentOf(recorded));
  }, 60_000);

  it('opens to nobody else by mistake', async () => {
    for (const feed of [
      '{listen: "0.0.0.0:57012"}',
      '{listen: "127.0.0.1:1", connect: "127.0.0.1:2"}',
      '{connect: "192.0.2.1:57012"}',
    ]) {
      // prettier-ignore
      const file = join(directory, 'bad.yaml');
      writeFileSync(
        file,
        `port: 0
protocol: tcp
pcap_over_ip: [${feed}]
`,
      );
      const check = new Program('collector', ['check', file]);
      expect((await check.exited).code, feed).toBe(2);
    }
    const file = join(directory, 'bad.yaml');
    writeFileSync(
      file,
      'capture: {interface: lo}\npcap_over_ip: [{listen: "192.0.2.1:57012", allow_plaintext: true}]\n',
    );
    const check = new Program('forwarder', ['check', file]);
    expect((await check.exited).code).toBe(2);
    expect(check.transcript()).toContain('a probe opens no door into the plant');
  });
});

it('a forwarder offers the same on loopback', async () => {
  const sender = start('forwarder', `sensor: cell-1
capture: {driver: stdin}
output_directories: {pcap_raw_output_path: ${join(directory, 'edge')}}
pcap_over_ip: [{listen: "127.0.0.1:0", precision: ns}]
`); // prettier-ignore
  const { port } = await sender.line('Serving PCAP-over-IP.');
  const reading = read(await dial(Number(port)), 'edge');
  await sender.line('A reader joined.');
  sender.child.stdin?.end(readFileSync(plant));
  expect((await sender.exited).code).toBe(0);
  expect(contentOf(await reading)).toEqual(contentOf(recorded));
}, 60_000);

interface FeedBooks {
  readonly packetsOffered: number;
  readonly packetsFiltered: number;
  readonly packetsUnfit: number;
  readonly packetsSent: number;
  readonly packetsCut: number;
  readonly readersCut: number;
}

function feedBooks(program: Program): FeedBooks[] {
  return booksOf(program)['feeds'] as unknown as FeedBooks[];
}
