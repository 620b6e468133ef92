import { expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS } from './dissector.ts';
import { dns, dnsOverTcp, netbiosNs } from './dns.ts';
import { ascii, bytesOf, dissectOne, replay, sized16, testHostileBytes, tsharkValues } from './it-testing.ts';

const NAME = bytesOf('05', ascii('plant'), '07', ascii('example'), '00');
const QUERY = bytesOf('1234 0100 0001 0000 0000 0000', NAME, '0010 0001');
const ANSWER = bytesOf(
  '1234 8180 0001 0001 0000 0000',
  NAME,
  '0001 0001 c00c 0001 0001 0000003c 0004 0a000001',
);
const NXDOMAIN = bytesOf('1234 8183 0001 0000 0000 0000', NAME, '00ff 0001');
const ANNOUNCEMENT = bytesOf('0000 8400 0000 0001 0000 0000', NAME, '0021 8001 00000078 0002 0000');
const NBSTAT = bytesOf('0001 0000 0001 0000 0000 0000 20', ascii(`CK${'A'.repeat(30)}`), '00 0021 0001');

test('queries and answers', () => {
  expect(dissectOne(dns, QUERY).operations).toMatchObject([
    { protocol: 'dns', action: 'read', name: 'query-txt', code: 16, object: 'plant.example', exception: '' },
  ]);
  expect(dissectOne(dns, ANSWER).operations).toMatchObject([
    { name: 'query-a', isResponse: true, count: 1, value: ANSWER.byteLength },
  ]);
  expect(dissectOne(dns, NXDOMAIN).operations).toMatchObject([{ name: 'query-any', exception: 'nxdomain' }]);
  expect(dissectOne(dns, ANNOUNCEMENT).operations).toMatchObject([
    { action: 'report', name: 'announce-srv', object: 'plant.example' },
  ]);
  expect(dissectOne(netbiosNs, NBSTAT).operations).toMatchObject([
    { protocol: 'netbios-ns', name: 'query-nbstat', object: '*<00>' },
  ]);
  for (const bytes of [QUERY, ANSWER, NXDOMAIN, ANNOUNCEMENT])
    expect(dissectOne(dns, bytes).violations).toEqual([]);
});

test('over TCP two bytes of length stand in front', () => {
  const framed = sized16(QUERY);
  expect(dnsOverTcp.messageBytes?.(framed, 0, 1)).toBe(NEED_MORE);
  expect(dnsOverTcp.messageBytes?.(framed, 0, 2)).toBe(framed.byteLength);
  expect(dnsOverTcp.messageBytes?.(bytesOf('0003 00'), 0, 3)).toBe(NOT_OURS);
  expect(dissectOne(dnsOverTcp, framed).operations).toMatchObject([{ object: 'plant.example' }]);
});

test('names that break the rules are told', () => {
  const header = '1234 0100 0001 0000 0000 0000';
  const told = (...parts: (string | Uint8Array)[]): string[] =>
    dissectOne(dns, bytesOf(header, ...parts)).violations;
  expect(told('c00c 0001 0001')).toEqual(['name pointer leads nowhere']);
  expect(told('01 61 c00c 0001 0001')).toEqual(['name pointer leads nowhere']);
  expect(told('40', new Uint8Array(70))).toEqual(['label longer than 63']);
  expect(told('3f 61 6161', '0001')).toEqual(['name beyond the end of the message']);
  expect(
    told(bytesOf(...Array.from({ length: 5 }, () => bytesOf('3f', ascii('x'.repeat(63))))), '00 0001 0001'),
  ).toEqual(['name longer than 255']);
  expect(dissectOne(dns, bytesOf('1234 0100 ffff 0000 0000 0000', NAME, '0001 0001')).violations).toContain(
    'more questions and records than the message can hold',
  );
});

test('queries on other ports are known', () => {
  expect(dns.looksLike?.(QUERY, 0, QUERY.byteLength)).toBe(true);
  for (const bytes of [ANSWER, NAME, new Uint8Array(40)])
    expect(dns.looksLike?.(bytes, 0, bytes.byteLength)).toBe(false);
});

testHostileBytes(dns, [QUERY, ANSWER, NXDOMAIN, ANNOUNCEMENT]);
testHostileBytes(dnsOverTcp, [sized16(QUERY), sized16(ANSWER)]);
testHostileBytes(netbiosNs, [NBSTAT, QUERY]);

describeWithCorpus('over real captures', () => {
  test('the names are those of tshark', async () => {
    for (const name of [
      'bench/benign-it/tls.pcap',
      'bench/benign-iot/D-LinkCam_Setup-A-3-STA.pcap',
      'attacks/smb-ransomware/cryptolocker.pcap',
      'attacks/lateral-otrf/empire_ninjacopy_dumping_ntds_dit_file.pcapng',
    ]) {
      const path = corpusPath(name);
      const recorder = await replay(path, dns);
      const names = recorder.operations
        .filter((operation) => operation.name.startsWith('query-'))
        .map((operation) => operation.object);
      const filter = 'udp && !icmp && !icmpv6 && (dns || mdns || llmnr)';
      const expected = tsharkValues(path, filter, 'dns.qry.name').map((found) =>
        found === '<Root>' ? '.' : found.length > 96 ? `${found.slice(0, 55)}…${found.slice(-40)}` : found,
      );
      expect(names.sort(), name).toEqual(expected.sort());
      expect(names.length).toBeGreaterThan(0);
    }
  });

  test('the answer that overflows Windows servers comes over TCP', async () => {
    const recorder = await replay(
      corpusPath('attacks/lateral/Exploit_DoS_cve-2020-1350_dns_sig_maxspl0it.pcapng'),
      dnsOverTcp,
    );
    expect(recorder.operations.map((operation) => operation.name)).toContain('query-sig');
    expect(Math.max(...recorder.operations.map((operation) => operation.value || 0))).toBeGreaterThan(60_000);
  });
});
