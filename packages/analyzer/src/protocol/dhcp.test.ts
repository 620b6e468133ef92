import { expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { dhcp } from './dhcp.ts';
import { ascii, bytesOf, dissectOne, replay, testHostileBytes, tsharkValues } from './it-testing.ts';

function message(kind: string, yours: string, ...options: (string | Uint8Array)[]): Uint8Array {
  return bytesOf(
    kind,
    '010600 11223344 0000 0000 00000000',
    yours,
    new Uint8Array(216),
    '63825363',
    ...options,
  );
}

const REQUEST = message(
  '01',
  '00000000',
  '350103 3204 0a000005 0c04',
  ascii('plc1'),
  '3c05',
  ascii('MSFT\0'),
  'ff',
);
const ACK = message('02', '0a000005', '350105 3604 0a000001 ff');
const NAK = message('02', '00000000', '350106 3604 0a000001 ff');

test('who asks for which address and who gives it', () => {
  const request = dissectOne(dhcp, REQUEST);
  expect(request.violations).toEqual([]);
  expect(request.operations).toMatchObject([
    { action: 'session', name: 'request', code: 3, unit: -1, isResponse: false, object: '10.0.0.5' },
  ]);
  expect(request.facts).toEqual([
    ['hostname', 'plc1'],
    ['vendor-class', 'MSFT'],
  ]);
  const ack = dissectOne(dhcp, ACK, { isFromClient: false });
  expect(ack.operations).toMatchObject([{ name: 'ack', isResponse: true, object: '10.0.0.5' }]);
  expect(ack.facts).toEqual([['dhcp-server', '10.0.0.1']]);
  expect(dissectOne(dhcp, NAK).operations).toMatchObject([{ name: 'nak', exception: 'nak', object: '' }]);
});

test('what breaks the rules is told', () => {
  expect(dissectOne(dhcp, REQUEST.subarray(0, 250)).violations).toEqual([
    'option beyond the end of the message',
  ]);
  expect(dissectOne(dhcp, REQUEST.subarray(0, 100)).violations).toEqual(['message shorter than its header']);
  expect(dissectOne(dhcp, message('07', '00000000', 'ff')).violations).toEqual([
    'operation is neither request nor reply',
  ]);
  expect(dissectOne(dhcp, REQUEST.subarray(0, 236)).names()).toEqual(['bootp-request']);
  expect(dhcp.looksLike?.(ACK, 0, ACK.byteLength)).toBe(true);
});

testHostileBytes(dhcp, [REQUEST, ACK, NAK]);

describeWithCorpus('over real captures', () => {
  test('types and hostnames are those of tshark', async () => {
    for (const name of ['bench/benign-it/capture2.pcap.gz', 'bench/benign-it/1kxun.pcap']) {
      const path = corpusPath(name);
      const recorder = await replay(path, dhcp);
      const types = recorder.operations.filter(({ code }) => code >= 0).map(({ code }) => String(code));
      expect(types, name).toEqual(tsharkValues(path, 'dhcp && !icmp', 'dhcp.option.dhcp'));
      expect(recorder.values('hostname'), name).toEqual(
        tsharkValues(path, 'dhcp && !icmp', 'dhcp.option.hostname'),
      );
    }
  });
});
