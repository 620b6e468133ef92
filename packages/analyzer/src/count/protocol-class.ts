/**
 * What a packet is, for counting: an OT protocol by its well-known port, the transport otherwise, or what a frame is
 * that is not IP. By port alone: good enough for a table, and said so; dissecting comes with the protocols.
 */
import { describeFrame } from '@tapline/shared/packet/frame-name.ts';
import { FRAME_IPV4, FRAME_IPV6, type FrameCursor } from '@tapline/shared/packet/frame-cursor.ts';

const TCP = 6;
const UDP = 17;

/** Ports registered for, or used by, the protocols of plants. */
const PORT_NAMES: ReadonlyMap<number, string> = new Map([
  [53, 'dns'],
  [102, 's7comm/mms'],
  [123, 'ntp'],
  [445, 'smb'],
  [502, 'modbus'],
  [1911, 'niagara-fox'],
  [2222, 'enip-io'],
  [2404, 'iec104'],
  [4840, 'opcua'],
  [20000, 'dnp3'],
  [44818, 'enip'],
  [47808, 'bacnet'],
]);

const TRANSPORT_NAMES: ReadonlyMap<number, string> = new Map([
  [1, 'icmp'],
  [2, 'igmp'],
  [TCP, 'tcp'],
  [UDP, 'udp'],
  [47, 'gre'],
  [58, 'icmpv6'],
  [132, 'sctp'],
]);

/** A word for the packet the cursor points at. `end` is where its captured bytes end. */
export function protocolClass(cursor: FrameCursor, bytes: Uint8Array, end: number): string {
  const { kind, transportProtocol: transport, transportOffset: at } = cursor;
  if (kind !== FRAME_IPV4 && kind !== FRAME_IPV6) return describeFrame(cursor);
  if ((transport === TCP || transport === UDP) && at !== -1 && at + 4 <= end) {
    const source = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    const destination = ((bytes[at + 2] as number) << 8) | (bytes[at + 3] as number);
    const name = PORT_NAMES.get(destination) ?? PORT_NAMES.get(source);
    if (name !== undefined) return name;
  }
  return TRANSPORT_NAMES.get(transport) ?? `ip-${transport}`;
}
