/** A finished flow as it is told: what Zeek's conn.log has of it, and what was found. Plain values, no reference to the flow. */
import { communityId } from './community-id.ts';
import {
  BACKWARD,
  BYTES,
  FORWARD,
  MISSED_BYTES,
  PACKETS,
  PAYLOAD,
  SEQUENCE_SPAN,
  SEQUENCE_START,
} from './flow-columns.ts';
import { connectionState, type Flow } from './flow.ts';
import { PROTO_TCP } from '../packet/packet-view.ts';

export interface FlowRecord {
  readonly uid: string;
  readonly sensor: string;
  /** Seconds since 1970. */
  readonly ts: number;
  readonly duration: number;
  readonly client: string;
  readonly clientPort: number;
  readonly server: string;
  readonly serverPort: number;
  /** IP protocol, -1 on Ethernet, then with an EtherType. */
  readonly protocol: number;
  readonly etherType: number;
  readonly vlan: number;
  readonly tunnelDepth: number;
  readonly service: string;
  readonly connState: string;
  readonly history: string;
  readonly clientBytes: number;
  readonly serverBytes: number;
  readonly clientPackets: number;
  readonly serverPackets: number;
  readonly clientIpBytes: number;
  readonly serverIpBytes: number;
  readonly missedBytes: number;
  readonly communityId: string;
  readonly ending: string;
  readonly facts: Readonly<Record<string, string>>;
  readonly exceptions: number;
  readonly violations: number;
  readonly scores: Readonly<Record<string, number>>;
  /** Ids of alerts, and whether one of them is of medium severity or above. */
  alerts: readonly string[];
  verdict: 'benign' | 'malicious';
}

/** `values`: the slab. */
export function flowRecord(flow: Flow, values: Float64Array, sensor: string): FlowRecord {
  const f = flow.row + FORWARD;
  const b = flow.row + BACKWARD;
  const get = (index: number): number => values[index] as number;
  const isTcp = flow.protocol === PROTO_TCP;
  // TCP counts what the stream came to; what was sent twice is not more.
  const payload = (d: number): number =>
    isTcp && get(d + SEQUENCE_START) !== -1 ? get(d + SEQUENCE_SPAN) : get(d + PAYLOAD);
  return {
    uid: flow.uid,
    sensor,
    ts: flow.startUs / 1e6,
    duration: (flow.lastUs - flow.startUs) / 1e6,
    client: flow.client,
    clientPort: flow.clientPort,
    server: flow.server,
    serverPort: flow.serverPort,
    protocol: flow.protocol,
    etherType: flow.etherType,
    vlan: flow.vlan,
    tunnelDepth: flow.tunnelDepth,
    service: flow.service,
    connState: connectionState(flow, isTcp, get(f + PACKETS) > 0, get(b + PACKETS) > 0),
    history: flow.history,
    clientBytes: payload(f),
    serverBytes: payload(b),
    clientPackets: get(f + PACKETS),
    serverPackets: get(b + PACKETS),
    clientIpBytes: get(f + BYTES),
    serverIpBytes: get(b + BYTES),
    missedBytes: get(f + MISSED_BYTES) + get(b + MISSED_BYTES),
    communityId: communityId(flow.protocol, flow.client, flow.clientPort, flow.server, flow.serverPort),
    ending: flow.ending,
    facts: { ...flow.facts },
    exceptions: flow.exceptions,
    violations: flow.violations,
    // The same object: models give their scores after the flow has ended.
    scores: flow.scores,
    alerts: flow.alerts,
    verdict: 'benign',
  };
}
