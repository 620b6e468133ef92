/** ARP (RFC 826) for IPv4 on Ethernet: who has which address. It has no flow, so it has no dissector: rules read it themselves. */
import { formatAddress, formatMac } from '@tapline/shared/packet/ip-address.ts';
import type { PacketView } from '../packet/packet-view.ts';

export interface ArpMessage {
  /** 1 request, 2 reply. */
  readonly operation: number;
  readonly sender: string;
  readonly senderMac: string;
  readonly target: string;
  readonly targetMac: string;
}

/** An ARP message for IPv4 on Ethernet (RFC 826); null for any other, or one that is cut. */
export function readArp(view: PacketView): ArpMessage | null {
  const at = view.frame.arpOffset;
  const { bytes, end } = view;
  if (at === -1 || end - at < 28) return null;
  if (bytes[at + 4] !== 6 || bytes[at + 5] !== 4) return null;
  return {
    operation: ((bytes[at + 6] as number) << 8) | (bytes[at + 7] as number),
    senderMac: formatMac(bytes, at + 8),
    sender: formatAddress(bytes, at + 14, 4),
    targetMac: formatMac(bytes, at + 18),
    target: formatAddress(bytes, at + 24, 4),
  };
}
