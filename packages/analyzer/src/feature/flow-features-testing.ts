/** For tests: the slow, obvious twin of the flow features: every one of them from the list of a flow's packets, as its formula says. */

/** One packet as the formulas speak of it. */
export interface Plain {
  readonly at: number;
  readonly isForward: boolean;
  readonly payload: number;
  readonly flags: string;
  readonly options: number;
  readonly window: number;
}

export type Vector = Readonly<Record<string, number>>;

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
export function twin(packets: readonly Plain[], isTcp: boolean): Vector {
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
