/**
 * The programs as daemons, on loopback: start, signals, exit codes, the status page, SecureOT's configurations, and the
 * analyzer beside a collector that writes.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, packetsOfFile, type SeenPacket } from '../support/captured.ts';
import { Program, booksOf } from '../support/child.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-daemons-'));
const plant = join(directory, 'plant.pcap');
let plantPackets = 0;

beforeAll(async () => {
  const simulator = new Program('forwarder', ['simulate', '-o', plant, '--duration', '30s', '--seed', '3']);
  expect((await simulator.exited).code).toBe(0);
  plantPackets = (await packetsOfFile(plant)).length;
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

let files = 0;
function config(text: string): string {
  const file = join(directory, `config-${files++}.yaml`);
  writeFileSync(file, text);
  return file;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function startCollector(text: string): Promise<{ collector: Program; port: number }> {
  const collector = new Program('collector', ['-c', config(text)]);
  return { collector, port: Number((await collector.line('Listening for sensors.'))['port']) };
}

function replay(port: number, edge: string, more = ''): Program {
  return new Program('forwarder', [
    '-c',
    config(
      `sensor: probe\ncapture: {driver: file, files: [${plant}]}\noutput_directories: {pcap_raw_output_path: ${edge}}\nforward: {enable: true, host: 127.0.0.1, port: ${port}, protocol: tcp}\n${more}`,
    ),
  ]);
}

async function packetsIn(path: string): Promise<SeenPacket[]> {
  const packets: SeenPacket[] = [];
  for (const name of readdirSync(path, { recursive: true, encoding: 'utf8' }))
    if (name.endsWith('.pcap')) packets.push(...(await packetsOfFile(join(path, name))));
  return packets;
}

describe('every program', () => {
  it.each(['forwarder', 'collector', 'analyzer'] as const)(
    '%s has --help with an example and --version',
    async (name) => {
      for (const word of ['--help', '--version']) {
        const program = new Program(name, [word]);
        let said = '';
        program.child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
        expect((await program.exited).code).toBe(0);
        expect(said).toMatch(word === '--help' ? /Examples:\n {2}tapline-/ : /^\d+\.\d+\.\d+\n$/);
      }
      expect((await new Program(name, ['--nonsense']).exited).code).toBe(64);
      expect((await new Program(name, ['-c', join(directory, 'none.yaml')]).exited).code).toBe(2);
    },
  );

  it.each(['forwarder', 'collector', 'analyzer'] as const)(
    'tapline-%s is a command in node_modules/.bin',
    (name) => {
      expect(readFileSync(`node_modules/.bin/tapline-${name}`, 'utf8')).toContain(`tapline-${name}`);
    },
  );
});

describe('forwarder and collector', () => {
  it.each(['zstd', 'lz4', 'none'])('move a capture to both disks, compressed with %s', async (codec) => {
    const edge = join(directory, `edge-${codec}`);
    const soc = join(directory, `soc-${codec}`);
    const { collector, port } = await startCollector(
      `port: 0\nprotocol: tcp\nbind: 127.0.0.1\narchive: {link_type: ethernet}\noutput_directories: {pcap_raw_output_path: ${soc}}\n`,
    );
    const file = config(
      `sensor: probe\ncapture: {driver: file, files: [${plant}]}\noutput_directories: {pcap_raw_output_path: ${edge}}\nforward: {enable: true, host: 127.0.0.1, port: ${port}, protocol: tcp, compression: ${codec}}\n`,
    );
    const forwarder = new Program('forwarder', ['-c', file]);
    expect((await forwarder.exited).code).toBe(0);
    expect(await collector.stop()).toBe(0);
    const sent = contentOf(await packetsOfFile(plant)).sort();
    expect(contentOf(await packetsIn(edge)).sort()).toEqual(sent);
    expect(contentOf(await packetsIn(join(soc, 'probe'))).sort()).toEqual(sent);
    const { capture, archive, uplink } = booksOf(forwarder);
    expect(capture?.['packets']).toBe(plantPackets);
    expect(archive?.['packetsStored']).toBe(plantPackets);
    expect(uplink).toMatchObject({
      offeredPackets: plantPackets,
      acknowledgedPackets: plantPackets,
      droppedPackets: 0,
    });
    expect(booksOf(collector)['archive']).toMatchObject({
      packetsIn: plantPackets,
      packetsStored: plantPackets,
      packetsDropped: 0,
    });
  });

  it('kill -9 of the collector in the middle: started again, it has every packet once', async () => {
    const edge = join(directory, 'edge-kill');
    const soc = join(directory, 'soc-kill');
    const port = await freePort();
    const text = `port: ${port}\nprotocol: tcp\nbind: 127.0.0.1\narchive: {link_type: ethernet}\noutput_directories: {pcap_raw_output_path: ${soc}}\n`;
    const first = await startCollector(text);
    // Slow enough that the kill falls into the stream: 30 s of packet time in three.
    const forwarder = replay(port, edge);
    const slow = new Program('forwarder', [
      '-c',
      config(
        `sensor: slow\ncapture: {driver: file, files: [${plant}], speed: 10}\noutput_directories: {pcap_raw_output_path: ${edge}-slow}\nforward: {enable: true, host: 127.0.0.1, port: ${port}, protocol: tcp}\n`,
      ),
    ]);
    await slow.line('Connected to the collector.');
    await sleep(1200);
    first.collector.child.kill('SIGKILL');
    await first.collector.exited;
    const second = await startCollector(text);
    expect((await slow.exited).code).toBe(0);
    expect((await forwarder.exited).code).toBe(0);
    expect(await second.collector.stop()).toBe(0);
    const sent = contentOf(await packetsOfFile(plant)).sort();
    expect(contentOf(await packetsIn(join(soc, 'slow'))).sort()).toEqual(sent);
    expect(contentOf(await packetsIn(join(soc, 'probe'))).sort()).toEqual(sent);
  });

  it('a damaged capture: everything before the damage is on both disks, and the exit code says so', async () => {
    const edge = join(directory, 'edge-damaged');
    const soc = join(directory, 'soc-damaged');
    const damaged = join(directory, 'damaged.pcap');
    const bytes = readFileSync(plant);
    writeFileSync(damaged, bytes.subarray(0, bytes.byteLength - 5));
    const { collector, port } = await startCollector(
      `port: 0\nprotocol: tcp\nbind: 127.0.0.1\noutput_directories: {pcap_raw_output_path: ${soc}}\n`,
    );
    const file = config(
      `sensor: probe\ncapture: {driver: file, files: [${damaged}]}\noutput_directories: {pcap_raw_output_path: ${edge}}\nforward: {enable: true, host: 127.0.0.1, port: ${port}, protocol: tcp}\n`,
    );
    const forwarder = new Program('forwarder', ['-c', file]);
    expect((await forwarder.exited).code).toBe(7);
    expect(forwarder.transcript()).toMatch(/damaged at offset \d+/);
    expect(await collector.stop()).toBe(0);
    expect((await packetsIn(edge)).length).toBe(plantPackets - 1);
    expect((await packetsIn(soc)).length).toBe(plantPackets - 1);
  });

  it('SIGTERM at any moment of a start ends it cleanly', async () => {
    const edge = join(directory, 'edge-early');
    for (const afterMs of [250, 320, 400, 500, 700]) {
      const forwarder = replay(1, edge);
      await sleep(afterMs);
      forwarder.child.kill('SIGTERM');
      await sleep(300);
      forwarder.child.kill('SIGTERM');
      const { code, signal } = await forwarder.exited;
      // Before Node has run our first line the signal kills; from then on it is obeyed, until all is done and told, when Node itself
      // goes and the second one finds nobody. No collector: not all was sent.
      const last = forwarder.log.at(-1);
      if (signal === null) expect([0, 6]).toContain(code);
      else if (last !== undefined) expect([0, 6]).toContain(last['exitCode']);
    }
  });

  it('serve their books on loopback, for Prometheus and for people', async () => {
    const port = await freePort();
    const { collector } = await startCollector(
      `port: 0\nprotocol: tcp\nbind: 127.0.0.1\nmetrics: {listen: "127.0.0.1:${port}"}\noutput_directories: {pcap_raw_output_path: ${join(directory, 'soc-metrics')}}\n`,
    );
    await collector.line('Started.');
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    expect(text).toMatch(/^tapline_collector_archive_packets_stored_total 0$/m);
    expect(text).toMatch(/^tapline_collector_tunnel_sensors 0$/m);
    expect(text).toMatch(/^tapline_collector_plain_dropped_total\{reason="too-large"\} 0$/m);
    expect(await (await fetch(`http://127.0.0.1:${port}/status`)).json()).toMatchObject({
      archive: { packetsIn: 0 },
    });
    expect((await fetch(`http://127.0.0.1:${port}/`)).status).toBe(404);
    expect((await fetch(`http://127.0.0.1:${port}/status`, { method: 'POST' })).status).toBe(405);
    const second = new Program('collector', [
      '-c',
      config(
        `port: 0\nprotocol: tcp\nbind: 127.0.0.1\nmetrics: {listen: "127.0.0.1:${port}"}\noutput_directories: {pcap_raw_output_path: ${join(directory, 'soc-second')}}\n`,
      ),
    ]);
    expect((await second.exited).code).toBe(5);
    expect(await collector.stop()).toBe(0);
  });

  it('a port that is taken and a directory that is in use end with their exit codes', async () => {
    const soc = join(directory, 'soc-taken');
    const text = (port: number): string =>
      `port: ${port}\nprotocol: tcp\nbind: 127.0.0.1\noutput_directories: {pcap_raw_output_path: ${soc}}\n`;
    const { collector, port } = await startCollector(text(0));
    expect((await new Program('collector', ['-c', config(text(port))]).exited).code).toBe(5);
    const edge = join(directory, 'edge-taken');
    const holder = replay(1, edge);
    await holder.line('Capturing.');
    expect((await replay(port, edge).exited).code).toBe(4);
    holder.child.kill('SIGTERM');
    await holder.line('Stopping.');
    // A second one hurries: the drain timeout is not waited for.
    holder.child.kill('SIGTERM');
    // It could not hand anything over: no collector listens on port 1.
    expect((await holder.exited).code).toBe(6);
    expect(await collector.stop()).toBe(0);
  });
});

describe('standard input', () => {
  it('takes what tcpdump writes, through a filter, and ends with it', async () => {
    const edge = join(directory, 'edge-stdin');
    const file = config(
      `capture: {driver: stdin, bpf_filter: tcp port 502}\noutput_directories: {pcap_raw_output_path: ${edge}}\n`,
    );
    const forwarder = new Program('forwarder', ['-c', file]);
    const tcpdump = spawn('tcpdump', ['-r', plant, '--nano', '-w', '-', '-Z', 'root'], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    tcpdump.stdout.pipe(forwarder.child.stdin as NodeJS.WritableStream);
    expect((await forwarder.exited).code).toBe(0);
    const wanted = spawnSync('tcpdump', [
      '-r',
      plant,
      '--nano',
      '-w',
      join(directory, 'modbus.pcap'),
      '-Z',
      'root',
      'tcp port 502',
    ]);
    expect(wanted.status).toBe(0);
    const modbus = contentOf(await packetsOfFile(join(directory, 'modbus.pcap'))).sort();
    expect(modbus.length).toBeGreaterThan(100);
    expect(contentOf(await packetsIn(edge)).sort()).toEqual(modbus);
    const books = booksOf(forwarder)['capture'];
    expect(Number(books?.['packets']) + Number(books?.['filteredPackets'])).toBe(plantPackets);
  });
});

describe("SecureOT's way", () => {
  it('its forwarder’s configuration sends one datagram per frame, its collector’s takes them', async () => {
    const edge = join(directory, 'edge-secureot');
    const soc = join(directory, 'soc-secureot');
    const { collector, port } = await startCollector(
      `port: 0\nprotocol: "udp"\nrouting_rules:\n  - ip: "127.0.0.1"\n    output_prefix: "site_a"\ndefault_output_prefix: "remote_misc_traffic"\noutput_directories:\n  pcap_raw_output_path: "${soc}"\n`,
    );
    expect(collector.transcript()).toContain('names no address to bind');
    const forwarder = new Program('forwarder', [
      config(
        `capture:\n  driver: file\n  files: [${plant}]\n  speed: 30\nrouting_rules: []\ndefault_output_prefix: "default"\noutput_directories:\n  pcap_raw_output_path: "${edge}"\nforward:\n  enable: true\n  host: "127.0.0.1"\n  port: ${port}\n  protocol: "udp"\n`,
      ),
    ]);
    expect((await forwarder.exited).code).toBe(0);
    await sleep(300);
    expect(await collector.stop()).toBe(0);
    const books = booksOf(collector);
    const kernelDropped = Number(books['listen']?.['kernelDroppedPackets']);
    // Nothing is acknowledged on this way: what the kernel dropped is counted, and the rest is there.
    expect(Number(books['archive']?.['packetsStored']) + kernelDropped).toBe(plantPackets);
    expect(readdirSync(join(soc, 'site_a')).some((name) => name.startsWith('site_a_'))).toBe(true);
    expect(readdirSync(edge).some((name) => name.startsWith('default_'))).toBe(true);
  });
});

describe('the analyzer', () => {
  it('follows an archive while the collector writes it, and counts every packet once', async () => {
    const edge = join(directory, 'edge-analyzer');
    const soc = join(directory, 'soc-analyzer');
    const { collector, port } = await startCollector(
      `port: 0\nprotocol: tcp\nbind: 127.0.0.1\noutput_directories: {pcap_raw_output_path: ${soc}}\n`,
    );
    const analyzer = new Program('analyzer', [
      '-c',
      config(`input: {directory: ${soc}, poll_interval: 50ms}\n`),
    ]);
    await analyzer.line('Started.');
    const forwarder = replay(port, edge);
    expect((await forwarder.exited).code).toBe(0);
    expect(await collector.stop()).toBe(0);
    expect(await analyzer.stop()).toBe(0);
    expect(booksOf(analyzer)['count']).toMatchObject({ packets: plantPackets });
    const protocols = (booksOf(analyzer)['protocols'] as unknown as { name: string }[]).map(
      (row) => row.name,
    );
    expect(protocols).toEqual(expect.arrayContaining(['modbus', 'dnp3', 'arp']));
    const summary = new Program('analyzer', ['summary', '--json', soc]);
    let said = '';
    summary.child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    expect((await summary.exited).code).toBe(0);
    expect(JSON.parse(said)).toMatchObject({ packets: plantPackets, damaged: [] });
  });
});
