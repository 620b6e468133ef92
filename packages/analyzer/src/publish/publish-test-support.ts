/** What the tests of this folder share: alerts made up, events written down, patience, and a small PKI by openssl. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { alertRecord, type AlertRecord, type ToldAlert } from './alert-record.ts';
import type { SinkEvents } from './sink.ts';

/** 2026-01-01T00:00:00.123456Z. */
export const NEW_YEAR_US = 1_767_225_600_123_456;

const directories: string[] = [];

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'tapline-publish-'));
  directories.push(directory);
  return directory;
}

export function removeTemporaryDirectories(): void {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
}

export function idOf(number: number): string {
  return number.toString(16).padStart(16, '0');
}

export function sampleAlert(number: number, fields: Partial<ToldAlert> = {}): ToldAlert {
  return {
    id: idOf(number),
    rule: 'scan-vertical',
    title: 'Port scan of one host',
    severity: 'high',
    score: 0.95,
    technique: 'T0846',
    sensor: 'plant-a',
    firstUs: NEW_YEAR_US + number * 1e6,
    lastUs: NEW_YEAR_US + number * 1e6 + 500,
    count: 1,
    source: '10.0.0.7',
    destination: '10.0.0.9',
    port: 502,
    protocol: 'tcp',
    communityId: '1:LQU9qZlK+B5F3KDmev6m5PMibrg=',
    evidence: '10.0.0.7 tried 12 tcp ports of 10.0.0.9 in 3 s and used none of them',
    flows: ['CabcdEfghIjklmno1'],
    slices: [
      {
        file: '/var/lib/tapline-collector/pcap/plant-a/10.0.0.7_20260101_00.pcap',
        firstPacket: 3,
        lastPacket: 40,
        firstOffset: 240,
        lastOffset: 4096,
      },
    ],
    scope: {
      client: '10.0.0.7',
      server: '10.0.0.9',
      protocol: 6,
      fromUs: NEW_YEAR_US,
      toUs: NEW_YEAR_US + 3e6,
    },
    ...fields,
  };
}

export function sampleRecord(sequence: number, fields: Partial<ToldAlert> = {}): AlertRecord {
  return alertRecord(sampleAlert(sequence, fields), { sequence, label: null, note: '' });
}

export function sampleRecords(count: number, from = 1): AlertRecord[] {
  return Array.from({ length: count }, (_, index) => sampleRecord(from + index));
}

export interface RecordedEvents extends SinkEvents {
  readonly log: (readonly [string, Readonly<Record<string, unknown>>])[];
}

export function recordEvents(): RecordedEvents {
  const log: [string, Record<string, unknown>][] = [];
  const note = (kind: string) => (fields: object) => {
    log.push([kind, { ...fields }]);
  };
  return { log, failed: note('failed'), recovered: note('recovered'), dropped: note('dropped') };
}

/** Waits until it is so; throws after five seconds. */
export async function until(isSo: () => boolean, what: string): Promise<void> {
  for (let round = 0; round < 500; round++) {
    if (isSo()) return;
    await sleep(10);
  }
  throw new Error(`not within five seconds: ${what}`);
}

export interface TestPki {
  readonly ca: string;
  readonly server: { readonly certificate: string; readonly key: string };
  readonly client: { readonly certificate: string; readonly key: string };
}

/** An authority with a certificate for a server (localhost, 127.0.0.1) and one for a client; paths of PEM files. */
export function testPki(name: string): TestPki {
  const directory = temporaryDirectory();
  const at = (file: string): string => join(directory, file);
  const openssl = (...args: string[]): void => {
    execFileSync('openssl', args, { stdio: ['ignore', 'ignore', 'pipe'] });
  };
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  openssl('req', '-x509', ...newKey, '-days', '2', '-subj', `/CN=${name}`, '-keyout', at('ca.key'), '-out', at('ca.pem'), '-addext', 'basicConstraints=critical,CA:TRUE'); // prettier-ignore
  for (const kind of ['server', 'client']) {
    writeFileSync(at(`${kind}.ext`), `basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=${kind}Auth\n`); // prettier-ignore
    openssl(
      'req',
      ...newKey,
      '-subj',
      `/CN=${kind}`,
      '-keyout',
      at(`${kind}.key`),
      '-out',
      at(`${kind}.csr`),
    );
    openssl('x509', '-req', '-in', at(`${kind}.csr`), '-CA', at('ca.pem'), '-CAkey', at('ca.key'), '-CAcreateserial', '-days', '2', '-extfile', at(`${kind}.ext`), '-out', at(`${kind}.pem`)); // prettier-ignore
  }
  const pair = (kind: string): { certificate: string; key: string } => ({
    certificate: at(`${kind}.pem`),
    key: at(`${kind}.key`),
  });
  return { ca: at('ca.pem'), server: pair('server'), client: pair('client') };
}
