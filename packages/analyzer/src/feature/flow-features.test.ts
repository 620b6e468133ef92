/**
 * The flow features against their slow, obvious twin: every one of them computed from the list of a flow's packets as its formula says, by hand
 * for one flow and by the twin for any.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Rig } from '../engine-testing.ts';
import { tcp, udp, type Packet } from '../packet/frame-testing.ts';
import { FLOW_FEATURES, flowFeatures } from './flow-features.ts';
import { LEVEL1_FEATURES, level1Features } from './level1-features.ts';

/** One packet as the formulas speak of it. */
interface Plain {
  readonly at: number;
  readonly isForward: boolean;
  readonly payload: number;
  readonly flags: string;
  readonly options: number;
  readonly window: number;
}

type Vector = Readonly<Record<string, number>>;

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

const sum = (list: readonly number[]): number => list.reduce((total, one) => total + one, 0);
const over = (a: number, b: number): number => (b > 0 ? a / b : 0);
const mean = (list: readonly number[]): number => over(sum(list), list.length);
const most = (list: readonly number[]): number => (list.length === 0 ? 0 : Math.max(...list));
const least = (list: readonly number[]): number => (list.length === 0 ? 0 : Math.min(...list));
const variance = (list: readonly number[]): number => mean(list.map((one) => (one - mean(list)) ** 2));
const deviation = (list: readonly number[]): number => Math.sqrt(variance(list));
const gapsOf = (list: readonly Plain[]): number[] => list.slice(1).map((one, i) => one.at - (list[i] as Plain).at); // prettier-ignore

const PAUSE_US = 1_000_000;

/** Runs of at least four packets with payload one way, not interrupted by the other way's payload nor by a pause. */
function bulksOf(packets: readonly Plain[], isForward: boolean): Plain[][] {
  const runs: Plain[][] = [];
  for (const packet of packets.filter(({ payload }) => payload > 0)) {
    const run = runs.at(-1);
    const last = run?.at(-1);
    if (last?.isForward === packet.isForward && packet.at - last.at <= PAUSE_US) run?.push(packet);
    else runs.push([packet]);
  }
  return runs.filter((run) => run.length >= 4 && run[0]?.isForward === isForward);
}

/** The twin: names are those of the schema, each line its formula. */
function twin(packets: readonly Plain[], isTcp: boolean): Vector {
  const forward = packets.filter(({ isForward }) => isForward);
  const backward = packets.filter(({ isForward }) => !isForward);
  const headerOf = (one: Plain): number => 20 + (isTcp ? 20 + one.options : 8);
  const lengthOf = (one: Plain): number => headerOf(one) + one.payload;
  const flagged = (list: readonly Plain[], flag: string): number =>
    isTcp ? list.filter(({ flags }) => flags.includes(flag)).length : 0;
  const payloads = (list: readonly Plain[]): number[] => list.map(({ payload }) => payload);
  const lengths = packets.map(lengthOf);
  const forwardLengths = forward.map(lengthOf);
  const backwardLengths = backward.map(lengthOf);
  const duration = (packets.at(-1)?.at ?? 0) - (packets[0]?.at ?? 0);
  const perSecond = (amount: number): number => over(amount, duration / 1e6);
  const gaps = gapsOf(packets);
  const pauses = gaps.filter((gap) => gap > PAUSE_US);
  const periods: Plain[][] = [];
  packets.forEach((packet, i) => {
    if (i === 0 || (gaps[i - 1] as number) > PAUSE_US) periods.push([packet]);
    else periods.at(-1)?.push(packet);
  });
  const active = periods.map((period) => (period.at(-1) as Plain).at - (period[0] as Plain).at);
  const subflows = 1 + pauses.length;
  const bulk = (isForward: boolean) => {
    const bulks = bulksOf(packets, isForward);
    const bytes = sum(bulks.map((one) => sum(payloads(one))));
    const us = sum(bulks.map((one) => (one.at(-1) as Plain).at - (one[0] as Plain).at));
    return {
      rate: over(bytes, us / 1e6),
      size: over(bytes, bulks.length),
      duration: over(us, bulks.length),
      packets: over(sum(bulks.map((one) => one.length)), bulks.length),
    };
  };
  const fb = bulk(true);
  const bb = bulk(false);
  const fwd = gapsOf(forward);
  const bwd = gapsOf(backward);
  const window = (list: readonly Plain[]): number => (isTcp ? (list[0]?.window ?? 0) : 0);
  return {
    duration,
    spkts: forward.length,
    dpkts: backward.length,
    sbytes: sum(forwardLengths),
    dbytes: sum(backwardLengths),
    sload: perSecond(sum(forwardLengths) * 8),
    smean: mean(forwardLengths),
    dmean: mean(backwardLengths),
    flow_iat_mean: mean(gaps),
    flow_iat_std: deviation(gaps),
    fwd_psh_flags: flagged(forward, 'P'),
    bwd_psh_flags: flagged(backward, 'P'),
    fwd_urg_flags: flagged(forward, 'U'),
    bwd_urg_flags: flagged(backward, 'U'),
    packet_len_mean: mean(lengths),
    packet_len_std: deviation(lengths),
    packet_len_var: variance(lengths),
    fin_flag_count: flagged(packets, 'F'),
    syn_flag_count: flagged(packets, 'S'),
    rst_flag_count: flagged(packets, 'R'),
    psh_flag_count: flagged(packets, 'P'),
    ack_flag_count: flagged(packets, 'A'),
    urg_flag_count: flagged(packets, 'U'),
    dload: perSecond(sum(backwardLengths) * 8),
    rate: perSecond(packets.length - 1),
    srate: perSecond(Math.max(0, forward.length - 1)),
    drate: perSecond(Math.max(0, backward.length - 1)),
    spkts_ratio: forward.length / packets.length,
    sbytes_ratio: sum(forwardLengths) / sum(lengths),
    flow_iat_max: most(gaps),
    flow_iat_min: least(gaps),
    packet_len_max: most(lengths),
    packet_len_min: least(lengths),
    fwd_len_max: most(forwardLengths),
    fwd_len_min: least(forwardLengths),
    fwd_len_tot: sum(payloads(forward)),
    bwd_len_max: most(backwardLengths),
    bwd_len_min: least(backwardLengths),
    bwd_len_tot: sum(payloads(backward)),
    ece_flag_count: flagged(packets, 'E'),
    cwr_flag_count: flagged(packets, 'C'),
    fwd_header_len_mean: mean(forward.map(headerOf)),
    bwd_header_len_mean: mean(backward.map(headerOf)),
    fwd_iat_mean: mean(fwd),
    fwd_iat_std: deviation(fwd),
    fwd_iat_max: most(fwd),
    fwd_iat_min: least(fwd),
    fwd_iat_tot: sum(fwd),
    bwd_iat_mean: mean(bwd),
    bwd_iat_std: deviation(bwd),
    bwd_iat_max: most(bwd),
    bwd_iat_min: least(bwd),
    bwd_iat_tot: sum(bwd),
    active_mean: mean(active),
    active_max: most(active),
    idle_mean: mean(pauses),
    idle_max: most(pauses),
    fwd_len_std: deviation(forwardLengths),
    subflow_fwd_packets: forward.length / subflows,
    subflow_fwd_bytes: sum(payloads(forward)) / subflows,
    subflow_bwd_packets: backward.length / subflows,
    subflow_bwd_bytes: sum(payloads(backward)) / subflows,
    fwd_bulk_rate_avg: fb.rate,
    fwd_bulk_size_avg: fb.size,
    fwd_bulk_duration_avg: fb.duration,
    bwd_bulk_rate_avg: bb.rate,
    bwd_bulk_size_avg: bb.size,
    bwd_bulk_duration_avg: bb.duration,
    init_fwd_win_bytes: window(forward),
    init_bwd_win_bytes: window(backward),
    bwd_len_std: deviation(backwardLengths),
    fwd_header_len_max: most(forward.map(headerOf)),
    fwd_header_len_min: least(forward.map(headerOf)),
    bwd_header_len_max: most(backward.map(headerOf)),
    bwd_header_len_min: least(backward.map(headerOf)),
    flow_pkts_per_sec: perSecond(packets.length),
    flow_bytes_per_sec: perSecond(sum(lengths)),
    down_up_ratio: over(sum(backwardLengths), sum(forwardLengths)),
    avg_packet_size: mean(payloads(packets)),
    avg_fwd_segment_size: mean(payloads(forward)),
    avg_bwd_segment_size: mean(payloads(backward)),
    fwd_avg_packets_bulk: fb.packets,
    bwd_avg_packets_bulk: bb.packets,

    'Packet Length Std': deviation(payloads(packets)),
    'Subflow Fwd Bytes': sum(payloads(forward)) / subflows,
    'Fwd Packet Length Max': most(payloads(forward)),
    'Avg Fwd Segment Size': mean(payloads(forward)),
    'ACK Flag Count': flagged(packets, 'A'),
    'Packet Length Variance': variance(payloads(packets)),
    'PSH Flag Count': flagged(packets, 'P'),
    'Bwd Packet Length Max': most(payloads(backward)),
    act_data_pkt_fwd: forward.filter(({ payload }) => payload > 0).length,
    'Total Length of Fwd Packets': sum(payloads(forward)),
    'Fwd Packet Length Std': deviation(payloads(forward)),
    'Fwd Packets/s': perSecond(forward.length),
    'Subflow Bwd Bytes': sum(payloads(backward)) / subflows,
    'Destination Port': 502,
    Init_Win_bytes_forward: window(forward),
    'Subflow Fwd Packets': forward.length / subflows,
    'Fwd IAT Min': least(fwd),
    'Packet Length Mean': mean(payloads(packets)),
    'Total Length of Bwd Packets': sum(payloads(backward)),
    'Bwd Packet Length Mean': mean(payloads(backward)),
    'Bwd Packet Length Min': least(payloads(backward)),
    'Flow Duration': duration,
    'Flow Packets/s': perSecond(packets.length),
  };
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
