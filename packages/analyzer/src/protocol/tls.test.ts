import { expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS } from './dissector.ts';
import { ascii, bytesOf, dissectOne, replay, sized16, testHostileBytes, tsharkValues } from './it-testing.ts';
import { tls } from './tls.ts';

function extension(type: string, ...data: (string | Uint8Array)[]): Uint8Array {
  return bytesOf(type, sized16(...data));
}

function record(type: string, body: Uint8Array): Uint8Array {
  return bytesOf('16 0301', sized16(type, [0, body.byteLength >> 8, body.byteLength & 0xff], body));
}

/** The ciphers, extensions and signature algorithms of the example in FoxIO's description of JA4, in another order. */
const CHROME = record(
  '01',
  bytesOf(
    '0303',
    new Uint8Array(32),
    '00',
    sized16('1a1a 1301 1302 1303 c02b c02f c02c c030 cca9 cca8 c013 c014 009c 009d 002f 0035'),
    '01 00',
    sized16(
      extension('2a2a'),
      extension('0000', sized16('00', sized16(ascii('plant.example')))),
      extension('0017'),
      extension('ff01', '00'),
      extension('000a', sized16('3a3a 001d 0017 0018')),
      extension('000b', '01 00'),
      extension('0023'),
      extension('0010', sized16('02', ascii('h2'), '08', ascii('http/1.1'))),
      extension('0005', '01 00000000'),
      extension('000d', sized16('0403 0804 0401 0503 0805 0501 0806 0601')),
      extension('0012'),
      extension('0033', sized16('3a3a 0001 00')),
      extension('002d', '01 01'),
      extension('002b', '06 1a1a 0304 0303'),
      extension('001b', '02 0002'),
      extension('4469', '0003 02 6832'),
      extension('0015', '0000'),
      extension('4a4a', '00'),
    ),
  ),
);

const SERVER = record(
  '02',
  bytesOf('0303', new Uint8Array(32), '00', '1301 00', sized16(extension('002b', '0304'))),
);
const ALERT = bytesOf('15 0303 0002 02 28');

test('a client hello tells whom it is for and what the client is', () => {
  const { operations, facts, violations } = dissectOne(tls, CHROME);
  expect(violations).toEqual([]);
  expect(operations).toMatchObject([
    { protocol: 'tls', action: 'session', name: 'client-hello', isResponse: false, object: 'plant.example' },
  ]);
  expect(Object.fromEntries(facts)).toMatchObject({
    sni: 'plant.example',
    alpn: 'h2,http/1.1',
    'tls-version': 'TLS 1.3',
    ja4: 't13d1516h2_8daaf6152771_e5627efa2ab1',
  });
});

test('a server hello tells what is used, an alert why not', () => {
  const server = dissectOne(tls, SERVER, { isFromClient: false });
  expect(server.names()).toEqual(['server-hello']);
  expect(Object.fromEntries(server.facts)).toMatchObject({ cipher: '0x1301', 'tls-version': 'TLS 1.3' });
  expect(dissectOne(tls, ALERT).operations).toMatchObject([
    { name: 'alert', exception: 'handshake-failure' },
  ]);
  expect(dissectOne(tls, bytesOf('15 0303 0002 01 00')).operations[0]?.exception).toBe('');
  expect(dissectOne(tls, bytesOf('15 0303 0012', new Uint8Array(18))).operations).toEqual([]);
});

test('records are framed, hellos known on any port, broken ones told', () => {
  expect(tls.messageBytes?.(CHROME, 0, 4)).toBe(NEED_MORE);
  expect(tls.messageBytes?.(CHROME, 0, 5)).toBe(CHROME.byteLength);
  expect(tls.messageBytes?.(ascii('GET / HTTP'), 0, 10)).toBe(NOT_OURS);
  expect(tls.looksLike?.(CHROME, 0, CHROME.byteLength)).toBe(true);
  expect(tls.looksLike?.(SERVER, 0, SERVER.byteLength)).toBe(false);
  const broken = Uint8Array.from(CHROME);
  broken[9 + 35] = 0xff;
  expect(dissectOne(tls, broken).violations).toEqual(['hello and its length fields disagree']);
});

testHostileBytes(tls, [CHROME, SERVER, ALERT]);

describeWithCorpus('over real captures', () => {
  test('names and fingerprints are those of tshark', async () => {
    for (const name of ['bench/benign-it/tls.pcap', 'bench/benign-iot/D-LinkHomeHub_Setup-C-3-STA.pcap']) {
      const path = corpusPath(name);
      const recorder = await replay(path, tls, [443]);
      const filter = 'tcp.port == 443 && tls.handshake.type';
      for (const [fact, field] of [
        ['sni', 'tls.handshake.extensions_server_name'],
        ['ja3', 'tls.handshake.ja3'],
        ['ja3s', 'tls.handshake.ja3s'],
      ] as const) {
        const expected = tsharkValues(path, filter, field);
        expect(recorder.values(fact).sort(), `${name} ${fact}`).toEqual(expected.sort());
      }
      expect(recorder.values('ja3').length).toBeGreaterThan(0);
    }
  });
});
