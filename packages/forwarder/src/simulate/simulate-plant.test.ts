import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { ATTACK_NAMES, labelsAsJsonLines, type AttackLabel } from './labels.ts';
import {
  START_NS,
  addressesOf,
  capture,
  tcpOf,
  type SeenPacket,
  type SeenTcp,
} from './simulate-test-support.ts';
import { simulatePlant, type SimulationOptions } from './simulate-plant.ts';

const PROTOCOLS = [
  'arp',
  'dnp3',
  'dns',
  'enip',
  'enip-io',
  'goose',
  'http',
  'icmpv6',
  'iec104',
  'lldp',
  'mdns',
  'modbus',
  'ntp',
  'opcua',
  'profinet-dcp',
  'profinet-rt',
  's7comm',
  'smb2',
  'stp',
  'tls',
];

function digest(options: Partial<SimulationOptions>): string {
  const hash = createHash('sha256');
  const simulation = simulatePlant({ seed: 1, startNs: START_NS, durationMs: 30_000, ...options });
  for (const batch of simulation) hash.update(batch.bytes.subarray(0, batch.byteLength));
  return hash.update(labelsAsJsonLines(simulation.labels())).digest('hex');
}

describe('a simulated plant', () => {
  it('is the same bytes and labels for the same options, and others for another seed', () => {
    const options = { attacks: ATTACK_NAMES, cells: 2 };
    expect(digest(options)).toBe(digest(options));
    expect(digest({ ...options, seed: 2 })).not.toBe(digest(options));
  });

  it('speaks every protocol within five minutes', () => {
    const { simulation } = capture({ cells: 1, durationMs: 300_000 });
    expect([...simulation.protocols.keys()].sort()).toEqual(PROTOCOLS);
    for (const [protocol, tally] of simulation.protocols) expect(tally.packets, protocol).toBeGreaterThan(1);
  });

  it('has strictly increasing times, all within the duration', () => {
    const startNs = START_NS + 999_999_999n; // across the first second at once
    const { packets } = capture({ startNs, attacks: ATTACK_NAMES, seed: 3 });
    let beforeNs = startNs - 1n;
    for (const { atNs, number } of packets) {
      if (atNs <= beforeNs) expect.fail(`packet ${number} at ${atNs}, the one before at ${beforeNs}`);
      beforeNs = atNs;
    }
    expect(beforeNs).toBeLessThan(startNs + 30_000_000_000n);
    expect(beforeNs).toBeGreaterThan(startNs + 29_000_000_000n);
  });

  it('ends after as many packets as were wanted, and counts what it handed out', () => {
    const { simulation, packets } = capture({ packetsMax: 1234, attacks: ATTACK_NAMES });
    expect(packets).toHaveLength(1234);
    expect(simulation.packetCount).toBe(1234);
    const tallies = [...simulation.protocols.values()];
    expect(tallies.reduce((sum, tally) => sum + tally.packets, 0)).toBe(1234);
    expect(tallies.reduce((sum, tally) => sum + tally.bytes, 0)).toBe(simulation.byteCount);
  });

  it('grows by cells to thousands of sources', () => {
    const { packets } = capture({ cells: 200, durationMs: 4000 });
    const sources = new Set(packets.flatMap(({ frame }) => addressesOf(frame).slice(0, 1)));
    expect(sources.size).toBeGreaterThan(2000);
  });

  it('survives the shortest capture', () => {
    expect(() => capture({ durationMs: 1, attacks: ATTACK_NAMES })).not.toThrow();
  });
});

describe('TCP in a simulated plant', () => {
  it('follows RFC 9293 in every connection: handshakes, contiguous bytes, acknowledgements of what was seen', () => {
    for (const seed of [1, 2, 3]) {
      const { packets, simulation } = capture({ seed, durationMs: 60_000, attacks: ATTACK_NAMES });
      const flood = simulation.labels().find((label) => label.attack === 'syn-flood');
      const problems = tcpProblems(packets.filter((packet) => !isLabelled(packet, flood)));
      expect(problems, `seed ${seed}`).toEqual([]);
    }
  });

  it('would not pass the check with a packet lost, repeated, swapped or without its handshake', () => {
    const { packets } = capture({ durationMs: 10_000 });
    const isModbusAnswer = (packet: SeenPacket): boolean => tcpOf(packet.frame)?.sourcePort === 502;
    const index = packets.findIndex((packet, at) => at > 500 && isModbusAnswer(packet));
    const answer = packets[index] as SeenPacket;
    const request = packets[index - 1] as SeenPacket;
    expect(tcpProblems(packets)).toEqual([]);
    expect(tcpProblems(packets.toSpliced(index, 1))).not.toEqual([]);
    expect(tcpProblems(packets.toSpliced(index, 0, answer))).not.toEqual([]);
    expect(tcpProblems(packets.toSpliced(index - 1, 2, answer, request))).not.toEqual([]);
    expect(tcpProblems(packets.slice(index))).not.toEqual([]);
  });
});

describe('labels of a simulated plant', () => {
  const { packets, simulation } = capture({ attacks: ATTACK_NAMES, durationMs: 120_000, seed: 5 });
  const labels = simulation.labels();
  const labelled = (label: AttackLabel): SeenPacket[] =>
    packets.filter((packet) => isLabelled(packet, label));

  it('name every attack that was asked for', () => {
    expect(new Set(labels.map((label) => label.attack))).toEqual(new Set(ATTACK_NAMES));
    expect(labels.map((label) => label.variant).sort()).toEqual(
      ['direct', 'horizontal', 'http', 'new-host', 'smb-spread', 'spoofed', 'ssh', 'vertical'].sort(),
    );
  });

  it('have the times and the number of their packets', () => {
    for (const label of labels) {
      const own = labelled(label);
      expect(own).toHaveLength(label.packets);
      expect(own[0]?.atNs).toBe(label.startNs);
      expect(own.at(-1)?.atNs).toBe(label.endNs);
    }
  });

  it('hold exactly the packets from and to a computer that only attacks', () => {
    const strangers = labels.filter((label) => !['ransomware', 'syn-flood'].includes(label.attack));
    expect(strangers).toHaveLength(6);
    for (const label of strangers) {
      const attacker = label.attackers[0] ?? '';
      const involved = packets.filter(({ frame }) => addressesOf(frame).includes(attacker));
      expect(numbers(labelled(label)), label.variant).toEqual(numbers(involved));
    }
  });

  it('hold exactly the packets from and to spoofed sources, and how the router found the victim', () => {
    const flood = labels.find((label) => label.attack === 'syn-flood') as AttackLabel;
    const isSpoofed = (address: string): boolean => /^(192\.0\.2|198\.51\.100|203\.0\.113)\./.test(address);
    const involved = packets.filter(({ frame }) => addressesOf(frame).some(isSpoofed));
    const own = labelled(flood).filter(({ frame }) => addressesOf(frame).some(isSpoofed));
    expect(numbers(own)).toEqual(numbers(involved));
    expect(flood.packets - own.length).toBeLessThanOrEqual(2);
  });

  it('hold the whole spread of the ransomware and nothing but it', () => {
    const label = labels.find((found) => found.attack === 'ransomware') as AttackLabel;
    const [patientZero = ''] = label.attackers;
    const own = labelled(label);
    for (const { frame } of own) expect(addressesOf(frame)).toContain(patientZero);
    const opened = (packet: SeenPacket): string[] => {
      const tcp = tcpOf(packet.frame);
      const isAttempt =
        tcp?.syn === true && !tcp.ack && tcp.source === patientZero && tcp.destinationPort === 445;
      return isAttempt ? [tcp.destination] : [];
    };
    expect(own.flatMap(opened).sort()).toEqual([...label.victims].sort());
    // Its one honest SMB partner is the file server: attempts on all others are the attack's.
    const others = packets.filter((packet) => !isLabelled(packet, label)).flatMap(opened);
    expect(others.filter((address) => address !== '10.0.0.11')).toEqual([]);
    expect(label.victims.length).toBeGreaterThan(15);
  });

  it('never claim a packet twice', () => {
    const claims = labels.reduce((sum, label) => sum + label.packets, 0);
    const claimed = new Set(labels.flatMap((label) => numbers(labelled(label))));
    expect(claimed.size).toBe(claims);
  });
});

function numbers(packets: readonly SeenPacket[]): number[] {
  return packets.map((packet) => packet.number);
}

function isLabelled(packet: SeenPacket, label: AttackLabel | undefined): boolean {
  return label?.ranges.some(([first, last]) => first <= packet.number && packet.number <= last) === true;
}

interface SeenEnd {
  next: number;
  finished: boolean;
}

interface SeenConnection {
  readonly client: SeenEnd;
  readonly server: SeenEnd;
  readonly clientName: string;
  state: 'syn' | 'syn-ack' | 'open' | 'reset';
}

/** Follows every connection by the book; returns what is wrong, with packet numbers. */
function tcpProblems(packets: readonly SeenPacket[]): string[] {
  const connections = new Map<string, SeenConnection>();
  const problems: string[] = [];
  for (const { number, frame } of packets) {
    const tcp = tcpOf(frame);
    if (tcp === null) continue;
    const problem = follow(connections, tcp);
    if (problem !== null) problems.push(`packet ${number}: ${problem}`);
  }
  return problems;
}

function follow(connections: Map<string, SeenConnection>, tcp: SeenTcp): string | null {
  const source = `${tcp.source}:${tcp.sourcePort}`;
  const destination = `${tcp.destination}:${tcp.destinationPort}`;
  const key = [source, destination].sort().join(' ');
  if (tcp.syn && !tcp.ack) {
    if (connections.has(key)) return 'a port pair is used again';
    const client = { next: (tcp.sequence + 1) >>> 0, finished: false };
    connections.set(key, { client, server: { next: 0, finished: false }, clientName: source, state: 'syn' });
    return tcp.payloadBytes === 0 ? null : 'data in a SYN';
  }
  const connection = connections.get(key);
  if (connection === undefined) return 'no handshake';
  const isClient = source === connection.clientName;
  const own = isClient ? connection.client : connection.server;
  const peer = isClient ? connection.server : connection.client;
  if (connection.state === 'reset') return 'a segment after a reset';
  if (tcp.ack && tcp.acknowledgment !== peer.next) return 'acknowledges something else than the next byte';
  if (tcp.rst) {
    connection.state = 'reset';
    return null;
  }
  if (tcp.syn) {
    if (connection.state !== 'syn' || isClient) return 'an unexpected SYN-ACK';
    connection.state = 'syn-ack';
    own.next = (tcp.sequence + 1) >>> 0;
    return null;
  }
  if (connection.state === 'syn') return 'a segment before the SYN-ACK';
  if (connection.state === 'syn-ack' && !isClient) return 'the server speaks before the handshake is done';
  connection.state = 'open';
  const isKeepAlive = tcp.payloadBytes === 0 && tcp.sequence === (own.next - 1) >>> 0 && !own.finished;
  if (tcp.sequence !== own.next && !isKeepAlive) return 'bytes are missing or repeated';
  if (own.finished && tcp.payloadBytes > 0) return 'data behind a FIN';
  if (isKeepAlive) return null;
  own.next = (own.next + tcp.payloadBytes + (tcp.fin ? 1 : 0)) >>> 0;
  own.finished ||= tcp.fin;
  return null;
}
