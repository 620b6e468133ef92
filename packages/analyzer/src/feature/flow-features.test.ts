/**
 * The flow features against their slow, obvious twin: every one of them computed from the list of a flow's packets as its formula says, by hand
 * for one flow and by the twin for any.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rig } from '../engine-testing.ts';
import { tcp, udp, type Packet } from '../packet/frame-testing.ts';
import { FLOW_FEATURES, flowFeatures } from './flow-features.ts';
import { twin, type Plain, type Vector } from './flow-features-testing.ts';
import { LEVEL1_FEATURES, level1Features } from './level1-features.ts';

const CLIENT = '10.0.0.1:40000';
const SERVER = '10.0.0.2:502';

function frameOf(packet: Plain, isTcp: boolean): Packet {
  const [from, to] = packet.isForward ? [CLIENT, SERVER] : [SERVER, CLIENT];
  const { payload, options, window } = packet;
  return {
    timeUs: packet.at,
    frame: isTcp ? tcp(from, to, packet.flags, { payload, options, window }) : udp(from, to, { payload }),
  };
}

/** What the analyzer makes of them: both vectors of the only flow. */
function measured(packets: readonly Plain[], isTcp: boolean): Vector {
  const vectors: Vector[] = [];
  const rig = new Rig({
    flowEnded: (flow, values) => {
      const out = new Float64Array(FLOW_FEATURES.length + LEVEL1_FEATURES.length);
      flowFeatures(values, flow.row, out, 0);
      level1Features(values, flow.row, flow.serverPort, out, FLOW_FEATURES.length);
      vectors.push(Object.fromEntries([...FLOW_FEATURES, ...LEVEL1_FEATURES].map(({ name }, i) => [name, out[i] as number]))); // prettier-ignore
    },
  });
  rig.add(packets.map((packet) => frameOf(packet, isTcp))).finish();
  expect(vectors).toHaveLength(1);
  return vectors[0] as Vector;
}

/**
 * Relative 1e-9. A deviation of nearly equal gaps is the small difference of two large squares, so there 1e-7 of the mean gap, a tenth of a
 * microsecond in a second, is all that doubles can promise.
 */
function expectEqual(ours: Vector, theirs: Vector): void {
  expect(Object.keys(ours).sort()).toEqual(Object.keys(theirs).sort());
  for (const [name, value] of Object.entries(theirs)) {
    const got = ours[name] as number;
    const spread = /std|var/i.test(name) ? 1e-7 * scaleOf(name, theirs) : 0;
    const tolerance = 1e-9 * Math.max(Math.abs(value), Math.abs(got)) + spread;
    expect(Math.abs(got - value), `${name}: ${got} is not ${value}`).toBeLessThanOrEqual(tolerance);
  }
}

function scaleOf(name: string, vector: Vector): number {
  const scale = name.includes('iat') ? vector['flow_iat_max'] : vector['packet_len_max'];
  return Math.max(1, scale as number) * (name.includes('iat') ? 4 : 1);
}

const packet = (at: number, way: '>' | '<', flags: string, payload = 0, options = 0, window = 1000): Plain => ({
  at,
  isForward: way === '>',
  flags,
  payload,
  options,
  window,
}); // prettier-ignore

describe('the features of a flow', () => {
  /** A handshake, a question, an answer in four pieces, a pause of two seconds, and the end. */
  const golden: readonly Plain[] = [
    packet(0, '>', 'S', 0, 20, 64_240),
    packet(1000, '<', 'SA', 0, 20, 28_960),
    packet(2000, '>', 'A', 0, 0, 502),
    packet(3000, '>', 'PA', 100),
    packet(10_000, '<', 'A', 1400),
    packet(11_000, '<', 'A', 1400),
    packet(12_000, '<', 'AE', 1400),
    packet(14_000, '<', 'PA', 200),
    packet(2_014_000, '>', 'FAU', 0),
    packet(2_015_000, '<', 'FA', 0),
  ];

  it('are those that a person computes from its packets', () => {
    const vector = measured(golden, true);
    expect(vector).toMatchObject({
      duration: 2_015_000,
      spkts: 4,
      dpkts: 6,
      // 60 + 40 + 140 + 40, and 60 + 3 × 1440 + 240 + 40
      sbytes: 280,
      dbytes: 4660,
      smean: 70,
      fwd_len_tot: 100,
      bwd_len_tot: 4400,
      fwd_header_len_mean: 45,
      fwd_header_len_max: 60,
      fwd_header_len_min: 40,
      flow_iat_max: 2_000_000,
      flow_iat_min: 1000,
      idle_mean: 2_000_000,
      active_mean: (14_000 + 1000) / 2,
      active_max: 14_000,
      subflow_fwd_packets: 2,
      subflow_fwd_bytes: 50,
      bwd_bulk_size_avg: 4400,
      bwd_bulk_duration_avg: 4000,
      bwd_bulk_rate_avg: 1_100_000,
      bwd_avg_packets_bulk: 4,
      fwd_avg_packets_bulk: 0,
      init_fwd_win_bytes: 64_240,
      init_bwd_win_bytes: 28_960,
      syn_flag_count: 2,
      fin_flag_count: 2,
      ack_flag_count: 9,
      psh_flag_count: 2,
      fwd_urg_flags: 1,
      bwd_urg_flags: 0,
      ece_flag_count: 1,
      down_up_ratio: 4660 / 280,
      'Destination Port': 502,
      act_data_pkt_fwd: 1,
      'Fwd IAT Min': 1000,
    });
    expect(vector['rate']).toBeCloseTo(9 / 2.015, 9);
    expect(vector['sload']).toBeCloseTo((280 * 8) / 2.015, 9);
    expectEqual(vector, twin(golden, true));
  });

  it('are those of the twin for one packet, whose rates are 0', () => {
    const single = [packet(0, '>', 'S', 0, 0, 1024)];
    const vector = measured(single, true);
    expectEqual(vector, twin(single, true));
    for (const name of ['rate', 'srate', 'sload', 'flow_pkts_per_sec', 'Flow Packets/s'])
      expect(vector[name], name).toBe(0);
  });

  it('are those of the twin for bulks that a pause or the other side interrupts', () => {
    const data = (at: number, way: '>' | '<'): Plain => packet(at, way, 'A', 10);
    const broken = [
      ...[0, 1, 2, 3].map((i) => data(i * 1000, '>')),
      data(5000, '<'),
      ...[6, 7, 8].map((i) => data(i * 1000, '>')),
      ...[2000, 2001, 2002, 2003, 2004].map((i) => data(i * 1000, '>')),
    ];
    const vector = measured(broken, true);
    expect(vector).toMatchObject({ fwd_avg_packets_bulk: 4.5, fwd_bulk_size_avg: 45 });
    expectEqual(vector, twin(broken, true));
  });

  it('do not turn negative when a packet comes late', () => {
    const late = [packet(5000, '>', 'A'), packet(3000, '>', 'A'), packet(6000, '<', 'A')];
    const vector = measured(late, true);
    expect(vector).toMatchObject({ duration: 1000, flow_iat_min: 0, fwd_iat_min: 0, fwd_iat_tot: 0 });
    for (const [name, value] of Object.entries(vector)) expect(value, name).toBeGreaterThanOrEqual(0);
  });

  it('are those of the twin for any flow', () => {
    const one = fc.record({
      gap: fc.oneof(fc.nat(5000), fc.nat(3_000_000), fc.constantFrom(0, 1_000_000, 1_000_001)),
      isForward: fc.boolean(),
      payload: fc.oneof(fc.constant(0), fc.nat(1400)),
      flags: fc.constantFrom('A', 'PA', 'S', 'SA', 'AU', 'PAE', 'AC', 'PAUEC'),
      options: fc.constantFrom(0, 4, 12, 40),
      window: fc.nat(65_535),
    });
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 40 }), fc.boolean(), (steps, isTcp) => {
        let at = 0;
        const packets = steps.map(({ gap, ...rest }, i): Plain => {
          at += i === 0 ? 0 : gap;
          // Who opens the flow is the client.
          return i === 0 ? { ...rest, at, isForward: true, flags: 'S' } : { ...rest, at };
        });
        expectEqual(measured(packets, isTcp), twin(packets, isTcp));
      }),
      { numRuns: 400 },
    );
  });

  it('say their unit: times in microseconds, rates per second', () => {
    const unit = Object.fromEntries(
      [...FLOW_FEATURES, ...LEVEL1_FEATURES].map((one) => [one.name, one.unit]),
    );
    for (const [name, value] of Object.entries(unit)) {
      if (/iat|duration|active_|idle_|IAT/i.test(name)) expect(value, name).toBe('µs');
      if (/rate$|_per_sec$|\/s$/.test(name)) expect(['1/s', 'bytes/s'], name).toContain(value);
      if (/load$/.test(name)) expect(value, name).toBe('bit/s');
      if (/flag/i.test(name)) expect(value, name).toBe('count');
    }
    // Twice as slow: times double, rates halve, the rest stays.
    const slow = golden.map((one) => ({ ...one, at: one.at * 2 }));
    const [before, after] = [measured(golden, true), measured(slow, true)];
    expect(after['duration']).toBe(2 * (before['duration'] as number));
    expect(after['rate']).toBeCloseTo((before['rate'] as number) / 2, 9);
    expect(after['bwd_bulk_rate_avg']).toBe((before['bwd_bulk_rate_avg'] as number) / 2);
    expect(after['sbytes']).toBe(before['sbytes']);
  });
});
