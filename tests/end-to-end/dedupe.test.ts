/**
 * Second copies, from capture to the SOC: captures of real plants, mirrored both ways by hand, arrive as they were; the books of both
 * sides balance to the packet, and the share of copies is known in the SOC.
 */
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DuplicateFilter } from '@tapline/forwarder/src/dedupe/duplicate-filter.ts';
import { BatchBuilder } from '@tapline/shared/packet/batch.ts';
import { openCapture } from '@tapline/shared/pcap/capture-file.ts';
import { PcapFile } from '@tapline/shared/pcap/pcap-file.ts';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { contentOf, packetsOf, packetsOfFile } from '../support/captured.ts';
import { Program, booksOf } from '../support/child.ts';
import { corpusFiles, describeWithCorpus } from '../support/corpus.ts';

const directory = mkdtempSync(join(tmpdir(), 'tapline-dedupe-'));
const plant = join(directory, 'plant.pcap');
const mirrored = join(directory, 'mirrored.pcap');

beforeAll(async () => {
  const simulate = new Program('forwarder', ['simulate', '-o', plant, '--duration', '30s', '--seed', '5']);
  expect((await simulate.exited).code).toBe(0);
  await mirror(plant, mirrored);
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Each packet a second time, three microseconds later. */
async function mirror(source: string, target: string): Promise<number> {
  const capture = await openCapture(source);
  const linkType = capture.interfaces[0]?.linkType ?? 1;
  const file = await PcapFile.create(target, { linkType, precision: 'ns' });
  let packets = 0;
  for await (const batch of capture.batches()) {
    const builder = new BatchBuilder(linkType, 0, new Uint8Array(2 * batch.byteLength + 600_000));
    for (const { timeNs, frame, originalBytes } of packetsOf(batch))
      for (const late of [0n, 3000n]) {
        const time = timeNs + late;
        builder.append(Number(time / 1_000_000_000n), Number(time % 1_000_000_000n), originalBytes, frame, 0, frame.byteLength); // prettier-ignore
      }
    packets += batch.packetCount;
    await file.write(builder.take());
  }
  await file.close();
  return packets;
}

it('a plant mirrored both ways arrives once, and everybody knows the share', async () => {
  const soc = join(directory, 'soc');
  const edge = join(directory, 'edge');
  const collectorFile = join(directory, 'collector.yaml');
  writeFileSync(collectorFile, `port: 0\nbind: 127.0.0.1\nprotocol: tcp\narchive: {link_type: ethernet, split: none}\noutput_directories: {pcap_raw_output_path: ${soc}}\n`); // prettier-ignore
  const collector = new Program('collector', ['-c', collectorFile]);
  const { port } = await collector.line('Listening for sensors.');
  const forwarderFile = join(directory, 'forwarder.yaml');
  writeFileSync(forwarderFile, `sensor: cell-1\ncapture: {driver: file, files: [${mirrored}]}\noutput_directories: {pcap_raw_output_path: ${edge}}\nforward: {enable: true, host: 127.0.0.1, port: ${String(port)}, protocol: tcp, dedupe: {window: 10ms}}\n`); // prettier-ignore
  const forwarder = new Program('forwarder', ['-c', forwarderFile]);
  expect((await forwarder.exited).code, forwarder.transcript()).toBe(0);
  const { capture, uplink, archive } = booksOf(forwarder);
  const original = await packetsOfFile(plant);
  expect(capture?.['packets']).toBe(2 * original.length);
  // The edge keeps everything.
  expect(archive?.['packetsStored']).toBe(2 * original.length);
  expect(Number(uplink?.['duplicatePackets']) + Number(uplink?.['offeredPackets'])).toBe(2 * original.length);
  expect(uplink?.['duplicatePackets']).toBe(original.length);
  expect(await collector.stop()).toBe(0);
  const place = join(soc, 'cell-1');
  const stored = (await Promise.all(readdirSync(place).filter((name) => name.endsWith('.pcap')).map((name) => packetsOfFile(join(place, name))))).flat(); // prettier-ignore
  expect(contentOf(stored)).toEqual(contentOf(original));
  const sensors = new Program('collector', ['sensors', '-c', collectorFile, 'cell-1', '--json']);
  let text = '';
  sensors.child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  await sensors.exited;
  expect((JSON.parse(text) as { duplicateShare: number | null }).duplicateShare).toBeCloseTo(0.5, 1);
}, 60_000);

describeWithCorpus('captures of real plants', () => {
  it('lose nothing by it that was not there twice', async () => {
    const files = ['modbus', 'dnp3', 's7', 'profinet', 'iec61850'].flatMap((name) =>
      corpusFiles(`ot/${name}`).slice(0, 2),
    );
    expect(files.length).toBeGreaterThan(5);
    for (const { path, name } of files) {
      const { before, left: alone } = await filtered(path);
      const target = join(directory, 'corpus.pcap');
      await mirror(path, target);
      const { left } = await filtered(target);
      // What the capture has twice by itself is left out in both.
      expect(left, name).toBeGreaterThanOrEqual(alone);
      expect(left, name).toBeLessThanOrEqual(before);
    }
  });
});

async function filtered(path: string): Promise<{ before: number; left: number }> {
  const filter = new DuplicateFilter({ windowMs: 10, ignore: [] });
  for await (const batch of (await openCapture(path)).batches()) filter.apply(batch);
  const { seenPackets, duplicatePackets } = filter.counters;
  return { before: seenPackets, left: seenPackets - duplicatePackets };
}
