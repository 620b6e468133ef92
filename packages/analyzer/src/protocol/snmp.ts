/**
 * SNMP 1 and 2c (RFC 1157, RFC 3416) in BER: what is asked, and under which community.
 *
 *   30 length   02 1 version (0, 1)   04 length community   a0..a8 length: kind: get, get-next, response, set, trap, get-bulk, inform, trap2, report
 *
 * A community is a password in the clear. Those that every device is sold with are named; of another one only a short number is told, the same for the same one. Version 3 is not
 * looked into.
 */
import { createOperation, resetOperation, type Action, type Dissector } from './dissector.ts';
import { text } from './byte-reader.ts';

const SEQUENCE = 0x30;
const INTEGER = 0x02;
const OCTETS = 0x04;
const KIND_FIRST = 0xa0;
const KINDS: readonly (readonly [string, Action])[] = [
  ['get', 'read'],
  ['get-next', 'read'],
  ['response', 'read'],
  ['set', 'write'],
  ['trap', 'report'],
  ['get-bulk', 'read'],
  ['inform', 'report'],
  ['trap2', 'report'],
  ['report', 'report'],
];
const RESPONSE = 2;
const WELL_KNOWN = /^(?:public|private)$/;

const operation = createOperation('snmp');

export const snmp: Dissector = {
  name: 'snmp',
  tcpPorts: [],
  udpPorts: [161, 162],
  etherTypes: [],

  dissect({ bytes, at, end }, sink) {
    const version = bytes[at] === SEQUENCE ? at + 1 + lengthBytes(bytes, at + 1, end) : end;
    if (version + 5 > end || version === at + 1 || bytes[version] !== INTEGER || bytes[version + 1] !== 1) return; // prettier-ignore
    if ((bytes[version + 2] as number) > 1 || bytes[version + 3] !== OCTETS) return;
    const length = bytes[version + 4] as number;
    const community = version + 5;
    // Longer communities than 127 bytes are nobody's.
    if (length >= 0x80 || community + length >= end) return;
    const code = (bytes[community + length] as number) - KIND_FIRST;
    const kind = KINDS[code];
    if (kind === undefined) return;
    resetOperation(operation);
    operation.name = kind[0];
    operation.action = kind[1];
    operation.code = code;
    operation.isResponse = code === RESPONSE;
    operation.object = `community:${nameOf(bytes, community, community + length)}`;
    sink.operation(operation);
  },
};

/** Bytes of the length that begins at `at`; 0 where it is none that SNMP uses. */
function lengthBytes(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return 0;
  const first = bytes[at] as number;
  return first < 0x80 ? 1 : first <= 0x84 && first > 0x80 ? 1 + (first & 0x7f) : 0;
}

/** The index of a VLAN or a context, behind an @, is no part of it. */
function nameOf(bytes: Uint8Array, at: number, end: number): string {
  let last = at;
  while (last < end && bytes[last] !== 0x40) last++;
  const word = text(bytes, at, last, 16);
  if (WELL_KNOWN.test(word)) return word;
  // FNV-1a: enough to tell one from another, and one-way for all but the shortest.
  let hash = 0x811c9dc5;
  for (let i = at; i < last; i++) hash = Math.imul(hash ^ (bytes[i] as number), 0x01000193);
  return `#${((hash ^ (hash >>> 16)) & 0xffff).toString(16).padStart(4, '0')}`;
}
