/**
 * What somebody wants to see of an archive: a span of time, hosts, ports and so on. Several of one kind mean any of them, several
 * kinds mean all of them. Tags do not hide a packet: `--host` finds it in any VLAN, where the filter `host` would not.
 */
import { z } from 'zod';
import { OperatingError } from '../base/errors.ts';
import { BpfInterpreter } from '../filter/bpf-interpreter.ts';
import { PACKET_BYTES_MAX } from '../packet/record.ts';
import { parseAddress } from '../packet/ip-address.ts';
import { compileOffline } from '../system/libpcap.ts';
import { EPHEMERAL_PORT } from './index-builder.ts';
import { ABSENT_KEY, PROTOCOL_ETHER, PacketKeys } from './packet-keys.ts';
import { keysWhere, type IndexBlock, type KeyKind, type SegmentIndex } from './segment-index.ts';

const VALUES_MAX = 1000;
const texts = z.array(z.string().max(200)).max(VALUES_MAX).default([]);

/** A query as it is written, and as it travels. */
export const querySchema = z.strictObject({
  /** Nanoseconds since 1970 UTC as text: from (inclusive) and to (exclusive). */
  fromNs: z
    .string()
    .regex(/^\d{1,20}$/)
    .optional(),
  toNs: z
    .string()
    .regex(/^\d{1,20}$/)
    .optional(),
  hosts: texts,
  nets: texts,
  ports: z.array(z.int().min(0).max(65_535)).max(VALUES_MAX).default([]),
  protocols: texts,
  vlans: z.array(z.int().min(0).max(4095)).max(VALUES_MAX).default([]),
  macs: texts,
  filter: z.string().max(65_536).default(''),
});

export type QueryText = z.input<typeof querySchema>;

/** Names of protocols, as people say them. Others are numbers: `0x88b8` an EtherType, `47` an IP protocol. */
export const PROTOCOL_NAMES: ReadonlyMap<string, number> = new Map([
  ['icmp', 1],
  ['igmp', 2],
  ['tcp', 6],
  ['udp', 17],
  ['gre', 47],
  ['esp', 50],
  ['icmp6', 58],
  ['ospf', 89],
  ['sctp', 132],
  ['ip', PROTOCOL_ETHER | 0x0800],
  ['arp', PROTOCOL_ETHER | 0x0806],
  ['ip6', PROTOCOL_ETHER | 0x86dd],
  ['profinet', PROTOCOL_ETHER | 0x8892],
  ['ethercat', PROTOCOL_ETHER | 0x88a4],
  ['goose', PROTOCOL_ETHER | 0x88b8],
  ['sv', PROTOCOL_ETHER | 0x88ba],
  ['lldp', PROTOCOL_ETHER | 0x88cc],
  ['ptp', PROTOCOL_ETHER | 0x88f7],
]);

interface Net {
  readonly address: Uint8Array;
  readonly bits: number;
}

/** Keys of one index that a block must have at least one of. */
export type WantedKeys = readonly (readonly number[])[];

export class PacketQuery {
  /** Seconds and nanoseconds of the first wanted time, and of the first that is not wanted any more. */
  readonly fromSeconds: number;
  readonly fromNanoseconds: number;
  readonly toSeconds: number;
  readonly toNanoseconds: number;
  /** Every packet of the time is wanted. */
  readonly isOnlyTime: boolean;
  readonly #nets: readonly Net[];
  readonly #ports: readonly number[];
  readonly #protocols: readonly number[];
  readonly #vlans: readonly number[];
  readonly #macs: readonly Uint8Array[];
  readonly #filter: string;
  readonly #machines = new Map<number, BpfInterpreter | null>();
  readonly #keys = new PacketKeys();

  /** Throws CONFIG_INVALID and FILTER_INVALID with what is wrong. */
  constructor(query: QueryText) {
    const { fromNs, toNs, hosts, nets, ports, protocols, vlans, macs, filter } = querySchema.parse(query);
    [this.fromSeconds, this.fromNanoseconds] = fromNs === undefined ? [-1, 0] : secondsOf(fromNs);
    [this.toSeconds, this.toNanoseconds] = toNs === undefined ? [Infinity, 0] : secondsOf(toNs);
    this.#nets = [...hosts.map(parseHost), ...nets.map(parseNet)];
    this.#ports = ports;
    this.#protocols = protocols.map(parseProtocol);
    this.#vlans = vlans;
    this.#macs = macs.map(parseMac);
    this.#filter = filter;
    this.isOnlyTime =
      [this.#nets, ports, protocols, vlans, macs].every((values) => values.length === 0) && filter === '';
    if (filter !== '') this.#checkFilter();
  }

  /** Whether a time lies in the span: -1 before it, 0 in it, 1 after it. */
  timeOf(seconds: number, nanoseconds: number): -1 | 0 | 1 {
    if (seconds < this.fromSeconds || (seconds === this.fromSeconds && nanoseconds < this.fromNanoseconds))
      return -1;
    if (seconds > this.toSeconds || (seconds === this.toSeconds && nanoseconds >= this.toNanoseconds))
      return 1;
    return 0;
  }

  /** Whether a frame is wanted, its time aside. */
  matches(
    linkType: number,
    bytes: Uint8Array,
    offset: number,
    capturedBytes: number,
    originalBytes: number,
  ): boolean {
    if (this.isOnlyTime) return true;
    const keys = this.#keys;
    keys.read(linkType, bytes, offset, capturedBytes);
    if (this.#vlans.length > 0 && !this.#vlans.includes(keys.vlan) && !(keys.innerVlan !== ABSENT_KEY && this.#vlans.includes(keys.innerVlan))) return false; // prettier-ignore
    if (this.#ports.length > 0 && !this.#ports.includes(keys.sourcePort) && !this.#ports.includes(keys.destinationPort)) return false; // prettier-ignore
    if (this.#protocols.length > 0 && !this.#protocols.includes(keys.linkProtocol) && !this.#protocols.includes(keys.ipProtocol)) return false; // prettier-ignore
    if (this.#nets.length > 0 && !this.#hasHost(keys, bytes)) return false;
    if (this.#macs.length > 0 && !this.#hasMac(keys, bytes)) return false;
    return this.#filter === '' || this.#passes(linkType, bytes, offset, capturedBytes, originalBytes);
  }

  /**
   * What a block of this index must hold to be of interest: of each list at least one key. `null`: no block can, nothing in
   * the indexed part of the segment is wanted.
   */
  wantedKeys(index: SegmentIndex): WantedKeys | null {
    if (index.isOverfull) return [];
    const wanted: number[][] = [];
    const want = (isAsked: boolean, keys: number[]): void => {
      if (isAsked) wanted.push(keys);
    };
    want(this.#nets.length > 0, [
      ...keysWhere(index, 'ipv4', (keys, at) => this.#nets.some((net) => isInNet(net, keys, at, 4))),
      ...keysWhere(index, 'ipv6', (keys, at) => this.#nets.some((net) => isInNet(net, keys, at, 16))),
    ]);
    want(
      this.#macs.length > 0,
      keysWhere(index, 'mac', (keys, at) => this.#macs.some((mac) => isEqual(mac, keys, at))),
    );
    const numbers = (kind: KeyKind, values: readonly number[], mask: number): number[] =>
      keysWhere(index, kind, (keys, at) => values.includes((readKey(keys, at) & mask) >>> 0));
    want(this.#ports.length > 0, numbers('port', this.#ports.map((port) => Math.min(port, EPHEMERAL_PORT)), 0xffff)); // prettier-ignore
    want(this.#protocols.length > 0, numbers('protocol', this.#protocols, 0xffff_ffff));
    want(this.#vlans.length > 0, numbers('vlan', this.#vlans, 0xffff));
    return wanted.some((keys) => keys.length === 0) ? null : wanted;
  }

  /** Whether a block may hold wanted packets: by its time, and by its keys. */
  wantsBlock(block: IndexBlock, wanted: WantedKeys): boolean {
    if (this.timeOf(block.lastSeconds, block.lastNanoseconds) < 0) return false;
    if (this.timeOf(block.firstSeconds, block.firstNanoseconds) > 0) return false;
    return wanted.every((keys) => keys.some((key) => hasKey(block.keys, key)));
  }

  #hasHost(keys: PacketKeys, bytes: Uint8Array): boolean {
    const { addressBytes, sourceOffset, destinationOffset } = keys;
    if (addressBytes === 0) return false;
    for (const net of this.#nets)
      if (
        isInNet(net, bytes, sourceOffset, addressBytes) ||
        isInNet(net, bytes, destinationOffset, addressBytes)
      )
        return true;
    return false;
  }

  #hasMac({ sourceMacOffset, destinationMacOffset }: PacketKeys, bytes: Uint8Array): boolean {
    for (const mac of this.#macs)
      if (
        (sourceMacOffset >= 0 && isEqual(mac, bytes, sourceMacOffset)) ||
        (destinationMacOffset >= 0 && isEqual(mac, bytes, destinationMacOffset))
      )
        return true;
    return false;
  }

  #passes(
    linkType: number,
    bytes: Uint8Array,
    offset: number,
    capturedBytes: number,
    originalBytes: number,
  ): boolean {
    let machine = this.#machines.get(linkType);
    if (machine === undefined) {
      machine = this.#compile(linkType);
      this.#machines.set(linkType, machine);
    }
    return machine !== null && machine.run(bytes, offset, capturedBytes, originalBytes) !== 0;
  }

  /** `null` where the filter means nothing: `ether host` in files without Ethernet headers. */
  #compile(linkType: number): BpfInterpreter | null {
    try {
      return new BpfInterpreter(compileOffline(linkType, this.#filter, PACKET_BYTES_MAX));
    } catch (error) {
      if (error instanceof OperatingError && error.code === 'FILTER_INVALID') return null;
      throw error;
    }
  }

  /** A filter that means nothing for Ethernet means nothing at all. */
  #checkFilter(): void {
    compileOffline(1, this.#filter, PACKET_BYTES_MAX);
  }
}

function secondsOf(nanoseconds: string): [number, number] {
  const value = BigInt(nanoseconds);
  return [Number(value / 1_000_000_000n), Number(value % 1_000_000_000n)];
}

function wrong(what: string, remedy: string): OperatingError {
  return new OperatingError('CONFIG_INVALID', `${what}: ${remedy}`, { what });
}

function parseHost(text: string): Net {
  const address = parseAddress(text);
  if (address === null) throw wrong(`${text} is not an IP address`, 'as in 10.0.1.7 or fe80::1');
  return { address, bits: address.byteLength * 8 };
}

function parseNet(text: string): Net {
  const [host = '', length, more] = text.split('/');
  const address = parseAddress(host);
  const bits = Number(length);
  const isLength = length !== undefined && /^\d{1,3}$/.test(length) && more === undefined;
  if (address === null || !isLength || bits > address.byteLength * 8)
    throw wrong(`${text} is not a network`, 'as in 10.0.1.0/24 or fe80::/10');
  return { address, bits };
}

function parseProtocol(text: string): number {
  const name = text.toLowerCase();
  const known = PROTOCOL_NAMES.get(name);
  if (known !== undefined) return known;
  if (/^0x[0-9a-f]{1,4}$/.test(name)) return PROTOCOL_ETHER | Number(name);
  if (/^\d{1,3}$/.test(name) && Number(name) <= 255) return Number(name);
  throw wrong(
    `${text} is not a protocol`,
    `one of ${[...PROTOCOL_NAMES.keys()].join(', ')}, an IP protocol's number, or an EtherType such as 0x88b8`,
  );
}

function parseMac(text: string): Uint8Array {
  const digits = text.replace(/[:.-]/g, '');
  if (!/^[0-9a-fA-F]{12}$/.test(digits))
    throw wrong(`${text} is not a MAC address`, 'as in 00:11:22:33:44:55');
  return Uint8Array.from(Buffer.from(digits, 'hex'));
}

function isInNet({ address, bits }: Net, bytes: Uint8Array, at: number, addressBytes: number): boolean {
  if (address.byteLength !== addressBytes) return false;
  const whole = bits >> 3;
  for (let i = 0; i < whole; i++) if (address[i] !== bytes[at + i]) return false;
  const rest = bits & 7;
  if (rest === 0) return true;
  return ((address[whole] as number) ^ (bytes[at + whole] as number)) >> (8 - rest) === 0;
}

function isEqual(value: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < value.byteLength; i++) if (value[i] !== bytes[at + i]) return false;
  return true;
}

function readKey(keys: Uint8Array, at: number): number {
  return ((keys[at] as number) | ((keys[at + 1] as number) << 8) | ((keys[at + 2] as number) << 16) | ((keys[at + 3] as number) << 24)) >>> 0; // prettier-ignore
}

/** `keys` is ascending. */
function hasKey(keys: Uint32Array, key: number): boolean {
  let low = 0;
  let high = keys.length - 1;
  while (low <= high) {
    const middle = (low + high) >> 1;
    const value = keys[middle] as number;
    if (value === key) return true;
    if (value < key) low = middle + 1;
    else high = middle - 1;
  }
  return false;
}
