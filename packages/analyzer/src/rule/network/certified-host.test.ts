/** TLS with a host that the client did not name: told, unless the host's own certificate says what it is called. */
import { expect, it } from 'vitest';
import { describeWithCorpus } from '../../../../../tests/support/corpus.ts';
import { Rig, analyzeCapture } from '../../engine-testing.ts';
import type { Packet } from '../../packet/frame-testing.ts';
import { certificate } from '../certificate-testing.ts';
import { CLIENT_HELLO, SERVER_HELLO, connection } from '../traffic-testing.ts';
import { namesItsHost } from './certified-host.ts';

type Lines = Parameters<typeof connection>[2];

const HELLOS: Lines = [['>', CLIENT_HELLO], ['<', SERVER_HELLO]]; // prettier-ignore
/** What the client sends when it has read the server's part: an encrypted record. */
const GOES_ON: Lines = [['>', Buffer.from('1703030004deadbeef', 'hex')]];

const session = (i: number, lines: Lines): Packet[] => connection(`10.0.0.5:${5000 + i}`, '203.0.113.5:7084', lines, i * 1_000_000, false); // prettier-ignore

/** How often it was told, before the connections have ended. */
function told(...sessions: readonly Lines[]): number {
  const rig = new Rig().add(sessions.flatMap((lines, i) => session(i, lines)));
  return [...rig.alerts.values()].find(({ rule }) => rule === 'nameless-tls')?.count ?? 0;
}

it.each([
  ['*.cloud.example', 'Plant Class 3 Secure Server CA', true],
  ['cloud.example', 'cloud.example', false],
  ['AsyncRAT Server', 'AsyncRAT Server', false],
  ['Quasar Server', 'Quasar Server CA', false],
  // Both are made up.
  ['uavzo.example', 'wvufueedmi.example', false],
  ['cloud.example', '', false],
  ['', 'Plant Class 3 Secure Server CA', false],
])('a certificate for %s by %s names its host: %s', (subject, issuer, names) => {
  const distinguished = (name: string): string => (name === '' ? '' : `O=Somebody, CN=${name}, OU=Cell`);
  expect(namesItsHost(distinguished(subject), distinguished(issuer))).toBe(names);
  expect(told([...HELLOS, ['<', certificate(subject, issuer)], ...GOES_ON])).toBe(names ? 0 : 1);
});

it('a session that shows no certificate is told when the client goes on, or ends', () => {
  expect(told([...HELLOS, ...GOES_ON])).toBe(1);
  const rig = new Rig().add(session(0, HELLOS));
  expect([...rig.alerts.values()].map(({ rule }) => rule)).not.toContain('nameless-tls');
  expect(rig.finish().rules).toContain('nameless-tls');
});

it('a host that was named once needs no certificate again', () => {
  const named: Lines = [...HELLOS, ['<', certificate('cloud.example', 'An Authority')], ...GOES_ON];
  expect(told(named, [...HELLOS, ...GOES_ON])).toBe(0);
  expect(told([...HELLOS, ...GOES_ON], named)).toBe(1);
  // Unless it shows another.
  expect(told(named, [...HELLOS, ['<', certificate('Quasar Server', 'Quasar Server CA')], ...GOES_ON])).toBe(
    1,
  );
});

describeWithCorpus('a real plug', () => {
  it('that calls its maker without naming it is not told', async () => {
    const { alerts } = await analyzeCapture('bench/benign-iot/TP-LinkPlugHS100_Setup-C-2-STA.pcap');
    expect(alerts.map(({ rule }) => rule)).not.toContain('nameless-tls');
  });
});
