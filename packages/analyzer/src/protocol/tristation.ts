/**
 * TriStation, the engineering protocol of Triconex safety controllers (UDP 1502), as far as published analyses of the TRITON malware describe it:
 *
 *   0 type (1)   1 channel (1)   2 length of the data (2, little-endian)   4 data …   then a checksum (2)
 *
 * Type 5 carries a command: direction, controller, command, … ; everything else opens, closes and keeps the connection.
 */
import { be16, hex, le16 } from './byte-reader.ts';
import { createOperation, resetOperation, type Action, type Dissector } from './dissector.ts';

const TYPES: readonly string[] = [
  '',
  'connection-request',
  'connection-reply',
  'disconnect-request',
  'disconnect-reply',
  'command',
  'ping',
  'connection-limit',
  'not-connected',
];
const TYPE_COMMAND = 5;
const HEADER_BYTES = 4;

/** Commands that are known to change what the controller does. */
const COMMANDS: Readonly<Record<number, readonly [string, Action]>> = {
  0x01: ['start-download-all', 'program'],
  0x02: ['start-download-change', 'program'],
  0x03: ['update-configuration', 'program'],
  0x04: ['upload-configuration', 'program'],
  0x05: ['set-i-o-addresses', 'program'],
  0x06: ['allocate-network', 'program'],
  0x07: ['load-vector-table', 'program'],
  0x08: ['set-calendar', 'control'],
  0x09: ['get-calendar', 'read'],
  0x0b: ['end-download-all', 'program'],
  0x0c: ['end-download-change', 'program'],
  0x13: ['get-status', 'read'],
  0x14: ['run-program', 'control'],
  0x15: ['halt-program', 'control'],
  0x16: ['pause-program', 'control'],
}; // prettier-ignore

const operation = createOperation('tristation');

export const tristation: Dissector = {
  name: 'tristation',
  tcpPorts: [],
  udpPorts: [1502],
  etherTypes: [],

  dissect(message, sink) {
    const { bytes, at, end } = message;
    if (end - at < HEADER_BYTES) return;
    const type = bytes[at] as number;
    const name = TYPES[type];
    if (name === undefined || name === '') return;
    resetOperation(operation);
    operation.code = type;
    operation.name = name;
    operation.action = 'session';
    operation.unit = bytes[at + 1] as number;
    operation.isResponse = !message.isFromClient;
    const data = at + HEADER_BYTES;
    if (type === TYPE_COMMAND && end - data >= 3 && (le16(bytes, at + 2) > 0 || be16(bytes, at + 2) > 0)) {
      const code = bytes[data + 2] as number;
      const known = COMMANDS[code];
      operation.code = code;
      operation.name = known?.[0] ?? `command-${hex(code)}`;
      operation.action = known?.[1] ?? 'other';
    }
    sink.operation(operation);
  },
};
