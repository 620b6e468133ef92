/** ASN.1 BER (X.690): tag, length, value; definite lengths in the shortest form. For GOOSE and SPNEGO. */

/** A value with its tag and length around it; `parts` are concatenated. */
export function tlv(tag: number, ...parts: readonly ArrayLike<number>[]): Uint8Array {
  const byteLength = parts.reduce((sum, part) => sum + part.length, 0);
  const header = [tag, ...lengthOctets(byteLength)];
  const bytes = new Uint8Array(header.length + byteLength);
  bytes.set(header);
  let at = header.length;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** A non-negative INTEGER below 2^32: as few bytes as needed, a zero in front where the top bit would be a sign. */
export function integer(tag: number, value: number): Uint8Array {
  const bytes = [value & 0xff];
  for (let rest = Math.floor(value / 256); rest > 0; rest = Math.floor(rest / 256))
    bytes.unshift(rest & 0xff);
  if ((bytes[0] as number) >= 0x80) bytes.unshift(0);
  return tlv(tag, bytes);
}

/** A string of ASCII letters. */
export function text(tag: number, value: string): Uint8Array {
  return tlv(
    tag,
    Array.from(value, (letter) => letter.charCodeAt(0)),
  );
}

function lengthOctets(byteLength: number): number[] {
  if (byteLength < 0x80) return [byteLength];
  if (byteLength < 0x100) return [0x81, byteLength];
  return [0x82, byteLength >> 8, byteLength & 0xff];
}
