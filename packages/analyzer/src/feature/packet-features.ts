/** The ten features of one packet that the autoencoder sees, in its order. Only IP packets have them. */
import { PROTO_TCP, PROTO_UDP, type PacketView } from '../packet/packet-view.ts';
import type { FeatureDefinition } from './flow-features.ts';

export const PACKET_FEATURES: readonly FeatureDefinition[] = [
  { name: 'ttl', unit: 'count', formula: 'time to live, or hop limit' },
  { name: 'length', unit: 'bytes', formula: 'IP packet length' },
  { name: 'src_port', unit: 'port', formula: 'TCP or UDP source port, 0 for other protocols' },
  { name: 'dst_port', unit: 'port', formula: 'TCP or UDP destination port, 0 for other protocols' },
  { name: 'flag_fin', unit: 'count', formula: '1 with FIN, else 0' },
  { name: 'flag_syn', unit: 'count', formula: '1 with SYN, else 0' },
  { name: 'flag_rst', unit: 'count', formula: '1 with RST, else 0' },
  { name: 'flag_psh', unit: 'count', formula: '1 with PSH, else 0' },
  { name: 'flag_ack', unit: 'count', formula: '1 with ACK, else 0' },
  { name: 'flag_urg', unit: 'count', formula: '1 with URG, else 0' },
];

/** Writes the ten features into `out[offset …)`. */
export function packetFeatures(view: PacketView, out: Float64Array | Float32Array, offset: number): void {
  const hasPorts = view.protocol === PROTO_TCP || view.protocol === PROTO_UDP;
  out[offset] = view.ttl;
  out[offset + 1] = view.packetBytes;
  out[offset + 2] = hasPorts ? Math.max(0, view.sourcePort) : 0;
  out[offset + 3] = hasPorts ? Math.max(0, view.destinationPort) : 0;
  for (let bit = 0; bit < 6; bit++) out[offset + 4 + bit] = (view.tcpFlags >> bit) & 1;
}
