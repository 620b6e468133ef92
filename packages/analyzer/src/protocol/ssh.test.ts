import { createHash } from 'node:crypto';

import { expect, test } from 'vitest';

import { corpusPath, describeWithCorpus } from '../../../../tests/support/corpus.ts';
import { NEED_MORE, NOT_OURS, type Memory } from './dissector.ts';
import { ascii, bytesOf, dissectOne, replay, testHostileBytes, tsharkFields } from './it-testing.ts';
import { ssh } from './ssh.ts';

const BANNER = ascii('SSH-2.0-OpenSSH_9.2p1 Debian\r\n');
const LISTS = ['kex', 'host', 'cipher-a', 'cipher-b', 'mac-a', 'mac-b', 'none', 'zlib', '', ''];

function packet(code: number, body: Uint8Array): Uint8Array {
  const padding = 4 + ((8 - ((5 + 1 + body.byteLength + 4) % 8)) % 8);
  return bytesOf([0, 0, 0, 2 + body.byteLength + padding, padding, code], body, new Uint8Array(padding));
}

const KEX_INIT = packet(
  20,
  bytesOf(
    new Uint8Array(16),
    ...LISTS.flatMap((list) => [[0, 0, 0, list.length], ascii(list)]),
    '00 00000000',
  ),
);
const NEW_KEYS = packet(21, new Uint8Array(0));
const DISCONNECT = packet(1, bytesOf('0000000e 00000000 00000000'));
const ENCRYPTED = bytesOf('a1b2c3d4 e5f60718 293a4b5c 6d7e8f90');

function md5(value: string): string {
  return createHash('md5').update(value).digest('hex');
}

test('a session up to where it is encrypted', () => {
  const memory: Memory = {};
  const client = [BANNER, KEX_INIT, NEW_KEYS, ENCRYPTED, ENCRYPTED].map((bytes) =>
    dissectOne(ssh, bytes, { memory }),
  );
  expect(client.flatMap((recorder) => recorder.names())).toEqual(['banner', 'kex-init', 'new-keys']);
  expect(client.flatMap((recorder) => recorder.violations)).toEqual([]);
  expect(client.flatMap((recorder) => recorder.facts)).toEqual([
    ['ssh-client', 'SSH-2.0-OpenSSH_9.2p1 Debian'],
    ['hassh', md5('kex;cipher-a;mac-a;none')],
  ]);
  expect(memory['clientEncrypted']).toBe(2);
  const server = dissectOne(ssh, KEX_INIT, { memory, isFromClient: false });
  expect(server.facts).toEqual([['hassh-server', md5('kex;cipher-b;mac-b;zlib')]]);
  expect(dissectOne(ssh, DISCONNECT).operations).toMatchObject([{ exception: 'no-more-auth-methods' }]);
});

test('lines and packets are framed, encrypted bytes are taken as they come', () => {
  expect(ssh.messageBytes?.(BANNER, 0, BANNER.byteLength)).toBe(BANNER.byteLength);
  expect(ssh.messageBytes?.(BANNER, 0, 10)).toBe(NEED_MORE);
  const endless = ascii(`SSH-2.0-${'x'.repeat(300)}`);
  expect(ssh.messageBytes?.(endless, 0, endless.byteLength)).toBe(NOT_OURS);
  expect(ssh.messageBytes?.(KEX_INIT, 0, 20)).toBe(KEX_INIT.byteLength);
  expect(ssh.messageBytes?.(ENCRYPTED, 0, ENCRYPTED.byteLength)).toBe(ENCRYPTED.byteLength);
  expect(ssh.looksLike?.(BANNER, 0, BANNER.byteLength)).toBe(true);
  expect(ssh.looksLike?.(KEX_INIT, 0, KEX_INIT.byteLength)).toBe(false);
});

test('noise between the version line and the keys is told', () => {
  const memory: Memory = {};
  dissectOne(ssh, BANNER, { memory });
  expect(dissectOne(ssh, ENCRYPTED, { memory }).violations).toHaveLength(1);
});

testHostileBytes(ssh, [BANNER, KEX_INIT, NEW_KEYS, DISCONNECT, ENCRYPTED]);

describeWithCorpus('over real captures', () => {
  test('versions and fingerprints are those of tshark', async () => {
    for (const name of ['1.ssh_brute.pcap', 'ssh_normal_login.pcap', 'hydra-1_tasks.pcapng']) {
      const path = corpusPath(`attacks/bruteforce/${name}`);
      const recorder = await replay(path, ssh);
      const rows = tsharkFields(path, 'ssh', ['ssh.kex.hassh', 'ssh.kex.hasshserver', 'ssh.protocol']).map(
        (line) => line.split('\t'),
      );
      [['hassh'], ['hassh-server'], ['ssh-client', 'ssh-server']].forEach((facts, column) => {
        const found = facts.flatMap((fact) => recorder.values(fact)).sort();
        const expected = rows.map((row) => row[column] ?? '').filter((value) => value !== '');
        expect(found, `${name} ${facts[0]}`).toEqual(expected.sort());
        expect(found.length).toBeGreaterThan(0);
      });
      expect(recorder.violations).toEqual([]);
    }
  });
});
