/**
 * What passes between the raw socket's thread and the main one: many packets in one buffer.
 *
 *   offset  size  field
 *        0     2  family    4 or 6
 *        2     2  length    of the GRE packet, its IP header taken off
 *        4    16  source    address of the sender; IPv4 in the first four bytes
 *       20     n  GRE header and what follows
 */
import { formatAddress } from '@tapline/shared/packet/ip-address.ts';

export const GRE_RECORD_HEADER_BYTES = 20;

export type GreMessage =
  | { readonly kind: 'opened' }
  | { readonly kind: 'failed'; readonly message: string }
  | { readonly kind: 'packets'; readonly bytes: Uint8Array };

/** Walks a buffer of the worker's. */
export function eachPacket(buffer: Uint8Array, take: (source: string, bytes: Uint8Array) => void): void {
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
  for (let at = 0; at < buffer.byteLength;) {
    const family = view.getUint16(at, true);
    const length = view.getUint16(at + 2, true);
    const start = at + GRE_RECORD_HEADER_BYTES;
    take(formatAddress(buffer, at + 4, family === 4 ? 4 : 16), buffer.subarray(start, start + length));
    at = start + length;
  }
}
