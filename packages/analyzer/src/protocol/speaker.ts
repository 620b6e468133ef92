/**
 * Who sent bytes that were heard without their beginning: the one that asks, or the one that answers. For a conversation that is joined in the middle, where no SYN says who
 * opened it and the ports say nothing either. By the protocol's own words, and only where they are clear: a guess would turn a plant's table of who commands whom round.
 *
 *   modbus    a refusal, the length of what was read, of what is to be written
 *   s7comm    connect and confirm; job or acknowledgement; userdata's type
 *   dnp3      function from 129 on; without one, the direction bit: an outstation may speak first, unasked
 *   iec104    STARTDT and its confirmation; commands by their cause; what is monitored
 *   enip      sessions, CIP's reply bit
 *   melsec    the subheader's upper bit
 *   opcua     hello and acknowledge; the service's type
 */
import { le16, le32, text } from './byte-reader.ts';
import type { Dissector } from './dissector.ts';
import { DISSECTORS } from './dissectors.ts';
import { SERVICES, answeredBy } from './opcua-services.ts';

export const ASKS = 1;
export const ANSWERS = -1;
export const UNKNOWN = 0;
export type Speaker = typeof ASKS | typeof ANSWERS | typeof UNKNOWN;

type Judge = (bytes: Uint8Array, at: number, end: number) => Speaker;

const JUDGES: Readonly<Record<string, Judge>> = { modbus, s7comm, dnp3, iec104, enip, melsec };
const JUDGED: readonly Dissector[] = DISSECTORS.filter(({ name }) => Object.hasOwn(JUDGES, name));

/** Says who sent `bytes[at, end)`, the payload of one TCP segment or UDP datagram. Total; UNKNOWN for what is none of these protocols. */
export function speakerOf(bytes: Uint8Array, at: number, end: number): Speaker {
  for (const dissector of JUDGED)
    if (dissector.looksLike?.(bytes, at, end) === true)
      return (JUDGES[dissector.name] as Judge)(bytes, at, end);
  return opcua(bytes, at, end);
}

/** MBAP header of seven bytes, function, data; it looks like a whole message. */
function modbus(bytes: Uint8Array, at: number, end: number): Speaker {
  const code = bytes[at + 7] as number;
  const dataBytes = end - at - 8;
  if (code >= 0x80) return dataBytes === 1 ? ANSWERS : UNKNOWN;
  const first = dataBytes > 0 ? (bytes[at + 8] as number) : -1;
  if (code >= 1 && code <= 4) {
    // Address and count, or a byte count and so many bytes; one of three bytes may be either, and registers have two.
    const isCounted = dataBytes === 1 + first;
    if (dataBytes === 4) return isCounted && code <= 2 ? UNKNOWN : ASKS;
    return isCounted ? ANSWERS : UNKNOWN;
  }
  if (code === 15 || code === 16) {
    if (dataBytes === 4) return ANSWERS;
    return dataBytes >= 6 && dataBytes === 5 + (bytes[at + 12] as number) ? ASKS : UNKNOWN;
  }
  if (code === 17) return dataBytes === 0 ? ASKS : dataBytes === 1 + first ? ANSWERS : UNKNOWN;
  return UNKNOWN;
}

/** Of SLMP and MELSOFT alike. */
function melsec(bytes: Uint8Array, at: number): Speaker {
  return (bytes[at] as number) >= 0x80 ? ANSWERS : ASKS;
}

/** TPKT (4), COTP; behind its three bytes of a data unit S7. */
function s7comm(bytes: Uint8Array, at: number, end: number): Speaker {
  const type = (bytes[at + 5] as number) & 0xf0;
  if (type === 0xe0) return ASKS;
  if (type === 0xd0) return ANSWERS;
  const s7 = at + 7;
  if (end - s7 < 10 || bytes[s7] !== 0x32) return UNKNOWN;
  const kind = bytes[s7 + 1];
  if (kind === 1) return ASKS;
  if (kind === 2 || kind === 3) return ANSWERS;
  if (kind !== 7 || end - s7 < 16) return UNKNOWN;
  const method = (bytes[s7 + 15] as number) >> 4;
  return method === 4 ? ASKS : method === 8 ? ANSWERS : UNKNOWN;
}

/** The link's header (10), transport byte, application control, function. */
function dnp3(bytes: Uint8Array, at: number, end: number): Speaker {
  const isFromMaster = ((bytes[at + 3] as number) & 0x80) !== 0;
  const hasFunction = (bytes[at + 2] as number) >= 8 && end - at > 12 && ((bytes[at + 10] as number) & 0x40) !== 0; // prettier-ignore
  if (!hasFunction) return isFromMaster ? ASKS : ANSWERS;
  return (bytes[at + 12] as number) >= 129 ? ANSWERS : ASKS;
}

function iec104(bytes: Uint8Array, at: number, end: number): Speaker {
  const control = bytes[at + 2] as number;
  if ((control & 3) === 3) return control === 0x07 || control === 0x13 ? ASKS : control === 0x0b || control === 0x23 ? ANSWERS : UNKNOWN; // prettier-ignore
  if ((control & 1) !== 0 || end - at < 12) return UNKNOWN;
  const type = bytes[at + 6] as number;
  const cause = (bytes[at + 8] as number) & 0x3f;
  // Monitoring goes up, whoever asked for it.
  if (type <= 40 || type === 70) return ANSWERS;
  if (type > 113) return UNKNOWN;
  if (cause === 6 || cause === 8) return ASKS;
  return cause === 7 || cause === 9 || cause === 10 || (cause >= 44 && cause <= 47) ? ANSWERS : UNKNOWN;
}

function enip(bytes: Uint8Array, at: number, end: number): Speaker {
  const command = le16(bytes, at);
  const dataBytes = le16(bytes, at + 2);
  if (command === 0x04 || command === 0x63 || command === 0x64) return dataBytes === 0 ? ASKS : ANSWERS;
  // Who registers has no number yet.
  if (command === 0x65) return le32(bytes, at + 4) === 0 ? ASKS : ANSWERS;
  // Interface, timeout, count of items; then an empty address and the message, or a connection's number, the message and its count.
  const cip = command === 0x6f ? at + 40 : command === 0x70 ? at + 46 : end;
  if (cip + 2 > end) return UNKNOWN;
  return (bytes[cip] as number) >= 0x80 ? ANSWERS : ASKS;
}

/** A whole chunk; of a service, the type's NodeId in four bytes behind the header of 24. */
function opcua(bytes: Uint8Array, at: number, end: number): Speaker {
  if (end - at < 28 || bytes[at + 3] !== 0x46 || le32(bytes, at + 4) !== end - at) return UNKNOWN;
  const kind = text(bytes, at, at + 3);
  if (kind === 'HEL') return ASKS;
  if (kind === 'ACK') return ANSWERS;
  if (kind !== 'MSG' || bytes[at + 24] !== 1 || bytes[at + 25] !== 0) return UNKNOWN;
  const type = le16(bytes, at + 26);
  if (SERVICES.has(type)) return ASKS;
  return answeredBy(type) === undefined ? UNKNOWN : ANSWERS;
}
