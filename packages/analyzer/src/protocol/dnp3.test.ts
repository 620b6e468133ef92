/** DNP3: messages by hand, noise, and what tshark reads out of real captures. */
import { describe, expect, test } from 'vitest';

import { corpusFiles, corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS, type Dissector, type Memory } from './dissector.ts';
import { dnp3 } from './dnp3.ts';
import { checkTotal, fromHex, hear, hearCapture, tally, tsharkRows } from './ot-test-support.ts';

/** CRC-16/DNP bit by bit. */
function crc(bytes: Uint8Array): number[] {
  let value = 0;
  for (const byte of bytes) {
    value ^= byte;
    for (let i = 0; i < 8; i++) value = value & 1 ? (value >>> 1) ^ 0xa6bc : value >>> 1;
  }
  return [~value & 0xff, (~value >>> 8) & 0xff];
}

/** A link frame around user data; master 1, outstation 10. */
function frame(user: string, control = 0xc4, destination = 10, source = 1): Uint8Array {
  const data = fromHex(user);
  const header = Uint8Array.of(5, 0x64, 5 + data.byteLength, control, destination, 0, source, 0);
  const out = [...header, ...crc(header)];
  for (let at = 0; at < data.byteLength; at += 16) {
    const block = data.subarray(at, at + 16);
    out.push(...block, ...crc(block));
  }
  return Uint8Array.from(out);
}

/** Direct operate, one CROB at index 3, latch on. */
const CROB = frame('c0 c1 05 0c 01 28 01 00 03 00 03 01 64000000 64000000 00');
const READ = frame('c0 c2 01 3c 02 06 3c 03 06 3c 04 06');
/** Analog inputs 4 to 5, 16 bits with flags. */
const REPORT = frame('c0 c2 81 0000 1e 02 00 04 05 01 fcff 01 0700', 0x44, 1, 10);
const SAMPLES = [
  CROB,
  READ,
  REPORT,
  frame('', 0xc9),
  frame('c0 c0 05 29 03 17 01 02 0000c841 00'),
  frame('c0 c0 02 32 01 07 01 0100 0000 0000'),
  frame('c0 c1 81 0002', 0x44, 1, 10),
];

describe('messages by hand', () => {
  test('a direct operate names the point, the code and the outstation', () => {
    const { operations, violations } = hear(dnp3, CROB);
    expect(violations).toEqual([]);
    expect(operations).toMatchObject([
      { name: 'direct-operate', action: 'control', code: 5, isResponse: false, unit: 10, object: 'g12v1:3', count: 1, value: 3 },
    ]); // prettier-ignore
  });

  test('a master that does not count its requests as masters do is told, one that asks again is not', () => {
    const asked = (sequences: readonly string[], destination = 10): string[] => {
      const memory: Memory = {};
      return sequences.flatMap((sequence) => hear(dnp3, frame(`c0 ${sequence} 01 3c 02 06`, 0xc4, destination), { memory }).violations); // prettier-ignore
    };
    expect(asked(['ce', 'cf', 'cf', 'c0', 'c1'])).toEqual([]);
    expect(asked(['c1', 'c2', 'c9', 'ca'])).toEqual(['application sequence jumps']);
    // A confirmation has the number of what it confirms.
    const memory: Memory = {};
    for (const user of ['c0 c3 01 3c 02 06', 'c0 c9 00', 'c0 c4 01 3c 02 06'])
      expect(hear(dnp3, frame(user), { memory }).violations).toEqual([]);
  });

  test('who is the outstation does not depend on who opened the connection', () => {
    for (const isFromClient of [true, false]) {
      const [read] = hear(dnp3, READ, { isFromClient }).operations;
      expect(read).toMatchObject({ name: 'read', action: 'read', isResponse: false, unit: 10, object: 'g60v2', count: 0 }); // prettier-ignore
      const [report] = hear(dnp3, REPORT, { isFromClient }).operations;
      expect(report).toMatchObject({ name: 'response', action: 'report', isResponse: true, unit: 10, object: 'g30v2:4', count: 2, value: -4 }); // prettier-ignore
    }
  });

  test('indications and the status of an echoed command are refusals', () => {
    const answer = (user: string): string | undefined =>
      hear(dnp3, frame(user, 0x44, 1, 10)).operations[0]?.exception;
    expect(answer('c0 c1 81 0001')).toBe('function-not-supported');
    expect(answer('c0 c1 81 0002')).toBe('object-unknown');
    expect(answer('c0 c1 81 0004')).toBe('parameter-error');
    expect(answer('c0 c1 81 1008')).toBe('');
    expect(answer('c0 c1 81 0000 0c 01 28 01 00 03 00 03 01 64000000 64000000 02')).toBe('no-select');
  });

  test('an analog output has its value; setting the clock is control', () => {
    expect(hear(dnp3, frame('c0 c0 05 29 03 17 01 02 0000c841 00')).operations).toMatchObject([
      { object: 'g41v3:2', value: 25 },
    ]);
    expect(hear(dnp3, frame('c0 c0 02 32 01 07 01 010000000001')).operations).toMatchObject([
      { name: 'write', action: 'control', object: 'g50v1', value: 2 ** 40 + 1 },
    ]);
    expect(hear(dnp3, frame('c0 c0 0d')).operations).toMatchObject([
      { name: 'cold-restart', action: 'control' },
    ]);
  });

  test('a wrong CRC is told, of the header and of any block', () => {
    for (const [at, reason] of [
      [4, 'link header CRC is wrong'],
      [12, 'data block CRC is wrong'],
      [30, 'data block CRC is wrong'],
    ] as const) {
      const bytes = CROB.slice();
      bytes[at] = (bytes[at] as number) ^ 1;
      const heard = hear(dnp3, bytes);
      expect(heard.violations).toEqual([reason]);
      expect(heard.operations).toEqual([]);
    }
  });

  test('of several fragments the first is decoded and the sequence followed', () => {
    const memory: Memory = {};
    const fragment = (transport: string) =>
      hear(dnp3, frame(`${transport} c2 81 0000 1e 02 00 04 05`, 0x44, 1, 10), { memory });
    expect(fragment('45').operations).toHaveLength(1);
    expect(fragment('06')).toMatchObject({ operations: [], violations: [] });
    expect(fragment('08').violations).toEqual(['transport sequence jumps']);
    expect(fragment('89').violations).toEqual([]);
    expect(memory).toEqual({});
  });

  test('frames of the link alone, and several in a datagram', () => {
    const { operations } = hear(dnp3, Uint8Array.from([...frame('', 0xc9), ...CROB]));
    expect(operations.map((o) => o.name)).toEqual(['request-link-status', 'direct-operate']);
  });

  test('framing', () => {
    expect(dnp3.messageBytes?.(CROB, 0, CROB.byteLength)).toBe(CROB.byteLength);
    expect(dnp3.messageBytes?.(CROB, 0, 2)).toBe(NEED_MORE);
    expect(dnp3.messageBytes?.(fromHex('056404'), 0, 3)).toBe(NOT_OURS);
    expect(dnp3.looksLike?.(CROB, 0, CROB.byteLength)).toBe(true);
    expect(hear(dnp3, CROB.subarray(0, 20)).violations).toEqual(['frame shorter than its length field']);
  });
});

test('any bytes are read without a throw', () => {
  checkTotal(dnp3, SAMPLES);
});

test('any user data behind right CRCs is read without a throw', () => {
  const users = [
    'c0c1050c0128010003000301640000006400000000',
    'c0c2811e001e02000405',
    'c0c0052903170102000048c100',
  ].map(fromHex);
  const sealed: Dissector = {
    ...dnp3,
    dissect(message, sink) {
      const user = Buffer.from(message.bytes.subarray(message.at, Math.min(message.end, message.at + 250)));
      const bytes = frame(user.toString('hex'), 0x44, 1, 10);
      dnp3.dissect({ ...message, bytes, at: 0, end: bytes.byteLength }, sink);
    },
  };
  checkTotal(sealed, users);
});

describeWithCorpus('against tshark', () => {
  test('the same functions, as often', async () => {
    let compared = 0;
    for (const { path, name } of corpusFiles('ot/dnp3')) {
      // The one is long, the other all link frames, some of them broken on purpose.
      if (/ION7550L|dnp3\.pcap/.test(name)) continue;
      const theirs = tsharkRows(path, ['dnp3.tr.fir', 'dnp3.al.func'], 'dnp3.tr.ctl');
      const cells = (column: number): string[] => theirs.flatMap((row) => (row[column] ?? '').split(','));
      const ours = (await hearCapture(dnp3, path)).operations.filter((o) => o.code >= 0);
      expect(ours.length, name).toBe(cells(0).filter((cell) => cell === '1').length);
      compared += ours.length;
      // There tshark puts fragments of different messages together where the transport sequence wraps.
      if (name.includes('dnp3_example')) continue;
      const functions = cells(1).filter((cell) => cell !== '');
      expect(tally(ours.map((o) => o.code)), name).toEqual(tally(functions.map(Number)));
    }
    expect(compared).toBeGreaterThan(1500);
  });

  test('a scan for addresses is seen as what it is', async () => {
    const { operations } = await hearCapture(dnp3, corpusPath('ot/dnp3/dnp3.pcap'));
    const requests = operations.filter((o) => o.name === 'request-link-status');
    expect(requests.slice(0, 4).map((o) => o.unit)).toEqual([0, 1, 2, 3]);
    expect(operations.filter((o) => o.name === 'link-status').map((o) => o.unit)).toEqual([1]);
  });

  test('the same outstations', async () => {
    const path = corpusPath('ot/dnp3/SEL751.pcap');
    const rows = tsharkRows(path, ['dnp3.al.func', 'dnp3.src', 'dnp3.dst'], 'dnp3.al.func');
    const { operations, violations } = await hearCapture(dnp3, path);
    expect(violations).toEqual([]);
    expect(tally(operations.filter((o) => o.code >= 0).map((o) => o.unit))).toEqual(
      tally(rows.map(([code, source, destination]) => Number(Number(code) >= 129 ? source : destination))),
    );
  });
});
