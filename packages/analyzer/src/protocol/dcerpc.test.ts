import { expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { dcerpc } from './dcerpc.ts';
import { NEED_MORE, NOT_OURS, type Memory } from './dissector.ts';
import { ascii, bytesOf, dissectOne, replay, testHostileBytes, tsharkValues, utf16 } from './it-testing.ts';

function message(kind: string, body: Uint8Array): Uint8Array {
  const length = 16 + body.byteLength;
  return bytesOf('0500', kind, '03 10000000', [length & 0xff, length >> 8], '0000 01000000', body);
}

const SVCCTL = '81bb7a364498f135ad3298f038001003';
const NDR = '045d888aeb1cc9119fe808002b104860 02000000';
const BIND = message('0b', bytesOf('d016d016 00000000 01000000 0000 01 00', SVCCTL, '02000000', NDR));
const REQUEST = message('00', bytesOf('10000000 0000 0c00', new Uint8Array(16)));
const RESPONSE = message('02', bytesOf('04000000 0000 0000 00000000'));
const FAULT = message('03', bytesOf('00000000 0000 0000 05000000 00000000'));
const BIND_ACK = message('0c', bytesOf('d016d016 00000000 0000 0000 01000000 0200 0100', new Uint8Array(20)));
const AUTH3 = message(
  '10',
  bytesOf(
    '00000000',
    ascii('NTLMSSP\0'),
    '03000000 00000000 40000000 00000000 40000000 08000800 40000000 0a000a00 48000000 00000000 52000000',
    '00000000 52000000 01000000',
    utf16('CORPadmin'),
  ),
);

test('requests are named by the interface that was bound', () => {
  const memory: Memory = {};
  const bind = dissectOne(dcerpc, BIND, { memory });
  expect(bind.violations).toEqual([]);
  expect(bind.operations).toMatchObject([{ action: 'session', name: 'bind', count: 1, object: 'svcctl' }]);
  expect(bind.facts).toEqual([['rpc-interface', 'svcctl']]);
  expect(dissectOne(dcerpc, REQUEST, { memory }).operations).toMatchObject([
    { protocol: 'dcerpc', action: 'control', name: 'svcctl:12', code: 12, isResponse: false },
  ]);
  expect(dissectOne(dcerpc, RESPONSE, { memory, isFromClient: false }).operations).toMatchObject([
    { name: 'svcctl:12', isResponse: true, exception: '' },
  ]);
  dissectOne(dcerpc, REQUEST, { memory });
  expect(dissectOne(dcerpc, FAULT, { memory, isFromClient: false }).operations).toMatchObject([
    { name: 'svcctl:12', exception: 'access-denied' },
  ]);
  expect(dissectOne(dcerpc, REQUEST).names()).toEqual(['unknown:12']);
});

test('a rejected bind and the user of a logon', () => {
  expect(dissectOne(dcerpc, BIND_ACK, { isFromClient: false }).operations).toMatchObject([
    { name: 'bind-ack', isResponse: true, exception: 'rejected' },
  ]);
  expect(dissectOne(dcerpc, AUTH3).facts).toEqual([
    ['ntlm-domain', 'CORP'],
    ['ntlm-user', 'admin'],
  ]);
});

test('messages are framed and known on dynamic ports', () => {
  expect(dcerpc.messageBytes?.(BIND, 0, 10)).toBe(NEED_MORE);
  expect(dcerpc.messageBytes?.(BIND, 0, 16)).toBe(BIND.byteLength);
  expect(dcerpc.messageBytes?.(ascii('GET / HTTP/1.1\r\n'), 0, 16)).toBe(NOT_OURS);
  for (const bytes of [BIND, REQUEST]) expect(dcerpc.looksLike?.(bytes, 0, bytes.byteLength)).toBe(true);
  expect(dcerpc.looksLike?.(RESPONSE, 0, RESPONSE.byteLength)).toBe(false);
  expect(dissectOne(dcerpc, BIND.subarray(0, 40)).violations).toEqual(['context beyond the end of the bind']);
});

testHostileBytes(dcerpc, [BIND, REQUEST, RESPONSE, FAULT, BIND_ACK, AUTH3]);

describeWithCorpus('over real captures', () => {
  test('requests are those of tshark', async () => {
    for (const [name, ports] of [
      ['attacks/lateral/Discovery_impacket_rpcdump.pcapng', [135]],
      ['attacks/lateral/LM_dcom_mmc20.application_dcerpc.pcapng', [135, 50105]],
      [
        'attacks/lateral-otrf/empire_wmi_dcerpc_wmi_IWbemServices_ExecMethod_WORKSTATION6_2020-09-21001437.pcap',
        [135],
      ],
    ] as const) {
      const path = corpusPath(name);
      const { operations } = await replay(path, dcerpc, ports);
      const codes = operations
        .filter((one) => !one.isResponse && one.code >= 0)
        .map(({ code }) => String(code));
      const filter = `dcerpc.pkt_type == 0 && (${ports.map((port) => `tcp.port == ${port}`).join(' || ')})`;
      expect(codes.sort(), name).toEqual(tsharkValues(path, filter, 'dcerpc.opnum').sort());
      expect(codes.length, name).toBeGreaterThan(0);
    }
  });
});
