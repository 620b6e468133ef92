/**
 * A disk that fills at night, on a real small file system: the edge's costs only the edge's packets, counted; the
 * collector's costs time, and nothing else.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, packetsOfFile, type SeenPacket } from '../support/captured.ts';
import { Program, booksOf } from '../support/child.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-full-'));
const plant = join(directory, 'plant.pcap');
let plantPackets = 0;
const mounts: string[] = [];

/** A file system of so many bytes, or null where this process may not mount. */
function mountSmall(name: string, size: string): string | null {
  const path = join(directory, name);
  mkdirSync(path);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path]).status !== 0) return null;
  mounts.push(path);
  return path;
}

const canMount = process.getuid?.() === 0;

beforeAll(async () => {
  const simulator = new Program('forwarder', ['simulate', '-o', plant, '--duration', '2m', '--seed', '5']);
  expect((await simulator.exited).code).toBe(0);
  plantPackets = (await packetsOfFile(plant)).length;
});
afterAll(() => {
  for (const path of mounts) spawnSync('umount', ['-l', path]);
  rmSync(directory, { recursive: true, force: true });
});

async function packetsIn(path: string): Promise<SeenPacket[]> {
  const packets: SeenPacket[] = [];
  for (const name of readdirSync(path, { recursive: true, encoding: 'utf8' }))
    if (name.endsWith('.pcap')) packets.push(...(await packetsOfFile(join(path, name))));
  return packets;
}

async function start(soc: string, edge: string): Promise<{ collector: Program; forwarder: Program }> {
  const collectorFile = join(directory, 'collector.yaml');
  writeFileSync(
    collectorFile,
    `port: 0\nprotocol: tcp\nbind: 127.0.0.1\narchive: {link_type: ethernet}\noutput_directories: {pcap_raw_output_path: ${soc}}\n`,
  );
  const collector = new Program('collector', ['-c', collectorFile]);
  const port = Number((await collector.line('Listening for sensors.'))['port']);
  const forwarderFile = join(directory, 'forwarder.yaml');
  writeFileSync(
    forwarderFile,
    `sensor: probe\ncapture: {driver: file, files: [${plant}]}\narchive: {buffer_size: 4MiB}\noutput_directories: {pcap_raw_output_path: ${edge}}\nforward: {enable: true, host: 127.0.0.1, port: ${port}, protocol: tcp}\n`,
  );
  return { collector, forwarder: new Program('forwarder', ['-c', forwarderFile]) };
}

describe.skipIf(!canMount)(`a full disk${canMount ? '' : ' (skipped: needs root to mount one)'}`, () => {
  it('at the edge is counted to the packet, leaves whole files, and the SOC has everything', async () => {
    const edge = mountSmall('edge', '1m') as string;
    const soc = join(directory, 'soc');
    const { collector, forwarder } = await start(soc, edge);
    expect((await forwarder.exited).code).toBe(4);
    expect(await collector.stop()).toBe(0);
    expect(forwarder.transcript()).toContain('The disk refuses packets.');
    const archive = booksOf(forwarder)['archive'];
    const stored = (await packetsIn(edge)).length;
    expect(stored).toBe(archive?.['packetsStored']);
    expect(stored + Number(archive?.['packetsDropped'])).toBe(plantPackets);
    expect(Number(archive?.['packetsDropped'])).toBeGreaterThan(0);
    expect((await packetsIn(soc)).length).toBe(plantPackets);
  });

  it('at the collector is not acknowledged; when there is room again, every packet is there once', async () => {
    const soc = mountSmall('soc-small', '1m') as string;
    const edge = join(directory, 'edge-large');
    const { collector, forwarder } = await start(soc, edge);
    await collector.line('Packets could not be made durable; they are not acknowledged.');
    forwarder.child.kill('SIGUSR1');
    await forwarder.line('Books.');
    expect(Number(booksOf(forwarder)['uplink']?.['acknowledgedPackets'])).toBeLessThan(plantPackets);
    expect(spawnSync('mount', ['-o', 'remount,size=200m', soc]).status).toBe(0);
    expect((await forwarder.exited).code).toBe(0);
    expect(await collector.stop()).toBe(0);
    expect(booksOf(collector)['archive']).toMatchObject({ packetsDropped: 0, packetsStored: plantPackets });
    expect(contentOf(await packetsIn(soc)).sort()).toEqual(contentOf(await packetsOfFile(plant)).sort());
  });
});
