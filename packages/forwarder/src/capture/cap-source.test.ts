/** The portable driver on a real interface. Skipped where `cap` is not compiled. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { packetsOfAll, withVlan, writeFrames } from '../../../../tests/support/captured.ts';
import {
  NAMESPACE_NEED,
  VethPair,
  canMakeNamespaces,
  enterNamespace,
  runIn,
} from '../../../../tests/support/namespace.ts';
import {
  openCaptureSource,
  silentCaptureEvents,
  type CaptureEvents,
  type CaptureSource,
} from './capture-source.ts';

const BUILT = existsSync(
  fileURLToPath(new URL('../../node_modules/cap/build/Release/cap.node', import.meta.url)),
);
const NEED = BUILT ? NAMESPACE_NEED : ' (skipped: `cap` is not compiled)';

let directory: string;
let pair: VethPair;
let source: CaptureSource | null = null;

function start(
  options: { filter?: string; snapBytes?: number } = {},
  events: Partial<CaptureEvents> = {},
): CaptureSource {
  source = openCaptureSource(
    { driver: 'cap', interfaces: [pair.receiver.interfaceName], ...options },
    { events: { ...silentCaptureEvents, ...events } },
  );
  return source;
}

async function send(frames: readonly Buffer[]): Promise<void> {
  const file = join(directory, 'sent.pcap');
  await writeFrames(file, frames);
  runIn(pair.sender, ['tcpreplay', '-q', '-i', pair.sender.interfaceName, '--pps', '2000', file]);
  await sleep(100);
}

const FRAMES = Array.from({ length: 100 }, (_, index) => {
  const frame = Buffer.alloc(60 + index, index);
  frame.writeUInt16BE(index % 2 === 0 ? 0x88b8 : 0x8892, 12);
  return index % 5 === 0 ? withVlan(frame, 10) : frame;
});

describe.skipIf(!BUILT || !canMakeNamespaces())(`the portable driver${NEED}`, () => {
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tapline-cap-'));
    pair = new VethPair();
    enterNamespace(pair.receiver);
  });
  afterEach(async () => {
    await source?.close();
    source = null;
    pair.close();
    rmSync(directory, { recursive: true, force: true });
  });

  it('hands out the packets with their VLAN tags, stamped on arrival', async () => {
    const capture = start();
    await capture.open();
    const stop = new AbortController();
    const reading = packetsOfAll(capture.batches(stop.signal));
    const before = Date.now();
    await send(FRAMES);
    stop.abort();
    const packets = await reading;
    expect(packets.map(({ frame }) => frame.toString('hex'))).toEqual(
      FRAMES.map((frame) => frame.toString('hex')),
    );
    for (const { timeNs } of packets) {
      expect(Number(timeNs / 1_000_000n)).toBeGreaterThanOrEqual(before - 5);
      expect(Number(timeNs / 1_000_000n)).toBeLessThanOrEqual(Date.now() + 5);
    }
    expect(capture.counters()).toMatchObject({ packets: 100, kernelDroppedPackets: 0, abandonedPackets: 0 });
  });

  it('filters, and cuts to the snapshot length', async () => {
    const capture = start({ filter: 'ether proto 0x88b8 and not vlan', snapBytes: 64 });
    await capture.open();
    const stop = new AbortController();
    const reading = packetsOfAll(capture.batches(stop.signal));
    await send(FRAMES);
    stop.abort();
    const wanted = FRAMES.filter((frame) => frame.readUInt16BE(12) === 0x88b8);
    expect(
      (await reading).map(({ frame, originalBytes }) => `${originalBytes} ${frame.toString('hex')}`),
    ).toEqual(wanted.map((frame) => `${frame.byteLength} ${frame.subarray(0, 64).toString('hex')}`));
  });

  it('starts its process again when the interface was down', async () => {
    const log: string[] = [];
    const recovered = Promise.withResolvers<void>();
    const capture = start(
      {},
      {
        interfaceLost: (_, reason) => log.push(`lost ${reason}`),
        interfaceRecovered: () => {
          log.push('recovered');
          recovered.resolve();
        },
      },
    );
    await capture.open();
    const stop = new AbortController();
    const reading = packetsOfAll(capture.batches(stop.signal));
    await send(FRAMES.slice(0, 10));
    pair.set(pair.receiver, 'down');
    await sleep(300);
    pair.set(pair.receiver, 'up');
    await recovered.promise;
    await send(FRAMES.slice(0, 20));
    stop.abort();
    expect((await reading).length).toBe(30);
    expect(log).toEqual(['lost SIGABRT', 'recovered']);
  });

  it('refuses what cannot be captured or filtered', async () => {
    await expect(start({ filter: 'tcp prt 1' }).open()).rejects.toMatchObject({ code: 'FILTER_INVALID' });
    pair.disconnect();
    await expect(start().open()).rejects.toMatchObject({ code: 'CAPTURE_FAILED' });
    await expect(start({ filter: 'tcp' }).open()).rejects.toMatchObject({ code: 'CAPTURE_FAILED' });
  });
});
