import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import {
  ManualClock,
  UnreliableFiles,
  batchOf,
  diskError,
  ethernet,
  imbalance,
  ipv4Packet,
  openArchive,
  readArchive,
  removeTemporaryDirectories,
  temporaryDirectory,
} from './archive-test-support.ts';
import type { StoredRecord, TestPacket } from './archive-test-support.ts';

afterEach(removeTemporaryDirectories);

/** The obvious archive: a name and a list of records. */
class ModelArchive {
  readonly files = new Map<string, StoredRecord[]>();
  readonly #rules: readonly { address: string; prefix: string }[];
  readonly #defaultPrefix: string | undefined;

  constructor(rules: readonly { address: string; prefix: string }[], defaultPrefix: string | undefined) {
    this.#rules = rules;
    this.#defaultPrefix = defaultPrefix;
  }

  write({ seconds, nanoseconds = 0, frame }: TestPacket): void {
    const isIp = frame[12] === 8 && frame[13] === 0;
    const dotted = (from: number): string => [...frame.subarray(from, from + 4)].join('.');
    const mac = [...frame.subarray(6, 12)].map((byte) => byte.toString(16).padStart(2, '0')).join('-');
    const [source, destination] = [dotted(26), dotted(30)];
    const rule = this.#rules.find(({ address }) => address === source || address === destination);
    const prefix = isIp ? (rule?.prefix ?? this.#defaultPrefix ?? source) : mac;
    const stamp = new Date(seconds * 1000).toISOString().replaceAll('-', '').replace('T', '_').slice(0, 11);
    const name = `${prefix}_${stamp}`;
    const record = {
      seconds,
      fraction: nanoseconds,
      originalBytes: frame.length,
      frame: Buffer.from(frame).toString('hex'),
    };
    this.files.set(name, [...(this.files.get(name) ?? []), record]);
  }
}

const byTime = (a: StoredRecord, b: StoredRecord): number => a.seconds - b.seconds || a.fraction - b.fraction;

/** Which packets belong to which source and hour, whatever the files. */
function contentOf(files: ReadonlyMap<string, StoredRecord[]>): Record<string, string[]> {
  const entries = [...files].map(([hour, records]) => [hour, records.map((r) => JSON.stringify(r)).sort()]);
  return Object.fromEntries(entries.sort()) as Record<string, string[]>;
}

const address = fc.integer({ min: 1, max: 4 }).map((n) => `10.0.0.${n}`);
const packet: fc.Arbitrary<TestPacket> = fc
  .record({
    seconds: fc.integer({ min: 3600 * 24 * 365 - 4000, max: 3600 * 24 * 365 + 4000 }),
    nanoseconds: fc.nat(999_999_999),
    source: address,
    destination: address,
    isIp: fc.integer({ min: 0, max: 4 }).map((n) => n > 0),
    // Large ones fill a buffer, so that packets out of order meet full ones.
    payload: fc.oneof(
      { weight: 5, arbitrary: fc.uint8Array({ maxLength: 200 }) },
      { weight: 1, arbitrary: fc.nat(40_000).map((byteCount) => new Uint8Array(byteCount)) },
    ),
  })
  .map(({ seconds, nanoseconds, source, destination, isIp, payload }) => ({
    seconds,
    nanoseconds,
    frame: isIp
      ? ethernet(0x0800, ipv4Packet(source, destination, payload))
      : ethernet(0x88b8, payload, { sourceMac: `02:00:00:00:00:0${source.at(-1)}` }),
  }));

const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.array(packet, { maxLength: 20 }).map((packets) => ({ kind: 'write' as const, packets })),
  },
  {
    weight: 4,
    arbitrary: fc
      .constantFrom('flush', 'tick', 'rotate', 'restart', 'sync', 'refuse', 'heal')
      .map((kind) => ({
        kind: kind,
      })),
  },
);

describe('the archive', () => {
  it('holds what the obvious archive holds, each file in the order of time, whatever happens in between', async () => {
    const rules = [
      { address: '10.0.0.3', prefix: 'plc3' },
      { address: '10.0.0.1', prefix: 'plc1' },
    ];
    await fc.assert(
      fc.asyncProperty(
        fc.array(step, { maxLength: 40 }),
        fc.constantFrom([], rules),
        fc.constantFrom(undefined, 'rest'),
        fc.constantFrom(1, 3, 512),
        fc.constantFrom(undefined, 300),
        async (steps, someRules, defaultPrefix, openFilesMax, segmentBytesMax) => {
          const directory = temporaryDirectory();
          const clock = new ManualClock();
          const disk = new UnreliableFiles();
          const model = new ModelArchive(someRules, defaultPrefix);
          const open = (): ReturnType<typeof openArchive> =>
            openArchive(
              directory,
              {
                rules: someRules,
                openFilesMax,
                ...(segmentBytesMax === undefined ? {} : { segmentBytesMax }),
                ...(defaultPrefix === undefined ? {} : { defaultPrefix }),
              },
              { clock, files: disk.files },
            );
          let archive = open();
          const heal = (): void => {
            disk.onWrite = () => Infinity;
          };
          for (const action of steps) {
            switch (action.kind) {
              case 'write':
                archive.write(batchOf(action.packets));
                for (const one of action.packets) model.write(one);
                break;
              case 'flush':
                archive.flush();
                break;
              case 'tick':
                clock.pass(3000);
                archive.tick();
                break;
              case 'rotate':
                archive.rotate();
                break;
              case 'sync':
                await archive.sync().catch(() => undefined);
                break;
              case 'refuse': {
                // Takes a little more, in the middle of wherever it is, then nothing.
                let budget = 150;
                disk.onWrite = (byteCount) => {
                  if (budget === 0) throw diskError('ENOSPC');
                  const taken = Math.min(budget, byteCount);
                  budget -= taken;
                  return taken;
                };
                break;
              }
              case 'heal':
                heal();
                break;
              case 'restart':
                heal();
                await archive.close();
                archive = open();
                break;
            }
            expect(imbalance(archive)).toBe(0);
            // Whole records at every moment: the reader is strict.
            readArchive(directory);
          }
          heal();
          await archive.close();
          expect(disk.openDescriptors).toBe(0);
          const stored = new Map<string, StoredRecord[]>();
          for (const [name, { records }] of readArchive(directory)) {
            expect(records, name).toEqual(records.toSorted(byTime));
            const hour = name.replace(/(-late)?(-\d+)?\.pcap$/, '');
            stored.set(hour, [...(stored.get(hour) ?? []), ...records]);
          }
          expect(contentOf(stored)).toEqual(contentOf(model.files));
          removeTemporaryDirectories();
        },
      ),
      { numRuns: 60 },
    );
  });
});
