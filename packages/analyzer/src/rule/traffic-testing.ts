/** For tests: what hosts say to each other, as packets: whole connections, knocks, and messages of a few protocols. */
import { tcp, type Packet } from '../packet/frame-testing.ts';

/** TLS hellos without any name. */
export const CLIENT_HELLO = Buffer.from(
  '16030100350100003103030000000000000000000000000000000000000000000000000000000000000000000002c02f01000006000a00020000',
  'hex',
);

export const SERVER_HELLO = Buffer.from(
  '160301002a020000260303000000000000000000000000000000000000000000000000000000000000000000c02f00',
  'hex',
);

/** A DHCP message: discover (operation 1) or offer (2), for a device. */
export function dhcp(operation: number, device: string): Buffer {
  const message = Buffer.alloc(244);
  message.set([operation, 1, 6, 0]);
  message.set(Buffer.from(device, 'hex'), 28);
  message.set([0x63, 0x82, 0x53, 0x63, 53, 1, operation, 255], 236);
  return message;
}

type Line = readonly ['>' | '<', string | Uint8Array];

/** A whole connection: handshake, the lines, both ends. */
export function connection(
  client: string,
  server: string,
  lines: readonly Line[],
  timeUs: number,
  isClosed = true,
): Packet[] {
  const packets: Packet[] = [];
  let [there, back] = [101, 501];
  const send = (way: '>' | '<', flags: string, sequence: number, payload: Uint8Array): void => {
    const [from, to] = way === '>' ? [client, server] : [server, client];
    packets.push({ timeUs: timeUs + packets.length * 1000, frame: tcp(from, to, flags, { sequence, payload }) }); // prettier-ignore
  };
  const empty = Buffer.alloc(0);
  send('>', 'S', 100, empty);
  send('<', 'SA', 500, empty);
  send('>', 'A', 101, empty);
  for (const [way, line] of lines) {
    const payload = Buffer.from(line);
    send(way, 'PA', way === '>' ? there : back, payload);
    if (way === '>') there += payload.byteLength;
    else back += payload.byteLength;
  }
  if (isClosed) {
    send('>', 'FA', there, empty);
    send('<', 'FA', back, empty);
  }
  return packets;
}

/** A SYN, and nothing more. */
export function knock(from: string, to: string, timeUs: number): Packet {
  return { timeUs, frame: tcp(from, to, 'S') };
}

/** A SYN that is refused. */
export function refused(from: string, to: string, timeUs: number): Packet[] {
  return [knock(from, to, timeUs), { timeUs: timeUs + 100, frame: tcp(to, from, 'RA') }];
}

/** A Modbus request: transaction, function and what follows it. */
export function modbus(transaction: number, ...pdu: readonly number[]): Uint8Array {
  return Buffer.from([transaction >> 8, transaction & 255, 0, 0, 0, 1 + pdu.length, 1, ...pdu]);
}

/** A DNS answer that names addresses. */
export function dnsAnswer(id: number, name: string, ...addresses: readonly (readonly number[])[]): Buffer {
  const message = dns(id, name);
  message.writeUInt16BE(0x8180, 2);
  message.writeUInt16BE(addresses.length, 6);
  // The name is a pointer to the question's.
  const records = addresses.flatMap((address) => [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, ...address]);
  return Buffer.concat([message, Buffer.from(records)]);
}

/** A DNS message that asks for an address, or says that there is none. */
export function dns(id: number, name: string, isMissing = false): Buffer {
  const labels = name.split('.').flatMap((label) => [label.length, ...Buffer.from(label)]);
  const flags = isMissing ? [0x81, 0x83] : [1, 0];
  return Buffer.from([id >> 8, id & 255, ...flags, 0, 1, 0, 0, 0, 0, 0, 0, ...labels, 0, 0, 1, 0, 1]);
}

/** Twenty-odd characters that nobody types, different for each number. */
export function randomLabel(index: number): string {
  return `k3x9q7zv${(index * 7919 + 104_729).toString(36)}w5j8m2t4b6p1${index}`;
}

/** The first bytes of a Windows program. */
export function program(): Buffer {
  const bytes = Buffer.alloc(0x100);
  bytes.write('MZ', 0);
  bytes[0x3c] = 0x80;
  bytes.write('PE', 0x80);
  return bytes;
}
