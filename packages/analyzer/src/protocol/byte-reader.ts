/** Numbers out of messages, in both byte orders. The caller has compared the offset with the message's end. */

export function be16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

export function le16(bytes: Uint8Array, at: number): number {
  return ((bytes[at + 1] as number) << 8) | (bytes[at] as number);
}

export function be24(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 16) | be16(bytes, at + 1);
}

export function le24(bytes: Uint8Array, at: number): number {
  return ((bytes[at + 2] as number) << 16) | le16(bytes, at);
}

export function be32(bytes: Uint8Array, at: number): number {
  return be16(bytes, at) * 0x1_0000 + be16(bytes, at + 2);
}

export function le32(bytes: Uint8Array, at: number): number {
  return le16(bytes, at + 2) * 0x1_0000 + le16(bytes, at);
}

export function hex(value: number, digits = 2): string {
  return `0x${value.toString(16).padStart(digits, '0')}`;
}

/** Printable ASCII of `bytes[at, end)`; other bytes become dots. At most `limit` characters. */
export function text(bytes: Uint8Array, at: number, end: number, limit = 96): string {
  let out = '';
  for (let i = at; i < Math.min(end, at + limit); i++) {
    const byte = bytes[i] as number;
    out += byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.';
  }
  return out;
}
