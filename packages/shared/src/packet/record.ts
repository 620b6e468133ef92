/**
 * The record: how one packet lies in memory, in a batch, on the wire and (but for the precision) in a file.
 * It is the record of a nanosecond PCAP file, so most packets travel from ring to disk without being re-encoded.
 *
 *   offset  size  field           meaning
 *        0     4  seconds         since 1970-01-01 UTC, unsigned (until 2106)
 *        4     4  nanoseconds     0 … 999,999,999; always nanoseconds in memory
 *        8     4  capturedBytes   length of the frame that follows, at most PACKET_BYTES_MAX
 *       12     4  originalBytes   length on the wire, at least capturedBytes unless the origin lied
 *       16     n  frame           starts with the link-layer header of the batch's link type
 *
 * All integers are little-endian: PCAP files are written so on every machine, and x86 and ARM read them natively.
 */
export const RECORD_HEADER_BYTES = 16;

/** libpcap's MAXIMUM_SNAPLEN. A longer record in a file is damage, not a packet. */
export const PACKET_BYTES_MAX = 262_144;

/** Largest record. */
export const RECORD_BYTES_MAX = RECORD_HEADER_BYTES + PACKET_BYTES_MAX;

export const RECORD_SECONDS = 0;
export const RECORD_NANOSECONDS = 4;
export const RECORD_CAPTURED_BYTES = 8;
export const RECORD_ORIGINAL_BYTES = 12;

/** Reads a little-endian u32. Plain index arithmetic: V8 compiles it to one load, and it needs no DataView. */
export function readU32(bytes: Uint8Array, offset: number): number {
  return (
    ((bytes[offset] as number) |
      ((bytes[offset + 1] as number) << 8) |
      ((bytes[offset + 2] as number) << 16) |
      ((bytes[offset + 3] as number) << 24)) >>>
    0
  );
}

/** Writes a little-endian u32. */
export function writeU32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value;
  bytes[offset + 1] = value >>> 8;
  bytes[offset + 2] = value >>> 16;
  bytes[offset + 3] = value >>> 24;
}
