/**
 * The 83 flow features, in the order that the schema fixes (`docs/features.md`): what each is, its unit and its formula. Definitions are corrected
 * where the tools that made these names famous are wrong:
 * - forward is who opened the flow, never the smaller address;
 * - every time is in microseconds, every rate per second, and a flow without duration has rates of 0, not infinity;
 * - lengths are those of IP packets (and, where it says payload, of the transport's payload), never of padded frames;
 * - variance and deviation are those of the population; divisions are not of integers;
 * - subflows and bulks are counted by their pauses, the last, open one included; initial windows are TCP windows.
 */
import {
  ACK_COUNT,
  ACTIVE,
  ACTIVE_COUNT,
  ACTIVE_MAX,
  ACTIVE_START_US,
  BACKWARD,
  BOTH_IAT,
  BOTH_IAT_MAX,
  BOTH_IAT_MIN,
  BOTH_IAT_SQUARED,
  BULKS,
  BULK_BYTES,
  BULK_DURATION,
  BULK_PACKETS,
  BYTES,
  BYTES_MAX,
  BYTES_MIN,
  BYTES_SQUARED,
  CWR_COUNT,
  ECE_COUNT,
  END_US,
  FIN_COUNT,
  FORWARD,
  HEADER,
  HEADER_MAX,
  HEADER_MIN,
  IAT,
  IAT_MAX,
  IAT_MIN,
  IAT_SQUARED,
  IDLE,
  IDLE_COUNT,
  IDLE_MAX,
  INITIAL_WINDOW,
  PACKETS,
  PAYLOAD,
  PSH,
  PSH_COUNT,
  RST_COUNT,
  START_US,
  SYN_COUNT,
  URG,
  URG_COUNT,
} from '../flow/flow-columns.ts';

export interface FeatureDefinition {
  readonly name: string;
  readonly unit:
    'µs' | 'bytes' | 'packets' | '1/s' | 'bit/s' | 'bytes/s' | 'ratio' | 'count' | 'port' | 'bits' | 'bytes²';
  readonly formula: string;
}

/** A row of the slab and where it begins. */
export interface FlowRow {
  readonly values: Float64Array;
  readonly row: number;
}

type Compute = (v: Float64Array, row: number) => number;
type Entry = readonly [name: string, unit: FeatureDefinition['unit'], formula: string, compute: Compute];

const F = FORWARD;
const B = BACKWARD;

const ENTRIES: readonly Entry[] = [
  ['duration', 'µs', 'time of last packet − time of first', duration],
  ['spkts', 'packets', 'forward packets', at(F + PACKETS)],
  ['dpkts', 'packets', 'backward packets', at(B + PACKETS)],
  ['sbytes', 'bytes', 'sum of forward IP packet lengths', at(F + BYTES)],
  ['dbytes', 'bytes', 'sum of backward IP packet lengths', at(B + BYTES)],
  ['sload', 'bit/s', 'sbytes × 8 / duration', (v, r) => 8 * rate(v, r, get(v, r + F + BYTES))],
  ['smean', 'bytes', 'sbytes / spkts', mean(F, BYTES)],
  ['dmean', 'bytes', 'dbytes / dpkts', mean(B, BYTES)],
  ['flow_iat_mean', 'µs', 'mean gap between packets of either direction', bothIatMean],
  ['flow_iat_std', 'µs', 'deviation of those gaps', bothIatStd],
  ['fwd_psh_flags', 'count', 'forward packets with PSH', at(F + PSH)],
  ['bwd_psh_flags', 'count', 'backward packets with PSH', at(B + PSH)],
  ['fwd_urg_flags', 'count', 'forward packets with URG', at(F + URG)],
  ['bwd_urg_flags', 'count', 'backward packets with URG', at(B + URG)],
  ['packet_len_mean', 'bytes', 'mean IP packet length, both directions', bothMean(BYTES)],
  ['packet_len_std', 'bytes', 'deviation of IP packet lengths', (v, r) => Math.sqrt(bothVariance(BYTES, BYTES_SQUARED)(v, r))],
  ['packet_len_var', 'bytes²', 'variance of IP packet lengths', bothVariance(BYTES, BYTES_SQUARED)],
  ['fin_flag_count', 'count', 'packets with FIN', at(FIN_COUNT)],
  ['syn_flag_count', 'count', 'packets with SYN', at(SYN_COUNT)],
  ['rst_flag_count', 'count', 'packets with RST', at(RST_COUNT)],
  ['psh_flag_count', 'count', 'packets with PSH', at(PSH_COUNT)],
  ['ack_flag_count', 'count', 'packets with ACK', at(ACK_COUNT)],
  ['urg_flag_count', 'count', 'packets with URG', at(URG_COUNT)],
  ['dload', 'bit/s', 'dbytes × 8 / duration', (v, r) => 8 * rate(v, r, get(v, r + B + BYTES))],
  ['rate', '1/s', '(spkts + dpkts − 1) / duration', (v, r) => rate(v, r, packets(v, r) - 1)],
  ['srate', '1/s', '(spkts − 1) / duration', (v, r) => rate(v, r, Math.max(0, get(v, r + F + PACKETS) - 1))],
  ['drate', '1/s', '(dpkts − 1) / duration', (v, r) => rate(v, r, Math.max(0, get(v, r + B + PACKETS) - 1))],
  ['spkts_ratio', 'ratio', 'spkts / (spkts + dpkts)', (v, r) => share(get(v, r + F + PACKETS), packets(v, r))],
  ['sbytes_ratio', 'ratio', 'sbytes / (sbytes + dbytes)', (v, r) => share(get(v, r + F + BYTES), bytes(v, r))],
  ['flow_iat_max', 'µs', 'longest gap between packets', at(BOTH_IAT_MAX)],
  ['flow_iat_min', 'µs', 'shortest gap between packets', at(BOTH_IAT_MIN)],
  ['packet_len_max', 'bytes', 'longest IP packet', (v, r) => Math.max(get(v, r + F + BYTES_MAX), get(v, r + B + BYTES_MAX))],
  ['packet_len_min', 'bytes', 'shortest IP packet', smallest],
  ['fwd_len_max', 'bytes', 'longest forward IP packet', at(F + BYTES_MAX)],
  ['fwd_len_min', 'bytes', 'shortest forward IP packet', at(F + BYTES_MIN)],
  ['fwd_len_tot', 'bytes', 'sum of forward payload', at(F + PAYLOAD)],
  ['bwd_len_max', 'bytes', 'longest backward IP packet', at(B + BYTES_MAX)],
  ['bwd_len_min', 'bytes', 'shortest backward IP packet', at(B + BYTES_MIN)],
  ['bwd_len_tot', 'bytes', 'sum of backward payload', at(B + PAYLOAD)],
  ['ece_flag_count', 'count', 'packets with ECE', at(ECE_COUNT)],
  ['cwr_flag_count', 'count', 'packets with CWR', at(CWR_COUNT)],
  ['fwd_header_len_mean', 'bytes', 'mean of forward IP and transport headers', mean(F, HEADER)],
  ['bwd_header_len_mean', 'bytes', 'mean of backward IP and transport headers', mean(B, HEADER)],
  ['fwd_iat_mean', 'µs', 'mean gap between forward packets', iatMean(F)],
  ['fwd_iat_std', 'µs', 'deviation of those gaps', iatStd(F)],
  ['fwd_iat_max', 'µs', 'longest of those gaps', at(F + IAT_MAX)],
  ['fwd_iat_min', 'µs', 'shortest of those gaps', at(F + IAT_MIN)],
  ['fwd_iat_tot', 'µs', 'sum of those gaps', at(F + IAT)],
  ['bwd_iat_mean', 'µs', 'mean gap between backward packets', iatMean(B)],
  ['bwd_iat_std', 'µs', 'deviation of those gaps', iatStd(B)],
  ['bwd_iat_max', 'µs', 'longest of those gaps', at(B + IAT_MAX)],
  ['bwd_iat_min', 'µs', 'shortest of those gaps', at(B + IAT_MIN)],
  ['bwd_iat_tot', 'µs', 'sum of those gaps', at(B + IAT)],
  ['active_mean', 'µs', 'mean length of periods without a pause above 1 s', activeMean],
  ['active_max', 'µs', 'longest such period', (v, r) => Math.max(get(v, r + ACTIVE_MAX), lastActive(v, r))],
  ['idle_mean', 'µs', 'mean of pauses above 1 s', (v, r) => share(get(v, r + IDLE), get(v, r + IDLE_COUNT))],
  ['idle_max', 'µs', 'longest pause above 1 s', at(IDLE_MAX)],
  ['fwd_len_std', 'bytes', 'deviation of forward IP packet lengths', std(F)],
  ['subflow_fwd_packets', 'packets', 'spkts / (1 + pauses above 1 s)', (v, r) => get(v, r + F + PACKETS) / subflows(v, r)],
  ['subflow_fwd_bytes', 'bytes', 'fwd_len_tot / (1 + pauses above 1 s)', (v, r) => get(v, r + F + PAYLOAD) / subflows(v, r)],
  ['subflow_bwd_packets', 'packets', 'dpkts / (1 + pauses above 1 s)', (v, r) => get(v, r + B + PACKETS) / subflows(v, r)],
  ['subflow_bwd_bytes', 'bytes', 'bwd_len_tot / (1 + pauses above 1 s)', (v, r) => get(v, r + B + PAYLOAD) / subflows(v, r)],
  ['fwd_bulk_rate_avg', 'bytes/s', 'payload of forward bulks / their duration', bulkRate(F)],
  ['fwd_bulk_size_avg', 'bytes', 'payload of forward bulks / their number', perBulk(F, BULK_BYTES)],
  ['fwd_bulk_duration_avg', 'µs', 'duration of forward bulks / their number', perBulk(F, BULK_DURATION)],
  ['bwd_bulk_rate_avg', 'bytes/s', 'payload of backward bulks / their duration', bulkRate(B)],
  ['bwd_bulk_size_avg', 'bytes', 'payload of backward bulks / their number', perBulk(B, BULK_BYTES)],
  ['bwd_bulk_duration_avg', 'µs', 'duration of backward bulks / their number', perBulk(B, BULK_DURATION)],
  ['init_fwd_win_bytes', 'bytes', 'TCP window of the first forward packet, 0 without TCP', (v, r) => Math.max(0, get(v, r + F + INITIAL_WINDOW))],
  ['init_bwd_win_bytes', 'bytes', 'TCP window of the first backward packet, 0 without', (v, r) => Math.max(0, get(v, r + B + INITIAL_WINDOW))],
  ['bwd_len_std', 'bytes', 'deviation of backward IP packet lengths', std(B)],
  ['fwd_header_len_max', 'bytes', 'longest forward headers', at(F + HEADER_MAX)],
  ['fwd_header_len_min', 'bytes', 'shortest forward headers', at(F + HEADER_MIN)],
  ['bwd_header_len_max', 'bytes', 'longest backward headers', at(B + HEADER_MAX)],
  ['bwd_header_len_min', 'bytes', 'shortest backward headers', at(B + HEADER_MIN)],
  ['flow_pkts_per_sec', '1/s', '(spkts + dpkts) / duration', (v, r) => rate(v, r, packets(v, r))],
  ['flow_bytes_per_sec', 'bytes/s', '(sbytes + dbytes) / duration', (v, r) => rate(v, r, bytes(v, r))],
  ['down_up_ratio', 'ratio', 'dbytes / sbytes', (v, r) => share(get(v, r + B + BYTES), get(v, r + F + BYTES))],
  ['avg_packet_size', 'bytes', '(fwd_len_tot + bwd_len_tot) / (spkts + dpkts)', bothMean(PAYLOAD)],
  ['avg_fwd_segment_size', 'bytes', 'fwd_len_tot / spkts', mean(F, PAYLOAD)],
  ['avg_bwd_segment_size', 'bytes', 'bwd_len_tot / dpkts', mean(B, PAYLOAD)],
  ['fwd_avg_packets_bulk', 'packets', 'packets of forward bulks / their number', perBulk(F, BULK_PACKETS)],
  ['bwd_avg_packets_bulk', 'packets', 'packets of backward bulks / their number', perBulk(B, BULK_PACKETS)],
]; // prettier-ignore

export const FLOW_FEATURES: readonly FeatureDefinition[] = ENTRIES.map(([name, unit, formula]) => ({
  name,
  unit,
  formula,
}));

/** Writes the 83 features of a settled flow into `out[offset …)`. */
export function flowFeatures(values: Float64Array, row: number, out: Float64Array, offset: number): void {
  for (let i = 0; i < ENTRIES.length; i++) out[offset + i] = (ENTRIES[i] as Entry)[3](values, row);
}

function get(v: Float64Array, index: number): number {
  return v[index] as number;
}

function at(column: number): Compute {
  return (v, row) => get(v, row + column);
}

function duration(v: Float64Array, row: number): number {
  return get(v, row + END_US) - get(v, row + START_US);
}

function packets(v: Float64Array, row: number): number {
  return get(v, row + F + PACKETS) + get(v, row + B + PACKETS);
}

function bytes(v: Float64Array, row: number): number {
  return get(v, row + F + BYTES) + get(v, row + B + BYTES);
}

/** Per second; 0 for a flow without duration. */
function rate(v: Float64Array, row: number, amount: number): number {
  const us = duration(v, row);
  return us > 0 ? (amount * 1e6) / us : 0;
}

/** A quotient; 0 where there is nothing to divide by. */
function share(amount: number, whole: number): number {
  return whole > 0 ? amount / whole : 0;
}

function mean(direction: number, column: number): Compute {
  return (v, row) => share(get(v, row + direction + column), get(v, row + direction + PACKETS));
}

function bothMean(column: number): Compute {
  return (v, row) => share(get(v, row + F + column) + get(v, row + B + column), packets(v, row));
}

function variance(count: number, sum: number, squares: number): number {
  if (count < 2) return 0;
  return Math.max(0, squares / count - (sum / count) ** 2);
}

function bothVariance(column: number, squares: number): Compute {
  return (v, row) =>
    variance(
      packets(v, row),
      get(v, row + F + column) + get(v, row + B + column),
      get(v, row + F + squares) + get(v, row + B + squares),
    );
}

function std(direction: number): Compute {
  return (v, row) => {
    const d = row + direction;
    return Math.sqrt(variance(get(v, d + PACKETS), get(v, d + BYTES), get(v, d + BYTES_SQUARED)));
  };
}

function smallest(v: Float64Array, row: number): number {
  const backward = get(v, row + B + PACKETS);
  if (backward === 0) return get(v, row + F + BYTES_MIN);
  if (get(v, row + F + PACKETS) === 0) return get(v, row + B + BYTES_MIN);
  return Math.min(get(v, row + F + BYTES_MIN), get(v, row + B + BYTES_MIN));
}

function bothIatMean(v: Float64Array, row: number): number {
  return share(get(v, row + BOTH_IAT), packets(v, row) - 1);
}

function bothIatStd(v: Float64Array, row: number): number {
  return Math.sqrt(variance(packets(v, row) - 1, get(v, row + BOTH_IAT), get(v, row + BOTH_IAT_SQUARED)));
}

function iatMean(direction: number): Compute {
  return (v, row) => share(get(v, row + direction + IAT), get(v, row + direction + PACKETS) - 1);
}

function iatStd(direction: number): Compute {
  return (v, row) => {
    const d = row + direction;
    return Math.sqrt(variance(get(v, d + PACKETS) - 1, get(v, d + IAT), get(v, d + IAT_SQUARED)));
  };
}

function lastActive(v: Float64Array, row: number): number {
  return get(v, row + END_US) - get(v, row + ACTIVE_START_US);
}

function activeMean(v: Float64Array, row: number): number {
  return (get(v, row + ACTIVE) + lastActive(v, row)) / (get(v, row + ACTIVE_COUNT) + 1);
}

function subflows(v: Float64Array, row: number): number {
  return get(v, row + IDLE_COUNT) + 1;
}

function bulkRate(direction: number): Compute {
  return (v, row) =>
    share(get(v, row + direction + BULK_BYTES) * 1e6, get(v, row + direction + BULK_DURATION));
}

function perBulk(direction: number, column: number): Compute {
  return (v, row) => share(get(v, row + direction + column), get(v, row + direction + BULKS));
}
