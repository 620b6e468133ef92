import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OperatingError } from '@tapline/shared/base/errors.ts';
import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import {
  contentOf,
  packetsOf,
  packetsOfAll,
  packetsOfFile,
  writeFrames,
} from '../../../../tests/support/captured.ts';
import {
  openCaptureSource,
  silentCaptureEvents,
  type CaptureOptions,
  type CaptureSource,
} from './capture-source.ts';

let directory: string;
let first: string;
let second: string;
const never = new AbortController().signal;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'tapline-replay-'));
  first = join(directory, 'first.pcap');
  second = join(directory, 'second.pcap');
  await writeFrames(
    first,
    [1, 2, 3].map((value) => Buffer.alloc(60, value)),
  );
  await writeFrames(
    second,
    [4, 5].map((value) => Buffer.alloc(60, value)),
  );
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function open(options: CaptureOptions): Promise<CaptureSource> {
  const source = openCaptureSource(options, { events: silentCaptureEvents });
  await source.open();
  return source;
}

async function firstBytes(source: CaptureSource): Promise<number[]> {
  return (await packetsOfAll(source.batches(never))).map(({ frame }) => frame[0] as number);
}

describe('a replay', () => {
  it('hands out the files one after the other and counts', async () => {
    const source = await open({ driver: 'file', paths: [first, second] });
    expect(await firstBytes(source)).toEqual([1, 2, 3, 4, 5]);
    expect(source.counters()).toMatchObject({
      packets: 5,
      bytes: 300,
      filteredPackets: 0,
      truncatedPackets: 0,
    });
    expect(source.interfaces.map(({ linkType }) => linkType)).toEqual([1, 1]);
    const { readBytes, totalBytes } = source.progress() ?? { readBytes: 0, totalBytes: -1 };
    expect(readBytes).toBe(totalBytes);
  });

  it('cuts to the snapshot length and filters on the way', async () => {
    const source = await open({
      driver: 'file',
      paths: [first, second],
      filter: 'ether[0] != 2',
      snapBytes: 20,
    });
    const packets = await packetsOfAll(source.batches(never));
    expect(packets.map(({ frame, originalBytes }) => [frame[0], frame.byteLength, originalBytes])).toEqual(
      [1, 3, 4, 5].map((value) => [value, 20, 60]),
    );
    expect(source.counters()).toMatchObject({
      packets: 4,
      bytes: 80,
      filteredPackets: 1,
      truncatedPackets: 4,
    });
  });

  it('stops the start for a wrong filter and a missing file', async () => {
    await expect(open({ driver: 'file', paths: [first], filter: 'tcp prt 1' })).rejects.toThrow(
      /syntax error/,
    );
    await expect(open({ driver: 'file', paths: [first, join(directory, 'no')] })).rejects.toThrow(
      /cannot read/,
    );
    await expect(open({ driver: 'stdin', filter: 'tcp prt 1' })).rejects.toThrow(/syntax error/);
  });

  it('reads the files behind a damaged one, and throws the damage at the end', async () => {
    const torn = join(directory, 'torn.pcap');
    writeFileSync(torn, readFileSync(first).subarray(0, 24 + 76 + 76 + 30));
    const junk = join(directory, 'junk.pcap');
    writeFileSync(junk, 'this is no capture at all, but long enough for a header');
    const damaged: string[] = [];
    const source = openCaptureSource(
      { driver: 'file', paths: [torn, junk, second] },
      { events: { ...silentCaptureEvents, fileDamaged: (name) => damaged.push(name) } },
    );
    await source.open();
    const seen: number[] = [];
    const reading = (async () => {
      for await (const batch of source.batches(never)) {
        for (const { frame } of packetsOf(batch)) seen.push(frame[0] as number);
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: 'PCAP_INVALID', context: { file: torn } });
    expect(seen).toEqual([1, 2, 4, 5]);
    expect(damaged).toEqual([torn, junk]);
  });

  it('starts over until it is stopped, when told to', async () => {
    const source = await open({ driver: 'file', paths: [first, second], loop: true });
    const stop = new AbortController();
    const seen: number[] = [];
    for await (const batch of source.batches(stop.signal)) {
      for (const { frame } of packetsOf(batch)) seen.push(frame[0] as number);
      if (seen.length >= 15) stop.abort();
    }
    expect(seen.slice(0, 10)).toEqual([1, 2, 3, 4, 5, 1, 2, 3, 4, 5]);
    expect(source.counters().packets).toBe(seen.length);
    expect(source.interfaces.length).toBe(2);
  });
});

describe('a replay at recorded speed', () => {
  /** Rewrites the record times of a file of 60-byte frames. */
  function withTimes(path: string, milliseconds: readonly number[]): string {
    const bytes = readFileSync(path);
    for (const [index, at] of milliseconds.entries()) {
      bytes.writeUInt32LE(1_700_000_000 + Math.floor(at / 1000), 24 + index * 76);
      bytes.writeUInt32LE((at % 1000) * 1_000_000, 24 + index * 76 + 4);
    }
    const paced = join(directory, 'paced.pcap');
    writeFileSync(paced, bytes);
    return paced;
  }

  it('hands a packet out no earlier than it is due, and keeps its recorded time', async () => {
    const source = await open({ driver: 'file', paths: [withTimes(first, [0, 400, 1200])], speed: 4 });
    const startedAt = performance.now();
    const seen: [number, number][] = [];
    for await (const batch of source.batches(never)) {
      for (const { timeNs } of packetsOf(batch)) {
        seen.push([performance.now() - startedAt, Number(timeNs / 1_000_000n) - 1_700_000_000_000]);
      }
    }
    expect(seen.map(([, recorded]) => recorded)).toEqual([0, 400, 1200]);
    for (const [after, recorded] of seen) expect(after).toBeGreaterThanOrEqual(recorded / 4 - 1);
  });

  it('does not wait for a packet that is older than the one before', async () => {
    const source = await open({ driver: 'file', paths: [withTimes(first, [100, 0, 150])], speed: 1 });
    expect(await firstBytes(source)).toEqual([1, 2, 3]);
  });

  it('does not sleep through the years between two files', async () => {
    const source = await open({ driver: 'file', paths: [withTimes(first, [0, 1, 2]), second], speed: 1 });
    expect(await firstBytes(source)).toEqual([1, 2, 3, 4, 5]);
  });

  it('can be stopped while it waits', async () => {
    const source = await open({
      driver: 'file',
      paths: [withTimes(first, [0, 86_400_000, 86_400_001])],
      speed: 1,
    });
    const stop = new AbortController();
    let packets = 0;
    for await (const batch of source.batches(stop.signal)) {
      packets += batch.packetCount;
      setTimeout(() => {
        stop.abort();
      }, 30);
    }
    expect(packets).toBe(1);
  });
});

describe('a pipe', () => {
  it('hands out what is there when the writer pauses, and ends with the input', async () => {
    const pipe = new PassThrough();
    const bytes = readFileSync(first);
    const source = await open({ driver: 'stdin', stream: pipe });
    const batches = source.batches(never)[Symbol.asyncIterator]();
    pipe.write(bytes.subarray(0, 24 + 76 + 10));
    expect((await batches.next()).value).toMatchObject({ packetCount: 1 });
    pipe.end(bytes.subarray(24 + 76 + 10));
    expect((await batches.next()).value).toMatchObject({ packetCount: 2 });
    expect((await batches.next()).done).toBe(true);
    expect(source.counters().packets).toBe(3);
    expect(source.progress()).toBe(null);
  });

  it.each([0, 10, 24, 24 + 76, 24 + 76 + 30])(
    'can be stopped while it is silent after %d bytes',
    async (count) => {
      const pipe = new PassThrough();
      const source = await open({ driver: 'stdin', stream: pipe });
      const stop = new AbortController();
      pipe.write(readFileSync(first).subarray(0, count));
      setTimeout(() => {
        stop.abort();
      }, 50);
      const packets = await packetsOfAll(source.batches(stop.signal));
      expect(packets.length).toBe(count >= 24 + 76 ? 1 : 0);
      await source.close();
    },
  );

  it('that breaks off inside a packet is damaged', async () => {
    const pipe = new PassThrough();
    const source = await open({ driver: 'stdin', stream: pipe });
    pipe.end(readFileSync(first).subarray(0, 24 + 76 + 30));
    await expect(packetsOfAll(source.batches(never))).rejects.toThrow(OperatingError);
    expect(source.counters().packets).toBe(1);
  });
});

describeWithCorpus('a replay of real captures', () => {
  it('hands out every packet of the file', async () => {
    const path = corpusPath('attacks/bruteforce/1.ssh_brute.pcap');
    const source = await open({ driver: 'file', paths: [path] });
    expect(contentOf(await packetsOfAll(source.batches(never)))).toEqual(
      contentOf(await packetsOfFile(path)),
    );
    expect(source.counters().packets).toBe(233);
  });
});
