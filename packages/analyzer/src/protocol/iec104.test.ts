/** IEC 60870-5-104: messages by hand, noise, and what tshark reads out of real captures. */
import { describe, expect, test } from 'vitest';

import { corpusFiles, corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS, type Memory } from './dissector.ts';
import { iec104 } from './iec104.ts';
import {
  checkTotal,
  fromHex,
  hear,
  hearCapture,
  tally,
  tsharkRows,
  tsharkValues,
} from './ot-test-support.ts';

/** Single command, activation, common address 3, object 4500, on. */
const SINGLE_COMMAND = fromHex('68 0e 0200 0400 2d 01 06 00 0300 941100 01');
/** Set point, float 12, to object 5020. */
const SET_POINT = fromHex('68 12 0400 0400 32 01 06 00 0300 9c1300 00004041 00');
/** The first of them refused. */
const REFUSED = fromHex('68 0e 0200 0400 2d 01 47 00 0300 941100 01');
/** Two scaled values from object 80 on. */
const SEQUENCE = fromHex('68 13 0600 0400 0b 82 14 00 0100 500000 feff 00 0300 00');
const STARTDT = fromHex('68 04 07 00 00 00');
const SUPERVISORY = fromHex('68 04 01 00 0600');
const SAMPLES = [
  SINGLE_COMMAND,
  SET_POINT,
  REFUSED,
  SEQUENCE,
  STARTDT,
  SUPERVISORY,
  fromHex('68 04 83 00 00 00'),
];

describe('messages by hand', () => {
  test('a single command names object, station and state', () => {
    const { operations, violations } = hear(iec104, SINGLE_COMMAND);
    expect(violations).toEqual([]);
    expect(operations).toMatchObject([
      { protocol: 'iec104', name: 'c-sc-na-1', action: 'control', code: 45, isResponse: false, unit: 3, object: 'ioa:4500', count: 1, value: 1, exception: '' },
    ]); // prettier-ignore
  });

  test('a set point writes a float', () => {
    expect(hear(iec104, SET_POINT).operations).toMatchObject([
      { name: 'c-se-nc-1', action: 'write', object: 'ioa:5020', value: 12 },
    ]);
  });

  test('a negative confirm and an unknown object are exceptions', () => {
    expect(hear(iec104, REFUSED, { isFromClient: false }).operations).toMatchObject([
      { name: 'c-sc-na-1', isResponse: true, exception: 'negative-confirm' },
    ]);
    const unknown = Uint8Array.from(REFUSED);
    unknown[8] = 47;
    expect(hear(iec104, unknown).operations[0]?.exception).toBe('unknown-object-address');
  });

  test('a deactivation does not operate', () => {
    const taken = Uint8Array.from(SINGLE_COMMAND);
    taken[8] = 8;
    expect(hear(iec104, taken).operations[0]?.action).toBe('other');
  });

  test('a counter interrogation that freezes or resets commands, one that reads does not', () => {
    const ask = (qualifier: string, cause = '06') =>
      hear(iec104, fromHex(`68 0e 0200 0400 65 01 ${cause} 00 0300 000000 ${qualifier}`)).operations[0];
    expect(ask('05')).toMatchObject({ name: 'c-ci-na-1', action: 'read' });
    expect(ask('45')).toMatchObject({ name: 'c-ci-na-1-freeze', action: 'control', isResponse: false });
    expect(ask('85')).toMatchObject({ name: 'c-ci-na-1-freeze-reset', action: 'control' });
    expect(ask('c5')).toMatchObject({ name: 'c-ci-na-1-reset', action: 'control' });
    expect(ask('c5', '07')).toMatchObject({ name: 'c-ci-na-1-reset', isResponse: true });
    expect(ask('c5', '08')?.action).toBe('read');
  });

  test('clock and reset command when they are activated, and not when they are answered or taken back', () => {
    const clock = (cause: string) =>
      hear(iec104, fromHex(`68 14 0200 0400 67 01 ${cause} 00 0300 000000 00000000010118`)).operations[0];
    expect(clock('06')).toMatchObject({ name: 'c-cs-na-1', action: 'control', isResponse: false });
    expect(clock('07')).toMatchObject({ name: 'c-cs-na-1', isResponse: true });
    expect(clock('08')?.action).toBe('other');
    const reset = (cause: string) =>
      hear(iec104, fromHex(`68 0e 0200 0400 69 01 ${cause} 00 0300 000000 01`)).operations[0];
    expect(reset('06')).toMatchObject({ name: 'c-rp-na-1', action: 'control', value: 1 });
    expect(reset('08')?.action).toBe('other');
  });

  test('a sequence of elements counts them and tells the first', () => {
    const { operations, violations } = hear(iec104, SEQUENCE, { isFromClient: false });
    expect(violations).toEqual([]);
    expect(operations).toMatchObject([
      { name: 'm-me-nb-1', action: 'report', object: 'ioa:80', count: 2, value: -2 },
    ]);
  });

  test('U frames are sessions, S frames say nothing', () => {
    expect(hear(iec104, STARTDT).operations).toMatchObject([{ name: 'startdt', action: 'session', code: 7 }]);
    expect(hear(iec104, SUPERVISORY)).toMatchObject({ operations: [], violations: [] });
  });

  test('send numbers follow each other in each direction, over the end of their range too', () => {
    const memory: Memory = {};
    const numbered = (sent: number): Uint8Array => {
      const message = Uint8Array.from(SINGLE_COMMAND);
      message[2] = (sent << 1) & 0xff;
      message[3] = sent >> 7;
      return message;
    };
    const said = (sent: number, isFromClient = true): string[] =>
      hear(iec104, numbered(sent), { memory, isFromClient }).violations;
    expect([said(32_767), said(0), said(9, false), said(1), said(10, false)].flat()).toEqual([]);
    expect(said(1)).toEqual(['send sequence number is not the next one']);
    expect(said(5)).toEqual(['send sequence number is not the next one']);
    expect(said(6)).toEqual([]);
  });

  test('what does not add up is told', () => {
    const more = Uint8Array.from(SINGLE_COMMAND);
    more[7] = 2;
    expect(hear(iec104, more).violations).toEqual(['number of objects and length disagree']);
    const type = Uint8Array.from(SINGLE_COMMAND);
    type[6] = 44;
    expect(hear(iec104, type).violations).toEqual(['type is not defined']);
  });

  test('frames are cut by their length', () => {
    expect(iec104.messageBytes?.(SINGLE_COMMAND, 0, 16)).toBe(16);
    expect(iec104.messageBytes?.(SINGLE_COMMAND, 0, 1)).toBe(NEED_MORE);
    expect(iec104.messageBytes?.(SINGLE_COMMAND, 1, 9)).toBe(NOT_OURS);
    for (const sample of SAMPLES)
      expect(iec104.looksLike?.(sample, 0, sample.byteLength)).toBe(sample !== SUPERVISORY);
    expect(iec104.looksLike?.(SINGLE_COMMAND, 0, 15)).toBe(false);
  });
});

test('noise and damaged messages', () => checkTotal(iec104, SAMPLES));

describeWithCorpus('against tshark', () => {
  // In these three tshark goes on behind bytes that are no frame, or reads a frame that its own length denies.
  const files = corpusFiles('ot/iec104').filter(({ name }) => !/_(paf|builtins)|TestDissect/.test(name));

  test('the same types in every capture', async () => {
    for (const { path, name } of files) {
      const { operations } = await hearCapture(iec104, path);
      const ours = operations.filter((operation) => operation.unit >= 0).map(({ code }) => code);
      expect(tally(ours), name).toEqual(tally(tsharkValues(path, 'iec60870_asdu.typeid')));
    }
  });

  test('the same U frames, stations and objects', async () => {
    for (const name of ['ot/iec104/090813_diverse.pcap', 'ot/iec104/iec104.pcap']) {
      const path = corpusPath(name);
      const { operations, violations } = await hearCapture(iec104, path);
      expect(violations, name).toEqual([]);
      const sessions = operations.filter(({ unit }) => unit < 0).map(({ code }) => code);
      expect(tally(sessions), name).toEqual(
        tally(tsharkValues(path, 'iec60870_104.utype').map((value) => (Number(value) << 2) | 3)),
      );
      const rows = tsharkRows(path, ['iec60870_asdu.addr'], 'iec60870_asdu');
      const addresses = rows.flatMap((row) => (row[0] ?? '').split(','));
      expect(tally(operations.filter(({ unit }) => unit >= 0).map(({ unit }) => unit))).toEqual(
        tally(addresses),
      );
    }
  });
});
