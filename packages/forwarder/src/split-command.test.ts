/** `split` over captures whose packets run backwards in time, within a file and from one to the next. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { batchOf, ipv4Frame, type TestPacket } from '@tapline/shared/archive/archive-test-support.ts';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { PACKET_BYTES_MAX } from '@tapline/shared/packet/record.ts';
import { PcapFile } from '@tapline/shared/pcap/pcap-file.ts';
import { readCapture, type PlainPacket } from '@tapline/shared/pcap/testing.ts';
import { afterEach, expect, it } from 'vitest';
import { split, type SplitReport } from './split-command.ts';

const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

/** 2026-01-01 00:59:00 UTC: the hour changes a minute later. */
const START = 1_767_225_600 + 59 * 60;

interface Done {
  readonly report: SplitReport;
  readonly segments: ReadonlyMap<string, string>;
}

/** Writes each list as a capture of its own, and splits them all. */
async function splitCaptures(captures: readonly (readonly TestPacket[])[]): Promise<Done> {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-split-'));
  directories.push(directory);
  const output = join(directory, 'out');
  const files: string[] = [];
  for (const [index, packets] of captures.entries()) {
    const path = join(directory, `${index}.pcap`);
    const file = await PcapFile.create(path, { linkType: LINKTYPE_ETHERNET, precision: 'ns' });
    await file.write(batchOf(packets));
    await file.close();
    files.push(path);
  }
  const report = await split(files, {
    output,
    filter: '',
    snaplen: PACKET_BYTES_MAX,
    linkType: 'ethernet',
    precision: 'ns',
    rule: [],
    json: false,
  });
  const names = readdirSync(output).filter((name) => name.endsWith('.pcap'));
  return { report, segments: new Map(names.map((name) => [name, join(output, name)])) };
}

const timeOf = ({ seconds, nanoseconds }: PlainPacket): bigint =>
  BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);

const packet: fc.Arbitrary<TestPacket> = fc.record({
  seconds: fc.integer({ min: START, max: START + 120 }),
  nanoseconds: fc.constantFrom(0, 1, 999_999_999),
  frame: fc
    .tuple(fc.integer({ min: 1, max: 3 }), fc.oneof(fc.nat(100), fc.nat(30_000)))
    .map(([source, padding]) => ipv4Frame(`10.0.0.${source}`, '10.0.0.9', { padding })),
});

it('every segment is in the order of time, and holds with the others all that was read', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(packet, { maxLength: 40 }), { minLength: 1, maxLength: 4 }),
      async (captures) => {
        const { report, segments } = await splitCaptures(captures);
        const stored: string[] = [];
        for (const [name, path] of segments) {
          const { packets, error } = await readCapture(path);
          expect(error).toBeNull();
          for (const [index, one] of packets.entries()) {
            stored.push(`${timeOf(one)} ${one.frame}`);
            const before = packets[index - 1];
            if (before !== undefined) expect(timeOf(one) >= timeOf(before), `${name}, packet ${index}`).toBe(true); // prettier-ignore
          }
        }
        const read = captures
          .flat()
          .map(({ seconds, nanoseconds = 0, frame }) => `${BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds)} ${Buffer.from(frame).toString('hex')}`); // prettier-ignore
        expect(stored.sort()).toEqual(read.sort());
        expect(report).toMatchObject({ packetsStored: read.length, packetsDropped: 0 });
      },
    ),
    { numRuns: 60 },
  );
});

it('what ran backwards is counted, and tcpdump sees each file run forwards', async () => {
  const at = (seconds: number, padding = 0): TestPacket => ({
    seconds: START + seconds,
    frame: ipv4Frame('10.0.0.1', '10.0.0.2', { padding }),
  });
  // A clock that steps back for a packet; then a file that begins earlier than the one before, and two buffers' worth of it.
  const older = Array.from({ length: 10 }, (_, index) => at(index, 20_000));
  const { report, segments } = await splitCaptures([[at(50), at(49), at(51)], [at(55, 60_000)], older]);
  expect(report.packetsReordered + report.packetsLate).toBe(11);
  expect(report.packetsReordered).toBeGreaterThan(0);
  expect(report.packetsLate).toBeGreaterThan(0);
  let packets = 0;
  for (const [name, path] of segments) {
    const lines = execFileSync('tcpdump', ['-tt', '-nn', '-r', path], { encoding: 'utf8', stdio: 'pipe' });
    const times = lines.trim().split('\n').map(parseFloat);
    expect(times, name).toEqual(times.toSorted((a, b) => a - b));
    packets += times.length;
  }
  expect(packets).toBe(14);
  expect([...segments.keys()].some((name) => name.endsWith('-late.pcap'))).toBe(true);
});
