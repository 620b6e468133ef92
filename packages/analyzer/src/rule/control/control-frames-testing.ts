/** For tests: frames of the protocols that hold a network together, written field by field. Nothing of it is shared with what reads them. */
import { parseAddress } from '@tapline/shared/packet/ip-address.ts';
import { ethernet, ip, udp } from '../../packet/frame-testing.ts';

export const ALL_NODES = 'ff02::1';

function mac(text: string): Buffer {
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

function address(text: string): Uint8Array {
  return parseAddress(text) ?? new Uint8Array(16);
}

/** The frame as if that MAC address had sent it. */
export function sentBy(source: string, frame: Buffer): Buffer {
  frame.set(mac(source), 6);
  return frame;
}

/** 802.3 with LLC: the length stands where the EtherType would. */
function llc(source: string, destination: string, message: Buffer, vlan?: number): Buffer {
  return ethernet(message.byteLength, message, vlan, source, destination);
}

function snap(protocol: number, message: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0xaa, 0xaa, 3, 0, 0, 0x0c, protocol >> 8, protocol & 255]), message]);
}

export interface BridgeClaim {
  readonly sender: string;
  readonly priority: number;
  readonly root: string;
  readonly vlan?: number;
  readonly isPerVlan?: boolean;
}

/** A configuration message in which `sender` says who is the root. */
export function configuration({ sender, priority, root, vlan, isPerVlan }: BridgeClaim): Buffer {
  const message = Buffer.alloc(35);
  message.writeUInt16BE(priority, 5);
  message.set(mac(root), 7);
  message.writeUInt16BE(0x8000, 17);
  message.set(mac(sender), 19);
  const head = Buffer.from([0x42, 0x42, 3]);
  return isPerVlan === true
    ? llc(sender, '01:00:0c:cc:cc:cd', snap(0x010b, message), vlan)
    : llc(sender, '01:80:c2:00:00:00', Buffer.concat([head, message]), vlan);
}

export function topologyChange(sender: string): Buffer {
  return llc(sender, '01:80:c2:00:00:00', Buffer.from([0x42, 0x42, 3, 0, 0, 0, 0x80]));
}

/** A CDP announcement of a device with that name. */
export function cdp(sender: string, device: string): Buffer {
  const name = Buffer.from(device);
  const message = Buffer.concat([Buffer.from([2, 180, 0, 0, 0, 1, 0, 4 + name.byteLength]), name]);
  return llc(sender, '01:00:0c:cc:cc:cc', snap(0x2000, message));
}

export function lldp(sender: string): Buffer {
  return ethernet(0x88cc, Buffer.concat([Buffer.from([2, 7, 4]), mac(sender), Buffer.from([0, 0])]), undefined, sender, '01:80:c2:00:00:0e'); // prettier-ignore
}

export function dtp(sender: string, status: number): Buffer {
  const message = Buffer.from([1, 0, 1, 0, 5, 0, 0, 2, 0, 5, status]);
  return llc(sender, '01:00:0c:cc:cc:cc', snap(0x2004, message));
}

/** A frame with a second 802.1Q tag in front of what it carries. */
export function doubleTagged(frame: Buffer, outer: number, inner: number, tag = 0x8100): Buffer {
  const tags = Buffer.from([tag >> 8, tag & 255, outer >> 8, outer & 255, 0x81, 0, inner >> 8, inner & 255]);
  return Buffer.concat([frame.subarray(0, 12), tags, frame.subarray(12)]);
}

/** HSRP version 1. Operation: 0 hello, 1 coup, 2 resign; state: 16 active, 8 standby. */
export function hsrp(
  router: string,
  operation: number,
  state: number,
  priority: number,
  shared = '10.0.0.254',
): Buffer {
  // prettier-ignore
  const payload = Buffer.concat([Buffer.from([0, operation, state, 3, 10, priority, 1, 0]), Buffer.from('cisco\0\0\0'), address(shared)]); // prettier-ignore
  return udp(`${router}:1985`, '224.0.0.2:1985', { payload, ttl: 1 });
}

/** HSRP version 2 for an address of either IP. State: 6 active, 5 standby. */
export function hsrp2(
  router: string,
  operation: number,
  state: number,
  priority: number,
  shared = '10.0.0.254',
): Buffer {
  // prettier-ignore
  const payload = Buffer.alloc(42);
  payload.set([1, 40, 2, operation, state, shared.includes(':') ? 6 : 4, 0, 1]);
  payload.writeUInt32BE(priority, 14);
  payload.writeUInt32BE(3000, 18);
  payload.writeUInt32BE(10_000, 22);
  payload.set(address(shared), 26);
  return udp(`${router}:1985`, '224.0.0.102:1985', { payload, ttl: 1 });
}

/** VRRP version 2, or 3 for IPv6. */
export function vrrp(router: string, priority: number, shared = '10.0.0.254'): Buffer {
  const isSix = shared.includes(':');
  const head = Buffer.from(isSix ? [0x31, 7, priority, 1, 0, 100, 0, 0] : [0x21, 7, priority, 1, 0, 1, 0, 0]);
  const payload = Buffer.concat([head, address(shared), Buffer.alloc(isSix ? 0 : 8)]);
  return ip(router, isSix ? 'ff02::12' : '224.0.0.18', 112, payload, { ttl: 255 });
}

function option(type: number, value: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([type, (value.byteLength + 2) / 8]), value]);
}

export interface RouterClaim {
  readonly sender: string;
  readonly source: string;
  readonly lifetime?: number;
  /** 1 high, 3 low, 0 medium, as it is on the wire. */
  readonly preference?: number;
  readonly prefixes?: readonly string[];
}

export function routerAdvertisement(claim: RouterClaim): Buffer {
  const { sender, source, lifetime = 1800, preference = 0, prefixes = [] } = claim;
  const head = Buffer.alloc(16);
  head.set([134, 0, 0, 0, 64, preference << 3]);
  head.writeUInt16BE(lifetime, 6);
  const networks = prefixes.map((prefix) => option(3, Buffer.concat([Buffer.from([64, 0xc0]), Buffer.alloc(12), address(prefix)]))); // prettier-ignore
  const message = Buffer.concat([head, option(1, mac(sender)), ...networks]);
  return sentBy(sender, ip(source, ALL_NODES, 58, message, { ttl: 255 }));
}

/** `from` is `::` where an address is tried out. */
export function solicitation(sender: string, from: string, target: string): Buffer {
  const own = from === '::' ? Buffer.alloc(0) : option(1, mac(sender));
  const message = Buffer.concat([Buffer.from([135, 0, 0, 0, 0, 0, 0, 0]), address(target), own]);
  return sentBy(sender, ip(from, 'ff02::1:ff00:1', 58, message, { ttl: 255 }));
}

/** Flags: 0x40 solicited, 0x20 override. */
export function advertisement(
  sender: string,
  target: string,
  flags = 0x60,
  to = ALL_NODES,
  ttl = 255,
): Buffer {
  const message = Buffer.concat([Buffer.from([136, 0, 0, 0, flags, 0, 0, 0]), address(target), option(2, mac(sender))]); // prettier-ignore
  return sentBy(sender, ip(target, to, 58, message, { ttl }));
}

function option6(code: number, value: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from([code >> 8, code & 255, value.byteLength >> 8, value.byteLength & 255]), value]); // prettier-ignore
}

/** DHCPv6: an advertise message of a server with that identifier. */
export function advertise6(server: string, identifier: string, given: string, nameServer: string): Buffer {
  const lease = option6(5, Buffer.concat([address(given), Buffer.alloc(8)]));
  const payload = Buffer.concat([
    Buffer.from([2, 1, 2, 3]),
    option6(2, Buffer.from(identifier)),
    option6(3, Buffer.concat([Buffer.alloc(12), lease])),
    option6(23, address(nameServer)),
  ]);
  return udp(`[${server}]:547`, '[fe80::99]:546', { payload });
}

export interface Offer {
  readonly server: string;
  readonly given: string;
  readonly router: string;
  /** 2 offer, 5 acknowledgement. */
  readonly message?: number;
}

export function offer({ server, given, router, message = 2 }: Offer): Buffer {
  const fixed = Buffer.alloc(236);
  fixed.set([2, 1, 6, 0]);
  fixed.set(address(given), 16);
  const payload = Buffer.concat([
    fixed,
    Buffer.from([0x63, 0x82, 0x53, 0x63, 53, 1, message, 1, 4, 255, 255, 255, 0, 3, 4]),
    address(router),
    Buffer.from([54, 4]),
    address(server),
    Buffer.from([255]),
  ]);
  return udp(`${server}:67`, `${given}:68`, { payload });
}

function labels(name: string): Buffer {
  return Buffer.concat([...name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])), Buffer.from([0])]); // prettier-ignore
}

function record(name: Uint8Array, type: number, data: Uint8Array): Buffer {
  return Buffer.concat([name, Buffer.from([0, type, 0, 1, 0, 0, 0, 30, 0, data.byteLength]), data]);
}

/** An answer of LLMNR, with its question. */
export function llmnrAnswer(from: string, to: string, name: string, given = from): Buffer {
  const question = labels(name);
  const type = given.includes(':') ? 28 : 1;
  const payload = Buffer.concat([Buffer.from([0, 7, 0x80, 0, 0, 1, 0, 1, 0, 0, 0, 0]), question, Buffer.from([0, type, 0, 1]), record(question, type, address(given))]); // prettier-ignore
  return udp(`${bracketed(from)}:5355`, `${bracketed(to)}:51000`, { payload });
}

/** An answer of multicast DNS, with one record for each name. */
export function mdnsAnswer(from: string, names: readonly string[], type = 1, given = from): Buffer {
  const data = type === 1 ? address(given) : type === 28 ? address(given) : labels('a.local');
  const payload = Buffer.concat([Buffer.from([0, 0, 0x84, 0, 0, 0, 0, names.length, 0, 0, 0, 0]), ...names.map((name) => record(labels(name), type, data))]); // prettier-ignore
  return udp(`${from}:5353`, '224.0.0.251:5353', { payload });
}

/** A positive answer of the NetBIOS name service. */
export function netbiosAnswer(
  from: string,
  to: string,
  name: string,
  suffix = 0x20,
  isGroup = false,
): Buffer {
  // prettier-ignore
  const bytes = Buffer.from(name.toUpperCase().padEnd(15).slice(0, 15) + String.fromCharCode(suffix), 'latin1'); // prettier-ignore
  const coded = [...bytes].map((byte) => String.fromCharCode(65 + (byte >> 4), 65 + (byte & 15))).join('');
  const data = Buffer.concat([Buffer.from([isGroup ? 0x80 : 0, 0]), address(from)]);
  const payload = Buffer.concat([Buffer.from([0, 7, 0x85, 0, 0, 0, 0, 1, 0, 0, 0, 0]), record(labels(coded), 0x20, data)]); // prettier-ignore
  return udp(`${from}:137`, `${to}:137`, { payload });
}

function bracketed(text: string): string {
  return text.includes(':') ? `[${text}]` : text;
}

export interface DeauthOptions {
  /** Beacons 0x80, disassociation 0xa0, deauthentication 0xc0. */
  readonly kind?: number;
  readonly flags?: number;
  readonly reason?: number;
  /** What the capture put in front; without it radiotap's shortest. */
  readonly front?: Uint8Array;
}

/** In the name of the access point, whose address is the network's. */
export function deauthentication(accessPoint: string, station: string, options: DeauthOptions = {}): Buffer {
  const { kind = 0xc0, flags = 0, reason = 7, front = [0, 0, 8, 0, 0, 0, 0, 0] } = options;
  const head = Buffer.from([...front, kind, flags, 0x3a, 1]);
  return Buffer.concat([
    head,
    mac(station),
    mac(accessPoint),
    mac(accessPoint),
    Buffer.from([0x10, 0, reason, 0]),
  ]);
}
