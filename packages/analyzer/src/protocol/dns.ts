/**
 * DNS (RFC 1035), multicast DNS (RFC 6762), LLMNR (RFC 4795) and the NetBIOS name service (RFC 1002), big-endian:
 *
 *   0 id (2)   2 flags (2)   4 questions (2)   6 answers (2)   8 authorities (2)   10 additional (2)   12 questions, records
 *   question: name, type (2), class (2)      record: name, type (2), class (2), time to live (4), length (2), data
 *
 * Over TCP two bytes of length stand in front, which is a dissector of its own: a message cannot say by itself which of the two it is.
 */
import { formatAddress } from '@tapline/shared/packet/ip-address.ts';
import { be16 } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Dissector,
  type Operation,
  type Sink,
} from './dissector.ts';
import { DNS_HEADER_BYTES, name, netbiosName, readName } from './dns-name.ts';

/** Multicast queries ask many things at once; more than these are not told. */
const QUESTIONS_MAX = 32;

const TYPES: ReadonlyMap<number, string> = new Map([
  [1, 'a'],
  [2, 'ns'],
  [5, 'cname'],
  [6, 'soa'],
  [10, 'null'],
  [12, 'ptr'],
  [13, 'hinfo'],
  [15, 'mx'],
  [16, 'txt'],
  [24, 'sig'],
  [25, 'key'],
  [28, 'aaaa'],
  [33, 'srv'],
  [35, 'naptr'],
  [41, 'opt'],
  [43, 'ds'],
  [46, 'rrsig'],
  [47, 'nsec'],
  [48, 'dnskey'],
  [52, 'tlsa'],
  [64, 'svcb'],
  [65, 'https'],
  [249, 'tkey'],
  [250, 'tsig'],
  [251, 'ixfr'],
  [252, 'axfr'],
  [255, 'any'],
  [257, 'caa'],
]);

const NETBIOS_TYPES: ReadonlyMap<number, string> = new Map([
  [32, 'nb'],
  [33, 'nbstat'],
]);

/** More answers say nothing more. */
const ADDRESSES_MAX = 16;
const RESPONSE_CODES: readonly string[] = [
  '',
  'format-error',
  'server-failure',
  'nxdomain',
  'not-implemented',
  'refused',
  'yxdomain',
  'yxrrset',
  'nxrrset',
  'not-authoritative',
  'not-in-zone',
];

/** Characters of the end of a name that is too long to be told whole. */
const NAME_END = 40;

export const dns: Dissector = {
  name: 'dns',
  tcpPorts: [],
  udpPorts: [53, 5353, 5355],
  etherTypes: [],

  looksLike(bytes, at, end) {
    if (end - at < DNS_HEADER_BYTES + 6 || (be16(bytes, at + 2) & 0xfe4f) !== 0) return false;
    if (be16(bytes, at + 4) !== 1 || be16(bytes, at + 6) !== 0 || be16(bytes, at + 8) !== 0) return false;
    const additional = be16(bytes, at + 10);
    readName(bytes, at, at + DNS_HEADER_BYTES, end);
    if (additional > 1 || !/^[\w-]+(\.[\w-]+)+$/.test(name.text) || name.next < 0) return false;
    const rest = end - name.next - 4;
    return rest >= 0 && (additional === 0 ? rest === 0 : rest >= 11) && be16(bytes, name.next + 2) === 1;
  },

  dissect({ bytes, at, end }, sink) {
    dissectDns(bytes, at, end, plain, false, sink);
  },
};

export const dnsOverTcp: Dissector = {
  name: 'dns',
  tcpPorts: [53],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end - at < 2) return NEED_MORE;
    const length = be16(bytes, at);
    return length < DNS_HEADER_BYTES ? NOT_OURS : 2 + length;
  },

  dissect({ bytes, at, end }, sink) {
    if (end - at < 2) sink.violation('message shorter than its header');
    else dissectDns(bytes, at + 2, end, plain, false, sink);
  },
};

export const netbiosNs: Dissector = {
  name: 'netbios-ns',
  tcpPorts: [],
  udpPorts: [137],
  etherTypes: [],

  dissect({ bytes, at, end }, sink) {
    dissectDns(bytes, at, end, netbios, true, sink);
  },
};

const plain = createOperation('dns');
const netbios = createOperation('netbios-ns');

function dissectDns(
  bytes: Uint8Array,
  at: number,
  end: number,
  operation: Operation,
  isNetbios: boolean,
  sink: Sink,
): void {
  if (end - at < DNS_HEADER_BYTES) {
    sink.violation('message shorter than its header');
    return;
  }
  const flags = be16(bytes, at + 2);
  const questions = be16(bytes, at + 4);
  const answers = be16(bytes, at + 6);
  const records = answers + be16(bytes, at + 8) + be16(bytes, at + 10);
  const isResponse = (flags & 0x8000) !== 0;
  const opcode = (flags >> 11) & 15;
  const isTruncated = (flags & 0x0200) !== 0;
  if (!isTruncated && questions * 5 + records * 11 > end - at - DNS_HEADER_BYTES)
    sink.violation('more questions and records than the message can hold');
  resetOperation(operation);
  operation.isResponse = isResponse;
  operation.count = isResponse ? answers : 0;
  if (isResponse) {
    operation.value = end - at;
    const responseCode = flags & 15;
    operation.exception = RESPONSE_CODES[responseCode] ?? `response-code-${responseCode}`;
  }
  // An announcement of multicast DNS has no question: its first record stands for it.
  const isAnnouncement = questions === 0 && answers > 0;
  const wanted = isAnnouncement ? 1 : Math.min(questions, QUESTIONS_MAX);
  operation.action = isAnnouncement || opcode === 4 ? 'report' : opcode === 5 ? 'write' : 'read';
  if (wanted === 0) {
    operation.name = verb(opcode, isNetbios);
    sink.operation(operation);
    return;
  }
  let next = at + DNS_HEADER_BYTES;
  for (let i = 0; i < wanted; i++) {
    readName(bytes, at, next, end);
    if (name.fault !== '') sink.violation(name.fault);
    next = name.next;
    if (next < 0 || next + 4 > end) {
      if (name.fault === '' && !isTruncated) sink.violation('question beyond the end of the message');
      operation.name = verb(opcode, isNetbios);
      operation.object = shown(name.text, isNetbios);
      operation.code = -1;
      sink.operation(operation);
      return;
    }
    const type = be16(bytes, next);
    const typeName = (isNetbios ? NETBIOS_TYPES : TYPES).get(type) ?? `type-${type}`;
    operation.code = type;
    operation.name = `${isAnnouncement ? 'announce' : verb(opcode, isNetbios)}-${typeName}`;
    operation.object = shown(name.text, isNetbios);
    if (!isResponse) operation.value = name.text.length;
    sink.operation(operation);
    next += 4;
  }
}

/** IPv4 addresses that the answers of a message name, as text, in their order; empty for what is no answer, or has none. At most ADDRESSES_MAX. */
export function answerAddresses(bytes: Uint8Array, at: number, end: number): readonly string[] {
  const found: string[] = [];
  let next = at + DNS_HEADER_BYTES;
  for (let questions = be16(bytes, at + 4); questions > 0; questions--) {
    readName(bytes, at, next, end);
    if (name.next < 0 || name.next + 4 > end) return [];
    next = name.next + 4;
  }
  for (let answers = be16(bytes, at + 6); answers > 0 && found.length < ADDRESSES_MAX; answers--) {
    readName(bytes, at, next, end);
    const record = name.next;
    // Type, class, time to live and length stand before the data (RFC 1035, section 4.1.3).
    if (record < 0 || record + 10 > end) return found;
    next = record + 10 + be16(bytes, record + 8);
    if (next > end) return found;
    if (be16(bytes, record) === 1 && next - record === 14)
      found.push(bytes.subarray(record + 10, next).join('.'));
  }
  return found;
}

export interface HostAnswer {
  /** As it was asked for, in lower case: of NetBIOS without its suffix. */
  readonly name: string;
  readonly address: string;
}

/**
 * Which hosts the answers of a message name, with one address each; empty for what is no answer. Of NetBIOS names only those of machines (suffixes 00 and
 * 20) that are one machine's alone. At most ADDRESSES_MAX.
 */
export function answeredHosts(
  bytes: Uint8Array,
  at: number,
  end: number,
  isNetbios: boolean,
): readonly HostAnswer[] {
  // prettier-ignore
  const found: HostAnswer[] = [];
  // A response to a query, without an error.
  if (end - at < DNS_HEADER_BYTES || (be16(bytes, at + 2) & 0xf80f) !== 0x8000) return found;
  let next = at + DNS_HEADER_BYTES;
  for (let questions = be16(bytes, at + 4); questions > 0; questions--) {
    readName(bytes, at, next, end);
    if (name.next < 0 || name.next + 4 > end) return found;
    next = name.next + 4;
  }
  for (let answers = be16(bytes, at + 6); answers > 0 && found.length < ADDRESSES_MAX; answers--) {
    readName(bytes, at, next, end);
    const record = name.next;
    if (record < 0 || record + 10 > end) return found;
    const data = record + 10;
    next = data + be16(bytes, record + 8);
    if (next > end) return found;
    const answer = hostAnswer(bytes, be16(bytes, record), data, next, isNetbios);
    if (answer !== null) found.push(answer);
  }
  return found;
}

/** The record of which `name` was just read. */
function hostAnswer(
  bytes: Uint8Array,
  type: number,
  data: number,
  to: number,
  isNetbios: boolean,
): HostAnswer | null {
  // prettier-ignore
  if (isNetbios) {
    const machine = /^(.+)<(00|20)>$/.exec(netbiosName(name.text));
    // Type NB, flags (2) of which the highest says that it is a group's name, address.
    if (machine === null || type !== 32 || to - data < 6 || (bytes[data] as number) >= 0x80) return null;
    return { name: (machine[1] as string).toLowerCase(), address: formatAddress(bytes, data + 2, 4) };
  }
  if (!(type === 1 && to - data === 4) && !(type === 28 && to - data === 16)) return null;
  return { name: name.text.toLowerCase(), address: formatAddress(bytes, data, type === 1 ? 4 : 16) };
}

function verb(opcode: number, isNetbios: boolean): string {
  if (opcode === 0) return 'query';
  if (isNetbios)
    return ['', '', '', '', '', 'register', 'release', 'wait', 'refresh'][opcode] || `opcode-${opcode}`;
  return ['', 'inverse-query', 'status', '', 'notify', 'update'][opcode] || `opcode-${opcode}`;
}

function shown(found: string, isNetbios: boolean): string {
  const readable = isNetbios ? netbiosName(found) : found;
  if (readable.length <= OBJECT_CHARACTERS_MAX) return readable === '' ? '.' : readable;
  // Of a long name both ends: its end says whose it is.
  return `${readable.slice(0, OBJECT_CHARACTERS_MAX - NAME_END - 1)}…${readable.slice(-NAME_END)}`;
}
