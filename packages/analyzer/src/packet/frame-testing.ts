/** For tests: Ethernet frames written field by field, and records of them as the merge hands them out. Nothing of it is shared with what reads them. */
import { parseAddress } from '@tapline/shared/packet/ip-address.ts';

export interface FrameOptions {
  readonly vlan?: number;
  readonly ttl?: number;
  readonly sequence?: number;
  readonly window?: number;
  /** Payload, or so many bytes of it. */
  readonly payload?: Uint8Array | number;
  /** Bytes of TCP options, a multiple of four. */
  readonly options?: number;
}

export interface Packet {
  readonly timeUs: number;
  readonly frame: Uint8Array;
  /** Longer than the frame where the capture cut it. */
  readonly wireBytes?: number;
}

const FLAGS: Readonly<Record<string, number>> = { F: 1, S: 2, R: 4, P: 8, A: 16, U: 32, E: 64, C: 128 };

/** `from` and `to` are `address:port`, IPv6 in brackets; `flags` letters of FSRPAUEC. */
export function tcp(from: string, to: string, flags: string, options: FrameOptions = {}): Buffer {
  const payload = payloadOf(options);
  const header = Buffer.alloc(20 + (options.options ?? 0), 1);
  header.writeUInt16BE(split(from).port, 0);
  header.writeUInt16BE(split(to).port, 2);
  header.writeUInt32BE((options.sequence ?? 0) >>> 0, 4);
  header.writeUInt32BE(0, 8);
  header[12] = (header.byteLength / 4) << 4;
  header[13] = [...flags].reduce((bits, flag) => bits | (FLAGS[flag] ?? 0), 0);
  header.writeUInt16BE(options.window ?? 8192, 14);
  header.writeUInt32BE(0, 16);
  return ip(split(from).address, split(to).address, 6, Buffer.concat([header, payload]), options);
}

export function udp(from: string, to: string, options: FrameOptions = {}): Buffer {
  const payload = payloadOf(options);
  const header = Buffer.alloc(8);
  header.writeUInt16BE(split(from).port, 0);
  header.writeUInt16BE(split(to).port, 2);
  header.writeUInt16BE(8 + payload.byteLength, 4);
  return ip(split(from).address, split(to).address, 17, Buffer.concat([header, payload]), options);
}

/** ICMP for IPv4 addresses, ICMPv6 for IPv6. */
export function icmp(from: string, to: string, type: number, code = 0, options: FrameOptions = {}): Buffer {
  const message = Buffer.concat([Buffer.from([type, code, 0, 0, 0, 7, 0, 1]), payloadOf(options)]);
  return ip(from, to, from.includes(':') ? 58 : 1, message, options);
}

/** An IP packet of any protocol. `fragment`: offset in bytes, whether more follow, identification. */
export function ip(
  from: string,
  to: string,
  protocol: number,
  payload: Uint8Array,
  options: FrameOptions & {
    readonly fragment?: { readonly offset: number; readonly more: boolean; readonly id: number };
  } = {},
): Buffer {
  const source = parseAddress(from) ?? new Uint8Array(4);
  const destination = parseAddress(to) ?? new Uint8Array(4);
  const isSix = source.byteLength === 16;
  let header: Buffer;
  if (isSix) {
    header = Buffer.alloc(8);
    header[0] = 0x60;
    header.writeUInt16BE(payload.byteLength, 4);
    header[6] = protocol;
    header[7] = options.ttl ?? 64;
  } else {
    header = Buffer.alloc(12);
    header[0] = 0x45;
    header.writeUInt16BE(20 + payload.byteLength, 2);
    header.writeUInt16BE(options.fragment?.id ?? 1, 4);
    const more = options.fragment?.more === true ? 0x2000 : 0;
    header.writeUInt16BE(more | ((options.fragment?.offset ?? 0) >> 3), 6);
    header[8] = options.ttl ?? 64;
    header[9] = protocol;
  }
  const packet = Buffer.concat([header, source, destination, payload]);
  return ethernet(isSix ? 0x86dd : 0x0800, packet, options.vlan);
}

/** Padded to the 60 bytes that Ethernet asks for. */
export function ethernet(
  etherType: number,
  payload: Uint8Array,
  vlan?: number,
  source = '02:00:00:00:00:01',
  destination = '02:00:00:00:00:02',
): Buffer {
  const head = Buffer.concat([
    mac(destination),
    mac(source),
    vlan === undefined ? Buffer.alloc(0) : Buffer.from([0x81, 0, vlan >> 8, vlan & 0xff]),
    Buffer.from([etherType >> 8, etherType & 0xff]),
  ]);
  const padding = Buffer.alloc(Math.max(0, 60 - head.byteLength - payload.byteLength));
  return Buffer.concat([head, payload, padding]);
}

/** 1 a request, 2 a reply. */
export function arp(
  operation: number,
  senderMac: string,
  sender: string,
  targetMac: string,
  target: string,
): Buffer {
  const message = Buffer.concat([
    Buffer.from([0, 1, 8, 0, 6, 4, 0, operation]),
    mac(senderMac),
    parseAddress(sender) ?? new Uint8Array(4),
    mac(targetMac),
    parseAddress(target) ?? new Uint8Array(4),
  ]);
  return ethernet(0x0806, message, undefined, senderMac, operation === 1 ? 'ff:ff:ff:ff:ff:ff' : targetMac);
}

/** Records one after the other, as in a batch. */
export function recordsOf(packets: readonly Packet[]): Uint8Array {
  const records = packets.map(({ timeUs, frame, wireBytes }) => {
    const header = Buffer.alloc(16);
    const seconds = Math.floor(timeUs / 1e6);
    header.writeUInt32LE(seconds, 0);
    header.writeUInt32LE(Math.round((timeUs - seconds * 1e6) * 1000), 4);
    header.writeUInt32LE(frame.byteLength, 8);
    header.writeUInt32LE(wireBytes ?? frame.byteLength, 12);
    return Buffer.concat([header, frame]);
  });
  return new Uint8Array(Buffer.concat(records));
}

function payloadOf({ payload }: FrameOptions): Uint8Array {
  return typeof payload === 'number' ? Buffer.alloc(payload, 0x5a) : (payload ?? Buffer.alloc(0));
}

function mac(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

function split(end: string): { readonly address: string; readonly port: number } {
  const at = end.lastIndexOf(':');
  return { address: end.slice(0, at).replace(/^\[|\]$/g, ''), port: Number(end.slice(at + 1)) };
}
