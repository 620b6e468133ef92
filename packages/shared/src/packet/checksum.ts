/**
 * The Internet checksum (RFC 1071): the one's complement of the one's complement sum of 16-bit big-endian words.
 */

/** Adds `bytes[offset, offset + byteLength)` to a partial sum; an odd last byte counts as the high half of a word. */
export function checksumAdd(sum: number, bytes: Uint8Array, offset: number, byteLength: number): number {
  let total = sum;
  const evenEnd = offset + (byteLength & ~1);
  for (let at = offset; at < evenEnd; at += 2)
    total += ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
  if ((byteLength & 1) === 1) total += (bytes[evenEnd] as number) << 8;
  return total;
}

/** Folds a partial sum (below 2^48) into the 16-bit value that goes into the header. */
export function checksumFinish(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded % 0x1_0000) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}

/** The checksum of one stretch of bytes. Over a header with its correct checksum in place the result is 0. */
export function internetChecksum(bytes: Uint8Array, offset: number, byteLength: number): number {
  return checksumFinish(checksumAdd(0, bytes, offset, byteLength));
}
