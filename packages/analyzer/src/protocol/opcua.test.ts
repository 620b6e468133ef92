/** OPC UA: messages by hand, noise, and what tshark reads out of real captures. */
import { describe, expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS, type Memory } from './dissector.ts';
import { activateSession } from '../rule/plant/opcua-testing.ts';
import { opcua } from './opcua.ts';
import { checkTotal, fromHex, hear, hearCapture, tally, tsharkValues } from './ot-test-support.ts';

function u32(value: number): string {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes.toString('hex');
}

function string(value: string): string {
  return u32(value.length) + Buffer.from(value).toString('hex');
}

function message(type: string, rest: string): Uint8Array {
  const body = fromHex(rest);
  return fromHex(
    `${Buffer.from(type).toString('hex')} ${u32(8 + body.byteLength)} ${Buffer.from(body).toString('hex')}`,
  );
}

const NULL = 'ffffffff';
/** A request header with a session in the fourth byte's form. */
const REQUEST = `02 0100 05000000 ${'00'.repeat(8)} 01000000 00000000 ${NULL} 10270000 0000 00`;
function response(result = 0): string {
  return `${'00'.repeat(8)} 01000000 ${u32(result)} 00 ${NULL} 0000 00`;
}
function service(id: number, body: string, request = 9, chunk = 'F'): Uint8Array {
  const type = `0100 ${u32(id).slice(0, 4)}`;
  return message(`MSG${chunk}`, `01000000 01000000 02000000 ${u32(request)} ${type} ${body}`);
}
function open(policy: string): Uint8Array {
  const body = policy.endsWith('None') ? `0100 be01 ${REQUEST}` : 'a7'.repeat(64);
  return message('OPNF', `00000000 ${string(policy)} ${NULL} ${NULL} 01000000 01000000 ${body}`);
}

const NONE = 'http://opcfoundation.org/UA/SecurityPolicy#None';
const SPEED = `03 0200 ${string('Pump.Speed')}`;
const WRITE = service(673, `${REQUEST} 01000000 ${SPEED} 0d000000 ${NULL} 01 0b 0000000000002940`);
const READ = service(
  631,
  `${REQUEST} ${'00'.repeat(12)} 02000000 ${SPEED} 0d000000 ${NULL} 0000 ${NULL}`,
  10,
);
const CALL = service(712, `${REQUEST} 01000000 ${SPEED} 01 02 0700 00000000`);
const HELLO = message('HELF', `00000000 00000100 00000100 00000000 00000000 ${string('opc.tcp://plc:4840')}`);
const READ_ANSWER = service(634, `${response()} 01000000 01 06 feffffff ${NULL}`, 10);
const SAMPLES = [
  HELLO,
  open(NONE),
  WRITE,
  READ,
  CALL,
  READ_ANSWER,
  service(397, response(0x8025_0000)),
  message('ERRF', `0000 7f80 ${NULL}`),
];

describe('messages by hand', () => {
  test('a connection begins', () => {
    const hello = hear(opcua, HELLO);
    expect(hello.operations).toMatchObject([{ name: 'hello', action: 'session', isResponse: false }]);
    expect(hello.facts).toEqual([['endpoint-url', 'opc.tcp://plc:4840']]);
    expect(hear(opcua, message('ERRF', `00007f80 ${NULL}`)).operations).toMatchObject([
      { name: 'error', isResponse: true, exception: 'secure-channel-unknown' },
    ]);
    const memory: Memory = {};
    const opened = hear(opcua, open(NONE), { memory });
    expect(opened.operations).toMatchObject([{ name: 'open-secure-channel', code: 446 }]);
    expect(opened.facts).toEqual([['security-policy', NONE]]);
    expect(hear(opcua, open(NONE), { memory }).facts).toEqual([]);
  });

  test('a write names the node and the value', () => {
    expect(hear(opcua, WRITE)).toMatchObject({
      operations: [{ name: 'write', action: 'write', code: 673, object: 'ns=2;s=Pump.Speed', count: 1, value: 12.5 }],
      violations: [],
    }); // prettier-ignore
    expect(hear(opcua, CALL).operations).toMatchObject([
      { name: 'call', action: 'control', object: 'ns=2;s=Pump.Speed/ns=2;i=7' },
    ]);
  });

  test('an answer is about what its request was', () => {
    const memory: Memory = {};
    expect(hear(opcua, READ, { memory }).operations).toMatchObject([{ name: 'read', count: 2 }]);
    hear(opcua, WRITE, { memory });
    expect(hear(opcua, READ_ANSWER, { memory, isFromClient: false }).operations).toMatchObject([
      { name: 'read', isResponse: true, object: 'ns=2;s=Pump.Speed', value: -2, exception: '' },
    ]);
    const refused = service(676, `${response()} 01000000 00003b80 ${NULL}`);
    expect(hear(opcua, refused, { memory, isFromClient: false }).operations).toMatchObject([
      { name: 'write', object: 'ns=2;s=Pump.Speed', exception: 'not-writable' },
    ]);
    expect(hear(opcua, service(397, response(0x8025_0000)), { isFromClient: false }).operations).toMatchObject([
      { name: 'service-fault', isResponse: true, exception: 'session-id-invalid' },
    ]); // prettier-ignore
  });

  test('what is encrypted is not taken for a service', () => {
    const memory: Memory = {};
    const policy = 'http://opcfoundation.org/UA/SecurityPolicy#Basic256Sha256';
    expect(hear(opcua, open(policy), { memory })).toMatchObject({
      operations: [{ name: 'open-secure-channel', code: -1 }],
      facts: [['security-policy', policy]],
    });
    const sealed = message('MSGF', '01000000 01000000 93a1bc20 11223344 aabbccddeeff');
    expect(hear(opcua, sealed, { memory }).operations).toMatchObject([{ name: 'secured-message', code: -1 }]);
    // Signed only: the body is there to be read.
    expect(hear(opcua, WRITE, { memory }).operations).toMatchObject([{ name: 'write', value: 12.5 }]);
  });

  test('of several chunks the first is decoded', () => {
    const memory: Memory = { policy: NONE };
    expect(hear(opcua, service(673, REQUEST, 4, 'C'), { memory }).operations).toMatchObject([
      { name: 'write' },
    ]);
    expect(hear(opcua, message('MSGC', `${'00'.repeat(12)} 04000000 0102`), { memory }).operations).toEqual(
      [],
    );
    expect(hear(opcua, message('MSGF', `${'00'.repeat(12)} 04000000 0102`), { memory }).operations).toEqual(
      [],
    );
    expect(memory).toEqual({ policy: NONE });
  });

  test('framing', () => {
    expect(opcua.messageBytes?.(HELLO, 0, 8)).toBe(HELLO.byteLength);
    expect(opcua.messageBytes?.(HELLO, 0, 7)).toBe(NEED_MORE);
    expect(opcua.messageBytes?.(fromHex('4745542f20000000'), 0, 8)).toBe(NOT_OURS);
    expect(opcua.looksLike?.(HELLO, 0, HELLO.byteLength)).toBe(true);
    expect(opcua.looksLike?.(WRITE, 0, WRITE.byteLength)).toBe(false);
  });
});

test('who activates a session says who it is, or that it does not', () => {
  const token = (type: number) => hear(opcua, activateSession(1, type)).facts;
  expect(token(321)).toEqual([['user-token', 'anonymous']]);
  expect(token(324)).toEqual([['user-token', 'user-name']]);
  expect(token(327)).toEqual([['user-token', 'certificate']]);
  expect(token(999)).toEqual([]);
});

test('any bytes are read without a throw', () => {
  checkTotal(opcua, SAMPLES);
});

describeWithCorpus('against tshark', () => {
  test.each([
    'open62541_client-server_mainloop.pcap',
    'open62541_client-server_mainloop-4-InnerDiagInfo.pcapng',
    'open62541_client-server_mainloop-ActivateSession-diagInfo.pcap',
    'open62541_client-server_mainloop-not-localhost.pcapng',
    'open62541_client-server_minimal.pcap',
    'open62541_client-server-getEndpoints.pcapng',
    'open62541_discover_getendpoints_discover_urls.pcapng',
    'python_opcua-client-server_encrypted.pcapng',
    'python_opcua-client-server_minimal.pcap',
    'python_opcua-client-server_minimal-2.pcap',
  ])('%s: the same messages and services, as often', async (name) => {
    const path = corpusPath(`ot/opcua/${name}`);
    const { operations, violations } = await hearCapture(opcua, path);
    expect(violations).toEqual([]);
    expect(operations).toHaveLength(tsharkValues(path, 'opcua.transport.type').length);
    expect(tally(operations.filter((o) => o.code >= 0).map((o) => o.code))).toEqual(
      tally(tsharkValues(path, 'opcua.servicenodeid.numeric').map(Number)),
    );
  });

  test('what is written and called', async () => {
    const path = corpusPath('ot/opcua/open62541_client-server_mainloop.pcap');
    const { operations } = await hearCapture(opcua, path);
    const writes = operations.filter((o) => o.name === 'write' && !o.isResponse);
    expect(writes.map((o) => o.object)).toContain('ns=1;s=the.answer');
    expect(writes.some((o) => o.value === 1 || o.value > 0)).toBe(true);
    expect(operations.filter((o) => o.name === 'write' && o.isResponse).every((o) => o.object !== '')).toBe(
      true,
    );
  });
});
