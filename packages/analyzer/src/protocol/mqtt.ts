/**
 * MQTT 3.1, 3.1.1 and 5.0 (OASIS), big-endian:
 *
 *   0 type (4 bits) flags (4 bits)   1 remaining length (1–4 bytes of 7 bits, the lowest first; the top bit says that another follows)   then by type:
 *   CONNECT      name (2 + n) "MQTT"  level (1)  flags (1)  keep alive (2)  [5: properties]  client id  [will: [5: properties] topic, message]  [user]  [password]
 *   CONNACK      flags (1)  code (1)  [5: properties]
 *   PUBLISH      topic (2 + n)  [QoS > 0: packet id (2)]  [5: properties]  payload
 *   PUBACK …     packet id (2)  [5: code (1)  properties]
 *   SUBSCRIBE    packet id (2)  [5: properties]  then filter (2 + n) options (1), once or more
 *   SUBACK       packet id (2)  [5: properties]  then code (1), once or more
 *   UNSUBSCRIBE  packet id (2)  [5: properties]  then filter (2 + n), once or more
 *
 * The version stands in CONNECT alone and is remembered; of a conversation that is joined in its middle it is not known, and what depends on it is read in the way
 * that fits. The password is neither told nor kept. What is published is what a device reports, whoever sends it on: to whom it is a command the broker knows.
 */
import { be16, text } from './byte-reader.ts';
import {
  NEED_MORE,
  NOT_OURS,
  OBJECT_CHARACTERS_MAX,
  createOperation,
  resetOperation,
  type Dissector,
  type Memory,
  type Message,
  type Sink,
} from './dissector.ts';
import * as mqttType from './mqtt-codes.ts';
import { PACKET_TYPES, connectRefusal, refusal } from './mqtt-codes.ts';

const LENGTH_BYTES_MAX = 4;
/** Of the remaining length: it is not whole yet; it is longer than may be. */
const UNFINISHED = -1;
const OVERLONG = -2;
/** Level of 3.1, 3.1.1, 5.0; brokers that are bridged set the top bit. */
const LEVELS: ReadonlySet<number> = new Set([3, 4, 5]);
const BRIDGE_BIT = 0x80;
const FILTERS_MAX = 16;
/** A number in decimal, as devices publish it, is no longer. */
const NUMBER_BYTES_MAX = 20;
const NUMBER = /^\s*[+-]?\d+(\.\d+)?([eE][+-]?\d+)?\s*$/;

const operation = createOperation('mqtt');
/** Where the content of the message at hand begins. */
let body = 0;

export const mqtt: Dissector = {
  name: 'mqtt',
  tcpPorts: [1883],
  udpPorts: [],
  etherTypes: [],

  messageBytes(bytes, at, end) {
    if (end <= at) return NEED_MORE;
    const type = PACKET_TYPES[(bytes[at] as number) >> 4] ?? null;
    if (type === null) return NOT_OURS;
    const hasFlags = type.flags === -1 || ((bytes[at] as number) & 15) === type.flags;
    const length = remainingLength(bytes, at, end);
    if (length === UNFINISHED) return hasFlags ? NEED_MORE : NOT_OURS;
    // What comes behind a length that has no end cannot be found; it is for `dissect` to say so.
    if (length === OVERLONG) return hasFlags ? end - at : NOT_OURS;
    return hasFlags || isPlausible(bytes, at, end, length) ? body - at + length : NOT_OURS;
  },

  looksLike(bytes, at, end) {
    if (end - at < 10 || bytes[at] !== 0x10 || remainingLength(bytes, at, end) < 10) return false;
    const name = protocolName(bytes, body, end);
    const level = bytes[body + 2 + name.length];
    return name === 'MQTT' ? level === 4 || level === 5 : name === 'MQIsdp' && level === 3;
  },

  dissect(message, sink) {
    const { bytes, at, memory, isFromClient } = message;
    const code = (bytes[at] as number) >> 4;
    const type = PACKET_TYPES[code] ?? null;
    if (type === null || message.end <= at) return;
    const length = remainingLength(bytes, at, message.end);
    if (length === OVERLONG) sink.violation('remaining length over four bytes');
    if (length < 0) return;
    const end = Math.min(message.end, body + length);
    if (type.flags !== -1 && ((bytes[at] as number) & 15) !== type.flags)
      sink.violation('reserved flags are set');
    resetOperation(operation);
    operation.code = code;
    operation.name = type.name;
    operation.action = 'session';
    // Which side is which is only sure once one of them has connected.
    if (
      memory['level'] !== undefined &&
      type.sender !== 'both' &&
      (type.sender === 'client') !== isFromClient
    )
      sink.violation('packet from the wrong side');
    if (code === mqttType.CONNECT) connect(message, end, sink);
    else if (code === mqttType.CONNACK) connected(message, end, sink);
    else if (code === mqttType.PUBLISH) published(message, end, sink);
    else if (code === mqttType.SUBSCRIBE || code === mqttType.UNSUBSCRIBE) subscribe(message, end, sink);
    else answered(message, code, end, sink);
  },
};

/** Sets `body`, and returns how many bytes follow; UNFINISHED, OVERLONG. */
function remainingLength(bytes: Uint8Array, at: number, end: number): number {
  let length = 0;
  for (let i = 0; i < LENGTH_BYTES_MAX; i++) {
    if (at + 1 + i >= end) return UNFINISHED;
    const byte = bytes[at + 1 + i] as number;
    length += (byte & 0x7f) << (7 * i);
    if (byte < 0x80) {
      body = at + 2 + i;
      return length;
    }
  }
  return OVERLONG;
}

/** Flags that are wrong, on something that is the right packet otherwise: then it is a broken packet, and not something else. */
function isPlausible(bytes: Uint8Array, at: number, end: number, length: number): boolean {
  const code = (bytes[at] as number) >> 4;
  if (code === mqttType.CONNECT) return /^MQ/.test(protocolName(bytes, body, end));
  if (code === mqttType.PINGREQ || code === mqttType.PINGRESP) return length === 0;
  if (code === mqttType.DISCONNECT) return length <= 1;
  if (code === mqttType.CONNACK) return length === 2;
  if (code >= mqttType.PUBACK && code <= mqttType.PUBCOMP) return length === 2;
  return code === mqttType.SUBSCRIBE && filterCount(bytes, body + 2, Math.min(end, body + length), true) > 0;
}

function protocolName(bytes: Uint8Array, at: number, end: number): string {
  return end - at < 2 ? '' : text(bytes, at + 2, Math.min(end, at + 2 + be16(bytes, at)), 6);
}

/** Where the field with its length in front ends; -1 when it does not end before `end`. */
function fieldEnd(bytes: Uint8Array, at: number, end: number): number {
  if (end - at < 2) return -1;
  const to = at + 2 + be16(bytes, at);
  return to > end ? -1 : to;
}

/** Behind the properties of version 5; -1 when they do not end before `end`. */
function skipProperties(bytes: Uint8Array, at: number, end: number): number {
  let length = 0;
  for (let i = 0; i < LENGTH_BYTES_MAX && at + i < end; i++) {
    const byte = bytes[at + i] as number;
    length += (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return at + i + 1 + length > end ? -1 : at + i + 1 + length;
  }
  return -1;
}

function connect(message: Message, end: number, sink: Sink): void {
  const { bytes, memory } = message;
  if (memory['level'] !== undefined) sink.violation('CONNECT for a second time');
  const nameEnd = fieldEnd(bytes, body, end);
  if (nameEnd === -1 || end - nameEnd < 4) {
    sink.violation('CONNECT is too short');
    return;
  }
  const name = text(bytes, body + 2, nameEnd, 16);
  const level = (bytes[nameEnd] as number) & ~BRIDGE_BIT;
  if (name !== (level === 3 ? 'MQIsdp' : 'MQTT')) sink.violation('protocol has another name');
  if (!LEVELS.has(level)) sink.violation('protocol level is not defined');
  memory['level'] = level;
  sink.fact(
    'mqtt-version',
    level === 3 ? '3.1' : level === 4 ? '3.1.1' : level === 5 ? '5' : `level ${level}`,
  );
  const flags = bytes[nameEnd + 1] as number;
  connectFlags(flags, level, sink);
  let at: number = level === 5 ? skipProperties(bytes, nameEnd + 4, end) : nameEnd + 4;
  const clientEnd = at === -1 ? -1 : fieldEnd(bytes, at, end);
  if (clientEnd === -1) sink.violation('field longer than its packet');
  else {
    operation.object = memory['client'] = told(bytes, at + 2, clientEnd, sink);
    if (operation.object !== '') sink.fact('mqtt-client', operation.object);
    at = clientEnd;
    if ((flags & 4) !== 0) {
      if (level === 5) at = skipProperties(bytes, at, end);
      for (let i = 0; i < 2 && at !== -1; i++) at = fieldEnd(bytes, at, end);
    }
    const userEnd = at === -1 ? -1 : (flags & 0x80) === 0 ? at : fieldEnd(bytes, at, end);
    if (userEnd > at + 2) sink.fact('mqtt-user', text(bytes, at + 2, userEnd, 256));
    const last = userEnd === -1 || (flags & 0x40) === 0 ? userEnd : fieldEnd(bytes, userEnd, end);
    if (last > userEnd + 2) sink.fact('password', 'mqtt');
    if (last !== end) sink.violation(last === -1 ? 'field longer than its packet' : 'bytes behind the last field'); // prettier-ignore
  }
  sink.operation(operation);
}

function connectFlags(flags: number, level: number, sink: Sink): void {
  const willQos = (flags >> 3) & 3;
  if ((flags & 1) !== 0) sink.violation('reserved flags are set');
  if (willQos === 3) sink.violation('QoS is 3');
  if ((flags & 4) === 0 && (flags & 0x38) !== 0) sink.violation('a will is described and not there');
  if (level < 5 && (flags & 0xc0) === 0x40) sink.violation('a password without a user name');
}

function connected({ bytes, memory }: Message, end: number, sink: Sink): void {
  operation.name = 'connect';
  operation.isResponse = true;
  if (end - body < 2) {
    sink.violation('CONNACK is too short');
    return;
  }
  operation.exception = connectRefusal(bytes[body + 1] as number);
  operation.object = (memory['client'] as string | undefined) ?? '';
  sink.operation(operation);
}

function published({ bytes, at, memory, isFromClient }: Message, end: number, sink: Sink): void {
  const qos = ((bytes[at] as number) >> 1) & 3;
  const level = memory['level'];
  operation.action = 'report';
  operation.count = 1;
  const topicEnd = fieldEnd(bytes, body, end);
  if (topicEnd === -1) {
    sink.violation('field longer than its packet');
    return;
  }
  operation.object = told(bytes, body + 2, topicEnd, sink);
  if (qos === 3) sink.violation('QoS is 3');
  if (qos === 0 && ((bytes[at] as number) & 8) !== 0) sink.violation('a repetition without QoS');
  for (let i = body + 2; i < topicEnd; i++)
    if (bytes[i] === 0x23 || bytes[i] === 0x2b) {
      sink.violation('wildcard in a topic that is published');
      break;
    }
  // What a broker says of itself; those of clouds begin otherwise.
  if (isFromClient && operation.object.startsWith('$SYS/')) sink.violation("a client publishes in the broker's name"); // prettier-ignore
  // Version 5 may give a topic a number and leave its name out.
  if (topicEnd === body + 2 && level !== undefined && level !== 5) sink.violation('topic is empty');
  let payload: number = topicEnd;
  if (qos === 1 || qos === 2) {
    if (end - payload < 2) sink.violation('field longer than its packet');
    else if (be16(bytes, payload) === 0) sink.violation('packet identifier is 0');
    payload += 2;
  }
  if (level === 5 && payload < end) payload = skipProperties(bytes, payload, end);
  if (payload !== -1 && payload < end && end - payload <= NUMBER_BYTES_MAX) {
    const content = text(bytes, payload, end, NUMBER_BYTES_MAX);
    if (NUMBER.test(content)) operation.value = Number(content);
  }
  sink.operation(operation);
}

function subscribe({ bytes, at, memory }: Message, end: number, sink: Sink): void {
  const hasOptions = (bytes[at] as number) >> 4 === mqttType.SUBSCRIBE;
  operation.action = hasOptions ? 'read' : 'session';
  if (end - body < 2) {
    sink.violation('field longer than its packet');
    return;
  }
  if (be16(bytes, body) === 0) sink.violation('packet identifier is 0');
  let next = firstFilter(bytes, end, memory, hasOptions);
  const count = next === -1 ? 0 : filterCount(bytes, next, end, hasOptions);
  if (count === 0) {
    sink.violation(next === -1 || next < end ? 'field longer than its packet' : 'no topic is named');
    return;
  }
  operation.count = count;
  for (let i = 0; i < Math.min(count, FILTERS_MAX); i++) {
    const to = fieldEnd(bytes, next, end);
    operation.object = told(bytes, next + 2, to, sink);
    if (!isFilter(bytes, next + 2, to)) sink.violation('wildcard in the wrong place');
    next = hasOptions ? to + 1 : to;
    // Version 5 has more of them than the QoS.
    if (hasOptions && ((bytes[to] as number) & 3) === 3) sink.violation('QoS is 3');
    sink.operation(operation);
  }
}

/** Of a version that is not known: that in which the filters fill the packet. */
function firstFilter(bytes: Uint8Array, end: number, memory: Memory, hasOptions: boolean): number {
  const at = body + 2;
  const level = memory['level'];
  if (level !== undefined && level !== 5) return at;
  if (level === undefined && filterCount(bytes, at, end, hasOptions) > 0) return at;
  return skipProperties(bytes, at, end);
}

/** 0 when they do not fill the packet. */
function filterCount(bytes: Uint8Array, at: number, end: number, hasOptions: boolean): number {
  let count = 0;
  let next = at;
  while (next < end) {
    next = fieldEnd(bytes, next, end);
    if (next === -1) return 0;
    if (hasOptions) next++;
    count++;
  }
  return next === end ? count : 0;
}

/** `#` only alone and at the end, `+` only alone, between slashes. */
function isFilter(bytes: Uint8Array, at: number, end: number): boolean {
  if (end <= at) return false;
  for (let i = at; i < end; i++) {
    if (bytes[i] !== 0x23 && bytes[i] !== 0x2b) continue;
    if (i > at && bytes[i - 1] !== 0x2f) return false;
    if (bytes[i] === 0x23 ? i !== end - 1 : i < end - 1 && bytes[i + 1] !== 0x2f) return false;
  }
  return true;
}

/** Acknowledgements, pings, and the end. */
function answered({ bytes, memory, isFromClient }: Message, code: number, end: number, sink: Sink): void {
  const { PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH, PINGREQ, PINGRESP } = mqttType;
  const level = memory['level'];
  const length = end - body;
  if ((code === PINGREQ || code === PINGRESP) && length > 0) sink.violation('bytes behind the last field');
  if (code === AUTH && level !== undefined && level !== 5)
    sink.violation('packet type is not of this version');
  operation.isResponse = code !== PINGREQ && code !== AUTH && !(code === DISCONNECT && isFromClient);
  if (code === PINGRESP) operation.name = 'ping';
  if (code <= PUBCOMP) {
    // Of the four packets of QoS 2 one is the answer.
    if (code === PUBREL || code === PUBCOMP) return;
    operation.name = 'publish';
    operation.action = 'report';
    if (length < 2) sink.violation('field longer than its packet');
    if ((code === PUBACK || code === PUBREC) && length > 2) operation.exception = refusal(bytes[body + 2] as number); // prettier-ignore
  } else if (code === SUBACK || code === UNSUBACK) {
    operation.name = code === SUBACK ? 'subscribe' : 'unsubscribe';
    operation.action = code === SUBACK ? 'read' : 'session';
    operation.count = Math.max(0, length - 2);
    if (code === SUBACK && length > 2) operation.exception = refusal(bytes[end - 1] as number);
  } else if (code === DISCONNECT) {
    if (length > 0) operation.exception = refusal(bytes[body] as number);
    if (length > 0 && level !== undefined && level !== 5) sink.violation('bytes behind the last field');
  }
  sink.operation(operation);
}

/** A text; zero in it is not allowed, and is how a topic that is shown is made another than the one that is meant. */
function told(bytes: Uint8Array, at: number, end: number, sink: Sink): string {
  for (let i = at; i < end; i++)
    if (bytes[i] === 0) {
      sink.violation('zero in a text');
      break;
    }
  return text(bytes, at, end, OBJECT_CHARACTERS_MAX);
}
