import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statfsSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { writeHolds } from '../catalog/hold-list.ts';
import { encodeSidecar } from '../catalog/sidecar.ts';
import { newKeeperCounters, type RetentionOptions } from './keeper-protocol.ts';
import { DELETED_NAME, Retention } from './retention.ts';

const HOUR_MS = 3_600_000;
const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
});

function root(): string {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-retention-'));
  directories.push(directory);
  return directory;
}

/** A finished segment of 1,000 bytes of packets, closed so many hours ago. */
function segment(
  archive: string,
  sensor: string,
  name: string,
  closedHoursAgo: number,
  isFinished = true,
): void {
  const directory = join(archive, sensor);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, `${name}.pcap`), Buffer.alloc(1000));
  if (!isFinished) return;
  const hash = '0'.repeat(64);
  writeFileSync(
    join(directory, `${name}.json`),
    encodeSidecar({
      version: 1, segment: `${name}.pcap`, file: `${name}.pcap`, sensor, archive: '', interfaces: [], filter: '', split: 'source',
      linkType: 1, precision: 'ns', firstPacket: '1970-01-01T00:00:10.000000000Z', lastPacket: '1970-01-01T00:00:20.000000000Z',
      packets: 5, bytes: 900, fileBytes: 1000, sha256: hash, compression: 'none', fileSha256: hash, late: false, recovered: false,
      dropped: {}, gaps: { count: 0, packets: 0, unknown: 0 }, closedAt: '', software: '',
    }),
  ); // prettier-ignore
  const closedAt = (Date.now() - closedHoursAgo * HOUR_MS) / 1000;
  utimesSync(join(directory, `${name}.json`), closedAt, closedAt);
}

function enforce(archive: string, options: Partial<RetentionOptions>) {
  const counters = newKeeperCounters();
  const told: string[] = [];
  const retention = new Retention(
    {
      retention: { intervalMs: 1000, ...options },
      roots: [archive],
      isSinglePlace: false,
      localKeepMs: Infinity,
    },
    counters,
    (level, _, message) => told.push(`${level} ${message}`),
  );
  retention.enforce();
  return { counters, told, retention };
}

const left = (archive: string, sensor: string): string[] => readdirSync(join(archive, sensor)).filter((name) => name.endsWith('.pcap')).sort(); // prettier-ignore

describe('retention', () => {
  it('by age counts from the closing, whatever the time of the packets', () => {
    const archive = root();
    segment(archive, 'a', 'x_19700101_00', 1);
    segment(archive, 'a', 'x_20260101_00', 50);
    const { counters } = enforce(archive, { ageMsMax: 48 * HOUR_MS });
    expect(left(archive, 'a')).toEqual(['x_19700101_00.pcap']);
    expect(counters).toMatchObject({ segmentsDeleted: 1, deletedByReason: { age: 1 } });
    const [line = ''] = readFileSync(join(archive, 'a', DELETED_NAME), 'utf8').split('\n');
    expect(JSON.parse(line)).toMatchObject({ segment: 'x_20260101_00.pcap', reason: 'age', packets: 5 });
  });

  it('by size of a sensor takes from that sensor, by size of all from whoever closed first', () => {
    const archive = root();
    for (let i = 0; i < 6; i++) segment(archive, 'big', `x_2026010${i + 1}_00`, 10 - i);
    segment(archive, 'small', 'x_20260101_00', 100);
    const size = enforce(archive, {}).counters.archiveBytesNow / 7;
    expect(enforce(archive, { sensorBytesMax: 4.5 * size }).counters.deletedByReason['sensor-size']).toBe(2);
    expect(left(archive, 'big')).toEqual(['x_20260103_00.pcap', 'x_20260104_00.pcap', 'x_20260105_00.pcap', 'x_20260106_00.pcap']); // prettier-ignore
    expect(left(archive, 'small')).toHaveLength(1);
    expect(enforce(archive, { totalBytesMax: 3.5 * size }).counters.deletedByReason['total-size']).toBe(2);
    expect(left(archive, 'small')).toEqual([]);
    expect(left(archive, 'big')).toHaveLength(3);
  });

  it('by free space deletes until there is enough, or nothing is left, and says so', () => {
    const archive = root();
    for (let i = 0; i < 3; i++) segment(archive, 'a', `x_2026010${i + 1}_00`, 3 - i);
    const { bavail, bsize } = statfsSync(archive);
    expect(enforce(archive, { freeBytesMin: bavail * bsize * 0.5 }).counters.segmentsDeleted).toBe(0);
    const { counters, told } = enforce(archive, { freeBytesMin: bavail * bsize * 2 });
    expect(counters.deletedByReason['free-space']).toBe(3);
    expect(told.at(-1)).toContain('there is nothing left to delete');
    // A share with a bound: of a large disk no more than that.
    segment(archive, 'a', 'x_20260109_00', 1);
    expect(enforce(archive, { freeShareMin: 0.99, freeShareBytesMax: 1 }).counters.segmentsDeleted).toBe(0);
  });

  it('never touches what is not finished, and nothing at all while the holds cannot be read', () => {
    const archive = root();
    segment(archive, 'a', 'x_20260101_00', 9, false);
    segment(archive, 'a', 'y_20260101_00', 9);
    segment(archive, 'a', 'z_20260101_00', 9);
    writeFileSync(join(archive, 'holds.json'), '{');
    const { told } = enforce(archive, { ageMsMax: HOUR_MS });
    expect(told).toEqual(['error The holds cannot be read; nothing is deleted.']);
    expect(left(archive, 'a')).toHaveLength(3);
    writeHolds(archive, [{ id: 'one', reason: 'test', sensor: 'a', from: '1970-01-01T00:00:15Z', to: '1970-01-01T00:01:00Z', addedAt: '' }]); // prettier-ignore
    expect(enforce(archive, { ageMsMax: HOUR_MS }).counters).toMatchObject({
      segmentsDeleted: 0,
      segmentsHeldNow: 2,
    });
    writeHolds(archive, [{ id: 'two', reason: 'test', sensor: 'b', addedAt: '' }]);
    expect(enforce(archive, { ageMsMax: HOUR_MS }).counters.segmentsDeleted).toBe(2);
    expect(left(archive, 'a')).toEqual(['x_20260101_00.pcap']);
  });
});
