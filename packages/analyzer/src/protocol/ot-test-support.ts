/** For the tests of this folder: messages handed to a dissector by hand, by chance and out of captures, and what it said. */
import { spawnSync } from 'node:child_process';

import fc from 'fast-check';
import { FrameCursor, locateFrame } from '@tapline/shared/packet/frame-cursor.ts';
import { readCapture } from '@tapline/shared/pcap/testing.ts';
import { be16, be32 } from './byte-reader.ts';
import type { Dissector, Memory, Operation, Sink } from './dissector.ts';
import { OBJECT_CHARACTERS_MAX } from './dissector.ts';

export interface Heard {
  readonly operations: Operation[];
  readonly facts: [string, string][];
  readonly violations: string[];
}

/** A sink that keeps copies. */
export class Ear implements Sink, Heard {
  readonly operations: Operation[] = [];
  readonly facts: [string, string][] = [];
  readonly violations: string[] = [];

  operation(operation: Operation): void {
    this.operations.push({ ...operation });
  }

  fact(key: string, value: string): void {
    this.facts.push([key, value]);
  }

  violation(reason: string): void {
    this.violations.push(reason);
  }
}

export function fromHex(hex: string): Uint8Array {
  return new Uint8Array(Buffer.from(hex.replaceAll(/\s/g, ''), 'hex'));
}

/** One message, in the middle of other bytes. */
export function hear(
  dissector: Dissector,
  message: Uint8Array,
  options: { isFromClient?: boolean; memory?: Memory; filler?: number; timeUs?: number } = {},
): Ear {
  const bytes = new Uint8Array(message.byteLength + 71).fill(options.filler ?? 0x45);
  bytes.set(message, 7);
  const ear = new Ear();
  dissector.dissect(
    {
      bytes,
      at: 7,
      end: 7 + message.byteLength,
      isFromClient: options.isFromClient ?? true,
      timeUs: options.timeUs ?? 0,
      memory: options.memory ?? {},
    },
    ear,
  );
  return ear;
}

/**
 * Noise, and valid messages with bytes changed and cut anywhere: nothing is thrown, the bytes around the message make no
 * difference, and what is said and remembered stays bounded.
 */
export function checkTotal(dissector: Dissector, samples: readonly Uint8Array[], runs = 1500): void {
  const mutated = fc
    .tuple(
      fc.constantFrom(...samples),
      fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 4 }),
      fc.nat(),
      fc.boolean(),
    )
    .map(([sample, changes, cut, isCut]) => {
      const bytes = sample.slice(0, isCut ? cut % (sample.byteLength + 1) : sample.byteLength);
      for (const [at, value] of changes) if (bytes.byteLength > 0) bytes[at % bytes.byteLength] = value;
      return bytes;
    });
  const anything = fc.oneof(fc.uint8Array({ maxLength: 300 }), mutated, mutated, mutated);
  fc.assert(
    fc.property(fc.array(fc.tuple(anything, fc.boolean()), { minLength: 1, maxLength: 6 }), (messages) => {
      const memories: [Memory, Memory] = [{}, {}];
      for (const [message, isFromClient] of messages) {
        const one = hear(dissector, message, { isFromClient, memory: memories[0], filler: 0 });
        const other = hear(dissector, message, { isFromClient, memory: memories[1], filler: 0xff });
        if (repr(one) !== repr(other)) throw new Error(`bytes outside are read: ${repr(one)} ${repr(other)}`);
        for (const operation of one.operations) {
          if (operation.protocol !== dissector.name) throw new Error('protocol');
          if (operation.object.length > OBJECT_CHARACTERS_MAX) throw new Error(`object ${operation.object}`);
          if (operation.name === '' || Number.isNaN(operation.code) || Number.isNaN(operation.count))
            throw new Error(repr(one));
          if (/undefined(?!-)|NaN/.test(operation.name + operation.object + operation.exception))
            throw new Error(repr(one));
        }
        for (const [, value] of one.facts) if (value.length > 256) throw new Error(`fact ${value}`);
        dissector.messageBytes?.(message, 0, message.byteLength);
        dissector.looksLike?.(message, 0, message.byteLength);
        if (repr(structuredClone(memories[0])).length > 2000) throw new Error(repr(memories[0]));
      }
    }),
    { numRuns: runs },
  );
}

function repr(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (Number.isNaN(inner) ? 'NaN' : inner));
}

/** What a dissector hears of a capture: TCP payload in order per direction, datagrams, and frames of its EtherTypes. */
export async function hearCapture(dissector: Dissector, path: string): Promise<Ear> {
  const { packets } = await readCapture(path);
  const cursor = new FrameCursor();
  const ear = new Ear();
  const streams = new Map<string, { next: number; left: Uint8Array; isOurs: boolean }>();
  const memories = new Map<string, { memory: Memory; first: string }>();
  for (const packet of packets) {
    const bytes = new Uint8Array(Buffer.from(packet.frame, 'hex'));
    locateFrame(cursor, packet.linkType, bytes, 0, bytes.byteLength);
    const timeUs = packet.seconds * 1e6 + Math.floor(packet.nanoseconds / 1000);
    const say = (message: Uint8Array, key: string, from: string, isFromClient?: boolean): void => {
      if (message.byteLength === 0) return;
      let conversation = memories.get(key);
      if (conversation === undefined) memories.set(key, (conversation = { memory: {}, first: from }));
      const { memory, first } = conversation;
      const range = { bytes: message, at: 0, end: message.byteLength, timeUs, memory };
      dissector.dissect({ ...range, isFromClient: isFromClient ?? from === first }, ear);
    };
    if (dissector.etherTypes.includes(cursor.etherType)) {
      const start = 14 + 4 * cursor.vlanCount;
      const macs = [Buffer.from(bytes.subarray(0, 6)), Buffer.from(bytes.subarray(6, 12))].map(String);
      say(bytes.subarray(start), macs.toSorted().join('-'), macs[1] as string);
      continue;
    }
    const at = cursor.transportOffset;
    if (at < 0 || cursor.fragment !== 0) continue;
    const [source, destination] = [be16(bytes, at), be16(bytes, at + 2)];
    const address = (offset: number): string =>
      Buffer.from(bytes.subarray(offset, offset + cursor.addressBytes)).toString('hex');
    const from = `${address(cursor.sourceOffset)}:${source}`;
    const to = `${address(cursor.destinationOffset)}:${destination}`;
    const key = [from, to].toSorted().join('-');
    const end = cursor.networkOffset + cursor.networkBytes;
    const isOf = (ports: readonly number[]): boolean => ports.includes(source) || ports.includes(destination);
    if (cursor.transportProtocol === 17) {
      if (isOf(dissector.udpPorts))
        say(bytes.subarray(at + 8, Math.min(end, at + be16(bytes, at + 4))), key, from);
    } else if (cursor.transportProtocol === 6 && isOf(dissector.tcpPorts)) {
      const isFromClient = dissector.tcpPorts.includes(destination);
      let payload = bytes.subarray(at + ((bytes[at + 12] as number) >> 4) * 4, end);
      const sequence = be32(bytes, at + 4);
      const flags = bytes[at + 13] as number;
      let stream = streams.get(from + to);
      if (stream === undefined || (flags & 2) !== 0) {
        streams.set(from + to, (stream = { next: sequence, left: new Uint8Array(0), isOurs: true }));
        if ((flags & 2) !== 0) stream.next = (sequence + 1) >>> 0;
      }
      if (payload.byteLength === 0) continue;
      const seen = (stream.next - sequence) | 0;
      if (seen >= payload.byteLength) continue;
      if (seen > 0) payload = payload.subarray(seen);
      if (seen < 0) stream.left = new Uint8Array(0);
      stream.next = (sequence + Math.max(seen, 0) + payload.byteLength) >>> 0;
      let left = new Uint8Array([...stream.left, ...payload]);
      while (left.byteLength > 0 && dissector.messageBytes !== undefined) {
        const length = dissector.messageBytes(left, 0, left.byteLength);
        if (length < 0) left = new Uint8Array(0);
        if (length <= 0 || length > left.byteLength) break;
        say(left.subarray(0, length), key, from, isFromClient);
        left = left.slice(length);
      }
      stream.left = left;
    }
  }
  return ear;
}

/** All values of one field in a capture, as tshark sees it; of several in a packet, each. */
export function tsharkValues(
  path: string,
  field: string,
  filter = field,
  more: readonly string[] = [],
): string[] {
  return tsharkRows(path, [field], filter, more).flatMap((row) =>
    (row[0] ?? '').split(',').filter((v) => v !== ''),
  );
}

export function tsharkRows(
  path: string,
  fields: readonly string[],
  filter: string,
  more: readonly string[] = [],
): string[][] {
  const { stdout } = spawnSync(
    'tshark',
    ['-n', '-r', path, '-Y', filter, '-T', 'fields', ...fields.flatMap((field) => ['-e', field]), ...more],
    { encoding: 'utf8', maxBuffer: 1e8 },
  );
  return stdout
    .split('\n')
    .filter((line) => line.trim() !== '')
    .map((line) => line.split('\t'));
}

/** How often each value stands in a list, in the order of the values. */
export function tally(values: Iterable<string | number>): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const value of values) counts[value] = (counts[value] ?? 0) + 1;
  return Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)));
}
