import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  ENVELOPE_BYTES_MAX,
  TABLES,
  alertEnvelope,
  decodeEnvelope,
  decodeReplayRequest,
  decodeReplayResponse,
  encodeEnvelope,
  encodeReplayRequest,
  encodeReplayResponse,
  heartbeatEnvelope,
} from './envelope.ts';
import { sampleRecord } from './publish-test-support.ts';
import type { FieldRow, MessageTable } from './protobuf-table.ts';

const ORIGIN = { agent: 'soc-1', sentAtUs: 1_767_225_600_000_000 };
const envelope = alertEnvelope(
  sampleRecord(7, { features: [{ name: 'bytes', value: 1e9, contribution: -0.25 }], port: -1 }),
  ORIGIN,
);

/** Message → field → [type, number, repeated], out of the .proto as a reader of it sees it. */
function protoFields(): Record<string, Record<string, readonly [string, number, boolean]>> {
  const text = readFileSync(new URL('../../../../docs/alerts.proto', import.meta.url), 'utf8').replaceAll(/\/\/.*/g, ''); // prettier-ignore
  const messages: Record<string, Record<string, readonly [string, number, boolean]>> = {};
  for (const [, name = '', body = ''] of text.matchAll(/message (\w+) \{((?:[^{}]|\{[^{}]*\})*)\}/g)) {
    messages[name] = {};
    for (const [, repeated, type = '', field = '', number = ''] of body.matchAll(
      /(repeated )?(\w+) (\w+) = (\d+);/g,
    ))
      messages[name][field] = [type, Number(number), repeated !== undefined];
  }
  return messages;
}

const nameOf = (table: MessageTable): string =>
  Object.entries(TABLES).find(([, one]) => one === table)?.[0] ?? '?';
const snake = (name: string): string => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);

describe('the envelope', () => {
  it('has the fields of docs/alerts.proto: names, numbers, types', () => {
    const tables = Object.fromEntries(
      Object.entries(TABLES).map(([name, table]) => [
        name,
        Object.fromEntries(
          Object.entries(table as MessageTable).map(([field, { type, number, isRepeated }]: [string, FieldRow]) => [
            snake(field),
            [typeof type === 'object' ? nameOf(type) : type, number, isRepeated === true],
          ]),
        ),
      ]),
    ); // prettier-ignore
    expect(protoFields()).toEqual(tables);
  });

  it('carries an alert and a heartbeat there and back', () => {
    expect(decodeEnvelope(encodeEnvelope(envelope))).toEqual({ kind: 'message', value: onWire(envelope) });
    expect(envelope.alert).toMatchObject({ severity: 4, port: 0, techniqueName: 'Remote System Discovery' });
    const beat = heartbeatEnvelope({ agent: 'soc-1', hostname: 'h', version: '0.1.0', sentAtUs: 5, uptimeMs: 1, packets: 2 ** 40, alerts: 3, lastSequence: 9, cpuPercent: 1.5, rssBytes: 4e9, intervalMs: 30_000, queues: [{ name: 'eve', queued: 1, dropped: 0 }] }); // prettier-ignore
    expect(decodeEnvelope(encodeEnvelope(beat))).toEqual({ kind: 'message', value: onWire(beat) });
  });

  it('is these bytes: whoever changes them breaks every subscriber', () => {
    const wire = onWire(envelope).alert;
    if (wire === null) throw new Error('no alert');
    const small = { version: 1, sequence: 300, sentAtUs: 0, agent: 'a', alert: { ...wire, sensor: '', rule: 'x', title: '', score: 0, firstUs: 0, lastUs: -1, count: 1, techniqueId: '', techniqueName: '', source: '', destination: '', protocol: '', transport: '', communityId: '', evidence: '', features: [], flows: [], slices: [], export: '' }, heartbeat: null }; // prettier-ignore
    expect(Buffer.from(encodeEnvelope(small)).toString('hex')).toBe(
      '080110ac023201612224' + // version 1, sequence 300, agent "a", alert of 36 bytes
        '0a10' + Buffer.from('0000000000000007').toString('hex') + // id
        '1a0178' + '2804' + // rule "x", severity 4
        '40ffffffffffffffffff01' + '4801', // last_us -1, count 1
    ); // prettier-ignore
  });

  it('replays there and back; a limit of 0 is the most, and more than the most is refused', () => {
    const response = { error: '', envelopes: [envelope, envelope], firstSequence: 1, lastSequence: 7 };
    expect(decodeReplayResponse(encodeReplayResponse(response))).toEqual({
      kind: 'message',
      value: { ...response, envelopes: response.envelopes.map(onWire) },
    });
    const request = (limit: number): unknown =>
      decodeReplayRequest(encodeReplayRequest({ fromSequence: 5, limit }));
    expect(request(10)).toEqual({ kind: 'message', value: { fromSequence: 5, limit: 10 } });
    expect(request(0)).toMatchObject({ value: { limit: 1000 } });
    expect(request(1001)).toMatchObject({ kind: 'malformed' });
    expect(decodeReplayRequest(new Uint8Array(65))).toMatchObject({ kind: 'malformed' });
  });
});

describe('the decoder', () => {
  it('is total: any bytes give a value or a reason', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        for (const decode of [decodeEnvelope, decodeReplayRequest, decodeReplayResponse])
          expect(['message', 'malformed']).toContain(decode(bytes).kind);
      }),
      { numRuns: 2000 },
    );
  });

  it('is total for bytes that were almost right, and what it takes it writes again', () => {
    const good = encodeEnvelope(envelope);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.byteLength - 1), fc.nat(255)), { maxLength: 4 }),
        fc.nat(good.byteLength),
        (changes, length) => {
          const bytes = good.slice(0, length);
          for (const [at, value] of changes) if (at < length) bytes[at] = value;
          const decoded = decodeEnvelope(bytes);
          if (decoded.kind === 'malformed') return;
          const again = decodeEnvelope(encodeEnvelope(decoded.value));
          expect(again).toEqual(decoded);
        },
      ),
      { numRuns: 3000 },
    );
  });

  it('skips what a newer peer may add, and refuses what is too large, torn, or of two bodies', () => {
    const good = encodeEnvelope(envelope);
    // Field 100, a varint, and field 101, three bytes.
    const more = Buffer.concat([good, Buffer.from('a00605aa0603616263', 'hex')]);
    expect(decodeEnvelope(more)).toEqual(decodeEnvelope(good));
    expect(decodeEnvelope(new Uint8Array(ENVELOPE_BYTES_MAX + 1))).toMatchObject({ kind: 'malformed', reason: /allowed/ }); // prettier-ignore
    for (let length = 0; length < good.byteLength - 1; length++)
      expect(decodeEnvelope(good.subarray(0, length)).kind, String(length)).toMatch(/malformed|message/);
    const heart = encodeEnvelope({ ...envelope, alert: null, heartbeat: heartbeatEnvelope({ agent: '', hostname: '', version: '', sentAtUs: 0, uptimeMs: 0, packets: 0, alerts: 0, lastSequence: 0, cpuPercent: 0, rssBytes: 0, intervalMs: 0, queues: [] }).heartbeat }); // prettier-ignore
    expect(decodeEnvelope(Buffer.concat([good, heart]))).toMatchObject({ kind: 'malformed' });
  });
});

/** Keys that the record has and the message does not are no part of it. */
function onWire(value: typeof envelope): typeof envelope {
  const strip = (table: MessageTable, one: object | null): object | null =>
    one === null ? null : Object.fromEntries(Object.keys(table).map((key) => [key, (one as Record<string, unknown>)[key]])); // prettier-ignore
  const alert = strip(TABLES.Alert, value.alert) as typeof value.alert;
  const heartbeat = strip(TABLES.Heartbeat, value.heartbeat) as typeof value.heartbeat;
  return { ...value, alert, heartbeat };
}
