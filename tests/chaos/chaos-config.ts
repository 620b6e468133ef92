/** How both sides of a chaos run are configured: by the character that its seed gives it, with certificates of its own. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createAuthority, issueCertificate } from '@tapline/collector/src/pki/certificates.ts';
import { Prng } from '@tapline/shared/base/prng.ts';

/** Beside the split by source. */
export const LAYOUTS = ['host', 'pair', 'none'] as const;
const PORT = 5000;

/** What differs from run to run. */
export interface Character {
  readonly mode: string;
  readonly order: string;
  readonly priority: string;
  readonly rotation: string;
  readonly compress: string;
}

export function characterOf(seed: number): Character {
  const character = new Prng(seed, 'character');
  return {
    mode: character.pick(['always', 'always', 'overflow']),
    order: character.pick(['oldest-first', 'live-first']),
    priority: character.pick(['', 'udp dst port 40003', 'udp dst port 40001, udp dst port 40002']),
    rotation: character.pick(['1h', '10s', '3s', '256KiB']),
    compress: character.pick(['none', 'none', 'gzip', 'zstd']),
  };
}

/** The forwarder of `interfaceName`; all its files lie in `directory`. */
export function forwarderConfig(directory: string, interfaceName: string, character: Character): string {
  return `sensor: probe
capture: {driver: afpacket, interface: ${interfaceName}, ring_size: 16MiB, bpf_filter: udp}
output_directories: {pcap_raw_output_path: ${join(directory, 'edge')}}
forward:
  enable: true
  host: 10.8.0.2
  port: ${PORT}
  protocol: tcp
  drain_timeout: 60s
  tls: {bundle: ${join(directory, 'probe.pem')}}
  spool: {path: ${join(directory, 'spool')}, max_bytes: 1GiB, mode: ${character.mode}}
  order: ${character.order}
  priority: [${character.priority}]
`;
}

export function collectorConfig(directory: string, character: Character): string {
  return `port: ${PORT}
bind: 10.8.0.2
protocol: tcp
tls: {bundle: ${join(directory, 'soc.pem')}}
archive: {link_type: ethernet, rotation: ${character.rotation}}
archives:
${LAYOUTS.map((split) => `  - {name: ${split}, directory: ${join(directory, 'soc')}/${split}, split: ${split}, link_type: ethernet, rotation: ${character.rotation}, compress: ${character.compress}}\n`).join('')}retention: {free_space: 0}
output_directories: {pcap_raw_output_path: ${join(directory, 'soc')}/main}
`;
}

/** `probe.pem` and `soc.pem`, of one authority. */
export async function makeCertificates(directory: string): Promise<void> {
  const authority = await createAuthority('Chaos', 30);
  const soc = await issueCertificate(authority, 'soc', { kind: 'collector', hosts: ['10.8.0.2'] }, 30);
  const probe = await issueCertificate(authority, 'probe', { kind: 'sensor' }, 30);
  for (const [name, { key, certificate }] of Object.entries({ soc, probe }))
    writeFileSync(join(directory, `${name}.pem`), key + certificate + authority.certificate, { mode: 0o600 });
}
