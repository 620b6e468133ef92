/** The numbers of MQTT: packet types with their flags, and why a broker refuses (3.1.1: 3.2.2.3; 5.0: 2.4). */

export interface PacketType {
  readonly name: string;
  /** What the lower half of the first byte has to be; -1 where it means something. */
  readonly flags: number;
  /** Who may send it. */
  readonly sender: 'client' | 'server' | 'both';
}

/** By the upper half of the first byte. 0 is reserved; 15 is of version 5 only. */
export const PACKET_TYPES: readonly (PacketType | null)[] = [
  null,
  { name: 'connect', flags: 0, sender: 'client' },
  { name: 'connack', flags: 0, sender: 'server' },
  { name: 'publish', flags: -1, sender: 'both' },
  { name: 'puback', flags: 0, sender: 'both' },
  { name: 'pubrec', flags: 0, sender: 'both' },
  { name: 'pubrel', flags: 2, sender: 'both' },
  { name: 'pubcomp', flags: 0, sender: 'both' },
  { name: 'subscribe', flags: 2, sender: 'client' },
  { name: 'suback', flags: 0, sender: 'server' },
  { name: 'unsubscribe', flags: 2, sender: 'client' },
  { name: 'unsuback', flags: 0, sender: 'server' },
  { name: 'ping', flags: 0, sender: 'client' },
  { name: 'pingresp', flags: 0, sender: 'server' },
  { name: 'disconnect', flags: 0, sender: 'both' },
  { name: 'authenticate', flags: 0, sender: 'both' },
];

export const CONNECT = 1;
export const CONNACK = 2;
export const PUBLISH = 3;
export const PUBACK = 4;
export const PUBREC = 5;
export const PUBREL = 6;
export const PUBCOMP = 7;
export const SUBSCRIBE = 8;
export const SUBACK = 9;
export const UNSUBSCRIBE = 10;
export const UNSUBACK = 11;
export const PINGREQ = 12;
export const PINGRESP = 13;
export const DISCONNECT = 14;
export const AUTH = 15;

/** Versions 3.1 and 3.1.1. */
const RETURN_CODES: readonly string[] = [
  '',
  'unacceptable-protocol-version',
  'identifier-rejected',
  'server-unavailable',
  'bad-user-name-or-password',
  'not-authorized',
];

/** Version 5; below 0x80 nothing is refused. */
const REASONS: ReadonlyMap<number, string> = new Map([
  [0x80, 'unspecified-error'], [0x81, 'malformed-packet'], [0x82, 'protocol-error'], [0x83, 'implementation-specific-error'],
  [0x84, 'unsupported-protocol-version'], [0x85, 'identifier-rejected'], [0x86, 'bad-user-name-or-password'], [0x87, 'not-authorized'],
  [0x88, 'server-unavailable'], [0x89, 'server-busy'], [0x8a, 'banned'], [0x8b, 'server-shutting-down'], [0x8c, 'bad-authentication-method'],
  [0x8d, 'keep-alive-timeout'], [0x8e, 'session-taken-over'], [0x8f, 'topic-filter-invalid'], [0x90, 'topic-name-invalid'],
  [0x91, 'packet-identifier-in-use'], [0x92, 'packet-identifier-not-found'], [0x93, 'receive-maximum-exceeded'], [0x94, 'topic-alias-invalid'],
  [0x95, 'packet-too-large'], [0x96, 'message-rate-too-high'], [0x97, 'quota-exceeded'], [0x98, 'administrative-action'],
  [0x99, 'payload-format-invalid'], [0x9a, 'retain-not-supported'], [0x9b, 'qos-not-supported'], [0x9c, 'use-another-server'],
  [0x9d, 'server-moved'], [0x9e, 'shared-subscriptions-not-supported'], [0x9f, 'connection-rate-exceeded'], [0xa0, 'maximum-connect-time'],
  [0xa1, 'subscription-identifiers-not-supported'], [0xa2, 'wildcard-subscriptions-not-supported'],
]); // prettier-ignore

/** Why a connection was refused; '' when it was not. Brokers answer a version that they do not speak in their own. */
export function connectRefusal(code: number): string {
  if (code >= 0x80) return REASONS.get(code) ?? `reason-${code}`;
  return RETURN_CODES[code] ?? `return-code-${code}`;
}

/** Why anything else was refused; '' when it was not. */
export function refusal(code: number): string {
  return code < 0x80 ? '' : (REASONS.get(code) ?? `reason-${code}`);
}
