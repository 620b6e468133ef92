import { expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS } from './dissector.ts';
import { ascii, bytesOf, dissectOne, replay, testHostileBytes, tsharkValues } from './it-testing.ts';
import { rdp } from './rdp.ts';

function connect(kind: number, ...variable: (string | Uint8Array)[]): Uint8Array {
  const body = bytesOf(...variable);
  return bytesOf([3, 0, 0, 11 + body.byteLength, 6 + body.byteLength, kind], '0000 0000 00', body);
}

const REQUEST = connect(0xe0, ascii('Cookie: mstshash=operator\r\n'), '01 00 0800 0b000000');
const CONFIRM = connect(0xd0, '02 0f 0800 02000000');
const FAILURE = connect(0xd0, '03 00 0800 05000000');
const INITIAL = bytesOf('0300 0014 02f080 7f65 0000', ascii('MS_T120\0\0'));

test('who connects, with what, and why not', () => {
  const request = dissectOne(rdp, REQUEST);
  expect(request.violations).toEqual([]);
  expect(request.operations).toMatchObject([
    { action: 'session', name: 'connection-request', object: 'operator', isResponse: false, value: 11 },
  ]);
  expect(request.facts).toEqual([
    ['rdp-cookie', 'operator'],
    ['rdp-offer', 'tls+credssp+credssp-early'],
  ]);
  expect(dissectOne(rdp, CONFIRM, { isFromClient: false })).toMatchObject({
    operations: [{ name: 'connection-confirm', isResponse: true, exception: '' }],
    facts: [['rdp-protocol', 'credssp']],
  });
  expect(dissectOne(rdp, FAILURE).operations).toMatchObject([
    { name: 'connection-failure', exception: 'credssp-required' },
  ]);
  expect(dissectOne(rdp, INITIAL)).toMatchObject({
    operations: [{ name: 'mcs-connect-initial' }],
    violations: ['client asks for an internal channel'],
  });
});

test('TPKT, TLS records and the fast path are framed', () => {
  const length = (hex: string): number | undefined =>
    rdp.messageBytes?.(bytesOf(hex), 0, bytesOf(hex).byteLength);
  expect(rdp.messageBytes?.(REQUEST, 0, REQUEST.byteLength)).toBe(REQUEST.byteLength);
  expect(length('0300 00')).toBe(NEED_MORE);
  expect(length('1703 0301 00')).toBe(5 + 256);
  expect(length('0481 0000 00')).toBe(256);
  expect(length('0420 0000 00')).toBe(32);
  expect(length('ffff ffff ff')).toBe(NOT_OURS);
  expect(dissectOne(rdp, bytesOf('1703 0300 0100')).operations).toEqual([]);
});

test('known on other ports, and not taken for S7', () => {
  expect(rdp.looksLike?.(REQUEST, 0, REQUEST.byteLength)).toBe(true);
  const s7 = connect(0xe0, 'c1020100 c2020102 c0010a');
  expect(rdp.looksLike?.(s7, 0, s7.byteLength)).toBe(false);
});

testHostileBytes(rdp, [REQUEST, CONFIRM, FAILURE, INITIAL]);

describeWithCorpus('over real captures', () => {
  test('cookies are those of tshark, and everything is framed', async () => {
    const path = corpusPath('attacks/lateral/LM_rdp_sharprdp.pcapng');
    const recorder = await replay(path, rdp);
    const cookies = recorder.values('rdp-cookie').map((name) => `Cookie: mstshash=${name}`);
    expect(cookies).toEqual(tsharkValues(path, 'tcp', 'rdp.rt_cookie'));
    expect(recorder.names().filter((name) => name === 'connection-confirm')).toHaveLength(2);
    expect(recorder.violations).toEqual([]);
  });
});
