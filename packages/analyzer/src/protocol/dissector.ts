/**
 * What a dissector is: it reads the messages of one protocol and tells what was done, to what, with which value. What must
 * stay true of every one of them:
 * - it is total: any bytes, cut anywhere, hostile or not, are read without a throw and without reading outside `[at, end)`;
 * - it keeps what it must remember of a conversation in that conversation's `memory`, which is plain data and bounded, so that
 *   the analyzer can be stopped and go on;
 * - it only reads: what an operation means for the plant is the business of inventory, baseline and rules.
 */

/**
 * What an operation does to the device: `read` and `report` change nothing, `write` changes values, `control` changes what the
 * device does (start, stop, restart, mode, time, output operate), `program` changes its logic or firmware, `discover` asks who is there, `session`
 * begins or ends something, `file` moves files.
 */
export type Action =
  'read' | 'report' | 'write' | 'control' | 'program' | 'discover' | 'session' | 'file' | 'other';

/** One thing that was asked for, answered or reported. The sink copies what it keeps: the object is reused. */
export interface Operation {
  /** The name of the dissector. */
  protocol: string;
  action: Action;
  /** In the protocol's own words, lower case with dashes: `write-single-register`, `direct-operate`, `plc-stop`. */
  name: string;
  /** Function, service or type code as it stands in the message; -1 where there is none. */
  code: number;
  /** An answer to an operation, not the operation itself. */
  isResponse: boolean;
  /** Sent by who opened the conversation. Not the dissector's business: it is filled in behind it. */
  isFromClient: boolean;
  /** Unit, station, rack/slot, outstation address; -1 where there is none. */
  unit: number;
  /** What it is done to, in the protocol's notation (`holding:107`, `DB1.DBX0.0`, `g12v1:3`); '' where there is none. Up to OBJECT_CHARACTERS_MAX. */
  object: string;
  /** How many values or objects; 0 where that means nothing. */
  count: number;
  /** The first value that is written or reported, NaN where there is none. */
  value: number;
  /** What the device refused it with, in words or as a code; '' when it did not. */
  exception: string;
}

export const OBJECT_CHARACTERS_MAX = 96;

/** Takes what a dissector has read. */
export interface Sink {
  /** `operation` is reused by the dissector: copy what is kept. */
  operation(operation: Operation): void;
  /** A name for something about the conversation (`sni`, `ja4`, `user-agent`, `hostname`). Bounded by the dissector to 256 characters. */
  fact(key: string, value: string): void;
  /** The bytes break the protocol's own rules; a short fixed sentence, e.g. `length field and function disagree`. */
  violation(reason: string): void;
}

/**
 * What a dissector may remember of a conversation: plain data, kept and restored by structured clone; a few hundred bytes at most. `done: true` says that nothing of what follows
 * over this TCP connection is of interest: it is given no more of it. `done: 'other'` says that it is another protocol, whose name is not known.
 */
export type Memory = Record<string, number | string | boolean | number[]>;

/** One message, lent: `bytes[at, end)`. */
export interface Message {
  readonly bytes: Uint8Array;
  readonly at: number;
  readonly end: number;
  /** Sent by who opened the conversation. */
  readonly isFromClient: boolean;
  /** Microseconds since 1970. */
  readonly timeUs: number;
  readonly memory: Memory;
}

/** `messageBytes`: the header is not whole yet. */
export const NEED_MORE = 0;
/** `messageBytes`: these bytes do not begin a message of this protocol. */
export const NOT_OURS = -1;

export interface Dissector {
  readonly name: string;
  /** Server ports it is registered for. */
  readonly tcpPorts: readonly number[];
  readonly udpPorts: readonly number[];
  /** EtherTypes of protocols straight on Ethernet: a message then begins behind the EtherType. */
  readonly etherTypes: readonly number[];
  /**
   * Over TCP: length of the message that begins at `at`, NEED_MORE or NOT_OURS. A message may be longer than `end - at`. Without it, each
   * segment's payload is a message of its own.
   */
  messageBytes?(bytes: Uint8Array, at: number, end: number): number;
  /** Whether a conversation on another port is this protocol, by its first payload; strict enough that noise is not taken for it. */
  looksLike?(bytes: Uint8Array, at: number, end: number): boolean;
  /** The same over UDP, of the first datagrams of a conversation. */
  looksLikeDatagram?(bytes: Uint8Array, at: number, end: number): boolean;
  dissect(message: Message, sink: Sink): void;
}

/** An operation to be filled and reused, one per dissector. */
export function createOperation(protocol: string): Operation {
  return {
    protocol,
    action: 'other',
    name: '',
    code: -1,
    isResponse: false,
    isFromClient: true,
    unit: -1,
    object: '',
    count: 0,
    value: NaN,
    exception: '',
  };
}

/** Empties a reused operation. */
export function resetOperation(operation: Operation): Operation {
  operation.action = 'other';
  operation.name = '';
  operation.code = -1;
  operation.isResponse = false;
  operation.unit = -1;
  operation.object = '';
  operation.count = 0;
  operation.value = NaN;
  operation.exception = '';
  return operation;
}
