/** For tests: messages of ONC RPC. */

/** Numbers of four bytes. */
export function words(...numbers: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * numbers.length);
  numbers.forEach((number, i) => bytes.writeUInt32BE(number, 4 * i));
  return bytes;
}

/** Length, bytes, filled up to four. */
export function opaque(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string, 'latin1');
  return Buffer.concat([words(bytes.byteLength), bytes, Buffer.alloc((4 - (bytes.byteLength % 4)) % 4)]);
}

/** Without credentials. */
export function rpcCall(
  program: number,
  version: number,
  procedure: number,
  rest: Uint8Array = Buffer.alloc(0),
  transaction = 1,
): Uint8Array {
  // prettier-ignore
  return Buffer.concat([words(transaction, 0, 2, program, version, procedure, 0, 0, 0, 0), rest]);
}

/** Accepted, done. */
export function rpcReply(rest: Uint8Array, transaction = 1): Uint8Array {
  return Buffer.concat([words(transaction, 1, 0, 0, 0, 0), rest]);
}

export function overTcp(message: Uint8Array): Uint8Array {
  return Buffer.concat([words(0x8000_0000 + message.byteLength), message]);
}
