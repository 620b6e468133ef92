/** What the world's reference decoder says about a simulated plant: nothing. */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LINKTYPE_ETHERNET } from '@tapline/shared/packet/link-type.ts';
import { PcapFile } from '@tapline/shared/pcap/pcap-file.ts';
import { afterAll, describe, expect, it } from 'vitest';
import { ATTACK_NAMES } from './labels.ts';
import { START_NS } from './simulate-test-support.ts';
import { simulatePlant, type Simulation, type SimulationOptions } from './simulate-plant.ts';

const hasTshark = spawnSync('tshark', ['-v']).status === 0;
const directory = mkdtempSync(join(tmpdir(), 'tapline-simulate-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

const CHECKSUMS = ['ip', 'tcp', 'udp'].flatMap((layer) => ['-o', `${layer}.check_checksum:TRUE`]);
/** Expert severities; a malformed packet is an error. */
const ERROR = 'Error';
const WARNING = 'Warning';
const SEVERITIES: Readonly<Record<string, string>> = { '8388608': ERROR, '6291456': WARNING };

interface Decoded {
  readonly number: number;
  readonly protocols: readonly string[];
  readonly severities: readonly string[];
  readonly remarks: string;
  /** tcp.analysis.flags that are not those of a keep-alive. */
  readonly loss: boolean;
  readonly badChecksum: boolean;
}

async function simulated(name: string, options: Partial<SimulationOptions>) {
  const path = join(directory, name);
  const simulation = simulatePlant({ seed: 1, startNs: START_NS, durationMs: 60_000, ...options });
  const file = await PcapFile.create(path, { linkType: LINKTYPE_ETHERNET, precision: 'ns' });
  for (const batch of simulation) await file.write(batch);
  await file.close();
  return { simulation, packets: decode(path) };
}

function decode(path: string): Decoded[] {
  const fields = [
    'frame.number',
    'frame.protocols',
    '_ws.expert.severity',
    '_ws.expert.message',
    'tcp.analysis.flags',
    'tcp.analysis.keep_alive',
    'tcp.analysis.keep_alive_ack',
    'ip.checksum.status',
    'tcp.checksum.status',
    'udp.checksum.status',
  ];
  const text = execFileSync(
    'tshark',
    ['-r', path, ...CHECKSUMS, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])],
    { encoding: 'utf8', maxBuffer: 256 * 1024 * 1024, stdio: ['ignore', 'pipe', 'ignore'] },
  );
  return text
    .trimEnd()
    .split('\n')
    .map((line) => {
      const cells = line.split('\t');
      const cell = (index: number): string => cells[index] ?? '';
      return {
        number: Number(cell(0)),
        protocols: cell(1).split(':'),
        severities: cell(2)
          .split(',')
          .map((severity) => SEVERITIES[severity] ?? ''),
        remarks: cell(3),
        loss: cell(4) !== '' && cell(5) === '' && cell(6) === '',
        // 0 is "bad". Packets quoted in ICMP have checksums too.
        badChecksum: [7, 8, 9].some((index) => cell(index).split(',').includes('0')),
      };
    });
}

/** Lines about packets that are not as they should be; empty when all is well. */
function complaints(packets: readonly Decoded[]): string[] {
  return packets
    .filter(
      (packet) =>
        packet.badChecksum || packet.protocols.includes('_ws.malformed') || packet.severities.includes(ERROR),
    )
    .map((packet) => `${packet.number} ${packet.protocols.join(':')} ${packet.remarks}`);
}

function benignOnly(simulation: Simulation, packets: readonly Decoded[]): Decoded[] {
  const ranges = simulation.labels().flatMap((label) => label.ranges);
  const attack = new Set(
    ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, i) => first + i)),
  );
  return packets.filter((packet) => !attack.has(packet.number));
}

describe.skipIf(!hasTshark)(hasTshark ? 'tshark' : 'tshark (skipped: it is not installed)', () => {
  it.each([11, 12, 13])('finds nothing wrong with a plant under all attacks (seed %i)', async (seed) => {
    const { simulation, packets } = await simulated(`attacks-${seed}.pcap`, { seed, attacks: ATTACK_NAMES });
    expect(packets).toHaveLength(simulation.packetCount);
    expect(complaints(packets)).toEqual([]);
    const benign = benignOnly(simulation, packets);
    expect(benign.filter((packet) => packet.loss).map((packet) => packet.number)).toEqual([]);
    const warned = benign.filter((packet) => packet.severities.includes(WARNING));
    expect(
      [...new Set(warned.map((packet) => packet.remarks))].filter((text) => !text.includes('RST')),
    ).toEqual([]);
  });

  it('recognises every protocol as what it is, over a long quiet time', async () => {
    const { packets } = await simulated('benign.pcap', { seed: 14, cells: 1, durationMs: 400_000 });
    expect(complaints(packets)).toEqual([]);
    expect(packets.filter((packet) => packet.loss)).toEqual([]);
    const seen = new Set(packets.flatMap((packet) => packet.protocols));
    const wanted = [
      ...['modbus', 's7comm', 'dnp3', 'iec60870_104', 'iec60870_asdu', 'enip', 'cip', 'cipio', 'opcua'],
      ...['arp', 'lldp', 'stp', 'pn_dcp', 'pn_rt', 'pn_io', 'goose', 'vlan'],
      ...['dns', 'mdns', 'ntp', 'smb2', 'ntlmssp', 'http', 'tls', 'ipv6', 'icmpv6'],
    ];
    expect(wanted.filter((protocol) => !seen.has(protocol))).toEqual([]);
    // Nothing is taken for something it is not: bytes nobody understands would be "data".
    const unknown = packets.filter(
      (packet) => packet.protocols.includes('data') && !packet.protocols.includes('smb2'),
    );
    expect(unknown).toEqual([]);
  });
});
