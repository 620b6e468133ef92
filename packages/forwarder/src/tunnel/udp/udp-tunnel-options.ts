/** What `udp-tunnel` is told beside the options of every uplink, and what that means for its groups and its socket. */
import { isIPv4 } from 'node:net';
import type { CipherName } from '@tapline/shared/tunnel/datagram-seal.ts';
import type { Collector } from '../collector-list.ts';
import type { DatagramSenderOptions } from './datagram-sender.ts';
import type { GroupEncoderOptions } from './group-encoder.ts';

/** IP and UDP header, by the version of IP. */
const OVERHEAD_BYTES = { 4: 28, 6: 48 } as const;
/** 250 Mbit/s where nothing else is said. */
export const UDP_BYTES_PER_SECOND = 31_250_000;

export interface UdpTunnelOptions {
  /** Of the narrowest hop: what an IP packet may have, e.g. 1500. */
  readonly mtu: number;
  /** Nominal data shards of a group, and the parity shards for so many. */
  readonly data: number;
  readonly parity: number;
  /** Groups that are sent interleaved. */
  readonly interleave: number;
  readonly seal: { readonly keyId: number; readonly secret: Uint8Array; readonly cipher: CipherName } | null;
  readonly ttl?: number;
  readonly multicastInterface?: string;
}

export function encoderOptions(
  { mtu, data, parity, seal }: UdpTunnelOptions,
  host: string,
): GroupEncoderOptions {
  // A name may turn out to be either: the larger header fits both.
  return { mtu, overheadBytes: OVERHEAD_BYTES[isIPv4(host) ? 4 : 6], ratio: { data, parity }, seal };
}

export function senderOptions(
  { ttl, multicastInterface }: UdpTunnelOptions,
  collector: Collector,
): DatagramSenderOptions {
  return {
    ...collector,
    overheadBytes: OVERHEAD_BYTES,
    ...(ttl === undefined ? {} : { ttl }),
    ...(multicastInterface === undefined ? {} : { multicastInterface }),
  };
}
