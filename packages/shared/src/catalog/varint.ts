/** Numbers of seven bits a byte, least significant first: LEB128, as protobuf writes them. */

/** The longest index that is read: of a segment of 1 TiB it would be 1 GiB; a quarter of that is refused before it is read. */
export const PCAP_INDEX_BYTES_MAX = 256 * 1024 * 1024;
/** 2^53 needs no more. */
const VARINT_BYTES_MAX = 8;

export interface Cursor {
  readonly bytes: Uint8Array;
  at: number;
  readonly end: number;
}

/** The next number. Behind the end, or in one that is too long, `at` is set beyond `end` and 0 returned: asked once, at the end. */
export function readVarint(cursor: Cursor): number {
  let value = 0;
  let factor = 1;
  for (let i = 0; i < VARINT_BYTES_MAX; i++) {
    if (cursor.at >= cursor.end) break;
    const byte = cursor.bytes[cursor.at++] as number;
    value += (byte & 0x7f) * factor;
    if (byte < 0x80) return value;
    factor *= 128;
  }
  cursor.at = cursor.end + 1;
  return 0;
}
