/** For the tests of the dissectors of office protocols: a sink that keeps everything, captures replayed through a dissector, hostile bytes. */
import { spawnSync } from 'node:child_process';

import { FrameCursor, locateFrame } from '@tapline/shared/packet/frame-cursor.ts';
import { openCapture } from '@tapline/shared/pcap/capture-file.ts';
import fc from 'fast-check';
import { expect, test } from 'vitest';

import { be16, be32 } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  OBJECT_CHARACTERS_MAX,
  type Dissector,
  type Memory,
  type Message,
  type Operation,
  type Sink,
} from './dissector.ts';

export class Recorder implements Sink {
  readonly operations: Operation[] = [];
  readonly facts: [key: string, value: string][] = [];
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
  /** All values of one fact. */
  values(key: string): string[] {
    return this.facts.filter((fact) => fact[0] === key).map((fact) => fact[1]);
  }
  names(): string[] {
    return this.operations.map((operation) => operation.name);
  }
}

export function dissectOne(
  dissector: Dissector,
  bytes: Uint8Array,
  options: { isFromClient?: boolean; memory?: Memory; recorder?: Recorder } = {},
): Recorder {
  const recorder = options.recorder ?? new Recorder();
  dissector.dissect(messageOf(bytes, options.isFromClient ?? true, options.memory ?? {}), recorder);
  return recorder;
}

function messageOf(bytes: Uint8Array, isFromClient: boolean, memory: Memory): Message {
  return { bytes, at: 0, end: bytes.byteLength, isFromClient, timeUs: 0, memory };
}

interface Direction {
  /** Of its SYN; -1 where that was not captured. */
  initial: number;
  next: number;
  rest: Uint8Array;
  isLost: boolean;
}

/** Every conversation of a capture that touches one of the ports, in order of arrival; a direction with a gap is given up. */
export async function replay(
  path: string,
  dissector: Dissector,
  ports: readonly number[] = [...dissector.tcpPorts, ...dissector.udpPorts],
): Promise<Recorder> {
  const recorder = new Recorder();
  const cursor = new FrameCursor();
  const memories = new Map<string, Memory>();
  const directions = new Map<string, Direction>();
  const isTcp = dissector.tcpPorts.length > 0;
  const isUdp = dissector.udpPorts.length > 0;
  for await (const batch of (await openCapture(path)).batches()) {
    const view = Buffer.from(batch.bytes.buffer, batch.bytes.byteOffset, batch.byteLength);
    for (let at = 0; at < batch.byteLength;) {
      const frameBytes = view.readUInt32LE(at + 8);
      locateFrame(cursor, batch.linkType, view, at + 16, frameBytes);
      at += 16 + frameBytes;
      const transport = cursor.transportOffset;
      const end = cursor.networkOffset + cursor.networkBytes;
      const isOurs = cursor.transportProtocol === 6 ? isTcp : cursor.transportProtocol === 17 && isUdp;
      if (transport < 0 || !isOurs || transport + 8 > end) continue;
      const source = be16(view, transport);
      const destination = be16(view, transport + 2);
      if (!ports.includes(source) && !ports.includes(destination)) continue;
      const isFromClient = ports.includes(destination);
      const from = `${view.toString('hex', cursor.sourceOffset, cursor.sourceOffset + cursor.addressBytes)}:${source}`;
      const to = `${view.toString('hex', cursor.destinationOffset, cursor.destinationOffset + cursor.addressBytes)}:${destination}`;
      const key = from < to ? `${from} ${to}` : `${to} ${from}`;
      if (cursor.transportProtocol === 17) {
        const memory = getOr(memories, key, () => ({}));
        dissector.dissect(messageOf(view.subarray(transport + 8, end), isFromClient, memory), recorder);
        continue;
      }
      if (transport + 20 > end) continue;
      const sequence = be32(view, transport + 4);
      const flags = view[transport + 13] as number;
      const payloadAt = transport + ((view[transport + 12] as number) >> 4) * 4;
      if ((flags & 2) !== 0) {
        // Sent twice, it begins nothing anew.
        if (directions.get(from + to)?.initial === sequence) continue;
        directions.set(from + to, {
          initial: sequence,
          next: (sequence + 1) >>> 0,
          rest: new Uint8Array(0),
          isLost: false,
        });
        if ((flags & 16) === 0) memories.delete(key);
        continue;
      }
      if (payloadAt >= end) continue;
      const memory = getOr(memories, key, () => ({}));
      const direction = getOr(directions, from + to, () => ({
        initial: -1,
        next: sequence,
        rest: new Uint8Array(0),
        isLost: false,
      }));
      const seen = (direction.next - sequence) | 0;
      const payload = view.subarray(payloadAt, end);
      if (seen >= payload.byteLength) continue;
      if (seen < 0) direction.isLost = true;
      direction.next = (sequence + payload.byteLength) >>> 0;
      if (direction.isLost) continue;
      const fresh = payload.subarray(seen);
      if (dissector.messageBytes === undefined) {
        dissector.dissect(messageOf(fresh, isFromClient, memory), recorder);
        continue;
      }
      const bytes = Buffer.concat([direction.rest, fresh]);
      let begin = 0;
      while (begin < bytes.byteLength) {
        const length = dissector.messageBytes(bytes, begin, bytes.byteLength);
        if (length === NOT_OURS) direction.isLost = true;
        if (length === NOT_OURS || length === NEED_MORE || begin + length > bytes.byteLength) break;
        dissector.dissect(messageOf(bytes.subarray(begin, begin + length), isFromClient, memory), recorder);
        begin += length;
      }
      direction.rest = Uint8Array.from(bytes.subarray(begin));
    }
  }
  return recorder;
}

function getOr<T>(map: Map<string, T>, key: string, create: () => T): T {
  let value = map.get(key);
  if (value === undefined) map.set(key, (value = create()));
  return value;
}

/** The lines tshark prints for one or more fields of the packets that pass `filter`. */
export function tsharkFields(
  path: string,
  filter: string,
  fields: readonly string[],
  more: string[] = [],
): string[] {
  const { stdout, status } = spawnSync(
    'tshark',
    ['-r', path, '-Y', filter, '-T', 'fields', ...fields.flatMap((field) => ['-e', field]), ...more],
    { encoding: 'utf8', maxBuffer: 1e8 },
  );
  if (status !== 0) throw new Error(`tshark ended with ${status}`);
  return stdout.split('\n').filter((line) => line.trim() !== '');
}

/** All single values of one field, repeated ones taken apart. */
export function tsharkValues(path: string, filter: string, field: string, more: string[] = []): string[] {
  return tsharkFields(path, filter, [field], ['-E', 'aggregator=|', ...more]).flatMap((line) =>
    line.split('|'),
  );
}

/** Random bytes, and the samples with bytes changed and cut anywhere: no throw, nothing read outside, everything bounded. */
export function testHostileBytes(dissector: Dissector, samples: readonly Uint8Array[]): void {
  const mutated = fc
    .tuple(
      fc.constantFrom(...samples),
      fc.array(fc.tuple(fc.nat(2000), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
      fc.nat(2000),
    )
    .map(([sample, changes, cut]) => {
      const bytes = Uint8Array.from(sample);
      for (const [at, value] of changes) bytes[at % bytes.byteLength] = value;
      return cut > 1000 ? bytes : bytes.subarray(0, cut % (bytes.byteLength + 1));
    });
  const list = fc.array(
    fc.tuple(fc.oneof({ weight: 3, arbitrary: mutated }, fc.uint8Array({ maxLength: 300 })), fc.boolean()),
    { minLength: 1, maxLength: 12 },
  );
  test('hostile bytes never throw, are not read beyond their end, and what is kept is bounded', () => {
    fc.assert(
      fc.property(list, (messages) => {
        const [low, high] = [0x00, 0xff].map((around) => runSurrounded(dissector, messages, around));
        expect(high).toEqual(low);
      }),
      { numRuns: 600 },
    );
  });
}

function runSurrounded(
  dissector: Dissector,
  messages: readonly (readonly [Uint8Array, boolean])[],
  around: number,
): unknown[] {
  const memory: Memory = {};
  const recorder = new Recorder();
  const told: unknown[] = [];
  for (const [payload, isFromClient] of messages) {
    const bytes = new Uint8Array(payload.byteLength + 140).fill(around);
    bytes.set(payload, 70);
    const end = 70 + payload.byteLength;
    told.push(dissector.looksLike?.(bytes, 70, end), dissector.messageBytes?.(bytes, 70, end));
    dissector.dissect({ bytes, at: 70, end, isFromClient, timeUs: 0, memory }, recorder);
  }
  for (const operation of recorder.operations) {
    expect(operation.object.length).toBeLessThanOrEqual(OBJECT_CHARACTERS_MAX);
    expect(operation.name.length).toBeLessThanOrEqual(OBJECT_CHARACTERS_MAX);
    expect(operation.name).not.toBe('');
  }
  for (const [, value] of recorder.facts) expect(value.length).toBeLessThanOrEqual(256);
  expect(JSON.stringify(memory).length).toBeLessThan(3000);
  told.push(recorder.operations, recorder.facts, recorder.violations, memory);
  return told;
}

/** Bytes written as hexadecimal with spaces, text and numbers in between. */
export function bytesOf(...parts: readonly (string | Uint8Array | number[])[]): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(
    Buffer.concat(
      parts.map((part) =>
        typeof part === 'string' ? Buffer.from(part.replaceAll(' ', ''), 'hex') : Buffer.from(part),
      ),
    ),
  );
}

export function ascii(value: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(value, 'latin1'));
}

export function utf16(value: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(value, 'utf16le'));
}

/** A two-byte big-endian length in front. */
export function sized16(...parts: readonly (string | Uint8Array | number[])[]): Uint8Array<ArrayBuffer> {
  const body = bytesOf(...parts);
  return bytesOf([body.byteLength >> 8, body.byteLength & 0xff], body);
}
