import { expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import type { Memory } from './dissector.ts';
import { http } from './http.ts';
import { ascii, bytesOf, dissectOne, replay, testHostileBytes, tsharkFields } from './it-testing.ts';

const GET = ascii(
  'GET /index.html?x=1 HTTP/1.1\r\nHost: plc.example\r\nUser-Agent: curl/8.0\r\nAccept: */*\r\n\r\n',
);
const POST = ascii('POST /login HTTP/1.1\r\nhost:10.0.0.1\r\nContent-Length: 3\r\n\r\nhost: not a header');
const REFUSED = ascii('HTTP/1.1 401 Unauthorized\r\nServer: x\r\n\r\n');

test('a request tells what it does and who asks', () => {
  const { operations, facts } = dissectOne(http, GET);
  expect(operations).toMatchObject([
    { action: 'read', name: 'get', object: '/index.html?x=1', isResponse: false },
  ]);
  expect(facts).toEqual([
    ['host', 'plc.example'],
    ['user-agent', 'curl/8.0'],
  ]);
  const post = dissectOne(http, POST);
  expect(post.operations).toMatchObject([{ action: 'write', name: 'post', object: '/login' }]);
  expect(post.facts).toEqual([['host', '10.0.0.1']]);
});

test('an answer is about the last request', () => {
  const memory: Memory = {};
  dissectOne(http, POST, { memory });
  expect(dissectOne(http, REFUSED, { memory, isFromClient: false }).operations).toMatchObject([
    { action: 'write', name: 'post', object: '/login', isResponse: true, code: 401, exception: '401' },
  ]);
  expect(dissectOne(http, ascii('HTTP/1.1 200 OK\r\n\r\n')).operations).toMatchObject([
    { name: 'response', code: 200, exception: '' },
  ]);
});

test('bodies are ignored, requests known on any port', () => {
  for (const bytes of [ascii('GETTING STARTED'), ascii('get / HTTP/1.1'), bytesOf('ffd8ffe0')]) {
    expect(dissectOne(http, bytes).operations).toEqual([]);
    expect(http.looksLike?.(bytes, 0, bytes.byteLength)).toBe(false);
  }
  expect(http.looksLike?.(GET, 0, GET.byteLength)).toBe(true);
  expect(dissectOne(http, ascii('GET /\x01 HTTP/1.1\r\n')).violations).toEqual([
    'control character in the request line',
  ]);
});

testHostileBytes(http, [GET, POST, REFUSED]);

describeWithCorpus('over real captures', () => {
  test('requests and answers are those of tshark', async () => {
    for (const [name, ports] of [
      ['attacks/bruteforce/tomcat_bru.pcap', [8080]],
      ['attacks/lateral-otrf/covenant_copy_smb_CreateRequest_2020-09-22145302.pcap', [80]],
    ] as const) {
      const path = corpusPath(name);
      const { operations } = await replay(path, http, ports);
      const filter = ports.map((port) => `tcp.port == ${port}`).join(' || ');
      const requests = operations
        .filter(({ isResponse }) => !isResponse)
        .map((operation) => `${operation.name.toUpperCase()}\t${operation.object}`);
      const expected = tsharkFields(path, `(${filter}) && http.request`, [
        'http.request.method',
        'http.request.uri',
      ]).map((line) => line.slice(0, line.indexOf('\t') + 97));
      expect(requests.sort(), name).toEqual(expected.sort());
      expect(requests.length).toBeGreaterThan(0);
      const codes = operations.filter(({ isResponse }) => isResponse).map(({ code }) => String(code));
      const answers = tsharkFields(path, `(${filter}) && http.response`, ['http.response.code']);
      expect(codes.sort(), name).toEqual(answers.sort());
    }
  });
});
