/**
 * The 23 features of the level-1 model, in their production order. Their names come from CIC-IDS-2017, where "packet length" is the
 * transport's payload; each is really filled here, in the unit it is trained with.
 */
import {
  ACK_COUNT,
  BACKWARD,
  DATA_PACKETS,
  END_US,
  FORWARD,
  IAT_MIN,
  IDLE_COUNT,
  INITIAL_WINDOW,
  PACKETS,
  PAYLOAD,
  PAYLOAD_MAX,
  PAYLOAD_MIN,
  PAYLOAD_SQUARED,
  PSH_COUNT,
  START_US,
} from '../flow/flow-columns.ts';
import type { FeatureDefinition } from './flow-features.ts';

export const LEVEL1_FEATURES: readonly FeatureDefinition[] = [
  { name: 'Packet Length Std', unit: 'bytes', formula: 'deviation of payload lengths, both directions' },
  { name: 'Subflow Fwd Bytes', unit: 'bytes', formula: 'forward payload / (1 + pauses above 1 s)' },
  { name: 'Fwd Packet Length Max', unit: 'bytes', formula: 'largest forward payload' },
  { name: 'Avg Fwd Segment Size', unit: 'bytes', formula: 'forward payload / forward packets' },
  { name: 'ACK Flag Count', unit: 'count', formula: 'packets with ACK' },
  { name: 'Packet Length Variance', unit: 'bytes²', formula: 'variance of payload lengths, both directions' },
  { name: 'PSH Flag Count', unit: 'count', formula: 'packets with PSH' },
  { name: 'Bwd Packet Length Max', unit: 'bytes', formula: 'largest backward payload' },
  { name: 'act_data_pkt_fwd', unit: 'packets', formula: 'forward packets with payload' },
  { name: 'Total Length of Fwd Packets', unit: 'bytes', formula: 'sum of forward payload' },
  { name: 'Fwd Packet Length Std', unit: 'bytes', formula: 'deviation of forward payload lengths' },
  { name: 'Fwd Packets/s', unit: '1/s', formula: 'forward packets / duration, 0 without duration' },
  { name: 'Subflow Bwd Bytes', unit: 'bytes', formula: 'backward payload / (1 + pauses above 1 s)' },
  { name: 'Destination Port', unit: 'port', formula: "the server's port, 0 without ports" },
  { name: 'Init_Win_bytes_forward', unit: 'bytes', formula: 'TCP window of the first forward packet, 0 without' },
  { name: 'Subflow Fwd Packets', unit: 'packets', formula: 'forward packets / (1 + pauses above 1 s)' },
  { name: 'Fwd IAT Min', unit: 'µs', formula: 'shortest gap between forward packets' },
  { name: 'Packet Length Mean', unit: 'bytes', formula: 'mean payload length, both directions' },
  { name: 'Total Length of Bwd Packets', unit: 'bytes', formula: 'sum of backward payload' },
  { name: 'Bwd Packet Length Mean', unit: 'bytes', formula: 'mean backward payload' },
  { name: 'Bwd Packet Length Min', unit: 'bytes', formula: 'smallest backward payload' },
  { name: 'Flow Duration', unit: 'µs', formula: 'time of last packet − time of first' },
  { name: 'Flow Packets/s', unit: '1/s', formula: 'packets / duration, 0 without duration' },
]; // prettier-ignore

/** Writes the 23 features of a settled flow into `out[offset …)`. */
export function level1Features(
  v: Float64Array,
  row: number,
  serverPort: number,
  out: Float64Array,
  offset: number,
): void {
  const f = row + FORWARD;
  const b = row + BACKWARD;
  const fwdPackets = get(v, f + PACKETS);
  const bwdPackets = get(v, b + PACKETS);
  const count = fwdPackets + bwdPackets;
  const fwd = get(v, f + PAYLOAD);
  const bwd = get(v, b + PAYLOAD);
  const spread = variance(count, fwd + bwd, get(v, f + PAYLOAD_SQUARED) + get(v, b + PAYLOAD_SQUARED));
  const duration = get(v, row + END_US) - get(v, row + START_US);
  const subflows = 1 + get(v, row + IDLE_COUNT);
  const perSecond = duration > 0 ? 1e6 / duration : 0;
  const filled = [
    Math.sqrt(spread),
    fwd / subflows,
    get(v, f + PAYLOAD_MAX),
    share(fwd, fwdPackets),
    get(v, row + ACK_COUNT),
    spread,
    get(v, row + PSH_COUNT),
    get(v, b + PAYLOAD_MAX),
    get(v, f + DATA_PACKETS),
    fwd,
    Math.sqrt(variance(fwdPackets, fwd, get(v, f + PAYLOAD_SQUARED))),
    fwdPackets * perSecond,
    bwd / subflows,
    Math.max(0, serverPort),
    Math.max(0, get(v, f + INITIAL_WINDOW)),
    fwdPackets / subflows,
    get(v, f + IAT_MIN),
    share(fwd + bwd, count),
    bwd,
    share(bwd, bwdPackets),
    get(v, b + PAYLOAD_MIN),
    duration,
    count * perSecond,
  ];
  out.set(filled, offset);
}

function get(v: Float64Array, index: number): number {
  return v[index] as number;
}

function share(amount: number, whole: number): number {
  return whole > 0 ? amount / whole : 0;
}

function variance(count: number, sum: number, squares: number): number {
  return count < 2 ? 0 : Math.max(0, squares / count - (sum / count) ** 2);
}
