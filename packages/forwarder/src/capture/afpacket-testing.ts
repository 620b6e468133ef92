/** For tests of live capture: a veth pair in namespaces of its own, frames that are sent into it, and what is handed out meanwhile. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'vitest';
import { packetsOfAll, writeFrames, type SeenPacket } from '../../../../tests/support/captured.ts';
import { VethPair, enterNamespace, runIn } from '../../../../tests/support/namespace.ts';
import {
  openCaptureSource,
  silentCaptureEvents,
  type AfPacketOptions,
  type CaptureEvents,
  type CaptureSource,
} from './capture-source.ts';

export let directory: string;
export let pair: VethPair;
let source: CaptureSource | null = null;

export function start(
  options: Partial<AfPacketOptions> = {},
  events: Partial<CaptureEvents> = {},
): CaptureSource {
  const interfaces = [pair.receiver.interfaceName];
  source = openCaptureSource(
    { driver: 'afpacket', interfaces, ringBytes: 8 * 1024 * 1024, ...options },
    { events: { ...silentCaptureEvents, ...events } },
  );
  return source;
}

/** Sends frames through the pair, as fast as asked (packets a second), and returns when the last is out. */
export async function send(frames: readonly Buffer[], rate = 20_000): Promise<void> {
  const file = join(directory, 'sent.pcap');
  await writeFrames(file, frames);
  replay(file, ['--pps', `${rate}`]);
}

export function replay(file: string, words: readonly string[]): void {
  runIn(pair.sender, ['tcpreplay', '-q', '-i', pair.sender.interfaceName, ...words, file]);
}

/** Captures while `action` runs, stops right after it, and returns what was handed out. */
export async function captureDuring(
  capture: CaptureSource,
  action: () => Promise<void>,
): Promise<SeenPacket[]> {
  const stop = new AbortController();
  const packets = packetsOfAll(capture.batches(stop.signal));
  await action();
  stop.abort();
  return packets;
}

export function expectBalance(capture: CaptureSource, sentPackets: number): void {
  const { packets, kernelDroppedPackets, abandonedPackets } = capture.counters();
  expect(packets + kernelDroppedPackets + abandonedPackets).toBe(sentPackets);
}

export const MODBUS = Buffer.from(
  '00000000000200000000000108004500003412344000400600000a0000020a000001c35001f60000000100000002501801000000000000010000000601030000000a',
  'hex',
);
export const OTHER = Buffer.concat([
  MODBUS.subarray(0, 34),
  Buffer.from('c3500050', 'hex'),
  MODBUS.subarray(38),
]);

/** One frame after another, told apart by a number in the TCP sequence field. */
export function numbered(count: number, frames: readonly Buffer[] = [MODBUS]): Buffer[] {
  return Array.from({ length: count }, (_, index) => {
    const frame = Buffer.from(frames[index % frames.length] as Buffer);
    frame.writeUInt32BE(index, frame.byteLength - 4);
    return frame;
  });
}

/** Before each test. */
export function setUp(): void {
  directory = mkdtempSync(join(tmpdir(), 'tapline-capture-'));
  pair = new VethPair();
  enterNamespace(pair.receiver);
}

/** After each test. */
export async function tearDown(): Promise<void> {
  await source?.close();
  source = null;
  pair.close();
  rmSync(directory, { recursive: true, force: true });
}
