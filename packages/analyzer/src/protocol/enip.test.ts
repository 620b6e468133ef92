/** EtherNet/IP and CIP: messages by hand, noise, and what tshark reads out of real captures. */
import { describe, expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS, type Memory } from './dissector.ts';
import { enip } from './enip.ts';
import { checkTotal, fromHex, hear, hearCapture, tally, tsharkRows } from './ot-test-support.ts';

function u16(value: number): string {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16LE(value);
  return bytes.toString('hex');
}

function encapsulated(
  command: number,
  data: string,
  options: { session?: number; status?: number; context?: string } = {},
): Uint8Array {
  const body = fromHex(data);
  const { session = 7, status = 0, context = '0102030405060708' } = options;
  return fromHex(
    `${u16(command)} ${u16(body.byteLength)} ${u16(session)}0000 ${u16(status)}0000 ${context} 00000000 ${Buffer.from(body).toString('hex')}`,
  );
}

/** A CIP message as unconnected data. */
function unconnected(cip: string, context = '0102030405060708'): Uint8Array {
  const length = u16(fromHex(cip).byteLength);
  return encapsulated(0x6f, `00000000 0a00 0200 0000 0000 b200 ${length} ${cip}`, { context });
}

/** A CIP message on a connection. */
function connected(cip: string, sequence = 1): Uint8Array {
  const length = u16(fromHex(cip).byteLength + 2);
  return encapsulated(0x70, `00000000 0000 0200 a100 0400 44332211 b100 ${length} ${u16(sequence)} ${cip}`);
}

/** Write of DINT 1234 to the tag `Pump.Speed[3]`. */
const WRITE_TAG = '4d 08 91 04 50756d70 91 05 537065656400 28 03 c400 0100 d2040000';
const READ_TAG = '4c 03 91 04 50756d70 0100';
const UNCONNECTED_SEND = `52 02 20 06 24 01 0a 0e 0a00 ${READ_TAG} 01 00 01 00`;
const MULTIPLE = `0a 02 20 02 24 01 0200 0600 1000 ${READ_TAG} 0e 03 20 01 24 01 30 07`;
/** Protected typed logical write of 5 to N7:2. */
const PCCC = '4b 02 20 67 24 01 07 4d00 78563412 0f 00 0100 aa 02 07 89 02 00 0500';
const FORWARD_OPEN = `54 02 20 06 24 01 0a 0e 00000000 00000000 0100 4d00 78563412 00 000000 10270000 f443 10270000 f443 a3 02 20 04 24 65`;
const IDENTITY = `0100 0c00 2500 0100 ${'00'.repeat(16)} 0100 0e00 4100 1405 0000 efbeadde 03 504c43 03`;
const IO = '0200 0280 0800 11223344 01000000 b100 0600 0100 01000000';
const SAMPLES = [
  encapsulated(0x63, ''),
  encapsulated(0x63, IDENTITY),
  encapsulated(0x65, '01000000', { session: 0 }),
  ...[WRITE_TAG, UNCONNECTED_SEND, MULTIPLE, PCCC, FORWARD_OPEN, 'cc 00 00 00 ca00 0000c03f', '8a 00 1e 00 0100 0400 8e 00 05 00'].map((cip) => unconnected(cip)),
  connected(READ_TAG),
  connected('cc 00 00 00 c300 ffff'),
  fromHex(IO),
]; // prettier-ignore

describe('messages by hand', () => {
  test('identity is asked for and told', () => {
    expect(hear(enip, encapsulated(0x63, '')).operations).toMatchObject([
      { name: 'list-identity', action: 'discover', isResponse: false, unit: -1 },
    ]);
    const heard = hear(enip, encapsulated(0x63, IDENTITY));
    expect(heard.operations).toMatchObject([{ name: 'list-identity', isResponse: true }]);
    expect(Object.fromEntries(heard.facts)).toEqual({
      'vendor-id': '1',
      'device-type': '14',
      'product-code': '65',
      firmware: '20.5',
      'serial-number': '0xdeadbeef',
      'product-name': 'PLC',
    });
    expect(heard.violations).toEqual([]);
  });

  test('sessions', () => {
    expect(hear(enip, encapsulated(0x65, '01000000', { session: 0 })).operations).toMatchObject([
      { name: 'register-session', action: 'session', isResponse: false },
    ]);
    expect(hear(enip, encapsulated(0x65, '01000000')).operations).toMatchObject([{ isResponse: true }]);
    expect(hear(enip, encapsulated(0x6f, '', { status: 0x64 })).operations).toMatchObject([
      { name: 'send-rr-data', isResponse: true, exception: 'invalid-session' },
    ]);
  });

  test('a tag is written by name', () => {
    expect(hear(enip, unconnected(WRITE_TAG)).operations).toMatchObject([
      { name: 'write-tag', action: 'write', code: 0x4d, object: 'Pump.Speed[3]', count: 1, value: 1234 },
    ]);
  });

  test('an answer is about what its request was', () => {
    const memory: Memory = {};
    hear(enip, connected(READ_TAG, 5), { memory });
    hear(enip, connected(WRITE_TAG, 6), { memory });
    const answer = hear(enip, connected('cc 00 00 00 c300 ffff', 5), { memory, isFromClient: false });
    expect(answer.operations).toMatchObject([
      { name: 'read-tag', isResponse: true, object: 'Pump', value: -1, exception: '' },
    ]);
    const refused = hear(enip, connected('cd 00 0f 00', 6), { memory, isFromClient: false });
    expect(refused.operations).toMatchObject([
      { name: 'write-tag', action: 'write', object: 'Pump.Speed[3]', exception: 'privilege-violation' },
    ]);
  });

  test('embedded messages are taken out of their wrapping', () => {
    expect(hear(enip, unconnected(UNCONNECTED_SEND))).toMatchObject({
      operations: [{ name: 'read-tag', object: 'Pump', count: 1 }],
      violations: [],
    });
    const memory: Memory = {};
    expect(hear(enip, unconnected(MULTIPLE), { memory })).toMatchObject({
      operations: [
        { name: 'read-tag' },
        { name: 'get-attribute-single', object: 'class:0x01/instance:1/attr:7' },
      ],
      violations: [],
    });
    const answer = '8a 00 1e 00 0200 0600 0c00 cc 00 00 00 c203 8e 00 05 00';
    expect(hear(enip, unconnected(answer), { memory }).operations).toMatchObject([
      { name: 'read-tag', object: 'Pump', isResponse: true },
      { name: 'get-attribute-single', object: 'class:0x01/instance:1/attr:7', exception: 'path-destination-unknown' },
    ]); // prettier-ignore
  });

  test('the same code means something else in another class', () => {
    const first = (cip: string) => hear(enip, unconnected(cip)).operations[0];
    expect(first('4e 02 20 06 24 01')).toMatchObject({ name: 'forward-close', action: 'session' });
    expect(first('4e 02 91 02 4162')).toMatchObject({ name: 'read-modify-write-tag', action: 'write' });
    expect(first('4c 02 20 37 24 01')).toMatchObject({ name: 'initiate-download', action: 'file' });
    expect(first('4b 02 20 a1 24 01')).toMatchObject({ name: 'service-0x4b', action: 'program' });
    expect(first('09 02 20 68 24 01')).toMatchObject({ name: 'delete', action: 'program' });
    expect(first('07 02 20 8e 24 01')).toMatchObject({ name: 'stop', action: 'control', object: 'class:0x8e/instance:1' }); // prettier-ignore
    expect(first('10 03 20 f6 24 01 30 03 01')).toMatchObject({ name: 'set-attribute-single', action: 'write', value: 1 }); // prettier-ignore
  });

  test('PCCC, a connection and its data', () => {
    expect(hear(enip, unconnected(PCCC)).operations).toMatchObject([
      { name: 'pccc-protected-typed-logical-write-3', action: 'write', code: 0x4b, object: 'N7:2', value: 5 },
    ]);
    expect(hear(enip, unconnected(FORWARD_OPEN)).operations).toMatchObject([
      { name: 'forward-open', action: 'session', object: 'class:0x04/instance:101' },
    ]);
    expect(hear(enip, fromHex(IO))).toMatchObject({
      operations: [{ name: 'io-data', object: 'connection:0x44332211', count: 6 }],
      violations: [],
    });
  });

  test('framing', () => {
    const message = unconnected(READ_TAG);
    expect(enip.messageBytes?.(message, 0, 30)).toBe(message.byteLength);
    expect(enip.messageBytes?.(message, 0, 3)).toBe(NEED_MORE);
    expect(enip.messageBytes?.(fromHex('ffff0000'), 0, 4)).toBe(NOT_OURS);
    expect(enip.looksLike?.(message, 0, message.byteLength)).toBe(true);
    expect(hear(enip, message.subarray(0, message.byteLength - 2)).violations[0]).toBe(
      'length field and message disagree',
    );
  });
});

test('any bytes are read without a throw', () => {
  checkTotal(enip, SAMPLES);
});

/** What tshark lists of a packet, with what wraps others left out and no more than sixteen of a multiple. */
function services(row: readonly string[]): string[] {
  const codes = (row[0] ?? '').split(',').map(Number);
  const answers = (row[1] ?? '').split(',').map(Number);
  const kept: string[] = [];
  let room = Infinity;
  codes.forEach((code, i) => {
    if (code === 0x0a) room = 16;
    else if (code === 0x52 && codes.length > 1) return;
    else if (room-- > 0) kept.push(`${code}${answers[i] === 1 ? ' answer' : ''}`);
  });
  return kept;
}

describeWithCorpus('against tshark', () => {
  test.each([
    'EthernetIP-CIP.pcap.gz',
    'enip_cip_example.pcap',
    'cip-multiple-1.pcap',
    'cip-multiple-2.pcap',
    'cip_stop_plc.pcap',
    'cip_start_plc.pcap',
    'set_attribute_single_service_cip.pcapng',
  ])('%s: the same services, as often', async (name) => {
    const path = corpusPath(`ot/enip-cip/${name}`);
    const theirs = tsharkRows(path, ['cip.sc', 'cip.rr'], 'cip.sc').flatMap(services);
    const { operations } = await hearCapture(enip, path);
    const ours = operations.filter((o) => o.code >= 0 && !/list-|session/.test(o.name));
    expect(tally(ours.map((o) => `${o.code}${o.isResponse ? ' answer' : ''}`))).toEqual(tally(theirs));
  });

  test('the same I/O data', async () => {
    const path = corpusPath('ot/enip-cip/enip_cip_example.pcap');
    const { operations } = await hearCapture(enip, path);
    expect(operations.filter((o) => o.name === 'io-data')).toHaveLength(
      tsharkRows(path, ['enip.cpf.sai.connid'], 'cipio && udp.port == 2222').length,
    );
  });

  test('the same PCCC functions', async () => {
    const path = corpusPath('ot/enip-cip/cip_only.pcap.gz');
    const rows = tsharkRows(path, ['cip.pccc.fnc.code_0f'], 'cip.pccc.fnc.code_0f').map((row) =>
      Number(row[0]),
    );
    const { operations } = await hearCapture(enip, path);
    const requests = tally(operations.filter((o) => !o.isResponse).map((o) => o.name));
    expect(requests['pccc-protected-typed-logical-read-3']).toBe(rows.filter((code) => code === 0xa2).length);
    expect(requests['pccc-change-mode']).toBe(2);
    expect(requests['pccc-protected-typed-logical-write-masked']).toBe(4);
  });
});
