/** For tests: MQTT packets, written field by field. */

type Part = Uint8Array | readonly number[];

/** A text or bytes with their length in front. */
export function field(content: string): Buffer {
  const bytes = Buffer.from(content);
  return Buffer.concat([Buffer.from([bytes.byteLength >> 8, bytes.byteLength & 255]), bytes]);
}

/** A packet: its first byte and what follows the remaining length. */
export function packet(first: number, ...parts: readonly Part[]): Buffer {
  const body = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const length: number[] = [];
  let left = body.byteLength;
  do {
    length.push((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
    left >>= 7;
  } while (left > 0);
  return Buffer.concat([Buffer.from([first, ...length]), body]);
}

export interface ConnectFields {
  readonly name?: string;
  readonly level?: number;
  readonly client?: string;
  readonly user?: string;
  readonly password?: string;
  /** Added to those that say what is there. */
  readonly flags?: number;
}

export function connect({ name = 'MQTT', level = 4, client = '', user, password, flags = 2 }: ConnectFields): Buffer {
  const all = flags | (user === undefined ? 0 : 0x80) | (password === undefined ? 0 : 0x40);
  const properties = level === 5 ? [0] : [];
  const rest = [user, password].filter((one) => one !== undefined).map(field);
  return packet(0x10, field(name), [level, all, 0, 60], properties, field(client), ...rest);
} // prettier-ignore
